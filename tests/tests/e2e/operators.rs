//! What operators change, asked of a node that does not lead.

use meshos_sdk::protocol::task::TaskState;
use meshos_tests::{
    Cluster, ClusterOptions, Framework, FrameworkOptions, Handling, Journal, sweep, wait_until,
};
use serde_json::Value;

use crate::common::{assert_alive, gated, ids, shell, wait_for_running};

/// The row of a node, as another tells it.
fn row(cluster: &Cluster, asked: usize, id: &str) -> Option<Value> {
    let rows = cluster.nodes[asked].command(&["nodes", "--json"]).run().success().json();
    rows.as_array()?.iter().find(|row| row["id"] == id).cloned()
}

#[test]
fn weights_are_set_through_any_node_and_outlive_the_leader() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let asked = cluster.follower();
    let run = |cluster: &Cluster, arguments: &[&str]| cluster.nodes[asked].command(arguments).run();
    let set = run(&cluster, &["weights", "set", "batch/low", "2.5", "--json"]).success().json();
    assert_eq!((&set["role"], &set["weight"]), (&"batch/low".into(), &"2.5".into()));
    let told = run(&cluster, &["weights", "set", "web", "3"]).success();
    assert_eq!(told.stdout, "role web has the weight 3\n");
    // What was set is seen by whoever looks next.
    for number in 1..=9 {
        let weight = format!("{number}.25");
        let _told = run(&cluster, &["weights", "set", "seen", &weight]).success();
        let rows = run(&cluster, &["weights", "--json"]).success().json();
        let row = rows.as_array().unwrap().iter().find(|row| row["role"] == "seen");
        assert_eq!(row.unwrap()["weight"], weight);
    }
    for weight in ["0", "-1", "x", "1000001", "1e300"] {
        let refused = run(&cluster, &["weights", "set", "web", weight]);
        assert_eq!(refused.code(), 2, "{refused:?}");
        let expected = "expected a number from 0.001 to 1000000";
        assert!(refused.stderr.replace("\n  ", " ").contains(expected), "{refused:?}");
    }

    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    wait_until("the next leader knows the weights", || {
        let rows = run(&cluster, &["weights", "--json"]).success().json();
        let weight = |role: &str| {
            let row = rows.as_array().unwrap().iter().find(|row| row["role"] == role);
            row.map(|row| row["weight"].clone())
        };
        weight("batch/low") == Some("2.5".into()) && weight("web") == Some("3".into())
    });
}

#[test]
fn a_drained_node_keeps_its_tasks_and_gets_no_more_until_it_is_undrained() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let asked = cluster.follower();
    let drained = 3 - leader.index - asked;
    let id = cluster.nodes[drained].id();
    let mut journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("drained", &[asked]));
    let tasks = ids("stay", 3);
    framework.submit_on(&id, gated(&journal, &tasks, "gate", 0));
    wait_for_running(&framework, &journal, &tasks);

    let told = cluster.nodes[asked].command(&["drain", &id]).run().success();
    assert!(told.stdout.ends_with("it is offered no more, its tasks go on\n"), "{told:?}");
    assert_eq!(row(&cluster, asked, &id).unwrap()["state"], "draining");
    wait_until("gossip spreads that the node drains", || {
        row(&cluster, asked, &id).unwrap()["health"]["draining"] == true
    });
    let options =
        FrameworkOptions { handling: Handling::Keep, ..FrameworkOptions::new("late", &[asked]) };
    let late = Framework::start(&cluster, options);
    wait_until("the others are offered", || late.open_offers().len() == 2);
    assert!(late.open_offers().iter().all(|offer| offer.agent.node.to_string() != id));
    assert_alive(&journal, &tasks);

    // By its address this time; a name that several have, or none, is refused.
    let address = row(&cluster, asked, &id).unwrap()["address"].as_str().unwrap().to_owned();
    let hostname = row(&cluster, asked, &id).unwrap()["hostname"].as_str().unwrap().to_owned();
    let nobody = cluster.nodes[asked].command(&["undrain", "nobody"]).run();
    assert_eq!(nobody.code(), 1);
    let sentence = "no node has the id, the hostname or the address \"nobody\"; `meshos nodes`";
    assert!(nobody.stderr.contains(sentence), "{nobody:?}");
    let all = cluster.nodes[asked].command(&["undrain", &hostname]).run();
    assert!(all.stderr.contains(&format!("3 nodes are called \"{hostname}\"")), "{all:?}");
    let told = cluster.nodes[asked].command(&["undrain", &address]).run().success();
    assert!(told.stdout.contains(&format!("{id} ({address})")), "{told:?}");
    assert!(told.stdout.ends_with("is offered again\n"), "{told:?}");
    wait_until("it is offered again", || {
        late.open_offers().iter().any(|offer| offer.agent.node.to_string() == id)
    });
    journal.open_gate("gate");
    framework.wait_for_all("the tasks finish", &tasks, |state| state == TaskState::Finished);
}

