//! `meshos dev`: a cluster of real processes on this machine.

mod cluster;
mod layout;
mod ready;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;

use super::Usage;

const HELP: &str = "\
Examples:
  meshos dev                             three nodes; every command finds node 0
  meshos dev --nodes 5 --base-port 7000  five nodes at 127.0.0.1:7000, 7010, ...
  meshos dev --run 'echo hello'          run a command in a cluster that ends with it
  meshos dev -- --agent-timeout 5s       more options for each node
  meshos dev -- --revocable-resources 'cpus:4;mem:2048'

Node i serves the cluster on P+10i and its agent on P+10i+1. When a leader is elected and every node \
can be offered, standard output gets one line, `ready`. The nodes write to D/node-i/log; kill them \
(the word that a node has ended comes with the command that starts it again), watch what happens. HTTP needs no token, and tasks may run as \
root, since only this machine can reach it.

Ctrl-C, SIGTERM and SIGHUP end the nodes with their tasks, also those that were started again by hand, and leave no \
process behind; so does the end of this process by SIGKILL, somewhat later, for nodes that it started: what a node that was \
killed before left running goes on.

Exit codes: 0 ended by a signal, 1 something went wrong, 2 the command line cannot be read; with --run that \
of the command.";

/// Run a cluster of several nodes on this machine, for trying things out
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    nodes: u16,
    /// The port of the first node's cluster HTTP
    #[arg(long, value_name = "P", default_value_t = 5050, value_parser = clap::value_parser!(u16).range(1..))]
    base_port: u16,
    /// Keep all data here [default: a fresh directory, removed at the end unless
    /// something went wrong]
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
    /// What each node offers [default: an equal share of this machine, at least one cpu each]
    #[arg(long, value_name = "TEXT")]
    resources: Option<String>,
    /// How many of the nodes are voters: one, three, five or seven [default: 3, or 1 with fewer than three
    /// nodes]
    #[arg(long, value_name = "N")]
    seeds: Option<u16>,
    /// Multiplies the heartbeat and election times, for slow machines
    #[arg(long, value_name = "N")]
    timing_factor: Option<u32>,
    /// Run this command line of the shell in the cluster once it is ready, as `meshos run` does, and end
    /// with its exit code
    #[arg(long, value_name = "COMMAND")]
    run: Option<String>,
    /// More options for each node, as `meshos node` takes them
    #[arg(last = true, value_name = "OPTIONS")]
    options: Vec<String>,
}

/// Runs the cluster until a signal, or the end of its command, ends it.
pub(super) async fn execute(arguments: Arguments) -> Result<ExitCode> {
    let plan = layout::check(&arguments).map_err(Usage::of)?;
    let layout = layout::Layout::of(&arguments, plan)?;
    cluster::run(layout, arguments.run.as_deref()).await
}
