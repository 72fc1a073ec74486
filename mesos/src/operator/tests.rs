//! Each call with what it asks of the master, in both encodings; and what is said of calls that ask for what cannot be.

use meshos_alloc::Quota;
use meshos_control::master::{NodeState, OperatorCall, View};
use meshos_protocol::{
    ids::{AgentId, FrameworkId, NodeId},
    messages::scheduler::{CallError, CallErrorKind},
    operation::Operation,
    role::Role,
    task::KILL_GRACE_MAX_MS,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    codec::{self, Media, Refused},
    reads::operator::Read,
    schema,
};

const PREFIX: &str = "00000000-0000-0000-0000-0000000000ab";
const OPS: Caller<'_> = Caller { principal: "ops", in_any_name: false };

fn agent_id(bits: u64) -> AgentId {
    AgentId::new(NodeId::from_bits(bits), 1)
}

fn agent(bits: u64) -> Value {
    json!({"value": format!("{PREFIX}-S{}", agent_id(bits))})
}

fn framework() -> Value {
    json!({"value": format!("{PREFIX}-0007")})
}

fn view() -> View {
    crate::reads::tests::view()
}

fn made(body: &Value) -> Result<Change, Refused> {
    made_by(body, OPS, &view())
}

/// The same from JSON and from protobuf.
fn made_by(body: &Value, caller: Caller<'_>, view: &View) -> Result<Change, Refused> {
    let text = body.to_string();
    let from_json = Change::read(Media::Json, text.as_bytes(), caller, view);
    if let Ok(call) = codec::read_operator_call::<schema::MasterCall>(Media::Json, text.as_bytes())
    {
        let bytes = codec::write(Media::Protobuf, &call);
        assert_eq!(Change::read(Media::Protobuf, &bytes, caller, view), from_json, "{body}");
    }
    from_json
}

fn asked(body: &Value) -> OperatorCall {
    let change = made(body).unwrap_or_else(|refused| panic!("{body}: {refused}"));
    change.asked().unwrap_or_else(|| panic!("{body} asks for nothing")).clone()
}

fn call(kind: &str, body: Value) -> Value {
    json!({"type": kind, kind.to_ascii_lowercase(): body})
}

fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
}

fn reserved(name: &str, value: f64, principal: &str) -> Value {
    let mut resource = scalar(name, value);
    resource["reservations"] = json!([{"type": "DYNAMIC", "role": "db", "principal": principal}]);
    resource
}

fn volume(principal: &str) -> Value {
    let mut resource = reserved("disk", 8.0, "ops");
    resource["disk"] = json!({"persistence": {"id": "v", "principal": principal},
        "volume": {"mode": "RW", "container_path": "data"}});
    resource
}

fn quota(guarantee: &str, limit: &str) -> Quota {
    let amounts = |text: &str| {
        let pairs = text.split(';').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once(':').unwrap());
        pairs.map(|(name, amount)| (name.parse().unwrap(), amount.parse().unwrap())).collect()
    };
    let guarantee: std::collections::BTreeMap<_, _> = amounts(guarantee);
    Quota { guarantee: guarantee.into_iter().collect(), limit: amounts(limit) }
}

fn role(name: &str) -> Role {
    Role::new(name).unwrap()
}

