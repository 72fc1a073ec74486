use meshos_protocol::wishes::FaultDomain;

use super::*;

fn agent() -> AgentProfile {
    AgentProfile {
        attributes: "rack:r12;level:2.5;ports:[80-90,443-443];tags:{ssd,gpu};rack:spare"
            .parse()
            .unwrap(),
        hostname: "node-7.example.org".to_owned(),
        domain: Some(FaultDomain { region: "eu".to_owned(), zone: String::new() }),
    }
}

fn attribute(name: &str) -> Selector {
    Selector::Attribute { name: name.to_owned() }
}

fn equals(value: &str) -> Predicate {
    Predicate::Equals { value: value.to_owned() }
}

fn matches(pattern: &str) -> Predicate {
    Predicate::Matches { pattern: pattern.to_owned() }
}

fn allows(of: Selector, is: Predicate) -> bool {
    let one = vec![vec![AgentConstraint { of, is }]];
    Constraints::compile(&one).unwrap().unwrap().allow(&agent())
}

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

#[test]
fn texts_are_compared_and_matched_as_a_whole() {
    assert!(allows(attribute("rack"), equals("r12")));
    assert!(allows(attribute("rack"), equals("spare")), "any of several values");
    assert!(!allows(attribute("rack"), equals("r1")));
    assert!(allows(attribute("tags"), equals("ssd")));
    assert!(allows(attribute("level"), equals("2.5")));
    assert!(allows(attribute("rack"), matches("r[0-9]+")));
    assert!(!allows(attribute("rack"), matches("r[0-9]")), "a part does not do");
    assert!(allows(attribute("rack"), matches("x|r.*")), "alternatives stay inside");
    assert!(allows(Selector::Hostname, matches(r"node-\d\..*")));
    assert!(allows(Selector::Region, equals("eu")));
}

#[test]
fn negative_predicates_hold_where_nothing_fits() {
    let not = |value: &str| Predicate::NotEquals { value: value.to_owned() };
    assert!(allows(attribute("rack"), not("r1")));
    assert!(!allows(attribute("rack"), not("spare")), "none of several values may fit");
    assert!(allows(attribute("nothing"), not("r1")));
    assert!(!allows(attribute("rack"), Predicate::NotMatches { pattern: "r.*".into() }));
    assert!(allows(Selector::Zone, Predicate::NotExists), "an empty zone is none");
    assert!(!allows(attribute("rack"), Predicate::NotExists));
    assert!(allows(attribute("tags"), Predicate::Exists));
    assert!(!allows(attribute("nothing"), Predicate::Exists));
}

#[test]
fn numbers_are_compared_exactly_and_ranges_hold_whole_ones() {
    let less = |than| Predicate::Less { than: amount(than) };
    let greater = |than| Predicate::Greater { than: amount(than) };
    let within = |from, to| Predicate::Within { from: amount(from), to: amount(to) };
    for (of, is, expected) in [
        ("level", less("2.501"), true),
        ("level", less("2.5"), false),
        ("level", greater("2.499"), true),
        ("level", greater("2.5"), false),
        ("level", within("2.5", "2.5"), true),
        ("level", within("-1", "2"), false),
        ("ports", less("80"), false),
        ("ports", less("80.5"), true),
        ("ports", greater("442"), true),
        ("ports", greater("443"), false),
        ("ports", within("91", "442"), false),
        ("ports", within("90.5", "443"), true),
        ("ports", within("85.1", "85.9"), false),
        ("rack", less("100"), false),
    ] {
        assert_eq!(allows(attribute(of), is.clone()), expected, "{of} {is:?}");
    }
}

#[test]
fn alternatives_are_sufficient_one_by_one_and_their_constraints_together() {
    let one = |name: &str, value: &str| AgentConstraint { of: attribute(name), is: equals(value) };
    let allows = |alternatives: &[Vec<AgentConstraint>]| {
        Constraints::compile(alternatives).unwrap().unwrap().allow(&agent())
    };
    assert!(allows(&[vec![one("rack", "r12"), one("tags", "gpu")]]));
    assert!(!allows(&[vec![one("rack", "r12"), one("tags", "hdd")]]));
    assert!(allows(&[vec![one("tags", "hdd")], vec![one("tags", "gpu")]]));
    assert!(Constraints::compile(&[]).unwrap().is_none());
}

#[test]
fn what_a_later_release_means_is_never_fulfilled() {
    for nothing in [Selector::Nothing, Selector::Unknown] {
        assert!(!allows(nothing, Predicate::NotExists));
    }
    for never in [Predicate::Never, Predicate::Unknown] {
        assert!(!allows(attribute("rack"), never));
    }
}

#[test]
fn patterns_are_bounded_in_size_and_named_when_wrong() {
    let error = |pattern: &str| {
        let is = matches(pattern);
        let one = vec![vec![AgentConstraint { of: Selector::Hostname, is }]];
        Constraints::compile(&one).unwrap_err()
    };
    assert!(matches!(error("("), WishError::Pattern { .. }));
    assert!(matches!(error("(((a{100}){100}){100})"), WishError::Pattern { .. }));
    assert_eq!(error(&"a".repeat(2000)), WishError::LongPattern { bytes: 2000 });
    let many = vec![Vec::new(); 65];
    let error = Constraints::compile(&many).unwrap_err();
    assert_eq!(error.to_string(), "65 alternatives, at most 64 are allowed");
    let is = Predicate::Within { from: amount("2"), to: amount("1") };
    let empty = vec![vec![AgentConstraint { of: Selector::Hostname, is }]];
    let error = Constraints::compile(&empty).unwrap_err();
    assert_eq!(error.to_string(), "the range from 2 to 1 is empty");
}
