//! Reads the workspace and applies every rule.

use std::path::Path;

use anyhow::{Context, bail};

use super::finding::Finding;
use super::metadata::Metadata;
use super::policy::{self, Policy};
use super::source::{self, Source};
use super::{
    allow, attributes, clippy_config, dashboards, debts, layering, licences, links, members, shape,
    size, test_habits, unsafe_code, vocabulary,
};
use crate::cmd;

/// Checks the workspace and prints what was found.
///
/// # Errors
/// When there is a finding, or something could not be read.
pub fn command() -> anyhow::Result<()> {
    let (findings, files) = check(&cmd::workspace_root())?;
    for finding in &findings {
        cmd::say(finding);
    }
    if !findings.is_empty() {
        bail!(
            "{} findings in {files} files; an exception needs a reason in {}",
            findings.len(),
            allow::PATH
        );
    }
    cmd::say(format_args!("tidy: {files} files hold to the house rules"));
    Ok(())
}

/// All findings of the workspace in `root`, in order of their place, and how many files were read.
///
/// # Errors
/// When something could not be read, or cargo could not be asked.
pub fn check(root: &Path) -> anyhow::Result<(Vec<Finding>, usize)> {
    let sources = source::read_tree(root)?;
    let mut findings = Vec::new();
    for source in &sources {
        check_file(source, &mut findings);
    }
    clippy_config::check(&sources, &mut findings);
    links::check(&sources, |path| root.join(path).exists(), &mut findings);
    let metadata = Metadata::of_workspace()?;
    layering::check(&metadata, &mut findings);
    layering::check_purity(&mut findings)?;
    licences::check(&metadata, &Policy::parse(text_of(&sources, policy::PATH)?)?, &mut findings);
    let mut findings = allow::apply(text_of(&sources, allow::PATH)?, findings)?;
    findings.sort();
    findings.dedup();
    Ok((findings, sources.len()))
}

fn check_file(source: &Source, findings: &mut Vec<Finding>) {
    vocabulary::check_text(source, findings);
    debts::check(source, findings);
    dashboards::check(source, findings);
    members::check(source, findings);
    if source.extension() != "rs" {
        return;
    }
    match source.rust() {
        Err(finding) => findings.push(*finding),
        Ok(rust) => {
            size::check(source, &rust, findings);
            shape::check(source, &rust, findings);
            unsafe_code::check(source, &rust, findings);
            attributes::check(source, &rust, findings);
            test_habits::check(source, &rust, findings);
            vocabulary::check_names(source, &rust, findings);
        }
    }
}

fn text_of<'a>(sources: &'a [Source], path: &str) -> anyhow::Result<&'a str> {
    let source = sources.iter().find(|source| source.path == path);
    source.map(|source| source.text.as_str()).with_context(|| format!("{path} is missing"))
}
