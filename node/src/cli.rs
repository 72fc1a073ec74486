//! The command line.

mod api;
mod common;
mod dev;
mod explain;
mod keygen;
mod logs;
mod maintenance;
mod node;
mod operate;
mod output;
mod pages;
mod process;
mod replay;
mod reservations;
mod run;
mod shares;
mod show;
mod table;
mod text;
mod voters;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::Closed;

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 something went wrong (a sentence on standard error says what), 2 the command \
line, or a value on it, cannot be read. `meshos run` exits with the code of its task, see `meshos run --help`.

Start here:
  meshos dev                      a cluster of three nodes on this machine, for trying things out
  meshos run -- echo hello        run a command somewhere in it
  meshos nodes                    see who is there";

/// The exit code when what was asked for cannot be read, as the parser of the command line has it.
const EXIT_USAGE: u8 = 2;

/// What was asked for cannot be read: a value that is none, or that contradicts another.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

impl Usage {
    /// The error, with its causes in one sentence.
    fn of(error: anyhow::Error) -> anyhow::Error {
        Self(text::sentence(&error)).into()
    }
}

/// Pools many machines into one computer: nodes offer what they have, frameworks run tasks on it
#[derive(Debug, Parser)]
#[command(name = "meshos", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Node(Box<node::Arguments>),
    Dev(dev::Arguments),
    Run(run::Arguments),
    Nodes(show::Nodes),
    Frameworks(show::Frameworks),
    Tasks(show::Tasks),
    Offers(show::Offers),
    Leader(show::Leader),
    Logs(logs::Arguments),
    Kill(show::Kill),
    Drain(operate::Drain),
    Undrain(operate::Undrain),
    Deactivate(operate::Deactivate),
    Reactivate(operate::Reactivate),
    Gone(operate::Gone),
    Maintenance(maintenance::Maintenance),
    Roles(shares::Roles),
    Weights(operate::Weights),
    Priority(shares::Priority),
    Quota(shares::Quota),
    Policy(shares::Policy),
    Reservations(reservations::Reservations),
    Reserve(reservations::Reserve),
    Unreserve(reservations::Unreserve),
    Volumes(reservations::Volumes),
    Explain(explain::Arguments),
    Voters(voters::Arguments),
    Replay(replay::Arguments),
    Keygen(keygen::Arguments),
}

/// Reads this process's command line, does what it says, and tells what went wrong.
pub(crate) fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Node(arguments) => node::execute(*arguments),
        command => execute(command),
    };
    match done {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(error) if error.is::<Closed>() => ExitCode::SUCCESS,
        Err(error) => {
            text::complain(&error);
            if error.is::<Usage>() { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// Everything but a node: one thread, which for `dev` has to be the main one.
fn execute(command: Command) -> anyhow::Result<ExitCode> {
    let filter = crate::logging::Filter::of_environment().map_err(anyhow::Error::msg)?;
    crate::logging::start(&crate::logging::Options { filter, json: false });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        match command {
            Command::Node(_) => unreachable!("a node has a runtime of its own"),
            Command::Dev(arguments) => dev::execute(arguments).await,
            Command::Run(arguments) => run::execute(arguments).await,
            Command::Nodes(arguments) => arguments.execute().await,
            Command::Frameworks(arguments) => arguments.execute().await,
            Command::Tasks(arguments) => arguments.execute().await,
            Command::Offers(arguments) => arguments.execute().await,
            Command::Leader(arguments) => arguments.execute().await,
            Command::Logs(arguments) => logs::execute(arguments).await,
            Command::Kill(arguments) => arguments.execute().await,
            Command::Drain(arguments) => arguments.execute().await,
            Command::Undrain(arguments) => arguments.execute().await,
            Command::Deactivate(arguments) => arguments.execute().await,
            Command::Reactivate(arguments) => arguments.execute().await,
            Command::Gone(arguments) => arguments.execute().await,
            Command::Maintenance(arguments) => arguments.execute().await,
            Command::Roles(arguments) => arguments.execute().await,
            Command::Weights(arguments) => arguments.execute().await,
            Command::Priority(arguments) => arguments.execute().await,
            Command::Quota(arguments) => arguments.execute().await,
            Command::Policy(arguments) => arguments.execute().await,
            Command::Reservations(arguments) => arguments.execute().await,
            Command::Reserve(arguments) => arguments.execute().await,
            Command::Unreserve(arguments) => arguments.execute().await,
            Command::Volumes(arguments) => arguments.execute().await,
            Command::Explain(arguments) => explain::execute(arguments).await,
            Command::Voters(arguments) => voters::execute(arguments).await,
            Command::Replay(arguments) => replay::execute(&arguments),
            Command::Keygen(arguments) => keygen::execute(arguments),
        }
    });
    // A signal handler or a slow name look-up must not hold the process back.
    runtime.shutdown_background();
    done
}
