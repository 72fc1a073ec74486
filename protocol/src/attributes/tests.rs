use super::*;
use crate::resources::{Amount, Set};

fn attributes(text: &str) -> Attributes {
    Attributes::parse(text).unwrap_or_else(|error| panic!("{}", error.caret(text)))
}

#[test]
fn canonical_texts_print_back_identically() {
    for text in [
        "",
        "rack:abc;zone:west;os:centos5;level:10;keys:[1000-1500]",
        "zone:west;rack:abc;zone:east",
        "level:-0.5;tags:{a,b};url:http://host:80/x?y=(1);note:two words",
        "version:1.2.3;size:4GB;exponent:1e5;dash:-;dot:.5",
    ] {
        let have = attributes(text);
        assert_eq!(have.to_string(), text);
        let bytes = rmp_serde::to_vec_named(&have).unwrap();
        assert_eq!(rmp_serde::from_slice::<Attributes>(&bytes).unwrap(), have);
    }
}

#[test]
fn white_space_and_a_last_semicolon_are_tolerated() {
    let have = attributes(" rack : abc ;\n level : 10 ; keys : [ 5 - 9 , 1-2 ] ; ");
    assert_eq!(have.to_string(), "rack:abc;level:10;keys:[1-2,5-9]");
}

#[test]
fn values_have_the_kind_they_look_like() {
    let have = attributes("a:10;b:[1-2];c:{x};d:10x;a:11");
    assert_eq!(have.get("a"), Some(&AttributeValue::Scalar(Amount::whole(10))));
    assert!(matches!(have.get("b"), Some(AttributeValue::Ranges(ranges)) if ranges.count() == 2));
    assert_eq!(have.get("c"), Some(&AttributeValue::Set(Set::new(["x"]).unwrap())));
    assert!(matches!(have.get("d"), Some(AttributeValue::Text(text)) if text.as_str() == "10x"));
    assert_eq!(have.get("e"), None);
    let all: Vec<_> = have.get_all("a").map(ToString::to_string).collect();
    assert_eq!(all, ["10", "11"]);
    assert_eq!((have.len(), have.is_empty()), (5, false));
}

#[test]
fn mistakes_are_named_with_their_place() {
    let table = [
        ("rack", "at byte 4: expected `:`, found the end of the text"),
        ("rack:", "at byte 5: expected a value, found the end of the text"),
        ("rack:;zone:a", "at byte 5: expected a value, found `;`"),
        (":a", "at byte 0: expected the name of an attribute, found `:`"),
        ("a:b;;c:d", "at byte 4: expected the name of an attribute, found `;`"),
        ("a(b):c", "at byte 1: expected `:`, found `(`"),
        ("keys:[1-", "at byte 8: expected a whole number, found the end of the text"),
        ("keys:[1-2]x", "at byte 10: expected `;` or the end of the text, found `x`"),
        (
            "a:b\u{7}c",
            "at byte 3: expected text without `;` and control characters, found `\\u{7}`",
        ),
    ];
    for (text, message) in table {
        assert_eq!(Attributes::parse(text).expect_err(text).to_string(), message);
    }
    let long = "n".repeat(256);
    let error = Attributes::parse(&format!("a:b;{long}:1")).expect_err("a long name");
    assert_eq!(error.to_string(), "at byte 4: the name has 256 bytes, at most 255 fit");
    let error = Attributes::parse(&format!("a:{}", "t".repeat(4_097))).expect_err("a long text");
    assert_eq!(error.to_string(), "at byte 2: the text has 4097 bytes, at most 4096 fit");
    let error = Attributes::parse(&"a:1;".repeat(ATTRIBUTES_MAX + 1)).expect_err("too many");
    assert_eq!(error.to_string(), "at byte 4000: more than 1000 attributes");
}

#[test]
fn a_text_that_would_read_back_as_something_else_is_refused() {
    for text in ["", "10", "-1.5", "[x", "{x", " x", "x ", "a;b", "a\nb"] {
        assert!(AttributeText::new(text).is_err(), "{text:?}");
    }
    let one = Attribute::new("a", AttributeValue::Scalar(Amount::ZERO)).unwrap();
    let error = Attributes::new(vec![one; ATTRIBUTES_MAX + 1]).expect_err("too many");
    assert_eq!(error.to_string(), "1001 attributes, at most 1000 are allowed");
}

#[test]
fn decoding_applies_the_rules() {
    let decode = |entries: &[&[(&str, &str)]]| {
        let maps: Vec<std::collections::BTreeMap<_, _>> =
            entries.iter().map(|fields| fields.iter().copied().collect()).collect();
        rmp_serde::from_slice::<Attributes>(&rmp_serde::to_vec_named(&maps).unwrap())
    };
    let read = decode(&[&[("name", "a"), ("text", "b"), ("later", "field")]]).unwrap();
    assert_eq!(read, attributes("a:b"));
    for refused in [
        &[("name", "a")][..],
        &[("name", ""), ("text", "b")],
        &[("name", "a:"), ("text", "b")],
        &[("name", "a"), ("text", "10")],
        &[("text", "b")],
    ] {
        assert!(decode(&[refused]).is_err(), "{refused:?}");
    }
    assert!(decode(&vec![&[("name", "a"), ("text", "b")][..]; ATTRIBUTES_MAX + 1]).is_err());
}
