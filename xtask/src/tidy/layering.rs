//! Rules `layering`, `depth` and `purity`: which of our crates may depend on which, how deep the graph may get, and that
//! the pure crates reach nothing that does input or output.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::metadata::{Metadata, Node};
use crate::cmd;

/// Every member with the members it may depend on, for whatever purpose.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("meshos-protocol", &[]),
    ("meshos-alloc", &["meshos-protocol"]),
    ("meshos-control", &["meshos-protocol", "meshos-alloc"]),
    ("meshos-membership", &["meshos-protocol", "meshos-disk"]),
    ("base2histogram", &[]),
    ("meshos-isolation", &["meshos-protocol"]),
    ("meshos-mesos", &["meshos-protocol", "meshos-alloc", "meshos-control"]),
    ("meshos-sdk", &["meshos-protocol"]),
    (
        "meshos-node",
        &[
            "meshos-protocol",
            "meshos-alloc",
            "meshos-control",
            "meshos-membership",
            "meshos-isolation",
            "meshos-mesos",
            "meshos-sdk",
            "meshos-disk",
        ],
    ),
    ("meshos-tests", &["meshos-protocol", "meshos-sdk"]),
    ("meshos-soak", &["meshos-sdk", "meshos-tests"]),
    ("meshos-sim", &["meshos-protocol", "meshos-alloc", "meshos-control"]),
    ("meshos-disk", &[]),
    ("xtask", &[]),
];

/// Crates on the longest path, the first one included.
const DEPTH_MAX: usize = 5;

const PURE: &[&str] = &["meshos-protocol", "meshos-alloc", "meshos-control", "meshos-mesos"];
/// What a pure crate must not reach, through however many crates: runtimes, sockets, entropy.
const IMPURE: &[&str] = &[
    "tokio",
    "mio",
    "async-io",
    "socket2",
    "quinn",
    "hyper",
    "getrandom",
    "nix",
    "rustix",
    "tempfile",
];

const MANIFEST: &str = "Cargo.toml";

pub(super) fn check(metadata: &Metadata, findings: &mut Vec<Finding>) {
    let names: BTreeMap<&str, &str> =
        metadata.members().map(|package| (package.id.as_str(), package.name.as_str())).collect();
    let mut below: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in &metadata.resolve.nodes {
        let Some(name) = names.get(node.id.as_str()) else { continue };
        let own: Vec<&str> =
            node.deps.iter().filter_map(|edge| names.get(edge.pkg.as_str())).copied().collect();
        findings.extend(layering(name, &own));
        below.insert(name, linked(node, &names));
    }
    for name in below.keys() {
        let depth = depth_of(name, &below, 0);
        if depth > DEPTH_MAX {
            let what =
                format!("{name} stands on {depth} levels of our crates, the limit is {DEPTH_MAX}");
            findings.push(
                Finding::new(MANIFEST, 1, "depth", what, "let crates meet in node/ instead")
                    .about(name),
            );
        }
    }
}

fn layering(name: &str, own: &[&str]) -> Vec<Finding> {
    let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(known, _)| *known == name) else {
        let what = format!("the member {name} has no place in the layering");
        let fix = "give it a line in MAY_DEPEND_ON in xtask/src/tidy/layering.rs and in docs/architecture.md";
        return vec![Finding::new(MANIFEST, 1, "layering", what, fix).about(name)];
    };
    let forbidden = own.iter().filter(|other| !allowed.contains(other));
    let finding = |other: &&str| {
        let what =
            format!("{name} depends on {other}, but may depend only on [{}]", allowed.join(", "));
        let fix = "move what they share down, or put a trait where it is needed and implement it in node/";
        Finding::new(MANIFEST, 1, "layering", what, fix).about(name)
    };
    forbidden.map(finding).collect()
}

/// The members a member is linked with: dependencies that are not for its tests alone.
fn linked<'a>(node: &Node, names: &BTreeMap<&str, &'a str>) -> Vec<&'a str> {
    let normal = node
        .deps
        .iter()
        .filter(|edge| edge.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev")));
    normal.filter_map(|edge| names.get(edge.pkg.as_str())).copied().collect()
}

