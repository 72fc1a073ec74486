//! Which connections may be idle. Clients of Mesos's API keep one for their calls, on which nothing may be said for hours, and
//! take it for a failure when it is closed meanwhile: Mesos never does that. Strangers must not take places that long.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use warp::http::StatusCode;

use super::gate::is_open;
use crate::driver::agent::Credential;

/// How long a connection may be idle, or its next head may take, on which something was answered that is not for everybody.
pub(super) const KNOWN_IDLE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Who was answered something that is not for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Who {
    /// What it showed, or whose process it is; none where everybody may call.
    pub credential: Option<Credential>,
    /// Whether it spoke for an executor.
    pub executor: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    /// Requests whose answers are not sent.
    pub under_way: usize,
    /// Nobody knows a stranger.
    pub who: Option<Who>,
    /// As which executor it was let in last, before anything was answered.
    pub admitted: Option<Who>,
    /// When the last answer was sent, or the connection was opened.
    pub since: Instant,
}

impl State {
    /// As whose the connection is counted.
    pub(super) fn whose(&self) -> Option<Who> {
        self.admitted.or(self.who)
    }
}

/// What is known of one connection.
#[derive(Debug, Clone)]
pub(super) struct Connection(Arc<Known>);

#[derive(Debug)]
struct Known {
    state: Mutex<State>,
    cut: CancellationToken,
}

/// A request that is under way, until its answer is sent or given up.
#[derive(Debug)]
pub(super) struct UnderWay(Connection);

impl Connection {
    /// A stranger.
    pub(super) fn new() -> Self {
        let state = State { under_way: 0, who: None, admitted: None, since: Instant::now() };
        Self(Arc::new(Known { state: Mutex::new(state), cut: CancellationToken::new() }))
    }

    /// Who is at the other end, and since when it is idle.
    pub(super) fn now(&self) -> State {
        *self.state()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has it closed, whatever is on its way.
    pub(super) fn cut(&self) {
        self.0.cut.cancel();
    }

    /// Waits until it is to be closed.
    pub(super) async fn is_cut(&self) {
        self.0.cut.cancelled().await;
    }

    /// Somebody may speak for an executor, and is counted as this one. Idle it is a stranger all the same until it was answered.
    pub(super) fn admitted(&self, counted: Credential) {
        self.state().admitted = Some(Who { credential: Some(counted), executor: true });
    }

    /// A request has come.
    pub(super) fn asks(&self) -> UnderWay {
        self.state().under_way += 1;
        UnderWay(self.clone())
    }

    /// Waits until a stranger has been idle for so long; for whoever is known, for ever.
    pub(super) async fn is_idle(&self, limit: Duration) {
        loop {
            let State { under_way, who, since, admitted: _ } = self.now();
            if who.is_some() {
                return std::future::pending().await;
            }
            let end = if under_way > 0 { Instant::now() + limit } else { since + limit };
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

impl UnderWay {
    /// The request is answered, and the answer is yet to be sent.
    pub(super) fn answered(&self, path: &str, status: StatusCode, who: Who) {
        if !is_open(path) && status.as_u16() < 400 {
            self.0.state().who = Some(who);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way = state.under_way.saturating_sub(1);
        state.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    async fn is_idle_within(connection: &Connection, limit: Duration) -> bool {
        tokio::time::timeout(limit, connection.is_idle(LIMIT)).await.is_ok()
    }

    #[tokio::test]
    async fn strangers_are_idle_after_a_while_and_others_are_not() {
        let stranger = Connection::new();
        let somebody = Who { credential: None, executor: false };
        assert!(is_idle_within(&stranger, LONG).await);
        for (path, status) in [("/health", 200), ("/version", 200), ("/api/nodes", 401)] {
            let asked = stranger.asks();
            assert!(!is_idle_within(&stranger, LIMIT * 3).await, "an answer is under way");
            asked.answered(path, StatusCode::from_u16(status).unwrap(), somebody);
            drop(asked);
            assert!(is_idle_within(&stranger, LONG).await, "{path}");
        }
        // Given up.
        drop(stranger.asks());
        assert!(is_idle_within(&stranger, LONG).await);
        stranger.asks().answered("/state", StatusCode::OK, somebody);
        assert!(!is_idle_within(&stranger, LIMIT * 5).await);
    }
}
