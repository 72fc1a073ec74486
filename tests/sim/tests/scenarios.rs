//! The stories that the product promises, each told in simulation.

use std::{collections::BTreeSet, time::Duration};

use meshos_control::master::NodeState;
use meshos_protocol::{
    ids::{ContainerId, FrameworkId, TaskId},
    task::TaskState,
};
use meshos_sim::{
    invariants,
    net::Host,
    run,
    setup::{ENDLESS, FrameworkSetup, Setup, machines},
    world::World,
};

fn start(nodes: usize, frameworks: Vec<FrameworkSetup>, seed: u64) -> World {
    let setup = Setup { frameworks, ..Setup::of(machines(nodes, 4, 4096)) };
    let mut world = World::new(setup, seed, false);
    assert!(world.run_until(20_000, World::is_whole), "the cluster forms");
    world
}

fn endless(tasks: u64) -> FrameworkSetup {
    FrameworkSetup {
        tasks,
        task_cpus_max_millis: 500,
        task_ms: ENDLESS,
        ..FrameworkSetup::default()
    }
}

/// Whether every framework was told that all its tasks run.
fn all_run(world: &World) -> bool {
    world.drivers.iter().all(|driver| {
        let running = |state| state == Some(TaskState::Running);
        driver.demand == 0 && driver.beliefs.values().all(|belief| running(belief.state))
    })
}

/// Lets frameworks launch until all tasks that could be started run.
fn let_all_run(world: &mut World) {
    let ok = world.run_until(60_000, |world| {
        world.drivers.iter().all(|driver| {
            let settled = |state: Option<TaskState>| {
                state.is_some_and(|state| state == TaskState::Running || state.is_terminal())
            };
            driver.demand == 0 && driver.beliefs.values().all(|belief| settled(belief.state))
        })
    });
    assert!(ok, "all tasks run");
    // One in fifty launches fails in the simulation; those are over and play no part.
    for driver in &mut world.drivers {
        driver.beliefs.retain(|_, belief| !belief.is_over());
    }
    assert!(all_run(world));
}

fn running(world: &World) -> BTreeSet<(usize, ContainerId)> {
    let nodes = world.nodes.iter().enumerate();
    nodes
        .flat_map(|(index, node)| node.launcher.running().map(move |(id, _)| (index, id.clone())))
        .collect()
}

#[test]
fn a_cluster_pools_what_all_its_nodes_have() {
    let mut nodes = machines(10, 16, 65_536);
    nodes.extend(machines(5, 4, 16_384));
    let mut world = World::new(Setup::of(nodes), 1, false);
    assert!(world.run_until(20_000, World::is_whole));
    let view = world.master_view().unwrap();
    let total: meshos_protocol::resources::Resources =
        view.agents.iter().map(|agent| &agent.resources).sum();
    assert_eq!(total.cpus().to_string(), "180");
    assert_eq!(total.mem().to_string(), (720 * 1024).to_string());
}

#[test]
fn an_accept_in_flight_when_the_leader_dies_ends_in_one_of_started_or_dropped() {
    let mut ends = BTreeSet::new();
    for seed in 0..60 {
        let mut world = start(4, vec![FrameworkSetup { tasks: 8, ..endless(8) }], seed);
        let waits =
            |world: &World| world.drivers[0].beliefs.values().any(|belief| belief.state.is_none());
        assert!(world.run_until(20_000, waits), "an accept is sent");
        let pending: Vec<TaskId> = world.drivers[0].beliefs.keys().cloned().collect();
        // Everything from the accept on its way to the leader to the update on its way back.
        world.run_ms(seed * 2);
        let leader = world.leader().unwrap();
        world.kill_node(leader, 3_000);
        let framework = world.drivers[0].framework.unwrap();
        let told = |world: &World| {
            pending.iter().all(|task| world.drivers[0].beliefs[task].state.is_some())
        };
        assert!(world.run_until(30_000, told), "seed {seed}: the framework is told");
        for task in &pending {
            ends.insert(end_of(&world, framework, task));
        }
    }
    assert!(ends.contains(&TaskState::Running), "some were started: {ends:?}");
    assert!(ends.contains(&TaskState::Dropped), "some were dropped: {ends:?}");
}

