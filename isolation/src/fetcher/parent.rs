//! The node's side of fetching: starts the child, tells it what to fetch, and waits for its report.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use super::plan::{FetchOptions, Plan, Report};
use crate::container::Uri;
use crate::error::LaunchError;
use crate::launcher::protocol::{LaunchIds, decode, encode};

/// How many children fetch at a time; other launches wait.
const FETCHES_MAX: usize = 8;
/// The longest report, in bytes.
const REPORT_BYTES_MAX: u64 = 64 * 1024;

/// Starts fetching children.
#[derive(Debug)]
pub struct Fetcher {
    runtime: PathBuf,
    options: FetchOptions,
    permits: Semaphore,
}

impl Fetcher {
    /// `runtime` is the binary that has the subcommand `fetch`.
    #[must_use]
    pub fn new(runtime: PathBuf, options: FetchOptions) -> Self {
        Self { runtime, options, permits: Semaphore::new(FETCHES_MAX) }
    }

    /// Fetches `uris` into `sandbox` with the rights of this process, in order. Does nothing for none.
    ///
    /// # Errors
    /// When one of them cannot be fetched; what was fetched before it is there.
    pub async fn fetch_as_is(&self, sandbox: &Path, uris: &[Uri]) -> Result<(), LaunchError> {
        self.fetch(sandbox, None, uris).await
    }

    /// Fetches `uris` into `sandbox` with the rights of `ids`, in order. Does nothing for none.
    pub(crate) async fn fetch(
        &self,
        sandbox: &Path,
        ids: Option<LaunchIds>,
        uris: &[Uri],
    ) -> Result<(), LaunchError> {
        let Some(first) = uris.first() else { return Ok(()) };
        let failed = |reason: String| LaunchError::Fetch { uri: first.value.clone(), reason };
        let Some(sandbox) = sandbox.to_str() else {
            return Err(failed("the sandbox's path is not UTF-8".to_owned()));
        };
        let permit = self.permits.acquire().await;
        let permit = permit.map_err(|_| failed("the containerizer has stopped".to_owned()))?;
        let plan = Plan {
            sandbox: sandbox.to_owned(),
            ids,
            uris: uris.to_vec(),
            bytes_max: self.options.bytes_max,
            stall_max_ms: u64::try_from(self.options.stall_max.as_millis()).unwrap_or(u64::MAX),
        };
        let report = tokio::time::timeout(self.options.time_max, self.run(&plan)).await;
        drop(permit);
        let report = report.map_err(|_| {
            failed(format!("it took longer than {} s", self.options.time_max.as_secs()))
        })?;
        let report = report.map_err(|error| failed(format!("the fetcher failed: {error}")))?;
        match report.failure {
            None => Ok(()),
            Some(failure) if failure.uri.is_empty() => Err(failed(failure.reason)),
            Some(failure) => Err(LaunchError::Fetch { uri: failure.uri, reason: failure.reason }),
        }
    }

    async fn run(&self, plan: &Plan) -> io::Result<Report> {
        let mut command = Command::new(&self.runtime);
        command.arg("fetch").env_clear().current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let report = converse(&mut child, plan).await;
        let status = child.wait().await?;
        match report {
            Err(error) if !status.success() => Err(io::Error::other(format!("{error} ({status})"))),
            other => other,
        }
    }
}

async fn converse(child: &mut Child, plan: &Plan) -> io::Result<Report> {
    let missing = || io::Error::other("it has no pipes");
    // Held open until the report is there: its end tells the child that nobody waits any more.
    let mut input = child.stdin.take().ok_or_else(missing)?;
    let output = child.stdout.take().ok_or_else(missing)?;
    let mut bytes = Vec::new();
    encode(plan, &mut bytes)?;
    input.write_all(&bytes).await?;
    bytes.clear();
    output.take(REPORT_BYTES_MAX).read_to_end(&mut bytes).await?;
    drop(input);
    match decode::<Report>(&bytes) {
        Ok(Some((report, _))) => Ok(report),
        Ok(None) => Err(io::Error::other("it ended without a report")),
        Err(error) => Err(io::Error::other(error)),
    }
}
