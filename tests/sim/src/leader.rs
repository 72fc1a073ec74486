//! What surrounds a master: elections, the lease, commits, and its streams.

use std::collections::BTreeMap;

use meshos_control::{
    agent,
    master::{self, Effect, Event, Master, MasterConfig},
    recording::{Start, Tape},
};
use meshos_protocol::{
    ids::{Fence, SessionId, Term},
    messages::{
        agent::{TaskHint, ToAgentFrame},
        scheduler::{Event as FrameworkEvent, EventFrame},
    },
};

use crate::{
    invariants,
    net::{Class, Frame, Host, Side, StreamId},
    node::Leading,
    releases::OnRecord,
    world::{CLUSTER, Happening, World},
};

impl World {
    /// One round of the raft group and of announcements.
    pub fn heartbeat(&mut self) {
        self.time_out_streams();
        for node in 0..self.nodes.len() {
            self.renew_lease(node);
        }
        self.maybe_elect();
        for node in 0..self.nodes.len() {
            self.tell_releases(node);
            self.announce(node);
        }
    }

    /// The voters that a node can talk to.
    pub(crate) fn voters_within_reach(&self, node: usize) -> Vec<usize> {
        let reaches = |voter: &usize| {
            self.nodes[*voter].process.is_some()
                && self.net.reaches(Host::Node(node), Host::Node(*voter))
        };
        self.raft.voters.iter().copied().filter(reaches).collect()
    }

    /// Whether a majority still takes `term` for the newest one.
    fn majority_follows(&self, node: usize, term: Term) -> bool {
        let followers = self.voters_within_reach(node).into_iter();
        followers.filter(|voter| self.raft.votes[voter] <= term).count() >= self.raft.majority()
    }

    fn renew_lease(&mut self, node: usize) {
        let Some(term) = self.term_led_by(node) else { return };
        let newest = self.raft.leader == Some((term, node));
        let within_reach = self.voters_within_reach(node);
        if self.majority_follows(node, term) {
            let until = self.now_ms + self.setup.lease_ms;
            if let Some(leading) = self.nodes[node].leading_mut() {
                leading.lease_until = until;
            }
            if newest {
                for voter in within_reach {
                    let heard = self.raft.votes.entry(voter).or_default();
                    *heard = term.max(*heard);
                }
            }
        } else if within_reach.iter().any(|voter| self.raft.votes[voter] > term)
            && self.dice.chance(300)
        {
            // It may hear of the new term before its lease runs out.
            self.depose(node);
        }
        let now_ms = self.now_ms;
        if self.nodes[node].leading_mut().is_some_and(|leading| leading.lease_until < now_ms) {
            self.depose(node);
        }
    }

    /// Elects someone when nobody has led for a while.
    fn maybe_elect(&mut self) {
        let led = self.raft.leader.is_some_and(|(term, node)| {
            self.term_led_by(node) == Some(term) && self.majority_follows(node, term)
        });
        if led {
            self.raft.leaderless_since = None;
            return;
        }
        let since = *self.raft.leaderless_since.get_or_insert(self.now_ms);
        if self.now_ms - since >= 300 && self.dice.chance(200) {
            self.elect_someone(None);
        }
    }

    /// Elects a voter that can reach a majority, other than `not` if possible. The leader before
    /// it is not told.
    pub fn elect_someone(&mut self, not: Option<usize>) {
        let majority = self.raft.majority();
        let eligible: Vec<usize> = self
            .raft
            .voters
            .iter()
            .copied()
            .filter(|voter| self.nodes[*voter].process.is_some() && Some(*voter) != not)
            .filter(|voter| self.voters_within_reach(*voter).len() >= majority)
            .collect();
        if let Some(candidate) = self.dice.pick(&eligible).copied() {
            self.elect(candidate);
        }
    }

