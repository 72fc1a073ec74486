//! When this node may act as the leader, and when no more.
//!
//! Openraft's own state does not say: a leader that is cut off stays "leader" for as long as it is
//! alone. Here leadership counts only while a majority has acknowledged a request that was sent
//! within the lease. Voters do not elect another leader for longer than that after they received
//! the request, so two leaders never both think that they may act.
//!
//! A term is led once. When leadership was given and the lease ended, the term is *spent*: if the
//! majority comes back before another leader was elected, this one hands over to the next term
//! (to another voter, since a leader cannot campaign), because what the deposed one still had in
//! hand carries the spent term and must be refused everywhere.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use meshos_protocol::ids::Term;
use openraft::{
    Instant as _, ServerState, async_runtime::watch::WatchReceiver as _, errors::Fatal,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Health, Leadership, Led, Timing,
    config::{Membership, TypeConfig},
    releases::Releases,
    serve::Raft,
    store::{Failure, LogStore},
};

type Metrics = openraft::RaftMetrics<TypeConfig>;

/// Until when this node may act, were it not for spent terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lease {
    /// It may not.
    None,
    /// A majority acknowledged; ends then unless it does so again.
    Until(Instant),
    /// It is the only voter.
    Endless,
}

/// Asks and tells about leadership; shared by the group and its supervisor.
pub(super) struct Tracker {
    own: u64,
    lease: Duration,
    raft: Raft,
    releases: Arc<Releases>,
    /// Why the registry did not take something, once that has happened.
    not_taken: Arc<OnceLock<String>>,
    /// All terms up to this one are over for this node.
    spent: AtomicU64,
    changed: Notify,
    leadership: watch::Sender<Leadership>,
    health: watch::Sender<Health>,
}

impl Tracker {
    pub(super) fn new(
        own: u64,
        timing: Timing,
        raft: Raft,
        releases: Arc<Releases>,
        not_taken: Arc<OnceLock<String>>,
    ) -> Self {
        Self {
            own,
            releases,
            not_taken,
            lease: timing.lease(),
            raft,
            spent: AtomicU64::new(0),
            changed: Notify::new(),
            leadership: watch::Sender::new(Leadership::default()),
            health: watch::Sender::new(Health::Running),
        }
    }

    pub(super) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// How much of the lease is left. Asks the clock, so it is right even when the supervisor
    /// did not get to run.
    pub(super) fn lease_remaining(&self) -> Option<Duration> {
        let led = self.leadership.borrow().led?;
        if self.is_spent(led.term) || *self.health.borrow() != Health::Running {
            return None;
        }
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.current_term != led.term.0 {
            return None;
        }
        match self.lease_of(&metrics) {
            Lease::None => None,
            Lease::Endless => Some(self.lease),
            Lease::Until(end) => {
                end.checked_duration_since(Instant::now()).filter(|d| !d.is_zero())
            }
        }
    }

    /// Gives `term` up for good, at once.
    pub(super) fn spend(&self, term: Term) {
        self.spent.fetch_max(term.0, Ordering::SeqCst);
        self.leadership.send_if_modified(|leadership| {
            let leading = leadership.led.is_some_and(|led| led.term <= term);
            if leading {
                leadership.led = None;
                leadership.leader = None;
            }
            leading
        });
        self.changed.notify_one();
    }

    fn is_spent(&self, term: Term) -> bool {
        term.0 <= self.spent.load(Ordering::SeqCst)
    }

    fn lease_of(&self, metrics: &Metrics) -> Lease {
        let membership = metrics.membership_config.membership();
        let is_voter = membership.voter_ids().any(|voter| voter == self.own);
        if metrics.state != ServerState::Leader || !is_voter {
            return Lease::None;
        }
        if membership.voter_ids().count() == 1 {
            return Lease::Endless;
        }
        let age = metrics.last_quorum_acked.map(|acked| acked.elapsed());
        match age.and_then(|age| self.lease.checked_sub(age)) {
            Some(left) if !left.is_zero() => Lease::Until(Instant::now() + left),
            Some(_) | None => Lease::None,
        }
    }