#[test]
fn a_node_that_is_declared_gone_takes_its_tasks_along_and_makes_room() {
    let mut cluster = Cluster::start_with(ClusterOptions {
        others: 1,
        flags: vec!["--nodes-max".to_owned(), "4".to_owned()],
        ..ClusterOptions::default()
    });
    let asked = cluster.follower();
    let gone = 3;
    let id = cluster.nodes[gone].id();
    let journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("bereft", &[asked]));
    let tasks = ids("task", 3);
    framework.submit_on(&id, gated(&journal, &tasks, "gate", 0));
    wait_for_running(&framework, &journal, &tasks);
    let connected = cluster.nodes[asked].command(&["gone", &id, "--yes"]).run();
    assert_eq!(connected.code(), 1);
    let sentence = format!("node {id} is connected, and would come back");
    assert!(connected.stderr.contains(&sentence), "{connected:?}");
    assert!(connected.stderr.contains(&format!("`meshos drain {id}`")), "{connected:?}");
    assert_alive(&journal, &tasks);
    let data_dir = cluster.nodes[gone].data_dir().to_owned();
    cluster.nodes[gone].kill();
    sweep(&data_dir);

    // The machine comes back empty, which is a fifth node: one too many.
    std::fs::remove_dir_all(&data_dir).unwrap();
    let refused = cluster.nodes[gone].run_to_end();
    assert_eq!(refused.code(), 1, "{refused:?}");
    let sentence = "the cluster has reached its limit of 4 nodes";
    assert!(refused.stderr.contains(sentence), "{refused:?}");
    assert!(refused.stderr.contains("`meshos gone NODE --yes`"), "{refused:?}");

    wait_until("its connection is lost", || {
        row(&cluster, asked, &id).unwrap()["connected"] == false
    });
    let unmeant = cluster.nodes[asked].command(&["gone", &id]).run();
    assert_eq!(unmeant.code(), 1);
    assert!(unmeant.stderr.contains("add --yes if that is meant"), "{unmeant:?}");
    let told = cluster.nodes[asked].command(&["gone", &id, "--yes", "--json"]).run().success();
    assert_eq!(told.json()["gone"], true);
    // Committed before it was answered.
    assert_eq!(row(&cluster, asked, &id).unwrap()["state"], "gone");
    framework
        .wait_for_all("the tasks are gone", &tasks, |state| state == TaskState::GoneByOperator);
    let again = cluster.nodes[asked].command(&["gone", &id, "--yes"]).run();
    assert!(again.stderr.contains("is gone already"), "{again:?}");

    cluster.nodes[gone].start();
    cluster.wait_until_ready();
    let new = cluster.nodes[gone].id();
    assert_ne!(new, id);
    framework.submit_on(&new, [shell("new", "exit 0")]);
    framework.wait_for_state("new", TaskState::Finished);
}

#[test]
fn nodes_tell_each_other_how_they_fare_and_what_they_are() {
    let mut cluster =
        Cluster::start_with(ClusterOptions { others: 1, ..ClusterOptions::default() });
    let asked = cluster.follower();
    wait_until("voters say that they are voters", || {
        let rows = cluster.nodes[asked].command(&["nodes", "--json"]).run().success().json();
        let voters = rows
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["roles"] == serde_json::json!(["agent", "voter"]));
        voters.count() == 3
    });
    let rows = cluster.nodes[asked].command(&["nodes", "--json"]).run().success().json();
    for row in rows.as_array().unwrap() {
        let health = &row["health"];
        assert!(health["load"].as_f64().is_some_and(|load| load >= 0.0), "{row}");
        for share in ["memory_pressure", "disk_pressure"] {
            let share = health[share].as_f64();
            assert!(share.is_some_and(|share| (0.0..=1.0).contains(&share)), "{row}");
        }
        assert_eq!(health["draining"], false);
    }
    let metrics = cluster.nodes[asked].get("/metrics").expect("it answers").text();
    for metric in ["meshos_node_load_average ", "meshos_node_pressure_ratio{resource=\"disk\"} "] {
        assert!(metrics.contains(metric), "{metric}");
    }
}