    fn elect(&mut self, candidate: usize) {
        let mut voters = self.voters_within_reach(candidate);
        voters.retain(|voter| *voter != candidate);
        while voters.len() + 1 > self.raft.majority() && self.dice.chance(500) {
            let index = self.dice.index(voters.len());
            voters.remove(index);
        }
        voters.push(candidate);
        self.depose(candidate);
        let term = self.raft.elect(candidate, &voters, &mut self.dice);
        self.note(format_args!("n{candidate} leads in term {term}, elected by {voters:?}"));
        self.oracle.led(term, candidate);
        let (registry, later) = self.raft.start(&mut self.dice);
        let (now, lease_until) =
            (self.nodes[candidate].now(self.now_ms), self.now_ms + self.setup.lease_ms);
        let (me, region) = (self.nodes[candidate].id, self.region_of(candidate));
        let config = MasterConfig { region, ..self.setup.master.clone() };
        let fence = Fence { cluster: CLUSTER, term };
        let seed = self.dice.number(0..=u64::MAX - 1);
        let Some(process) = &mut self.nodes[candidate].process else { return };
        let hints = process.hints.all();
        let start = Start { release: String::new(), fence, node: me, now, seed, config };
        let tape = Tape::begin(start.clone(), &registry, &hints, invariants::RECORDED_BYTES_MAX);
        process.leading = Some(Leading {
            term,
            unreported: Leading::expected(&registry),
            on_record: OnRecord::of(&registry),
            voters_told: Vec::new(),
            master: Master::new(start.config, fence, me, registry, hints, now, seed),
            tape,
            lease_until,
            tick: None,
            connections: BTreeMap::new(),
            sessions: BTreeMap::new(),
            streams_numbered: 0,
        });
        self.plan_master_tick(candidate);
        self.tell_releases(candidate);
        for node in self.believed_dead.clone() {
            self.master_event(candidate, Event::PeerDown { node: self.nodes[node].id });
        }
        for (entry, outcome) in later {
            self.master_event(candidate, Event::Applied { entry, outcome });
        }
    }

    /// A master is told that it leads no more; its streams close.
    pub fn depose(&mut self, node: usize) {
        let now = self.nodes[node].now(self.now_ms);
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(mut leading) = process.leading.take() else { return };
        let mut effects = Vec::new();
        invariants::check_replayed(&mut leading);
        leading.master.handle(now, Event::Deposed, &mut effects);
        assert!(effects.is_empty(), "a deposed master wishes for nothing: {effects:?}");
        assert!(leading.master.next_deadline().is_none() && leading.master.is_deposed());
        self.note(format_args!("n{node} leads no more in term {}", leading.term));
        for stream in leading.connections.values().chain(leading.sessions.values()) {
            self.finish(*stream, Side::Acceptor);
        }
    }

    /// The term in which a node believes to lead.
    pub fn term_led_by(&self, node: usize) -> Option<Term> {
        self.nodes[node].leading().map(|leading| leading.term)
    }

    /// Hands an event to a master and carries out what it wishes for, if its lease still runs.
    pub fn master_event(&mut self, node: usize, event: Event) {
        let now = self.nodes[node].now(self.now_ms);
        let now_ms = self.now_ms;
        self.trace.note(now_ms, format_args!("n{node} master: {event:?}"));
        let Some(leading) = self.nodes[node].leading_mut() else { return };
        leading.on_record.note(&event);
        let mut effects = Vec::new();
        leading.tape.handle(&mut leading.master, now, event, &mut effects);
        leading.master.check_invariants();
        leading.note_reports();
        if leading.lease_until < now_ms {
            self.depose(node);
            return;
        }
        let term = leading.term;
        for effect in effects {
            self.perform_master(node, term, effect);
        }
        self.plan_master_tick(node);
    }

    fn plan_master_tick(&mut self, node: usize) {
        let now_ms = self.now_ms;
        let Some(leading) = self.nodes[node].leading_mut() else { return };
        let Some(deadline) = leading.master.next_deadline() else { return };
        let at_ms = deadline.0.max(now_ms + 1);
        if leading.tick.is_none_or(|planned| planned > at_ms) {
            leading.tick = Some(at_ms);
            let term = leading.term;
            self.plan_at(at_ms, Happening::MasterTick { node, term });
        }
    }

