use std::{fmt::Display, str::FromStr};

use super::*;

fn reads_back<T: FromStr<Err = IdError> + Display + PartialEq + std::fmt::Debug>(id: &T) {
    assert_eq!(id.to_string().parse::<T>().as_ref(), Ok(id));
}

#[test]
fn every_id_reads_back_what_it_prints() {
    let node = NodeId::from_bits(0x0123_4567_89ab_cdef);
    assert_eq!(node.to_string().len(), 12);
    reads_back(&node);
    reads_back(&NodeId::from_bits(0));
    reads_back(&AgentId::new(node, 7));
    reads_back(&ClusterId::from_u128(0xfeed_beef));
    reads_back(&FrameworkId(12));
    reads_back(&OfferId { term: Term(3), number: 99 });
    reads_back(&TaskId::new("web.1 ü").unwrap());
}

#[test]
fn malformed_ids_are_refused_with_the_rule_they_break() {
    for text in ["", ".", "..", "a/b", "a\\b", "a\nb", &"x".repeat(256)] {
        assert!(TaskId::new(text).is_err(), "{text:?}");
    }
    for text in ["F", "F01", "F-1", "7", "F1 ", "F99999999999999999999"] {
        assert!(text.parse::<FrameworkId>().is_err(), "{text:?}");
    }
    for text in ["O1", "O1.", "O.1", "1.1", "O1.2.3"] {
        assert!(text.parse::<OfferId>().is_err(), "{text:?}");
    }
    for text in ["aaaaaaaaaaa", "aaaaaaaaaaa1", "AAAAAAAAAAAA", "aaaaaaaaaaaé"] {
        assert!(text.parse::<NodeId>().is_err(), "{text:?}");
    }
    assert!(ContainerId::new("Up").is_err());
    let error = TaskId::new("a/b").unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"a/b\" is not a valid task id: it may not contain \"/\" or \"\\\""
    );
}

#[test]
fn update_ids_differ_by_node_generation_and_counter() {
    let node = NodeId::from_bits(5);
    let ids = [
        UpdateId::mint(node, Generation(1), 1),
        UpdateId::mint(node, Generation(1), 2),
        UpdateId::mint(node, Generation(2), 1),
        UpdateId::mint(NodeId::from_bits(6), Generation(1), 1),
    ];
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
}

#[test]
fn a_fence_is_stale_below_the_newest_term_or_in_another_cluster() {
    let ours = ClusterId::from_u128(1);
    let newest = Fence { cluster: ours, term: Term(4) };
    assert!(Fence { cluster: ours, term: Term(3) }.is_stale(newest));
    assert!(!Fence { cluster: ours, term: Term(4) }.is_stale(newest));
    assert!(!Fence { cluster: ours, term: Term(5) }.is_stale(newest));
    assert!(Fence { cluster: ClusterId::from_u128(2), term: Term(9) }.is_stale(newest));
}
