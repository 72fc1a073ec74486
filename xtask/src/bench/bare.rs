//! The yardstick for launches: a bare loop of fork, exec and wait, with nothing around it.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::figures::{Figures, milliseconds};
use super::{Bench, cpu};

/// `cargo xtask bench bare`.
pub const BENCH: Bench = Bench {
    name: "bare",
    about: "CPU time and rate of a bare fork, exec, wait loop over `true`",
    run: bench,
};

const TASKS: u32 = 2_000;

fn bench() -> anyhow::Result<Figures> {
    let cost = measure(TASKS)?;
    let mut figures = Figures::default();
    figures.add("bare_cpu_ms", milliseconds(cost.cpu_per_task()), "ms")?;
    figures.add("bare_rate_per_s", cost.rate_per_s(), "1/s")?;
    Ok(figures)
}

/// What a loop over a number of tasks cost.
#[derive(Debug, Clone, Copy)]
pub struct LoopCost {
    /// How many tasks ran, one after the other.
    pub tasks: u32,
    /// CPU time of this process and of the tasks.
    pub cpu: Duration,
    /// Wall-clock time of the whole loop.
    pub wall: Duration,
}

impl LoopCost {
    /// CPU time for one task.
    pub fn cpu_per_task(&self) -> Duration {
        self.cpu / self.tasks.max(1)
    }

    /// Tasks per second of wall-clock time.
    pub fn rate_per_s(&self) -> f64 {
        f64::from(self.tasks) / self.wall.as_secs_f64()
    }
}

/// Runs `true` so many times, each waited for before the next.
///
/// # Errors
/// When `true` cannot be started or fails. Other threads of this process must be idle, their time would be counted.
pub fn measure(tasks: u32) -> anyhow::Result<LoopCost> {
    if tasks == 0 {
        bail!("a loop over no tasks measures nothing");
    }
    let own_user = std::os::unix::fs::MetadataExt::uid(
        &std::fs::metadata("/proc/self").context("cannot read /proc/self")?,
    );
    let before = own_cpu()?;
    let start = Instant::now();
    for _ in 0..tasks {
        // Naming a user, be it our own, makes the standard library fork and exec; it would use posix_spawn otherwise.
        let status = Command::new("true")
            .uid(own_user)
            .stdin(Stdio::inherit())
            .status()
            .context("cannot start `true`")?;
        if !status.success() {
            bail!("`true` failed ({status})");
        }
    }
    Ok(LoopCost { tasks, cpu: own_cpu()?.saturating_sub(before), wall: start.elapsed() })
}

fn own_cpu() -> anyhow::Result<Duration> {
    let times = cpu::of_process(std::process::id())?;
    Ok(times.own + times.reaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tasks_cpu_time_is_counted() {
        let cost = measure(200).unwrap();
        assert_eq!(cost.tasks, 200);
        assert!(
            cost.cpu > Duration::ZERO,
            "200 processes cost more than one tick of 10 ms: {cost:?}"
        );
        assert!(cost.rate_per_s() > 0.0);
        assert!(measure(0).is_err());
    }

    #[test]
    fn costs_are_per_task() {
        let cost = LoopCost {
            tasks: 100,
            cpu: Duration::from_millis(85),
            wall: Duration::from_millis(500),
        };
        assert_eq!(cost.cpu_per_task(), Duration::from_micros(850));
        assert!((cost.rate_per_s() - 200.0).abs() < 1e-9);
    }
}