    /// A master's deadline has come.
    pub fn master_ticks(&mut self, node: usize, term: Term) {
        let now_ms = self.now_ms;
        let Some(leading) = self.nodes[node].leading_mut() else { return };
        // A tick that was planned before an earlier deadline turned up is void.
        if leading.term != term || leading.tick != Some(now_ms) {
            return;
        }
        leading.tick = None;
        self.master_event(node, Event::Tick);
        if let Some(leading) = self.nodes[node].leading_mut() {
            let next = leading.master.next_deadline();
            assert!(next.is_none_or(|next| next.0 > now_ms), "a tick leaves nothing due");
        }
    }

    fn perform_master(&mut self, node: usize, term: Term, effect: Effect) {
        let fence = Fence { cluster: CLUSTER, term };
        match effect {
            Effect::Propose(entry) => {
                self.raft.propose(entry);
                let delay = self.dice.skewed(2..=60);
                self.plan(delay, Happening::Commit { node, term });
            }
            Effect::SendToAgent { connection, message } => {
                if let Some(stream) = self.nodes[node]
                    .leading_mut()
                    .and_then(|l| l.connections.get(&connection).copied())
                {
                    self.send(
                        stream,
                        Side::Opener,
                        Frame::ToAgent(ToAgentFrame { fence, message }),
                    );
                }
            }
            Effect::CloseConnection { connection, why } => {
                self.note(format_args!("n{node} closes an agent's stream: {why}"));
                if let Some(stream) =
                    self.nodes[node].leading_mut().and_then(|l| l.connections.remove(&connection))
                {
                    self.finish(stream, Side::Acceptor);
                }
            }
            Effect::SendToFramework { session, event } => {
                if let FrameworkEvent::Offers { offers } = &event {
                    offers.iter().for_each(|offer| invariants::check_made(self, node, offer));
                }
                if let Some(stream) =
                    self.nodes[node].leading_mut().and_then(|l| l.sessions.get(&session).copied())
                {
                    self.send(stream, Side::Opener, Frame::Event(EventFrame { fence, event }));
                }
            }
            Effect::CloseSession { session } => {
                if let Some(stream) =
                    self.nodes[node].leading_mut().and_then(|l| l.sessions.remove(&session))
                {
                    self.finish(stream, Side::Acceptor);
                }
            }
            Effect::Hint(hint) => self.spread_hint(node, fence, &hint),
            Effect::AnswerOperator { .. } => {}
        }
    }

    /// A leader tells the voters of a task, without making sure that they hear it.
    fn spread_hint(&mut self, node: usize, fence: Fence, hint: &TaskHint) {
        for voter in self.voters_within_reach(node) {
            if voter != node && self.dice.chance(50) {
                continue;
            }
            let Some(process) = &mut self.nodes[voter].process else { continue };
            process.hints.take(fence, [hint.clone()]);
        }
    }

    /// The oldest proposal of a leader is committed, if a majority follows it.
    pub fn commit(&mut self, node: usize, term: Term) {
        if self.term_led_by(node) != Some(term) || !self.raft.has_proposed(term) {
            return;
        }
        if !self.majority_follows(node, term) {
            self.plan(30, Happening::Commit { node, term });
            return;
        }
        if let Some((entry, outcome)) = self.raft.commit_next(term) {
            self.master_event(node, Event::Applied { entry, outcome });
        }
    }

