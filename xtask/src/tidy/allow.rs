//! `xtask/tidy-allow.toml`: the exceptions, each with its reason. They ratchet: one that no finding needs must go, and a
//! size limit must be lowered when the code has become smaller.

use anyhow::Context;
use serde::Deserialize;
use toml::Spanned;

use super::finding::Finding;

/// The path of the file.
pub(super) const PATH: &str = "xtask/tidy-allow.toml";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    allow: Vec<Spanned<Entry>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    rule: String,
    /// A file, or a folder with `/` at its end.
    path: String,
    /// The function, crate or word; all when not given.
    item: Option<String>,
    /// The largest size that is let pass, for rules with sizes.
    limit: Option<usize>,
    reason: String,
}

impl Entry {
    fn covers(&self, finding: &Finding) -> bool {
        let path = finding.path == self.path
            || (self.path.ends_with('/') && finding.path.starts_with(&self.path));
        let item = self.item.is_none() || self.item == finding.item;
        let size =
            finding.measured.is_none_or(|size| self.limit.is_some_and(|limit| size <= limit));
        finding.rule == self.rule && path && item && size
    }
}

/// Takes out the findings that are allowed, and adds one for each entry that is not needed as it stands.
///
/// # Errors
/// When the file is not understood.
pub(super) fn apply(text: &str, findings: Vec<Finding>) -> anyhow::Result<Vec<Finding>> {
    let file: File = toml::from_str(text).with_context(|| format!("cannot understand {PATH}"))?;
    let mut largest: Vec<Option<usize>> = vec![None; file.allow.len()];
    let mut kept = Vec::new();
    for finding in findings {
        let cover = file.allow.iter().position(|entry| entry.get_ref().covers(&finding));
        match cover.and_then(|index| largest.get_mut(index)) {
            Some(size) => *size = (*size).max(Some(finding.measured.unwrap_or(0))),
            None => kept.push(finding),
        }
    }
    for (entry, largest) in file.allow.iter().zip(largest) {
        let line = text[..entry.span().start].lines().count() + 1;
        kept.extend(
            not_needed(entry.get_ref(), largest)
                .map(|(what, fix)| Finding::new(PATH, line, "allow", what, fix)),
        );
    }
    Ok(kept)
}

fn not_needed(entry: &Entry, largest: Option<usize>) -> Option<(String, &'static str)> {
    let about = format!("the exception from {} for {}", entry.rule, entry.path);
    if entry.reason.trim().is_empty() {
        return Some((format!("{about} has no reason"), "say why"));
    }
    match (entry.limit, largest) {
        (_, None) => Some((format!("{about} is not needed"), "remove it")),
        (Some(limit), Some(size)) if size < limit => {
            Some((format!("{about} allows {limit} where {size} is enough"), "lower the limit"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(path: &str, item: &str, measured: Option<usize>) -> Finding {
        let finding =
            Finding::new(path, 1, "function-size", "long".to_owned(), "split").about(item);
        Finding { measured, ..finding }
    }

    fn entry(rest: &str) -> String {
        format!(
            "# Exceptions.\n\n[[allow]]\nrule = \"function-size\"\nreason = \"one match\"\n{rest}\n"
        )
    }

    #[test]
    fn an_exception_covers_its_file_item_and_size() {
        let text = entry("path = \"a/src/b.rs\"\nitem = \"f\"\nlimit = 80");
        assert_eq!(apply(&text, vec![finding("a/src/b.rs", "f", Some(80))]).unwrap(), []);
        for other in [("a/src/c.rs", "f", 80), ("a/src/b.rs", "g", 80), ("a/src/b.rs", "f", 81)] {
            let rest = apply(&text, vec![finding(other.0, other.1, Some(other.2))]).unwrap();
            assert_eq!(
                rest.iter().map(|finding| finding.rule).collect::<Vec<_>>(),
                ["function-size", "allow"],
                "{other:?}"
            );
        }
    }

    #[test]
    fn a_folder_covers_what_is_below_it() {
        let text = entry("path = \"a/src/\"");
        assert_eq!(
            apply(&text, vec![finding("a/src/b.rs", "f", None), finding("a/src/c.rs", "g", None)])
                .unwrap(),
            []
        );
    }

    #[test]
    fn a_size_needs_a_limit_and_the_limit_may_only_fall() {
        let without =
            apply(&entry("path = \"a/src/b.rs\""), vec![finding("a/src/b.rs", "f", Some(75))])
                .unwrap();
        assert_eq!(without.len(), 2);
        let loose = apply(
            &entry("path = \"a/src/b.rs\"\nlimit = 90"),
            vec![finding("a/src/b.rs", "f", Some(75))],
        )
        .unwrap();
        assert_eq!(
            loose.iter().map(|finding| finding.fix.as_str()).collect::<Vec<_>>(),
            ["lower the limit"]
        );
    }

    #[test]
    fn an_exception_that_nobody_needs_is_found_with_its_line() {
        let rest = apply(&entry("path = \"a/src/b.rs\""), Vec::new()).unwrap();
        assert_eq!(
            rest.iter().map(|finding| (finding.line, finding.fix.as_str())).collect::<Vec<_>>(),
            [(3, "remove it")]
        );
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(apply(&entry("path = \"a\"\nlimits = 3"), Vec::new()).is_err());
    }
}
