//! The handle to this node's part of the group.

use std::{
    fmt,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use meshos_protocol::ids::{NodeId, Term};
use openraft::{
    alias::ResponderOf,
    async_runtime::watch::WatchReceiver as _,
    errors::{ClientWriteError, Fatal, InitializeError, RaftError},
    raft::ClientWriteResult,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Applied, COMMAND_BYTES_MAX, ChangeError, HandleError, Health, Leadership, OpenError, Options,
    ProposeError, RaftNetwork, RegistryMachine, Status, Timing, VOTERS_MAX, Voter, VoterRole,
    VoterStatus,
    apply::Applier,
    client::Client,
    config::{Command, Member, TypeConfig, log_id, openraft_config},
    releases::Releases,
    serve::{Raft, Server},
    snapshot::SnapshotStore,
    store::{Failure, LOG_FILE, LogFile, LogStore, Stored},
    tracker::{Tracker, supervise},
};

type WriteResponder = ResponderOf<TypeConfig, ClientWriteResult<TypeConfig>>;

/// This node's part of the raft group; cheap to clone.
///
/// When the last clone is dropped the group shuts down by itself; [`shutdown`](Self::shutdown)
/// also waits until the files are closed.
#[derive(Clone)]
pub struct RaftGroup {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) own: Voter,
    pub(super) raft: Raft,
    pub(super) timing: Timing,
    pub(super) tracker: Arc<Tracker>,
    pub(super) releases: Arc<Releases>,
    /// One change of the group at a time.
    pub(super) changes: tokio::sync::Mutex<()>,
    server: Server,
    leadership: watch::Receiver<Leadership>,
    health: watch::Receiver<Health>,
    closed: watch::Receiver<bool>,
    cancel: CancellationToken,
    had_state: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl fmt::Debug for RaftGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftGroup")
            .field("own", &self.inner.own)
            .field("leadership", &*self.inner.leadership.borrow())
            .finish_non_exhaustive()
    }
}

impl RaftGroup {
    /// Opens the log in the data directory, makes the registry current from its snapshot and the
    /// committed entries, and takes part in the group, if the log knows one.
    ///
    /// # Errors
    /// When the files cannot be used, or the registry does not take its own snapshot.
    pub async fn open(
        options: Options,
        machine: impl RegistryMachine,
        network: Arc<dyn RaftNetwork>,
    ) -> Result<Self, OpenError> {
        let files = {
            let Options { data_dir, raft_id, .. } = options.clone();
            tokio::task::spawn_blocking(move || Files::open(&data_dir, raft_id))
                .await
                .map_err(|error| OpenError::Options(error.to_string()))??
        };
        Self::assemble(options, files, Box::new(machine), network).await
    }

