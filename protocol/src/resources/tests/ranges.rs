use super::*;

#[test]
fn ranges_are_normalised() {
    let table = [
        ("[]", "[]"),
        ("[5-9,1-2]", "[1-2,5-9]"),
        ("[1-2,3-4]", "[1-4]"),
        ("[1-5,2-3]", "[1-5]"),
        ("[1-5,5-9,4-6]", "[1-9]"),
        ("[7-7,7-7]", "[7-7]"),
        ("[0-18446744073709551615,5-6]", "[0-18446744073709551615]"),
        (
            "[18446744073709551615-18446744073709551615,0-0]",
            "[0-0,18446744073709551615-18446744073709551615]",
        ),
    ];
    for (text, normal) in table {
        assert_eq!(ranges(text).to_string(), normal);
    }
}

#[test]
fn union_difference_intersection() {
    // left, right, union, difference, intersection
    let table = [
        ("[]", "[]", "[]", "[]", "[]"),
        ("[1-9]", "[]", "[1-9]", "[1-9]", "[]"),
        ("[]", "[1-9]", "[1-9]", "[]", "[]"),
        ("[1-9]", "[1-9]", "[1-9]", "[]", "[1-9]"),
        ("[1-9]", "[4-5]", "[1-9]", "[1-3,6-9]", "[4-5]"),
        ("[1-9]", "[1-5]", "[1-9]", "[6-9]", "[1-5]"),
        ("[1-9]", "[5-12]", "[1-12]", "[1-4]", "[5-9]"),
        ("[1-3,5-7,9-11]", "[2-10]", "[1-11]", "[1-1,11-11]", "[2-3,5-7,9-10]"),
        ("[1-20]", "[2-3,5-6,20-30]", "[1-30]", "[1-1,4-4,7-19]", "[2-3,5-6,20-20]"),
        ("[1-2]", "[3-4]", "[1-4]", "[1-2]", "[]"),
        (
            "[0-18446744073709551615]",
            "[0-0,18446744073709551615-18446744073709551615]",
            "[0-18446744073709551615]",
            "[1-18446744073709551614]",
            "[0-0,18446744073709551615-18446744073709551615]",
        ),
    ];
    for (left, right, union, difference, intersection) in table {
        let (left, right) = (ranges(left), ranges(right));
        assert_eq!(left.union(&right).to_string(), union);
        assert_eq!(left.difference(&right).to_string(), difference);
        assert_eq!(left.intersection(&right).to_string(), intersection);
        assert_eq!(right.intersection(&left).to_string(), intersection);
    }
}

#[test]
fn containment_and_counts() {
    let ports = ranges("[1-3,10-20]");
    assert_eq!(ports.count(), 14);
    assert!(ports.contains(&ranges("[]")) && ports.contains(&ranges("[2-3,10-10,19-20]")));
    assert!(!ports.contains(&ranges("[3-4]")) && !ports.contains(&ranges("[3-10]")));
    assert!(ports.contains_value(3) && !ports.contains_value(4) && !ports.contains_value(21));
    assert_eq!(ports.values().take(5).collect::<Vec<_>>(), [1, 2, 3, 10, 11]);
    assert_eq!(ranges("[0-18446744073709551615]").count(), u64::MAX);
}

#[test]
fn the_first_numbers_are_taken() {
    let ports = ranges("[1-3,10-20]");
    for (count, taken) in
        [(0, "[]"), (2, "[1-2]"), (3, "[1-3]"), (5, "[1-3,10-11]"), (14, "[1-3,10-20]")]
    {
        assert_eq!(ports.take_first(count), Some(ranges(taken)));
    }
    assert_eq!(ports.take_first(15), None);
    let all = ranges("[0-18446744073709551615]");
    assert_eq!(all.take_first(u64::MAX), Some(ranges("[0-18446744073709551614]")));
}
