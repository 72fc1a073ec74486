//! Draws each part of the node from its picture.

use std::{collections::BTreeMap, sync::Arc};

use meshos_control::{
    agent,
    master::{AgentView, FrameworkState, FrameworkView, NodeState, View},
};
use meshos_membership::{
    gossip,
    raft::{Health, Status, VoterRole, VoterStatus},
    view::{self, ClusterView},
};
use meshos_protocol::{
    ids::NodeId,
    resources::{Amount, ResourceName, Resources},
    task::TaskState,
    time::millis,
};

use super::{
    canvas::{Canvas, flag, long, number},
    catalogue as all,
    catalogue::Metric,
};
use crate::{cluster::Leader, driver::agent::SandboxStatus};

/// Bytes in one MB of the resources mem and disk.
const MB: f64 = 1_048_576.0;

type Rows<'a, T> = Box<dyn Iterator<Item = &'a Arc<T>> + 'a>;

/// The cluster as its leader has it.
pub(super) fn cluster(canvas: &Canvas, view: &View) {
    agents(canvas, Box::new(view.agents.iter()));
    frameworks(canvas, Box::new(view.frameworks.iter()));
    let live = TaskState::ALL.into_iter().filter(|state| !state.is_terminal());
    for state in live {
        let count = view.tasks_by_state.get(state);
        canvas.gauge(&all::CLUSTER_TASKS, &[state.name()], long(count));
    }
    canvas.gauge(&all::CLUSTER_OFFERS, &[], number(view.offers.len()));
}

pub(super) fn agents(canvas: &Canvas, agents: Rows<'_, AgentView>) {
    let mut sums =
        [("total", Sum::default()), ("offered", Sum::default()), ("used", Sum::default())];
    let mut states: BTreeMap<&str, usize> = [
        NodeState::Active,
        NodeState::Draining,
        NodeState::Drained,
        NodeState::Deactivated,
        NodeState::Unreachable,
        NodeState::Gone,
    ]
    .map(|state| (node_state(state), 0))
    .into();
    let mut connected = 0;
    for agent in agents {
        *states.entry(node_state(agent.state)).or_default() += 1;
        connected += usize::from(agent.connected);
        if !matches!(agent.state, NodeState::Unreachable | NodeState::Gone) {
            let parts = [&agent.resources, &agent.offered, &agent.used];
            sums.iter_mut().zip(parts).for_each(|((_, sum), resources)| sum.add(resources));
        }
    }
    for (amount, Sum { kept, revocable }) in sums {
        let [cpus, mem, disk, gpus] = kept.map(units);
        canvas.gauge(&all::CLUSTER_CPUS, &[amount], cpus);
        canvas.gauge(&all::CLUSTER_MEMORY, &[amount], mem * MB);
        canvas.gauge(&all::CLUSTER_DISK, &[amount], disk * MB);
        canvas.gauge(&all::CLUSTER_GPUS, &[amount], gpus);
        draw_revocable(canvas, &all::CLUSTER_REVOCABLE, amount, revocable);
    }
    for (state, count) in states {
        canvas.gauge(&all::CLUSTER_AGENTS, &[state], number(count));
    }
    canvas.gauge(&all::CLUSTER_AGENTS_CONNECTED, &[], number(connected));
}

fn frameworks(canvas: &Canvas, frameworks: Rows<'_, FrameworkView>) {
    let mut subscribed = 0;
    let mut reconnecting = 0;
    let mut disconnected = 0;
    for framework in frameworks {
        match framework.state {
            FrameworkState::Subscribed => subscribed += 1,
            FrameworkState::Reconnecting => reconnecting += 1,
            FrameworkState::Disconnected => disconnected += 1,
            FrameworkState::Closed => {}
        }
    }
    canvas.gauge(&all::CLUSTER_FRAMEWORKS, &["subscribed"], number(subscribed));
    canvas.gauge(&all::CLUSTER_FRAMEWORKS, &["reconnecting"], number(reconnecting));
    canvas.gauge(&all::CLUSTER_FRAMEWORKS, &["disconnected"], number(disconnected));
}

const fn node_state(state: NodeState) -> &'static str {
    match state {
        NodeState::Active => "active",
        NodeState::Draining => "draining",
        NodeState::Drained => "drained",
        NodeState::Deactivated => "deactivated",
        NodeState::Unreachable => "unreachable",
        NodeState::Gone => "gone",
    }
}

/// The resources that are summed up.
const SUMMED: [ResourceName; 4] =
    [ResourceName::Cpus, ResourceName::Mem, ResourceName::Disk, ResourceName::Gpus];

/// Amounts of those. What may be taken back counts by itself: it is what others have already.
#[derive(Default)]
struct Sum {
    kept: [Amount; SUMMED.len()],
    revocable: [Amount; SUMMED.len()],
}