    pub(super) async fn assemble(
        options: Options,
        files: Files,
        machine: Box<dyn RegistryMachine>,
        network: Arc<dyn RaftNetwork>,
    ) -> Result<Self, OpenError> {
        let Options {
            data_dir,
            raft_id,
            node_id,
            address,
            timing,
            release,
            snapshot_every_entries,
        } = options;
        let Files { file, stored, snapshots, failure } = files;
        let config = Arc::new(openraft_config(timing, snapshot_every_entries)?);
        let log_path = data_dir.join(LOG_FILE);
        let had_state = !stored.is_pristine() || snapshots.meta().is_some();
        let store = LogStore::start(file, &stored, failure.clone())
            .map_err(|source| OpenError::Io { file: log_path.clone(), source })?;
        let not_taken = Arc::new(OnceLock::new());
        let releases = Arc::new(Releases::new(raft_id, release.clone(), timing));
        let applier = Applier::new(
            machine,
            Arc::new(snapshots),
            Arc::clone(&not_taken),
            Arc::clone(&releases),
        );
        let client = Client::new(raft_id, network, timing, Arc::clone(&releases));
        let built = Raft::build(raft_id, config, client, store.clone(), applier).await;
        let raft = match built {
            Ok(raft) => raft,
            Err(fatal) => {
                store.close().await;
                return Err(match not_taken.get() {
                    Some(reason) => OpenError::Restore(String::clone(reason)),
                    None => OpenError::Damaged { file: log_path, reason: fatal.to_string() },
                });
            }
        };
        let settled_at = start(&raft, raft_id, had_state, timing).await?;
        let own = Voter { raft_id, node_id, address };
        let tracker = Tracker::new(raft_id, timing, raft.clone(), Arc::clone(&releases), not_taken);
        let tracker = Arc::new(tracker);
        let cancel = CancellationToken::new();
        let closed = store.closed();
        let retry = Duration::from_millis(timing.election_max_ms);
        let supervisor =
            supervise(Arc::clone(&tracker), store, failure.subscribe(), cancel.clone(), retry);
        tokio::spawn(supervisor);
        let inner = Arc::new(Inner {
            own,
            timing,
            changes: tokio::sync::Mutex::new(()),
            server: Server::new(raft_id, release, raft.clone(), settled_at),
            leadership: tracker.leadership(),
            health: tracker.health(),
            raft,
            tracker,
            releases,
            closed,
            cancel,
            had_state,
        });
        tokio::spawn(super::change::finish_changes(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// Whether the log held anything when it was opened. A log that did belongs to a group that
    /// was formed, or began to form, before; it must never be initialised.
    #[must_use]
    pub fn had_state(&self) -> bool {
        self.inner.had_state
    }

    /// Makes `members` the first voters of a new group; only for a log without state. Doing it
    /// again with the same members changes nothing.
    ///
    /// # Errors
    /// When this log belongs to a group already, or `members` are not a group with this node.
    pub async fn initialise(&self, members: &[Voter]) -> Result<(), ChangeError> {
        let refused = |text: &str| Err(ChangeError::Refused(text.to_owned()));
        if members.is_empty() || members.len() > VOTERS_MAX {
            return refused("a raft group has one to seven voters");
        }
        let nodes: std::collections::BTreeMap<u64, Member> =
            members.iter().map(|voter| (voter.raft_id, Member::of(voter))).collect();
        if nodes.len() != members.len() {
            return refused("two voters have the same raft id");
        }
        match self.inner.raft.initialize(nodes.clone()).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {
                let metrics = self.inner.raft.server_metrics();
                let known: std::collections::BTreeMap<u64, Member> = metrics
                    .borrow_watched()
                    .membership_config
                    .nodes()
                    .map(|(id, member)| (*id, member.clone()))
                    .collect();
                if known == nodes {
                    Ok(())
                } else {
                    refused("this log belongs to a raft group already")
                }
            }
            Err(RaftError::APIError(InitializeError::NotInMembers(_))) => {
                refused("this node is not among the first voters")
            }
            Err(RaftError::Fatal(fatal)) => Err(ChangeError::Stopped(fatal.to_string())),
        }
    }

    /// Has `command` committed and applied, in whatever term this node leads now.
    ///
    /// # Errors
    /// See [`ProposeError`]; after [`ProposeError::Uncertain`] the command may still be applied.
    pub async fn propose(&self, command: Vec<u8>) -> Result<Applied, ProposeError> {
        let led = self.inner.leadership.borrow().led;
        match led {
            Some(led) => self.propose_in(led.term, command).await,
            None => Err(self.not_leader()),
        }
    }

    /// Has `command` committed and applied in `term`, or not proposed at all: what one leader
    /// decided is never written under the term of another.
    ///
    /// # Errors
    /// As [`propose`](Self::propose).
    pub async fn propose_in(&self, term: Term, command: Vec<u8>) -> Result<Applied, ProposeError> {
        if command.len() > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooBig { bytes: command.len(), max: COMMAND_BYTES_MAX });
        }
        let mut leadership = self.inner.leadership.clone();
        let leads = |now: &Leadership| now.led.is_some_and(|led| led.term == term);
        if !leads(&leadership.borrow_and_update()) {
            return Err(self.not_leader());
        }
        let (responder, outcome) = WriteResponder::complete_only();
        let request = self
            .inner
            .raft
            .write(Command(command))
            .with_leader(log_id(term.0, 0).leader_id)
            .responder(responder);
        request.await.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))?;
        let outcome = tokio::select! {
            // A known outcome counts even when leadership ended with it.
            biased;
            outcome = outcome => outcome,
            _ = leadership.wait_for(|now| !leads(now)) => return Err(ProposeError::Uncertain),
        };
        match outcome {
            Ok(Ok(written)) => Ok(Applied {
                index: written.log_id.index,
                term: Term(written.log_id.leader_id.term),
                response: written.data.0,
            }),
            Ok(Err(ClientWriteError::ForwardToLeader(_))) => Err(self.not_leader()),
            Ok(Err(_)) | Err(_) => Err(ProposeError::Uncertain),
        }
    }

    fn not_leader(&self) -> ProposeError {
        match &*self.inner.health.borrow() {
            Health::Running => {
                ProposeError::NotLeader { leader: self.inner.leadership.borrow().leader.clone() }
            }
            Health::StorageFailed { error, .. } => ProposeError::Stopped(error.clone()),
            Health::NotTaken(reason) | Health::Stopped(reason) => {
                ProposeError::Stopped(reason.clone())
            }
        }
    }

    /// Who leads, and whether this node may act as the leader; changes are told at once.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// Whether this node may act as the leader at this instant. To be asked before every flush of
    /// effects; it does not wait and does not rely on anyone having been scheduled.
    #[must_use]
    pub fn lease_valid(&self) -> bool {
        self.lease_remaining().is_some()
    }

    /// How long this node may act as the leader even if nobody answers any more.
    #[must_use]
    pub fn lease_remaining(&self) -> Option<Duration> {
        self.inner.tracker.lease_remaining()
    }

    /// Whether this node still takes part. Once it is not [`Health::Running`] it never is again.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.inner.health.clone()
    }

    /// The members of the group as this node knows them, voters and learners.
    #[must_use]
    pub fn voters(&self) -> Vec<VoterStatus> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let leading = metrics.replication.is_some();
        let members = metrics.membership_config.nodes();
        members
            .map(|(raft_id, member)| {
                let own = leading && *raft_id == self.inner.own.raft_id;
                let contact = metrics.heartbeat.as_ref().and_then(|all| *all.get(raft_id)?);
                let matched = metrics.replication.as_ref().map(|all| *all.get(raft_id)?);
                let last = metrics.last_log_index.map_or(0, |index| index + 1);
                let lag = matched.map(|matched| {
                    let has = matched.map_or(0, |log_id| log_id.index + 1);
                    last.saturating_sub(has)
                });
                VoterStatus {
                    voter: member.voter(*raft_id),
                    role: if voters.contains(raft_id) {
                        VoterRole::Voter
                    } else {
                        VoterRole::Learner
                    },
                    is_leader: metrics.current_leader == Some(*raft_id),
                    last_contact: if own {
                        Some(Duration::ZERO)
                    } else {
                        contact.map(|contact| openraft::Instant::elapsed(&*contact))
                    },
                    lag: if own { Some(0) } else { lag },
                }
            })
            .collect()
    }

    /// The term in which the members of the group, as this node knows them, were written. A group
    /// that was rebuilt has it at or above the term that its statement names.
    #[must_use]
    pub fn members_term(&self) -> Option<Term> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let log_id = *metrics.membership_config.log_id();
        log_id.map(|log_id| Term(log_id.leader_id.term))
    }

    /// Where the log stands, for metrics and operators.
    #[must_use]
    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        Status {
            term: Term(metrics.current_term),
            last_index: metrics.last_log_index,
            committed_index: metrics.local_committed.map(|log_id| log_id.index),
            applied_index: metrics.last_applied.map(|log_id| log_id.index),
            snapshot_index: metrics.snapshot.map(|log_id| log_id.index),
            purged_index: metrics.purged.map(|log_id| log_id.index),
        }
    }

    /// Serves these nodes although this node does not know them as members, and no others that
    /// it was told to serve before: the seed that begins a group, and the voters of a group that
    /// this node joins or was away from while they changed.
    pub fn admit(&self, nodes: impl IntoIterator<Item = NodeId>) {
        self.inner.server.admit(nodes);
    }

    /// Whether this log holds neither an entry nor a vote. Requests of nodes that
    /// [`admit`](Self::admit) just shut out are waited for, so what is true here stays true until
    /// a node admitted since writes. To be asked before a seed answers that it is empty.
    pub async fn is_pristine(&self) -> bool {
        self.inner.server.is_pristine().await
    }

    /// Serves a request that the transport has proved to come from `from`.
    ///
    /// # Errors
    /// When the sender or what it says is refused; the text may be sent back to it.
    pub async fn handle_request(
        &self,
        from: NodeId,
        request: &[u8],
    ) -> Result<Vec<u8>, HandleError> {
        self.inner.server.handle(from, request).await
    }

    /// Tells that a connection to `node` came up, so that raft need not wait out its back-off.
    pub async fn peer_reachable(&self, node: NodeId) {
        let ids: Vec<u64> = {
            let metrics = self.inner.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            let members = metrics.membership_config.nodes();
            members.filter(|(_, member)| member.node_id == node).map(|(id, _)| *id).collect()
        };
        if !ids.is_empty() {
            // It fails only when raft has ended; then there is nothing to hasten.
            drop(self.inner.raft.trigger().reset_backoff(ids).await);
        }
    }

    /// Takes a snapshot of what is applied now, and waits until it is on disk.
    ///
    /// # Errors
    /// When raft has stopped, or `within` has passed.
    pub async fn snapshot_now(&self, within: Duration) -> Result<(), ChangeError> {
        let stopped = |fatal: Fatal<TypeConfig>| ChangeError::Stopped(fatal.to_string());
        let mut metrics = self.inner.raft.metrics();
        let applied = metrics.borrow_watched().last_applied;
        self.inner.raft.trigger().snapshot().await.map_err(stopped)?;
        let deadline = Instant::now() + within;
        loop {
            if metrics.borrow_and_update().snapshot >= applied {
                return Ok(());
            }
            match tokio::time::timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(ChangeError::Stopped("raft has ended".to_owned())),
                Err(_) => return Err(ChangeError::Uncertain),
            }
        }
    }

    /// Stops taking part and waits until the files are closed.
    pub async fn shutdown(&self) {
        self.inner.cancel.cancel();
        let mut closed = self.inner.closed.clone();
        // The sender goes away only with the thread that closes the file.
        drop(closed.wait_for(|closed| *closed).await);
    }
}

