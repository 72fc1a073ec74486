//! `cargo xtask e2e`: level 5 of the tests alone, over the real binary.

use anyhow::{Context, bail};

use crate::cmd;
use crate::test_run::{self, Selection};
use crate::tidy::metadata::Metadata;

/// The crate that holds the end-to-end tests.
pub const END_TO_END_PACKAGE: &str = "meshos-tests";

/// Builds the binary, then runs the test targets of the end-to-end crate.
///
/// The targets are picked out of the whole workspace (and not with `--package`) so that cargo unifies features as in the
/// full run and nothing is built twice.
///
/// # Errors
/// When something does not build, a test fails, a root test did not run, or `demand_root` is set and we are not root.
pub fn run(demand_root: bool) -> anyhow::Result<()> {
    if demand_root && !cmd::is_root() {
        bail!(
            "--root asks for the tests that need root, but this process is not root: run it with sudo, or leave --root out"
        );
    }
    let metadata = Metadata::of_workspace()?;
    let package = metadata
        .members()
        .find(|package| package.name == END_TO_END_PACKAGE)
        .with_context(|| format!("no workspace member is called {END_TO_END_PACKAGE}"))?;
    let mut selection = Selection::default();
    for target in
        package.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "test"))
    {
        selection.targets.extend(["--test".to_owned(), target.name.clone()]);
    }
    if selection.targets.is_empty() {
        bail!("{END_TO_END_PACKAGE} has no test targets");
    }
    test_run::build_everything()?;
    let tally = test_run::run(&selection)?;
    cmd::say(format_args!("{tally}"));
    Ok(())
}
