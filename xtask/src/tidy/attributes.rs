//! Rule `lint-attribute`: no bare `#[allow]`. `#[expect(lint, reason = "...")]` says why, and complains when the reason has
//! gone. Clippy asks for this too, but only where the code is compiled.

use super::finding::Finding;
use super::rust::Rust;
use super::source::Source;

pub(super) fn check(source: &Source, rust: &Rust, findings: &mut Vec<Finding>) {
    if source.is_generated() {
        return;
    }
    for attribute in &rust.attributes {
        let conditional = attribute.name() == "cfg_attr";
        let names =
            |word: &str| attribute.name() == word || (conditional && attribute.mentions(word));
        let what = if names("allow") {
            "a lint is allowed"
        } else if names("expect") && !attribute.mentions("reason") {
            "an expected lint has no reason"
        } else {
            continue;
        };
        let fix = "mend the code, or write #[expect(the_lint, reason = \"why it must be\")]";
        findings.push(Finding::new(
            &source.path,
            attribute.line,
            "lint-attribute",
            what.to_owned(),
            fix,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> usize {
        let source = Source::fixture("a/src/b.rs", text);
        let mut findings = Vec::new();
        check(&source, &source.rust().unwrap(), &mut findings);
        findings.len()
    }

    #[test]
    fn allow_is_refused_in_every_form() {
        assert_eq!(count("#[allow(dead_code)]\nfn f() {}"), 1);
        assert_eq!(count("#![allow(dead_code, reason = \"x\")]"), 1);
        assert_eq!(count("#[cfg_attr(test, allow(dead_code))]\nfn f() {}"), 1);
    }

    #[test]
    fn expect_needs_a_reason() {
        assert_eq!(count("#[expect(dead_code)]\nfn f() {}"), 1);
        assert_eq!(
            count("#[expect(dead_code, reason = \"the test alone reads it\")]\nfn f() {}"),
            0
        );
    }

    #[test]
    fn other_attributes_may_use_the_words() {
        assert_eq!(
            count("#[derive(Debug)]\n#[command(allow = true)]\nfn f() {}\n/// allow(x)\nfn g() {}"),
            0
        );
    }
}
