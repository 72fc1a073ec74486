//! Rule `index-file`: `lib.rs` and `mod.rs` are tables of contents. They hold docs, `mod` and `use`; what does something
//! lives in a file named after it.

use proc_macro2::{Delimiter, TokenTree};

use super::finding::Finding;
use super::rust::{Rust, attribute_at, line_of};
use super::source::Source;

pub(super) fn check(source: &Source, rust: &Rust, findings: &mut Vec<Finding>) {
    if !matches!(source.file_name(), "lib.rs" | "mod.rs") || source.is_generated() {
        return;
    }
    let tokens = &rust.tokens;
    let mut misplaced = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        if let Some((_, length)) = attribute_at(tokens, index) {
            index += length;
            continue;
        }
        let end = item_end(tokens, index);
        if !is_content_entry(&tokens[index..end]) {
            misplaced.push(line_of(&tokens[index]));
        }
        index = end;
    }
    if let Some(first) = misplaced.first() {
        let items = misplaced.len();
        let what =
            format!("{} holds {items} items besides docs, `mod` and `use`", source.file_name());
        let fix = "move each to a file named after what it is, and `pub use` it here";
        findings.push(Finding::new(&source.path, *first, "index-file", what, fix).measuring(items));
    }
}

/// One past the item's last token: its `;`, or a brace group unless the item is a `use`.
fn item_end(tokens: &[TokenTree], start: usize) -> usize {
    let is_use = keyword(&tokens[start..]) == "use";
    let last = tokens[start..].iter().position(|token| match token {
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && !is_use,
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    });
    last.map_or(tokens.len(), |last| start + last + 1)
}

fn is_content_entry(item: &[TokenTree]) -> bool {
    let ends_in_semicolon =
        matches!(item.last(), Some(TokenTree::Punct(punct)) if punct.as_char() == ';');
    let is_crate = || item.get(1).is_some_and(|token| token.to_string() == "crate");
    match keyword(item).as_str() {
        "mod" | "use" => ends_in_semicolon,
        "extern" => ends_in_semicolon && is_crate(),
        _ => false,
    }
}

/// The first word of an item after its visibility.
fn keyword(item: &[TokenTree]) -> String {
    let words =
        item.iter().filter(|token| !matches!(token, TokenTree::Group(_))).map(ToString::to_string);
    words.into_iter().find(|word| word != "pub").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line of the first misplaced item, and how many there are.
    fn found(path: &str, text: &str) -> Option<(usize, Option<usize>)> {
        let source = Source::fixture(path, text);
        let mut findings = Vec::new();
        check(&source, &source.rust().unwrap(), &mut findings);
        findings.first().map(|finding| (finding.line, finding.measured))
    }

    #[test]
    fn docs_modules_and_uses_pass() {
        let text = "//! Docs.\n#![deny(clippy::float_arithmetic)]\nextern crate alloc;\n/// A.\npub mod a;\n#[cfg(test)]\nmod tests;\n\
                    pub(crate) use a::{b, c};\npub use d::*;\n";
        assert_eq!(found("x/src/lib.rs", text), None);
    }

    #[test]
    fn code_is_refused_with_its_line() {
        let text = "pub mod a;\npub fn f() { g(); }\nmod b { }\nuse a::{b, c};\nconst X: [u8; 1] = [0];\nstruct S { a: u8 }\nmacro_rules! m { () => {} }\n";
        assert_eq!(found("x/src/lib.rs", text), Some((2, Some(5))));
        assert_eq!(found("x/src/a/mod.rs", text), Some((2, Some(5))));
        assert_eq!(found("x/src/a.rs", text), None);
    }
}
