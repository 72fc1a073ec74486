//! The one place where the shell reads clocks for the pure cores.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use meshos_protocol::time::{Mono, Now, Wall, millis};

/// Milliseconds since the process started, and the wall clock beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at zero.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Both clocks, now.
    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now { mono: Mono(millis(self.start.elapsed())), wall: Wall(millis(wall)) }
    }

    /// When a core's deadline is, for a timer. One millisecond late rather than early, since the
    /// cores count whole milliseconds.
    pub(crate) fn instant(&self, deadline: Mono) -> tokio::time::Instant {
        let after = Duration::from_millis(deadline.0.saturating_add(1));
        tokio::time::Instant::from_std(self.start + after)
    }
}
