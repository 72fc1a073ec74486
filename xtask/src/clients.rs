//! `cargo xtask clients`: clients of Mesos's API from the Python package index, in a place of their own below the target
//! directory, for the tests that run them (`tests/clients`).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::cmd;
use crate::tidy::metadata::Metadata;

/// Where they are, below the target directory.
const DIRECTORY: &str = "mesos-clients";
/// The lists of what is installed, below `tests/clients`.
const LISTS: [&str; 2] = ["requirements.txt", "http-parser.txt"];

/// Installs them, unless those of the present lists are there.
///
/// # Errors
/// When there is no Python with `venv`, or a package cannot be had.
pub fn install() -> anyhow::Result<()> {
    let directory = directory()?;
    if are_installed(&directory)? {
        cmd::say(format_args!("{} has them", directory.display()));
        return Ok(());
    }
    let program = folder().join("install.py");
    cmd::run(Command::new("python3").arg("-B").arg(program).arg(&directory)).context(
        "Python 3.8 or newer with venv (Debian's python3-venv) and a package index are needed",
    )
}

/// Whether tests can run them.
///
/// # Errors
/// When the lists cannot be read.
pub fn are_there() -> anyhow::Result<bool> {
    are_installed(&directory()?)
}

fn directory() -> anyhow::Result<PathBuf> {
    Ok(Metadata::of_workspace()?.target_directory.join(DIRECTORY))
}

fn folder() -> PathBuf {
    cmd::workspace_root().join("tests/clients")
}

fn are_installed(directory: &Path) -> anyhow::Result<bool> {
    let mut wanted = String::new();
    for list in LISTS {
        let path = folder().join(list);
        wanted += &std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
    }
    // `install.py` writes it last.
    let installed = std::fs::read_to_string(directory.join("installed.txt"));
    Ok(installed.is_ok_and(|installed| installed == wanted))
}
