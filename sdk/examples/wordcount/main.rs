//! Counts the words of a directory of texts: one map task a file, spread over the cluster, and one
//! reduce task; then counts them plainly here and compares.
//!
//! This is the example to begin a framework of your own from. `docs/write-a-framework.md` walks
//! through it. The program is its own task: the framework launches itself with `map` and `reduce`.
//!
//! ```text
//! cargo run -p meshos-sdk --example wordcount -- \
//!     --node 127.0.0.1:5051 --credentials framework.pem --input texts --work /tmp/wordcount
//! ```
//!
//! Input and work directories must be on a file system that all nodes share.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod counting;
mod options;
mod placement;
mod scheduler;

use std::process::ExitCode;

use meshos_sdk::{DriverOptions, SchedulerDriver};

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((word, rest)) if word == "map" => counting::map(rest),
        Some((word, rest)) if word == "reduce" => counting::reduce(rest),
        Some((word, _)) if word == "--help" || word == "-h" => {
            println!("{}", options::USAGE);
            Ok(())
        }
        _ => framework(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wordcount: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn framework(arguments: &[String]) -> Result<(), Failure> {
    let options = options::parse(arguments)?;
    let (scheduler, outcome) = scheduler::WordCount::new(&options)?;
    let mut driver =
        DriverOptions::new("wordcount", options.nodes.clone(), options.load_credentials()?);
    driver.info.user.clone_from(&options.user);
    SchedulerDriver::run(scheduler, driver).await?;
    let outcome = outcome.lock().map_err(|_| "the scheduler panicked")?;
    if let Some(failure) = &outcome.failure {
        return Err(failure.clone().into());
    }
    let counted = counting::read_counts(&options.result())?;
    let expected = counting::count_files(&options.texts()?)?;
    if counted != expected {
        return Err("the cluster's count differs from the plain count".into());
    }
    let words: u64 = counted.values().sum();
    println!(
        "{words} words, {} different; {} map tasks, {} of them next to their text; same as the plain count",
        counted.len(),
        outcome.maps,
        outcome.local_maps,
    );
    let mut most: Vec<_> = counted.iter().collect();
    most.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (word, count) in most.iter().take(10) {
        println!("{count:>8} {word}");
    }
    Ok(())
}
