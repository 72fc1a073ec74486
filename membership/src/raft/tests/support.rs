//! A cluster in one process.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use meshos_protocol::{
    codec,
    ids::{NodeId, Term},
};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::raft::{
    Applied, Leadership, Led, NetworkError, OpenError, Options, ProposeError, RaftGroup,
    RaftNetwork, RegistryMachine, Release, SNAPSHOT_EVERY_ENTRIES, Timing, Voter,
};

/// The longest that any condition is waited for; far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);
/// A quarter of a second between heartbeats would do on an idle machine; tests run beside others.
pub(super) const TIMING: Timing =
    Timing { heartbeat_ms: 150, election_min_ms: 500, election_max_ms: 1_000 };

pub(super) async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

pub(super) async fn wait_until<T: Clone>(
    what: &str,
    watch: &mut watch::Receiver<T>,
    condition: impl FnMut(&T) -> bool,
) -> T {
    within(what, watch.wait_for(condition)).await.unwrap().clone()
}

/// A registry that remembers every command, shared with the test. The command `level N` raises
/// its level.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal {
    commands: Arc<Mutex<Vec<Vec<u8>>>>,
    count: Arc<watch::Sender<usize>>,
    /// The level up to which it takes commands; absent: any.
    knows: Option<u32>,
}

/// The level that a command asks for.
fn level_in(command: &[u8]) -> Option<u32> {
    str::from_utf8(command).ok()?.strip_prefix("level ")?.parse().ok()
}

impl Journal {
    /// That of a release which knows no higher level.
    pub(super) fn of_release(level: u32) -> Self {
        Self { knows: Some(level), ..Self::default() }
    }

    pub(super) fn commands(&self) -> Vec<Vec<u8>> {
        self.commands.lock().unwrap().clone()
    }

    pub(super) async fn wait_for_len(&self, len: usize) {
        let mut watch = self.count.subscribe();
        wait_until("commands to be applied", &mut watch, |now| *now >= len).await;
    }
}

impl RegistryMachine for Journal {
    fn apply(&mut self, _index: u64, _term: u64, command: &[u8]) -> Result<Vec<u8>, String> {
        if level_in(command) > self.knows && self.knows.is_some() {
            return Err("start a newer release".to_owned());
        }
        let mut commands = self.commands.lock().unwrap();
        commands.push(command.to_vec());
        self.count.send_replace(commands.len());
        Ok(command.iter().rev().copied().collect())
    }

    fn level(&self) -> u32 {
        let commands = self.commands.lock().unwrap();
        commands.iter().filter_map(|command| level_in(command)).max().unwrap_or(1)
    }

