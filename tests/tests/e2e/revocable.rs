//! Resources that may be taken back at any time: offered to those who take them, run on, and counted by themselves.

use meshos_sdk::{
    TaskBuilder,
    protocol::{framework::Capabilities, resources::Resources, task::TaskState},
};
use meshos_tests::{
    Cluster, ClusterOptions, Framework, FrameworkOptions, Handling, Journal, PATIENCE, poll_until,
    wait_until,
};
use serde_json::{Value, json};

use crate::common::{assert_alive, assert_updates_in_order, wait_for_running};

/// What each node may take back.
const LENT: &str = "cpus:4;mem:512";
/// The same, as offers hold it.
const OFFERED: &str = "cpus{revocable}:4;mem{revocable}:512";

fn lending(seeds: usize, more: &[&str]) -> Cluster {
    let mut flags = vec!["--revocable-resources".to_owned(), LENT.to_owned()];
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    Cluster::start_with(ClusterOptions { seeds, flags, ..ClusterOptions::default() })
}

fn options(name: &str, gateway: usize, takes_revocable: bool) -> FrameworkOptions {
    let capabilities =
        Capabilities { revocable_resources: takes_revocable, ..Capabilities::default() };
    FrameworkOptions { capabilities, ..FrameworkOptions::new(name, &[gateway]) }
}

fn offered(framework: &Framework) -> Resources {
    let offers = poll_until(PATIENCE, "an offer", || {
        Some(framework.open_offers()).filter(|it| !it.is_empty())
    });
    offers.iter().map(|offer| &offer.resources).sum()
}

/// The value behind a row of the text format.
fn metric(cluster: &Cluster, node: usize, row: &str) -> Option<f64> {
    let text = cluster.nodes[node].get("/metrics").ok()?.text();
    text.lines().find_map(|line| line.strip_prefix(row)?.trim().parse().ok())
}

#[test]
fn what_may_be_taken_back_is_offered_to_those_who_take_it_and_runs_what_asks_for_it() {
    let cluster = lending(1, &[]);
    let keep = |options| FrameworkOptions { handling: Handling::Keep, ..options };
    let plain = Framework::start(&cluster, keep(options("plain", 0, false)));
    let had = offered(&plain);
    assert_eq!(had.revocable(), Resources::new(), "{had}");
    assert_eq!(had.cpus().units(), 64);
    // All else is held by the other, so this is what is left.
    let taker = Framework::start(&cluster, keep(options("taker", 0, true)));
    assert_eq!(offered(&taker).to_string(), OFFERED);
    drop((plain, taker));

    let command = |line: &[&str]| cluster.nodes[0].command(line);
    let line = ["run", "--revocable", "--cpus", "3", "--mem", "64", "--", "sleep", "1000"];
    let mut run = command(&line).start();
    run.wait_for_error_output("runs on");
    let tasks = cluster.nodes[0].json("/api/tasks").unwrap();
    let used = json!({ "cpus{revocable}": 3, "mem{revocable}": 64 });
    assert_eq!(tasks[0]["resources"], used, "{tasks}");
    let slaves = cluster.nodes[0].json("/slaves").unwrap();
    let slave = &slaves["slaves"][0];
    let shown = |what: &str, name: &str| slave[what][name].as_f64();
    assert_eq!(shown("resources", "cpus_revocable"), Some(4.0), "{slave}");
    assert_eq!(shown("used_resources", "cpus_revocable"), Some(3.0), "{slave}");
    assert_eq!(shown("resources", "cpus"), Some(64.0), "{slave}");
    assert_eq!(shown("used_resources", "cpus"), Some(0.0), "{slave}");
    let snapshot = cluster.nodes[0].json("/metrics/snapshot").unwrap();
    for (name, value) in [
        ("master/cpus_revocable_total", 4.0),
        ("master/cpus_revocable_used", 3.0),
        ("master/cpus_revocable_percent", 0.75),
        ("slave/mem_revocable_used", 64.0),
        ("master/cpus_total", 64.0),
        ("master/cpus_used", 0.0),
    ] {
        assert_eq!(snapshot[name].as_f64(), Some(value), "{name}");
    }
    let of_cpus = |amount: &str| {
        metric(
            &cluster,
            0,
            &format!("meshos_cluster_revocable{{resource=\"cpus\",amount=\"{amount}\"}}"),
        )
    };
    assert_eq!((of_cpus("total"), of_cpus("used")), (Some(4.0), Some(3.0)));
    assert_eq!(metric(&cluster, 0, "meshos_cluster_cpus{amount=\"used\"}"), Some(0.0));

    // One cpu is left of what may be taken back, and all the others are no use.
    let line = ["run", "--revocable", "--cpus", "2", "--start-within", "4s", "--", "true"];
    let waits = command(&line).run();
    assert_eq!(waits.code(), 125, "{waits:?}");
    assert!(waits.stderr.contains("1 node lacks cpus{revocable}"), "{waits:?}");
    let line = ["run", "--revocable", "--cpus", "5", "--start-within", "4s", "--", "true"];
    let large = command(&line).run();
    assert!(large.stderr.contains("lacks cpus{revocable}:1 even when it is empty"), "{large:?}");

    let node = cluster.nodes[0].id();
    let reserve = ["reserve", &node, "cpus{revocable}:1", "--role", "web"];
    let refused = command(&reserve).run();
    assert_ne!(refused.code(), 0, "{refused:?}");
    assert!(refused.stderr.contains("may be taken back"), "{refused:?}");

    run.interrupt();
    run.wait();
    poll_until(PATIENCE, "it is given back", || (of_cpus("used") == Some(0.0)).then_some(()));
}