#[cfg(test)]
impl RaftGroup {
    /// Becomes true when the files are closed, also after the last handle is gone.
    pub(super) fn closed_for_test(&self) -> watch::Receiver<bool> {
        self.inner.closed.clone()
    }
}

/// The files of a log, open.
pub(super) struct Files {
    pub(super) file: LogFile,
    pub(super) stored: Stored,
    pub(super) snapshots: SnapshotStore,
    pub(super) failure: watch::Sender<Option<Failure>>,
}

impl Files {
    pub(super) fn open(dir: &Path, raft_id: u64) -> Result<Self, OpenError> {
        let failure = watch::Sender::new(None);
        let (file, stored) = LogFile::open(dir, raft_id)?;
        let snapshots = SnapshotStore::open(dir, failure.clone())?;
        Ok(Self { file, stored, snapshots, failure })
    }
}

/// Starts raft. One that was part of a group before first waits until whatever it promised to a
/// leader has run out; returns until when. The only voter has promised nothing to anybody.
async fn start(
    raft: &Raft,
    own: u64,
    had_state: bool,
    timing: Timing,
) -> Result<Option<Instant>, OpenError> {
    let until = Instant::now() + timing.settle();
    if had_state {
        raft.runtime_config().elect(false);
    }
    raft.run();
    if !had_state {
        return Ok(None);
    }
    let alone = raft
        .with_raft_state(move |state| {
            let voters: Vec<u64> = state.membership_state.effective().voter_ids().collect();
            voters == [own]
        })
        .await
        .map_err(|fatal| OpenError::Options(fatal.to_string()))?;
    if alone {
        raft.runtime_config().elect(true);
        return Ok(None);
    }
    let raft = raft.clone();
    tokio::spawn(async move {
        tokio::time::sleep_until(until).await;
        raft.runtime_config().elect(true);
    });
    Ok(Some(until))
}
