//! Nodes that operators empty: with a grace period, across a change of leader, and for good.

use std::time::{Duration, Instant};

use meshos_sdk::{
    TaskBuilder,
    protocol::task::{Reason, TaskDescription, TaskState},
};
use meshos_tests::{Cluster, ClusterOptions, Framework, FrameworkOptions, Journal, wait_until};
use serde_json::Value;

use crate::common::{
    assert_updates_in_order, gated, ids, shell, wait_for_births, wait_for_running,
};

/// The row of a node, as another tells it.
fn row(cluster: &Cluster, asked: usize, id: &str) -> Value {
    let rows = cluster.nodes[asked].command(&["nodes", "--json"]).run().success().json();
    let rows = rows.as_array().cloned().unwrap_or_default();
    rows.into_iter().find(|row| row["id"] == id).unwrap_or_default()
}

/// Tasks that ignore SIGTERM, ask for a day to end in, and wait for a gate that nobody opens.
fn stubborn(journal: &Journal, ids: &[String]) -> Vec<TaskDescription> {
    let task = |id: &String| {
        let line = format!("trap '' TERM; {}", journal.gated_line(id, "never", 0));
        TaskBuilder::shell(id, line)
            .cpus_mem("0.1", "32")
            .kill_grace_ms(24 * 3_600 * 1_000)
            .build()
            .expect("a good task")
    };
    ids.iter().map(task).collect()
}

/// Demands that each of these tasks has ended in this state because of the drain, told once, and that nothing of
/// it runs any more.
#[track_caller]
fn assert_ended_once(framework: &Framework, journal: &Journal, ids: &[String], state: TaskState) {
    let births = journal.births();
    for id in ids {
        let updates = framework.updates_of(id);
        let ends: Vec<_> = updates
            .iter()
            .filter(|update| update.state.is_terminal() && update.update.is_some())
            .map(|update| (update.state, update.reason))
            .collect();
        assert_eq!(ends, [(state, Some(Reason::AgentDraining))], "{id}: {updates:?}");
        assert!(births[id].iter().all(|birth| !birth.is_alive()), "{id} runs");
    }
    assert_updates_in_order(framework);
}

#[test]
fn a_drain_with_grace_ends_even_what_ignores_sigterm_when_the_time_is_over() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let asked = cluster.follower();
    let drained = 3 - leader.index - asked;
    let id = cluster.nodes[drained].id();
    let journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("drained", &[asked]));
    let (willing, deaf) = (ids("willing", 2), ids("deaf", 2));
    framework.submit_on(&id, gated(&journal, &willing, "never", 0));
    framework.submit_on(&id, stubborn(&journal, &deaf));
    wait_for_running(&framework, &journal, &willing);
    wait_for_running(&framework, &journal, &deaf);

    let began = Instant::now();
    // Long enough to look at it meanwhile, on a busy machine too.
    let told = cluster.nodes[asked].command(&["drain", &id, "--grace", "8s"]).run().success();
    let sentence = "drains: it is offered no more, its tasks are ended within 8s\n";
    assert!(told.stdout.ends_with(sentence), "{told:?}");
    framework.wait_for_all("the willing end", &willing, |state| state == TaskState::Killed);
    wait_until("the others are left", || {
        let row = row(&cluster, asked, &id);
        assert!(row["drain"]["grace_ms"] == 8_000, "{row}");
        let shown = cluster.nodes[asked].command(&["nodes"]).run().success().stdout;
        shown.contains("draining, 2 tasks left")
    });
    framework.wait_for_all("the deaf end too", &deaf, |state| state == TaskState::Killed);
    assert!(began.elapsed() >= Duration::from_secs(8), "they had their time");
    wait_until("the node is drained", || row(&cluster, asked, &id)["hold"] == "drained");
    let all: Vec<String> = willing.into_iter().chain(deaf).collect();
    assert_ended_once(&framework, &journal, &all, TaskState::Killed);

    // It is offered to nobody until that ends.
    let explained = cluster.nodes[asked].command(&["explain", "node", &id]).run().success();
    assert!(
        explained.stdout.contains("drains or is drained: its tasks are ended"),
        "{explained:?}"
    );
    let _told = cluster.nodes[asked].command(&["undrain", &id]).run().success();
    framework.submit_on(&id, [shell("after", "exit 0")]);
    framework.wait_for_state("after", TaskState::Finished);
}

