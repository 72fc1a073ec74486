//! `meshos logs`: what a task has written, and is writing.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Args;
use meshos_protocol::task::TaskState;
use serde_json::json;

use super::{
    api::{Api, ApiError},
    common::{Common, patiently},
    output,
    show::{Task, find_task},
    text::{encode, plain},
};

/// How often a file that grows is read.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);
/// How long is waited for the list of nodes.
const LEARN_LIMIT: Duration = Duration::from_secs(2);
/// How many times in a row the cluster may fail to answer while a task is followed: an election
/// takes less.
const FAILURES_MAX: u32 = 50;
/// After so many failures the follower is told what is waited for: about a second.
const FAILURES_SILENT: u32 = 5;
/// The most that `--json` puts into one object, in bytes.
const JSON_BYTES_MAX: usize = 64 << 20;

const HELP: &str = "\
Examples:
  meshos logs echo-F3             what the task has written to its standard output
  meshos logs -f echo-F3          the same, and what it goes on writing until it ends
  meshos logs --stderr F3/echo-F3 its standard error; with its framework when the id is not unique";

/// Print what a task has written to its standard output
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// The task's id, or FRAMEWORK/TASK when several frameworks have one of that id
    #[arg(value_name = "TASK")]
    task: String,
    /// Go on until the task has ended
    #[arg(short, long)]
    follow: bool,
    /// Its standard error instead
    #[arg(long)]
    stderr: bool,
    #[command(flatten)]
    common: Common,
}

/// Where one file of a task is read, and how far it was read.
#[derive(Debug)]
pub(super) struct LogReader {
    path: String,
    node: String,
    offset: u64,
}

impl LogReader {
    /// At the beginning of `stdout` or `stderr`. `node` is where the task ran, when that is known.
    pub(super) fn new(framework: &str, task: &str, file: &str, node: &str) -> Self {
        let path = format!("/api/tasks/{}/{}/logs/{file}", encode(framework), encode(task));
        let node = if node.is_empty() { String::new() } else { format!("&node={}", encode(node)) };
        Self { path, node, offset: 0 }
    }

    /// What comes next; nothing at the present end of the file, or when there is no file yet.
    ///
    /// # Errors
    /// When the node that has it cannot be asked, or has removed it.
    pub(super) async fn next(&mut self, api: &Api) -> Result<Vec<u8>, ApiError> {
        let path = format!("{}?offset={}{}", self.path, self.offset, self.node);
        let bytes = match api.bytes(&path).await {
            Err(error) if error.is_not_found() => Vec::new(),
            other => other?,
        };
        self.offset += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(bytes)
    }

    /// Whether something has been read.
    pub(super) fn has_begun(&self) -> bool {
        self.offset > 0
    }
}

/// Prints the file.
pub(super) async fn execute(arguments: Arguments) -> Result<ExitCode> {
    let api = arguments.common.api()?;
    let task = patiently(&api, find_task(&api, &arguments.task)).await?;
    let file = if arguments.stderr { "stderr" } else { "stdout" };
    let mut reader = LogReader::new(&task.framework_id, &task.id, file, &task.node_id);
    let printer = Printer { task: &task, file, json: arguments.common.json };
    if arguments.follow {
        // When the node that is asked goes, the task is followed through another.
        api.learn_nodes(LEARN_LIMIT).await;
        follow(&api, &mut reader, &printer).await?;
    } else {
        print_all(&api, &mut reader, &printer).await?;
    }
    if !reader.has_begun() {
        let newest = find_task(&api, &format!("{}/{}", task.framework_id, task.id)).await;
        output::sentence(&nothing(newest.as_ref().unwrap_or(&task), file));
    }
    Ok(ExitCode::SUCCESS)
}

struct Printer<'a> {
    task: &'a Task,
    file: &'a str,
    json: bool,
}

impl Printer<'_> {
    fn print(&self, bytes: &[u8]) -> Result<()> {
        if !self.json {
            return output::write(bytes);
        }
        // One object a line, so that a follower can read while the task goes on.
        let object = json!({
            "framework_id": self.task.framework_id,
            "task_id": self.task.id,
            "node_id": self.task.node_id,
            "file": self.file,
            "text": String::from_utf8_lossy(bytes),
        });
        output::line(&object.to_string())
    }
}

