//! Five nodes and four frameworks, of which something is killed every few seconds; and at the end the account of
//! every task: none lost without a status, none run twice under one id.
//!
//! The program is all that it needs: the storm itself, the frameworks that it kills, and the executors that agents
//! start for those. `cargo xtask soak` builds and runs it.

mod account;
mod book;
mod executor;
mod framework;
mod work;

mod storm;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use meshos_sdk::protocol::messages::executor::SOCKET_VARIABLE;
use meshos_tests::say;

/// Kills nodes, leaders, frameworks and executors for a while, and then accounts for every task.
#[derive(Debug, Parser)]
#[command(name = "meshos-soak", disable_version_flag = true)]
struct Cli {
    /// How long the storm lasts.
    #[arg(long, default_value_t = 1)]
    minutes: u64,
    /// What the kills are drawn from; a run is not repeated exactly, since real processes are not.
    #[arg(long)]
    seed: Option<u64>,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// One of the frameworks; the storm starts it.
    #[command(hide = true)]
    Framework(FrameworkArguments),
}

#[derive(Debug, clap::Args)]
struct FrameworkArguments {
    /// Where its book is.
    #[arg(long)]
    dir: PathBuf,
    /// Where tasks and executors write down that they were born.
    #[arg(long)]
    journal: PathBuf,
    #[arg(long)]
    name: String,
    #[arg(long)]
    node: Vec<String>,
    #[arg(long)]
    seed: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = if std::env::var_os(SOCKET_VARIABLE).is_some() {
        executor::run().await
    } else {
        let cli = Cli::parse();
        match cli.role {
            Some(Role::Framework(arguments)) => framework::run(arguments).await,
            None => {
                let seed = cli.seed.unwrap_or_else(|| u64::from(std::process::id()));
                let length = Duration::from_secs(60 * cli.minutes);
                // The cluster blocks, and fails by panics.
                let run = tokio::task::spawn_blocking(move || storm::run(length, seed));
                run.await.map_err(anyhow::Error::from).and_then(|done| done)
            }
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
