//! Whether a client that is behind takes anything at all.

use std::time::Duration;

use tokio::time::Instant;

/// How long nothing may be taken of what waits.
pub(super) const STALLED_LIMIT: Duration = Duration::from_secs(60);

/// How much a client has taken, and since when that is so.
#[derive(Debug)]
pub(super) struct Progress {
    bytes_taken: u64,
    since: Instant,
}

/// The client has taken nothing for too long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stalled;

impl Progress {
    pub(super) fn new(now: Instant) -> Self {
        Self { bytes_taken: 0, since: now }
    }

    /// Compares with what was taken when it was looked at last. Who is not behind need not take anything.
    pub(super) fn check(
        &mut self,
        bytes_taken: u64,
        is_behind: bool,
        now: Instant,
    ) -> Result<(), Stalled> {
        if bytes_taken != self.bytes_taken || !is_behind {
            *self = Self { bytes_taken, since: now };
        }
        if now >= self.give_up_at() { Err(Stalled) } else { Ok(()) }
    }

    /// When to look again at the latest.
    pub(super) fn give_up_at(&self) -> Instant {
        self.since + STALLED_LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_takes_nothing_of_what_waits_is_given_up() {
        let mut now = Instant::now();
        let mut progress = Progress::new(now);
        let step = STALLED_LIMIT * 2 / 3;
        for _ in 0..5 {
            now += step;
            assert_eq!(progress.check(0, false, now), Ok(()), "nothing waits");
        }
        // However long much waits, and however little is taken at a time.
        for bytes_taken in 1..20 {
            now += step;
            assert_eq!(progress.check(bytes_taken, true, now), Ok(()), "something is taken");
        }
        now += step;
        assert_eq!(progress.check(19, true, now), Ok(()), "for a while nothing need be");
        now = progress.give_up_at();
        assert_eq!(progress.check(19, true, now), Err(Stalled));
    }
}
