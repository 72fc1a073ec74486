use std::collections::BTreeMap;

use meshos_protocol::resources::Amount;
use serde_json::{Value as Json, json};

use super::*;

fn roles(names: &[&str]) -> BTreeSet<Role> {
    names.iter().map(|name| Role::new(name).unwrap()).collect()
}

fn from_json(value: Json) -> schema::Resource {
    crate::json::read(value).unwrap()
}

fn to_json(resource: &Resource, refined: bool) -> Json {
    serde_json::to_value(write(resource, &Role::new("a/b").unwrap(), refined)).unwrap()
}

fn disk_of(mut rest: Json) -> Json {
    let base = json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 10.0},
        "allocation_info": {"role": "a/b"}});
    let fields = rest.as_object_mut().unwrap();
    fields.extend(base.as_object().unwrap().clone());
    rest
}

#[test]
fn resources_of_both_forms_come_back() {
    let all = roles(&["a/b"]);
    for (refined, value) in [
        (
            false,
            json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.5}, "role": "*",
            "allocation_info": {"role": "a/b"}}),
        ),
        (
            true,
            json!({"name": "ports", "type": "RANGES", "allocation_info": {"role": "a/b"},
            "ranges": {"range": [{"begin": 1, "end": 2}, {"begin": 5, "end": 5}]}}),
        ),
        (
            true,
            json!({"name": "words", "type": "SET", "allocation_info": {"role": "a/b"},
            "set": {"item": ["x", "y"]}, "revocable": {}}),
        ),
        (false, disk_of(json!({"role": "a"}))),
        (
            false,
            disk_of(json!({"role": "a", "reservation": {"principal": "p",
            "labels": {"labels": [{"key": "k", "value": "v"}]}}})),
        ),
        (
            true,
            disk_of(json!({"reservations": [{"type": "STATIC", "role": "a"},
            {"type": "DYNAMIC", "role": "a/b", "principal": "p"}]})),
        ),
        (
            true,
            disk_of(json!({"reservations": [{"type": "DYNAMIC", "role": "a"}], "shared": {},
            "disk": {"persistence": {"id": "v", "principal": "p"},
                "volume": {"mode": "RW", "container_path": "data"},
                "source": {"type": "MOUNT", "id": "d", "mount": {"root": "/mnt"}}}})),
        ),
        (true, disk_of(json!({"disk": {"source": {"type": "PATH", "path": {"root": "/p"}}}}))),
    ] {
        let read = read(&from_json(value.clone()), &all).unwrap();
        assert_eq!(to_json(&read, refined), value);
    }
}

#[test]
fn a_stack_of_reservations_is_shown_as_one_to_everybody() {
    let outer = Reservation::new(Role::new("a").unwrap());
    let inner = Reservation::dynamic(Role::new("a/b").unwrap(), "p", BTreeMap::new(), outer);
    let metadata = Metadata { reservation: Some(inner.unwrap()), ..Metadata::UNRESERVED };
    let cpus = Resource::new(ResourceName::Cpus, metadata, Amount::whole(1)).unwrap();
    assert_eq!(to_json(&cpus, false), to_json(&cpus, true));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let cpus = |rest: Json| {
        let mut value = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}});
        value.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        value
    };
    for (value, word) in [
        (cpus(json!({"scalar": {"value": -1.0}})), "negative"),
        (cpus(json!({"scalar": {"value": "NaN"}})), "no number"),
        (cpus(json!({"scalar": {"value": 1e300}})), "too large"),
        (cpus(json!({"type": "RANGES"})), "not of its type"),
        (cpus(json!({"type": "TEXT"})), "text"),
        (cpus(json!({"type": "SET", "set": {"item": ["x"]}})), "must be"),
        (cpus(json!({"name": "c:pus"})), "name"),
        (cpus(json!({"provider_id": {"value": "p"}})), "providers"),
        (cpus(json!({"allocation_info": {"role": "other"}})), "other"),
        (cpus(json!({"role": "/"})), "role"),
        (cpus(json!({"role": "a", "reservations": [{"type": "STATIC", "role": "a"}]})), "beside"),
        (cpus(json!({"reservations": [{"role": "a"}]})), "STATIC or DYNAMIC"),
        (cpus(json!({"reservations": [{"type": "STATIC", "role": "*"}]})), "cannot be reserved"),
        (cpus(json!({"disk": {"source": {"type": "PATH"}}})), "disk"),
        (cpus(json!({"shared": {}})), "shared"),
        (disk_of(json!({"disk": {"persistence": {"id": "v"}}})), "needs `volume`"),
        (
            disk_of(json!({"disk": {"volume": {"mode": "RW", "container_path": "x"}}})),
            "persistence",
        ),
        (
            disk_of(json!({"role": "a", "disk": {"persistence": {"id": "v"},
            "volume": {"mode": "RO", "container_path": "x"}}})),
            "mode RW",
        ),
        (
            disk_of(json!({"role": "a", "disk": {"persistence": {"id": "v"},
            "volume": {"mode": "RW", "container_path": "x", "host_path": "/"}}})),
            "host path",
        ),
        (disk_of(json!({"disk": {"source": {"type": "BLOCK", "profile": "p"}}})), "plugins"),
    ] {
        let why = read(&from_json(value.clone()), &roles(&["a/b"])).unwrap_err();
        assert!(why.starts_with("Resource `") && why.contains(word), "{value}: {why}");
    }
    // Nothing of a resource is no resource, and no mistake.
    let none = read_all(
        &[from_json(cpus(json!({"name": "gpus", "scalar": {"value": 0.0}})))],
        &roles(&["*"]),
    );
    assert_eq!(none, Ok(Resources::new()));
}
