//! The registry on this voter: applies what raft has committed, and tells the master of the day.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meshos_control::registry::{Entry, Outcome, Registry};
use meshos_membership::raft::RegistryMachine;
use meshos_protocol::{
    codec,
    ids::{ClusterId, NodeId},
};
use tokio::sync::{mpsc, watch};

/// Applied entries that a master may be behind; one that is further behind is deposed.
const BEHIND_MAX: usize = 65_536;

/// An entry and what became of it.
pub(crate) type AppliedEntry = (Entry, Outcome);

/// Shares the registry between raft, which changes it, and the rest of the node, which reads.
#[derive(Clone)]
pub(crate) struct RegistryHost {
    shared: Arc<Mutex<Shared>>,
    cluster: watch::Receiver<Option<ClusterId>>,
}

struct Shared {
    registry: Registry,
    follower: Option<mpsc::Sender<AppliedEntry>>,
    cluster: watch::Sender<Option<ClusterId>>,
}

impl RegistryHost {
    /// An empty registry; raft restores it.
    pub(crate) fn new(known: Option<ClusterId>) -> Self {
        let (sender, cluster) = watch::channel(known);
        let shared = Shared { registry: Registry::new(), follower: None, cluster: sender };
        Self { shared: Arc::new(Mutex::new(shared)), cluster }
    }

    /// The cluster's id as the registry (or, before, the node's identity) knows it.
    pub(crate) fn cluster(&self) -> watch::Receiver<Option<ClusterId>> {
        self.cluster.clone()
    }

    /// A copy of the registry, and every entry applied after it.
    pub(crate) fn follow(&self) -> (Registry, mpsc::Receiver<AppliedEntry>) {
        let (sender, entries) = mpsc::channel(BEHIND_MAX);
        let mut shared = self.lock();
        shared.follower = Some(sender);
        (shared.registry.clone(), entries)
    }

    /// Whether an agent of this node was ever admitted and is still on record.
    pub(crate) fn knows_node(&self, node: NodeId) -> bool {
        self.lock().registry.newest_agent_of(node).is_some()
    }

    /// A node that is no voter learns the cluster's id from others.
    pub(crate) fn learn_cluster(&self, cluster: ClusterId) {
        self.lock().publish_cluster(cluster);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn publish_cluster(&self, cluster: ClusterId) {
        self.cluster.send_if_modified(|known| {
            let new = *known != Some(cluster);
            *known = Some(cluster);
            new
        });
    }

    fn apply(&mut self, entry: Entry) {
        let outcome = self.registry.apply(&entry);
        if let Some(follower) = &self.follower
            && follower.try_send((entry, outcome)).is_err()
        {
            // Dropping the sender ends the master: it must not go on with a gap.
            tracing::debug!("the follower of the registry is gone or too far behind");
            self.follower = None;
        }
    }
}

impl RegistryMachine for RegistryHost {
    fn apply(&mut self, index: u64, _term: u64, command: &[u8]) -> Result<Vec<u8>, String> {
        let mut shared = self.lock();
        match codec::decode::<Vec<Entry>>(command) {
            Ok(entries) => {
                for entry in entries {
                    entry.check_understood().map_err(|error| error.to_string())?;
                    shared.apply(entry);
                }
            }
            // Every voter sees the same bytes and skips them alike: a form that only some of them
            // know stands behind a raise of the level, where the others have stopped.
            Err(error) => tracing::error!(index, %error, "a registry entry cannot be read"),
        }
        if let Some(cluster) = shared.registry.cluster() {
            shared.publish_cluster(cluster);
        }
        Ok(Vec::new())
    }

    fn level(&self) -> u32 {
        self.lock().registry.level()
    }

    fn snapshot(&self) -> Vec<u8> {
        self.lock().registry.to_snapshot()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let registry = Registry::from_snapshot(snapshot).map_err(|error| error.to_string())?;
        let mut shared = self.lock();
        if let Some(cluster) = registry.cluster() {
            shared.publish_cluster(cluster);
        }
        shared.registry = registry;
        // Entries were skipped: whoever followed must begin anew.
        shared.follower = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use meshos_control::registry::{Command, LEVEL};
    use meshos_protocol::{
        ids::{ProposalId, Term},
        role::Role,
    };

    use super::*;

    const CLUSTER: ClusterId = ClusterId::from_u128(7);

    fn entry(proposal: u64, command: Command) -> Entry {
        Entry { term: Term(1), proposal: ProposalId(proposal), command }
    }

    #[test]
    fn an_entry_of_a_later_release_is_not_skipped() {
        let mut host = RegistryHost::new(None);
        let form = Command::FormCluster { cluster: CLUSTER };
        let raise = Command::RaiseLevel { level: LEVEL + 1 };
        let entries = codec::encode(&[entry(1, form), entry(2, raise)]);
        let why = host.apply(1, 1, &entries).unwrap_err();
        assert!(why.contains("start the release on this node that the other voters run"), "{why}");
        let unheard_of = serde_json::json!([
            { "term": 1, "proposal": 3, "command": { "t": "set_something", "role": "r" } }
        ]);
        let why = host.apply(2, 1, &codec::encode(&unheard_of)).unwrap_err();
        assert!(why.contains("a record that this release does not know"), "{why}");
        assert_eq!(host.level(), 1);
        let raise = Command::RaiseLevel { level: LEVEL };
        host.apply(3, 1, &codec::encode(&[entry(4, raise)])).unwrap();
        assert_eq!(host.level(), LEVEL);
    }

    fn applied(host: &mut RegistryHost, proposal: u64, command: Command) {
        host.apply(proposal, 1, &codec::encode(&[entry(proposal, command)])).unwrap();
    }

    fn weighs(proposal: u64) -> Command {
        Command::SetWeight { role: role(), weight_millis: proposal * 1_000 }
    }

    fn role() -> Role {
        Role::new("web").unwrap()
    }

    #[tokio::test]
    async fn a_snapshot_replaces_the_registry_and_whoever_followed_begins_anew() {
        let mut written = RegistryHost::new(None);
        applied(&mut written, 1, Command::FormCluster { cluster: CLUSTER });
        applied(&mut written, 2, weighs(2));

        let mut host = RegistryHost::new(None);
        let (_, mut entries) = host.follow();
        host.restore(&written.snapshot()).unwrap();
        assert_eq!(entries.recv().await, None, "entries were skipped");
        assert_eq!(*host.cluster().borrow(), Some(CLUSTER));
        let (registry, mut entries) = host.follow();
        assert_eq!(registry.weight_millis(&role()), 2_000);
        assert_eq!(registry.to_snapshot(), written.snapshot());

        // It goes on from there, and what it had seen it does not take again.
        applied(&mut host, 2, weighs(9));
        assert_eq!(host.follow().0.weight_millis(&role()), 2_000);
        assert_eq!(entries.recv().await.map(|(entry, _)| entry.proposal), Some(ProposalId(2)));
        applied(&mut host, 3, weighs(3));
        assert_eq!(host.follow().0.weight_millis(&role()), 3_000);

        host.restore(b"rubbish").unwrap_err();
        assert_eq!(host.follow().0.weight_millis(&role()), 3_000);
    }
}
