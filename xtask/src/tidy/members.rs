//! Rule `member`: every workspace member inherits the workspace's lints and takes its third-party versions from the
//! workspace, so that there is one place for each.

use toml::{Table, Value};

use super::finding::Finding;
use super::source::Source;

pub(super) fn check(source: &Source, findings: &mut Vec<Finding>) {
    if source.file_name() != "Cargo.toml" {
        return;
    }
    let manifest = match source.text.parse::<Table>() {
        Ok(manifest) => manifest,
        Err(error) => {
            let what = format!("this is not TOML: {}", error.message());
            findings.push(Finding::new(&source.path, 1, "member", what, "mend the syntax"));
            return;
        }
    };
    if !manifest.contains_key("package") {
        return;
    }
    if manifest.get("lints").and_then(|lints| lints.get("workspace")) != Some(&Value::Boolean(true))
    {
        let what = "the crate does not inherit the workspace's lints".to_owned();
        findings.push(Finding::new(
            &source.path,
            1,
            "member",
            what,
            "add `[lints]` with `workspace = true`",
        ));
    }
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let dependencies = manifest.get(kind).and_then(Value::as_table).into_iter().flatten();
        for (name, dependency) in dependencies {
            if dependency.get("workspace") != Some(&Value::Boolean(true)) {
                let what = format!("the dependency {name} names its own version");
                let fix = "put it under [workspace.dependencies] in the root Cargo.toml and write `workspace = true` here";
                findings.push(
                    Finding::new(&source.path, line_of(&source.text, name), "member", what, fix)
                        .about(name),
                );
            }
        }
    }
}

fn line_of(text: &str, name: &str) -> usize {
    text.lines().position(|line| line.trim_start().starts_with(name)).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let mut findings = Vec::new();
        check(&Source::fixture("a/Cargo.toml", text), &mut findings);
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_member_inherits_lints_and_versions() {
        let good = "[package]\nname = \"a\"\n[lints]\nworkspace = true\n[dependencies]\nserde.workspace = true\nx = { workspace = true, features = [\"y\"] }\n";
        assert_eq!(lines(good), [0_usize; 0]);
        assert_eq!(lines(&good.replace("[lints]\nworkspace = true\n", "")), [1]);
        assert_eq!(lines(&good.replace("serde.workspace = true", "serde = \"1\"")), [6]);
        assert_eq!(lines("[package"), [1]);
        assert_eq!(lines("[workspace]\nmembers = []\n"), [0_usize; 0]);
    }
}
