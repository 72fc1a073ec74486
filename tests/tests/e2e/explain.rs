//! Why somebody is not offered what it wants: asked through any node, told to people and to scripts.

use meshos_tests::{
    Cluster, ClusterOptions, Finished, Framework, FrameworkOptions, Handling, PATIENCE, poll_until,
    wait_until,
};
use serde_json::Value;

use crate::common::shell;

/// The widest that text for people may be.
const COLUMNS: usize = 100;

fn small() -> Cluster {
    Cluster::start_with(ClusterOptions {
        resources: "cpus:4;mem:4096;ports:[31000-31009]".to_owned(),
        ..ClusterOptions::default()
    })
}

fn explain(cluster: &Cluster, node: usize, arguments: &[&str]) -> Finished {
    let arguments: Vec<&str> =
        std::iter::once("explain").chain(arguments.iter().copied()).collect();
    cluster.nodes[node].command(&arguments).run()
}

/// The text in one line, once it is known to fit a terminal.
fn text(told: &Finished) -> String {
    for line in told.stdout.lines() {
        assert!(line.chars().count() <= COLUMNS, "too wide: {line:?}");
    }
    told.stdout.replace("\n  ", " ")
}

/// The id of the framework of that name, once it is there.
fn framework_named(cluster: &Cluster, node: usize, name: &str) -> String {
    poll_until(PATIENCE, "the framework is listed", || {
        let rows = cluster.nodes[node].json("/api/frameworks")?;
        let row = rows.as_array()?.iter().find(|row| row["name"] == name)?;
        row["id"].as_str().map(str::to_owned)
    })
}

/// Every number in it that is larger than anything that a node has.
fn large_numbers(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(map) => map
            .iter()
            // Times are told in milliseconds and say so; a share may be of nothing.
            .filter(|(key, _)| !key.ends_with("_ms") && *key != "per_mille")
            .flat_map(|(_, value)| large_numbers(value))
            .collect(),
        Value::Array(list) => list.iter().flat_map(large_numbers).collect(),
        Value::Number(number) if number.as_f64().is_some_and(|number| number > 4_096.0) => {
            vec![value]
        }
        _ => Vec::new(),
    }
}

#[test]
fn a_run_that_waits_is_told_what_every_node_lacks_and_how_far_the_nearest_is() {
    let mut cluster = small();
    let (leader, follower) = (cluster.leader().index, cluster.follower());
    let line = ["run", "--name", "big", "--cpus", "100", "--role", "wide", "--", "true"];
    let mut waiting = cluster.nodes[follower].command(&line).start();
    let id = framework_named(&cluster, leader, "big");
    waiting.wait_for_error_output("on none even if it were empty; 3 nodes lack cpus");
    let said = waiting.stderr().replace("\n  ", " ");
    assert!(said.contains(" lack cpus:96"), "{said}");

    let arguments = ["task", "--framework", &id, "--resources", "cpus:100;mem:128", "--json"];
    for node in 0..3 {
        let told = explain(&cluster, node, &arguments).success().json();
        assert_eq!((&told["framework"], &told["role"]), (&id.as_str().into(), &"wide".into()));
        let allocator = &told["allocator"];
        assert_eq!((&allocator["considered"], &allocator["fits"]), (&3.into(), &0.into()));
        assert_eq!(allocator["fits_when_empty"], 0);
        assert_eq!(allocator["lacking"]["cpus"], 3);
        let nearest = &allocator["nearest"][0];
        assert_eq!(nearest["short"]["cpus"], 96, "{nearest}");
        assert!(nearest["hostname"].as_str().is_some_and(|name| !name.is_empty()), "{nearest}");
        assert_eq!(allocator["position"], 0);
    }
    let told = explain(&cluster, follower, &arguments[..5]).success();
    let told = text(&told);
    let whole = format!("a task of cpus:100;mem:128 of framework {id} in role wide fits on 0 of 3");
    assert!(told.contains(&whole), "{told}");

    let framework = explain(&cluster, follower, &["framework", &id, "--json"]).success().json();
    let role = &framework["allocator"]["roles"][0];
    assert_eq!(role["role_weight"], "1");
    assert_eq!(role["nearest"][0]["free"]["cpus"], 4, "{role}");
    for value in [&framework, &explain(&cluster, leader, &["role", "wide", "--json"]).json()] {
        assert_eq!(large_numbers(value), Vec::<&Value>::new(), "{value}");
    }
    let told = text(&explain(&cluster, follower, &["role", "wide"]).success());
    assert!(told.contains("1 of the 1 that wait for offers are in it"), "{told}");
    assert!(told.contains(&format!("{id}, its first, in role wide: 0 of 3 nodes")), "{told}");
    waiting.interrupt();
    assert_eq!(waiting.wait().code(), 130);
}

