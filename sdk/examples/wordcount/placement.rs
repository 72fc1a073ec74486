//! Delay scheduling: a map task waits a little for an agent next to its text, because a good offer
//! usually comes soon, and takes any agent when none came (Zaharia et al., EuroSys 2010).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A map task that is not running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Which text.
    pub(crate) text: usize,
    /// Where it is best read.
    pub(crate) place: Option<String>,
    /// How often it failed before.
    pub(crate) failures: u32,
}

/// What to do with an offer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Run this one; whether the agent is next to its text.
    Run(Waiting, bool),
    /// Nothing wants this agent yet: decline it for so long.
    Hold(Duration),
    /// Nothing waits.
    Nothing,
}

/// The tasks that wait, oldest first.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: VecDeque<Waiting>,
    delay: Duration,
    /// Since when offers have been passed over.
    holding_since: Option<Instant>,
}

impl Queue {
    pub(crate) fn new(waiting: impl IntoIterator<Item = Waiting>, delay: Duration) -> Self {
        Self { waiting: waiting.into_iter().collect(), delay, holding_since: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn push(&mut self, task: Waiting) {
        self.waiting.push_back(task);
    }

    /// Chooses for an agent whose place is `place`.
    pub(crate) fn choose(&mut self, now: Instant, place: Option<&str>) -> Choice {
        let suits = |task: &Waiting| task.place.is_none() || task.place.as_deref() == place;
        if let Some(position) = self.waiting.iter().position(suits) {
            self.holding_since = None;
            return self.take(position, true);
        }
        if self.waiting.is_empty() {
            return Choice::Nothing;
        }
        let since = *self.holding_since.get_or_insert(now);
        match self.delay.checked_sub(now.duration_since(since)) {
            Some(left) if !left.is_zero() => Choice::Hold(left),
            _ => self.take(0, false),
        }
    }

    fn take(&mut self, position: usize, local: bool) -> Choice {
        match self.waiting.remove(position) {
            Some(task) => Choice::Run(task, local),
            None => Choice::Nothing,
        }
    }
}
