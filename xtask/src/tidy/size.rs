//! Rules `file-size` and `function-size`: what one person can hold in mind.

use super::finding::Finding;
use super::rust::Rust;
use super::source::Source;

/// Lines of a function, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Lines of a file without its inline tests.
const FILE_LINES_MAX: usize = 500;
/// Lines of a file with its inline tests, or of a file that is all tests.
const FILE_LINES_WITH_TESTS_MAX: usize = 800;
/// Lines of a `main.rs`: it parses and hands over.
const MAIN_LINES_MAX: usize = 150;

pub(super) fn check(source: &Source, rust: &Rust, findings: &mut Vec<Finding>) {
    if source.is_generated() {
        return;
    }
    findings.extend(file_size(source, rust));
    for function in rust.functions.iter().filter(|function| function.lines > FUNCTION_LINES_MAX) {
        let what = format!(
            "function {} has {} lines, the limit is {FUNCTION_LINES_MAX}",
            function.name, function.lines
        );
        let fix = "keep the branching in it and move the computing to functions of their own";
        let finding = Finding::new(&source.path, function.line, "function-size", what, fix);
        findings.push(finding.about(&function.name).measuring(function.lines));
    }
}

fn file_size(source: &Source, rust: &Rust) -> Option<Finding> {
    let total = source.text.lines().count();
    let tests: usize = rust.test_lines.iter().map(|lines| lines.end() - lines.start() + 1).sum();
    let own = if source.is_test_code() { 0 } else { total.saturating_sub(tests) };
    let main = source.file_name() == "main.rs";
    let (what, measured) = if main && total > MAIN_LINES_MAX {
        (format!("a main.rs of {total} lines, the limit is {MAIN_LINES_MAX}"), total)
    } else if own > FILE_LINES_MAX {
        (format!("{own} lines without tests, the limit is {FILE_LINES_MAX}"), own)
    } else if total > FILE_LINES_WITH_TESTS_MAX {
        (format!("{total} lines with tests, the limit is {FILE_LINES_WITH_TESTS_MAX}"), total)
    } else {
        return None;
    };
    let fix = "split it by what it is about; long inline tests move to a tests.rs beside it";
    Some(Finding::new(&source.path, 1, "file-size", what, fix).measuring(measured))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules_broken(path: &str, text: &str) -> Vec<(&'static str, Option<usize>)> {
        let source = Source::fixture(path, text);
        let mut findings = Vec::new();
        check(&source, &source.rust().unwrap(), &mut findings);
        findings.iter().map(|finding| (finding.rule, finding.measured)).collect()
    }

    fn function_of(lines: usize) -> String {
        format!("fn f() {{\n{}}}\n", "    go();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_may_have_seventy_lines_and_no_more() {
        assert_eq!(rules_broken("a/src/b.rs", &function_of(70)), []);
        assert_eq!(rules_broken("a/src/b.rs", &function_of(71)), [("function-size", Some(71))]);
        assert_eq!(rules_broken("a/src/b.rs", &format!("// @generated\n{}", function_of(71))), []);
    }

    #[test]
    fn a_file_may_have_five_hundred_lines_beside_its_tests() {
        let consts = |lines| "use a::b;\n".repeat(lines);
        let tests = |lines: usize| format!("#[cfg(test)]\nmod tests {{\n{}}}\n", consts(lines - 3));
        assert_eq!(rules_broken("a/src/b.rs", &consts(500)), []);
        assert_eq!(rules_broken("a/src/b.rs", &consts(501)), [("file-size", Some(501))]);
        assert_eq!(rules_broken("a/src/b.rs", &(consts(500) + &tests(300))), []);
        assert_eq!(
            rules_broken("a/src/b.rs", &(consts(500) + &tests(301))),
            [("file-size", Some(801))]
        );
        assert_eq!(rules_broken("a/src/b/tests.rs", &consts(800)), []);
        assert_eq!(rules_broken("a/src/b/tests.rs", &consts(801)), [("file-size", Some(801))]);
    }

    #[test]
    fn a_main_file_only_hands_over() {
        assert_eq!(rules_broken("a/src/main.rs", &"use a::b;\n".repeat(150)), []);
        assert_eq!(
            rules_broken("a/src/main.rs", &"use a::b;\n".repeat(151)),
            [("file-size", Some(151))]
        );
    }
}
