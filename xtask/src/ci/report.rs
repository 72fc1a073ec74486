//! Runs named steps one after the other, and says of each its name, how long it took and how it ended.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::cmd;

/// How a step that did not fail ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Everything held; a note such as a count may follow.
    Passed(String),
    /// Nothing was checked, for the reason given.
    Skipped(String),
}

/// One step: its name and what it does.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) run: fn() -> anyhow::Result<Verdict>,
}

#[derive(Debug)]
struct Done {
    name: &'static str,
    took: Duration,
    verdict: String,
}

/// Runs the steps in order, prints the summary, and fails with the first step that failed.
pub(super) fn run_all(steps: &[Step]) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut done = Vec::new();
    let mut failure = None;
    for (index, step) in steps.iter().enumerate() {
        cmd::say(format_args!("\n==> [{}/{}] {}", index + 1, steps.len(), step.name));
        let step_start = Instant::now();
        let outcome = (step.run)();
        let took = step_start.elapsed();
        let verdict = shown(&outcome);
        cmd::say(format_args!("<== {}: {verdict} in {}", step.name, seconds(took)));
        done.push(Done { name: step.name, took, verdict });
        if let Err(error) = outcome {
            failure = Some((step.name, error));
            break;
        }
    }
    cmd::say(summary(&done, steps.len(), start.elapsed()));
    match failure {
        Some((name, error)) => bail!(error.context(format!("ci stopped at step \"{name}\""))),
        None => Ok(()),
    }
}

fn shown(outcome: &anyhow::Result<Verdict>) -> String {
    match outcome {
        Ok(Verdict::Passed(note)) if note.is_empty() => "ok".to_owned(),
        Ok(Verdict::Passed(note)) => format!("ok ({note})"),
        Ok(Verdict::Skipped(reason)) => format!("skipped ({reason})"),
        Err(_) => "FAILED".to_owned(),
    }
}

fn summary(done: &[Done], steps: usize, total: Duration) -> String {
    let mut text = "\nci summary".to_owned();
    for step in done {
        write!(text, "\n  {:<12} {:>9}  {}", step.name, seconds(step.took), step.verdict)
            .expect("writing to a String cannot fail");
    }
    if done.len() < steps {
        write!(text, "\n  {} steps not run", steps - done.len())
            .expect("writing to a String cannot fail");
    }
    write!(text, "\n  {:<12} {:>9}", "total", seconds(total))
        .expect("writing to a String cannot fail");
    text
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn the_first_failure_stops_the_run_and_is_named() {
        static AFTER: AtomicU32 = AtomicU32::new(0);
        let steps = [
            Step { name: "one", run: || Ok(Verdict::Passed(String::new())) },
            Step { name: "two", run: || bail!("it broke") },
            Step {
                name: "three",
                run: || {
                    AFTER.fetch_add(1, Ordering::Relaxed);
                    Ok(Verdict::Passed(String::new()))
                },
            },
        ];
        let error = run_all(&steps).unwrap_err();
        assert_eq!(format!("{error:#}"), "ci stopped at step \"two\": it broke");
        assert_eq!(AFTER.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_summary_names_every_step_its_time_and_what_was_not_run() {
        let took = Duration::from_millis(1_250);
        let done = [
            Done { name: "fmt", took, verdict: shown(&Ok(Verdict::Passed("3 files".to_owned()))) },
            Done {
                name: "deny",
                took,
                verdict: shown(&Ok(Verdict::Skipped("not installed".to_owned()))),
            },
        ];
        let text = summary(&done, 3, Duration::from_secs(60));
        let lines: Vec<_> = text
            .lines()
            .skip(2)
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "fmt 1.2 s ok (3 files)",
                "deny 1.2 s skipped (not installed)",
                "1 steps not run",
                "total 60.0 s"
            ]
        );
    }
}