#[test]
fn calls_ask_the_master_for_what_they_say() {
    let infos = json!([{"role": "db", "weight": 2.5}, {"role": "a/b", "weight": "1"}]);
    assert_eq!(
        asked(&call("UPDATE_WEIGHTS", json!({ "weight_infos": infos }))),
        OperatorCall::SetWeights { weights: [(role("db"), 2_500), (role("a/b"), 1_000)].into() }
    );
    let configs = json!([
        {"role": "db", "guarantees": {"cpus": {"value": 1.5}}, "limits": {"cpus": {"value": 2.0}, "mem": {"value": 64.0}}},
        {"role": "web"},
    ]);
    let quotas = [(role("db"), quota("cpus:1.5", "cpus:2;mem:64")), (role("web"), quota("", ""))];
    assert_eq!(
        asked(&call("UPDATE_QUOTA", json!({"force": true, "quota_configs": configs}))),
        OperatorCall::SetQuotas { quotas: quotas.into(), force: true }
    );
    let request = json!({"role": "db", "guarantee": [scalar("cpus", 2.0), scalar("mem", 64.0)]});
    assert_eq!(
        asked(&call("SET_QUOTA", json!({ "quota_request": request }))),
        OperatorCall::SetQuotas {
            quotas: [(role("db"), quota("cpus:2;mem:64", "cpus:2;mem:64"))].into(),
            force: false
        }
    );
    assert_eq!(
        asked(&call("REMOVE_QUOTA", json!({"role": "web"}))),
        OperatorCall::SetQuotas { quotas: [(role("web"), Quota::default())].into(), force: true }
    );
    assert_eq!(
        asked(&call("TEARDOWN", json!({"framework_id": framework()}))),
        OperatorCall::Teardown { framework: FrameworkId(7) }
    );
}

#[test]
fn agents_are_emptied_kept_and_given_up() {
    let named = json!({"agent_id": agent(1)});
    let drained = |more: Value| {
        let mut body = named.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked(&call("DRAIN_AGENT", body))
    };
    let drain = |grace_max_ms, mark_gone| OperatorCall::Drain {
        agent: agent_id(1),
        grace_max_ms,
        mark_gone,
    };
    assert_eq!(drained(json!({})), drain(KILL_GRACE_MAX_MS, false), "each task has its own");
    let half = json!({"max_grace_period": {"seconds": 5, "nanos": 500_000_000}, "mark_gone": true});
    assert_eq!(drained(half), drain(5_500, true));
    let long = json!({"max_grace_period": {"seconds": i64::MAX}});
    assert_eq!(drained(long), drain(KILL_GRACE_MAX_MS, false));
    assert_eq!(
        asked(&call("DEACTIVATE_AGENT", named.clone())),
        OperatorCall::Deactivate { agent: agent_id(1) }
    );
    assert_eq!(
        asked(&call("MARK_AGENT_GONE", named.clone())),
        OperatorCall::MarkAgentGone { agent: agent_id(1) }
    );
    let refused = made(&call("REACTIVATE_AGENT", named.clone())).unwrap_err();
    assert_eq!(refused, Refused::new(400, "Agent is not deactivated"));

    let in_state = |state| View {
        agents: [crate::reads::tests::agent(1, state)].into_iter().collect(),
        ..view()
    };
    let on = |kind, state| made_by(&call(kind, named.clone()), OPS, &in_state(state));
    for state in [NodeState::Deactivated, NodeState::Drained, NodeState::Unreachable] {
        let change = on("REACTIVATE_AGENT", state).unwrap();
        assert_eq!(change.asked(), Some(&OperatorCall::Reactivate { agent: agent_id(1) }));
    }
    // What is so already needs nobody.
    let gone = on("MARK_AGENT_GONE", NodeState::Gone).unwrap();
    assert_eq!((gone.asked(), gone.status()), (None, 200));
    for kind in ["DRAIN_AGENT", "DEACTIVATE_AGENT", "REACTIVATE_AGENT"] {
        assert_eq!(on(kind, NodeState::Gone), Err(Refused::new(400, "Unknown agent")), "{kind}");
    }
}

