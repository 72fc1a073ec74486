//! `meshos replay`: plays what a leader was told, again and away from the cluster.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug, Write as _},
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::Args;
use meshos_control::{
    master::{Event, View},
    recording::{Played, Player, ReadError},
};
use meshos_protocol::time::{Mono, Now};
use serde_json::{Value, json};

use super::{
    output,
    table::Table,
    text::{count, plain},
};

const HELP: &str = "\
A node that is started with --record-events MB writes down what it is told in each term in which it
leads, from the start of the term until so many megabytes are used up, in the directory recordings of
its data directory; the newest four are kept. A leader that is told the same does the same: so a
recording shows afterwards, on any machine, what the leader knew and why it acted as it did.

Examples:
  meshos replay term-0000000003.recording              what happened, and how it stood at the end
  meshos replay term-0000000003.recording --events     every event, one a line
  meshos replay term-0000000003.recording --step 120   one event and what it led to, in full

Exit codes: 0 the master did the same again, 1 it did not or the recording cannot be read.";

/// Play what a leader was told once more, step by step, away from the cluster
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    /// A recording
    file: PathBuf,
    /// Print every event, one a line, but for ticks that led to nothing
    #[arg(long, conflicts_with = "json")]
    events: bool,
    /// Print this event and what it led to in full, and how things stood after it
    #[arg(long, value_name = "N", conflicts_with_all = ["json", "events", "until"])]
    step: Option<u64>,
    /// Stop after this event
    #[arg(long, value_name = "N")]
    until: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was seen while a recording was played.
struct Summary {
    began: Now,
    ended: Now,
    steps: u64,
    kinds: BTreeMap<String, u64>,
    /// The first step after which the master wished for something else.
    differs: Option<u64>,
}

pub(super) fn execute(arguments: &Arguments) -> Result<ExitCode> {
    let path = &arguments.file;
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut player = Player::new(BufReader::new(file)).map_err(|error| unplayable(path, &error))?;
    if !arguments.json {
        introduce(&player)?;
    }
    let began = player.start().now;
    let mut summary =
        Summary { began, ended: began, steps: 0, kinds: BTreeMap::new(), differs: None };
    let last = arguments.step.or(arguments.until).unwrap_or(u64::MAX);
    while summary.steps < last {
        let played = player.step().map_err(|error| unplayable(path, &error))?;
        let Some(played) = played else { break };
        summary.note(&played);
        if arguments.events && !is_quiet(&played) {
            output::line(&in_one_line(&played, began.mono))?;
        }
        if arguments.step == Some(played.number) {
            in_full(&played, began.mono)?;
        }
    }
    if let Some(step) = arguments.step {
        ensure!(summary.steps == step, "there is no event {step}: it has {}", summary.steps);
    }
    let view = player.master().view();
    if arguments.json {
        output::json(&summary.to_json(&player, &view))?;
    } else {
        let at_its_end = summary.steps < last;
        summary.print(&view, arguments, player.is_full(), at_its_end)?;
    }
    Ok(if summary.differs.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn unplayable(path: &Path, error: &ReadError) -> anyhow::Error {
    anyhow!("{} cannot be played: {error}", path.display())
}

fn introduce<R: std::io::Read>(player: &Player<R>) -> Result<()> {
    let start = player.start();
    output::wrapped(&format!(
        "Recorded by node {} in term {} of cluster {}, release {}.",
        start.node,
        start.fence.term,
        start.fence.cluster,
        plain(&start.release)
    ))?;
    let own = env!("CARGO_PKG_VERSION");
    if start.release != own {
        output::sentence(&format!(
            "this is release {own}, which may decide otherwise; release {} does what was done then",
            plain(&start.release)
        ));
    }
    Ok(())
}

impl Summary {
    fn note(&mut self, played: &Played) {
        self.steps = played.number;
        self.ended = played.step.now;
        *self.kinds.entry(kind(&played.step.event)).or_default() += 1;
        if !played.same && self.differs.is_none() {
            self.differs = Some(played.number);
        }
    }

    fn print(
        &self,
        view: &View,
        arguments: &Arguments,
        full: bool,
        at_its_end: bool,
    ) -> Result<()> {
        if arguments.step.is_none() && !arguments.events {
            let mut table = Table::new(&["EVENT", "COUNT"]);
            for (kind, number) in &self.kinds {
                table.row([kind.clone(), number.to_string()]);
            }
            table.print()?;
        }
        let took = self.ended.mono.since(self.began.mono);
        output::wrapped(&format!(
            "{} over {}; then {}.",
            counted(self.steps, "event"),
            elapsed(took),
            standing(view)
        ))?;
        if full {
            output::wrapped(
                "The recording ends here for want of room (--record-events); the leader went on.",
            )?;
        } else if !view.deposed && at_its_end {
            output::wrapped(
                "The recording ends here, though the term did not: the leader was killed, or its disk failed or was \
                 too slow for the recording, and then it went on.",
            )?;
        }
        match self.differs {
            None => output::wrapped("The master did the same as when it led."),
            Some(step) => output::wrapped(&format!(
                "After event {step} the master did not wish for what it wished for when it led: another \
                 release recorded this, the file is damaged, or the master is not deterministic, which is a defect. \
                 `--step {step}` shows the event."
            )),
        }
    }

    fn to_json<R: std::io::Read>(&self, player: &Player<R>, view: &View) -> Value {
        let start = player.start();
        json!({
            "release": start.release,
            "cluster": start.fence.cluster,
            "term": start.fence.term,
            "node_id": start.node,
            "began_ms": self.began.wall,
            "took_ms": meshos_protocol::time::millis(self.ended.mono.since(self.began.mono)),
            "events": self.steps,
            "kinds": self.kinds,
            "first_difference": self.differs,
            "full": player.is_full(),
            "whole": view.deposed,
            "nodes": view.agents.iter().count(),
            "frameworks": view.frameworks.iter().count(),
            "tasks": view.tasks.iter().count(),
            "offers": view.offers.iter().count(),
        })
    }
}

/// What a leader holds, in words.
fn standing(view: &View) -> String {
    if view.deposed {
        return "it led no more".to_owned();
    }
    format!(
        "there were {}, {}, {} that had not ended and {}",
        count(view.agents.iter().count(), "node"),
        count(view.frameworks.iter().count(), "framework"),
        count(view.tasks.iter().count(), "task"),
        count(view.offers.iter().count(), "open offer"),
    )
}

fn counted(number: u64, one: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), one)
}

