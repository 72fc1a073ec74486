use serde_json::{Value, json};

use super::*;

const CLUSTER: ClusterId = ClusterId::from_u128(0xab);

fn roles(names: &[&str]) -> BTreeSet<Role> {
    names.iter().map(|name| Role::new(name).unwrap()).collect()
}

fn cpus(amount: f64) -> Value {
    json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": amount}})
}

fn of_role(mut resource: Value, role: &str) -> Value {
    resource["allocation_info"] = json!({"role": role});
    resource
}

fn read_asked(names: &[&str], requests: Value) -> Result<Vec<(String, String, u32)>, String> {
    let call: schema::CallRequest = crate::json::read(json!({"requests": requests})).unwrap();
    let read = read(CLUSTER, &call.requests, &roles(names))?;
    let shown = |(role, requests): (Role, Vec<ResourceRequest>)| {
        let row = move |request: ResourceRequest| {
            let agent = request.agent.map(|agent| format!(" on {agent}")).unwrap_or_default();
            (role.to_string(), format!("{}{agent}", request.resources), request.count)
        };
        requests.into_iter().map(row).collect::<Vec<_>>()
    };
    Ok(read.into_iter().flat_map(shown).collect())
}

fn row(role: &str, what: &str, count: u32) -> (String, String, u32) {
    (role.to_owned(), what.to_owned(), count)
}

#[test]
fn a_request_is_of_its_role_and_without_one_of_all() {
    let plain =
        json!([{"resources": [cpus(2.0)]}, {"resources": [cpus(1.0)]}, {"resources": [cpus(2.0)]}]);
    let read = read_asked(&["*"], plain.clone()).unwrap();
    assert_eq!(read, [row("*", "cpus:2", 2), row("*", "cpus:1", 1)], "the same thing is counted");
    let named = json!([{"resources": [cpus(2.0)]}, {"resources": [of_role(cpus(3.0), "b")]},
        {"resources": [of_role(cpus(2.0), "b")]}]);
    let read = read_asked(&["a", "b"], named).unwrap();
    assert_eq!(read, [row("a", "cpus:2", 1), row("b", "cpus:3", 1), row("b", "cpus:2", 2)]);
    assert_eq!(read_asked(&["a"], json!([])).unwrap(), []);
    assert_eq!(read_asked(&[], plain).unwrap(), [], "there is no role to ask in");
}

#[test]
fn agents_are_named_and_reservations_do_not_matter() {
    let agent = AgentId::new(meshos_protocol::ids::NodeId::from_bits(5), 2);
    let id = json!({"value": format!("{CLUSTER}-S{agent}")});
    let mut reserved = cpus(1.0);
    reserved["role"] = json!("a");
    let ports =
        json!({"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 5, "end": 6}]}});
    let read =
        read_asked(&["*"], json!([{"agent_id": id, "resources": [reserved, cpus(1.0), ports]}]));
    assert_eq!(read.unwrap(), [row("*", &format!("cpus:2;ports:[5-6] on {agent}"), 1)]);
}

#[test]
fn what_cannot_be_asked_for_is_refused_with_its_place() {
    let (mut revocable, mut volume) = (cpus(1.0), cpus(1.0));
    revocable["revocable"] = json!({});
    volume["name"] = json!("disk");
    volume["disk"] = json!({"source": {"type": "MOUNT", "mount": {"root": "/m"}}});
    for (request, why) in [
        (json!({"resources": []}), "asks for no resources"),
        (json!({"resources": [cpus(0.0)]}), "asks for no resources"),
        (json!({"resources": [cpus(-1.0)]}), "`cpus` is not valid"),
        (json!({"resources": [{"name": "cpus", "type": "SCALAR"}]}), "`cpus` is not valid"),
        (json!({"resources": [of_role(cpus(1.0), "c")]}), "role \"c\" is not one"),
        (
            json!({"resources": [of_role(cpus(1.0), "a"), of_role(cpus(1.0), "b")]}),
            "\"a\" and \"b\", not one",
        ),
        (json!({"agent_id": {"value": "S1"}, "resources": [cpus(1.0)]}), "agent \"S1\" is none"),
        (json!({"resources": [revocable]}), "revocable"),
        (json!({"resources": [volume]}), "a disk of its own"),
    ] {
        let asked = json!([{"resources": [cpus(1.0)]}, request]);
        let refused = read_asked(&["a", "b"], asked).unwrap_err();
        assert!(refused.contains(why) && refused.contains("place 2"), "{why}: {refused}");
    }
    let many = |count: u32| -> Value {
        (1..=count).map(|number| json!({"resources": [cpus(f64::from(number))]})).collect()
    };
    assert_eq!(read_asked(&["a"], many(100)).unwrap().len(), 100);
    let refused = read_asked(&["a"], many(101)).unwrap_err();
    assert!(refused.contains("more than 100 different things"), "{refused}");
    // Little to say in one role is much in a thousand.
    let names: Vec<String> = (0..1_000).map(|number| format!("r{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let refused = read_asked(&names, many(100)).unwrap_err();
    assert!(refused.contains("too large"), "{refused}");
}
