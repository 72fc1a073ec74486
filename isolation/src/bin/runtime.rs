//! The smallest binary that containers can be run with: the subcommands `launcher` and `fetch`, for this crate's tests and
//! benchmark.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let subcommand = arguments.next();
    match subcommand.as_ref().and_then(|name| name.to_str()) {
        Some("launcher") => meshos_isolation::launcher_main(arguments),
        Some("fetch") => meshos_isolation::fetch_main(arguments),
        _ => ExitCode::from(64),
    }
}
