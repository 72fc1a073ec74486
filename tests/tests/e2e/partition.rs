//! The leader is cut off from the other nodes, and later not any more.

use std::{net::SocketAddr, path::PathBuf, time::Instant};

use meshos_sdk::protocol::task::TaskState;
use meshos_tests::{
    Cluster, ClusterOptions, Command, Framework, FrameworkOptions, Handling, Journal, Leader,
    Network, Node, Note, PATIENCE, poll_until, say, since_logged, wait_until,
};

use crate::common::{
    assert_alive, assert_started_at_most_once, assert_updates_in_order, gated, ids,
    wait_for_running,
};

const PORT: u16 = 5050;

/// Three seeds, each on a machine of its own.
fn machines(network: &Network) -> Cluster {
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    let keys: PathBuf = cluster.path().join("keys");
    let shown = keys.display().to_string();
    assert_eq!(Command::new(cluster.path(), ["keygen", "--dir", shown.as_str()]).run().code(), 0);
    let seeds =
        (0..3).map(|index| SocketAddr::new(network.address(index).into(), PORT).to_string());
    let seeds: Vec<String> = seeds.collect();
    for (index, node) in cluster.nodes.iter_mut().enumerate() {
        let arguments = node.arguments();
        arguments.address = network.address(index).into();
        arguments.port = PORT;
        arguments.wrapper = network.wrapper(index);
        let mut seeds = seeds.iter();
        let mut follows_seed = false;
        arguments.flags.retain(|flag| flag != "--open-http");
        for flag in &mut arguments.flags {
            if std::mem::replace(&mut follows_seed, flag == "--seed") {
                flag.clone_from(seeds.next().expect("there are three seeds"));
            }
        }
        arguments.flags.extend(["--keys".to_owned(), shown.clone()]);
    }
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.wait_until_ready();
    cluster
}

/// Whether a framework believes itself connected.
fn is_connected(framework: &Framework) -> bool {
    let notes = framework.notes();
    let told = notes.iter().rev().find_map(|(_, note)| match note {
        Note::Registered(_) | Note::Reregistered(_) => Some(true),
        Note::Disconnected => Some(false),
        _ => None,
    });
    told.unwrap_or(false)
}

/// A leader's lease is the shortest time of an election, which the tests multiply by four.
const LEASE_S: f64 = 4.0 * 0.3;
/// How late a busy machine may be with the last answers before the cut and with the end after it.
const BUSY_S: f64 = 5.0;

/// The old leader, alone: it stops offering and launching and says that there is no leader. Gives the line in which it
/// logged that its master ended.
fn assert_deposed(
    cluster: &Cluster,
    network: &Network,
    alone: &Leader,
    inside: &Framework,
    cut: Instant,
) -> String {
    let node = &cluster.nodes[alone.index];
    poll_until(PATIENCE, "the old leader says that there is no leader", || {
        let answer = network.on(alone.index, || node.get("/api/leader")).ok()?;
        let is_told = answer.status == 503 && answer.text().contains("no leader");
        is_told.then_some(())
    });
    say(format_args!(
        "the old leader said that there is no leader {:?} after the cut",
        cut.elapsed()
    ));
    let log = node.log();
    let deposed = log.lines().rev().find(|line| line.contains("the master is deposed"));
    let deposed = deposed.expect("the master says when it was deposed").to_owned();
    let ended_after = -since_logged(&deposed, cut);
    say(format_args!("the master of the old leader ended {ended_after:.2} s after the cut"));
    assert!(ended_after < LEASE_S + BUSY_S, "the lease was kept: {ended_after} s after the cut");
    wait_until("its framework is told, and has no offers", || {
        !is_connected(inside) && inside.open_offers().is_empty()
    });
    deposed
}

/// What a framework was offered after its leader's master had ended. An offer that left before may take a moment.
fn offered_after(framework: &Framework, deposed: &str) -> Vec<f64> {
    const ON_ITS_WAY_S: f64 = 1.0;
    let notes = framework.notes();
    let offers = notes.iter().filter(|(_, note)| matches!(note, Note::Offers(_)));
    let after = offers.map(|(at, _)| since_logged(deposed, *at));
    after.filter(|seconds| *seconds > ON_ITS_WAY_S).collect()
}

/// Waits for offers that a framework hears from a moment on; all of them are of leaders above a term.
fn assert_offers_of_later_terms(framework: &Framework, from: Instant, term: u64) {
    let offers = framework.wait_for("the framework is offered something", |notes| {
        let heard = notes.iter().filter(|(at, _)| *at > from).filter_map(|(_, note)| match note {
            Note::Offers(offers) => Some(offers.iter().map(|offer| offer.id)),
            _ => None,
        });
        let offers: Vec<_> = heard.flatten().collect();
        (!offers.is_empty()).then_some(offers)
    });
    assert!(offers.iter().all(|offer| offer.term.0 > term), "of the old leader: {offers:?}");
}