    /// A leader announces itself to the nodes that do not follow it.
    fn announce(&mut self, leader: usize) {
        let Some(term) = self.term_led_by(leader) else { return };
        for node in 0..self.nodes.len() {
            if !self.net.reaches(Host::Node(leader), Host::Node(node)) {
                continue;
            }
            let delay = self.dice.skewed(2..=90);
            let Some(process) = &mut self.nodes[node].process else { continue };
            let follows = process.leader.is_some_and(|(known, _)| known >= term);
            if follows || process.confirming.is_some_and(|asked| asked >= term) {
                continue;
            }
            process.confirming = Some(term);
            let generation = process.generation;
            self.plan(delay, Happening::Confirmed { node, generation, term, leader });
        }
    }

    /// The voters have answered: a majority of them must hold the term.
    pub fn leader_confirmed(&mut self, node: usize, generation: u64, term: Term, leader: usize) {
        if !self.is_running(node, generation) {
            return;
        }
        let voters = self.voters_within_reach(node);
        let confirm = voters.into_iter().filter(|voter| self.raft.votes[voter] == term).count();
        let delay = self.disk_delay(node);
        let Some(process) = &mut self.nodes[node].process else { return };
        if confirm >= self.raft.majority() && process.confirming == Some(term) {
            self.plan(delay, Happening::FenceWritten { node, generation, term, leader });
        } else if process.confirming == Some(term) {
            process.confirming = None;
        }
    }

    /// The fence is on disk: the node follows the leader.
    pub fn fence_written(&mut self, node: usize, generation: u64, term: Term, leader: usize) {
        if !self.is_running(node, generation) {
            return;
        }
        let Some(process) = &mut self.nodes[node].process else { return };
        process.confirming = process.confirming.filter(|asked| *asked != term);
        let known = process.leader.map(|(known, _)| known);
        if self.nodes[node].disk.term.is_some_and(|newest| newest > term) || known >= Some(term) {
            return;
        }
        self.nodes[node].disk.term = Some(term);
        let Some(process) = &mut self.nodes[node].process else { return };
        process.leader = Some((term, leader));
        if let Some(old) = process.agent_stream.take() {
            // The old leader may still speak for a while: the fence must hold it off.
            let delay = self.dice.skewed(0..=1_000);
            self.plan(delay, Happening::HangUp { stream: old });
        }
        let fence = Fence { cluster: CLUSTER, term };
        self.agent_event(node, agent::Event::LeaderConfirmed { fence });
        self.open_agent_stream(node, generation);
        self.move_callers(node, generation);
    }

    /// An agent opens its stream to the leader.
    pub fn open_agent_stream(&mut self, node: usize, generation: u64) {
        if !self.is_running(node, generation) {
            return;
        }
        let Some(process) = &self.nodes[node].process else { return };
        let Some((term, leader)) = process.leader else { return };
        if process.agent_stream.is_some() {
            return;
        }
        let hosts = [Host::Node(node), Host::Node(leader)];
        let stream = self.open_stream(Class::Agent(term), hosts);
        if let Some(process) = &mut self.nodes[node].process {
            process.agent_stream = Some(stream);
        }
        self.agent_event(node, agent::Event::Connected);
    }

    /// A leader's word reaches an agent. What an earlier stream to the same leader still brings is
    /// dropped by whoever holds the streams; an earlier leader's word reaches the agent.
    pub fn agent_hears(&mut self, node: usize, stream: StreamId, frame: Frame) {
        let Some(process) = &self.nodes[node].process else { return };
        let Frame::ToAgent(frame) = frame else { return };
        let current = process.agent_stream == Some(stream);
        let earlier = process.leader.is_some_and(|(term, _)| frame.fence.term < term);
        if current || earlier {
            self.agent_event(node, agent::Event::Message(frame));
        }
    }

    /// An agent's stream is closed.
    pub fn agent_lost_leader(&mut self, node: usize, stream: StreamId) {
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.agent_stream != Some(stream) {
            return;
        }
        process.agent_stream = None;
        let generation = process.generation;
        self.agent_event(node, agent::Event::Disconnected);
        let delay = self.dice.number(20..=400);
        self.plan(delay, Happening::Reconnect { node, generation });
    }

