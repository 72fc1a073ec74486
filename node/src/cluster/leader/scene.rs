//! A node's data directory and an authority that signs statements, for the tests of leadership.

use meshos_membership::{
    identity::DataDir,
    keys::Authority,
    raft::Voter,
    recovery::{Recovery, RecoveryStore, SignedRecovery},
};
use meshos_protocol::{
    ids::{ClusterId, Fence, NodeId, Term},
    messages::node::Announcement,
};
use tempfile::TempDir;

use super::rebuilt::Rebuilt;

pub(super) const CLUSTER: ClusterId = ClusterId::from_u128(7);

/// A node with a data directory of its own.
pub(super) struct Scene {
    pub(super) scratch: TempDir,
    pub(super) authority: Authority,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self { scratch: tempfile::tempdir().unwrap(), authority: Authority::generate().unwrap() }
    }

    /// The statements of the node after a start.
    pub(super) fn node(&self) -> Rebuilt {
        let certificate = self.authority.certificate().clone();
        let data_dir = DataDir::open(self.scratch.path()).unwrap();
        let store = RecoveryStore::load(&data_dir, &certificate).unwrap();
        Rebuilt::new(store, certificate)
    }

    pub(super) fn statement(&self, above: u64, survivor: u64) -> Vec<u8> {
        statement(&self.authority, above, survivor)
    }
}

/// A statement that the group was rebuilt of one survivor.
pub(super) fn statement(authority: &Authority, above: u64, survivor: u64) -> Vec<u8> {
    let voter = Voter {
        raft_id: survivor,
        node_id: NodeId::from_bits(survivor),
        address: format!("survivor-{survivor}:1"),
    };
    let recovery = Recovery { cluster: CLUSTER, above: Term(above), voters: vec![voter] };
    SignedRecovery::sign(recovery, authority).unwrap().bytes().to_vec()
}

pub(super) fn fence(term: u64) -> Fence {
    Fence { cluster: CLUSTER, term: Term(term) }
}

/// What node 1 says as the leader of this term.
pub(super) fn announced(term: u64, recovery: Vec<u8>) -> Announcement {
    Announcement {
        fence: fence(term),
        leader: NodeId::from_bits(1),
        agent_address: "h:1".to_owned(),
        http_address: "h:2".to_owned(),
        voters: Vec::new(),
        recovery,
    }
}