/// The other side goes on under a leader of a higher term.
fn leader_of_majority(cluster: &Cluster, alone: &Leader, others: &[usize]) -> Leader {
    let new = poll_until(PATIENCE, "the majority has a leader", || {
        let told = others.iter().map(|index| cluster.leader_told_by(*index));
        let told = told.collect::<Option<Vec<_>>>()?;
        (told[0] == told[1] && told[0].term > alone.term).then(|| told[0].clone())
    });
    assert_ne!(new.index, alone.index);
    new
}

/// What was launched across the cut never started; each other late task started once, or never and was dropped.
fn assert_late_tasks(journal: &Journal, inside: &Framework, across: &[String], rest: &[String]) {
    let (births, states) = (journal.births(), inside.states());
    for id in across {
        assert_eq!((births.get(id), states[id]), (None, TaskState::Dropped), "{id}");
    }
    for id in rest {
        let started = births.contains_key(id);
        assert_eq!(started, states[id] == TaskState::Finished, "{id} is {}", states[id]);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, from the cut to the healing")]
fn root_ip_a_leader_that_is_cut_off_stops_and_nothing_it_held_back_is_sent_later() {
    let network = Network::new(3);
    let mut cluster = machines(&network);
    let alone = cluster.leader();
    let others: Vec<usize> = (0..3).filter(|index| *index != alone.index).collect();
    let keep = |name: &str, gateways: &[usize]| FrameworkOptions {
        handling: Handling::Keep,
        ..FrameworkOptions::new(name, gateways)
    };
    let outside = Framework::start(&cluster, FrameworkOptions::new("outside", &others));
    let mut journal = Journal::new();
    let (near, far, free) = (ids("near", 5), ids("far", 5), ids("free", 5));
    let far_node = cluster.nodes[others[0]].id();
    outside.submit_on(&far_node, gated(&journal, &free, "gate", 0));
    wait_for_running(&outside, &journal, &free);
    // From here on it keeps whatever it is offered.
    let inside =
        network.on(alone.index, || Framework::start(&cluster, keep("inside", &[alone.index])));
    inside.submit_on(&alone.node_id, gated(&journal, &near, "gate", 0));
    inside.submit_on(&far_node, gated(&journal, &far, "gate", 0));
    wait_for_running(&inside, &journal, &near);
    wait_for_running(&inside, &journal, &far);
    wait_until("the framework inside holds offers of all", || inside.open_offers().len() == 3);

    let cut = Instant::now();
    network.cut(alone.index);
    // The old leader believes in itself for a moment still, and is asked to launch on both sides.
    let late = ids("late", 10);
    inside.submit_on(&far_node, gated(&journal, &late[..5], "gate", 0));
    inside.submit_on(&alone.node_id, gated(&journal, &late[5..], "gate", 0));
    let deposed = assert_deposed(&cluster, &network, &alone, &inside, cut);
    let sent = inside.launched();
    let (across, others_late): (Vec<String>, Vec<String>) =
        late.iter().cloned().partition(|id| late[..5].contains(id) && sent.contains_key(id));
    assert!(!across.is_empty(), "nothing was launched across the cut: {sent:?}");

    let new = leader_of_majority(&cluster, &alone, &others);
    let more = ids("more", 5);
    outside.submit(gated(&journal, &more, "gate", 0));
    wait_for_running(&outside, &journal, &more);
    wait_until("the node that was cut off is unreachable", || {
        let nodes = cluster.nodes[new.index].json("/api/nodes").unwrap_or_default();
        let rows = nodes.as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter().any(|row| row["id"] == alone.node_id.as_str() && row["state"] == "unreachable")
    });
    for tasks in [&near, &far, &free] {
        assert_alive(&journal, tasks);
    }

    assert_eq!(offered_after(&inside, &deposed), [0.0; 0], "the old leader offers nothing more");
    let healed = Instant::now();
    network.heal(alone.index);
    cluster.wait_until_ready();
    wait_until("the framework inside is back", || is_connected(&inside));
    // What was launched across the cut must not come out of any queue now. The rest was started once, by the old leader
    // on its own side or by the new one, or never will be.
    inside.wait_for_all("no task launched across the cut was started", &across, |state| {
        state == TaskState::Dropped
    });
    inside.wait_for_all("each other late task was started or dropped", &others_late, |state| {
        matches!(state, TaskState::Running | TaskState::Dropped)
    });
    let after = ids("after", 5);
    inside.submit_on(&far_node, gated(&journal, &after, "gate", 0));
    wait_for_running(&inside, &journal, &after);
    assert_offers_of_later_terms(&inside, healed, alone.term);
    for tasks in [&near, &far, &free, &more] {
        assert_alive(&journal, tasks);
    }
    journal.open_gate("gate");
    let mut all: Vec<String> = [near, far, late.clone(), after].concat();
    inside.wait_for_all("the tasks of the framework inside end", &all, TaskState::is_terminal);
    outside.wait_for_all(
        "the tasks of the framework outside finish",
        &[free, more].concat(),
        |state| state == TaskState::Finished,
    );
    all.retain(|id| !late.contains(id));
    inside.wait_for_all("none but late tasks were dropped", &all, |state| {
        state == TaskState::Finished
    });
    assert_started_at_most_once(&journal);
    assert_updates_in_order(&inside);
    assert_updates_in_order(&outside);
    assert_late_tasks(&journal, &inside, &across, &others_late);
}
