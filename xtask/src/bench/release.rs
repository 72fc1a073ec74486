//! The release build of the product: the only place that makes one.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::Context;

use crate::cmd;
use crate::tidy::metadata::Metadata;

/// Builds the `meshos` binary in release mode and returns its path. Cargo's progress goes to standard error, so that a
/// bench with `--json` prints its figures alone.
///
/// # Errors
/// When it does not compile.
pub fn binary() -> anyhow::Result<PathBuf> {
    let mut command = cmd::cargo(&[
        "build",
        "--release",
        "--locked",
        "--package",
        "meshos-node",
        "--bin",
        "meshos",
    ]);
    cmd::run(command.stdout(Stdio::null()))?;
    let path = Metadata::of_workspace()?.target_directory.join("release/meshos");
    path.canonicalize().with_context(|| format!("cargo built no {}", path.display()))
}