/// Crates on the longest path from `name` down. Cargo refuses cycles; `guard` keeps a made-up one from recursing for ever.
fn depth_of(name: &str, below: &BTreeMap<&str, Vec<&str>>, guard: usize) -> usize {
    if guard > below.len() {
        return guard;
    }
    1 + below
        .get(name)
        .into_iter()
        .flatten()
        .map(|other| depth_of(other, below, guard + 1))
        .max()
        .unwrap_or(0)
}

/// Asks `cargo tree` for each pure crate: `cargo metadata` would not do, it shows the features of all members at once.
pub(super) fn check_purity(findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    for name in PURE {
        findings.extend(impurities(name, &tree_of(name)?));
    }
    Ok(())
}

fn tree_of(name: &str) -> anyhow::Result<String> {
    let arguments = [
        "tree",
        "--locked",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--package",
        name,
    ];
    cmd::capture(&mut cmd::cargo(&arguments))
}

/// `tree` has one crate a line, its name first.
fn impurities(name: &str, tree: &str) -> Vec<Finding> {
    let reached = |banned: &str| tree.lines().any(|line| line.split(' ').next() == Some(banned));
    let finding = |banned: &str| {
        let what = format!("the pure crate {name} reaches {banned}");
        let fix =
            format!("see the way with `cargo tree -p {name} -e normal -i {banned}` and cut it");
        Finding::new(MANIFEST, 1, "purity", what, &fix).about(name)
    };
    IMPURE.iter().filter(|banned| reached(banned)).map(|banned| finding(banned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::metadata::fixture::{Row, graph};

    fn found(rows: &[Row<'_>]) -> Vec<(&'static str, String)> {
        let mut findings = Vec::new();
        check(&graph(rows), &mut findings);
        findings
            .into_iter()
            .map(|finding| (finding.rule, finding.item.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn the_allowed_edges_pass_and_others_do_not() {
        let good: &[Row<'_>] = &[
            ("meshos-protocol", None, true, &[("serde", None)]),
            ("meshos-alloc", None, true, &[("meshos-protocol", None)]),
            ("meshos-control", None, true, &[("meshos-alloc", None), ("meshos-protocol", None)]),
            ("serde", None, false, &[]),
        ];
        assert_eq!(found(good), []);
        let bad: &[Row<'_>] = &[
            ("meshos-protocol", None, true, &[]),
            ("meshos-alloc", None, true, &[]),
            ("meshos-membership", None, true, &[("meshos-alloc", Some("dev"))]),
            ("meshos-newcomer", None, true, &[]),
        ];
        assert_eq!(
            found(bad),
            ["meshos-membership", "meshos-newcomer"].map(|name| ("layering", name.to_owned()))
        );
    }

    #[test]
    fn a_chain_of_six_is_too_deep_and_dev_dependencies_do_not_count() {
        let names = ["a", "b", "c", "d", "e", "f"];
        let chain = |kind: Option<&'static str>| {
            let edges: Vec<Vec<_>> =
                names.iter().skip(1).map(|next| vec![(*next, kind)]).chain([vec![]]).collect();
            let rows: Vec<Row<'_>> = names
                .iter()
                .zip(&edges)
                .map(|(name, deps)| (*name, None, true, deps.as_slice()))
                .collect();
            found(&rows)
                .into_iter()
                .filter(|(rule, _)| *rule == "depth")
                .map(|(_, name)| name)
                .collect::<Vec<_>>()
        };
        assert_eq!(chain(None), ["a"]);
        assert!(chain(Some("dev")).is_empty());
    }

    #[test]
    fn impure_crates_are_found_by_their_whole_name() {
        assert!(
            impurities(
                "meshos-control",
                "meshos-control v0.1.0 (/x)\nserde v1.0.0\ntokio-shaped v1.0.0\n"
            )
            .is_empty()
        );
        let findings = impurities(
            "meshos-control",
            "meshos-control v0.1.0 (/x)\nserde v1.0.0\ntokio v1.0.0\n",
        );
        assert_eq!(findings.iter().map(|finding| finding.rule).collect::<Vec<_>>(), ["purity"]);
    }

    #[test]
    fn cargo_tree_shows_tokio_where_it_is() {
        // The same question about a crate of the shell: were the answer always empty, the rule could not fail.
        let findings = impurities("meshos-node", &tree_of("meshos-node").unwrap());
        assert!(
            findings.iter().any(|finding| finding.what.ends_with("reaches tokio")),
            "{findings:?}"
        );
    }
}
