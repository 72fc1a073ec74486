use super::*;

#[test]
fn caret_points_at_the_error() {
    let error = TextError::unexpected(10, "`:`", Found::Char('='));
    assert_eq!(error.caret("cpus:4;mem=2"), "cpus:4;mem=2\n          ^ expected `:`, found `=`");
    assert_eq!(error.to_string(), "at byte 10: expected `:`, found `=`");
}

#[test]
fn caret_counts_characters_and_flattens_line_breaks() {
    let text = "é\nü:x";
    let error = TextError::unexpected(text.len() - 1, "a number", Found::Char('x'));
    assert_eq!(error.caret(text), "é ü:x\n    ^ expected a number, found `x`");
}

#[test]
fn caret_at_the_end_and_in_a_long_text() {
    let error = TextError::unexpected(5, "a value", Found::End);
    assert_eq!(error.caret("cpus:"), "cpus:\n     ^ expected a value, found the end of the text");

    let text = "x".repeat(500);
    let drawn = TextError::invalid(250, "bad").caret(&text);
    let (shown, caret) = drawn.split_once('\n').unwrap();
    assert_eq!(shown, format!("...{}...", "x".repeat(80)));
    assert_eq!(caret, format!("{}^ bad", " ".repeat(43)));
}

#[test]
fn caret_of_another_text_does_not_panic() {
    let error = TextError::invalid(3, "bad");
    assert_eq!(error.caret(""), "\n^ bad");
    // Byte 3 is inside the second character.
    assert_eq!(error.caret("ééé"), "ééé\n  ^ bad");
}

#[test]
fn names_keep_clear_of_the_grammar() {
    for name in ["cpus", "nvidia.com/gpu", "a-b_c", "größe"] {
        assert_eq!(check_name(name), Ok(()));
    }
    for name in ["", "a b", "a:b", "a;b", "a(b", "a{", "a]", "a,b", "a\u{0}"] {
        assert!(check_name(name).is_err(), "{name:?}");
    }
    assert!(check_name(&"n".repeat(NAME_BYTES_MAX)).is_ok());
    assert!(check_name(&"n".repeat(NAME_BYTES_MAX + 1)).is_err());
    assert_eq!(check_name("äb:c").expect_err("a colon").position(), 3);
}

#[test]
fn a_text_beyond_the_limit_is_refused_unread() {
    assert!(Cursor::new(&" ".repeat(TEXT_BYTES_MAX)).is_ok());
    let error = Cursor::new(&" ".repeat(TEXT_BYTES_MAX + 1)).expect_err("too long");
    assert_eq!(
        error.to_string(),
        "at byte 65536: the text has 65537 bytes, at most 65536 are read"
    );
}
