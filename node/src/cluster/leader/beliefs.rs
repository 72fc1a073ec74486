//! What a node believes of the cluster's leadership, in memory and on disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use meshos_membership::{identity::FenceStore, recovery::SignedRecovery};
use meshos_protocol::{
    ids::{ClusterId, NodeId, Term},
    messages::node::Announcement,
};

use tokio::sync::watch;

use super::{
    Leader,
    rebuilt::{self, Rebuilt},
    voters::KnownVoters,
};
use crate::net::Target;

/// The voters that the node knows, the statement that it holds and the fence that it obeys; shared
/// by the claims that are being confirmed.
#[derive(Clone)]
pub(super) struct Beliefs {
    /// Held while the disk is written; readers look at what is shown.
    stores: Arc<tokio::sync::Mutex<Stores>>,
    shown: Arc<Mutex<Shown>>,
}

/// What is on disk.
struct Stores {
    voters: KnownVoters,
    rebuilt: Rebuilt,
    fence: FenceStore,
    /// Rises whenever other voters count than before.
    version: u64,
}

/// What the stores held after the last write.
#[derive(Clone)]
struct Shown {
    voters: Vec<Target>,
    obeyed: Option<Term>,
    version: u64,
}

/// What became of a leader that was to be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It may be followed.
    Done,
    /// It was confirmed by voters that may not count any more: nothing was written.
    Outdated,
}

impl Beliefs {
    /// A statement that was kept and not acted on before the node ended names the voters, and so
    /// does one whose node has lost its list of them: the seeds may be the old voters.
    pub(super) fn new(mut voters: KnownVoters, rebuilt: Rebuilt, fence: FenceStore) -> Self {
        let obeyed = fence.current().map(|fence| fence.term);
        if let Some(recovery) = rebuilt.recovery()
            && (voters.are_unknown() || obeyed.is_none_or(|obeyed| obeyed <= recovery.above))
        {
            voters.replace(recovery);
        }
        let stores = Stores { voters, rebuilt, fence, version: 0 };
        let shown = Arc::new(Mutex::new(stores.shown()));
        Self { stores: Arc::new(tokio::sync::Mutex::new(stores)), shown }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which voters count; changes whenever they do.
    pub(super) fn version(&self) -> u64 {
        self.shown().version
    }

    /// Whom to ask, as last told.
    pub(super) fn known_voters(&self) -> Vec<Target> {
        self.shown().voters.clone()
    }

    /// The highest term that the node has promised to obey.
    pub(super) fn obeyed(&self) -> Option<Term> {
        self.shown().obeyed
    }

    /// The term of the leader that last told who votes; none when nobody has.
    pub(super) fn told_in(&self) -> Option<Term> {
        let shown = self.shown();
        // Which nodes the seeds are is not known: nobody has told voters then.
        let are_told = shown.voters.iter().any(|voter| voter.node.is_some());
        shown.obeyed.filter(|_| are_told)
    }

    /// Whether `node` is none of the known voters.
    pub(super) fn left_out(&self, node: NodeId) -> bool {
        self.shown().voters.iter().all(|voter| voter.node != Some(node))
    }

    /// The voters of the statement in an announcement, if they may be believed in the place of those
    /// that are known.
    pub(super) async fn rebuilt_voters(
        &self,
        announcement: &Announcement,
        cluster: Option<ClusterId>,
    ) -> Option<Vec<Target>> {
        let mut stores = self.stores.lock().await;
        let fence = stores.fence.current();
        // Whoever obeys a leader knows its cluster, also before its own place in it is decided.
        let cluster = cluster.or_else(|| fence.map(|fence| fence.cluster));
        let signed: SignedRecovery = stores.rebuilt.offered(announcement, cluster, fence)?;
        Some(rebuilt::voters_of(signed.recovery()))
    }

    /// Writes down what a confirmed leader told. All is on disk before anyone acts under the fence,
    /// and the fence last: behind it only the new voters can convince this node. `basis` is the
    /// version that the leader was confirmed under.
    ///
    /// # Errors
    /// When the disk does not take it; then the leader must not be followed.
    pub(super) async fn write(&self, announcement: &Announcement, basis: u64) -> Result<Written> {
        let announcement = announcement.clone();
        self.change(move |stores| stores.write(&announcement, basis)).await
    }

    /// Writes down who votes now, as the leader whose fence is obeyed has told.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(super) async fn learn_voters(&self, announcement: &Announcement) -> Result<()> {
        let announcement = announcement.clone();
        self.change(move |stores| match stores.fence.current() {
            Some(obeyed) if obeyed == announcement.fence => stores.keep_voters(&announcement),
            Some(_) | None => Ok(()),
        })
        .await
    }

    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Stores) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (mut stores, beliefs) = (Arc::clone(&self.stores).lock_owned().await, self.clone());
        let change = move || {
            let changed = change(&mut stores);
            // Also after an error: a part may be on disk.
            *beliefs.shown() = stores.shown();
            changed
        };
        tokio::task::spawn_blocking(change).await.context("nothing was written down")?
    }
}

/// Writes a confirmed leader down and shows it to all who act under it, in this order.
///
/// # Errors
/// When the disk does not take it: then nobody is shown.
pub(super) async fn establish(
    beliefs: &Beliefs,
    announcement: &Announcement,
    basis: u64,
    publish: &watch::Sender<Option<Leader>>,
) -> Result<Written> {
    let written = beliefs.write(announcement, basis).await?;
    if written == Written::Done {
        let leader = Leader {
            fence: announcement.fence,
            node: announcement.leader,
            agent_address: announcement.agent_address.clone(),
            http_address: announcement.http_address.clone(),
        };
        tracing::info!(leader = %leader.node, term = %leader.fence.term, "leader confirmed");
        publish.send_replace(Some(leader));
    }
    Ok(written)
}

impl Stores {
    fn shown(&self) -> Shown {
        let obeyed = self.fence.current().map(|fence| fence.term);
        Shown { voters: self.voters.targets(), obeyed, version: self.version }
    }

    fn write(&mut self, announcement: &Announcement, basis: u64) -> Result<Written> {
        if self.version != basis {
            return Ok(Written::Outdated);
        }
        self.keep_voters(announcement)?;
        self.fence.store(announcement.fence).context("the fence cannot be written")?;
        Ok(Written::Done)
    }

    fn keep_voters(&mut self, announcement: &Announcement) -> Result<()> {
        let before = (self.rebuilt.recovery().cloned(), self.voters.targets());
        let kept = self.keep(announcement);
        // Also after an error, when a part was kept: what the old voters have confirmed is void.
        if before != (self.rebuilt.recovery().cloned(), self.voters.targets()) {
            self.version += 1;
        }
        kept
    }

    fn keep(&mut self, announcement: &Announcement) -> Result<()> {
        self.rebuilt.keep(announcement).context("the statement on the voters cannot be written")?;
        self.voters.learn(&announcement.voters).context("the known voters cannot be written")
    }
}

#[cfg(test)]
mod tests;
