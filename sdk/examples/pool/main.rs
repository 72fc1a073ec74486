//! A pool of workers: one executor on each agent runs many small tasks in one process.
//!
//! The program is both halves of its framework: started by an agent it is the executor, started by
//! you it is the framework. `docs/write-a-framework.md` says what to know of executors.
//!
//! ```text
//! cargo run -p meshos-sdk --example pool -- \
//!     --node 127.0.0.1:5051 --credentials framework.pem --tasks 20
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod executor;
mod scheduler;
mod work;

use std::process::ExitCode;

use meshos_sdk::{
    Credentials, DriverOptions, ExecutorDriver, ExecutorOptions, SchedulerDriver, Status,
    protocol::messages::executor::SOCKET_VARIABLE,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "\
usage: pool --node HOST:PORT... --credentials FILE [--tasks N]

Counts the primes below some numbers, each by a task; the tasks of an agent share one executor.

  --node HOST:PORT    QUIC address of a node (its agent port); several are tried in turn
  --credentials FILE  made by `meshos keygen framework NAME`
  --tasks N           how many [default: 10]";

#[tokio::main]
async fn main() -> ExitCode {
    let done = match std::env::var_os(SOCKET_VARIABLE) {
        Some(_) => executor().await,
        None => framework().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pool: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The half that an agent starts.
async fn executor() -> Result<(), Failure> {
    let driver =
        ExecutorDriver::new(executor::Pool::default(), ExecutorOptions::from_environment()?);
    match driver.run().await {
        Status::Stopped => Ok(()),
        Status::NotStarted | Status::Running | Status::Aborted => {
            Err("the agent is away, or does not want this executor".into())
        }
    }
}

/// The half that you start.
async fn framework() -> Result<(), Failure> {
    let (mut nodes, mut credentials, mut tasks) = (Vec::new(), None, 10);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--help" || name == "-h" {
            println!("{USAGE}");
            return Ok(());
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value\n{USAGE}"))?;
        match name.as_str() {
            "--node" => nodes.push(value),
            "--credentials" => credentials = Some(Credentials::load(value.as_ref())?),
            "--tasks" => tasks = value.parse()?,
            unknown => return Err(format!("unknown option {unknown}\n{USAGE}").into()),
        }
    }
    let credentials = credentials.ok_or(USAGE)?;
    let scheduler = scheduler::Primes::new(tasks)?;
    SchedulerDriver::run(scheduler, DriverOptions::new("pool", nodes, credentials)).await?;
    Ok(())
}
