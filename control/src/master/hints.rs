//! What leaders told a voter of tasks, outside the log: what it would begin with as the next leader.

use std::{collections::BTreeMap, ops::Bound};

use meshos_protocol::{
    ids::{AgentId, Fence, FrameworkId, TaskId, Term},
    messages::{
        agent::TaskHint,
        node::{HintsPlace, Retold},
    },
    task::{Command, CommandLine},
};

use super::validate::text_bytes;

/// Tasks a voter remembers; beyond that new ones are not noted.
const TASKS_MAX: usize = 200_000;
/// Ends of tasks that a voter remembers, the newest: as many as a leader shows.
pub(super) const ENDS_MAX: usize = 1_000;

/// The hints that a voter keeps in memory.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    fence: Option<Fence>,
    /// By agent too: what is told late of a task on one agent says nothing of one of its name on another.
    tasks: BTreeMap<Key, Noted>,
    ends: Ends,
    /// The number of the next hint of the leader under `fence`; absent when some of what it knows was missed.
    next: Option<u64>,
    /// The number of the next hint while all is told again.
    retelling: Option<u64>,
    /// Counts how often that began.
    telling: u64,
}

type Key = (FrameworkId, TaskId, AgentId);

/// A hint, and the telling in which it was told last.
#[derive(Debug, Clone)]
struct Noted {
    hint: TaskHint,
    telling: u64,
}

/// How far [`Hints::page`] is.
#[derive(Debug, Clone, Default)]
pub struct HintsCursor {
    after_end: u64,
    /// Ends that come later are not among the pages.
    last_end: Option<u64>,
    after_task: Option<Key>,
}

/// A part of all that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HintsPage {
    /// Ends first, then live tasks.
    pub hints: Vec<TaskHint>,
    /// Whether nothing follows.
    pub last: bool,
}

fn key_of(hint: &TaskHint) -> Key {
    (hint.framework, hint.task.clone(), hint.agent)
}

impl Hints {
    /// This voter leads from now on. Gives the term of the leader before, if all is known that was told in it.
    pub fn lead(&mut self, fence: Fence) -> Option<Term> {
        let after = self.next.and(self.fence).map(|fence| fence.term);
        self.enter(fence);
        // What it knows is by definition what is to be known.
        self.next = Some(0);
        after
    }

    /// Notes what this voter tells as the leader under `fence`.
    pub fn record(&mut self, fence: Fence, hint: TaskHint) {
        if self.fence == Some(fence) {
            self.note([hint]);
        }
    }

    /// Takes hints that their leader does not count; those of an earlier leader come too late.
    pub fn take(&mut self, fence: Fence, hints: impl IntoIterator<Item = TaskHint>) {
        if self.is_stale(fence) {
            return;
        }
        self.enter(fence);
        self.next = None;
        self.note(hints);
    }

    /// Takes hints that the leader counts. False: some have been missed, so all are to be told again.
    #[must_use]
    pub fn hear(&mut self, fence: Fence, place: HintsPlace, hints: Vec<TaskHint>) -> bool {
        if self.is_stale(fence) {
            return true;
        }
        if self.fence != Some(fence) {
            let same = self.next.and(self.fence).map(|fence| fence.term);
            self.enter(fence);
            // Who knew what the leader knew has missed nothing so far.
            self.next = same.filter(|same| place.after == Some(*same)).map(|_| 0);
        }
        let count = u64::try_from(hints.len()).unwrap_or(u64::MAX);
        let after = place.number.saturating_add(count);
        let Some(page) = place.retold else {
            let fits = self.next == Some(place.number);
            self.note(hints);
            self.next = fits.then_some(after);
            return fits;
        };
        self.take_page(place.number, page, hints, after)
    }

    fn take_page(&mut self, number: u64, page: Retold, hints: Vec<TaskHint>, after: u64) -> bool {
        if page.first {
            self.telling += 1;
            self.next = None;
            self.retelling = Some(number);
        }
        let fits = self.retelling == Some(number);
        self.note(hints);
        self.retelling = fits.then_some(after);
        if fits && page.last {
            self.next = self.retelling.take();
            if page.all {
                let telling = self.telling;
                self.tasks.retain(|_, noted| noted.telling == telling);
            }
        }
        fits
    }

    fn is_stale(&self, fence: Fence) -> bool {
        self.fence.is_some_and(|newest| fence.is_stale(newest))
    }

