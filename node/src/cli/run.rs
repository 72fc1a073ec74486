//! `meshos run`: a framework for the shell.

mod constraint;
mod health;
mod plan;
mod progress;
mod request;
mod scheduler;
mod session;
mod shortfall;
mod streams;

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::{Args, FromArgMatches as _, ValueEnum};

use super::{Usage, api::Choice};
use crate::config::parse_duration;

const HELP: &str = "\
Examples:
  meshos run -- echo hello
  meshos run --cpus 2 --mem 512 --instances 10 -- ./simulate --steps 1000
  meshos run --uri http://files/words --shell -- 'sort words | uniq -c'
  meshos run --start-within 1m --cpus 8 -- ./build
  meshos run --constraint rack:abc --env MODE=fast -- ./serve
  meshos run --health-http 8080/up --health-interval 5s -- ./serve --port 8080
  meshos run --revocable --cpus 4 --instances 20 -- ./render

Standard output and standard error of the tasks come out here; with several instances each line begins \
with the number of its instance. While nothing can be launched, standard error says why.

Ctrl-C (and SIGTERM) ends the tasks and waits for their end; the second one leaves at once, and the \
cluster ends what still runs. When this command is killed or cut off, its tasks live on for a minute.

Exit codes: that of the task, or 128 plus the number of the signal that ended it; of several \
instances, the first that was not 0. 123 when a task was killed because its health check failed, 124 when \
one ran for longer than --time-limit. 125 when a task ended without any (it could not be started, its \
node was lost) or was not launched in time (--start-within), 130 or 143 after Ctrl-C or SIGTERM, 1 when the cluster cannot be used, 2 when the \
command line, or a value on it, cannot be read.";

/// What an instance may take of what can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Revocable {
    /// Its processors.
    Cpus,
    /// Its memory.
    Mem,
}

/// Run a command somewhere in the cluster and stream its output
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// Processors for each instance; thousandths count
    #[arg(long, value_name = "C", default_value = "1")]
    cpus: String,
    /// Memory for each instance, in MB
    #[arg(long, value_name = "MB", default_value = "128")]
    mem: String,
    /// Run on resources that may be taken back at any time: nodes offer them beyond what they have (`meshos node
    /// --revocable-resources`), for what others are given and leave idle. The tasks get processor time after all others
    /// on their node, and whoever runs them must bear that they are ended. =cpus takes only the processors so, for
    /// nodes without revocable memory
    #[arg(long, value_name = "NAMES", num_args = 0..=1, require_equals = true, value_delimiter = ',',
        default_missing_value = "cpus,mem")]
    revocable: Vec<Revocable>,
    /// How often the command runs, all at the same time where there is room
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    instances: u32,
    /// Fetch this file into the sandbox first, and unpack it when it is an archive: a path on the node,
    /// a file:// or an http:// address
    #[arg(long, value_name = "U")]
    uri: Vec<String>,
    /// Set a variable in the command's environment
    #[arg(long, value_name = "K=V")]
    env: Vec<String>,
    /// Run only on nodes whose attribute has this value (in its range or set); `hostname` works too.
    /// All constraints must hold
    #[arg(long, value_name = "ATTR:VALUE")]
    constraint: Vec<String>,
    /// How the framework and its tasks are called [default: the command's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The role that pays
    #[arg(long, value_name = "ROLE", default_value = "*")]
    role: String,
    /// Run as this user of the node [default: the node's own]
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Hand the command to /bin/sh -c
    #[arg(long)]
    shell: bool,
    /// Give up when an instance is not launched so long after the start, for example 30s [default: wait
    /// for ever]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    start_within: Option<Duration>,
    /// End a task that has run for so long, for example 10m; it has failed then [default: none is
    /// ended]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    time_limit: Option<Duration>,
    #[command(flatten)]
    health: health::Health,
    /// Say nothing about progress, only what went wrong
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    node: Choice,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the command and gives its exit code.
pub(super) async fn execute(arguments: Arguments) -> Result<ExitCode> {
    let request = request::Request::of(&arguments).map_err(Usage::of)?;
    let manner = session::Manner { quiet: arguments.quiet, start_within: arguments.start_within };
    session::run(request, &arguments.node, manner).await
}

/// Runs a command line of the shell with the defaults, through this node, and gives its exit code.
pub(super) async fn run_in_shell(command: &str, node: &str) -> Result<ExitCode> {
    let words = ["run", "--shell", "--node", node, "--", command];
    let parser = Arguments::augment_args(clap::Command::new("run"));
    let arguments = Arguments::from_arg_matches(&parser.try_get_matches_from(words)?)?;
    execute(arguments).await
}
