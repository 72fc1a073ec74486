//! Rules about tests: `test-ignored`, `test-should-panic`, `test-name`, `test-sleep`.
//!
//! A test that is ignored, that passes for any panic, or that sleeps and hopes, says nothing when it is green.

use super::finding::Finding;
use super::rust::Rust;
use super::source::Source;

/// The one kind of function in test code that may sleep: it polls a condition until a deadline.
const POLL_HELPER: &str = "poll_until";
const SLEEPS: &[&str] = &["sleep", "sleep_ms", "sleep_until"];

pub(super) fn check(source: &Source, rust: &Rust, findings: &mut Vec<Finding>) {
    for attribute in &rust.attributes {
        let conditional = attribute.name() == "cfg_attr";
        let names =
            |word: &str| attribute.name() == word || (conditional && attribute.mentions(word));
        if names("ignore") {
            let fix = "make it pass, or remove it; a test that needs root is named root_...";
            findings.push(Finding::new(
                &source.path,
                attribute.line,
                "test-ignored",
                "an ignored test".to_owned(),
                fix,
            ));
        }
        if names("should_panic") {
            let what = "should_panic passes for any panic, also for one in the set-up".to_owned();
            let fix = "return an error and check it, or catch the panic of the one call and check its text";
            findings.push(Finding::new(
                &source.path,
                attribute.line,
                "test-should-panic",
                what,
                fix,
            ));
        }
    }
    for function in rust
        .functions
        .iter()
        .filter(|function| function.in_test && function.name.starts_with("test_"))
    {
        let what = format!("{} says twice that it is a test", function.name);
        let finding = Finding::new(
            &source.path,
            function.line,
            "test-name",
            what,
            "name what holds: `a_lost_agent_is_...`",
        );
        findings.push(finding.about(&function.name));
    }
    for call in
        rust.calls.iter().filter(|call| call.in_test && SLEEPS.contains(&call.name.as_str()))
    {
        let function = call.function.as_deref().unwrap_or_default();
        if function != POLL_HELPER {
            let what = format!("a {} in test code", call.name);
            let fix = "wait on the condition (channel, child, or a helper named `poll_until` that has a deadline)";
            findings.push(
                Finding::new(&source.path, call.line, "test-sleep", what, fix).about(function),
            );
        }
    }
    ignored_examples(source, findings);
}

/// Examples in docs that are not even compiled.
fn ignored_examples(source: &Source, findings: &mut Vec<Finding>) {
    for (index, line) in source.text.lines().enumerate() {
        let comment = line.trim_start();
        let fence = comment
            .strip_prefix("///")
            .or_else(|| comment.strip_prefix("//!"))
            .map(str::trim_start);
        if fence.is_some_and(|fence| fence.starts_with("```") && fence.contains("ignore")) {
            let what = "an example in the docs that is not compiled".to_owned();
            let fix = "use ```no_run when it cannot run, ```text when it is no Rust";
            findings.push(Finding::new(&source.path, index + 1, "test-ignored", what, fix));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        let source = Source::fixture(path, text);
        let mut findings = Vec::new();
        check(&source, &source.rust().unwrap(), &mut findings);
        findings.iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn ignored_and_panicking_tests_are_refused() {
        assert_eq!(
            rules("a/src/b.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}"),
            ["test-ignored"]
        );
        assert_eq!(
            rules("a/src/b.rs", "#[test]\n#[cfg_attr(miri, ignore)]\nfn f() {}"),
            ["test-ignored"]
        );
        assert_eq!(
            rules("a/src/b.rs", "/// ```ignore\n/// x\n/// ```\nfn f() {}"),
            ["test-ignored"]
        );
        assert_eq!(
            rules("a/src/b.rs", "#[test]\n#[should_panic(expected = \"x\")]\nfn f() {}"),
            ["test-should-panic"]
        );
        assert!(
            rules("a/src/b.rs", "/// ```no_run\n/// x\n/// ```\n#[test]\nfn f() {}").is_empty()
        );
    }

    #[test]
    fn the_prefix_is_refused_for_tests_alone() {
        assert_eq!(rules("a/src/b.rs", "#[test]\nfn test_f() {}"), ["test-name"]);
        assert!(rules("a/src/b.rs", "#[test]\nfn a_test_passes() {}\nfn test_run() {}").is_empty());
    }

    #[test]
    fn a_sleep_in_test_code_is_refused_but_for_the_poll_helper() {
        let body = "std::thread::sleep(SECOND);";
        assert_eq!(rules("a/src/b.rs", &format!("#[test]\nfn f() {{ {body} }}")), ["test-sleep"]);
        assert_eq!(
            rules("a/src/b.rs", &format!("#[cfg(test)]\nmod tests {{ fn f() {{ {body} }} }}")),
            ["test-sleep"]
        );
        assert_eq!(
            rules("tests/tests/kill.rs", "async fn f() { time::sleep(SECOND).await; }"),
            ["test-sleep"]
        );
        assert!(
            rules("tests/src/wait.rs", &format!("pub fn poll_until() {{ loop {{ {body} }} }}"))
                .is_empty()
        );
        assert!(rules("a/src/b.rs", &format!("fn f() {{ {body} }}")).is_empty());
        assert!(rules("tests/tests/kill.rs", "fn f() { run(\"sleep 5\"); }").is_empty());
    }
}
