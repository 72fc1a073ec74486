//! What the calls ask of the master, and what is said of those that name what is not there.

use meshos_control::master::{AskedView, MaintenanceView};
use meshos_protocol::{ids::FrameworkId, maintenance::Unavailability, time::Wall};
use serde_json::{Value, json};

use super::*;
use crate::{
    codec::{self, Media},
    operator::{Caller, Change, Older},
    reads::{Picture, older_schedule, older_status},
};

fn node(bits: u64) -> NodeId {
    NodeId::from_bits(bits)
}

/// A cluster of nodes 1 to 4, of which these are in a window from second 7 on.
fn view(planned: &[(u64, Option<u64>)]) -> View {
    let row = |(bits, begun): &(u64, Option<u64>)| MaintenanceView {
        node_id: node(*bits),
        agent_id: None,
        hostname: format!("node-{bits}"),
        ip: format!("10.0.0.{bits}"),
        start: Wall(7_000),
        duration_ms: Some(1_000),
        begun: begun.map(Wall),
        asked: [(1, Some(true)), (2, None), (3, Some(false))]
            .map(|(framework, accepted)| AskedView {
                framework_id: FrameworkId(framework),
                open: None,
                accepted,
                answered_at: accepted.map(|_| Wall(6_000)),
            })
            .into(),
    };
    View { maintenance: planned.iter().map(row).collect(), ..crate::reads::tests::view() }
}

fn made(kind: &str, body: Value, view: &View) -> Result<OperatorCall, Refused> {
    let text = json!({"type": kind, kind.to_ascii_lowercase(): body}).to_string();
    let caller = Caller { principal: "ops", in_any_name: false };
    let from_json = Change::read(Media::Json, text.as_bytes(), caller, view);
    if let Ok(call) = codec::read_operator_call::<schema::MasterCall>(Media::Json, text.as_bytes())
    {
        let bytes = codec::write(Media::Protobuf, &call);
        assert_eq!(Change::read(Media::Protobuf, &bytes, caller, view), from_json, "{text}");
    }
    from_json.map(|change| change.asked().expect("it asks for something").clone())
}

fn window(machines: Value) -> Value {
    let unavailability = json!({"start": {"nanoseconds": 7_000_000_000_u64}, "duration": {"nanoseconds": 1_500_000_000}});
    json!({"machine_ids": machines, "unavailability": unavailability})
}

fn update(windows: Value, view: &View) -> Result<OperatorCall, Refused> {
    made("UPDATE_MAINTENANCE_SCHEDULE", json!({"schedule": {"windows": windows}}), view)
}

#[test]
fn a_schedule_names_machines_by_name_or_address() {
    let by = |bits: u64| Planned {
        unavailability: Unavailability { start: Wall(7_000), duration_ms: Some(1_500) },
        hostname: format!("node-{bits}"),
        ip: format!("10.0.0.{bits}"),
        begun: None,
    };
    let machines = json!([{"hostname": "NODE-1"}, {"ip": "10.0.0.2"}]);
    let more = json!([{"hostname": "node-4", "ip": "10.0.0.4"}]);
    let asked = update(json!([window(machines), window(more)]), &view(&[])).unwrap();
    let nodes = [1, 2, 4].map(|bits| (node(bits), Some(by(bits)))).into();
    assert_eq!(asked, OperatorCall::PlanMaintenance { nodes, replace: true });
    let nothing = OperatorCall::PlanMaintenance { nodes: BTreeMap::new(), replace: true };
    assert_eq!(update(json!([]), &view(&[(1, None)])), Ok(nothing));
    // A machine that is away is known by what was planned for it.
    let away = json!([window(json!([{"hostname": "node-9"}]))]);
    assert!(update(away.clone(), &view(&[])).is_err());
    assert!(update(away, &view(&[(9, None)])).is_ok());
}

#[test]
fn what_is_no_schedule_is_refused() {
    let negative = json!({"start": {"nanoseconds": -1}});
    let wrong = [
        (window(json!([])), "machines in the maintenance window is empty"),
        (window(json!([{}])), "Both 'hostname' and 'ip'"),
        (window(json!([{"hostname": "node-7"}])), "Machine 'node-7 ()' is none of this cluster's"),
        // Gone.
        (window(json!([{"hostname": "node-5"}])), "is none of this cluster's"),
        (
            window(json!([{"hostname": "node-1", "ip": "10.0.0.2"}])),
            "Machine 'node-1 (10.0.0.2)' is none",
        ),
        (window(json!([{"hostname": "node-1"}, {"ip": "10.0.0.1"}])), "appears more than once"),
        (
            json!({"machine_ids": [{"hostname": "node-1"}], "unavailability": negative}),
            "before 1970",
        ),
        (window(json!(vec![json!({"hostname": "node-1"}); 1_001])), "1001 machines are named"),
    ];
    for (window, why) in wrong {
        let refused = update(json!([window]), &view(&[])).unwrap_err();
        assert_eq!(refused.status, 400, "{refused}");
        assert!(refused.message.contains(why), "{refused}");
    }
}

