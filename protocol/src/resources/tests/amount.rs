use super::*;

#[test]
fn amounts_are_read_and_printed() {
    let table = [
        ("0", 0, "0"),
        ("24", 24_000, "24"),
        ("0.1", 100, "0.1"),
        ("1.125", 1_125, "1.125"),
        ("1.050", 1_050, "1.05"),
        ("007", 7_000, "7"),
        ("+3", 3_000, "3"),
        (" 4 ", 4_000, "4"),
        ("-0.5", -500, "-0.5"),
        ("-0", 0, "0"),
        // Finer digits are rounded to the nearest thousandth, halves away from zero.
        ("0.0004", 0, "0"),
        ("0.0005", 1, "0.001"),
        ("0.00049999999999999999999999", 0, "0"),
        ("-0.0005", -1, "-0.001"),
        ("0.9996", 1_000, "1"),
        ("9223372036854775.807", i64::MAX, "9223372036854775.807"),
        ("9223372036854775.8074", i64::MAX, "9223372036854775.807"),
        ("-9223372036854775.808", i64::MIN, "-9223372036854775.808"),
    ];
    for (text, millis, printed) in table {
        let amount: Amount = text.parse().expect(text);
        assert_eq!(amount.millis(), millis, "{text}");
        assert_eq!(amount.to_string(), printed);
    }
}

#[test]
fn what_is_no_amount_is_refused_with_its_place() {
    let table = [
        ("", "at byte 0: expected a number, found the end of the text"),
        ("x", "at byte 0: expected a number, found `x`"),
        ("-", "at byte 1: expected a number, found the end of the text"),
        (".5", "at byte 0: expected a number, found `.`"),
        ("1.", "at byte 2: expected a digit after the decimal point, found the end of the text"),
        ("1.2.3", "at byte 3: expected the end of the number, found `.`"),
        ("1e5", "at byte 1: expected the end of the number, found `e`"),
        ("٣", "at byte 0: expected a number, found `٣`"),
        ("9223372036854775.808", "at byte 0: the number is too large"),
        ("9223372036854775.8075", "at byte 0: the number is too large"),
        ("99999999999999999999", "at byte 0: the number is too large"),
    ];
    for (text, message) in table {
        assert_eq!(text.parse::<Amount>().expect_err(text).to_string(), message);
    }
}

#[test]
fn arithmetic_is_checked_or_cut_as_its_name_says() {
    let (one, max) = (Amount::from_millis(1), Amount::MAX);
    assert_eq!(max.checked_add(one), None);
    assert_eq!(max.saturating_add(one), max);
    assert_eq!(Amount::MIN.checked_sub(one), None);
    assert_eq!(Amount::MIN.saturating_sub(one), Amount::MIN);
    assert_eq!(one.checked_sub(Amount::whole(1)), Some(Amount::from_millis(-999)));
    assert_eq!(one.remaining_after(Amount::whole(1)), Amount::ZERO);
    assert_eq!(Amount::whole(i64::MAX), Amount::MAX);
    assert_eq!(Amount::from_millis(1_500).saturating_mul(3), Amount::from_millis(4_500));
    assert_eq!([max, one].into_iter().sum::<Amount>(), max);
    assert_eq!((Amount::from_millis(2_999).units(), Amount::from_millis(-2_999).units()), (2, -2));
}

#[test]
fn printing_honours_the_width() {
    assert_eq!(
        format!("{:>8}|{:<8}|", Amount::from_millis(1_500), Amount::whole(-2)),
        "     1.5|-2      |"
    );
}
