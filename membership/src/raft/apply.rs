//! The registry as openraft sees it.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use futures_util::{Stream, StreamExt as _};
use openraft::{
    OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
};

use super::{
    RegistryMachine,
    config::{LogId, Payload, Response, SnapshotMeta, StoredMembership, TypeConfig},
    releases::Releases,
    snapshot::{Snapshot, SnapshotStore},
};

type OpenraftSnapshot = openraft::alias::SnapshotOf<TypeConfig, Arc<Vec<u8>>>;

/// Applies the log to the registry, one entry after the other.
pub(crate) struct Applier {
    machine: Arc<Mutex<Box<dyn RegistryMachine>>>,
    snapshots: Arc<SnapshotStore>,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    /// Why the registry did not take a snapshot or an entry, for whoever opens the group or asks
    /// how it is.
    not_taken: Arc<OnceLock<String>>,
    releases: Arc<Releases>,
}

impl Applier {
    pub(super) fn new(
        machine: Box<dyn RegistryMachine>,
        snapshots: Arc<SnapshotStore>,
        not_taken: Arc<OnceLock<String>>,
        releases: Arc<Releases>,
    ) -> Self {
        Self {
            not_taken,
            releases,
            machine: Arc::new(Mutex::new(machine)),
            snapshots,
            last_applied: None,
            membership: StoredMembership::default(),
        }
    }
}

impl Applier {
    /// The registry does not take an entry: raft must end, or it would go on with a gap.
    fn not_taken(&self, index: u64, reason: String) -> io::Error {
        tracing::error!(index, %reason, "an entry of the registry is not applied");
        let error = format!("entry {index} of the registry: {reason}");
        self.not_taken.get_or_init(|| reason);
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

fn lock(machine: &Mutex<Box<dyn RegistryMachine>>) -> MutexGuard<'_, Box<dyn RegistryMachine>> {
    // A machine that panicked has lost its worker too, and with it raft on this node.
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A snapshot taken from the registry and not written yet.
pub(crate) struct SnapshotWriter {
    taken: Option<io::Result<Snapshot>>,
    snapshots: Arc<SnapshotStore>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotWriter {
    type SnapshotData = Arc<Vec<u8>>;

    async fn build_snapshot(&mut self) -> io::Result<OpenraftSnapshot> {
        let taken = self.taken.take().ok_or_else(|| io::Error::other("the snapshot was taken"))?;
        let Snapshot { meta, data } = taken?;
        self.snapshots.save(Snapshot { meta: meta.clone(), data: Arc::clone(&data) }).await?;
        tracing::info!(
            index = meta.last_log_id.map(|last| last.index),
            bytes = data.len(),
            "raft snapshot written"
        );
        Ok(OpenraftSnapshot { meta, snapshot: data })
    }
}

impl RaftStateMachine<TypeConfig> for Applier {
    type SnapshotData = Arc<Vec<u8>>;
    type SnapshotBuilder = SnapshotWriter;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let LogId { leader_id, index } = entry.log_id;
            let response = match &entry.payload {
                Payload::Blank => Response::default(),
                Payload::Normal(command) => {
                    let mut machine = lock(&self.machine);
                    let applied = machine.apply(index, leader_id.term, &command.0);
                    self.releases.require(machine.level());
                    drop(machine);
                    Response(applied.map_err(|reason| self.not_taken(index, reason))?)
                }
                Payload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                    Response::default()
                }
            };
            self.last_applied = Some(entry.log_id);
            if let Some(responder) = responder {
                responder.send(response);
            }
        }
        Ok(())
    }

    /// Takes the bytes now, while nothing is applied; they are written beside later entries.
    async fn get_snapshot_builder(&mut self) -> SnapshotWriter {
        let meta = SnapshotMeta {
            last_log_id: self.last_applied,
            last_membership: self.membership.clone(),
        };
        let machine = Arc::clone(&self.machine);
        let data = tokio::task::spawn_blocking(move || lock(&machine).snapshot()).await;
        let taken = data
            .map(|data| Snapshot { meta, data: Arc::new(data) })
            .map_err(|error| io::Error::other(format!("the registry gave no snapshot: {error}")));
        SnapshotWriter { taken: Some(taken), snapshots: Arc::clone(&self.snapshots) }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Arc<Vec<u8>>,
    ) -> io::Result<()> {
        self.snapshots.save(Snapshot { meta: meta.clone(), data: Arc::clone(&snapshot) }).await?;
        let machine = Arc::clone(&self.machine);
        tokio::task::spawn_blocking(move || lock(&machine).restore(&snapshot))
            .await
            .map_err(io::Error::other)?
            .map_err(|reason| {
                tracing::error!(%reason, "the registry cannot be restored from its snapshot");
                let error = format!("the registry's snapshot: {reason}");
                self.not_taken.get_or_init(|| reason);
                io::Error::new(io::ErrorKind::InvalidData, error)
            })?;
        self.releases.require(lock(&self.machine).level());
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<OpenraftSnapshot>> {
        let snapshot = self.snapshots.load().await?;
        Ok(snapshot.map(|Snapshot { meta, data }| OpenraftSnapshot { meta, snapshot: data }))
    }
}
