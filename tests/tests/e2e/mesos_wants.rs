//! What frameworks that speak Mesos's scheduler API say of offers.

use meshos_tests::MesosFramework;
use serde_json::{Value, json};

use crate::wants::cluster_with;

fn info(name: &str) -> Value {
    json!({"user": "nobody", "name": name, "failover_timeout": 60.0})
}

fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
}

fn cpus_in(offers: &[Value]) -> f64 {
    let resources = offers.iter().flat_map(|offer| offer["resources"].as_array().unwrap());
    let cpus = resources.filter(|resource| resource["name"] == "cpus");
    cpus.map(|resource| resource["scalar"]["value"].as_f64().unwrap()).sum()
}

fn requests(count: usize) -> Value {
    let request = json!({"resources": [scalar("cpus", 1.0), scalar("mem", 64.0)]});
    json!({"requests": vec![request; count]})
}

/// Reads until the open offers hold so many cpus, and never more than that.
#[track_caller]
fn wait_for_cpus(framework: &mut MesosFramework, cpus: f64) {
    loop {
        let open = cpus_in(framework.stream.open_offers());
        assert!(open <= cpus, "offers of {open} cpus are open, {cpus} are wanted");
        if (open - cpus).abs() < 0.000_5 {
            return;
        }
        framework.stream.event().expect("the stream is open");
    }
}

#[test]
fn what_is_requested_cuts_offers_and_outlives_the_leader() {
    let mut cluster = cluster_with([&[]; 3]);
    let gateway = cluster.follower();
    let subscribe = json!({"framework_info": info("asks"), "suppressed_roles": ["*"]});
    let mut framework = MesosFramework::subscribe_with(&cluster.nodes[gateway], &subscribe);
    let node = &cluster.nodes[gateway];
    let wrong =
        json!({"requests": [{"resources": [scalar("cpus", 1.0)], "agent_id": {"value": "S0"}}]});
    let refused = framework.request(node, "REQUEST", &wrong).answer(node);
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.body.contains("place 1") && refused.body.contains("\"S0\""), "{refused:?}");
    framework.call(node, "REQUEST", &requests(3));
    framework.call(node, "REVIVE", &Value::Null);
    wait_for_cpus(&mut framework, 3.0);

    // One of the three is used, and two are still wanted of this leader and of the next.
    let offer = framework.stream.open_offers()[0].clone();
    let task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": offer["agent_id"],
        "resources": [scalar("cpus", 1.0), scalar("mem", 64.0)],
        "command": {"value": "exec sleep 100000"}});
    let launch = json!({"type": "LAUNCH", "launch": {"task_infos": [task]}});
    let accept = json!({"offer_ids": [offer["id"]], "operations": [launch],
        "filters": {"refuse_seconds": 0.0}});
    framework.stream.forget(&offer);
    framework.call(node, "ACCEPT", &accept);
    framework.wait_for_state(node, "t", "TASK_RUNNING");
    wait_for_cpus(&mut framework, 2.0);
    let leader = cluster.leader();
    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    framework.stream.wait_for("its offers are void", |kind, _| (kind == "RESCIND").then_some(()));
    cluster.nodes[leader.index].start();
    cluster.wait_until_ready();
    let of_former = format!("-O{}.", leader.term);
    loop {
        wait_for_cpus(&mut framework, 2.0);
        let open = framework.stream.open_offers().iter();
        if !open.map(|offer| offer["id"]["value"].to_string()).any(|id| id.contains(&of_former)) {
            break;
        }
        framework.stream.event().expect("the stream is open");
    }

    // An empty list takes it back.
    let node = &cluster.nodes[gateway];
    framework.call(node, "REQUEST", &requests(0));
    while cpus_in(framework.stream.open_offers()) < 11.0 {
        framework.stream.event().expect("the stream is open");
    }
}
