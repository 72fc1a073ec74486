//! What `cargo metadata` says about the workspace and everything it is linked with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use serde::Deserialize;

use crate::cmd;

/// The platforms we build for; what other platforms would pull in is neither downloaded nor judged.
const PLATFORMS: &[&str] = &["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];

/// The part of `cargo metadata --format-version 1` that is used here.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// Every package of the dependency graph, and those that the platforms leave out.
    pub packages: Vec<Package>,
    /// Ids of our own packages.
    pub workspace_members: Vec<String>,
    /// Who depends on whom.
    pub resolve: Resolve,
    /// Where cargo puts what it builds.
    pub target_directory: PathBuf,
}

/// One package.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Unique in the graph.
    pub id: String,
    /// The name; several versions may share it.
    pub name: String,
    /// The version.
    pub version: String,
    /// The licence as an SPDX expression.
    pub license: Option<String>,
    /// Where it came from; none for our own.
    pub source: Option<String>,
    /// What it builds.
    pub targets: Vec<Target>,
}

/// Something a package builds.
#[derive(Debug, Deserialize)]
pub struct Target {
    /// The target's name.
    pub name: String,
    /// `lib`, `bin`, `test`, ...
    pub kind: Vec<String>,
}

/// The resolved graph.
#[derive(Debug, Deserialize)]
pub struct Resolve {
    /// One node for each package in it.
    pub nodes: Vec<Node>,
}

/// One package of the graph with what it depends on.
#[derive(Debug, Deserialize)]
pub struct Node {
    /// The package's id.
    pub id: String,
    /// Its direct dependencies.
    pub deps: Vec<Edge>,
}

/// One direct dependency.
#[derive(Debug, Deserialize)]
pub struct Edge {
    /// The id of the package depended on.
    pub pkg: String,
    /// For what it is needed.
    pub dep_kinds: Vec<EdgeKind>,
}

/// For what a dependency is needed.
#[derive(Debug, Deserialize)]
pub struct EdgeKind {
    /// None for normal, else `dev` or `build`.
    pub kind: Option<String>,
}

impl Metadata {
    /// Asks cargo about this workspace, with the lock file as it is.
    ///
    /// # Errors
    /// When cargo fails, as with an outdated lock file, or answers something else than expected.
    pub fn of_workspace() -> anyhow::Result<Self> {
        let mut command = cmd::cargo(&["metadata", "--format-version", "1", "--locked"]);
        command.args(PLATFORMS.iter().flat_map(|platform| ["--filter-platform", platform]));
        Self::parse(&cmd::capture(&mut command)?)
    }

    /// Parses cargo's answer.
    ///
    /// # Errors
    /// When it has another shape than expected.
    pub fn parse(json: &str) -> anyhow::Result<Self> {
        serde_json::from_str(json).context("cannot understand the answer of cargo metadata")
    }

    /// Our own packages.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Whether one of our packages builds a program of that name.
    pub fn has_binary(&self, name: &str) -> bool {
        let is_it =
            |target: &Target| target.name == name && target.kind.iter().any(|kind| kind == "bin");
        self.members().any(|package| package.targets.iter().any(is_it))
    }

    /// The packages that are really in the graph of our platforms, by id.
    pub(super) fn used(&self) -> BTreeMap<&str, &Package> {
        let used: BTreeMap<_, _> =
            self.packages.iter().map(|package| (package.id.as_str(), package)).collect();
        self.resolve
            .nodes
            .iter()
            .filter_map(|node| used.get_key_value(node.id.as_str()))
            .map(|(id, p)| (*id, *p))
            .collect()
    }
}

#[cfg(test)]
pub(super) mod fixture {
    use serde_json::json;

    use super::Metadata;

    /// A graph of packages as (name, licence, own, direct dependencies with their kind).
    pub(in crate::tidy) type Row<'a> =
        (&'a str, Option<&'a str>, bool, &'a [(&'a str, Option<&'a str>)]);

    pub(in crate::tidy) fn graph(rows: &[Row<'_>]) -> Metadata {
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        let packages = rows.iter().map(|(name, license, own, _)| {
            let source = (!own).then_some(registry);
            json!({ "id": name, "name": name, "version": "1.0.0", "license": license, "source": source, "targets": [] })
        });
        let nodes = rows.iter().map(|(name, _, _, deps)| {
            let deps = deps
                .iter()
                .map(|(pkg, kind)| json!({ "pkg": pkg, "dep_kinds": [{ "kind": kind }] }));
            json!({ "id": name, "deps": deps.collect::<Vec<_>>() })
        });
        let members: Vec<_> = rows.iter().filter(|row| row.2).map(|row| row.0).collect();
        let answer = json!({
            "packages": packages.collect::<Vec<_>>(), "workspace_members": members,
            "resolve": { "nodes": nodes.collect::<Vec<_>>() }, "target_directory": "/target",
        });
        Metadata::parse(&answer.to_string()).unwrap()
    }
}