impl Sum {
    fn add(&mut self, resources: &Resources) {
        for resource in resources {
            let place = SUMMED.iter().position(|name| name == resource.name());
            let (Some(place), Some(amount)) = (place, resource.amount()) else { continue };
            let revocable = resource.metadata().revocable;
            let sums = if revocable { &mut self.revocable } else { &mut self.kept };
            sums[place] = sums[place].saturating_add(amount);
        }
    }
}

fn draw_revocable(
    canvas: &Canvas,
    metric: &'static Metric,
    amount: &str,
    revocable: [Amount; SUMMED.len()],
) {
    for (name, sum) in SUMMED.iter().zip(revocable) {
        canvas.gauge(metric, &[name.as_str(), amount], units(sum));
    }
}

fn units(amount: Amount) -> f64 {
    amount.millis() as f64 / 1000.0
}

/// This node's agent, and what its records have cost.
pub(super) fn agent(canvas: &Canvas, view: &agent::View, store_writes: u64) {
    canvas.counter(&all::AGENT_STORE_WRITES, &[], store_writes);
    canvas.gauge(&all::AGENT_REGISTERED, &[], flag(view.registered));
    canvas.gauge(&all::AGENT_STORAGE_FAILED, &[], flag(view.storage_failure.is_some()));
    for (amount, resources) in [("total", &view.resources), ("used", &view.used)] {
        let mut sum = Sum::default();
        sum.add(resources);
        let [cpus, mem, disk, _] = sum.kept.map(units);
        canvas.gauge(&all::AGENT_CPUS, &[amount], cpus);
        canvas.gauge(&all::AGENT_MEMORY, &[amount], mem * MB);
        canvas.gauge(&all::AGENT_DISK, &[amount], disk * MB);
        draw_revocable(canvas, &all::AGENT_REVOCABLE, amount, sum.revocable);
    }
    let reserved = view.resources.reserved();
    for name in [ResourceName::Cpus, ResourceName::Gpus, ResourceName::Mem, ResourceName::Disk] {
        let amount = units(reserved.amount_of(&name));
        canvas.gauge(&all::AGENT_RESERVED, &[name.as_str()], amount);
    }
    let volumes = view.resources.iter().filter(|resource| resource.metadata().is_volume());
    canvas.gauge(&all::AGENT_VOLUMES, &[], number(volumes.count()));
    let mut states: BTreeMap<&str, usize> = [
        TaskState::Staging,
        TaskState::Starting,
        TaskState::Running,
        TaskState::Killing,
        TaskState::Finished,
        TaskState::Failed,
        TaskState::Killed,
        TaskState::Dropped,
    ]
    .map(|state| (state.name(), 0))
    .into();
    for task in &view.tasks {
        *states.entry(task.record.state.name()).or_default() += 1;
    }
    for (state, count) in states {
        canvas.gauge(&all::AGENT_TASKS, &[state], number(count));
    }
    canvas.gauge(&all::AGENT_PROBES_UNDER_WAY, &[], number(view.probes));
    canvas.gauge(&all::AGENT_CHECKS_WAITING, &[], number(view.checks_waiting));
    agent_counters(canvas, &view.counters);
}