    fn enter(&mut self, fence: Fence) {
        if self.fence != Some(fence) {
            self.fence = Some(fence);
            self.retelling = None;
        }
    }

    fn note(&mut self, hints: impl IntoIterator<Item = TaskHint>) {
        for hint in hints {
            let key = key_of(&hint);
            if hint.launch.is_none() {
                self.tasks.remove(&key);
                if hint.end.is_some() {
                    self.ends.take(hint);
                }
            } else if self.tasks.len() < TASKS_MAX || self.tasks.contains_key(&key) {
                self.tasks.insert(key, Noted { hint, telling: self.telling });
            }
        }
    }

    /// How the newest ended tasks ended, and then all live ones that leaders told of: a live one may
    /// have the name of one that ended.
    pub fn all(&self) -> Vec<TaskHint> {
        let tasks = self.tasks.values().map(|noted| &noted.hint);
        self.ends.by_age.values().chain(tasks).cloned().collect()
    }

    /// All of it piece by piece, each of at most so many hints and about so many bytes, or one hint. What changes between
    /// two pieces may be missing from both.
    pub fn page(&self, cursor: &mut HintsCursor, count_max: usize, bytes_max: usize) -> HintsPage {
        let mut hints = Vec::new();
        let mut bytes = 0_usize;
        let mut has_room = |hint: &TaskHint, count: usize| {
            bytes = bytes.saturating_add(bytes_of(hint));
            count == 0 || (count < count_max && bytes <= bytes_max)
        };
        let last_end = *cursor.last_end.get_or_insert(self.ends.taken);
        let ends = self.ends.by_age.range((Bound::Excluded(cursor.after_end), Bound::Unbounded));
        for (age, end) in ends.take_while(|(age, _)| **age <= last_end) {
            if !has_room(end, hints.len()) {
                return HintsPage { hints, last: false };
            }
            cursor.after_end = *age;
            hints.push(end.clone());
        }
        let from = cursor.after_task.clone();
        let tasks = from.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        for (key, noted) in self.tasks.range((tasks, Bound::Unbounded)) {
            if !has_room(&noted.hint, hints.len()) {
                return HintsPage { hints, last: false };
            }
            cursor.after_task = Some(key.clone());
            hints.push(noted.hint.clone());
        }
        HintsPage { hints, last: true }
    }

    /// How many live tasks leaders told of.
    pub fn live(&self) -> usize {
        self.tasks.len()
    }
}

/// About how many bytes a hint has on the wire: what may be large is counted, the rest has a bound.
pub fn bytes_of(hint: &TaskHint) -> usize {
    const REST: usize = 512;
    let end = hint.end.as_ref().map_or(0, |end| end.name.len() + end.message.len());
    let launch = hint.launch.as_ref().map_or(0, |launch| {
        let task = &launch.description;
        let executor = task.executor.as_ref();
        let executor = executor
            .map_or(0, |executor| bytes_of_command(&executor.command) + executor.data.len());
        let data = task.name.len() + task.data.len();
        bytes_of_command(&task.command) + executor + bytes_of_texts(&task.labels) + data
    });
    REST + end + launch
}

fn bytes_of_command(command: &Command) -> usize {
    let line = match &command.line {
        CommandLine::Shell { line } => line.len(),
        CommandLine::Exec { program, arguments } => {
            program.len() + arguments.iter().map(|argument| argument.len() + 5).sum::<usize>()
        }
        CommandLine::Unknown => 0,
    };
    let uris = command.uris.iter().map(|uri| uri.value.len() + 64);
    line + bytes_of_texts(&command.environment) + uris.sum::<usize>()
}

/// With what MessagePack adds to each, five bytes for the length of a name and of a value.
fn bytes_of_texts(texts: &BTreeMap<String, String>) -> usize {
    text_bytes(texts) + 10 * texts.len()
}

/// How the newest ended tasks ended; of each task on an agent the last word.
#[derive(Debug, Clone, Default)]
struct Ends {
    by_age: BTreeMap<u64, TaskHint>,
    ages: BTreeMap<Key, u64>,
    taken: u64,
}

impl Ends {
    fn take(&mut self, hint: TaskHint) {
        self.taken += 1;
        let key = key_of(&hint);
        if let Some(earlier) = self.ages.insert(key, self.taken) {
            self.by_age.remove(&earlier);
        }
        self.by_age.insert(self.taken, hint);
        if self.by_age.len() > ENDS_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.ages.remove(&key_of(&oldest));
        }
    }
}