fn elapsed(duration: Duration) -> String {
    format!("{}.{:03} s", duration.as_secs(), duration.subsec_millis())
}

/// What kind of event it is: of those that bring a message, what kind of message.
fn kind(event: &Event) -> String {
    match event {
        Event::AgentMessage { message, .. } => format!("AgentMessage {}", name_of(message)),
        Event::Call { frame, .. } => format!("Call {}", name_of(&frame.call)),
        Event::Applied { entry, .. } => format!("Applied {}", name_of(&entry.command)),
        Event::Operator { call, .. } => format!("Operator {}", name_of(call)),
        event => name_of(event),
    }
}

/// Whether the master looked at its deadlines and found nothing to do, as it does all the time.
fn is_quiet(played: &Played) -> bool {
    matches!(played.step.event, Event::Tick) && played.effects.is_empty() && played.same
}

/// The name of an enum's variant.
fn name_of(value: &impl Debug) -> String {
    let mut name = Name(String::new());
    // It stops early by an error: a message may be megabytes long.
    let _stopped = write!(name, "{value:?}");
    name.0
}

/// Takes the letters and digits that a text begins with.
struct Name(String);

impl fmt::Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.find(|letter: char| !letter.is_alphanumeric());
        self.0.push_str(&text[..end.unwrap_or(text.len())]);
        if end.is_some() { Err(fmt::Error) } else { Ok(()) }
    }
}

fn in_one_line(played: &Played, began: Mono) -> String {
    let Played { number, step, effects, same } = played;
    let at = elapsed(step.now.mono.since(began));
    let led_to = match effects.len() {
        0 => String::new(),
        _ => format!(": {}", tally(effects)),
    };
    let mark = if *same { "" } else { " (not as it was recorded)" };
    format!("{number} {at} {}{led_to}{mark}", kind(&step.event))
}

/// How many of each kind there are, in the order of the first of each.
fn tally(effects: &[impl Debug]) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for effect in effects {
        let name = name_of(effect);
        match kinds.iter_mut().find(|(kind, _)| *kind == name) {
            Some((_, number)) => *number += 1,
            None => kinds.push((name, 1)),
        }
    }
    let words = kinds.into_iter().map(|(kind, number)| match number {
        1 => kind,
        number => format!("{kind} x{number}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn in_full(played: &Played, began: Mono) -> Result<()> {
    output::line(&in_one_line(played, began))?;
    output::line(&format!("{:#?}", played.step.event))?;
    for effect in &played.effects {
        output::line(&format!("-> {effect:#?}"))?;
    }
    Ok(())
}