fn agent_counters(canvas: &Canvas, counters: &agent::Counters) {
    let plain: [(&'static Metric, u64); 14] = [
        (&all::AGENT_LAUNCHES, counters.launches),
        (&all::AGENT_LAUNCHES_REFUSED, counters.launches_refused),
        (&all::AGENT_LAUNCHES_REPEATED, counters.launches_repeated),
        (&all::AGENT_CONTAINERS_STARTED, counters.starts),
        (&all::AGENT_KILLS, counters.kills),
        (&all::AGENT_PROBES, counters.probes),
        (&all::AGENT_PROBES_FAILED, counters.probes_failed),
        (&all::AGENT_HEALTH_KILLS, counters.health_kills),
        (&all::AGENT_OPERATIONS, counters.operations),
        (&all::AGENT_UPDATES_SENT, counters.updates_sent),
        (&all::AGENT_UPDATES_RETRIED, counters.updates_retried),
        (&all::AGENT_UPDATES_ACKNOWLEDGED, counters.updates_acknowledged),
        (&all::AGENT_REGISTRATIONS, counters.registrations),
        (&all::AGENT_STALE, counters.stale_frames.saturating_add(counters.unconfirmed_frames)),
    ];
    for (metric, value) in plain {
        canvas.counter(metric, &[], value);
    }
    let ended = [
        (TaskState::Finished, counters.tasks_finished),
        (TaskState::Failed, counters.tasks_failed),
        (TaskState::Killed, counters.tasks_killed),
        (TaskState::Dropped, counters.tasks_dropped),
    ];
    for (state, value) in ended {
        canvas.counter(&all::AGENT_TASKS_ENDED, &[state.name()], value);
    }
}

/// The sandboxes of ended tasks.
pub(super) fn sandboxes(canvas: &Canvas, status: SandboxStatus) {
    canvas.counter(&all::AGENT_SANDBOXES_REMOVED, &[], status.removed);
    canvas.counter(&all::AGENT_SANDBOX_FAILURES, &[], status.failures);
    canvas.gauge(&all::AGENT_SANDBOX_DISK, &["total"], long(status.disk.total_bytes));
    canvas.gauge(&all::AGENT_SANDBOX_DISK, &["used"], long(status.disk.used_bytes));
    canvas.gauge(&all::AGENT_SANDBOX_AGE, &[], long(millis(status.allowed_age)));
}

/// Whom this node follows.
pub(super) fn leader(canvas: &Canvas, leader: Option<&Leader>, leads: bool) {
    canvas.gauge(&all::LEADER_KNOWN, &[], flag(leader.is_some()));
    canvas.gauge(&all::LEADER_SELF, &[], flag(leads));
    canvas.gauge(&all::LEADER_TERM, &[], leader.map_or(0.0, |leader| long(leader.fence.term.0)));
}

/// This node's part of the raft group.
pub(super) fn raft(canvas: &Canvas, status: Status, voters: &[VoterStatus], health: &Health) {
    canvas.gauge(&all::RAFT_TERM, &[], long(status.term.0));
    canvas.gauge(&all::RAFT_HEALTHY, &[], flag(*health == Health::Running));
    let indexes: [(&'static Metric, Option<u64>); 4] = [
        (&all::RAFT_LAST_INDEX, status.last_index),
        (&all::RAFT_COMMIT_INDEX, status.committed_index),
        (&all::RAFT_APPLIED_INDEX, status.applied_index),
        (&all::RAFT_SNAPSHOT_INDEX, status.snapshot_index),
    ];
    for (metric, index) in indexes {
        canvas.gauge(metric, &[], index.map_or(0.0, long));
    }
    let voting = voters.iter().filter(|status| status.role == VoterRole::Voter).count();
    canvas.gauge(&all::RAFT_VOTERS, &[], number(voting));
    for status in voters {
        if let Some(lag) = status.lag {
            canvas.gauge(&all::RAFT_LAG, &[&status.voter.node_id.to_string()], long(lag));
        }
    }
}

/// What this node knows of the leader's tasks.
pub(super) fn hints(canvas: &Canvas, live: usize) {
    canvas.gauge(&all::HINTED_TASKS, &[], number(live));
}

/// What this node hears of the others.
pub(super) fn gossip(canvas: &Canvas, view: &ClusterView, counters: gossip::Counters) {
    canvas.gauge(&all::GOSSIP_MEMBERS_ALIVE, &[], number(1 + view.alive().count()));
    canvas.gauge(&all::GOSSIP_MEMBERS_KNOWN, &[], number(1 + view.peers.len()));
    canvas.counter(&all::GOSSIP_PACKETS_SENT, &[], counters.packets_sent);
    canvas.counter(&all::GOSSIP_PACKETS_RECEIVED, &[], counters.packets_received);
    canvas.counter(&all::GOSSIP_UNSENT, &[], counters.unsent);
    canvas.counter(&all::GOSSIP_RESTARTS, &[], counters.restarts);
    let dropped = [
        ("garbled", counters.garbled),
        ("forged", counters.forged),
        ("replayed", counters.replayed),
        ("crowded", counters.crowded),
        ("incomplete", counters.incomplete),
        ("undecodable", counters.undecodable),
        ("refused", counters.refused),
    ];
    for (reason, count) in dropped {
        canvas.counter(&all::GOSSIP_PACKETS_DROPPED, &[reason], count);
    }
}

/// How this machine fares, as it tells the other nodes.
pub(super) fn health(canvas: &Canvas, health: view::Health) {
    let share = |thousandths: u16| f64::from(thousandths) / 1_000.0;
    canvas.gauge(&all::NODE_LOAD, &[], f64::from(health.load_thousandths) / 1_000.0);
    let memory = share(health.memory_pressure_thousandths);
    canvas.gauge(&all::NODE_PRESSURE, &["memory"], memory);
    canvas.gauge(&all::NODE_PRESSURE, &["disk"], share(health.disk_pressure_thousandths));
    canvas.gauge(&all::NODE_DRAINING, &[], flag(health.draining));
}

/// Which node and release this is.
pub(super) fn node(canvas: &Canvas, node: NodeId) {
    canvas.gauge(&all::NODE_INFO, &[&node.to_string(), env!("CARGO_PKG_VERSION")], 1.0);
}
