//! What a rule reports.

use std::fmt;

/// One broken rule at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path from the workspace's folder, with `/`.
    pub path: String,
    /// Line from 1; 1 also when the whole file is meant.
    pub line: usize,
    /// The rule's name, as used in `tidy-allow.toml`.
    pub rule: &'static str,
    /// The function, crate or word that is meant, where an exception may name it.
    pub item: Option<String>,
    /// The measured size, for rules with a limit.
    pub measured: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl Finding {
    /// A finding that is about no particular item and has no size.
    pub(super) fn new(
        path: &str,
        line: usize,
        rule: &'static str,
        what: String,
        fix: &str,
    ) -> Self {
        Self {
            path: path.to_owned(),
            line,
            rule,
            item: None,
            measured: None,
            what,
            fix: fix.to_owned(),
        }
    }

    /// The same finding, about this item.
    pub(super) fn about(self, item: &str) -> Self {
        Self { item: Some(item.to_owned()), ..self }
    }

    /// The same finding, with what was measured.
    pub(super) fn measuring(self, measured: usize) -> Self {
        Self { measured: Some(measured), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}: {}; {}", self.path, self.line, self.rule, self.what, self.fix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_that_editors_can_follow() {
        let finding =
            Finding::new("node/src/main.rs", 7, "unsafe-code", "unsafe here".to_owned(), "move it");
        assert_eq!(finding.to_string(), "node/src/main.rs:7: unsafe-code: unsafe here; move it");
    }
}
