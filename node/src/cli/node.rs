//! `meshos node`: runs a node until a signal ends it.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;
use nix::{sys::signal::Signal, unistd::Pid};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Usage;
use crate::{
    config::{self, Flags, Raw, Resolved},
    detect::ThisMachine,
    logging,
};

/// Threads of a node: its work is waiting, and the master is one loop.
const THREADS: usize = 2;

const HELP: &str = "\
Every option can also be a key of the configuration file (`--agent-port 7000` is `agent_port = 7000`, \
`seed` is a list) and a variable of the environment (MESHOS_AGENT_PORT=7000). A flag goes before a \
variable, a variable before the file, the file before the default. Times are written 75s, 500ms, 2m.

Examples:
  A node alone, on this machine only:
    meshos node
  A cluster of three voters, the same on each of the machines a, b and c; `meshos keygen` made the \
keys on one of them, and its directory was copied to the others:
    meshos node --keys meshos-keys --seed a:5050 --seed b:5050 --seed c:5050
  One more machine, which needs the file join.token alone:
    meshos node --join-token join.token --seed a:5050 --seed b:5050 --seed c:5050

SIGTERM and SIGINT stop the node; its tasks live on, and the next start in the same data directory \
finds them, unless --stop-tasks is given.

Exit codes: 0 stopped by a signal, 1 it could not start or go on, 2 the command line or another setting \
cannot be read.";

/// Run a node of a cluster on this machine
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Read settings from this file, in TOML
    #[arg(long, env = "MESHOS_CONFIG", hide_env = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
    /// Stop when the process of this id, which must be the parent, ends
    #[arg(long, hide = true, value_name = "PID")]
    end_with: Option<i32>,
}

/// Runs the node.
pub(super) fn execute(arguments: Arguments) -> Result<ExitCode> {
    // On the main thread: the signal comes when the thread that asked for it is there.
    if let Some(parent) = arguments.end_with {
        end_with(Pid::from_raw(parent))?;
    }
    let resolved = read(arguments).map_err(Usage::of)?;
    logging::start(&resolved.logging);
    for warning in &resolved.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .context("cannot start the node's threads")?;
    let done = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        stop_on_signals(&shutdown)?;
        let stop_tasks = resolved.options.stop_tasks;
        let ran = Box::pin(crate::runtime::run(resolved.options, shutdown)).await;
        if ran.is_ok() {
            tracing::info!(stop_tasks, "good-bye");
        }
        ran
    });
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}

fn read(arguments: Arguments) -> Result<Resolved> {
    let file = match &arguments.config {
        Some(path) => config::read_file(path)?,
        None => Raw::default(),
    };
    let variables = config::read_variables(std::env::vars_os())?;
    let raw = Raw::from(arguments.flags).over(variables).over(file);
    Ok(config::resolve(raw, &ThisMachine)?)
}

/// Has the system send SIGTERM when the parent ends, however it ends.
fn end_with(parent: Pid) -> Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).context("cannot watch the parent process")?;
    // It may have ended before.
    if nix::unistd::getppid() == parent {
        return Ok(());
    }
    anyhow::bail!(
        "process {parent}, with which this node was to end, is not its parent or has ended"
    )
}

fn stop_on_signals(shutdown: &CancellationToken) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to SIGINT")?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "the node stops");
        shutdown.cancel();
        // Once it is under way there is nothing to interrupt: a second signal changes nothing.
    });
    Ok(())
}
