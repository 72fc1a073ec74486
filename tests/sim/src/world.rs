//! The whole cluster in one struct: what exists, and what happens next.

use std::{collections::BTreeSet, fmt};

use meshos_control::{
    agent::{self, ProbeOutcome},
    master,
};
use meshos_protocol::{
    ids::{ClusterId, ContainerId, NodeId, TaskId, Term},
    task::Exit,
};

use crate::{
    agenda::Agenda,
    dice::Dice,
    driver::{Act, Driver},
    executors::Step,
    invariants::{self, LookedAt},
    net::{Class, Frame, Host, Net, Side, StreamId},
    node::Node,
    operators::Emptied,
    oracle::Oracle,
    raft::Raft,
    setup::Setup,
    trace::Trace,
    volumes::Directories,
};

/// The simulated cluster.
pub const CLUSTER: ClusterId = ClusterId::from_u128(0x6d65_7368);
/// The pace of the raft group.
const HEARTBEAT_MS: u64 = 50;

/// What can be planned.
#[derive(Debug, Clone)]
pub enum Happening {
    /// A frame arrives.
    Flow { stream: StreamId, to: Side },
    /// A node's oldest writes become durable.
    Disk { node: usize, generation: u64 },
    /// An agent's deadline has come.
    AgentTick { node: usize, generation: u64 },
    /// A master's deadline has come.
    MasterTick { node: usize, term: Term },
    /// A frame is said again.
    Echo { stream: StreamId, to: Side, frame: Box<Frame> },
    /// The raft group exchanges heartbeats.
    Heartbeat,
    /// The voters have answered whether a leader leads.
    Confirmed { node: usize, generation: u64, term: Term, leader: usize },
    /// A fence is on a node's disk.
    FenceWritten { node: usize, generation: u64, term: Term, leader: usize },
    /// A leader's oldest proposal may be committed.
    Commit { node: usize, term: Term },
    /// Directories of volumes are made or removed.
    Directories { node: usize, generation: u64, change: Directories },
    /// A container comes up.
    ContainerUp { node: usize, generation: u64, container: ContainerId },
    /// A container ends, unless it has ended.
    ContainerEnds { node: usize, container: ContainerId, exit: Exit },
    /// A probe of a task is over.
    ProbeEnds { node: usize, generation: u64, probe: ContainerId, outcome: ProbeOutcome },
    /// An executor does something.
    Executor { node: usize, container: ContainerId, step: Step },
    /// A new launcher takes over.
    LauncherStarts { node: usize },
    /// A node's process starts.
    NodeStarts { node: usize },
    /// A node's process ends and is started again.
    NodeDies { node: usize, generation: u64 },
    /// A node tries to reach the leader again.
    Reconnect { node: usize, generation: u64 },
    /// A gateway tries to reach the leader for a caller again.
    Relay { node: usize, generation: u64, caller: u64 },
    /// Gossip tells what it believes of a node.
    Gossip { node: usize, alive: bool },
    /// A framework does something.
    Driver { driver: usize, incarnation: u64, act: Act },
    /// A node closes a stream that it does not use any more.
    HangUp { stream: StreamId },
    /// Something goes wrong.
    Fault,
    /// All partitions end.
    Heal,
    /// A disk is as fast as before.
    DiskRecovers { node: usize },
}

/// Makes other dice of the same seed.
const ECHOES: u64 = 0x6563_686f;
const PROBES: u64 = 0x7072_6f62;

/// The whole cluster.
#[derive(Debug)]
pub struct World {
    /// What it was started from.
    pub setup: Setup,
    /// All randomness.
    pub dice: Dice,
    /// Decides what is said twice; dice of its own, so that the rest of a seed's story does not hang on it.
    pub(crate) echoes: Dice,
    /// Decides on checks and what they find, likewise.
    pub(crate) probes: Dice,
    /// What happened.
    pub trace: Trace,
    /// Simulated time.
    pub now_ms: u64,
    agenda: Agenda<Happening>,
    /// The machines.
    pub nodes: Vec<Node>,
    /// The raft group.
    pub raft: Raft,
    /// Streams and partitions.
    pub net: Net,
    /// The frameworks.
    pub drivers: Vec<Driver>,
    /// What really happened, and what was told.
    pub oracle: Oracle,
    /// The nodes that gossip calls dead.
    pub believed_dead: BTreeSet<usize>,
    /// Whether things go wrong.
    pub faults: bool,
    /// Whether frameworks leave their offers unanswered.
    pub resting: bool,
    /// The agent that an operator is draining on purpose.
    pub emptied: Option<Emptied>,
    /// The nodes that an operator says will be away, on purpose; absent: operators say what they like.
    pub windows: Option<BTreeSet<NodeId>>,
    /// Whether frameworks reserve; once they do not, operators undo what they did.
    pub reserving: bool,
    /// What rules were held against after the step before.
    pub(crate) looked_at: LookedAt,
}

