//! Rule `vocabulary`: one word per thing, as `docs/contributing.md` lists them.
//!
//! Two kinds of words are checked: those that must not appear in any text, and those that must not be part of a name we
//! declare. Words with a second, legitimate meaning in libraries and operating systems (client, server, host, manager,
//! process) are left to the reader's judgement.

use super::finding::Finding;
use super::rust::Rust;
use super::source::Source;

/// In no text at all, with what to say. Files of the Mesos edge are excepted in `tidy-allow.toml`.
const TEXT_WORDS: &[(&str, &str)] = &[("slave", "agent"), ("minion", "agent")];

/// In no name that we declare, with what to say.
const NAME_WORDS: &[(&str, &str)] = &[
    ("worker", "agent, or what the thread does"),
    ("job", "framework, or task"),
    ("tenant", "framework, or role"),
    ("epoch", "term, or generation of a start"),
    ("primary", "leader"),
    ("workdir", "sandbox"),
    ("jail", "sandbox"),
    ("cordon", "drain"),
    ("bid", "offer"),
];

/// Words in prose, code and comments.
pub(super) fn check_text(source: &Source, findings: &mut Vec<Finding>) {
    for (index, line) in source.text.lines().enumerate() {
        for (word, instead) in TEXT_WORDS {
            if words_of(line).any(|found| is_word(&found, word)) {
                findings.push(finding(source, index + 1, word, instead));
            }
        }
    }
}

/// Words in the names of types, functions, modules and constants.
pub(super) fn check_names(source: &Source, rust: &Rust, findings: &mut Vec<Finding>) {
    for declared in &rust.declared {
        for (word, instead) in NAME_WORDS {
            if words_of(&declared.name).any(|found| is_word(&found, word)) {
                findings.push(finding(source, declared.line, word, instead));
            }
        }
    }
}

fn finding(source: &Source, line: usize, word: &str, instead: &str) -> Finding {
    let what = format!("\"{word}\" is not in our vocabulary");
    Finding::new(&source.path, line, "vocabulary", what, &format!("say {instead}")).about(word)
}

fn is_word(found: &str, word: &str) -> bool {
    found == word || found.strip_suffix('s') == Some(word)
}

/// The words of a text in lower case; `camelCase`, `snake_case` and `SCREAMING_CASE` are taken apart.
fn words_of(text: &str) -> impl Iterator<Item = String> {
    let runs = text.split(|letter: char| !letter.is_alphabetic());
    runs.flat_map(|run| {
        let mut words: Vec<String> = Vec::new();
        let mut after_lower = true;
        for letter in run.chars() {
            if letter.is_uppercase() && after_lower || words.is_empty() {
                words.push(String::new());
            }
            after_lower = letter.is_lowercase();
            if let Some(word) = words.last_mut() {
                word.extend(letter.to_lowercase());
            }
        }
        words
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_lines(text: &str) -> Vec<usize> {
        let mut findings = Vec::new();
        check_text(&Source::fixture("docs/a.md", text), &mut findings);
        findings.iter().map(|finding| finding.line).collect()
    }

    fn names(text: &str) -> Vec<Option<String>> {
        let source = Source::fixture("a/src/b.rs", text);
        let mut findings = Vec::new();
        check_names(&source, &source.rust().unwrap(), &mut findings);
        findings.into_iter().map(|finding| finding.item).collect()
    }

    #[test]
    fn old_words_are_found_in_every_spelling() {
        assert_eq!(
            text_lines("agent\nSlaves\nslave_id\nSLAVE_ID\nSlaveId\nfirstSlave"),
            [2, 3, 4, 5, 6]
        );
        assert_eq!(text_lines("enslaved dominion\nthe agent"), [0_usize; 0]);
    }

    #[test]
    fn declared_names_are_checked_and_used_names_are_not() {
        assert_eq!(names("struct WorkerPool;"), [Some("worker".to_owned())]);
        assert_eq!(names("fn next_epoch() {}"), [Some("epoch".to_owned())]);
        assert_eq!(names("const JOBS_MAX: u8 = 1;"), [Some("job".to_owned())]);
        assert!(
            names("fn now() { since(UNIX_EPOCH); builder.worker_threads(2); } struct Jobless;")
                .is_empty()
        );
    }
}