    fn snapshot(&self) -> Vec<u8> {
        codec::encode(&*self.commands.lock().unwrap())
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let restored = codec::decode(snapshot).map_err(|error| error.to_string())?;
        let mut commands = self.commands.lock().unwrap();
        *commands = restored;
        self.count.send_replace(commands.len());
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Links {
    groups: BTreeMap<NodeId, RaftGroup>,
    cut: BTreeSet<(NodeId, NodeId)>,
}

/// Carries requests between the groups of a test; each direction of a link can be cut.
#[derive(Debug, Clone, Default)]
pub(super) struct Net(Arc<Mutex<Links>>);

impl Net {
    fn reach(&self, from: NodeId, to: NodeId) -> Result<RaftGroup, NetworkError> {
        let links = self.0.lock().unwrap();
        let gone = || NetworkError::Unreachable("the link is cut".to_owned());
        if links.cut.contains(&(from, to)) {
            return Err(gone());
        }
        links.groups.get(&to).cloned().ok_or_else(gone)
    }

    pub(super) fn cut(&self, from: NodeId, to: NodeId) {
        self.0.lock().unwrap().cut.insert((from, to));
    }

    pub(super) fn heal(&self) {
        self.0.lock().unwrap().cut.clear();
    }
}

struct Port {
    own: NodeId,
    net: Net,
}

#[async_trait::async_trait]
impl RaftNetwork for Port {
    async fn call(
        &self,
        target: &Voter,
        request: Vec<u8>,
        _deadline: Duration,
    ) -> Result<Vec<u8>, NetworkError> {
        let group = self.net.reach(self.own, target.node_id)?;
        let answer = group.handle_request(self.own, &request).await;
        drop(group);
        self.net.reach(target.node_id, self.own)?;
        answer.map_err(|error| NetworkError::Refused(error.to_string()))
    }
}

pub(super) struct TestNode {
    pub(super) group: RaftGroup,
    pub(super) journal: Journal,
}

/// Nodes by number; a node's raft id is its number.
pub(super) struct Cluster {
    pub(super) net: Net,
    pub(super) nodes: BTreeMap<u64, TestNode>,
    dir: TempDir,
}

pub(super) fn release(level: u32) -> Release {
    Release { name: format!("0.{level}"), level }
}

pub(super) fn voter(number: u64) -> Voter {
    Voter {
        raft_id: number,
        node_id: NodeId::from_bits(1000 + number),
        address: format!("node-{number}:5051"),
    }
}

impl Cluster {
    /// Opens nodes 1 to `count`, which know nothing yet.
    pub(super) async fn open(count: u64) -> Self {
        let mut cluster =
            Self { net: Net::default(), nodes: BTreeMap::new(), dir: tempfile::tempdir().unwrap() };
        for number in 1..=count {
            cluster.start(number).await;
        }
        cluster
    }

    /// A group of nodes 1 to `count`, with a leader.
    pub(super) async fn formed(count: u64) -> Self {
        let cluster = Self::open(count).await;
        cluster.initialise(count).await;
        cluster.leader().await;
        cluster
    }

    pub(super) async fn initialise(&self, count: u64) {
        let members: Vec<Voter> = (1..=count).map(voter).collect();
        for number in 2..=count {
            self.group(number).admit([voter(1).node_id]);
        }
        self.group(1).initialise(&members).await.unwrap();
    }

    pub(super) fn data_dir(&self, number: u64) -> PathBuf {
        self.dir.path().join(number.to_string())
    }

    pub(super) fn options(&self, number: u64) -> Options {
        let Voter { raft_id, node_id, address } = voter(number);
        Options {
            data_dir: self.data_dir(number),
            raft_id,
            node_id,
            address,
            timing: TIMING,
            release: release(1),
            snapshot_every_entries: SNAPSHOT_EVERY_ENTRIES,
        }
    }

    pub(super) fn port(&self, number: u64) -> Arc<dyn RaftNetwork> {
        Arc::new(Port { own: voter(number).node_id, net: self.net.clone() })
    }

    pub(super) async fn start(&mut self, number: u64) {
        let journal = Journal::default();
        let opened =
            RaftGroup::open(self.options(number), journal.clone(), self.port(number)).await;
        self.insert(number, opened.unwrap(), journal);
    }

    /// Starts a node with a release of that level.
    pub(super) async fn start_release(&mut self, number: u64, level: u32) -> Result<(), OpenError> {
        let journal = Journal::of_release(level);
        let options = Options { release: release(level), ..self.options(number) };
        let group = RaftGroup::open(options, journal.clone(), self.port(number)).await?;
        self.insert(number, group, journal);
        Ok(())
    }

    pub(super) fn insert(&mut self, number: u64, group: RaftGroup, journal: Journal) {
        self.net.0.lock().unwrap().groups.insert(voter(number).node_id, group.clone());
        self.nodes.insert(number, TestNode { group, journal });
    }

    /// Ends a node without telling it, and waits until its files are free.
    pub(super) async fn drop_node(&mut self, number: u64) {
        let node = self.nodes.remove(&number).unwrap();
        self.net.0.lock().unwrap().groups.remove(&voter(number).node_id);
        let mut closed = node.group.closed_for_test();
        drop(node);
        wait_until("the files to be closed", &mut closed, |closed| *closed).await;
    }

    pub(super) fn group(&self, number: u64) -> &RaftGroup {
        &self.nodes[&number].group
    }

    pub(super) fn journal(&self, number: u64) -> &Journal {
        &self.nodes[&number].journal
    }

    pub(super) fn isolate(&self, number: u64) {
        for other in self.nodes.keys().filter(|other| **other != number) {
            self.net.cut(voter(number).node_id, voter(*other).node_id);
            self.net.cut(voter(*other).node_id, voter(number).node_id);
        }
    }

    /// Waits for a leader among all nodes that may act; returns its number.
    pub(super) async fn leader(&self) -> (u64, Led) {
        self.leader_above(Term(0)).await
    }

    /// Waits for one of a term above `term`.
    pub(super) async fn leader_above(&self, term: Term) -> (u64, Led) {
        let mut watches: Vec<_> =
            self.nodes.iter().map(|(number, node)| (*number, node.group.leadership())).collect();
        let waits = watches.iter_mut().map(|(number, watch)| {
            let number = *number;
            Box::pin(async move {
                let above = |now: &Leadership| now.led.is_some_and(|led| led.term > term);
                (number, watch.wait_for(above).await.unwrap().led.unwrap())
            })
        });
        within("a leader", futures_util::future::select_all(waits)).await.0
    }

    /// Proposes until a leader takes it; for commands that may be applied twice.
    pub(super) async fn propose(&self, command: &[u8]) -> Applied {
        within("a command to be committed", async {
            loop {
                let (number, _) = self.leader().await;
                match self.group(number).propose(command.to_vec()).await {
                    Ok(applied) => return applied,
                    Err(ProposeError::NotLeader { .. } | ProposeError::Uncertain) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
        .await
    }

    /// Proposes to one node, which must lead.
    pub(super) async fn propose_to(&self, number: u64, command: &[u8]) -> Applied {
        within("a command", self.group(number).propose(command.to_vec())).await.unwrap()
    }

    pub(super) fn others(&self, number: u64) -> Vec<u64> {
        self.nodes.keys().copied().filter(|other| *other != number).collect()
    }
}
