//! The release build: the only place that makes one.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context;

use crate::cmd;
use crate::tidy::metadata::Metadata;

/// The `meshos` binary in release mode.
///
/// # Errors
/// When it does not compile.
pub fn binary() -> anyhow::Result<PathBuf> {
    built("meshos")
}

/// The example program `name` of the SDK or of membership, in release mode.
///
/// # Errors
/// When it does not compile.
pub fn example(name: &str) -> anyhow::Result<PathBuf> {
    built(&format!("examples/{name}"))
}

/// Builds all that any bench runs in one go: one selection of packages means one set of features, so that no dependency
/// is compiled twice. Cargo's progress goes to standard error, so that a bench with `--json` prints its figures alone.
fn built(path: &str) -> anyhow::Result<PathBuf> {
    let packages = ["meshos-node", "meshos-sdk", "meshos-membership"];
    let mut command = cmd::cargo(&["build", "--release", "--locked", "--bins", "--examples"]);
    command.args(packages.iter().flat_map(|name| ["--package", name]));
    cmd::run(command.stdout(Stdio::null()))?;
    let path = Metadata::of_workspace()?.target_directory.join("release").join(path);
    path.canonicalize().with_context(|| format!("cargo built no {}", path.display()))
}
