use crate::bootstrap::{SeedList, SeedListError, own_seed};

#[test]
fn lists_are_normalised_sorted_and_bounded() {
    let list = SeedList::parse(["B:5050", "a.:05050", " b:5050", "[::1]:7"]).unwrap();
    assert_eq!(list.iter().collect::<Vec<_>>(), ["[::1]:7", "a:5050", "b:5050"]);
    assert_eq!(list.first(), Some("[::1]:7"));
    assert_eq!(list.warning(), None);
    let even = SeedList::parse(["a:1", "b:1"]).unwrap();
    assert!(even.warning().unwrap().contains("odd number"));
    let many = (0..8).map(|number| format!("n{number}:1"));
    assert_eq!(SeedList::parse(many), Err(SeedListError::TooMany { count: 8 }));
    assert!(SeedList::parse((0..7).map(|number| format!("n{number}:1"))).is_ok());
    for bad in ["", "a", "a:", ":1", "a:x", "a:0", "a:65536", "a b:1", "::1:5", "a/b:1", "a:-1"] {
        let error = SeedList::parse([bad]).unwrap_err();
        assert!(matches!(error, SeedListError::Malformed { .. }), "{bad}: {error}");
    }
}

#[test]
fn a_node_is_one_seed_or_none() {
    let list = SeedList::parse(["a:1", "b:1", "c:1"]).unwrap();
    let local = |seeds: &[&str]| seeds.iter().map(|seed| (*seed).to_owned()).collect::<Vec<_>>();
    assert_eq!(own_seed(&list, Some("B:1"), &local(&["a:1"])), Ok(Some("b:1".to_owned())));
    assert_eq!(own_seed(&list, Some("d:1"), &local(&["a:1"])), Ok(None));
    assert_eq!(own_seed(&list, None, &local(&["c:1"])), Ok(Some("c:1".to_owned())));
    assert_eq!(own_seed(&list, None, &[]), Ok(None));
    let two = own_seed(&list, None, &local(&["a:1", "c:1"])).unwrap_err();
    assert!(matches!(two, SeedListError::TwoMatches { .. }), "{two}");
}
