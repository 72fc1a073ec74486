use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;

/// What a peer might send for one entry.
#[derive(Debug, Clone, Default, Serialize)]
struct Entry {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Meta>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scalar: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ranges: Option<Vec<(u64, u64)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field_of_a_later_release: Option<bool>,
}

#[derive(Debug, Clone, Serialize)]
struct Meta {
    reservation: Option<Role>,
    another_later_field: u8,
}

#[derive(Debug, Clone, Serialize)]
struct Role {
    role: &'static str,
}

fn decode<T: DeserializeOwned>(sent: &impl Serialize) -> Result<T, String> {
    let bytes = rmp_serde::to_vec_named(sent).unwrap();
    rmp_serde::from_slice(&bytes).map_err(|error| error.to_string())
}

fn scalar(name: &'static str, millis: i64) -> Entry {
    Entry { name, scalar: Some(millis), ..Entry::default() }
}

#[test]
fn resources_survive_the_wire() {
    for text in [
        "",
        "cpus:24;mem:24576;disk:409600;ports:[21000-24000];bugs:{a,b,c}",
        "cpus:0.001;gpus:1;mem(a/b):5;x:[0-18446744073709551615]",
    ] {
        let have = resources(text);
        assert_eq!(decode(&have), Ok(have.clone()));
        assert_eq!(decode(&have.quantities()), Ok(have.quantities()));
    }
}

#[test]
fn the_wire_form_is_small_and_keeps_its_shape() {
    let bytes = rmp_serde::to_vec_named(&resources("cpus:1;ports:[1-2]")).unwrap();
    let mut expected = vec![0x92];
    expected.extend(b"\x82\xa4name\xa4cpus\xa6scalar\xcd\x03\xe8");
    expected.extend(b"\x82\xa4name\xa5ports\xa6ranges\x91\x92\x01\x02");
    assert_eq!(bytes, expected);
}

#[test]
fn fields_of_a_later_release_are_ignored() {
    let metadata = Some(Meta { reservation: Some(Role { role: "a" }), another_later_field: 1 });
    let sent = [Entry { field_of_a_later_release: Some(true), metadata, ..scalar("cpus", 500) }];
    assert_eq!(decode(&sent), Ok(resources("cpus(a):0.5")));
}

#[test]
fn what_breaks_an_invariant_is_refused_with_the_reason() {
    let ranges = |ranges| Entry { name: "x", ranges: Some(ranges), ..Entry::default() };
    let set = |set| Entry { name: "x", set: Some(set), ..Entry::default() };
    let reserved = |role| {
        let metadata = Some(Meta { reservation: Some(Role { role }), another_later_field: 0 });
        Entry { metadata, ..scalar("cpus", 1) }
    };
    let table = [
        (vec![scalar("cpus", -1)], "must not be negative, it is -0.001"),
        (vec![scalar("cpus", i64::MAX)], "must be at most 1000000000000"),
        (vec![scalar("cpus", 0)], "resource `cpus:0` holds nothing"),
        (vec![scalar("gpus", 1_500)], "must be a whole number"),
        (vec![scalar("ports", 1)], "the value of `ports` must be ranges"),
        (vec![scalar("a b", 1)], "expected a name without white space"),
        (vec![scalar("cpus", 1), scalar("cpus", 1)], "a resource is given twice"),
        (vec![Entry { name: "x", ..Entry::default() }], "exactly one of scalar, ranges and set"),
        (vec![Entry { set: Some(vec!["a"]), ..scalar("x", 1) }], "exactly one of scalar"),
        (vec![ranges(vec![(2, 1)])], "range 2-1 ends before it begins"),
        (vec![ranges(vec![(1, 2), (3, 4)])], "neither overlap nor touch"),
        (vec![ranges(vec![(5, 6), (1, 2)])], "ranges must be sorted"),
        (vec![ranges(vec![(5, u64::MAX), (7, 8)])], "neither overlap nor touch"),
        (vec![ranges(vec![])], "holds nothing"),
        (vec![set(vec!["b", "a"])], "the items of a set must be sorted and differ"),
        (vec![set(vec!["a", "a"])], "the items of a set must be sorted and differ"),
        (vec![set(vec![""])], "an item of a set must not be empty"),
        (vec![reserved("*")], "a role other than `*`"),
        (vec![reserved("a//b")], "has an empty part"),
    ];
    for (sent, reason) in table {
        let error = decode::<Resources>(&sent).expect_err(reason);
        assert!(error.contains(reason), "{error} does not say {reason}");
    }
}

#[test]
fn lists_beyond_their_limits_are_refused() {
    let entries = vec![scalar("cpus", 1); ENTRIES_MAX + 1];
    let error = decode::<Resources>(&entries).expect_err("too many entries");
    assert!(error.contains("a list of at most 1000 elements"), "{error}");

    let list = |count: usize| (0..count as u64).map(|n| (2 * n, 2 * n)).collect::<Vec<_>>();
    assert!(decode::<Ranges>(&list(RANGES_WIRE_MAX)).is_ok());
    assert!(decode::<Ranges>(&list(RANGES_WIRE_MAX + 1)).is_err());

    let items = |count: usize| (0..count).map(|n| format!("{n:06}")).collect::<Vec<_>>();
    assert!(decode::<Set>(&items(SET_ITEMS_MAX)).is_ok());
    assert!(decode::<Set>(&items(SET_ITEMS_MAX + 1)).is_err());
}

#[test]
fn quantities_are_checked_too() {
    assert!(decode::<ScalarQuantities>(&[("cpus", 5)]).is_ok());
    for sent in
        [vec![("cpus", 0)], vec![("cpus", -1)], vec![("cpus", 1), ("cpus", 2)], vec![("", 1)]]
    {
        assert!(decode::<ScalarQuantities>(&sent).is_err(), "{sent:?}");
    }
}
