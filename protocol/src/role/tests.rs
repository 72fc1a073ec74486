use super::*;

#[test]
fn valid_names_are_kept_as_they_are() {
    let longest = "r".repeat(ROLE_BYTES_MAX);
    for name in
        ["*", "ads", "a/b/c", "web.prod", "a-b", "_", "prod:web", "rôle", "a*", "...", &longest]
    {
        let role = Role::new(name).expect(name);
        assert_eq!(role.as_str(), name);
        assert_eq!(role.to_string(), name);
        assert_eq!(role.is_default(), name == "*");
    }
}

#[test]
fn invalid_names_are_refused_with_the_reason() {
    let table = [
        ("", "a role name must not be empty"),
        (".", "role name `.` has the part `.`, which is reserved"),
        ("..", "role name `..` has the part `..`, which is reserved"),
        ("a/*", "role name `a/*` has the part `*`, which is reserved"),
        ("*/a", "role name `*/a` has the part `*`, which is reserved"),
        ("a/../b", "role name `a/../b` has the part `..`, which is reserved"),
        ("-a", "role name `-a` has the part `-a`, which must not start with `-`"),
        ("a/-b", "role name `a/-b` has the part `-b`, which must not start with `-`"),
        ("a b", "role name `a b` holds ` ` at byte 1, which is not allowed"),
        ("a\tb", "role name `a\tb` holds `\\t` at byte 1, which is not allowed"),
        ("a\u{8}", "role name `a\u{8}` holds `\\u{8}` at byte 1, which is not allowed"),
        ("é(", "role name `é(` holds `(` at byte 2, which is not allowed"),
        ("a)", "role name `a)` holds `)` at byte 1, which is not allowed"),
        ("a;b", "role name `a;b` holds `;` at byte 1, which is not allowed"),
    ];
    for (name, message) in table {
        assert_eq!(Role::new(name).expect_err(name).to_string(), message);
    }
    for name in ["/", "/a", "a/", "a//b"] {
        let error = Role::new(name).expect_err(name);
        assert_eq!(error, RoleError::EmptyComponent { role: name.to_owned() });
    }
    let error = Role::new(&"r".repeat(ROLE_BYTES_MAX + 1)).expect_err("too long");
    assert_eq!(error, RoleError::TooLong { bytes: ROLE_BYTES_MAX + 1 });
}

#[test]
fn hierarchy_goes_by_components() {
    let role = |name: &str| Role::new(name).unwrap();
    assert!(role("a").is_ancestor_of(&role("a/b")));
    assert!(role("a").is_ancestor_of(&role("a/b/c")));
    assert!(!role("a").is_ancestor_of(&role("a")));
    assert!(!role("a").is_ancestor_of(&role("ab/c")));
    assert!(!role("a/b").is_ancestor_of(&role("a")));
    assert!(!role("*").is_ancestor_of(&role("a")));

    assert_eq!(role("a/b/c").parent(), Some(role("a/b")));
    assert_eq!(role("a").parent(), None);
    assert_eq!(Role::default().parent(), None);
    assert_eq!(role("a/b/c").components().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn decoding_applies_the_rules() {
    let bytes = rmp_serde::to_vec_named(&Role::new("a/b").unwrap()).unwrap();
    assert_eq!(rmp_serde::from_slice::<Role>(&bytes).unwrap(), Role::new("a/b").unwrap());
    let bytes = rmp_serde::to_vec_named("a//b").unwrap();
    let error = rmp_serde::from_slice::<Role>(&bytes).expect_err("an empty component");
    assert!(error.to_string().contains("has an empty part"), "{error}");
}
