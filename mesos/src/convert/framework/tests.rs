use meshos_protocol::wishes::{AgentConstraint, Predicate, Selector};
use serde_json::{Value, json};

use super::*;

fn read_info(value: Value) -> Result<Description, String> {
    let mut value = value;
    let suppressed: Vec<String> =
        serde_json::from_value(value["suppressed"].take()).unwrap_or_default();
    let constraints = value["constraints"].take();
    let constraints = (!constraints.is_null()).then(|| crate::json::read(constraints).unwrap());
    for (name, text) in [("user", "u"), ("name", "n")] {
        value[name] = json!(text);
    }
    read(&crate::json::read(value).unwrap(), &suppressed, constraints.as_ref())
}

fn multi(value: Value) -> Value {
    let mut value = value;
    value["capabilities"] =
        json!([{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}, {"type": "DANCE"}]);
    value
}

#[test]
fn a_description_says_what_it_says() {
    let read =
        read_info(multi(json!({"roles": ["a", "b"], "failover_timeout": 1.5, "suppressed": ["b"],
        "labels": {"labels": [{"key": "k"}]}, "hostname": "h"})))
        .unwrap();
    let roles: Vec<&str> = read.info.roles.iter().map(Role::as_str).collect();
    assert_eq!(roles, ["a", "b"]);
    assert_eq!(read.info.failover_timeout_ms, 1_500);
    assert!(read.info.capabilities.partition_aware);
    assert!(!read.info.capabilities.task_killing_state);
    assert!(!read.info.capabilities.reservation_refinement);
    assert_eq!(read.suppressed.len(), 1);
    assert_eq!(read.info.labels["k"], "");
    assert_eq!(read_info(json!({})).unwrap().info.roles, [Role::default()].into());
    let long = read_info(json!({"failover_timeout": 1e12})).unwrap();
    assert_eq!(long.info.failover_timeout_ms, FAILOVER_MAX_MS);
}

#[test]
fn wishes_are_by_role() {
    let constraint =
        |selector: Value, predicate: Value| json!({"selector": selector, "predicate": predicate});
    let groups = json!([{"attribute_constraints": [
        constraint(json!({"attribute_name": "rack"}), json!({"text_equals": {"value": "r1"}})),
        constraint(json!({"pseudoattribute_type": "ZONE"}), json!({"text_not_matches": {"regex": "z.*"}})),
    ]}]);
    let read = read_info(json!({"role": "a",
        "constraints": {"role_constraints": {"a": {"groups": groups}}},
        "offer_filters": {"a": {"min_allocatable_resources": {"quantities": [
            {"quantities": {"cpus": {"value": 2.0}}}]}}}}))
    .unwrap();
    let wishes = &read.wishes[&Role::new("a").unwrap()];
    assert_eq!(wishes.constraints[0][0], AgentConstraint::equals("rack", "r1"));
    assert_eq!(wishes.constraints[0][1].of, Selector::Zone);
    assert_eq!(wishes.constraints[0][1].is, Predicate::NotMatches { pattern: "z.*".into() });
    assert_eq!(wishes.minimum[0].to_string(), "cpus:2");
}

#[test]
fn what_breaks_a_rule_is_refused() {
    let of_a = |groups: Value| json!({"role": "a", "constraints": {"role_constraints": {"a": {"groups": groups}}}});
    let one = |it: Value| of_a(json!([{"attribute_constraints": [it]}]));
    for (value, word) in [
        (json!({"roles": ["a"]}), "MULTI_ROLE"),
        (multi(json!({"role": "a"})), "MULTI_ROLE"),
        (multi(json!({"roles": ["a", "a"]})), "twice"),
        (json!({"role": "a//b"}), "empty part"),
        (json!({"failover_timeout": -1.0}), "failover_timeout"),
        (json!({"failover_timeout": "NaN"}), "failover_timeout"),
        (json!({"suppressed": ["b"]}), "suppressed_roles"),
        (json!({"offer_filters": {"b": {}}}), "offer_filters"),
        (json!({"constraints": {"role_constraints": {"b": {"groups": []}}}}), "offer_constraints"),
        (of_a(json!([])), "no group"),
        (of_a(json!([{}])), "no constraint"),
        (one(json!({"selector": {}, "predicate": {"exists": {}}})), "one selector"),
        (one(json!({"selector": {"attribute_name": "x"}, "predicate": {}})), "one predicate"),
        (
            one(
                json!({"selector": {"attribute_name": "x"}, "predicate": {"exists": {}, "not_exists": {}}}),
            ),
            "one predicate",
        ),
        (
            one(
                json!({"selector": {"pseudoattribute_type": "UNKNOWN"}, "predicate": {"exists": {}}}),
            ),
            "not known",
        ),
    ] {
        let why = read_info(value.clone()).unwrap_err();
        assert!(why.contains(word), "{value}: {why}");
    }
}
