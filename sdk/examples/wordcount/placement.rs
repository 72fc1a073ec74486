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

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(places: &[Option<&str>]) -> Queue {
        let waiting = places.iter().enumerate().map(|(text, place)| {
            let place = place.map(str::to_owned);
            Waiting { text, place, failures: 0 }
        });
        Queue::new(waiting, Duration::from_secs(3))
    }

    fn run(choice: Choice) -> (usize, bool) {
        let Choice::Run(task, local) = choice else { panic!("{choice:?}") };
        (task.text, local)
    }

    #[test]
    fn a_task_waits_for_its_place_and_takes_any_when_the_delay_is_over() {
        let mut queue = queue(&[Some("rack-1"), Some("rack-1"), Some("rack-2")]);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(run(queue.choose(start, Some("rack-2"))), (2, true));
        assert_eq!(queue.choose(start, Some("rack-2")), Choice::Hold(Duration::from_secs(3)));
        assert_eq!(queue.choose(after(2), None), Choice::Hold(Duration::from_secs(1)));
        assert_eq!(run(queue.choose(after(3), Some("rack-2"))), (0, false));
        // The good offer comes; the next that waits has its own delay.
        queue.push(Waiting { text: 5, place: Some("rack-3".to_owned()), failures: 1 });
        assert_eq!(run(queue.choose(after(4), Some("rack-1"))), (1, true));
        assert_eq!(queue.choose(after(5), None), Choice::Hold(Duration::from_secs(3)));
        assert_eq!(run(queue.choose(after(8), None)), (5, false));
        assert!(queue.is_empty());
        assert_eq!(queue.choose(after(9), Some("rack-1")), Choice::Nothing);
    }

    #[test]
    fn a_text_that_lies_nowhere_is_read_anywhere() {
        let mut queue = queue(&[Some("rack-1"), None]);
        assert_eq!(run(queue.choose(Instant::now(), Some("rack-2"))), (1, true));
    }
}
