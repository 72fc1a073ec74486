//! Laws of resources and attributes, on generated values.

#![expect(clippy::unwrap_used, reason = "a generator that makes an invalid value is a broken test")]

use std::collections::BTreeSet;

use meshos_protocol::attributes::{Attribute, AttributeText, AttributeValue, Attributes};
use meshos_protocol::resources::{
    Amount, Metadata, Range, Ranges, Resource, ResourceName, Resources, ScalarQuantities, Set,
    Value,
};
use meshos_protocol::role::Role;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Resources of which two can be generated so that they never share a number or a word.
#[derive(Debug, Clone, Copy)]
enum Side {
    Left,
    Right,
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec!["*", "a", "a/b", "a/b/c", "d"])
        .prop_map(|name| Role::new(name).unwrap())
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![0_i64..20_000, 0_i64..=1_000_000_000_000_000 / 16].prop_map(Amount::from_millis)
}

/// Ranges whose numbers are even on the one side and odd on the other in short ranges, or lie in
/// neighbouring blocks, so that the sides are disjoint but touch everywhere.
fn ranges(side: Side) -> impl Strategy<Value = Ranges> {
    let parity = match side {
        Side::Left => 0,
        Side::Right => 1,
    };
    prop::collection::vec((0_u64..12, 0_u64..40, 0_u64..40), 0..6).prop_map(move |parts| {
        parts
            .into_iter()
            .map(|(block, from, length)| {
                let base = 100 * (2 * block + parity);
                Range::new(base + from, (base + from + length).min(base + 99)).unwrap()
            })
            .collect()
    })
}

fn set(side: Side) -> impl Strategy<Value = Set> {
    let words = match side {
        Side::Left => vec!["a", "b b", "c", "ü"],
        Side::Right => vec!["A", "B B", "C", "Ü"],
    };
    prop::sample::subsequence(words, 0..=4).prop_map(|items| Set::new(items).unwrap())
}

fn resource(side: Side) -> impl Strategy<Value = Resource> {
    let scalar_names = prop::sample::select(vec!["cpus", "mem", "disk", "x", "licences"]);
    let scalar = (scalar_names, amount().prop_map(Value::Scalar));
    let gpus = (Just("gpus"), (0_i64..9).prop_map(|count| Value::Scalar(Amount::whole(count))));
    let ranged =
        (prop::sample::select(vec!["ports", "vlans"]), ranges(side).prop_map(Value::Ranges));
    let word = (prop::sample::select(vec!["bugs", "zones"]), set(side).prop_map(Value::Set));
    let metadata = prop_oneof![
        4 => role().prop_map(Metadata::reserved_for),
        1 => Just(Metadata::REVOCABLE),
    ];
    (prop_oneof![4 => scalar, 1 => gpus, 2 => ranged, 1 => word], metadata).prop_map(
        |((name, value), metadata)| {
            let name = ResourceName::new(name).unwrap();
            Resource::new(name, metadata, value).unwrap()
        },
    )
}

fn resources_of(side: Side) -> impl Strategy<Value = Resources> {
    prop::collection::vec(resource(side), 0..8).prop_map(|entries| entries.into_iter().collect())
}

fn resources() -> impl Strategy<Value = Resources> {
    resources_of(Side::Left)
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let text = "[a-zA-Z./:(][a-zA-Z0-9 ./:()_=-]{0,20}[a-z]"
        .prop_map(|text| AttributeValue::Text(AttributeText::new(&text).unwrap()));
    let value = prop_oneof![
        any::<i64>().prop_map(|millis| AttributeValue::Scalar(Amount::from_millis(millis))),
        ranges(Side::Left).prop_map(AttributeValue::Ranges),
        set(Side::Left).prop_map(AttributeValue::Set),
        text,
    ];
    let attribute = ("[a-z][a-z0-9_.-]{0,8}", value)
        .prop_map(|(name, value)| Attribute::new(&name, value).unwrap());
    prop::collection::vec(attribute, 0..8).prop_map(|list| Attributes::new(list).unwrap())
}

fn through_the_wire<T: Serialize + DeserializeOwned>(value: &T) -> T {
    rmp_serde::from_slice(&rmp_serde::to_vec_named(value).unwrap()).unwrap()
}

