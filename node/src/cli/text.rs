//! Words for people.

use super::output;

/// Prints what went wrong as sentences, the newest cause first.
pub(super) fn complain(error: &anyhow::Error) {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Some errors repeat their cause in their own text.
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    for line in text.lines() {
        output::note(&format!("meshos: {line}"));
    }
}

/// Text that comes from others, fit for a terminal: control characters are shown, not obeyed.
pub(super) fn plain(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .map(|letter| match letter {
            '\n' | '\t' => " ".to_owned(),
            letter if letter.is_control() => letter.escape_default().to_string(),
            letter => letter.to_string(),
        })
        .collect()
}

/// `1 task`, `2 tasks`.
pub(super) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// How long ago a moment in milliseconds since 1970 was, to its largest unit.
pub(super) fn ago(then_ms: u64, now_ms: u64) -> String {
    let seconds = now_ms.saturating_sub(then_ms) / 1_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, meshos_protocol::time::millis)
}

/// One part of a path in a URL.
pub(super) fn encode(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(plain("web 1"), "web 1");
        assert_eq!(plain("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb c");
    }

    #[test]
    fn ages_have_one_unit() {
        let ages =
            [(0, "0s"), (59_999, "59s"), (60_000, "1m"), (7_200_000, "2h"), (172_800_000, "2d")];
        for (millis, text) in ages {
            assert_eq!(ago(1_000, 1_000 + millis), text);
        }
        assert_eq!(ago(5_000, 1_000), "0s");
    }

    #[test]
    fn parts_of_a_path_are_encoded() {
        assert_eq!(encode("web.1-a~b_c"), "web.1-a~b_c");
        assert_eq!(encode("a/b ü"), "a%2Fb%20%C3%BC");
    }

    #[test]
    fn one_is_one() {
        assert_eq!((count(1, "task"), count(3, "task")), ("1 task".into(), "3 tasks".into()));
    }
}
