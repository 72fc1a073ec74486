//! A cluster of real nodes on loopback.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    node::{Node, NodeArguments},
    ports::free_ports,
    processes::sweep,
    slots::Slot,
    wait::{PATIENCE, poll_until},
};

/// Ports of one node: HTTP with gossip, and the agent's with QUIC.
const PORTS_PER_NODE: u16 = 2;

/// How a cluster is made.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// How many nodes are seeds, and so voters.
    pub seeds: usize,
    /// How many nodes there are beside the seeds.
    pub others: usize,
    /// What each node offers.
    pub resources: String,
    /// Multiplies the times of elections: a busy machine of two processors must not lose its leader.
    pub timing_factor: u32,
    /// Without a connection for so long an agent is unreachable.
    pub agent_timeout: &'static str,
    /// The same when gossip, too, calls its node dead.
    pub agent_timeout_dead: &'static str,
    /// How long a framework without a stream has to come back.
    pub reconnect_grace: &'static str,
    /// Flags for all nodes, after the others.
    pub flags: Vec<String>,
    /// How long it may be there: whoever uses it for longer hangs, and is ended.
    pub limit: Duration,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            seeds: 3,
            others: 0,
            resources: "cpus:64;mem:65536;disk:65536;ports:[31000-32000]".to_owned(),
            timing_factor: 4,
            agent_timeout: "20s",
            agent_timeout_dead: "8s",
            reconnect_grace: "10s",
            flags: Vec::new(),
            limit: Slot::LIMIT,
        }
    }
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Which of the cluster's nodes.
    pub index: usize,
    /// Its id.
    pub node_id: String,
    /// Its term.
    pub term: u64,
}

/// Nodes on loopback with data below one directory. When it is dropped, nothing is left of it.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, seeds first.
    pub nodes: Vec<Node>,
    directory: TempDir,
    _slot: Slot,
}

impl Cluster {
    /// `seeds` nodes, all of them seeds, with a leader, each ready to be offered.
    ///
    /// # Panics
    /// When they do not come up.
    #[must_use]
    pub fn start(seeds: usize) -> Self {
        Self::start_with(ClusterOptions { seeds, ..ClusterOptions::default() })
    }

    /// The same with options.
    ///
    /// # Panics
    /// When they do not come up.
    #[must_use]
    pub fn start_with(options: ClusterOptions) -> Self {
        let mut cluster = Self::prepare(options);
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster.wait_until_ready();
        cluster
    }

    /// Makes everything and starts no node.
    ///
    /// # Panics
    /// When there are no ports or no temporary directory.
    #[must_use]
    pub fn prepare(options: ClusterOptions) -> Self {
        let slot = Slot::take_for(options.limit);
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        // Tasks of other users must reach their sandboxes.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))
            .expect("it belongs to us");
        let count = options.seeds + options.others;
        let ports = PORTS_PER_NODE * u16::try_from(count).expect("there are few nodes");
        let base = free_ports(ports);
        let port = |index: usize| base + PORTS_PER_NODE * u16::try_from(index).unwrap_or(0);
        let seeds: Vec<String> =
            (0..options.seeds).map(|index| format!("127.0.0.1:{}", port(index))).collect();
        let home = directory.path().join("home");
        fs::create_dir(&home).expect("the directory is ours");
        let node = |index: usize| {
            let data_dir = directory.path().join(format!("n{index}"));
            let mut arguments = NodeArguments::on_loopback(data_dir, home.clone(), port(index));
            arguments.flags = flags(&options, &seeds);
            Node::new(arguments)
        };
        let nodes = (0..count).map(node).collect();
        Self { nodes, directory, _slot: slot }
    }

    /// Where everything of it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The indices of the nodes whose processes run.
    pub fn running(&mut self) -> Vec<usize> {
        let nodes = self.nodes.iter_mut().enumerate();
        nodes.filter_map(|(index, node)| node.is_running().then_some(index)).collect()
    }

    /// Waits until all running nodes agree on the leader, and all are registered there.
    ///
    /// # Panics
    /// When that does not come, or a node ends.
    #[track_caller]
    pub fn wait_until_ready(&mut self) -> Leader {
        let running = self.running();
        let expected: BTreeSet<String> =
            running.iter().map(|index| self.nodes[*index].http().to_string()).collect();
        poll_until(PATIENCE, "all nodes are ready to be offered", || {
            for index in &running {
                assert!(self.nodes[*index].is_running(), "node {index} has ended");
            }
            let leader = self.agreed_leader(&running)?;
            let rows = self.nodes[leader.index].json("/api/nodes")?;
            let ready = rows.as_array()?.iter().filter(|row| row["connected"] == Value::Bool(true));
            let ready: BTreeSet<String> =
                ready.filter_map(|row| row["address"].as_str().map(str::to_owned)).collect();
            ready.is_superset(&expected).then_some(leader)
        })
    }

    /// Waits until all running nodes agree on the leader.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn leader(&mut self) -> Leader {
        self.leader_after(0)
    }

    /// The same, of a higher term than `term`.
    ///
    /// # Panics
    /// When that does not come.
    #[track_caller]
    pub fn leader_after(&mut self, term: u64) -> Leader {
        let running = self.running();
        let what = format!("nodes {running:?} agree on a leader after term {term}");
        poll_until(PATIENCE, &what, || {
            self.agreed_leader(&running).filter(|leader| leader.term > term)
        })
    }

    fn agreed_leader(&self, nodes: &[usize]) -> Option<Leader> {
        let told: Option<Vec<Leader>> =
            nodes.iter().map(|index| self.leader_told_by(*index)).collect();
        let told = told?;
        let first = told.first()?;
        told.iter().all(|leader| leader == first).then(|| first.clone())
    }

    /// Whom a node takes for the leader.
    #[must_use]
    pub fn leader_told_by(&self, index: usize) -> Option<Leader> {
        let told = self.nodes[index].json("/api/leader")?;
        let address = told["address"].as_str()?;
        let index = self.nodes.iter().position(|node| node.http().to_string() == address)?;
        let node_id = told["node_id"].as_str()?.to_owned();
        Some(Leader { index, node_id, term: told["term"].as_u64()? })
    }

    /// A running node that does not lead.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn follower(&mut self) -> usize {
        let leader = self.leader();
        let running = self.running();
        *running.iter().find(|index| **index != leader.index).expect("not all nodes lead")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.nodes.iter().for_each(Node::show_log);
        }
        self.nodes.iter_mut().for_each(Node::kill);
        // A test may have laid a data directory elsewhere.
        for node in &self.nodes {
            sweep(node.data_dir());
        }
        sweep(self.directory.path());
    }
}

fn flags(options: &ClusterOptions, seeds: &[String]) -> Vec<String> {
    let mut flags: Vec<String> = Vec::new();
    let mut flag = |name: &str, value: &str| flags.extend([name.to_owned(), value.to_owned()]);
    for seed in seeds {
        flag("--seed", seed);
    }
    flag("--resources", &options.resources);
    flag("--timing-factor", &options.timing_factor.to_string());
    flag("--gossip-interval", "200ms");
    flag("--agent-timeout", options.agent_timeout);
    flag("--agent-timeout-dead", options.agent_timeout_dead);
    flag("--reconnect-grace", options.reconnect_grace);
    flags.extend(["--open-http".to_owned(), "--allow-root-tasks".to_owned()]);
    flags.extend(options.flags.iter().cloned());
    flags
}
