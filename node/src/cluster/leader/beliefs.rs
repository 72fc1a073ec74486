//! What a node believes of the cluster's leadership, in memory and on disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use meshos_membership::{identity::FenceStore, recovery::SignedRecovery};
use meshos_protocol::{
    ids::{ClusterId, NodeId, Term},
    messages::node::Announcement,
};

use super::{
    rebuilt::{self, Rebuilt},
    voters::KnownVoters,
};
use crate::net::Target;

/// The voters that the node knows, the statement that it holds and the fence that it obeys; shared
/// by the claims that are being confirmed.
#[derive(Clone)]
pub(super) struct Beliefs {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    voters: KnownVoters,
    rebuilt: Rebuilt,
    fence: FenceStore,
    /// Rises whenever other voters count than before.
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
        Self { inner: Arc::new(Mutex::new(Inner { voters, rebuilt, fence, version: 0 })) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which voters count; changes whenever they do.
    pub(super) fn version(&self) -> u64 {
        self.lock().version
    }

    /// Whom to ask, as last told.
    pub(super) fn known_voters(&self) -> Vec<Target> {
        self.lock().voters.targets()
    }

    /// The highest term that the node has promised to obey.
    pub(super) fn obeyed(&self) -> Option<Term> {
        self.lock().fence.current().map(|fence| fence.term)
    }

    /// Whether a leader after `members_term` told voters without `node`.
    pub(super) fn was_replaced(&self, node: NodeId, members_term: Term) -> bool {
        let inner = self.lock();
        let obeyed = inner.fence.current().map(|fence| fence.term);
        inner.voters.leave_out(node) && obeyed.is_some_and(|term| members_term < term)
    }

    /// The voters of the statement in an announcement, if they may be believed in the place of those
    /// that are known.
    pub(super) fn rebuilt_voters(
        &self,
        announcement: &Announcement,
        cluster: Option<ClusterId>,
    ) -> Option<Vec<Target>> {
        let mut inner = self.lock();
        let fence = inner.fence.current();
        let signed: SignedRecovery = inner.rebuilt.offered(announcement, cluster, fence)?;
        Some(rebuilt::voters_of(signed.recovery()))
    }

    /// Writes down what a confirmed leader told. All is on disk before anyone acts under the fence,
    /// and the fence last: behind it only the new voters can convince this node. `basis` is the
    /// version that the leader was confirmed under.
    ///
    /// # Errors
    /// When the disk does not take it; then the leader must not be followed.
    pub(super) fn write(&self, announcement: &Announcement, basis: u64) -> Result<Written> {
        let mut inner = self.lock();
        if inner.version != basis {
            return Ok(Written::Outdated);
        }
        let before = (inner.rebuilt.recovery().cloned(), inner.voters.targets());
        inner
            .rebuilt
            .keep(announcement)
            .context("the statement on the voters cannot be written")?;
        inner.voters.learn(&announcement.voters).context("the known voters cannot be written")?;
        if before != (inner.rebuilt.recovery().cloned(), inner.voters.targets()) {
            inner.version += 1;
        }
        inner.fence.store(announcement.fence).context("the fence cannot be written")?;
        Ok(Written::Done)
    }
}
