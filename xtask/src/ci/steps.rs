//! The steps of `cargo xtask ci`.
//!
//! All cargo steps but the format check work on the whole workspace with the same features, so that each crate is
//! compiled once for clippy and once for running, in one profile.

use std::sync::OnceLock;

use anyhow::bail;

use super::report::{Step, Verdict, run_all};
use crate::test_run::{self, Selection, Tally};
use crate::tidy::{self, metadata::Metadata};
use crate::{cmd, sim, soak};

const STEPS: &[Step] = &[
    Step { name: "format", run: format },
    Step { name: "clippy", run: clippy },
    Step { name: "build", run: build },
    Step { name: "tests", run: tests },
    Step { name: "docs", run: docs },
    Step { name: "tidy", run: house_rules },
    Step { name: "simulation", run: simulation },
    Step { name: "soak", run: storm },
    Step { name: "cargo-deny", run: cargo_deny },
];

/// What the tests step counted, for the closing line.
static TALLY: OnceLock<Tally> = OnceLock::new();

/// Runs every step and closes with the number of tests that ran.
///
/// # Errors
/// With the first step that failed.
pub fn run() -> anyhow::Result<()> {
    run_all(STEPS)?;
    if let Some(tally) = TALLY.get() {
        cmd::say(format_args!("\n{tally}"));
    }
    Ok(())
}

fn format() -> anyhow::Result<Verdict> {
    cmd::run(&mut cmd::cargo(&["fmt", "--all", "--check"]))?;
    Ok(Verdict::Passed(String::new()))
}

fn clippy() -> anyhow::Result<Verdict> {
    cmd::run(&mut cmd::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    Ok(Verdict::Passed(String::new()))
}

fn build() -> anyhow::Result<Verdict> {
    test_run::build_everything()?;
    Ok(Verdict::Passed(String::new()))
}

/// Levels 1, 2, 4, 5 and 6; the end-to-end tests are among them.
fn tests() -> anyhow::Result<Verdict> {
    let tally = test_run::run(&Selection::default())?;
    let root = tally.root_passed();
    let note = format!("{tally}, {root} of the passed need root");
    Ok(Verdict::Passed(if TALLY.set(tally).is_ok() {
        note
    } else {
        bail!("the tests step ran twice")
    }))
}

fn docs() -> anyhow::Result<Verdict> {
    let mut command = cmd::cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    cmd::run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Verdict::Passed(String::new()))
}

fn house_rules() -> anyhow::Result<Verdict> {
    tidy::command()?;
    Ok(Verdict::Passed(String::new()))
}

/// Level 3 with the fixed seeds. Uses the program that the build step made: `cargo run` of one package would unify
/// features differently and compile its dependencies again.
fn simulation() -> anyhow::Result<Verdict> {
    let metadata = Metadata::of_workspace()?;
    if !metadata.has_binary(sim::BINARY) {
        return Ok(Verdict::Skipped(format!(
            "the workspace has no program called {}",
            sim::BINARY
        )));
    }
    let program = metadata.target_directory.join("debug").join(sim::BINARY);
    cmd::run(
        std::process::Command::new(program).current_dir(cmd::workspace_root()).arg("--fixed"),
    )?;
    Ok(Verdict::Passed("fixed seeds".to_owned()))
}

/// Level 5 for a minute, with kills that nobody chose.
fn storm() -> anyhow::Result<Verdict> {
    soak::run_built(1, None)?;
    Ok(Verdict::Passed("one minute".to_owned()))
}

fn cargo_deny() -> anyhow::Result<Verdict> {
    if !cmd::succeeds(&mut cmd::cargo(&["deny", "--version"])) {
        return Ok(Verdict::Skipped(
            "not installed; tidy held its bans, licences and sources".to_owned(),
        ));
    }
    cmd::run(&mut cmd::cargo(&["deny", "--locked", "check", "bans", "licenses", "sources"]))?;
    Ok(Verdict::Passed(String::new()))
}
