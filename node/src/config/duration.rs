//! Durations as people write them: `500ms`, `75s`, `2m`, `1h`, `3d`, `1w`.

use std::time::Duration;

/// The longest duration that is read: ten years. Whatever is longer is a slip.
const MILLIS_MAX: u64 = 10 * 365 * 24 * 3_600 * 1_000;

const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// Reads a whole number and its unit.
///
/// # Errors
/// Says what was expected, to stand behind "it is ...: ".
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("expected a whole number with a unit, for example 75s, 500ms or 2m".to_owned());
    }
    let unit_ms = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60 * 1_000,
        "h" => 3_600 * 1_000,
        "d" => DAY_MS,
        "w" => 7 * DAY_MS,
        "" => return Err(format!("the unit is missing; write {number}s or {number}ms")),
        other => return Err(format!("unknown unit {other:?}; use ms, s, m, h, d or w")),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit_ms))
        .filter(|millis| *millis <= MILLIS_MAX)
        .map(Duration::from_millis)
        .ok_or_else(|| "it is longer than ten years".to_owned())
}

/// The shortest exact text of a duration of whole milliseconds.
pub(crate) fn print_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of((7 * DAY_MS).into()) => {
            format!("{}w", millis / u128::from(7 * DAY_MS))
        }
        _ if millis.is_multiple_of(DAY_MS.into()) => format!("{}d", millis / u128::from(DAY_MS)),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_are_read_and_printed() {
        for (text, millis) in [
            ("75s", 75_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("0s", 0),
            ("3d", 259_200_000),
            ("1w", 604_800_000),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis));
            assert_eq!(print_duration(duration), text);
        }
        assert_eq!(parse_duration(" 90 s ").unwrap(), Duration::from_secs(90));
        assert_eq!(print_duration(Duration::from_secs(90)), "90s");
    }

    #[test]
    fn what_is_no_duration_is_told_why() {
        let errors = [
            ("", "expected a whole number with a unit, for example 75s, 500ms or 2m"),
            ("-5s", "expected a whole number with a unit, for example 75s, 500ms or 2m"),
            ("75", "the unit is missing; write 75s or 75ms"),
            ("1.5s", "unknown unit \".5s\"; use ms, s, m, h, d or w"),
            ("5 days", "unknown unit \"days\"; use ms, s, m, h, d or w"),
            ("99999999999999999999h", "it is longer than ten years"),
            ("18446744073709551615h", "it is longer than ten years"),
        ];
        for (text, expected) in errors {
            assert_eq!(parse_duration(text).unwrap_err(), expected, "{text}");
        }
    }
}