#[test]
fn agents_are_told_to_reserve_and_to_make_volumes() {
    let operated = |kind: &str, mut body: Value| {
        body["agent_id"] = agent(1);
        let body = call(kind, body);
        assert_eq!(made(&body).map(|change| change.status()), Ok(202), "{body}");
        let OperatorCall::Operate { agent, operation } = asked(&body) else {
            panic!("{body} is no operation");
        };
        assert_eq!(agent, agent_id(1));
        operation
    };
    let cpus = json!({"resources": [reserved("cpus", 2.0, "ops")]});
    let Operation::Reserve { resources } = operated("RESERVE_RESOURCES", cpus.clone()) else {
        panic!("it reserves");
    };
    assert_eq!(resources.to_string(), "cpus(db):2");
    let reservation = resources.iter().find_map(|it| it.metadata().reservation.clone());
    assert_eq!(reservation.unwrap().principal(), "ops");
    let unreserved = operated("UNRESERVE_RESOURCES", cpus);
    assert_eq!(unreserved, Operation::Unreserve { resources });
    let volumes = json!({"volumes": [volume("ops")]});
    let Operation::Create { volumes: made } = operated("CREATE_VOLUMES", volumes.clone()) else {
        panic!("it creates");
    };
    assert_eq!(operated("DESTROY_VOLUMES", volumes), Operation::Destroy { volumes: made });
    let grow = json!({"volume": volume("ops"), "addition": reserved("disk", 2.0, "ops")});
    assert!(matches!(operated("GROW_VOLUME", grow), Operation::Grow { .. }));
    let shrink = json!({"volume": volume("ops"), "subtract": {"value": 2.0}});
    let Operation::Shrink { subtract, .. } = operated("SHRINK_VOLUME", shrink) else {
        panic!("it shrinks");
    };
    assert_eq!(subtract, "2".parse().unwrap());
}

#[test]
fn a_principal_makes_reservations_and_volumes_in_its_own_name() {
    let reserve = |principal| {
        call(
            "RESERVE_RESOURCES",
            json!({"agent_id": agent(1), "resources": [reserved("cpus", 1.0, principal)]}),
        )
    };
    let create = |principal| {
        call("CREATE_VOLUMES", json!({"agent_id": agent(1), "volumes": [volume(principal)]}))
    };
    let anybody = Caller { principal: "operator", in_any_name: true };
    for (body, word) in
        [(reserve("other"), "reservation"), (create("other"), "volume"), (reserve(""), "''")]
    {
        let refused = made(&body).unwrap_err();
        assert_eq!(refused.status, 400);
        assert!(refused.message.contains(word), "{refused}");
        assert!(made_by(&body, anybody, &view()).is_ok(), "{body}");
    }
}

/// A type of call, its body, and what is said of it.
type Wrong<'a> = (&'a str, Value, u16, &'a str);

#[track_caller]
fn assert_refused(cases: impl IntoIterator<Item = Wrong<'static>>) {
    for (kind, body, status, words) in cases {
        let body = call(kind, body);
        let refused = made(&body).err().unwrap_or_else(|| panic!("{body} is taken"));
        assert_eq!(refused.status, status, "{body}: {refused}");
        assert!(refused.message.contains(words), "{body}: {refused}");
    }
}

fn nobody() -> Value {
    json!({"value": format!("{PREFIX}-S{}", agent_id(99))})
}

#[test]
fn a_grace_period_with_a_field_of_another_name_ends_nothing_at_once() {
    let misread = json!({"agent_id": agent(1), "max_grace_period": {"nanoseconds": 5_000}});
    let text = call("DRAIN_AGENT", misread).to_string();
    let refused = Change::read(Media::Json, text.as_bytes(), OPS, &view()).unwrap_err();
    assert_eq!(refused.status, 400);
    assert!(refused.message.contains("neither 'seconds' nor 'nanos'"), "{}", refused.message);
    // In protobuf that is how none is written.
    let read =
        codec::read_operator_call::<schema::MasterCall>(Media::Json, text.as_bytes()).unwrap();
    let bytes = codec::write(Media::Protobuf, &read);
    let change = Change::read(Media::Protobuf, &bytes, OPS, &view()).unwrap();
    let asked = change.asked().cloned();
    let (agent, grace_max_ms, mark_gone) = (agent_id(1), 0, false);
    assert_eq!(asked, Some(OperatorCall::Drain { agent, grace_max_ms, mark_gone }));
}

