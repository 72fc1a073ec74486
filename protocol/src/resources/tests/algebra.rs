use super::*;

#[test]
fn resources_of_other_metadata_are_other_things() {
    let have = resources("cpus:4;cpus(ads):2");
    assert!(have.contains(&resources("cpus:4;cpus(ads):2")));
    assert!(!have.contains(&resources("cpus:5")));
    assert!(!have.contains(&resources("cpus(ads):3")));
    assert!(!have.contains(&resources("cpus(web):1")));
    assert_eq!(have.cpus(), Amount::whole(6));
    assert_eq!(have.flatten(), resources("cpus:6"));
}

#[test]
fn subtraction_is_checked_and_says_what_is_missing() {
    let mut have = resources("cpus:4;mem:1024;ports:[1-9]");
    have.try_subtract(&resources("cpus:4;mem:24;ports:[3-4]")).unwrap();
    assert_eq!(have, resources("mem:1000;ports:[1-2,5-9]"));

    let before = have.clone();
    let error = have.try_subtract(&resources("mem:1;ports:[2-3]")).expect_err("port 3 is taken");
    assert_eq!(error.to_string(), "`ports:[2-3]` is not contained in `ports:[1-2,5-9]`");
    let error = have.try_subtract(&resources("cpus(ads):1")).expect_err("no such reservation");
    assert_eq!(error.to_string(), "`cpus(ads):1` is not contained in nothing");
    assert_eq!(have, before, "a refused subtraction changes nothing");

    assert_eq!(have.checked_sub(&resources("mem:1001")), None);
    assert_eq!(
        have.saturating_sub(&resources("mem:1001;cpus:1;ports:[2-7]")),
        resources("ports:[1-1,8-9]")
    );
    assert_eq!(have.checked_sub(&have), Some(Resources::new()));
}

#[test]
fn a_clone_is_not_changed_through_the_original() {
    let mut original = resources("cpus:4;mem:8");
    let clone = original.clone();
    original += &resources("cpus:1");
    original.try_subtract(&resources("mem:3")).unwrap();
    assert_eq!(clone, resources("cpus:4;mem:8"));
    assert_eq!(original, resources("cpus:5;mem:5"));
}

#[test]
fn kinds_of_a_custom_name_stay_apart_in_sums() {
    let sum = resources("disks:2") + resources("disks:{a}");
    assert_eq!(sum.scalar("disks"), Amount::whole(2));
    assert!(sum.set("disks").contains_item("a"));
    assert_eq!(sum.checked_sub(&resources("disks:{a}")), Some(resources("disks:2")));
    assert_eq!(sum.names().count(), 1);
}

#[test]
fn reservations_go_to_their_role_and_those_below() {
    let have = resources("cpus:1;cpus(a):2;cpus(a/b):4;cpus(c):8");
    let cpus = |name: &str| have.for_role(&role(name)).cpus();
    assert_eq!(cpus("*"), Amount::whole(1));
    assert_eq!(cpus("a"), Amount::whole(3));
    assert_eq!(cpus("a/b"), Amount::whole(7));
    assert_eq!(cpus("a/b/d"), Amount::whole(7));
    assert_eq!(cpus("ab"), Amount::whole(1));
    assert_eq!(have.unreserved(), resources("cpus:1"));
    assert_eq!(have.reserved().cpus(), Amount::whole(14));
    assert_eq!(have.reserved_for(&role("a")), resources("cpus(a):2"));
    assert_eq!(have.reserved_for(&role("*")), resources("cpus:1"));
    assert_eq!(have.unreserved().reserve_for(&role("c")), resources("cpus(c):1"));
    assert_eq!(resources("cpus(c):1").reserve_for(&Role::default()), resources("cpus:1"));
}

#[test]
fn a_request_takes_the_nearest_reservation_first() {
    let have =
        resources("cpus:4;cpus(a):2;cpus(a/b):1;cpus(c):9;ports:[1-9];ports(a):[20-29];s:{x}");
    let table = [
        // request, role, found
        ("cpus:1", "a/b", Some("cpus(a/b):1")),
        ("cpus:2", "a/b", Some("cpus(a/b):1;cpus(a):1")),
        ("cpus:5", "a/b", Some("cpus(a/b):1;cpus(a):2;cpus:2")),
        ("cpus:7", "a/b", Some("cpus(a/b):1;cpus(a):2;cpus:4")),
        ("cpus:7.001", "a/b", None),
        ("cpus:3", "a", Some("cpus(a):2;cpus:1")),
        ("cpus:4", "*", Some("cpus:4")),
        ("cpus:5", "*", None),
        ("cpus(c):3", "a", Some("cpus(a):2;cpus:1")),
        ("cpus:1;cpus(x):1", "a", Some("cpus(a):2")),
        ("ports:[5-6,20-21]", "a", Some("ports:[5-6];ports(a):[20-21]")),
        ("ports:[20-21]", "*", None),
        ("s:{x}", "a", Some("s:{x}")),
        ("s:{x,y}", "a", None),
        ("s:1", "a", None),
        ("mem:1", "a", None),
        ("", "a", Some("")),
    ];
    for (request, name, found) in table {
        assert_eq!(
            have.find(&resources(request), &role(name)),
            found.map(resources),
            "{request} {name}"
        );
    }
}