async fn print_all(api: &Api, reader: &mut LogReader, printer: &Printer<'_>) -> Result<()> {
    let mut all = Vec::new();
    loop {
        let bytes = reader.next(api).await?;
        if bytes.is_empty() {
            break;
        }
        if printer.json {
            all.extend_from_slice(&bytes);
            anyhow::ensure!(
                all.len() <= JSON_BYTES_MAX,
                "the file is longer than {JSON_BYTES_MAX} bytes, too long for --json; leave it out, or add -f"
            );
        } else {
            printer.print(&bytes)?;
        }
    }
    if printer.json { printer.print(&all) } else { Ok(()) }
}

async fn follow(api: &Api, reader: &mut LogReader, printer: &Printer<'_>) -> Result<()> {
    let name = format!("{}/{}", printer.task.framework_id, printer.task.id);
    let mut failures = 0;
    let mut over = false;
    loop {
        match reader.next(api).await {
            Ok(bytes) if !bytes.is_empty() => {
                failures = 0;
                printer.print(&bytes)?;
                continue;
            }
            // What was written before the end is read after the end was seen.
            Ok(_) if over => return Ok(()),
            Ok(_) => failures = 0,
            Err(error) => {
                failures += 1;
                if failures > FAILURES_MAX || over || error.is_gone() {
                    return Err(error.into());
                }
                if failures == FAILURES_SILENT {
                    output::sentence(&format!(
                        "the file cannot be read right now, trying on: {error}"
                    ));
                }
            }
        }
        match find_task(api, &name).await {
            Ok(task) => over = is_over(&task.state),
            // The leader has forgotten it: it ended long ago.
            Err(error) if error.downcast_ref::<ApiError>().is_some_and(ApiError::is_not_found) => {
                over = true;
            }
            Err(_) => {}
        }
        if !over {
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }
}

/// Why nothing was printed.
fn nothing(task: &Task, file: &str) -> String {
    let id = plain(&task.id);
    let why = [task.reason.as_deref().unwrap_or_default(), &task.message];
    let why: Vec<&str> = why.into_iter().filter(|part| !part.is_empty()).collect();
    let why = if why.is_empty() { String::new() } else { plain(&format!(" ({})", why.join(": "))) };
    match (task.started_at, is_over(&task.state)) {
        (None, true) => {
            format!("task {id} is {}{why}, and nothing is known of a start", task.state)
        }
        (None, false) if matches!(task.state.as_str(), "staging" | "starting") => {
            format!("task {id} has not started yet: it is {}{why}", task.state)
        }
        _ => format!("task {id} has written nothing to {file}"),
    }
}

fn is_over(state: &str) -> bool {
    TaskState::ALL.into_iter().any(|known| known.name() == state && known.is_terminal())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_goes_on_where_it_was() {
        let reader = LogReader::new("F1", "a b", "stderr", "n1");
        assert_eq!(reader.path, "/api/tasks/F1/a%20b/logs/stderr");
        assert_eq!((reader.node.as_str(), reader.offset), ("&node=n1", 0));
        assert_eq!(LogReader::new("F1", "a", "stdout", "").node, "");
    }

    #[test]
    fn nothing_is_explained() {
        let told = |state: &str, started_at| {
            let task = Task {
                id: "t".to_owned(),
                state: state.to_owned(),
                reason: Some("command_failed".to_owned()),
                message: "no such file".to_owned(),
                started_at,
                ..Task::default()
            };
            nothing(&task, "stdout")
        };
        assert_eq!(
            told("failed", None),
            "task t is failed (command_failed: no such file), and nothing is known of a start"
        );
        assert!(told("staging", None).starts_with("task t has not started yet: it is staging"));
        assert_eq!(told("finished", Some(1)), "task t has written nothing to stdout");
        assert_eq!(told("running", None), "task t has written nothing to stdout");
    }

    #[test]
    fn a_task_is_over_in_a_terminal_state() {
        assert!(is_over("finished") && is_over("gone_by_operator"));
        assert!(!is_over("running") && !is_over("unreachable") && !is_over("elsewhere"));
    }
}