#[test]
fn a_cluster_without_any_says_so() {
    let cluster = Cluster::start(1);
    let line = ["run", "--revocable=cpus", "--start-within", "4s", "--", "true"];
    let waits = cluster.nodes[0].command(&line).run();
    assert_eq!(waits.code(), 125, "{waits:?}");
    assert!(waits.stderr.contains("no node has revocable cpus"), "{waits:?}");
}

#[test]
fn root_a_task_on_revocable_cpus_weighs_little() {
    let cluster = lending(1, &["--isolation", "cgroups/cpu,cgroups/mem,cgroups/pids"]);
    let weight = "path() { sed -n \"s/^[0-9]*:$1:\\///p\" /proc/self/cgroup; }; \
        if [ -e /sys/fs/cgroup/cpu ]; then cat /sys/fs/cgroup/cpu/$(path cpu)/cpu.shares; \
        else cat /sys/fs/cgroup/$(path '')/cpu.weight; fi";
    let weight_of = |kind: &[&str]| {
        let words = [&["run", "--quiet", "--cpus", "4"], kind, &["--shell", "--", weight]].concat();
        let told = cluster.nodes[0].command(&words).run().success();
        told.stdout.trim().parse::<u64>().unwrap()
    };
    let weights = [weight_of(&[]), weight_of(&["--revocable"])];
    // Version 1 as it is set, version 2 what the kernel makes of that.
    assert!(weights == [4 * 1_024, 4 * 10] || weights == [157, 2], "{weights:?}");
}

/// What a node's agent holds for tasks, as the leader has it.
fn used(cluster: &Cluster, asked: usize, node: &str) -> Option<Value> {
    let rows = cluster.nodes[asked].json("/api/nodes")?;
    let row = rows.as_array()?.iter().find(|row| row["id"] == node && row["connected"] == true)?;
    Some(row["used"].clone())
}

#[test]
fn what_is_used_of_it_is_known_after_restarts_and_to_the_next_leader() {
    let mut cluster = lending(3, &[]);
    let first = cluster.leader();
    let victim = cluster.follower();
    let gateway = 3 - first.index - victim;
    let mut journal = Journal::new();
    let framework = Framework::start(&cluster, options("borrower", gateway, true));
    let node = cluster.nodes[victim].id();
    let line = journal.gated_line("lent", "gate", 0);
    let task = TaskBuilder::shell("lent", line).resources("cpus{revocable}:3;mem{revocable}:64");
    framework.submit_on(&node, [task.build().unwrap()]);
    let lent = ["lent".to_owned()];
    wait_for_running(&framework, &journal, &lent);
    let expected = json!({ "cpus{revocable}": 3, "mem{revocable}": 64 });
    let is_used = |cluster: &Cluster| used(cluster, gateway, &node).as_ref() == Some(&expected);
    wait_until("the leader counts it", || is_used(&cluster));

    // With less than its tasks hold the node does not start; with what it had it does.
    cluster.nodes[victim].terminate();
    let given = |cluster: &mut Cluster, text: &str| {
        let flags = &mut cluster.nodes[victim].arguments().flags;
        let position = flags.iter().position(|flag| flag == "--revocable-resources").unwrap();
        text.clone_into(&mut flags[position + 1]);
    };
    given(&mut cluster, "cpus:2;mem:512");
    let refused = cluster.nodes[victim].run_to_end();
    assert_eq!(refused.code(), 1, "{refused:?}");
    for part in [
        "they hold cpus{revocable}:3 and it has cpus{revocable}:2 (task ",
        "start it with at least that much (--revocable-resources)",
    ] {
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    given(&mut cluster, "cpus:5;mem:512");
    cluster.nodes[victim].start();
    cluster.wait_until_ready();
    assert_alive(&journal, &lent);
    wait_until("the leader counts it after the restart", || is_used(&cluster));

    cluster.nodes[first.index].kill();
    cluster.leader_after(first.term);
    wait_until("the next leader counts it", || is_used(&cluster));
    assert_alive(&journal, &lent);
    // Of five cpus three are in use, so a task of two fits beside it, and one of three does not.
    let taker = FrameworkOptions { handling: Handling::Keep, ..options("taker", gateway, true) };
    let taker = Framework::start(&cluster, taker);
    let rest: Resources = "cpus{revocable}:2;mem{revocable}:448".parse().unwrap();
    wait_until("the rest is offered", || {
        let offers = taker.open_offers();
        let of_victim = offers.iter().filter(|offer| offer.agent.node.to_string() == node);
        of_victim.map(|offer| offer.resources.revocable()).sum::<Resources>() == rest
    });
    drop(taker);

    journal.open_gate("gate");
    framework.wait_for_state("lent", TaskState::Finished);
    wait_until("it is given back", || used(&cluster, gateway, &node) == Some(json!({})));
    assert_updates_in_order(&framework);
}
