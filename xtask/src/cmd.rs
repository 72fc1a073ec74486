//! What every command needs: the workspace's folder, child processes, and the two ways to print.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// Prints one line on standard output: what the command was asked for.
#[expect(
    clippy::print_stdout,
    reason = "the one place of a command line tool that writes its answer"
)]
pub fn say(line: impl Display) {
    println!("{line}");
}

/// Prints one line on standard error: progress and complaints.
#[expect(
    clippy::print_stderr,
    reason = "the one place of a command line tool that writes its complaints"
)]
pub fn complain(line: impl Display) {
    eprintln!("{line}");
}

/// The workspace's folder, known from where this crate was compiled.
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Whether this process has user id 0, read from the owner of `/proc/self`.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The cargo that started this process, in the workspace's folder, without standard input.
pub fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(workspace_root()).stdin(Stdio::null()).args(arguments);
    command
}

/// The command as a person would type it, for messages.
pub fn shown(command: &Command) -> String {
    let program =
        Path::new(command.get_program()).file_name().unwrap_or_else(|| command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs the command with its output shown.
///
/// # Errors
/// When it cannot be started or does not end with status 0.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs the command and returns its standard output; standard error is part of the error only.
///
/// # Errors
/// When it cannot be started, does not end with status 0, or prints bytes that are not UTF-8.
pub fn capture(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", shown(command), output.status, complaint.trim());
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed bytes that are not UTF-8", shown(command)))
}

/// Whether the command can be run and ends with status 0; nothing of it is shown.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
