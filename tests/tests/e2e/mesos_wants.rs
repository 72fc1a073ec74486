//! What frameworks that speak Mesos's scheduler API say of offers.

use std::collections::BTreeSet;

use meshos_tests::{MesosFramework, Node};
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

/// The nodes whose agents a framework is offered.
fn nodes_in(offers: &[Value]) -> BTreeSet<String> {
    let agents = offers.iter().map(|offer| offer["agent_id"]["value"].as_str().unwrap());
    agents
        .map(|agent| agent.rsplit_once("-S").unwrap().1.split('.').next().unwrap().to_owned())
        .collect()
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

    // Of the node that it names, and of nothing else: what was offered before is taken back.
    let node = &cluster.nodes[gateway];
    let agent = framework.stream.open_offers()[0]["agent_id"].clone();
    let named = json!({"requests": [{"resources": [scalar("cpus", 3.0)], "agent_id": agent}]});
    framework.call(node, "REQUEST", &named);
    loop {
        let open = framework.stream.open_offers();
        if (cpus_in(open) - 3.0).abs() < 0.000_5 {
            assert!(open.iter().all(|offer| offer["agent_id"] == agent), "{open:?}");
            break;
        }
        framework.stream.event().expect("the stream is open");
    }

    // An empty list takes it back.
    framework.call(node, "REQUEST", &requests(0));
    while cpus_in(framework.stream.open_offers()) < 11.0 {
        framework.stream.event().expect("the stream is open");
    }
}

/// Reads until the answer to a question comes: what was said before has been read then.
fn catch_up(framework: &mut MesosFramework, node: &Node) {
    let asked = json!({"tasks": [{"task_id": {"value": "nobody-s"}}]});
    framework.call(node, "RECONCILE", &asked);
    framework.wait_for_state(node, "nobody-s", "TASK_LOST");
}

fn with_minimum(name: &str, mem: f64) -> Value {
    let mut info = info(name);
    let minimum = json!({"quantities": [{"quantities": {"mem": {"value": mem}}}]});
    info["offer_filters"] = json!({"*": {"min_allocatable_resources": minimum}});
    json!({"framework_info": info})
}

#[test]
fn a_framework_with_a_minimum_is_never_offered_less_of_any_leader() {
    let large = ["--resources", "cpus:4;mem:32768"];
    let mut cluster = cluster_with([&large, &[], &[]]);
    let gateway = cluster.follower();
    let node = &cluster.nodes[gateway];
    // Whoever is offered what it cannot use is so at once, before what it wishes is on record.
    for round in 0..10 {
        let subscribe = with_minimum(&format!("huge-{round}"), 1e6);
        let mut huge = MesosFramework::subscribe_with(node, &subscribe);
        catch_up(&mut huge, node);
        huge.stream.assert_nothing_offered();
        huge.call(node, "TEARDOWN", &Value::Null);
        let mut some = MesosFramework::subscribe_with(node, &with_minimum("some", 30_000.0));
        let offer = some.stream.wait_for_offer();
        let large = [cluster.nodes[0].id()].into();
        assert_eq!(nodes_in(&[offer]), large);
        catch_up(&mut some, node);
        assert_eq!(nodes_in(some.stream.open_offers()), BTreeSet::new(), "one offer");
        some.call(node, "TEARDOWN", &Value::Null);
    }
    let mut huge = MesosFramework::subscribe_with(node, &with_minimum("huge", 1e6));
    let mut some = MesosFramework::subscribe_with(node, &with_minimum("some", 30_000.0));
    some.stream.wait_for_offer();
    let leader = cluster.leader();
    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    cluster.nodes[leader.index].start();
    cluster.wait_until_ready();
    let node = &cluster.nodes[gateway];
    let offer = some.stream.wait_for_offer();
    assert_eq!(nodes_in(&[offer]), [cluster.nodes[0].id()].into());
    catch_up(&mut some, node);
    assert_eq!(nodes_in(some.stream.open_offers()), BTreeSet::new());
    catch_up(&mut huge, node);
    huge.stream.assert_nothing_offered();
}
