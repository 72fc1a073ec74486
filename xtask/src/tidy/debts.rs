//! Rule `debt`: work put off is written down in the roadmap, where it can be weighed, not in a comment.

use super::finding::Finding;
use super::source::Source;

const MARKS: &[&str] = &["TODO", "FIXME", "XXX"];
const ROADMAP: &str = "docs/roadmap.md";

pub(super) fn check(source: &Source, findings: &mut Vec<Finding>) {
    for (index, line) in source.text.lines().enumerate() {
        let words = line.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        if let Some(mark) = words.into_iter().find(|word| MARKS.contains(word))
            && !line.contains(ROADMAP)
        {
            let what = format!("a {mark} that nobody will find again");
            let fix = "do it, or add it to docs/roadmap.md and name that file and its heading on the same line";
            findings.push(Finding::new(&source.path, index + 1, "debt", what, fix));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let mut findings = Vec::new();
        check(&Source::fixture("a/src/b.rs", text), &mut findings);
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_mark_needs_the_roadmap_on_its_line() {
        assert_eq!(lines("fn f() {} // TODO: more\n// FIXME(me) x\n// XXX"), [1, 2, 3]);
        assert_eq!(
            lines("// TODO(docs/roadmap.md#cells): more\nlet TODOS = 1; // todo"),
            [0_usize; 0]
        );
    }
}
