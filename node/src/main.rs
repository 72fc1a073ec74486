//! The binary `meshos`: nodes, and the commands that talk to them.

mod api;
mod budget;
mod cli;
mod clock;
mod cluster;
mod config;
mod detect;
mod driver;
mod gateway;
mod group_executor;
mod http;
mod logging;
mod metrics;
mod net;
mod runtime;
mod storage;
mod zookeeper;

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    // The first two are started by nodes, and must do their work before any thread exists.
    match env::args_os().nth(1).as_deref().and_then(|name| name.to_str()) {
        Some("launcher") => meshos_isolation::launcher_main(env::args_os().skip(2)),
        Some("fetch") => meshos_isolation::fetch_main(env::args_os().skip(2)),
        Some(group_executor::COMMAND) => group_executor::main(),
        _ => cli::main(),
    }
}