#[test]
fn lookups_sum_over_reservations() {
    let have = resources("cpus:1;mem:64;ports:[1-2];cpus(a):0.5;ports(a):[4-5];s(a):{x};s:{y}");
    assert_eq!(have.scalar("cpus"), Amount::from_millis(1_500));
    assert_eq!(
        (have.mem(), have.disk(), have.gpus()),
        (Amount::whole(64), Amount::ZERO, Amount::ZERO)
    );
    assert_eq!(have.ports(), ranges("[1-2,4-5]"));
    assert_eq!(have.ranges("cpus"), Ranges::default());
    assert_eq!(have.set("s").to_string(), "{x,y}");
    let names: Vec<_> = have.names().map(ResourceName::as_str).collect();
    assert_eq!(names, ["cpus", "mem", "ports", "s"]);
}

#[test]
fn intersections_and_disjointness() {
    let left = resources("cpus:4;mem:10;ports:[1-5];s:{a,b}");
    let right = resources("cpus:1;mem(a):10;ports:[4-9];s:{c}");
    assert_eq!(left.intersection(&right), resources("cpus:1;ports:[4-5]"));
    assert!(!left.is_disjoint(&right));
    assert!(left.is_disjoint(&resources("cpus:4;ports:[6-9];s:{c}")));
    assert!(!left.is_disjoint(&resources("s:{b}")));
}

#[test]
fn quantities_ignore_reservations_and_what_is_not_scalar() {
    let quantities = resources("cpus:1;cpus(a):2;mem:5;ports:[1-2];s:{x}").quantities();
    assert_eq!(quantities.to_string(), "cpus:3;mem:5");
    assert_eq!(quantities.get(&ResourceName::Cpus), Amount::whole(3));
    assert_eq!(quantities.get(&ResourceName::Disk), Amount::ZERO);

    let less = resources("cpus:3;mem:1").quantities();
    assert!(quantities.contains(&less) && !less.contains(&quantities));
    assert_eq!(quantities.checked_sub(&less).unwrap().to_string(), "mem:4");
    assert_eq!(less.checked_sub(&quantities), None);
    assert_eq!(less.saturating_sub(&quantities), ScalarQuantities::new());
    let mut sum = quantities.clone();
    sum += &less;
    assert_eq!(sum.to_string(), "cpus:6;mem:6");
    sum.add(&ResourceName::Cpus, Amount::from_millis(-1));
    sum.subtract(&ResourceName::Mem, Amount::from_millis(-1));
    assert_eq!(sum.to_string(), "cpus:6;mem:6", "negative amounts are ignored");
}

#[test]
fn offers_need_cpus_and_memory_in_total() {
    let table = [
        ("", false),
        ("cpus:4;mem:1024", true),
        ("cpus:4", false),
        ("mem:1024;disk:10", false),
        ("cpus(a):0.001;mem(a):1", true),
        ("disk:9999;ports:[1-9]", false),
    ];
    for (text, offerable) in table {
        assert_eq!(resources(text).is_offerable_total(), offerable, "{text}");
    }
}

#[test]
fn a_machine_keeps_a_margin_for_itself() {
    let table = [
        ((8, 16_384, 100_000), "cpus:8;mem:15360;disk:94880;ports:[31000-32000]"),
        ((1, 2_048, 10_240), "cpus:1;mem:1024;disk:5120;ports:[31000-32000]"),
        ((1, 2_047, 10_239), "cpus:1;mem:1023;disk:5119;ports:[31000-32000]"),
        ((2, 512, 0), "cpus:2;mem:256;ports:[31000-32000]"),
        ((0, 1, u64::MAX), "disk:1000000000000;ports:[31000-32000]"),
    ];
    for ((cpus, mem, disk), text) in table {
        assert_eq!(detected(cpus, mem, disk).to_string(), text);
    }
}

#[test]
fn invalid_resources_cannot_be_made() {
    let error = |name: &str, value: Value| Resource::unreserved(name, value).expect_err(name);
    let scalar = |millis| Value::Scalar(Amount::from_millis(millis));
    assert!(matches!(error("a b", scalar(1)), ResourceError::Name(_)));
    assert!(matches!(error("cpus", scalar(-1)), ResourceError::Negative { .. }));
    assert!(matches!(error("x", Amount::MAX.into()), ResourceError::TooLarge { .. }));
    assert!(matches!(error("gpus", scalar(1_001)), ResourceError::Fraction { .. }));
    assert!(matches!(error("ports", scalar(1)), ResourceError::Kind { .. }));
    assert!(matches!(error("disk", Set::default().into()), ResourceError::Kind { .. }));
    assert_eq!(
        Resource::reserved("cpus", Role::default(), scalar(1)),
        Resource::unreserved("cpus", scalar(1))
    );
    for item in ["", " a", "a ", "a,b", "{", "a;", "a\n"] {
        assert!(Set::new([item]).is_err(), "{item:?}");
    }
}
