//! What commands print: results on standard output, everything else on standard error.

use std::io::{self, Write as _};

use serde_json::Value;

use super::text::wrap;

/// Nobody reads standard output any more.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(super) struct Closed;

/// Writes to standard output at once.
///
/// # Errors
/// [`Closed`] when nobody reads it any more.
pub(super) fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        Err(error) => Err(anyhow::Error::new(error).context("cannot write to standard output")),
        Ok(()) => Ok(()),
    }
}

/// Writes a text and the end of its line to standard output.
///
/// # Errors
/// [`Closed`] when nobody reads it any more.
pub(super) fn line(text: &str) -> anyhow::Result<()> {
    write(format!("{text}\n").as_bytes())
}

/// Writes a sentence to standard output, in as many lines as it takes.
///
/// # Errors
/// [`Closed`] when nobody reads it any more.
pub(super) fn wrapped(text: &str) -> anyhow::Result<()> {
    line(&wrap(text, 2))
}

/// Writes JSON to standard output, for scripts: nothing else stands there.
///
/// # Errors
/// [`Closed`] when nobody reads it any more.
pub(super) fn json(value: &Value) -> anyhow::Result<()> {
    line(&format!("{value:#}"))
}

/// Tells something beside the result, on standard error.
pub(super) fn note(text: &str) {
    // Nothing can be done when nobody listens.
    drop(writeln!(io::stderr(), "{text}"));
}

/// Tells something beside the result as a sentence of this program, on standard error.
pub(super) fn sentence(text: &str) {
    const MARK: &str = "meshos: ";
    note(&wrap(&format!("{MARK}{text}"), MARK.len()));
}

/// Passes on what a task wrote to its standard error.
pub(super) fn write_error(bytes: &[u8]) {
    let mut stderr = io::stderr().lock();
    drop(stderr.write_all(bytes).and_then(|()| stderr.flush()));
}
