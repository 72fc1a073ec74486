//! Maintenance windows: who is asked, what operators see of the answers, whoever leads; and how it begins and ends.

use meshos_sdk::protocol::{maintenance::InverseOffer, task::TaskState};
use meshos_tests::{
    Cluster, ClusterOptions, Finished, Framework, FrameworkOptions, Handling, Journal,
    MesosFramework, MesosRequest as Request, MesosResponse as Response, Node, Note, poll_until,
    wait_until,
};
use serde_json::{Value, json};

use crate::common::{gated, ids, shell, wait_for_running};

fn run(node: &Node, arguments: &[&str]) -> Finished {
    let command = [&["maintenance"], arguments].concat();
    node.command(&command).run()
}

/// What a command told, in one line: long sentences are broken.
fn sentence(told: &Finished) -> String {
    told.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The nodes in windows, as this node tells them.
fn rows(node: &Node) -> Vec<Value> {
    let rows = run(node, &["--json"]).success().json();
    rows.as_array().cloned().unwrap_or_default()
}

/// What was said of the only node in a window.
fn said(node: &Node) -> Vec<Value> {
    rows(node).first().and_then(|row| row["asked"].as_array().cloned()).unwrap_or_default()
}

/// The newest question that the framework was told and need not have forgotten, of this term or a later one.
#[track_caller]
fn question(framework: &Framework, term: u64, count: usize) -> InverseOffer {
    framework.wait_for("it is asked", |notes| {
        let asked = notes.iter().filter_map(|(_, note)| match note {
            Note::Asked(offers) => Some(offers),
            _ => None,
        });
        let asked: Vec<&InverseOffer> =
            asked.flatten().filter(|offer| offer.id.term.0 >= term).collect();
        (asked.len() == count).then(|| asked[count - 1].clone())
    })
}

fn row(cluster: &Cluster, asked: usize, id: &str) -> Value {
    let rows = cluster.nodes[asked].command(&["nodes", "--json"]).run().success().json();
    let rows = rows.as_array().cloned().unwrap_or_default();
    rows.into_iter().find(|row| row["id"] == id).unwrap_or_default()
}

#[test]
fn whoever_has_tasks_is_asked_by_each_leader_and_operators_begin_and_end_maintenance() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let asked = cluster.follower();
    let away = 3 - leader.index - asked;
    let id = cluster.nodes[away].id();
    let journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("there", &[asked]));
    let tasks = ids("task", 2);
    framework.submit_on(&id, gated(&journal, &tasks, "never", 0));
    wait_for_running(&framework, &journal, &tasks);
    // It keeps what it is offered, and has nothing anywhere.
    let idle =
        FrameworkOptions { handling: Handling::Keep, ..FrameworkOptions::new("idle", &[asked]) };
    let idle = Framework::start(&cluster, idle);

    // Through a node that does not lead.
    let node = &cluster.nodes[asked];
    let told = run(node, &["set", &id, "--in", "2h", "--for", "30m"]).success();
    assert!(sentence(&told).contains("whoever has something there is asked"), "{told:?}");
    let offer = question(&framework, leader.term, 1);
    assert_eq!(offer.agent.node.to_string(), id);
    assert_eq!(offer.unavailability.duration_ms, Some(1_800_000));
    wait_until("it is shown as asked", || said(node).len() == 1);
    let (framework_id, answer) =
        (said(node)[0]["framework_id"].clone(), said(node)[0]["answer"].clone());
    assert_eq!((framework_id, answer), (json!(framework.id().to_string()), Value::Null));
    framework.driver().accept_inverse_offers(std::slice::from_ref(&offer), None);
    wait_until("its answer is shown", || said(node)[0]["answer"] == "accepted");
    let shown = run(node, &[]).success().stdout;
    assert!(shown.contains("planned") && shown.contains("accepted"), "{shown}");
    // Offers tell it, too.
    idle.wait_for("an offer of the node tells when it will be away", |notes| {
        let offers = notes.iter().filter_map(|(_, note)| match note {
            Note::Offers(offers) => Some(offers),
            _ => None,
        });
        let mut there = offers.flatten().filter(|offer| offer.agent.node.to_string() == id);
        there.any(|offer| offer.unavailability == Some(offer_of(&framework))).then_some(())
    });
    assert!(!idle.notes().iter().any(|(_, note)| matches!(note, Note::Asked(_))), "it has nothing");
    drop(idle);

    // Another time is another question.
    drop(run(node, &["set", &id, "--start", "2126-12-24T02:00:00Z"]).success());
    let offer = question(&framework, leader.term, 2);
    assert_eq!(offer.unavailability.start.0, 4_953_751_200_000);
    framework.driver().decline_inverse_offers(&[offer], None);
    wait_until("its answer is shown", || said(node)[0]["answer"] == "declined");

    // The next leader knows the window and asks anew.
    cluster.nodes[leader.index].kill();
    let next = cluster.leader_after(leader.term);
    let offer = question(&framework, next.term, 1);
    assert_eq!(offer.unavailability.start.0, 4_953_751_200_000);
    framework.driver().accept_inverse_offers(&[offer], None);
    let node = &cluster.nodes[asked];
    wait_until("its answer is shown", || {
        said(node).first().is_some_and(|row| row["answer"] == "accepted")
    });

    begins_and_ends(&cluster, asked, &id, (&framework, &tasks));
}

