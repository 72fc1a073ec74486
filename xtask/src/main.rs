//! The command line of `cargo xtask`: parses, then hands over to the library.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{bench, ci, clients, cmd, e2e, laws, sim, soak, tidy};

/// Developer commands of meshos. Every change must pass `cargo xtask ci`.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything a change must pass: format, lints, build, all tests, docs, house rules, simulation, cargo-deny.
    Ci,
    /// Check the house rules: layering, licences, sizes, words, unsafe code, test habits, links. No compilation needed.
    Tidy,
    /// Run the simulation: the fixed seeds, one seed (exact replay), or random seeds for some minutes.
    Sim {
        /// Replay this seed, verbosely.
        #[arg(long, conflicts_with = "minutes")]
        seed: Option<u64>,
        /// Run random seeds for this long; a failing seed is printed.
        #[arg(long)]
        minutes: Option<u64>,
    },
    /// Check the allocator's laws (its tests) over more random cases than the 256 of every test run.
    Laws {
        /// How many cases of each property and of each policy's suite.
        #[arg(long, default_value_t = 2_000)]
        cases: u32,
    },
    /// Run the end-to-end tests only: real processes of the built `meshos` binary on loopback.
    E2e {
        /// Demand that the tests that need root run too: fails when not root.
        #[arg(long)]
        root: bool,
    },
    /// Install clients of Mesos's API from the Python package index, for the tests that run them.
    Clients,
    /// Kill nodes, leaders, frameworks and executors of a real cluster for a while, and account for every task after it.
    Soak {
        /// How long the storm lasts.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// What the kills are drawn from; real processes repeat no run exactly.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Measure: without NAME lists the benches. Benches of the product build it in release mode first.
    Bench {
        /// The bench to run.
        name: Option<String>,
        /// Print `{"figures":{"NAME":{"value":1.2,"unit":"ms"}}}` and nothing else on standard output.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Ci => ci::run(),
        Command::Tidy => tidy::command(),
        Command::Sim { seed, minutes } => sim::run(seed, minutes),
        Command::Laws { cases } => laws::run(cases),
        Command::E2e { root } => e2e::run(root),
        Command::Clients => clients::install(),
        Command::Soak { minutes, seed } => soak::run(minutes, seed),
        Command::Bench { name, json } => bench::command(name.as_deref(), json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cmd::complain(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
