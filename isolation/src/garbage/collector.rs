//! One round of removing sandboxes: look, decide, remove a bounded amount.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::statvfs::fstatvfs;

use super::bin::Bin;
use super::inventory::{Ended, SandboxName, find};
use super::plan::{Candidate, Rule, WHOLE, plan};

/// How many files and directories are removed in one round; a round takes some tenths of a second at most.
const ENTRIES_MAX: usize = 10_000;
/// Between two rounds while something is left to remove.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// Looking for sandboxes may take at most this part of the time.
const LOOKING_PART: u32 = 200;

/// The file system that the sandboxes are on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk {
    /// Its size.
    pub total_bytes: u64,
    /// How much of it is taken. What is kept back for root counts as free, as in Mesos.
    pub used_bytes: u64,
}

impl Disk {
    /// The part that is taken, in thousandths.
    #[must_use]
    pub fn used(&self) -> u32 {
        let part = u128::from(self.used_bytes) * u128::from(WHOLE);
        let part = part.checked_div(u128::from(self.total_bytes)).unwrap_or(0);
        u32::try_from(part).unwrap_or(WHOLE).min(WHOLE)
    }
}

/// What came of a round.
#[derive(Debug)]
pub struct Round {
    /// The sandboxes that were removed; their files may take some more rounds.
    pub removed: Vec<SandboxName>,
    /// What could not be read or removed; it is tried again.
    pub failures: Vec<(PathBuf, io::Error)>,
    /// The disk before the round.
    pub disk: Disk,
    /// How old a sandbox may be now.
    pub allowed_age: Duration,
    /// How long until the next round.
    pub pause: Duration,
}

/// Removes the sandboxes of ended containers. Its calls are file operations: not for async workers.
#[derive(Debug)]
pub struct Collector {
    sandboxes: PathBuf,
    rule: Rule,
    bin: Option<Bin>,
    /// The oldest first. Whatever ends later is younger, so nothing else is looked for until these are gone.
    oldest: Vec<Ended>,
    /// Looking again would take too much of the time.
    look_after: Option<Instant>,
    entries_max: usize,
}

impl Collector {
    /// For the sandboxes below a directory, which need not exist yet.
    #[must_use]
    pub fn new(sandboxes: &Path, rule: Rule) -> Self {
        Self {
            sandboxes: sandboxes.to_owned(),
            rule,
            bin: None,
            oldest: Vec::new(),
            look_after: None,
            entries_max: ENTRIES_MAX,
        }
    }

    /// Removes what is due. `is_held` says whether a container is being launched, runs, or is not released: its sandbox
    /// is not touched. A container that is not held once is never held again.
    ///
    /// # Errors
    /// When the directory of the sandboxes cannot be used.
    pub fn round(&mut self, now: SystemTime, is_held: &dyn Fn(&str) -> bool) -> io::Result<Round> {
        let bin = match &mut self.bin {
            Some(bin) => bin,
            empty => empty.insert(Bin::open(&self.sandboxes)?),
        };
        let disk = disk(bin)?;
        let mut failures = Vec::new();
        let may_look = self.look_after.is_none_or(|moment| Instant::now() >= moment);
        if self.oldest.is_empty() && may_look {
            let start = Instant::now();
            let found = find(bin.sandboxes(), is_held, now)?;
            failures = found.failures;
            self.oldest = found.oldest.into_sorted_vec();
            self.look_after = Some(Instant::now() + start.elapsed() * LOOKING_PART);
        }
        let candidates: Vec<Candidate> =
            self.oldest.iter().map(|ended| candidate(ended, now, is_held)).collect();
        let planned = plan(&self.rule, disk.used(), &candidates);
        let mut removed = Vec::new();
        for place in &planned.remove {
            let name = &self.oldest[*place].name;
            match bin.take(name) {
                Ok(()) => removed.push(name.clone()),
                Err(error) => failures.push((name.path(), error)),
            }
        }
        let mut place = 0;
        // One that could not be removed is found again by the next look.
        self.oldest.retain(|_| {
            place += 1;
            !planned.remove.contains(&(place - 1))
        });
        let emptied = bin.empty(self.entries_max)?;
        failures.extend(emptied.failures);
        Ok(Round {
            removed,
            failures,
            disk,
            allowed_age: self.rule.allowed_age(disk.used()),
            pause: if emptied.more { BUSY_PAUSE } else { planned.look_again },
        })
    }
}

fn candidate(ended: &Ended, now: SystemTime, is_held: &dyn Fn(&str) -> bool) -> Candidate {
    Candidate {
        age: now.duration_since(ended.at).unwrap_or_default(),
        held: is_held(&ended.name.container),
    }
}

fn disk(bin: &Bin) -> io::Result<Disk> {
    let stat = fstatvfs(bin.sandboxes())?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    let used = stat.blocks().saturating_sub(stat.blocks_free());
    Ok(Disk { total_bytes: bytes(stat.blocks()), used_bytes: bytes(used) })
}

#[cfg(test)]
mod tests;
