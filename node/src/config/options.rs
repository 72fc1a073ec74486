//! The resolved options of a node: nothing optional that must be there, units in the types.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

use meshos_alloc::{MinAllocatable, OfferMode, PolicyChoice};
use meshos_isolation::{IsolatorName, garbage};
use meshos_protocol::{
    attributes::Attributes,
    resources::{ResourceName, Resources},
    wishes::FaultDomain,
};

/// A node of the designated group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seed {
    /// `host:port` of its gossip and cluster HTTP port.
    pub gossip: String,
    /// `host:port` of its QUIC port.
    pub quic: String,
}

/// Where the node's identity in the cluster comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// A directory made by `meshos keygen`: this node can sign others.
    Directory(PathBuf),
    /// A join token: a seed signs this node's key.
    JoinToken(String),
    /// No key was given: a throwaway key of this user, good for loopback only.
    Loopback(PathBuf),
}

/// Times of the cluster; tests stretch them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// Multiplies raft's heartbeat and election times, and the idle times of connections.
    pub factor: u32,
    /// Between two rounds of gossip.
    pub gossip: Duration,
    /// An agent without a connection for so long is unreachable.
    pub agent_timeout: Duration,
    /// The same, when gossip too calls its node dead.
    pub agent_timeout_when_dead: Duration,
    /// How long a framework whose gateway died has to come back before it counts as disconnected.
    pub reconnect_grace: Duration,
    /// An unanswered offer is taken back after so long, when others wait.
    pub offer_timeout: Duration,
}

/// How long executors may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExecutorTimes {
    /// From their start to their registration.
    pub registration: Duration,
    /// To come back to an agent that was away.
    pub recovery: Duration,
    /// To end when they are told to and do not say themselves.
    pub shutdown: Duration,
}

/// How the leader shares the cluster out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sharing {
    /// The order of service, until operators choose another.
    pub policy: PolicyChoice,
    /// Whether one or several are offered the same resources at once.
    pub offers: OfferMode,
    /// The least that is worth an offer.
    pub min_allocatable: MinAllocatable,
    /// The resources that shares leave out.
    pub shares_exclude: BTreeSet<ResourceName>,
}

/// All that a node is told.
#[derive(Debug, Clone)]
pub(crate) struct NodeOptions {
    pub data_dir: PathBuf,
    pub keys: KeySource,
    /// Where HTTP (TCP) and gossip (UDP) listen.
    pub listen: SocketAddr,
    /// Where the agent's HTTP (TCP) and QUIC (UDP) listen.
    pub agent_listen: SocketAddr,
    /// Where clients of ZooKeeper (TCP) are served, if they are.
    pub zk_listen: Option<SocketAddr>,
    /// Under which address others reach both.
    pub advertise: std::net::IpAddr,
    /// Shown in offers.
    pub hostname: String,
    pub seeds: Vec<Seed>,
    pub resources: Resources,
    pub attributes: Attributes,
    /// Where it stands.
    pub domain: Option<FaultDomain>,
    /// The isolators; empty: chosen for the machine.
    pub isolation: Vec<IsolatorName>,
    /// Cap each task at its cpus.
    pub cpu_quota: bool,
    /// The most processes and threads of one task.
    pub task_pids_max: Option<u32>,
    pub allow_root_tasks: bool,
    /// HTTP without credentials, on loopback only.
    pub open_http: bool,
    /// The file of the principals that may call, beside whoever has the token.
    pub http_principals: Option<PathBuf>,
    /// End all tasks when the node is stopped by a signal.
    pub stop_tasks: bool,
    /// A voter that was not heard for so long is replaced by a healthy node; absent: never.
    pub replace_voters_after: Option<Duration>,
    /// After how many registry entries a voter makes a snapshot.
    pub snapshot_every_entries: u64,
    /// How many bytes of each of its terms as the leader the node records; 0: none.
    pub record_events: u64,
    /// How many nodes the cluster takes in.
    pub nodes_max: usize,
    pub times: Times,
    pub executor_times: ExecutorTimes,
    /// How long the sandboxes of ended tasks are kept.
    pub sandbox_rule: garbage::Rule,
    pub sharing: Sharing,
}

impl NodeOptions {
    /// `host:port` of the cluster HTTP port, for others.
    pub(crate) fn http_address(&self) -> SocketAddr {
        SocketAddr::new(self.advertise, self.listen.port())
    }

    /// The agent port as processes of this machine reach it, whatever others may do.
    pub(crate) fn agent_endpoint(&self) -> SocketAddr {
        use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
        let ip = match self.agent_listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.agent_listen.port())
    }

    /// `host:port` of the agent port, for others.
    pub(crate) fn agent_address(&self) -> SocketAddr {
        SocketAddr::new(self.advertise, self.agent_listen.port())
    }
}