/// What a task came to, checked against what really happened.
fn end_of(world: &World, framework: FrameworkId, task: &TaskId) -> TaskState {
    let life = &world.oracle.lives[&(framework, task.clone())];
    let state = world.drivers[0].beliefs[task].state.expect("it was told");
    match state {
        TaskState::Dropped => assert_eq!(life.starts.len(), 0, "{task} was dropped: {life:?}"),
        TaskState::Running => assert_eq!(life.starts.len(), 1, "{task} runs: {life:?}"),
        _ => {}
    }
    state
}

#[test]
fn tasks_that_die_together_with_the_leaders_machine_are_reported_unreachable() {
    let mut world = start(4, vec![endless(20)], 3);
    let_all_run(&mut world);
    let leader = world.leader().unwrap();
    let agent = world.nodes[leader].disk.agent.unwrap();
    let lost: Vec<TaskId> = world.drivers[0]
        .beliefs
        .iter()
        .filter(|(_, belief)| belief.agent == agent)
        .map(|(task, _)| task.clone())
        .collect();
    assert!(!lost.is_empty(), "the leader's machine runs tasks too");
    world.crash_machine(leader);
    let timeout = u64::try_from(world.setup.master.agent_timeout.as_millis()).unwrap();
    let unreachable = |world: &World| {
        lost.iter().all(|task| world.drivers[0].beliefs[task].state == Some(TaskState::Unreachable))
    };
    assert!(world.run_until(timeout + 5_000, unreachable), "{:?}", world.drivers[0].beliefs);
    let others = world.drivers[0].beliefs.iter().filter(|(task, _)| !lost.contains(task));
    for (task, belief) in others {
        assert_eq!(belief.state, Some(TaskState::Running), "{task}");
    }
}

#[test]
fn a_machine_that_died_before_the_election_is_not_waited_for_longer_than_gossip_says() {
    for seed in 0..10 {
        let mut setup = Setup::of(machines(4, 4, 4096));
        setup.frameworks = vec![endless(8)];
        setup.master.agent_timeout = Duration::from_secs(600);
        let dead = u64::try_from(setup.master.agent_timeout_dead.as_millis()).unwrap();
        let mut world = World::new(setup, seed, false);
        assert!(world.run_until(20_000, World::is_whole), "seed {seed}: the cluster forms");
        let_all_run(&mut world);
        let old = world.leader().unwrap();
        let victim = 3;
        assert!(!world.raft.voters.contains(&victim), "a majority of the voters lives");
        world.reboot_machine(victim, 10_000_000);
        let heard = world.run_until(3_000, |world| world.believed_dead.contains(&victim));
        assert!(heard, "seed {seed}: gossip tells");
        world.elect_someone(Some(old));
        let id = world.nodes[victim].id;
        let unreachable = |world: &World| {
            let view = world.master_view();
            view.is_some_and(|view| {
                view.agents.iter().any(|row| row.id == id && row.state == NodeState::Unreachable)
            })
        };
        assert!(!unreachable(&world), "seed {seed}: the old leader would have waited longer");
        assert!(world.run_until(dead + 2_000, unreachable), "seed {seed}: the new one does not");
        assert!(world.term_led_by(old).is_none(), "seed {seed}: it is the new leader's word");
    }
}

