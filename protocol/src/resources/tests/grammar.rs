use super::*;

#[test]
fn canonical_texts_print_back_identically() {
    for text in [
        "",
        "cpus:24;mem:24576;disk:409600;ports:[21000-24000];bugs:{a,b,c}",
        "cpus(role):4;mem(role):1024",
        "cpus:24;gpus:2;mem:24576;disk:409600;ports:[21000-24000,30000-34000];bugs(debug_role):{a,b,c}",
        "cpus:0.1;mem:32",
        "cpus:8;mem:4096;cpus(ads):8;mem(ads):4096;cpus(web/prod):1.125",
        "ports:[1-2,5-9]",
        "cpus:4;cpus{revocable}:2;mem{revocable}:512;cpus(a):1",
        "nvidia.com/gpu:{größe,tesla v100}",
    ] {
        assert_eq!(resources(text).to_string(), text);
    }
}

#[test]
fn other_texts_are_brought_into_the_canonical_form() {
    let table = [
        ("mem:1;cpus:2", "cpus:2;mem:1"),
        ("b:1;a:2", "a:2;b:1"),
        (
            " cpus : 4 ;\n mem ( ads ) :\t1024 ; ports : [ 5 - 9 , 1-2 ] ; s : { b , a } ; ",
            "cpus:4;ports:[1-2,5-9];s:{a,b};mem(ads):1024",
        ),
        ("cpus:1;", "cpus:1"),
        ("cpus(*):4", "cpus:4"),
        ("cpus { revocable } : 1; cpus{revocable}:2;cpus:1", "cpus:1;cpus{revocable}:3"),
        // Entries of the same name and role add up.
        ("cpus:1;cpus:0.5;cpus(a):1;cpus(a):2", "cpus:1.5;cpus(a):3"),
        ("ports:[1-5];ports:[4-9]", "ports:[1-9]"),
        ("bugs:{a,b};bugs:{b,c}", "bugs:{a,b,c}"),
        // Entries that hold nothing vanish.
        ("cpus:0;mem:0.0001;ports:[];bugs:{}", ""),
        ("cpus:1.0004", "cpus:1"),
    ];
    for (text, canonical) in table {
        assert_eq!(resources(text).to_string(), canonical);
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    let table = [
        ("cpus", "at byte 4: expected `:` or `(`, found the end of the text"),
        ("cpus=4", "at byte 4: expected `:` or `(`, found `=`"),
        ("cpus 4", "at byte 5: expected `:` or `(`, found `4`"),
        ("cpus:", "at byte 5: expected a number, `[` or `{`, found the end of the text"),
        ("cpus:four", "at byte 5: expected a number, `[` or `{`, found `f`"),
        ("cpus:4GB", "at byte 6: expected `;` or the end of the text, found `G`"),
        ("cpus:4,mem:5", "at byte 6: expected `;` or the end of the text, found `,`"),
        ("cpus:4 5", "at byte 7: expected `;` or the end of the text, found `5`"),
        (
            "cpus:1.",
            "at byte 7: expected a digit after the decimal point, found the end of the text",
        ),
        (":4", "at byte 0: expected the name of a resource, found `:`"),
        (";", "at byte 0: expected the name of a resource, found `;`"),
        ("cpus:1;;mem:2", "at byte 7: expected the name of a resource, found `;`"),
        ("cpus:-1", "at byte 5: the amount of `cpus` must not be negative, it is -1"),
        (
            "cpus:1000000000000.001",
            "at byte 5: the amount of `cpus` must be at most 1000000000000, it is 1000000000000.001",
        ),
        ("x:1000000000000;x:1", "at byte 16: the amounts of `x` add up to more than 1000000000000"),
        ("gpus:0.5", "at byte 5: the amount of `gpus` must be a whole number, it is 0.5"),
        ("cpus:{a}", "at byte 5: the value of `cpus` must be a number, not a set"),
        ("mem:[1-2]", "at byte 4: the value of `mem` must be a number, not ranges"),
        ("ports:80", "at byte 6: the value of `ports` must be ranges, not a number"),
        ("x:1;x:{a}", "at byte 4: the value of `x` is a set here, but a number before"),
        ("x:1;x(a):[1-2]", "at byte 4: the value of `x` is ranges here, but a number before"),
        ("cpus(:4", "at byte 7: expected `)`, found the end of the text"),
        ("cpus():4", "at byte 5: expected a role, found `)`"),
        ("cpus(a;mem:4", "at byte 6: expected `)`, found `;`"),
        ("cpus(a)4", "at byte 7: expected `:`, found `4`"),
        ("cpus{shared}:4", "at byte 5: expected `revocable` between the braces behind a name"),
        ("cpus{revocable:4", "at byte 14: expected `}`, found `:`"),
        ("cpus{revocable}4", "at byte 15: expected `:`, found `4`"),
        ("cpus(a){revocable}:4", "at byte 7: expected `:`, found `{`"),
        ("cpus(a b):4", "at byte 6: role name `a b` holds ` ` at byte 1, which is not allowed"),
        (
            "cpus(a//b):4",
            "at byte 5: role name `a//b` has an empty part: no `/` may stand at an end or beside another",
        ),
        ("ports:[1-2", "at byte 10: expected `,` or `]`, found the end of the text"),
        ("ports:[1]", "at byte 8: expected `-` and the end of the range, found `]`"),
        ("ports:[1-]", "at byte 9: expected a whole number, found `]`"),
        ("ports:[1-2,]", "at byte 11: expected a whole number, found `]`"),
        ("ports:[-1-2]", "at byte 7: expected a whole number, found `-`"),
        ("ports:[9-1]", "at byte 9: the range ends at 1, before its begin 9"),
        (
            "ports:[1-18446744073709551616]",
            "at byte 9: the number is too large, the largest is 18446744073709551615",
        ),
        ("bugs:{a,}", "at byte 8: expected an item of the set, found `}`"),
        ("bugs:{a,b", "at byte 9: expected `,` or `}`, found the end of the text"),
        ("bugs:{a\u{1}}", "at byte 7: expected `,` or `}`, found `\\u{1}`"),
    ];
    for (text, message) in table {
        assert_eq!(Resources::parse(text).expect_err(text).to_string(), message, "{text}");
    }
}

#[test]
fn limits_hold() {
    let entries = |count: usize| (0..count).map(|n| format!("r{n}:1;")).collect::<String>();
    assert_eq!(resources(&entries(ENTRIES_MAX)).len(), ENTRIES_MAX);
    let error = Resources::parse(&entries(ENTRIES_MAX + 1)).expect_err("too many entries");
    assert!(error.to_string().ends_with("more than 1000 entries"), "{error}");

    let list = |count: usize| format!("x:[{}]", vec!["1-1"; count].join(","));
    assert_eq!(resources(&list(RANGES_MAX)).to_string(), "x:[1-1]");
    let error = Resources::parse(&list(RANGES_MAX + 1)).expect_err("too many ranges");
    assert!(error.to_string().ends_with("more than 10000 ranges"), "{error}");

    let long = |bytes: usize| format!("x:{{{}}}", "i".repeat(bytes));
    assert_eq!(resources(&long(NAME_BYTES_MAX)).set("x").len(), 1);
    let error = Resources::parse(&long(NAME_BYTES_MAX + 1)).expect_err("a long item");
    assert_eq!(error.position(), 3);

    let error = Resources::parse(&format!("cpus:1;{}:1", "n".repeat(256))).expect_err("long name");
    assert_eq!(error.to_string(), "at byte 7: the name has 256 bytes, at most 255 fit");
    assert!(Resources::parse(&" ".repeat(TEXT_BYTES_MAX + 1)).is_err());
}