impl World {
    /// A cluster whose nodes have just been switched on.
    pub fn new(setup: Setup, seed: u64, verbose: bool) -> Self {
        let dice = Dice::new(seed);
        let nodes: Vec<Node> = (1u64..)
            .zip(&setup.nodes)
            .map(|(number, capacity)| Node::new(NodeId::from_bits(number), capacity.clone()))
            .collect();
        let drivers = Driver::all(&setup);
        let mut world = Self {
            dice,
            echoes: Dice::new(seed ^ ECHOES),
            probes: Dice::new(seed ^ PROBES),
            trace: Trace::new(verbose),
            now_ms: 0,
            agenda: Agenda::default(),
            nodes,
            raft: Raft::new((0..setup.voters).collect()),
            net: Net::default(),
            drivers,
            oracle: Oracle::default(),
            believed_dead: BTreeSet::new(),
            faults: false,
            resting: false,
            emptied: None,
            windows: None,
            reserving: true,
            looked_at: LookedAt::default(),
            setup,
        };
        for (node, place) in world.nodes.iter_mut().zip(&world.setup.places) {
            node.place = place.clone();
        }
        world.draw_releases();
        for node in 0..world.nodes.len() {
            let delay = world.dice.number(0..=300);
            world.plan(delay, Happening::NodeStarts { node });
        }
        for driver in 0..world.drivers.len() {
            let delay = world.dice.number(500..=3_000);
            world.plan_act(driver, delay, Act::Connect);
        }
        world.plan(HEARTBEAT_MS, Happening::Heartbeat);
        world
    }

    /// Plans something for `delay_ms` from now.
    pub fn plan(&mut self, delay_ms: u64, happening: Happening) {
        self.plan_at(self.now_ms + delay_ms, happening);
    }

    /// Plans something for a moment.
    pub fn plan_at(&mut self, at_ms: u64, happening: Happening) {
        self.agenda.plan(at_ms, happening);
    }

    /// Notes what happens.
    pub fn note(&mut self, what: fmt::Arguments<'_>) {
        self.trace.note(self.now_ms, what);
    }

    /// Lets `ms` of simulated time pass.
    pub fn run_ms(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.step(until) {}
        self.now_ms = until;
    }

    /// Lets time pass until something is so. False when it is not within `ms`.
    pub fn run_until(&mut self, ms: u64, mut so: impl FnMut(&Self) -> bool) -> bool {
        let until = self.now_ms + ms;
        while !so(self) {
            if !self.step(until) {
                self.now_ms = until;
                return so(self);
            }
        }
        true
    }