#[test]
fn a_node_tells_who_holds_it_and_a_task_where_it_is() {
    let mut cluster = small();
    let (leader, follower) = (cluster.leader().index, cluster.follower());
    let keeper = FrameworkOptions {
        handling: Handling::Keep,
        roles: vec!["web".to_owned()],
        ..FrameworkOptions::new("keeper", &[leader])
    };
    let keeper = Framework::start(&cluster, keeper);
    wait_until("all nodes are offered", || keeper.open_offers().len() == 3);
    let node_id = cluster.nodes[follower].id();
    keeper.submit_on(&node_id, [shell("napper", "exec sleep 100000")]);
    keeper.wait_for_state("napper", meshos_sdk::protocol::task::TaskState::Running);
    let id = keeper.id().to_string();

    let address = cluster.nodes[follower].http().to_string();
    for name in [&node_id, &address] {
        for node in 0..3 {
            let told = explain(&cluster, node, &["agent", name, "--json"]).success().json();
            assert_eq!(told["node_id"], node_id.as_str());
            let holder = &told["allocator"]["holders"][0];
            assert_eq!(
                (&holder["framework"], &holder["role"]),
                (&id.as_str().into(), &"web".into())
            );
            assert!(holder["allocated"]["cpus"].as_f64().is_some_and(|cpus| cpus <= 1.0), "{told}");
            assert_eq!(told["allocator"]["total"]["mem"], 4_096);
        }
    }
    let told = text(&explain(&cluster, leader, &["agent", &node_id]).success());
    assert!(told.contains(&format!("tasks of framework {id} in role web use cpus:")), "{told}");
    let drained = cluster.nodes[leader].command(&["drain", &node_id]).run();
    assert_eq!(drained.code(), 0, "{drained:?}");
    let told = text(&explain(&cluster, follower, &["node", &node_id]).success());
    assert!(
        told.contains("drains: its tasks go on") && told.contains("(agent_inactive)"),
        "{told}"
    );

    for task in ["napper".to_owned(), format!("{id}/napper")] {
        let told = explain(&cluster, follower, &["task", &task]).success();
        let told = text(&told);
        assert!(
            told.contains(&format!("task napper of framework {id} is running since")),
            "{told}"
        );
        assert!(told.contains(&format!("({node_id}) in role web")), "{told}");
    }
    keeper.kill("napper");
    keeper.wait_for_state("napper", meshos_sdk::protocol::task::TaskState::Killed);
    wait_until("the end is told", || {
        let told = explain(&cluster, leader, &["task", "napper", "--json"]).success().json();
        told["ended"] == true && told["state"] == "killed"
    });
}

