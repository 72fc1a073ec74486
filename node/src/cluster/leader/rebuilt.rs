//! A group of voters that was rebuilt after most of the old ones were lost: nobody can confirm its
//! leader but the voters that a statement of the cluster's authority names.

use std::sync::Arc;

use meshos_membership::{
    identity::IdentityError,
    recovery::{Known, Recovery, RecoveryStore, SignedRecovery, check},
};
use meshos_protocol::{
    ids::{ClusterId, Fence},
    messages::node::Announcement,
};
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use crate::net::Target;

/// The statement that a node holds, for those who pass it on.
pub(super) type Held = watch::Receiver<Option<Arc<SignedRecovery>>>;

/// Takes statements.
pub(super) struct Rebuilt {
    store: RecoveryStore,
    authority: CertificateDer<'static>,
    show: watch::Sender<Option<Arc<SignedRecovery>>>,
    /// What was refused last, so that it is said once.
    refused: Option<String>,
}

impl Rebuilt {
    pub(super) fn new(store: RecoveryStore, authority: CertificateDer<'static>) -> Self {
        let held = store.held().cloned().map(Arc::new);
        Self { store, authority, show: watch::Sender::new(held), refused: None }
    }

    pub(super) fn held(&self) -> Held {
        self.show.subscribe()
    }

    /// What this node holds.
    pub(super) fn recovery(&self) -> Option<&Recovery> {
        self.store.held().map(SignedRecovery::recovery)
    }

    /// The statement in an announcement, if this node may believe its voters in the place of those
    /// it knows.
    pub(super) fn offered(
        &mut self,
        announcement: &Announcement,
        cluster: Option<ClusterId>,
        fence: Option<Fence>,
    ) -> Option<SignedRecovery> {
        if announcement.recovery.is_empty() {
            return None;
        }
        let verified = SignedRecovery::verify(&announcement.recovery, &self.authority);
        let checked = verified.map_err(|error| error.to_string()).and_then(|signed| {
            let known = Known { cluster, fence, held: self.recovery() };
            check(known, signed.recovery()).map_err(|refused| refused.to_string())?;
            if announcement.fence.term <= signed.recovery().above {
                return Err("its leader leads in a term that is not above it".to_owned());
            }
            Ok(signed)
        });
        match checked {
            Ok(signed) => Some(signed),
            Err(why) => {
                if self.refused.as_ref() != Some(&why) {
                    let (leader, term) = (announcement.leader, announcement.fence.term);
                    tracing::warn!(%leader, %term, %why, "a leader's statement that the voters were rebuilt is not taken");
                    self.refused = Some(why);
                }
                None
            }
        }
    }

    /// Keeps the statement of a leader that was confirmed, whoever confirmed it: to pass it on, and
    /// so that an older one is never taken.
    pub(super) fn keep(&mut self, announcement: &Announcement) -> Result<(), IdentityError> {
        if announcement.recovery.is_empty()
            || self.store.held().is_some_and(|held| held.bytes() == announcement.recovery)
        {
            return Ok(());
        }
        let Ok(signed) = SignedRecovery::verify(&announcement.recovery, &self.authority) else {
            // Its leader is right all the same: a majority says so.
            return Ok(());
        };
        let recovery = signed.recovery();
        let Fence { cluster, term } = announcement.fence;
        if recovery.cluster != cluster || recovery.above >= term {
            return Ok(());
        }
        let (above, voters) = (recovery.above, recovery.voters.len());
        self.store.store(signed)?;
        tracing::info!(%above, voters, "the voters were rebuilt; their statement is kept");
        self.show.send_replace(self.store.held().cloned().map(Arc::new));
        Ok(())
    }
}

/// The voters that the statement names.
pub(super) fn voters_of(recovery: &Recovery) -> Vec<Target> {
    let target = |voter: &meshos_membership::raft::Voter| Target {
        node: Some(voter.node_id),
        address: voter.address.clone(),
    };
    recovery.voters.iter().map(target).collect()
}

#[cfg(test)]
mod tests;
