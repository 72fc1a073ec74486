//! How many clusters may run at a time.

use std::sync::{Condvar, Mutex, PoisonError};

/// Clusters at a time; more would only make each other slow.
const SLOTS: usize = 2;

static FREE: Mutex<usize> = Mutex::new(SLOTS);
static FREED: Condvar = Condvar::new();

/// The permission to run a cluster; given back when dropped.
#[derive(Debug)]
pub struct Slot(());

impl Slot {
    /// Waits for a slot.
    #[must_use]
    pub fn take() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            FREED.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        FREED.notify_one();
    }
}