/// Maintenance of a node begins with a drain and ends with offers.
fn begins_and_ends(
    cluster: &Cluster,
    asked: usize,
    id: &str,
    (framework, tasks): (&Framework, &[String]),
) {
    let node = &cluster.nodes[asked];
    let told = run(node, &["start", id, "--grace", "2s"]).success();
    assert!(sentence(&told).contains("tasks are ended within 2s"), "{told:?}");
    framework.wait_for_all("the tasks end", tasks, |state| state == TaskState::Killed);
    wait_until("the node is drained", || row(cluster, asked, id)["hold"] == "drained");
    let shown = run(node, &[]).success().stdout;
    assert!(shown.contains("begun, drained") && shown.contains("nobody"), "{shown}");
    let refused = node.command(&["undrain", id]).run();
    assert!(refused.stderr.contains("`meshos maintenance stop"), "{refused:?}");
    assert!(run(node, &["clear", "--all"]).stderr.contains("`meshos maintenance stop"));
    drop(run(node, &["stop", id]).success());
    assert_eq!(rows(node), Vec::<Value>::new());
    framework.submit_on(id, [shell("after", "exit 0")]);
    framework.wait_for_state("after", TaskState::Finished);
}

/// The time that the framework was first asked about.
fn offer_of(framework: &Framework) -> meshos_sdk::protocol::maintenance::Unavailability {
    let notes = framework.notes();
    let first = notes.iter().find_map(|(_, note)| match note {
        Note::Asked(offers) => offers.first().map(|offer| offer.unavailability),
        _ => None,
    });
    first.expect("it was asked")
}

#[test]
fn what_cannot_be_planned_is_refused_in_a_sentence() {
    let mut cluster = Cluster::start(2);
    let follower = cluster.follower();
    let node = &cluster.nodes[follower];
    let id = node.id();
    let refused = |arguments: &[&str], code: i32, words: &str| {
        let finished = run(node, arguments);
        assert_eq!(finished.code(), code, "{finished:?}");
        assert!(finished.stderr.contains(words), "{finished:?}");
    };
    refused(&["set", &id, "--start", "tomorrow"], 2, "such as 2026-12-24T02:00:00Z");
    refused(&["set", &id], 2, "--start");
    refused(&["set", "nobody", "--in", "1h"], 1, "no node has the id");
    refused(&["start", &id], 1, "is in no maintenance window");
    refused(&["clear"], 2, "--all");
    drop(run(node, &["set", &id, "--in", "1h"]).success());
    refused(&["stop", &id], 1, "is not in maintenance");
    let cleared = run(node, &["clear", &id]).success();
    assert!(sentence(&cleared).contains("nothing is planned any more"), "{cleared:?}");
    // A node that drains without an end for its tasks is drained when nothing is on it.
    drop(node.command(&["drain", &id]).run().success());
    wait_until("the empty node is drained", || row(&cluster, follower, &id)["hold"] == "drained");
}

fn older(node: &Node, method: &'static str, path: &'static str, body: &Value) -> Response {
    let request = Request::json(node, &Value::Null).without("Content-Type");
    let body = if *body == Value::Null { String::new() } else { body.to_string() };
    Request { method, path, body: body.into_bytes(), ..request }.answer(node)
}

fn read(node: &Node, path: &'static str) -> Value {
    let response = older(node, "GET", path, &Value::Null);
    assert_eq!(response.status, 200, "{path}: {response:?}");
    serde_json::from_slice(&response.bytes).expect("the answer is JSON")
}

fn call(node: &Node, kind: &str, body: &Value) -> Response {
    let body = json!({"type": kind, kind.to_ascii_lowercase(): body});
    Request { path: "/api/v1", ..Request::json(node, &body) }.answer(node)
}