#[test]
fn what_does_not_exist_is_told_in_a_sentence() {
    let mut cluster = small();
    let (leader, follower) = (cluster.leader().index, cluster.follower());
    let options = FrameworkOptions {
        roles: vec!["web".to_owned()],
        ..FrameworkOptions::new("idler", &[leader])
    };
    let framework = Framework::start(&cluster, options);
    let id = framework.id().to_string();
    for (arguments, sentence) in [
        (&["task", "no-such"][..], "the leader knows no task no-such"),
        (&["role", "nobody"], "no framework is in role nobody"),
        (&["agent", "nowhere"], "no node has the id, the hostname or the address \"nowhere\""),
        (&["framework", "F99"], "framework F99 never existed"),
        (
            &["task", "--framework", &id, "--resources", "cpus:1", "--role", "mail"],
            "is not in role mail: its roles are web",
        ),
    ] {
        let refused = explain(&cluster, follower, arguments);
        assert_eq!(refused.code(), 1, "{refused:?}");
        assert!(refused.stderr.replace("\n", " ").contains(sentence), "{refused:?}");
    }
    // What cannot be read is refused before anybody is asked.
    for (arguments, sentence) in [
        (&["task", "--framework", &id, "--resources", "cpus"][..], "invalid value 'cpus'"),
        (&["framework", "nobody"], "invalid value 'nobody'"),
        (&["role", "a b"], "invalid value 'a b'"),
    ] {
        let refused = explain(&cluster, follower, arguments);
        assert_eq!(refused.code(), 2, "{refused:?}");
        assert!(refused.stderr.contains(sentence), "{refused:?}");
    }
}

#[test]
fn a_run_that_a_limit_keeps_back_is_told_whose_it_is() {
    let mut cluster = small();
    let (leader, follower) = (cluster.leader().index, cluster.follower());
    let set = ["quota", "set", "par", "--limit", "cpus:0;mem:0"];
    let _told = cluster.nodes[follower].command(&set).run().success();
    let line = ["run", "--name", "kept", "--role", "par/kid", "--", "true"];
    let mut waiting = cluster.nodes[follower].command(&line).start();
    let id = framework_named(&cluster, leader, "kept");
    waiting.wait_for_error_output("(quota_limit)");
    let limit = "kept back by the limit of role par to cpus:0;mem:0, of which cpus:0;mem:0 is left";
    let said = waiting.stderr().replace("\n  ", " ");
    assert!(said.contains(limit), "{said}");
    let told = text(&explain(&cluster, leader, &["role", "par/kid"]).success());
    assert!(told.contains(limit), "{told}");
    let told = explain(&cluster, leader, &["framework", &id, "--json"]).success().json();
    let limits = &told["allocator"]["roles"][0]["figures"]["limits"][0];
    assert_eq!((&limits["role"], &limits["left"]["cpus"]), (&"par".into(), &0.into()), "{limits}");
    waiting.interrupt();
    assert_eq!(waiting.wait().code(), 130);
}

#[test]
fn a_task_is_told_to_fit_into_open_offers_and_by_its_reservation() {
    let mut cluster = small();
    let (leader, follower) = (cluster.leader().index, cluster.follower());
    let keeper = FrameworkOptions {
        handling: Handling::Keep,
        roles: vec!["web".to_owned()],
        ..FrameworkOptions::new("keeper", &[leader])
    };
    let keeper = Framework::start(&cluster, keeper);
    wait_until("all nodes are offered", || keeper.open_offers().len() == 3);
    let id = keeper.id().to_string();
    let ask = |resources: &str| {
        let arguments = ["task", "--framework", &id, "--resources", resources];
        explain(&cluster, follower, &arguments)
    };
    let told = text(&ask("cpus:2;mem:512").success());
    assert!(told.contains("fits into what the framework is offered on 3 nodes ("), "{told}");
    let told = text(&ask("cpus(web):2").success());
    assert!(told.contains("3 nodes lack cpus(web)"), "{told}");
    let refused = ask("disk(db)[v3]:500");
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stderr.replace('\n', " ").contains("reserved for role db"), "{refused:?}");

    // An agent by the id that Mesos's API gives it.
    let node_id = cluster.nodes[follower].id();
    let told = explain(&cluster, follower, &["agent", &node_id, "--json"]).success().json();
    let agent = told["agent"].as_str().unwrap().to_owned();
    let of_mesos = format!("c0ffee00-1234-4321-8888-123456789abc-S{agent}");
    let told = explain(&cluster, leader, &["agent", &of_mesos, "--json"]).success().json();
    assert_eq!(told["agent"], agent.as_str());
    for change in ["deactivate", "reactivate"] {
        let _told = cluster.nodes[follower].command(&[change, &of_mesos]).run().success();
    }
}