#[test]
fn quota_priority_and_policy_are_set_on_a_live_cluster_without_losing_an_offer() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let asked = cluster.follower();
    let run = |cluster: &Cluster, arguments: &[&str]| cluster.nodes[asked].command(arguments).run();
    let told = run(&cluster, &["quota", "set", "batch", "--limit", "cpus:2"]).success();
    assert_eq!(told.stdout, "role batch is guaranteed nothing and limited in cpus:2\n");
    let options = FrameworkOptions {
        handling: Handling::Keep,
        roles: vec!["batch".to_owned()],
        ..FrameworkOptions::new("limited", &[asked])
    };
    let framework = Framework::start(&cluster, options);
    wait_until("what the limit allows is offered", || !framework.open_offers().is_empty());
    let offered = || {
        let offers = framework.open_offers();
        let cpus: i64 = offers.iter().map(|offer| offer.resources.cpus().millis()).sum();
        (cpus, offers.into_iter().map(|offer| offer.id).collect::<Vec<_>>())
    };
    let before = offered();
    assert_eq!(before.0, 2_000, "of three nodes with 64 each");

    assert_eq!(run(&cluster, &["policy"]).success().stdout, "drf\n");
    for policy in ["max-min:mem", "fair-decay:1h", "random", "priority"] {
        let told = run(&cluster, &["policy", "set", policy]).success();
        assert_eq!(told.stdout, format!("the policy is {policy}\n"));
        assert_eq!(run(&cluster, &["policy"]).success().stdout, format!("{policy}\n"));
    }
    let told = run(&cluster, &["priority", "set", "batch", "-3"]).success();
    assert_eq!(told.stdout, "role batch has the priority -3\n");
    assert_eq!(offered(), before, "nothing was taken back");

    for (arguments, code, expected) in [
        (&["policy", "set", "fairest"][..], 2, "no allocation policy `fairest`"),
        (&["quota", "set", "batch", "--limit", "cpus"], 2, "at byte 4"),
        (&["quota", "set", "batch", "--guarantee", "ports:[1-2]"], 2, "only amounts"),
        (&["quota", "set", "batch", "--limit", "cpus:4;cpus:5"], 2, "cpus is named twice"),
        (&["quota", "set", "batch/kid", "--guarantee", "cpus:3"], 1, "role batch is limited"),
        (&["quota", "set", "web", "--guarantee", "cpus:9999"], 1, "cpus"),
    ] {
        let refused = run(&cluster, arguments);
        assert_eq!(refused.code(), code, "{refused:?}");
        assert!(refused.stderr.contains(expected), "{refused:?}");
    }
    let told = run(&cluster, &["quota", "set", "none", "--limit", "cpus:0;gpus:0"]).success();
    assert_eq!(told.stdout, "role none is guaranteed nothing and limited in cpus:0;gpus:0\n");
    let forced = ["quota", "set", "web", "--guarantee", "cpus:9999", "--force"];
    let _told = run(&cluster, &forced).success();

    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    let roles = run(&cluster, &["roles", "--json"]).success().json();
    let role = |name: &str| {
        let row = roles.as_array().unwrap().iter().find(|row| row["role"] == name);
        row.cloned().unwrap_or_default()
    };
    assert_eq!(role("batch")["priority"], -3);
    assert_eq!(role("batch")["limit"]["cpus"], 2);
    assert_eq!(role("none")["limit"], serde_json::json!({"cpus": 0, "gpus": 0}));
    assert_eq!(role("web")["guarantee"]["cpus"], 9_999);
    assert_eq!(run(&cluster, &["policy"]).success().stdout, "priority\n");
    let _told = run(&cluster, &["quota", "clear", "web"]).success();
    let shown = run(&cluster, &["quota"]).success().stdout;
    assert!(!shown.contains("9999") && shown.contains("cpus:2"), "{shown}");
}