#[test]
fn the_next_leader_finishes_a_drain_and_a_node_that_was_away_is_drained_when_it_is_back() {
    let mut cluster =
        Cluster::start_with(ClusterOptions { others: 1, ..ClusterOptions::default() });
    let leader = cluster.leader();
    let asked = cluster.follower();
    let drained = 3;
    let id = cluster.nodes[drained].id();
    let journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("moved", &[asked]));
    let first = ids("first", 3);
    framework.submit_on(&id, stubborn(&journal, &first));
    wait_for_running(&framework, &journal, &first);

    let _told = cluster.nodes[asked].command(&["drain", &id, "--grace", "3s"]).run().success();
    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    framework.wait_for_all("the tasks end", &first, |state| state == TaskState::Killed);
    wait_until("the next leader shows it drained", || {
        row(&cluster, asked, &id)["hold"] == "drained"
    });
    assert_ended_once(&framework, &journal, &first, TaskState::Killed);

    // The other way round: the node is away while it is drained.
    let _told = cluster.nodes[asked].command(&["reactivate", &id]).run().success();
    let second = ids("second", 2);
    framework.submit_on(&id, stubborn(&journal, &second));
    framework.wait_for_all("they run", &second, |state| state == TaskState::Running);
    wait_for_births(&journal, &second);
    cluster.nodes[drained].kill();
    wait_until("its connection is lost", || row(&cluster, asked, &id)["connected"] == false);
    let _told = cluster.nodes[asked].command(&["drain", &id, "--grace", "0s"]).run().success();
    cluster.nodes[drained].start();
    framework.wait_for_all("they end", &second, |state| state == TaskState::Killed);
    wait_until("it is drained", || row(&cluster, asked, &id)["hold"] == "drained");
    assert_ended_once(&framework, &journal, &second, TaskState::Killed);
}

#[test]
fn a_node_that_is_given_up_ends_when_it_is_empty_and_is_gone() {
    let mut cluster =
        Cluster::start_with(ClusterOptions { others: 1, ..ClusterOptions::default() });
    let asked = cluster.follower();
    let (drained, voter) = (3, cluster.nodes[0].id());
    let id = cluster.nodes[drained].id();
    let journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("bereft", &[asked]));
    let tasks = ids("task", 2);
    framework.submit_on(&id, stubborn(&journal, &tasks));
    wait_for_running(&framework, &journal, &tasks);

    let drain = |id: &str| {
        let command = ["drain", id, "--grace", "1s", "--mark-gone"];
        cluster.nodes[asked].command(&command).run()
    };
    let refused = drain(&voter);
    assert!(refused.stderr.contains("is a voter, and would be missed"), "{refused:?}");
    let told = drain(&id).success();
    let sentence = told.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(sentence.ends_with("once it is empty it is declared gone and its process ends"));
    framework
        .wait_for_all("the tasks are gone", &tasks, |state| state == TaskState::GoneByOperator);
    assert_eq!(cluster.nodes[drained].wait_for_end(), 0, "it was wanted");
    assert!(cluster.nodes[drained].launcher().is_none(), "nothing of it stays");
    wait_until("it is gone", || row(&cluster, asked, &id)["state"] == "gone");
    assert_ended_once(&framework, &journal, &tasks, TaskState::GoneByOperator);

    // Started again it is a new agent of the same node, and takes tasks.
    cluster.nodes[drained].start();
    cluster.wait_until_ready();
    wait_until("it takes part again", || row(&cluster, asked, &id)["state"] == "active");
    framework.submit_on(&id, [shell("new", "exit 0")]);
    framework.wait_for_state("new", TaskState::Finished);
}

#[test]
fn a_deactivated_node_keeps_its_tasks_and_takes_none_until_it_is_reactivated() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let asked = cluster.follower();
    let idle = 3 - leader.index - asked;
    let id = cluster.nodes[idle].id();
    let mut journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("idle", &[asked]));
    let tasks = ids("stay", 2);
    framework.submit_on(&id, gated(&journal, &tasks, "gate", 0));
    wait_for_running(&framework, &journal, &tasks);

    let run = |arguments: &[&str]| cluster.nodes[asked].command(arguments).run();
    let told = run(&["deactivate", &id]).success();
    assert!(told.stdout.ends_with("is deactivated: it is offered no more, its tasks go on\n"));
    assert_eq!(row(&cluster, asked, &id)["hold"], "deactivated");
    let explained = run(&["explain", "node", &id]).success();
    assert!(explained.stdout.contains("is deactivated: its tasks go on"), "{explained:?}");
    let refused = run(&["undrain", &id]);
    assert!(refused.stderr.contains("`meshos reactivate"), "{refused:?}");

    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    wait_until("the next leader knows", || row(&cluster, asked, &id)["connected"] == true);
    assert_eq!(row(&cluster, asked, &id)["hold"], "deactivated");
    framework.submit_on(&id, [shell("later", "exit 0")]);
    journal.open_gate("gate");
    framework.wait_for_all("the tasks go on", &tasks, |state| state == TaskState::Finished);
    assert!(framework.updates_of("later").is_empty(), "it waits for an offer of the node");
    let told = cluster.nodes[asked].command(&["reactivate", &id]).run().success();
    assert!(told.stdout.ends_with("is offered again\n"), "{told:?}");
    framework.wait_for_state("later", TaskState::Finished);
}
