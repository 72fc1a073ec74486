//! `meshos maintenance`: which nodes will be away, what frameworks said of it, and the beginning and the end of it.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use chrono::{DateTime, SecondsFormat};
use clap::{ArgGroup, Args, Subcommand};
use meshos_protocol::{task::KILL_GRACE_MAX_MS, time::millis};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    common::Common,
    output,
    table::Table,
    text::{ago, count, now_ms},
};
use crate::config::{parse_duration, print_duration};

const HELP: &str = "\
Examples:
  meshos maintenance                        show the windows, and what the frameworks said
  meshos maintenance set lab7 lab8 --start 2026-12-24T02:00:00Z --for 2h
                                            ask whoever has something there whether that suits
  meshos maintenance start lab7 --grace 5m  offer nothing more of it, and end its tasks
  meshos nodes                              what is left; `drained` once all is over
  meshos maintenance stop lab7              offer it again

Nothing begins or ends by itself. What frameworks say is advice: accepted, declined, or nothing yet.";

const START_HELP: &str = "\
Examples:
  meshos maintenance start lab7             offer nothing more of it; its tasks go on
  meshos maintenance start lab7 --grace 5m  end its tasks too, each within five minutes

The node has to be in a window: see `meshos maintenance set --help`.";

/// Plan when nodes will be away, see what frameworks say to it, and begin and end it
#[derive(Debug, Args)]
#[command(after_help = HELP, args_conflicts_with_subcommands = true)]
pub(super) struct Maintenance {
    #[command(subcommand)]
    change: Option<Change>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Put nodes into a window, in place of the one that they were in
    #[command(group = ArgGroup::new("when").required(true))]
    Set {
        #[command(flatten)]
        subjects: Subjects,
        /// When they will be away, such as 2026-12-24T02:00:00Z
        #[arg(long, value_name = "TIME", group = "when", value_parser = moment)]
        start: Option<u64>,
        /// The same, from now on
        #[arg(long = "in", value_name = "DURATION", group = "when", value_parser = parse_duration)]
        after: Option<Duration>,
        /// For how long; without it nobody knows
        #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
        length: Option<Duration>,
        #[command(flatten)]
        common: Common,
    },
    /// Take nodes out of their windows; not those whose maintenance has begun
    #[command(group(clap::ArgGroup::new("which").args(["nodes", "all"]).required(true)))]
    Clear {
        /// The nodes: each its id, or its hostname or address
        #[arg(value_name = "NODE")]
        nodes: Vec<String>,
        /// All that are in windows
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Begin: nodes in windows are offered no more; their tasks go on until they end, or end within --grace
    #[command(after_help = START_HELP)]
    Start {
        #[command(flatten)]
        subjects: Subjects,
        /// End their tasks: SIGTERM now, and SIGKILL when a task's own grace period is over, or this one if that is
        /// shorter (at most 1d; 0s: at once). Without it tasks go on until they end
        #[arg(long, value_name = "DURATION", value_parser = grace)]
        grace: Option<Duration>,
        #[command(flatten)]
        common: Common,
    },
    /// End: the nodes are offered again, and are in no window any more
    Stop {
        #[command(flatten)]
        subjects: Subjects,
        #[command(flatten)]
        common: Common,
    },
}

/// The nodes that a command is about.
#[derive(Debug, Clone, Args)]
struct Subjects {
    /// The nodes: each its id, or its hostname or address, as `meshos nodes` shows them
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row {
    node_id: String,
    hostname: String,
    start: u64,
    duration_ms: Option<u64>,
    begun: Option<u64>,
    state: Option<String>,
    hold: Option<String>,
    tasks: usize,
    asked: Vec<Asked>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    framework_id: String,
    framework: String,
    answer: Option<String>,
    answered_at: Option<u64>,
}

impl Maintenance {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        match self.change {
            None => show(&self.common).await,
            Some(Change::Set { subjects, start, after, length, common }) => {
                let in_future = after.map(|after| now_ms().saturating_add(millis(after)));
                let start = start.or(in_future).unwrap_or_default();
                let mut body = json!({ "nodes": subjects.nodes, "start": start });
                if let Some(length) = length {
                    body["duration_ms"] = millis(length).into();
                }
                let sentence = |_: &Value| {
                    let length = length.map(|it| format!(" for {}", print_duration(it)));
                    let (from, length) = (shown(start), length.unwrap_or_default());
                    format!(
                        "{} will be away from {from}{length}: whoever has something there is asked",
                        named(&subjects.nodes)
                    )
                };
                common.change("/api/maintenance/set", &body, sentence).await
            }
            Some(Change::Clear { nodes, all, common }) => {
                let body = json!({ "nodes": nodes, "all": all });
                let sentence = |answer: &Value| match answer["nodes"].as_array().map(Vec::len) {
                    Some(0) => "no node was in a maintenance window".to_owned(),
                    Some(many) if all => format!("{} out of the windows", is_are(many)),
                    Some(_) | None => format!("{}: nothing is planned any more", named(&nodes)),
                };
                common.change("/api/maintenance/clear", &body, sentence).await
            }
            Some(Change::Start { subjects, grace, common }) => {
                let mut body = json!({ "nodes": subjects.nodes });
                if let Some(grace) = grace {
                    body["grace_ms"] = millis(grace).into();
                }
                let sentence = |_: &Value| {
                    let tasks = match grace {
                        Some(grace) => format!("tasks are ended within {}", print_duration(grace)),
                        None => "tasks go on".to_owned(),
                    };
                    let nodes = named(&subjects.nodes);
                    format!("maintenance of {nodes} begins: nothing more is offered there, {tasks}")
                };
                common.change("/api/maintenance/start", &body, sentence).await
            }
            Some(Change::Stop { subjects, common }) => {
                let body = json!({ "nodes": subjects.nodes });
                let sentence = |_: &Value| {
                    format!(
                        "maintenance of {} is over: offers are made again",
                        named(&subjects.nodes)
                    )
                };
                common.change("/api/maintenance/stop", &body, sentence).await
            }
        }
    }
}

async fn show(common: &Common) -> Result<ExitCode> {
    let answer = common.get("/api/maintenance").await?;
    let Some(rows) = common.rows::<Row>(answer)? else { return Ok(ExitCode::SUCCESS) };
    if rows.is_empty() {
        output::note("no node is in a maintenance window");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["NODE", "HOST", "AWAY", "STATE", "ANSWERS"]);
    let now = now_ms();
    for row in rows {
        let (away, state, answers) = (row.away(now), row.state(), row.answers(now));
        table.row([row.node_id, row.hostname, away, state, answers]);
    }
    table.print()?;
    Ok(ExitCode::SUCCESS)
}

impl Row {
    fn away(&self, now: u64) -> String {
        let from = shown(self.start);
        let until = match self.start.checked_sub(now) {
            Some(ahead) if ahead > 0 => format!(" (in {})", ago(0, ahead)),
            Some(_) | None => String::new(),
        };
        let length = self
            .duration_ms
            .map(|ms| format!(" for {}", print_duration(Duration::from_millis(ms))));
        format!("{from}{}{until}", length.unwrap_or_default())
    }