#[test]
fn tools_made_for_mesos_plan_maintenance_and_its_frameworks_answer() {
    let mut cluster = Cluster::prepare(ClusterOptions::default());
    for (index, node) in cluster.nodes.iter_mut().enumerate() {
        node.arguments().flags.extend(["--hostname".to_owned(), format!("m{index}.test")]);
        node.start();
    }
    cluster.wait_until_ready();
    let follower = cluster.follower();
    let node = &cluster.nodes[follower];
    let info = json!({"user": "nobody", "name": "m", "failover_timeout": 60.0});
    let mut framework = MesosFramework::subscribe(node, &info);
    let offer = framework.stream.wait_for_offer();
    framework.launch(node, &offer, "t", "sleep 1000");
    framework.wait_for_state(node, "t", "TASK_RUNNING");
    let machine = json!({"hostname": offer["hostname"], "ip": "127.0.0.1"});
    let unavailability = json!({"start": {"nanoseconds": 4_953_751_200_000_000_000_u64}, "duration": {"nanoseconds": 60_000_000_000_u64}});
    let schedule =
        json!({"windows": [{"machine_ids": [machine], "unavailability": unavailability}]});

    let set = older(node, "POST", "/maintenance/schedule", &schedule);
    assert_eq!((set.status, set.body.as_str()), (200, ""));
    let asked = framework.stream.wait_for("an inverse offer", |kind, body| {
        (kind == "INVERSE_OFFERS").then(|| body["inverse_offers"][0].clone())
    });
    assert_eq!(asked["agent_id"], offer["agent_id"]);
    assert_eq!(asked["unavailability"], unavailability);
    assert_eq!(read(node, "/maintenance/schedule"), schedule);
    let told = call(node, "GET_MAINTENANCE_SCHEDULE", &json!({}));
    let told: Value = serde_json::from_slice(&told.bytes).unwrap();
    assert_eq!(told["get_maintenance_schedule"]["schedule"], schedule);
    let accept = json!({"inverse_offer_ids": [asked["id"]], "filters": {"refuse_seconds": 3600.0}});
    framework.call(node, "ACCEPT_INVERSE_OFFERS", &accept);
    wait_until("the answer is told", || {
        let status = read(node, "/master/maintenance/status");
        let draining = &status["draining_machines"][0];
        let said = &draining["statuses"][0];
        draining["id"] == machine
            && said["status"] == "ACCEPT"
            && said["framework_id"] == framework.id
    });

    // Another time is asked about anew, and nothing planned takes the question back.
    let mut later = schedule.clone();
    later["windows"][0]["unavailability"]["start"]["nanoseconds"] =
        4_953_751_300_000_000_000_u64.into();
    let update = call(node, "UPDATE_MAINTENANCE_SCHEDULE", &json!({ "schedule": later }));
    assert_eq!((update.status, update.body.as_str()), (200, ""));
    let asked = framework.stream.wait_for("another inverse offer", |kind, body| {
        (kind == "INVERSE_OFFERS").then(|| body["inverse_offers"][0]["id"].clone())
    });
    assert_eq!(older(node, "POST", "/maintenance/schedule", &json!({"windows": []})).status, 200);
    framework.stream.wait_for("it is taken back", |kind, body| {
        (kind == "RESCIND_INVERSE_OFFER" && body["inverse_offer_id"] == asked).then_some(())
    });

    down_and_up(node, &mut framework, (&schedule, &machine), &offer["hostname"]);
}

fn down_and_up(
    node: &Node,
    framework: &mut MesosFramework,
    (schedule, machine): (&Value, &Value),
    hostname: &Value,
) {
    let machines = json!([machine]);
    assert_eq!(older(node, "POST", "/machine/down", &machines).status, 400, "nothing is planned");
    assert_eq!(older(node, "POST", "/maintenance/schedule", schedule).status, 200);
    assert_eq!(older(node, "POST", "/machine/up", &machines).status, 400, "it is not down");
    assert_eq!(older(node, "POST", "/machine/down", &machines).status, 200);
    framework.wait_for_state(node, "t", "TASK_KILLED");
    assert_eq!(read(node, "/maintenance/status")["down_machines"], machines);
    let again = call(node, "START_MAINTENANCE", &json!({ "machines": machines }));
    assert_eq!(again.status, 400, "{again:?}");
    let up = call(node, "STOP_MAINTENANCE", &json!({ "machines": machines }));
    assert_eq!((up.status, up.body.as_str()), (200, ""));
    assert_eq!(read(node, "/maintenance/schedule"), json!({"windows": []}));
    poll_until(meshos_tests::PATIENCE, "the machine is offered again", || {
        let offered = framework.stream.wait_for_offer();
        (offered["hostname"] == *hostname && offered.get("unavailability").is_none()).then_some(())
    });
}