    /// An agent's frame reaches a node that should lead.
    pub fn leader_hears_agent(&mut self, id: StreamId, node: usize, term: Term, frame: Frame) {
        if self.term_led_by(node) != Some(term) {
            self.finish(id, Side::Acceptor);
            return;
        }
        let Some(Host::Node(peer)) = self.net.get(id).map(|stream| stream.host(Side::Opener))
        else {
            return;
        };
        let peer = self.nodes[peer].id;
        let Some(leading) = self.nodes[node].leading_mut() else { return };
        match frame {
            Frame::Hello => {
                leading.streams_numbered += 1;
                let connection = master::ConnectionId(leading.streams_numbered);
                leading.connections.insert(connection, id);
                self.master_event(node, Event::AgentConnected { connection, node: peer });
            }
            Frame::ToLeader(message) => {
                let connection = leading.connections.iter().find(|(_, stream)| **stream == id);
                if let Some((connection, _)) = connection {
                    let connection = *connection;
                    self.master_event(node, Event::AgentMessage { connection, message });
                }
            }
            Frame::ToAgent(_) | Frame::Call(_) | Frame::Event(_) | Frame::End => {}
        }
    }

    /// An agent's stream to this leader is closed.
    pub fn leader_lost_agent(&mut self, node: usize, id: StreamId) {
        let Some(leading) = self.nodes[node].leading_mut() else { return };
        let found = leading.connections.iter().find(|(_, stream)| **stream == id);
        let Some(connection) = found.map(|(connection, _)| *connection) else { return };
        leading.connections.remove(&connection);
        self.master_event(node, Event::AgentDisconnected { connection });
    }

    /// A gateway's frame reaches a node that should lead.
    pub fn leader_hears_gateway(&mut self, id: StreamId, node: usize, term: Term, frame: Frame) {
        if self.term_led_by(node) != Some(term) {
            self.finish(id, Side::Acceptor);
            return;
        }
        let Some(stream) = self.net.get(id) else { return };
        let (Class::Relay(_, _, driver), Host::Node(gateway)) =
            (stream.class, stream.host(Side::Opener))
        else {
            return;
        };
        let (gateway, principal) = (self.nodes[gateway].id, self.drivers[driver].principal.clone());
        let Some(leading) = self.nodes[node].leading_mut() else { return };
        match frame {
            Frame::Hello => {
                leading.streams_numbered += 1;
                let session = SessionId(leading.streams_numbered);
                leading.sessions.insert(session, id);
                self.master_event(node, Event::SessionOpened { session, principal, gateway });
            }
            Frame::Call(frame) => {
                let session = leading.sessions.iter().find(|(_, stream)| **stream == id);
                if let Some((session, _)) = session {
                    let session = *session;
                    self.master_event(node, Event::Call { session, frame });
                }
            }
            Frame::ToLeader(_) | Frame::ToAgent(_) | Frame::Event(_) | Frame::End => {}
        }
    }

    /// A gateway's stream to this leader is closed.
    pub fn leader_lost_gateway(&mut self, node: usize, id: StreamId) {
        let Some(leading) = self.nodes[node].leading_mut() else { return };
        let found = leading.sessions.iter().find(|(_, stream)| **stream == id);
        let Some(session) = found.map(|(session, _)| *session) else { return };
        leading.sessions.remove(&session);
        self.master_event(node, Event::SessionClosed { session });
    }

    /// Gossip tells every leader what it believes of a node, and every later one if it is dead.
    pub fn gossip(&mut self, node: usize, alive: bool) {
        if alive {
            self.believed_dead.remove(&node);
        } else {
            self.believed_dead.insert(node);
        }
        let peer = self.nodes[node].id;
        for leader in 0..self.nodes.len() {
            if self.term_led_by(leader).is_some() {
                let event = if alive {
                    Event::PeerUp { node: peer }
                } else {
                    Event::PeerDown { node: peer }
                };
                self.master_event(leader, event);
            }
        }
    }
}