#[test]
fn machines_in_windows_are_brought_down_and_up() {
    let view = view(&[(1, None), (2, Some(5))]);
    let of = |kind: &str, machines: Value| made(kind, json!({ "machines": machines }), &view);
    let one = |bits: u64| json!([{"hostname": format!("node-{bits}")}]);
    let nodes = [(node(1), Some(KILL_GRACE_MAX_MS))].into();
    let start = OperatorCall::StartMaintenance { nodes };
    assert_eq!(of("START_MAINTENANCE", one(1)), Ok(start));
    let stop = OperatorCall::StopMaintenance { nodes: [node(2)].into() };
    assert_eq!(of("STOP_MAINTENANCE", one(2)), Ok(stop));
    for (kind, machines, why) in [
        ("START_MAINTENANCE", one(2), "is not in DRAINING mode and cannot be brought down"),
        ("STOP_MAINTENANCE", one(1), "is not in DOWN mode and cannot be brought up"),
        ("START_MAINTENANCE", one(4), "is not part of a maintenance schedule"),
        ("STOP_MAINTENANCE", json!([]), "List of machines is empty"),
        ("START_MAINTENANCE", json!([{"ip": "10.0.0.1"}, {"hostname": "node-1"}]), "named twice"),
    ] {
        let refused = of(kind, machines).unwrap_err();
        assert_eq!(refused.status, 400, "{refused}");
        assert!(refused.message.contains(why), "{refused}");
    }
}

#[test]
fn what_is_planned_is_told_as_it_was_said() {
    let view = view(&[(1, None), (2, Some(5)), (4, None)]);
    let picture = Picture::new(&view);
    let machine =
        |bits: u64| json!({"hostname": format!("node-{bits}"), "ip": format!("10.0.0.{bits}")});
    let unavailability = json!({"start": {"nanoseconds": 7_000_000_000_u64}, "duration": {"nanoseconds": 1_000_000_000}});
    let window = json!({"machine_ids": [machine(1), machine(2), machine(4)], "unavailability": unavailability});
    let schedule = serde_json::to_value(older_schedule(&picture)).unwrap();
    assert_eq!(schedule, json!({ "windows": [window] }));
    // What is told can be said again.
    assert!(update(schedule["windows"].clone(), &view).is_ok());
    let answer = |status: &str, framework: &str| {
        let id = format!("00000000-0000-0000-0000-0000000000ab-{framework}");
        json!({"status": status, "framework_id": {"value": id}, "timestamp": {"nanoseconds": 6_000_000_000_u64}})
    };
    let statuses = json!([answer("ACCEPT", "0001"), answer("DECLINE", "0003")]);
    let status = serde_json::to_value(older_status(&picture)).unwrap();
    let draining = [1, 4].map(|bits| json!({"id": machine(bits), "statuses": statuses}));
    assert_eq!(status["draining_machines"], json!(draining));
    assert_eq!(status["down_machines"], json!([machine(2)]));
}

#[test]
fn older_endpoints_stand_for_these_calls() {
    let stands_for = |older: Older, body: &Value| -> Value {
        serde_json::from_slice(&older.call(body.to_string().as_bytes()).unwrap()).unwrap()
    };
    let schedule = json!({"windows": [window(json!([{"hostname": "node-1"}]))]});
    assert_eq!(
        stands_for(Older::Schedule, &schedule),
        json!({"type": "UPDATE_MAINTENANCE_SCHEDULE", "update_maintenance_schedule": {"schedule": schedule}})
    );
    let machines = json!([{"hostname": "node-1", "ip": "10.0.0.1"}]);
    for (older, kind) in [(Older::Down, "START_MAINTENANCE"), (Older::Up, "STOP_MAINTENANCE")] {
        assert!(older.call(b"{}").unwrap_err().message.contains("array of machines"));
        let call = json!({"type": kind, kind.to_ascii_lowercase(): {"machines": machines}});
        assert_eq!(stands_for(older, &machines), call);
    }
}
