//! CPU time of processes, from `/proc`.
//!
//! A process's own user and system time and that of the children it has waited for (proc(5), `stat`, fields 14 to 17).
//! Summed over all live processes of a tree nothing is counted twice: a child is either alive, and counted itself, or was
//! waited for, and is in its parent's sums. A child that detached and was adopted elsewhere must be named as a root.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail};

/// Ticks per second of the times in `/proc` (`USER_HZ`), which Linux keeps at 100 for every user-space ABI we build for.
const TICKS_PER_S: u64 = 100;

/// What one line of `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessTimes {
    /// The parent's process id.
    pub parent: u32,
    /// CPU time of the process itself, all threads.
    pub own: Duration,
    /// CPU time of the children it has waited for, and of theirs.
    pub reaped: Duration,
}

/// Parses `/proc/PID/stat`. The command's name stands in parentheses and may itself hold spaces and parentheses.
///
/// # Errors
/// When a field is missing or no number.
pub fn parse_stat(line: &str) -> anyhow::Result<ProcessTimes> {
    let (_, rest) = line.rsplit_once(')').context("no command name in parentheses")?;
    // Field 3 (the state) is the first after the name.
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |field: usize| -> anyhow::Result<u64> {
        let text = fields.get(field - 3).with_context(|| format!("field {field} is missing"))?;
        // Times of waited-for children are signed in the format, and never negative.
        text.parse().with_context(|| format!("field {field} is `{text}`, not a number"))
    };
    let ticks = |ticks: u64| Duration::from_millis(ticks * (1_000 / TICKS_PER_S));
    Ok(ProcessTimes {
        parent: u32::try_from(number(4)?).context("field 4 is no process id")?,
        own: ticks(number(14)? + number(15)?),
        reaped: ticks(number(16)? + number(17)?),
    })
}

/// The times of one process.
///
/// # Errors
/// When there is no such process or its line is not understood.
pub fn of_process(pid: u32) -> anyhow::Result<ProcessTimes> {
    let path = format!("/proc/{pid}/stat");
    let line = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_stat(&line).with_context(|| format!("cannot understand {path}"))
}

/// The CPU time so far of the trees under `roots`, in steps of 10 ms.
///
/// # Errors
/// When `/proc` cannot be read or a root is not alive. Processes that end while we look are left out.
pub fn of_trees(roots: &[u32]) -> anyhow::Result<Duration> {
    let everyone = all_processes()?;
    for root in roots {
        if !everyone.contains_key(root) {
            bail!("process {root} is not alive");
        }
    }
    let tree = descendants(&everyone, roots);
    Ok(tree.iter().filter_map(|pid| everyone.get(pid)).map(|times| times.own + times.reaped).sum())
}

fn all_processes() -> anyhow::Result<BTreeMap<u32, ProcessTimes>> {
    let entries = std::fs::read_dir("/proc").context("cannot list /proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(|pid: u32| Some((pid, of_process(pid).ok()?))).collect())
}

/// The roots and everything below them.
fn descendants(everyone: &BTreeMap<u32, ProcessTimes>, roots: &[u32]) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (pid, times) in everyone {
        children.entry(times.parent).or_default().push(*pid);
    }
    let mut found = BTreeSet::new();
    let mut open = roots.to_vec();
    while let Some(pid) = open.pop() {
        if found.insert(pid) {
            open.extend(children.get(&pid).into_iter().flatten());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_is_passed_over() {
        let line = "42 (a (b) c) S 7 42 42 0 -1 4194304 100 0 0 0 12 3 400 50 20 0 1 0 100 0 0";
        let times = parse_stat(line).unwrap();
        assert_eq!(times.parent, 7);
        assert_eq!(times.own, Duration::from_millis(150));
        assert_eq!(times.reaped, Duration::from_millis(4_500));
    }

    #[test]
    fn short_and_garbled_lines_are_errors() {
        assert!(parse_stat("42 (sh) S 7").is_err());
        assert!(parse_stat("nothing").is_err());
        assert!(parse_stat("42 (sh) S 7 42 42 0 -1 4194304 100 0 0 0 x 3 400 50 20").is_err());
    }

    #[test]
    fn descendants_are_found_through_all_levels_and_each_once() {
        let zero = |parent| ProcessTimes { parent, own: Duration::ZERO, reaped: Duration::ZERO };
        let everyone =
            BTreeMap::from([(1, zero(0)), (5, zero(1)), (6, zero(5)), (7, zero(6)), (9, zero(1))]);
        assert_eq!(descendants(&everyone, &[5, 6]), BTreeSet::from([5, 6, 7]));
    }

    #[test]
    fn work_of_a_reaped_grandchild_is_in_the_tree_of_its_grandparent() {
        // The outer shell waits for an inner one that counts, then waits for its input to end: it is alive, and its
        // child reaped, when it says so.
        let script =
            "sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; echo done; read end";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("every Linux machine has sh");
        let mut answer = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(shell.stdout.take().unwrap()),
            &mut answer,
        )
        .unwrap();
        let times = of_process(shell.id()).unwrap();
        let tree = of_trees(&[shell.id()]).unwrap();
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(answer, "done\n");
        assert!(times.reaped > times.own, "{times:?}");
        assert!(tree >= times.reaped, "{tree:?} {times:?}");
        assert!(of_trees(&[shell.id()]).is_err(), "a dead root must be an error, not zero");
    }
}
