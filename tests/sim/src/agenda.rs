//! What is still to happen, in the order of simulated time.

use std::collections::BTreeMap;

/// Things to come, ordered by time and, at one time, by when they were planned.
#[derive(Debug)]
pub struct Agenda<T> {
    things: BTreeMap<(u64, u64), T>,
    planned: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { things: BTreeMap::new(), planned: 0 }
    }
}

impl<T> Agenda<T> {
    /// Plans something for `at_ms`.
    pub fn plan(&mut self, at_ms: u64, thing: T) {
        self.planned += 1;
        self.things.insert((at_ms, self.planned), thing);
    }

    /// Takes the next thing, unless it is later than `until_ms`.
    pub fn next(&mut self, until_ms: u64) -> Option<(u64, T)> {
        let entry = self.things.first_entry()?;
        let at_ms = entry.key().0;
        if at_ms > until_ms {
            return None;
        }
        Some((at_ms, entry.remove()))
    }
}