    /// How far it is; what is waited for is the number of its tasks.
    fn state(&self) -> String {
        let Some(state) = self.hold.as_deref().or(self.state.as_deref()) else {
            return "not on record".to_owned();
        };
        match (self.begun, self.tasks) {
            (None, _) if state == "active" => "planned".to_owned(),
            (None, _) => format!("planned, {state}"),
            (Some(_), 0) => format!("begun, {state}"),
            (Some(_), tasks) => format!("begun, {state}, {} left", count(tasks, "task")),
        }
    }

    fn answers(&self, now: u64) -> String {
        let word = |asked: &Asked| {
            let Asked { framework_id, framework, answer, answered_at } = asked;
            let who = match framework.is_empty() {
                true => framework_id.clone(),
                false => format!("{framework_id} ({framework})"),
            };
            match (answer, answered_at) {
                (Some(answer), Some(at)) => format!("{who} {answer} {} ago", ago(*at, now)),
                (Some(answer), None) => format!("{who} {answer}"),
                (None, _) => format!("{who} has not answered"),
            }
        };
        let words: Vec<String> = self.asked.iter().map(word).collect();
        if words.is_empty() { "nobody has anything there".to_owned() } else { words.join(", ") }
    }
}

/// A moment in milliseconds since 1970, to the second.
fn shown(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis);
    moment.map_or_else(|| format!("{ms} ms"), |it| it.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// A moment as RFC 3339 has them, in milliseconds since 1970.
fn moment(text: &str) -> Result<u64, String> {
    let expected = "expected a time such as 2026-12-24T02:00:00Z or 2026-12-24T03:00:00+01:00; `--in 2h` is from now on";
    let moment = DateTime::parse_from_rfc3339(text).map_err(|_| expected.to_owned())?;
    u64::try_from(moment.timestamp_millis()).map_err(|_| "it is before 1970".to_owned())
}

/// A grace period, when it is one that tasks may have.
fn grace(text: &str) -> Result<Duration, String> {
    let grace = parse_duration(text)?;
    if grace <= Duration::from_millis(KILL_GRACE_MAX_MS) {
        return Ok(grace);
    }
    Err("it is longer than 1d, which is the longest that any task may have".to_owned())
}

fn named(nodes: &[String]) -> String {
    let nodes_are = if nodes.len() == 1 { "node" } else { "nodes" };
    format!("{nodes_are} {}", nodes.join(", "))
}

fn is_are(many: usize) -> String {
    if many == 1 { "1 node is".to_owned() } else { format!("{many} nodes are") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_they_are_shown() {
        let ms = moment("2026-12-24T03:00:00+01:00").unwrap();
        assert_eq!(ms, 1_798_077_600_000);
        assert_eq!(shown(ms), "2026-12-24T02:00:00Z");
        assert_eq!(moment(&shown(ms)), Ok(ms));
        for text in ["", "2026-12-24", "tomorrow", "2026-12-24T02:00"] {
            assert!(moment(text).unwrap_err().contains("such as 2026"), "{text}");
        }
        assert_eq!(moment("1969-12-31T23:00:00Z").unwrap_err(), "it is before 1970");
        assert_eq!(shown(u64::MAX), format!("{} ms", u64::MAX));
        assert!(grace("2d").is_err());
    }

    #[test]
    fn a_row_tells_when_how_far_and_who_said_what() {
        let row: Row = serde_json::from_value(json!({
            "node_id": "n", "start": 7_200_000, "duration_ms": 3_600_000, "state": "active",
            "asked": [
                {"framework_id": "F1", "framework": "web", "answer": "declined", "answered_at": 0},
                {"framework_id": "F2"},
            ],
        }))
        .unwrap();
        assert_eq!(row.away(0), "1970-01-01T02:00:00Z for 1h (in 2h)");
        assert_eq!(row.away(7_200_001), "1970-01-01T02:00:00Z for 1h");
        assert_eq!(row.state(), "planned");
        assert_eq!(row.answers(60_000), "F1 (web) declined 1m ago, F2 has not answered");
        let begun = |hold: Option<&str>, tasks| Row {
            begun: Some(1),
            state: Some("draining".to_owned()),
            hold: hold.map(str::to_owned),
            tasks,
            ..Row::default()
        };
        assert_eq!(begun(None, 2).state(), "begun, draining, 2 tasks left");
        assert_eq!(begun(Some("drained"), 0).state(), "begun, drained");
        assert_eq!(Row::default().state(), "not on record");
        assert_eq!(Row::default().answers(0), "nobody has anything there");
    }
}
