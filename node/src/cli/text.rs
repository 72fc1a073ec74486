//! Words for people.

use super::output;

/// The width of what is printed, where it is not that of a terminal.
pub(super) const COLUMNS: usize = 100;

/// Prints what went wrong as sentences, the newest cause first. What follows its first line is
/// quoted from elsewhere and stays as it is.
pub(super) fn complain(error: &anyhow::Error) {
    let text = sentence(error);
    let (first, quoted) = text.split_once('\n').unwrap_or((&text, ""));
    output::sentence(first);
    quoted.lines().for_each(output::note);
}

/// An error with its causes, the newest first.
pub(super) fn sentence(error: &anyhow::Error) -> String {
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
    text
}

/// Breaks a line between words, so that it is not wider than [`COLUMNS`]; the lines that follow are
/// indented. A word that is longer stays whole: it may be a path.
pub(super) fn wrap(line: &str, indent: usize) -> String {
    let mut text = String::new();
    let mut width = 0;
    for word in line.split(' ') {
        let length = word.chars().count();
        if width > indent && width + 1 + length > COLUMNS {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent));
            width = indent;
        } else if !text.is_empty() {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += length;
    }
    text
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
    fn lines_are_broken_between_words() {
        assert_eq!(wrap("one two", 2), "one two");
        let long = vec!["word"; 60].join(" ");
        let wrapped = wrap(&long, 4);
        assert!(wrapped.lines().all(|line| line.chars().count() <= COLUMNS), "{wrapped}");
        assert!(wrapped.lines().skip(1).all(|line| line.starts_with("    word")), "{wrapped}");
        assert_eq!(wrapped.replace("\n    ", " "), long);
        let path = "/x".repeat(COLUMNS);
        assert_eq!(wrap(&format!("see {path} there"), 2), format!("see\n  {path}\n  there"));
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("the disk is full")
            .context("cannot write")
            .context("no start: cannot write");
        assert_eq!(sentence(&error), "no start: cannot write: the disk is full");
    }

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