#[test]
fn what_is_not_there_is_refused_in_the_words_that_tools_know() {
    let framework = |id: &str| json!({"framework_id": {"value": id}});
    let unknown = format!("{PREFIX}-0099");
    let named = json!({"agent_id": nobody()});
    let negative = json!({"agent_id": agent(1), "max_grace_period": {"seconds": -1}});
    let reserve = json!({"agent_id": nobody(), "resources": [reserved("cpus", 1.0, "ops")]});
    assert_refused([
        ("TEARDOWN", framework("x"), 400, "No framework found with specified ID"),
        ("TEARDOWN", framework(&unknown), 400, "No framework found with specified ID"),
        ("TEARDOWN", json!({}), 400, "Missing required fields: teardown.framework_id"),
        ("MARK_AGENT_GONE", named.clone(), 404, "No agent found"),
        ("DRAIN_AGENT", named, 400, "Unknown agent"),
        ("DRAIN_AGENT", negative, 400, "max_grace_period"),
        ("DEACTIVATE_AGENT", json!({"agent_id": {"value": ""}}), 400, "Unknown agent"),
        ("RESERVE_RESOURCES", reserve, 400, "No agent found with specified ID"),
    ]);
}

#[test]
fn operations_that_cannot_be_are_refused() {
    const RESERVE: &str = "RESERVE_RESOURCES";
    let cpus = json!([reserved("cpus", 1.0, "ops")]);
    let mut allocated = reserved("cpus", 1.0, "ops");
    allocated["allocation_info"] = json!({"role": "db"});
    let with = |field: &str, list: Value| json!({"agent_id": agent(1), field: list});
    let mut source = with("resources", cpus.clone());
    source["source"] = cpus.clone();
    let grow = json!({"volume": volume("ops"), "addition": cpus[0]});
    let mut shrink = with("volume", volume("ops"));
    shrink["subtract"] = json!({"value": "NaN"});
    assert_refused([
        (RESERVE, source, 501, "source"),
        (RESERVE, with("resources", json!([])), 400, "names no resources"),
        (RESERVE, with("resources", json!([scalar("cpus", 1.0)])), 400, "no dynamic reservation"),
        (RESERVE, with("resources", json!([allocated])), 400, "allocation_info"),
        ("CREATE_VOLUMES", with("volumes", cpus), 400, "no persistent volume"),
        ("GROW_VOLUME", grow, 400, "Expecting 'grow_volume.agent_id' to be present"),
        ("SHRINK_VOLUME", shrink, 400, "no amount"),
    ]);
}

#[test]
fn shares_that_cannot_be_are_refused() {
    let weight =
        |role: &str, weight: f64| json!({"weight_infos": [{"role": role, "weight": weight}]});
    let config = |config: Value| json!({"quota_configs": [config]});
    let twice = json!({"quota_configs": [{"role": "a"}, {"role": "a"}]});
    let negative = json!({"role": "db", "limits": {"cpus": {"value": -1.0}}});
    let request = |role: &str, guarantee: Value| json!({"quota_request": {"role": role, "guarantee": guarantee}});
    let cpus = scalar("cpus", 1.0);
    assert_refused([
        ("UPDATE_WEIGHTS", weight("db", 0.0), 400, "at least 0.001"),
        ("UPDATE_WEIGHTS", weight("db", -1.0), 400, "at least 0.001"),
        ("UPDATE_WEIGHTS", weight("/", 1.0), 400, "Invalid WeightInfo"),
        ("UPDATE_QUOTA", config(negative), 400, "Invalid QuotaConfig"),
        ("UPDATE_QUOTA", config(json!({"role": "a b"})), 400, "Invalid QuotaConfig"),
        ("UPDATE_QUOTA", twice, 400, "named twice"),
        ("SET_QUOTA", request("web", json!([cpus])), 400, "has a quota already"),
        ("SET_QUOTA", request("db", json!([])), 400, "guarantees nothing"),
        ("SET_QUOTA", request("db", json!([reserved("cpus", 1.0, "ops")])), 400, "nobody's"),
        ("SET_QUOTA", request("db", json!([cpus, cpus])), 400, "named twice"),
        ("REMOVE_QUOTA", json!({"role": "db"}), 400, "has no quota"),
    ]);
    // Of nothing nothing is asked.
    for (kind, field) in [("UPDATE_WEIGHTS", "weight_infos"), ("UPDATE_QUOTA", "quota_configs")] {
        let change = made(&call(kind, json!({ field: [] }))).unwrap();
        assert_eq!((change.asked(), change.status()), (None, 200), "{kind}");
    }
}

