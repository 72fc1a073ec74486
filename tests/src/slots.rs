//! How many clusters may run at a time, and for how long each.

use std::{
    process,
    sync::{
        Condvar, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use crate::wait::say;

/// Clusters at a time; more would only make each other slow.
const SLOTS: usize = 2;
static FREE: Mutex<usize> = Mutex::new(SLOTS);
static FREED: Condvar = Condvar::new();

/// The permission to run a cluster; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    /// Its end tells the watchdog that all is well.
    _alive: Sender<()>,
}

impl Slot {
    /// How long one test may hold a slot: several times what the longest takes on a busy machine.
    pub const LIMIT: Duration = Duration::from_mins(10);

    /// Waits for a slot.
    #[must_use]
    pub fn take() -> Self {
        Self::take_for(Self::LIMIT)
    }

    /// The same for something that may take so long.
    #[must_use]
    pub fn take_for(limit: Duration) -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            FREED.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self { _alive: watchdog(limit) }
    }
}

/// Ends the process, by name of the test, when what is returned outlives `limit`: a test that hangs must fail, and the
/// harness has no limit of its own. The processes that the tests have started die with it.
fn watchdog(limit: Duration) -> Sender<()> {
    let (alive, ended) = channel();
    let test = thread::current().name().unwrap_or("a test").to_owned();
    thread::spawn(move || {
        if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            say(format_args!("{test} has not ended within {limit:?}: it hangs"));
            process::abort();
        }
    });
    alive
}

impl Drop for Slot {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        FREED.notify_one();
    }
}
