//! Rule `unsafe-code`: unsafe code lives where it can be reviewed in one sitting.

use super::finding::Finding;
use super::rust::Rust;
use super::source::Source;

const PLACES: &[&str] = &["isolation/src/linux/", "isolation/src/linux.rs", "isolation/src/sys.rs"];

pub(super) fn check(source: &Source, rust: &Rust, findings: &mut Vec<Finding>) {
    if PLACES.iter().any(|place| source.path.starts_with(place)) {
        return;
    }
    for line in &rust.unsafe_lines {
        let what = "unsafe code outside isolation/src/linux and isolation/src/sys.rs".to_owned();
        let fix = "use a safe wrapper (nix, std), or put a safe function around it in isolation/src/sys.rs";
        findings.push(Finding::new(&source.path, *line, "unsafe-code", what, fix));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        let source = Source::fixture(path, text);
        let mut findings = Vec::new();
        check(&source, &source.rust().unwrap(), &mut findings);
        findings.len()
    }

    #[test]
    fn unsafe_is_allowed_in_its_places_alone() {
        let text = "fn f() { unsafe { g() } }\nunsafe fn g() {}\n#[unsafe(no_mangle)]\nfn h() {}\n";
        assert_eq!(count("node/src/a.rs", text), 3);
        assert_eq!(count("isolation/src/fetch.rs", text), 3);
        assert_eq!(count("isolation/src/sys.rs", text), 0);
        assert_eq!(count("isolation/src/linux/clone.rs", text), 0);
    }

    #[test]
    fn the_lint_and_the_word_in_prose_are_no_unsafe_code() {
        assert_eq!(
            count("node/src/a.rs", "//! unsafe\n#![forbid(unsafe_code)]\nfn f() { \"unsafe\"; }\n"),
            0
        );
    }

    #[test]
    fn unsafe_inside_a_macro_is_seen() {
        assert_eq!(count("node/src/a.rs", "fn f() { call!(a, unsafe { b() }); }"), 1);
    }
}