    /// Lets the next thing happen and checks every invariant. False when nothing happens until
    /// `until_ms`.
    pub fn step(&mut self, until_ms: u64) -> bool {
        let Some((at_ms, happening)) = self.agenda.next(until_ms) else { return false };
        self.now_ms = at_ms;
        self.happen(happening);
        invariants::check_always(self);
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Flow { stream, to } => self.flow(stream, to),
            Happening::Echo { stream, to, frame } => self.deliver(stream, to, 0, *frame),
            Happening::Disk { node, generation } => self.disk_flushes(node, generation),
            Happening::AgentTick { node, generation } => self.agent_ticks(node, generation),
            Happening::MasterTick { node, term } => self.master_ticks(node, term),
            Happening::Heartbeat => {
                self.heartbeat();
                self.plan(HEARTBEAT_MS, Happening::Heartbeat);
            }
            Happening::Confirmed { node, generation, term, leader } => {
                self.leader_confirmed(node, generation, term, leader);
            }
            Happening::FenceWritten { node, generation, term, leader } => {
                self.fence_written(node, generation, term, leader);
            }
            Happening::Commit { node, term } => self.commit(node, term),
            Happening::Directories { node, generation, change } => {
                self.directories_changed(node, generation, change);
            }
            Happening::ContainerUp { node, generation, container } => {
                self.container_prepared(node, generation, container);
            }
            Happening::ContainerEnds { node, container, exit } => {
                self.container_ends(node, container, exit);
            }
            Happening::ProbeEnds { node, generation, probe, outcome } => {
                self.probe_ends(node, generation, probe, outcome);
            }
            Happening::Executor { node, container, step } => {
                self.executor_steps(node, &container, step);
            }
            Happening::LauncherStarts { node } => self.launcher_starts(node),
            Happening::NodeStarts { node } => self.start_node(node),
            Happening::NodeDies { node, generation } => {
                if self.is_running(node, generation) {
                    self.kill_node(node, 500);
                }
            }
            Happening::Reconnect { node, generation } => self.open_agent_stream(node, generation),
            Happening::Relay { node, generation, caller } => {
                self.open_relay(node, generation, caller);
            }
            Happening::Gossip { node, alive } => self.gossip(node, alive),
            Happening::Driver { driver, incarnation, act } => self.drive(driver, incarnation, act),
            Happening::HangUp { stream } => self.finish(stream, Side::Opener),
            Happening::Fault => self.fault(),
            Happening::Heal => {
                self.net.heal();
                self.note(format_args!("the network is whole"));
            }
            Happening::DiskRecovers { node } => self.nodes[node].disk_factor = 1,
        }
    }

    fn disk_flushes(&mut self, node: usize, generation: u64) {
        if !self.is_running(node, generation) {
            return;
        }
        let pending = self.nodes[node].disk.pending();
        let count = if self.dice.chance(700) { pending } else { 1 };
        if let Some(write) = self.nodes[node].disk.flush(count) {
            self.agent_event(node, agent::Event::Persisted(write));
        }
    }

    fn agent_ticks(&mut self, node: usize, generation: u64) {
        let now_ms = self.now_ms;
        let Some(process) = &mut self.nodes[node].process else { return };
        // A tick that was planned before an earlier deadline turned up is void.
        if process.generation != generation || process.agent_tick != Some(now_ms) {
            return;
        }
        process.agent_tick = None;
        self.agent_event(node, agent::Event::Tick);
        if let Some(process) = &self.nodes[node].process {
            let next = process.agent.next_deadline();
            assert!(next.is_none_or(|next| next.0 > now_ms), "a tick leaves nothing due");
        }
    }

    /// Whether a node's process still is the one of this start.
    pub fn is_running(&self, node: usize, generation: u64) -> bool {
        self.nodes[node].process.as_ref().is_some_and(|process| process.generation == generation)
    }

    /// How long a task runs by itself.
    pub fn draw_task_ms(&mut self, task: &TaskId) -> u64 {
        let owner = self.drivers.iter().find(|driver| driver.owns(task));
        let range = owner.map_or(1..=1_000, |driver| driver.setup.task_ms.clone());
        self.dice.skewed(range)
    }

    /// Whether all frameworks have ended their subscriptions.
    pub fn all_torn_down(&self) -> bool {
        self.drivers.iter().all(|driver| driver.torn_down)
    }

    /// What the newest leader shows to readers; nothing while nobody leads.
    pub fn master_view(&self) -> Option<master::View> {
        Some(self.nodes[self.leader()?].leading()?.master.view())
    }

    /// Whether someone leads and all agents have reported to it.
    pub fn is_whole(&self) -> bool {
        self.master_view().is_some_and(|view| {
            view.agents.iter().filter(|agent| agent.connected).count() == self.nodes.len()
        })
    }

    /// Opens a stream; its first frame is on its way.
    pub fn open_stream(&mut self, class: Class, hosts: [Host; 2]) -> StreamId {
        let incarnations = hosts.map(|host| self.incarnation(host));
        let stream = self.net.open(class, hosts, incarnations);
        self.send(stream, Side::Acceptor, Frame::Hello);
        stream
    }

    /// The start of the process that runs on a host, or the last one that did.
    pub fn incarnation(&self, host: Host) -> u64 {
        match host {
            Host::Node(node) => self.nodes[node].generation,
            Host::Driver(driver) => self.drivers[driver].incarnation,
        }
    }

    fn host_lives(&self, host: Host, incarnation: u64) -> bool {
        match host {
            Host::Node(node) => self.is_running(node, incarnation),
            Host::Driver(driver) => self.drivers[driver].lives(incarnation),
        }
    }

    /// Sends a frame to one end of a stream.
    pub fn send(&mut self, stream: StreamId, to: Side, frame: Frame) {
        let delay = self.dice.skewed(1..=40);
        let echo = self.draw_echo(&frame);
        self.deliver(stream, to, delay, frame);
        if let Some(echo) = echo {
            self.send_again(stream, to, echo);
        }
    }

    /// Puts a frame on its way, to arrive after `delay` and after what was sent before.
    pub(crate) fn deliver(&mut self, stream: StreamId, to: Side, delay: u64, frame: Frame) {
        if let Some(at_ms) = self.net.send(stream, to, self.now_ms + delay, frame) {
            self.plan_at(at_ms, Happening::Flow { stream, to });
        }
    }

    /// A frame arrives, waits for a partition to end, or is lost with its stream.
    fn flow(&mut self, id: StreamId, to: Side) {
        if self.net.mark_blocked(id, self.now_ms).is_some() {
            self.plan(100, Happening::Flow { stream: id, to });
            return;
        }
        let Some(frame) = self.net.receive(id, to, self.now_ms) else { return };
        let Some(stream) = self.net.get(id) else { return };
        let (class, host) = (stream.class, stream.host(to));
        if !self.host_lives(host, stream.incarnation(to)) {
            // Nobody listens there; the sender waits in vain for a while.
            self.net.shut(id, to);
            let delay = self.dice.skewed(1..=self.setup.idle_ms);
            if let Some(at_ms) = self.net.send(id, to.other(), self.now_ms + delay, Frame::End) {
                self.plan_at(at_ms, Happening::Flow { stream: id, to: to.other() });
            }
            return;
        }
        if matches!(frame, Frame::End) {
            self.net.shut(id, to);
            self.stream_closed(id, class, host, to);
            return;
        }
        match (class, to, host) {
            (Class::Agent(term), Side::Acceptor, Host::Node(node)) => {
                self.leader_hears_agent(id, node, term, frame);
            }
            (Class::Agent(_), Side::Opener, Host::Node(node)) => self.agent_hears(node, id, frame),
            (Class::Relay(term, ..), Side::Acceptor, Host::Node(node)) => {
                self.leader_hears_gateway(id, node, term, frame);
            }
            (Class::Relay(_, caller, _), Side::Opener, Host::Node(node)) => {
                self.gateway_hears_leader(node, caller, id, frame);
            }
            (Class::Scheduler(caller), Side::Acceptor, Host::Node(node)) => {
                self.gateway_hears_driver(node, caller, id, frame);
            }
            (Class::Scheduler(_), Side::Opener, Host::Driver(driver)) => {
                self.driver_hears(driver, id, frame);
            }
            (_, _, Host::Node(_) | Host::Driver(_)) => unreachable!("no such stream: {class:?}"),
        }
    }

    /// One end closes a stream after everything it has sent.
    pub fn finish(&mut self, stream: StreamId, side: Side) {
        self.send(stream, side.other(), Frame::End);
        self.net.shut(stream, side);
    }

    /// A stream breaks; each end keeps what had arrived, and learns of it in its own time.
    pub fn reset(&mut self, stream: StreamId) {
        for side in [Side::Opener, Side::Acceptor] {
            let kept = self.dice.index(self.net.in_flight(stream, side) + 1);
            self.net.truncate(stream, side, kept);
            let delay = self.dice.skewed(1..=600);
            if let Some(at_ms) = self.net.send(stream, side, self.now_ms + delay, Frame::End) {
                self.plan_at(at_ms, Happening::Flow { stream, to: side });
            }
        }
    }

    /// Streams that could not deliver for too long are closed, by each end for itself.
    pub fn time_out_streams(&mut self) {
        for id in self.net.ids() {
            let Some(since) = self.net.mark_blocked(id, self.now_ms) else { continue };
            if self.now_ms - since < self.setup.idle_ms {
                continue;
            }
            for side in [Side::Opener, Side::Acceptor] {
                let Some(stream) = self.net.get(id) else { continue };
                let (class, host) = (stream.class, stream.host(side));
                let lives = self.host_lives(host, stream.incarnation(side));
                if self.net.shut(id, side) && lives {
                    self.stream_closed(id, class, host, side);
                }
            }
        }
    }

    /// A host's process is gone, and its streams break.
    pub fn host_is_down(&mut self, host: Host, incarnation: u64) {
        for id in self.net.ids() {
            for side in [Side::Opener, Side::Acceptor] {
                let Some(stream) = self.net.get(id) else { continue };
                if stream.host(side) == host && stream.incarnation(side) == incarnation {
                    let kept = self.dice.index(self.net.in_flight(id, side.other()) + 1);
                    self.net.truncate(id, side.other(), kept);
                    let delay = self.dice.skewed(1..=self.setup.idle_ms);
                    let to = side.other();
                    if let Some(at_ms) = self.net.send(id, to, self.now_ms + delay, Frame::End) {
                        self.plan_at(at_ms, Happening::Flow { stream: id, to });
                    }
                    self.net.shut(id, side);
                }
            }
        }
    }

    /// An end learns that its stream is closed.
    fn stream_closed(&mut self, id: StreamId, class: Class, host: Host, side: Side) {
        match (class, side, host) {
            (Class::Agent(_), Side::Acceptor, Host::Node(node)) => self.leader_lost_agent(node, id),
            (Class::Agent(_), Side::Opener, Host::Node(node)) => self.agent_lost_leader(node, id),
            (Class::Relay(..), Side::Acceptor, Host::Node(node)) => {
                self.leader_lost_gateway(node, id);
            }
            (Class::Relay(_, caller, _), Side::Opener, Host::Node(node)) => {
                self.gateway_lost_leader(node, caller, id);
            }
            (Class::Scheduler(caller), Side::Acceptor, Host::Node(node)) => {
                self.gateway_lost_driver(node, caller);
            }
            (Class::Scheduler(_), Side::Opener, Host::Driver(driver)) => {
                self.driver_lost_gateway(driver, id);
            }
            (_, _, Host::Node(_) | Host::Driver(_)) => {}
        }
    }
}