#[test]
fn what_the_master_refuses_has_the_status_that_tools_know() {
    let status = |body: &Value, kind| {
        let error = CallError { kind, message: "because".to_owned() };
        made(body).unwrap().refused(&error)
    };
    let weights = call("UPDATE_WEIGHTS", json!({"weight_infos": [{"role": "a", "weight": 1.0}]}));
    let quota = call("UPDATE_QUOTA", json!({"quota_configs": [{"role": "a"}]}));
    let gone = call("MARK_AGENT_GONE", json!({"agent_id": agent(1)}));
    let cpus = json!([reserved("cpus", 1.0, "ops")]);
    let reserve = call("RESERVE_RESOURCES", json!({"agent_id": agent(1), "resources": cpus}));
    for (body, refused) in [
        (&weights, Refused::new(400, "because")),
        (&quota, Refused::new(400, "Invalid QuotaConfig: because")),
        (&gone, Refused::new(409, "because")),
        (&reserve, Refused::new(409, "because")),
    ] {
        assert_eq!(status(body, CallErrorKind::Invalid), refused, "{body}");
        assert_eq!(status(body, CallErrorKind::Busy).status, 503);
        assert_eq!(status(body, CallErrorKind::Forbidden).status, 403);
    }
}

/// Every type of call is read, changes something, or is told why it is not supported; none changes anything without a body.
#[test]
fn every_type_of_call_is_answered() {
    use crate::json::Names as _;
    let mut counts = [0; 3];
    for (name, number) in schema::MasterCallType::NAMES {
        let call = schema::MasterCall { r#type: Some(*number), ..Default::default() };
        for media in [Media::Json, Media::Protobuf] {
            let told = read(media, &codec::write(media, &call));
            match (Read::named(name), told) {
                (Some(Read::Metrics), Err(refused)) => {
                    assert!(refused.message.ends_with("Expecting 'get_metrics' to be present"));
                }
                (Some(read), told) => {
                    assert_eq!(told.unwrap().0, Called::Read(read), "{name}");
                    counts[0] += 1;
                }
                (None, Ok((Called::Watch, _))) => assert_eq!(*name, "SUBSCRIBE"),
                (None, Err(refused)) if refused.status == 400 => {
                    let field = name.to_ascii_lowercase();
                    let why = format!(
                        "Failed to validate master::Call: Expecting '{field}' to be present"
                    );
                    assert_eq!(refused.message, why);
                    counts[1] += 1;
                }
                (None, told) => {
                    let refused = told.unwrap_err();
                    assert_eq!(refused.status, 501, "{name}");
                    let begins = format!("Call {name} is not supported by this release: ");
                    let why = refused.message.strip_prefix(&begins);
                    assert!(why.is_some_and(|why| why.len() > 10), "{refused}");
                    counts[2] += 1;
                }
            }
        }
    }
    // LIST_FILES and READ_FILE too have bodies.
    assert_eq!(counts, [2 * 15, 2 * 20, 2 * 3]);
    let of = |body: &str| read(Media::Json, body.as_bytes()).map(|(called, _)| called);
    let metrics = r#"{"type":"GET_METRICS","get_metrics":{"timeout":{"nanoseconds":5}}}"#;
    assert_eq!(of(metrics), Ok(Called::Read(Read::Metrics)));
    for (body, words) in [
        ("{}", "Expecting 'type' to be present"),
        (r#"{"type":"NO_SUCH"}"#, "Expecting 'type' to be present"),
        (r#"{"type":5}"#, "Failed to convert JSON into Call protobuf"),
        (r#"{"type":"TEARDOWN","teardown":"F1"}"#, "`teardown`"),
        ("[", "Failed to parse body into JSON"),
    ] {
        let refused = of(body).unwrap_err();
        assert_eq!(refused.status, 400, "{body}");
        assert!(refused.message.contains(words), "{body}: {refused}");
    }
    assert!(read(Media::Protobuf, &[0x08]).is_err());
    let get = Change::read(Media::Json, br#"{"type":"GET_TASKS"}"#, OPS, &view());
    assert_eq!(get.unwrap_err().message, "Call GET_TASKS changes nothing");
    let many = vec![json!({}); 20_000];
    let heavy = json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": many}});
    assert_eq!(of(&heavy.to_string()).unwrap_err().status, 413);
}

#[test]
fn older_endpoints_stand_for_calls() {
    let stands_for = |older: Older, body: &str| -> Value {
        serde_json::from_slice(&older.call(body.as_bytes()).unwrap()).unwrap()
    };
    assert_eq!(
        stands_for(Older::Teardown, "frameworkId=a%2Bb+c&x=1"),
        call("TEARDOWN", json!({"framework_id": {"value": "a+b c"}}))
    );
    let cpus = json!([reserved("cpus", 1.0, "ops")]);
    let form = |field: &str| {
        let text = cpus.to_string().replace('%', "%25").replace('&', "%26");
        format!("slaveId=S1&{field}={text}")
    };
    let of_agent = |field: &str| json!({"agent_id": {"value": "S1"}, field: cpus});
    for (older, kind, field) in [
        (Older::Reserve, "RESERVE_RESOURCES", "resources"),
        (Older::Unreserve, "UNRESERVE_RESOURCES", "resources"),
        (Older::CreateVolumes, "CREATE_VOLUMES", "volumes"),
        (Older::DestroyVolumes, "DESTROY_VOLUMES", "volumes"),
    ] {
        assert_eq!(stands_for(older, &form(field)), call(kind, of_agent(field)), "{kind}");
    }
    let with_source = form("resources") + "&source=[]";
    assert_eq!(stands_for(Older::Reserve, &with_source)["reserve_resources"]["source"], json!([]));
    let weights = json!([{"role": "a", "weight": 2.0}]);
    assert_eq!(
        stands_for(Older::Weights, &weights.to_string()),
        call("UPDATE_WEIGHTS", json!({ "weight_infos": weights }))
    );
    let request = json!({"role": "a", "guarantee": [], "force": true});
    assert_eq!(
        stands_for(Older::SetQuota, &request.to_string()),
        call("SET_QUOTA", json!({ "quota_request": request }))
    );
    let removed = stands_for(Older::RemoveQuota("a%2Fb".into()), "");
    assert_eq!(removed, call("REMOVE_QUOTA", json!({"role": "a/b"})));
    for (older, body, words) in [
        (Older::Teardown, "", "'frameworkId'"),
        (Older::Teardown, "frameworkId=%2", "Expecting a form"),
        (Older::Teardown, "frameworkId=%FF", "Expecting a form"),
        (Older::Reserve, "slaveId=S1", "'resources'"),
        (Older::Reserve, "resources=[]", "'slaveId'"),
        (Older::Reserve, "slaveId=S1&resources=[", "into JSON"),
        (Older::Weights, "{}", "array"),
        (Older::SetQuota, "role=a", "into JSON"),
        (Older::RemoveQuota("%".into()), "", "path"),
    ] {
        let refused = older.call(body.as_bytes()).unwrap_err();
        assert_eq!(refused.status, 400, "{body}");
        assert!(refused.message.contains(words), "{body}: {refused}");
    }
    let many = "a=1&".repeat(33);
    assert!(Older::Teardown.call(many.as_bytes()).unwrap_err().message.contains("32 fields"));
}