#[test]
fn an_old_leader_on_the_minority_side_stops_within_one_lease_and_sends_nothing_later() {
    for seed in 0..10 {
        let frameworks = vec![endless(6), FrameworkSetup { tasks: 6, ..endless(6) }];
        let mut world = start(5, frameworks, seed);
        let_all_run(&mut world);
        let before = running(&world);
        let old = world.leader().unwrap();
        let old_term = world.term_led_by(old).unwrap();
        // The second framework is on the minority side, at the old leader itself.
        world.move_driver(1);
        world.run_ms(40);
        world.connect_driver(1, old);
        world.run_ms(2_000);
        world.net.set_group(Host::Node(old), 1);
        world.net.set_group(Host::Driver(1), 1);
        world.drivers[1].demand = 3;
        world.run_ms(world.setup.lease_ms + 60);
        assert_eq!(world.term_led_by(old), None, "seed {seed}: its lease has run out");
        world.run_ms(60);
        let offered = world.drivers[1].offers_seen;
        assert!(
            world.run_until(20_000, |world| { world.leader().is_some_and(|leader| leader != old) })
        );
        world.run_ms(5_000);
        assert_eq!(world.drivers[1].offers_seen, offered, "seed {seed}: offered without a lease");
        world.net.heal();
        assert!(
            world.run_until(20_000, World::is_whole),
            "seed {seed}: all nodes follow the new one"
        );
        world.run_ms(10_000);
        assert!(world.raft.term() > old_term);
        assert!(before.is_subset(&running(&world)), "seed {seed}: tasks of both sides live");
        let in_doubt = world.drivers[1].beliefs.values().filter(|belief| belief.state.is_none());
        assert_eq!(in_doubt.count(), 0, "seed {seed}: what was sent in vain is known to be");
        for node in &world.nodes {
            assert!(
                node.disk.term > Some(old_term),
                "seed {seed}: the old term is over everywhere"
            );
        }
    }
}

#[test]
fn tasks_outlive_the_gateway_of_a_framework_without_failover_time() {
    for seed in 0..10 {
        let patient = FrameworkSetup { failover_timeout_ms: 0, ..endless(10) };
        let mut world = start(5, vec![patient], seed);
        let_all_run(&mut world);
        let before = running(&world);
        let framework = world.drivers[0].framework;
        let gateway = (0..5).find(|node| {
            let process = world.nodes[*node].process.as_ref();
            process.is_some_and(|process| !process.callers.is_empty())
        });
        world.kill_node(gateway.unwrap(), 60_000);
        world.run_ms(30_000);
        assert_eq!(world.drivers[0].framework, framework, "seed {seed}");
        assert!(world.drivers[0].subscription.is_some() && !world.drivers[0].ended);
        assert!(before.is_subset(&running(&world)), "seed {seed}: no task was ended");
    }
}

#[test]
fn a_framework_that_never_comes_back_loses_its_tasks_in_the_end() {
    let brief = FrameworkSetup { failover_timeout_ms: 2_000, ..endless(6) };
    let mut world = start(3, vec![brief], 5);
    let_all_run(&mut world);
    world.crash_driver(0, 10_000_000);
    assert!(world.run_until(60_000, |world| running(world).is_empty()), "{:?}", running(&world));
    assert!(world.run_until(20_000, |world| invariants::not_yet_quiet(world).is_none()));
}

#[test]
fn tasks_live_on_when_node_and_launcher_are_killed_together() {
    let mut world = start(3, vec![endless(9)], 6);
    let_all_run(&mut world);
    let before = running(&world);
    for node in 0..3 {
        world.kill_launcher(node, 300);
        world.kill_node(node, 400);
        world.run_ms(4_000);
    }
    assert!(world.run_until(20_000, World::is_whole));
    assert!(before.is_subset(&running(&world)));
    assert!(all_run(&world), "{:?}", world.drivers[0].beliefs);
}

#[test]
fn short_tasks_all_end_and_leave_nothing_behind_without_any_fault() {
    let short = FrameworkSetup { tasks: 60, task_ms: 1..=300, ..FrameworkSetup::default() };
    let mut world = start(3, vec![short.clone(), short], 9);
    run::settle(&mut world);
    run::end_frameworks(&mut world);
    assert!(world.oracle.starts() >= 110);
}
