//! Memory that many requests share: each takes what it may need before it uses it.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted as one.
const UNIT: usize = 1 << 10;
/// How long somebody waits until there is room.
const WAIT: Duration = Duration::from_secs(5);

/// So much memory and no more.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<Semaphore>);

/// A part of it, given back when dropped.
#[derive(Debug)]
pub(crate) struct Held(OwnedSemaphorePermit);

impl Room {
    /// So many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT)))
    }

    /// Takes a part, in the order in which it was asked for; nothing when there is no room within a few
    /// seconds.
    pub(crate) async fn take(&self, bytes: usize) -> Option<Held> {
        let taken = Arc::clone(&self.0).acquire_many_owned(units(bytes));
        let taken = tokio::time::timeout(WAIT, taken).await.ok()?;
        taken.ok().map(Held)
    }
}

impl Held {
    /// Gives back what is not needed of it.
    pub(crate) fn keep(&mut self, bytes: usize) {
        let surplus = self.0.num_permits().saturating_sub(units_kept(bytes));
        // Dropped, and so given back.
        drop(self.0.split(surplus));
    }
}

fn units_kept(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}

fn units(bytes: usize) -> u32 {
    u32::try_from(units_kept(bytes)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_held_is_bounded_and_comes_back() {
        let room = Room::new(10 * UNIT);
        let mut large = room.take(8 * UNIT).await.unwrap();
        let small = room.take(1).await.unwrap();
        assert!(room.take(2 * UNIT).now_or_never().is_none(), "one unit is left");
        large.keep(UNIT + 1);
        let second = room.take(7 * UNIT).await.unwrap();
        assert!(room.take(1).now_or_never().is_none());
        drop((small, second, large));
        assert!(room.take(10 * UNIT).await.is_some());
    }
}