fn numbers(ranges: &Ranges) -> BTreeSet<u64> {
    ranges.values().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn amounts_print_and_read_back(millis: i64) {
        let amount = Amount::from_millis(millis);
        prop_assert_eq!(amount.to_string().parse::<Amount>(), Ok(amount));
        prop_assert_eq!(through_the_wire(&amount), amount);
    }

    #[test]
    fn finer_digits_round_to_the_nearest_thousandth(
        units in 0_i64..1_000_000, digits in prop::collection::vec(0_u8..10, 1..9), negative: bool
    ) {
        let decimals: String = digits.iter().map(ToString::to_string).collect();
        let sign = if negative { "-" } else { "" };
        let read: Amount = format!("{sign}{units}.{decimals}").parse().unwrap();
        // The same in units of 10^-8, where eight digits are exact.
        let fraction: i64 = format!("{decimals:0<8}").parse().unwrap();
        let millis = (units * 100_000_000 + fraction + 50_000) / 100_000;
        prop_assert_eq!(read.millis(), if negative { -millis } else { millis });
    }

    #[test]
    fn ranges_are_sets_of_numbers(left in ranges(Side::Left), right in prop_oneof![
        ranges(Side::Left), ranges(Side::Right)
    ]) {
        let (a, b) = (numbers(&left), numbers(&right));
        prop_assert_eq!(numbers(&left.union(&right)), &a | &b);
        prop_assert_eq!(numbers(&left.difference(&right)), &a - &b);
        prop_assert_eq!(numbers(&left.intersection(&right)), &a & &b);
        prop_assert_eq!(left.contains(&right), b.is_subset(&a));
        prop_assert_eq!(left.count(), a.len() as u64);
        for result in [left.union(&right), left.difference(&right), left.intersection(&right)] {
            // Already normalised, or making it anew would change it.
            prop_assert_eq!(Ranges::new(result.iter().copied()), result);
        }
    }

    #[test]
    fn the_first_numbers_are_the_smallest(ranges in ranges(Side::Left), count in 0_usize..200) {
        let all = numbers(&ranges);
        let expected: BTreeSet<u64> = all.iter().copied().take(count).collect();
        match ranges.take_first(count as u64) {
            Some(taken) => prop_assert_eq!(numbers(&taken), expected),
            None => prop_assert!(count > all.len()),
        }
    }

    #[test]
    fn resources_print_and_read_back(have in resources()) {
        let text = have.to_string();
        let read = Resources::parse(&text);
        prop_assert_eq!(read.as_ref(), Ok(&have));
        prop_assert_eq!(read.unwrap().to_string(), text);
    }

    #[test]
    fn white_space_means_nothing(have in resources()) {
        let mut spaced = String::from(" ");
        for character in have.to_string().chars() {
            let apart = matches!(character, ';' | ':' | '(' | ')' | '[' | ']' | '{' | '}' | ',');
            if apart && character != '(' { spaced.push_str("\n ") }
            spaced.push(character);
            if apart { spaced.push('\t') }
        }
        prop_assert_eq!(Resources::parse(&spaced), Ok(have));
    }

    #[test]
    fn resources_survive_the_wire(have in resources()) {
        prop_assert_eq!(through_the_wire(&have), have.clone());
        prop_assert_eq!(through_the_wire(&have.quantities()), have.quantities());
        for entry in &have {
            prop_assert_eq!(&through_the_wire(entry), entry);
        }
    }

    #[test]
    fn collections_are_normalised(have in resources(), other in resources()) {
        for result in [&have + &other, have.saturating_sub(&other), have.intersection(&other),
                       have.flatten(), have.reserved()] {
            let entries: Vec<_> = result.iter().cloned().collect();
            let keys: Vec<_> = entries.iter().map(|e| (e.metadata(), e.name(), e.value().kind())).collect();
            prop_assert!(keys.is_sorted_by(|a, b| a < b), "{:?}", keys);
            prop_assert!(entries.iter().all(|entry| !entry.is_empty()));
            prop_assert_eq!(entries.into_iter().collect::<Resources>(), result);
        }
    }

    #[test]
    fn addition_is_commutative_and_associative(
        a in resources(), b in resources(), c in resources_of(Side::Right)
    ) {
        prop_assert_eq!(&a + &b, &b + &a);
        prop_assert_eq!(&a + &b + &c, &a + &(&b + &c));
        prop_assert_eq!(&a + &Resources::new(), a.clone());
        prop_assert!((&a + &b).contains(&a));
    }

    #[test]
    fn what_was_added_can_be_taken_away(
        a in resources_of(Side::Left), b in resources_of(Side::Right)
    ) {
        prop_assert!(a.is_disjoint(&b));
        let mut sum = &a + &b;
        prop_assert_eq!(sum.checked_sub(&b), Some(a.clone()));
        prop_assert!(sum.try_subtract(&a).is_ok());
        prop_assert_eq!(sum, b);
    }

    #[test]
    fn what_was_taken_away_can_be_put_back(have in resources(), other in resources()) {
        let taken = have.intersection(&other);
        prop_assert!(have.contains(&taken) && other.contains(&taken));
        let rest = have.checked_sub(&taken).expect("an intersection is contained");
        prop_assert!(rest.is_disjoint(&taken));
        prop_assert_eq!(rest + taken, have);
    }

    #[test]
    fn subtraction_succeeds_exactly_when_contained(have in resources(), other in resources()) {
        let mut rest = have.clone();
        match rest.try_subtract(&other) {
            Ok(()) => {
                prop_assert!(have.contains(&other));
                prop_assert_eq!(have.checked_sub(&other), Some(rest));
            }
            Err(missing) => {
                prop_assert!(!have.contains(&other));
                prop_assert_eq!(&rest, &have);
                let wanted = Resources::from(*missing.wanted);
                prop_assert!(other.contains(&wanted) && !have.contains(&wanted));
            }
        }
    }

    #[test]
    fn what_is_found_is_there_allowed_and_what_was_asked_for(
        have in resources(), request in resources(), role in role()
    ) {
        let enough = have.for_role(&role).as_request().contains(&request.as_request());
        match have.find(&request, &role) {
            Some(found) => {
                prop_assert!(have.contains(&found));
                prop_assert!(have.for_role(&role).contains(&found));
                prop_assert_eq!(found.as_request(), request.as_request());
                prop_assert!(enough);
            }
            None => prop_assert!(!enough),
        }
    }

    #[test]
    fn a_part_of_what_a_role_may_use_is_found(
        have in resources(), part in resources(), role in role()
    ) {
        let request = have.for_role(&role).as_request().intersection(&part.as_request());
        let found = have.find(&request, &role).expect("it is a part of what is there");
        let rest = have.checked_sub(&found).expect("what is found is contained");
        // The pool is touched only when the role's own reservations of that name are used up.
        for entry in &found.unreserved() {
            let own = rest.reserved().for_role(&role).filter(|left| left.name() == entry.name());
            let common = own.flatten().intersection(&Resources::from(entry.clone()));
            prop_assert!(common.is_empty(), "{} was left, {} was taken", own, entry);
        }
    }

    #[test]
    fn views_split_and_keep_everything(have in resources(), role in role()) {
        prop_assert_eq!(have.unreserved() + have.reserved(), have.clone());
        prop_assert_eq!(have.flatten().quantities(), have.quantities());
        prop_assert_eq!(have.flatten().ports(), have.ports());
        prop_assert_eq!(have.flatten().reserve_for(&role).flatten(), have.flatten());
        for name in have.names() {
            prop_assert_eq!(have.scalar(name.as_str()), have.quantities().get(name));
        }
    }

    #[test]
    fn quantities_follow_the_resources(a in resources(), b in resources()) {
        let mut sum: ScalarQuantities = a.quantities();
        sum += &b.quantities();
        prop_assert_eq!(&sum, &(&a + &b).quantities());
        prop_assert_eq!(sum.checked_sub(&b.quantities()), Some(a.quantities()));
        prop_assert!(sum.contains(&a.quantities()));
    }

    #[test]
    fn attributes_print_and_read_back_and_survive_the_wire(have in attributes()) {
        prop_assert_eq!(Attributes::parse(&have.to_string()), Ok(have.clone()));
        prop_assert_eq!(through_the_wire(&have), have);
    }

    #[test]
    fn any_text_is_read_or_refused_inside_it(text in any::<String>()) {
        let errors = [
            Resources::parse(&text).err(),
            Attributes::parse(&text).err(),
            text.parse::<Amount>().err(),
            ResourceName::new(&text).err(),
        ];
        for error in errors.into_iter().flatten() {
            prop_assert!(text.is_char_boundary(error.position()));
            prop_assert!(error.caret(&text).contains('^'));
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(decoded) = rmp_serde::from_slice::<Resources>(&bytes) {
            prop_assert_eq!(through_the_wire(&decoded), decoded);
        }
        if let Ok(decoded) = rmp_serde::from_slice::<Attributes>(&bytes) {
            prop_assert_eq!(through_the_wire(&decoded), decoded);
        }
    }
}
