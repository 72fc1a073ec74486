//! The network: streams that keep their order until they are cut, and partitions.
//!
//! The real transport is QUIC, so packets that are lost or doubled are none of the cores' business:
//! a stream delivers everything in order, late perhaps, or it is closed and whatever was on its way
//! is lost. Both ends learn of that, but not at the same time.

use std::collections::{BTreeMap, VecDeque};

use meshos_protocol::{
    ids::Term,
    messages::{
        agent::{ToAgentFrame, ToLeader},
        scheduler::{CallFrame, EventFrame},
    },
};

/// Numbers streams; never reused.
pub type StreamId = u64;

/// One of the two ends of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Who opened it.
    Opener,
    /// Who it was opened to.
    Acceptor,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Opener => Self::Acceptor,
            Self::Acceptor => Self::Opener,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Opener => 0,
            Self::Acceptor => 1,
        }
    }
}

/// A process that can hold streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A node, by index.
    Node(usize),
    /// A framework's driver, by index.
    Driver(usize),
}

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// An agent to the leader of a term.
    Agent(Term),
    /// A gateway's stream to the leader of a term, for one of its callers, which is that driver.
    Relay(Term, u64, usize),
    /// A driver to a gateway, which numbers its callers.
    Scheduler(u64),
}

/// What travels.
#[derive(Debug, Clone)]
pub enum Frame {
    /// The first frame from the opener.
    Hello,
    /// On agent streams.
    ToLeader(ToLeader),
    /// On agent streams, back.
    ToAgent(ToAgentFrame),
    /// On scheduler and relay streams.
    Call(CallFrame),
    /// On scheduler and relay streams, back.
    Event(EventFrame),
    /// The other end is closed.
    End,
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    /// What it is for.
    pub class: Class,
    /// Who holds its ends.
    pub hosts: [Host; 2],
    /// The starts of the hosts' processes that hold the ends.
    pub incarnations: [u64; 2],
    open: [bool; 2],
    /// What is on its way to each end, with the time of arrival.
    queues: [VecDeque<(u64, Frame)>; 2],
    /// Since when it cannot deliver.
    pub blocked_since: Option<u64>,
}

impl Stream {
    /// Who holds an end.
    pub const fn host(&self, side: Side) -> Host {
        self.hosts[side.index()]
    }

    /// The start of the process that holds an end.
    pub const fn incarnation(&self, side: Side) -> u64 {
        self.incarnations[side.index()]
    }

    /// Whether an end still takes part.
    pub const fn is_open(&self, side: Side) -> bool {
        self.open[side.index()]
    }
}

/// All streams, and who can reach whom.
#[derive(Debug, Default)]
pub struct Net {
    streams: BTreeMap<StreamId, Stream>,
    opened: StreamId,
    /// The side of the partition that a host is on; 0 when it is not listed.
    groups: BTreeMap<Host, u8>,
}

impl Net {
    /// Opens a stream; the first frame is on its way.
    pub fn open(&mut self, class: Class, hosts: [Host; 2], incarnations: [u64; 2]) -> StreamId {
        self.opened += 1;
        let stream = Stream {
            class,
            hosts,
            incarnations,
            open: [true; 2],
            queues: Default::default(),
            blocked_since: None,
        };
        self.streams.insert(self.opened, stream);
        self.opened
    }

    /// A stream that at least one end still holds.
    pub fn get(&self, stream: StreamId) -> Option<&Stream> {
        self.streams.get(&stream)
    }

    /// All streams, in the order of their opening.
    pub fn ids(&self) -> Vec<StreamId> {
        self.streams.keys().copied().collect()
    }

    /// Puts a frame on its way to `to`, to arrive at `at_ms` but not before what was sent earlier.
    /// Tells when; nothing when the stream is closed.
    pub fn send(&mut self, stream: StreamId, to: Side, at_ms: u64, frame: Frame) -> Option<u64> {
        let stream = self.streams.get_mut(&stream)?;
        if !stream.is_open(to) {
            return None;
        }
        let queue = &mut stream.queues[to.index()];
        let at_ms = queue.back().map_or(at_ms, |(earlier, _)| at_ms.max(*earlier));
        queue.push_back((at_ms, frame));
        Some(at_ms)
    }

    /// Takes the next frame that has arrived at `to`.
    pub fn receive(&mut self, stream: StreamId, to: Side, now_ms: u64) -> Option<Frame> {
        let stream = self.streams.get_mut(&stream)?;
        let queue = &mut stream.queues[to.index()];
        if queue.front().is_none_or(|(at_ms, _)| *at_ms > now_ms) {
            return None;
        }
        queue.pop_front().map(|(_, frame)| frame)
    }

    /// How many frames are on their way to an end.
    pub fn in_flight(&self, stream: StreamId, to: Side) -> usize {
        self.streams.get(&stream).map_or(0, |stream| stream.queues[to.index()].len())
    }

    /// Loses what is on its way to `to` beyond the oldest `kept` frames.
    pub fn truncate(&mut self, stream: StreamId, to: Side, kept: usize) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.queues[to.index()].truncate(kept);
        }
    }

    /// One end is done with a stream. False when it was before.
    pub fn shut(&mut self, id: StreamId, side: Side) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        let was_open = std::mem::replace(&mut stream.open[side.index()], false);
        stream.queues[side.index()].clear();
        if stream.open == [false; 2] {
            self.streams.remove(&id);
        }
        was_open
    }

    /// Marks whether a stream can deliver; tells since when it cannot.
    pub fn mark_blocked(&mut self, stream: StreamId, now_ms: u64) -> Option<u64> {
        let blocked = {
            let stream = self.streams.get(&stream)?;
            !self.reaches(stream.hosts[0], stream.hosts[1])
        };
        let stream = self.streams.get_mut(&stream)?;
        stream.blocked_since = blocked.then(|| stream.blocked_since.unwrap_or(now_ms));
        stream.blocked_since
    }

    /// Whether two hosts can talk.
    pub fn reaches(&self, a: Host, b: Host) -> bool {
        a == b || self.group(a) == self.group(b)
    }

    fn group(&self, host: Host) -> u8 {
        self.groups.get(&host).copied().unwrap_or(0)
    }

    /// Puts a host on one side of a partition.
    pub fn set_group(&mut self, host: Host, group: u8) {
        self.groups.insert(host, group);
    }

    /// Ends all partitions.
    pub fn heal(&mut self) {
        self.groups.clear();
    }

    /// Whether there is a partition.
    pub fn is_partitioned(&self) -> bool {
        self.groups.values().any(|group| *group != 0)
    }
}