    /// Publishes what `metrics` mean now; returns when to look again if nothing changes before.
    fn evaluate(&self, metrics: &Metrics) -> Option<Instant> {
        let lease = self.lease_of(metrics);
        let term = Term(metrics.current_term);
        let before = self.leadership.borrow().led;
        if let Some(before) = before
            && (lease == Lease::None || before.term != term)
        {
            tracing::warn!(term = before.term.0, "no longer the leader");
            self.releases.forget();
            self.spend(before.term);
        }
        let silence = self.releases.publish(&metrics.membership_config);
        // The first entry of its own term: with it, everything from before is applied too.
        let applied = metrics.last_applied.filter(|applied| applied.leader_id.term == term.0);
        let led = match (lease, applied) {
            (Lease::None, _) | (_, None) => None,
            (_, Some(_)) if self.is_spent(term) => None,
            (_, Some(applied)) => Some(Led { term, applied_index: applied.index }),
        };
        let own_and_over = metrics.current_leader == Some(self.own) && self.is_spent(term);
        let leader = metrics.current_leader.filter(|_| !own_and_over).and_then(|raft_id| {
            let member = metrics.membership_config.get_node(&raft_id)?;
            Some(member.voter(raft_id))
        });
        self.leadership.send_if_modified(|now| {
            // The index at which leadership began stays as it was first told.
            let led = match (now.led, led) {
                (Some(old), Some(new)) if old.term == new.term => Some(old),
                (_, new) => new,
            };
            let next = Leadership { term, leader, led };
            let modified = *now != next;
            if modified {
                if let (None, Some(led)) = (now.led, next.led) {
                    tracing::info!(term = led.term.0, index = led.applied_index, "leading");
                }
                *now = next;
            }
            modified
        });
        let end = match lease {
            Lease::Until(end) => Some(end),
            Lease::None | Lease::Endless => None,
        };
        end.into_iter().chain(silence).min()
    }

    /// The voter to hand a spent term to: the one whose log is the fullest.
    fn successor(&self, metrics: &Metrics) -> Option<u64> {
        let spent = self.is_spent(Term(metrics.current_term));
        if !spent || !matches!(self.lease_of(metrics), Lease::Until(_)) {
            return None;
        }
        let replication = metrics.replication.as_ref()?;
        let voters = metrics.membership_config.membership().voter_ids();
        voters
            .filter(|voter| *voter != self.own)
            .max_by_key(|voter| replication.get(voter).copied().flatten())
    }

    fn health_of(&self, fatal: &Fatal<TypeConfig>) -> Health {
        let stopped = || Health::Stopped(fatal.to_string());
        self.not_taken.get().cloned().map_or_else(stopped, Health::NotTaken)
    }

    fn stop(&self, health: Health) {
        self.spend(Term(u64::MAX));
        self.health.send_if_modified(|now| {
            let first = *now == Health::Running;
            if first {
                *now = health;
            }
            first
        });
    }
}

/// Runs until `cancel` or until raft ends, then closes the log.
pub(super) async fn supervise(
    tracker: Arc<Tracker>,
    store: LogStore,
    mut failure: watch::Receiver<Option<Failure>>,
    cancel: CancellationToken,
    retry: Duration,
) {
    let mut metrics = tracker.raft.metrics();
    let mut releases = tracker.releases.changes();
    let mut handed_over = None;
    let health = loop {
        let current = metrics.borrow_and_update().clone();
        if let Some(failure) = failure.borrow().clone() {
            break Health::StorageFailed { file: failure.file, error: failure.error };
        }
        if let Err(fatal) = &current.running_state {
            break tracker.health_of(fatal);
        }
        let mut wake = tracker.evaluate(&current);
        if let Some(successor) = tracker.successor(&current) {
            let now = Instant::now();
            let next = handed_over.map_or(now, |at: Instant| at + retry);
            if now >= next {
                handed_over = Some(now);
                tracing::info!(term = current.current_term, successor, "handing over a spent term");
                // It fails only when raft has ended, which the next round sees.
                drop(tracker.raft.trigger().transfer_leader(successor).await);
            }
            wake = Some(wake.map_or(next, |wake| wake.min(next.max(now + retry))));
        }
        tokio::select! {
            () = cancel.cancelled() => break Health::Stopped("shut down".to_owned()),
            changed = metrics.changed() => if changed.is_err() {
                break Health::Stopped("raft ended without saying why".to_owned());
            },
            _ = failure.changed() => {}
            // Its sender lives as long as the tracker.
            _ = releases.changed() => {}
            () = tracker.changed.notified() => {}
            () = sleep_until(wake) => {}
        }
    };
    if let Health::Stopped(reason) = &health {
        tracing::info!(%reason, "raft stops");
    }
    tracker.stop(health);
    // The error would say that the task had panicked; it is gone in any case.
    drop(tracker.raft.shutdown().await);
    store.close().await;
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

/// Whether a change of voters was begun and not ended.
pub(super) fn is_joint(membership: &Membership) -> bool {
    membership.get_joint_config().len() > 1
}
