//! Rules `licence`, `source` and `banned-crate`: what `deny.toml` says, checked without cargo-deny.

use super::finding::Finding;
use super::metadata::{Metadata, Package};
use super::policy::{self, Policy};
use super::spdx;

pub(super) fn check(metadata: &Metadata, policy: &Policy, findings: &mut Vec<Finding>) {
    let used = metadata.used();
    for package in used.values() {
        findings.extend(licence(package, policy));
        findings.extend(source(package, policy));
    }
    for node in &metadata.resolve.nodes {
        let Some(parent) = used.get(node.id.as_str()) else { continue };
        for child in node.deps.iter().filter_map(|edge| used.get(edge.pkg.as_str())) {
            for ban in policy
                .bans
                .deny
                .iter()
                .filter(|ban| ban.name == child.name && !ban.wrappers.contains(&parent.name))
            {
                let what = format!(
                    "{} depends on {}, which only [{}] may",
                    parent.name,
                    child.name,
                    ban.wrappers.join(", ")
                );
                let finding = Finding::new(
                    policy::PATH,
                    1,
                    "banned-crate",
                    what,
                    &format!("remove it: {}", ban.reason),
                );
                findings.push(finding.about(&parent.name));
            }
        }
    }
}

fn licence(package: &Package, policy: &Policy) -> Option<Finding> {
    let what = match package
        .license
        .as_deref()
        .map(|licence| (licence, spdx::is_allowed(licence, &policy.licenses.allow)))
    {
        Some((_, Ok(true))) => return None,
        Some((licence, Ok(false))) => format!("the licence `{licence}` is not allowed"),
        Some((licence, Err(error))) => {
            format!("the licence `{licence}` is not understood: {error}")
        }
        None => "it names no licence".to_owned(),
    };
    let what = format!("{} {}: {what}", package.name, package.version);
    let fix = "use another crate, or add the licence to deny.toml if it is as free as those there";
    Some(Finding::new(policy::PATH, 1, "licence", what, fix).about(&package.name))
}

fn source(package: &Package, policy: &Policy) -> Option<Finding> {
    let source = package.source.as_deref()?;
    let known = source
        .strip_prefix("registry+")
        .is_some_and(|url| policy.sources.registries.iter().any(|known| known == url));
    let what = format!("{} {} comes from {source}", package.name, package.version);
    let fix = "take it from the registry; git and other registries are not reproducible";
    (!known).then(|| Finding::new(policy::PATH, 1, "source", what, fix).about(&package.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::metadata::fixture::{Row, graph};

    const POLICY: &str = "[licenses]\nallow = [\"MIT\"]\n[bans]\ndeny = [\n\
        { crate = \"warp\", wrappers = [\"node\"], reason = \"http is the node's\" },\n{ crate = \"openssl\", reason = \"ring\" },\n]\n\
        [sources]\nallow-registry = [\"https://github.com/rust-lang/crates.io-index\"]\n";

    fn found(rows: &[Row<'_>]) -> Vec<(&'static str, String)> {
        found_in(&graph(rows))
    }

    fn found_in(metadata: &Metadata) -> Vec<(&'static str, String)> {
        let mut findings = Vec::new();
        check(metadata, &Policy::parse(POLICY).unwrap(), &mut findings);
        findings
            .into_iter()
            .map(|finding| (finding.rule, finding.item.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn licences_outside_the_list_are_found() {
        let rows: &[Row<'_>] = &[
            ("a", Some("MIT"), true, &[]),
            ("b", Some("GPL-3.0"), false, &[]),
            ("c", None, false, &[]),
            ("d", Some("MIT OR"), false, &[]),
        ];
        assert_eq!(found(rows), ["b", "c", "d"].map(|name| ("licence", name.to_owned())));
    }

    #[test]
    fn fences_hold_for_direct_dependents_of_every_kind() {
        let mit = Some("MIT");
        let good: &[Row<'_>] = &[
            ("node", mit, true, &[("warp", None)]),
            ("warp", mit, false, &[]),
            ("tests", mit, true, &[("node", None)]),
        ];
        assert_eq!(found(good), []);
        let bad: &[Row<'_>] = &[
            ("node", mit, true, &[("warp", None), ("openssl", None)]),
            ("sdk", mit, true, &[("warp", Some("dev"))]),
            ("warp", mit, false, &[]),
            ("openssl", mit, false, &[]),
        ];
        assert_eq!(found(bad), ["node", "sdk"].map(|name| ("banned-crate", name.to_owned())));
    }

    #[test]
    fn other_sources_than_the_registry_are_found() {
        let mut metadata = graph(&[("a", Some("MIT"), true, &[]), ("b", Some("MIT"), false, &[])]);
        assert_eq!(found_in(&metadata), []);
        metadata.packages[1].source = Some("git+https://example.org/b#123".to_owned());
        assert_eq!(found_in(&metadata), [("source", "b".to_owned())]);
    }
}
