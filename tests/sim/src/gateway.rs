//! The gateway as a model: it passes a framework's calls to the leader and carries the
//! subscription over to the next one.

use std::collections::VecDeque;

use meshos_protocol::{
    ids::{Fence, FrameworkId, Subscription},
    messages::scheduler::{Call, CallFrame, Event, EventFrame},
};

use crate::{
    net::{Class, Frame, Host, Side, StreamId},
    world::{CLUSTER, Happening, World},
};

/// The most calls that wait for a leader.
const WAITING_MAX: usize = 200;

/// A framework's driver at a gateway.
#[derive(Debug)]
pub struct Caller {
    /// The driver's stream.
    pub stream: StreamId,
    /// Which driver it is.
    pub driver: usize,
    /// The stream to the leader.
    pub relay: Option<StreamId>,
    /// The driver's subscribe.
    pub subscribe: Option<CallFrame>,
    /// Whether the driver says it at this moment.
    pub fresh: bool,
    /// What the subscription has come to, for resuming it at the next leader.
    pub held: Option<(FrameworkId, Subscription)>,
    /// Whether the leader has answered the subscribe on this relay.
    pub ready: bool,
    /// Calls that may be repeated and wait for a leader.
    pub waiting: VecDeque<CallFrame>,
}

impl World {
    fn caller_mut(&mut self, node: usize, caller: u64) -> Option<&mut Caller> {
        self.nodes[node].process.as_mut()?.callers.get_mut(&caller)
    }

    /// A driver's frame reaches its gateway.
    pub fn gateway_hears_driver(&mut self, node: usize, caller: u64, id: StreamId, frame: Frame) {
        match frame {
            Frame::Hello => {
                let Some(Host::Driver(driver)) = self.net.get(id).map(|s| s.host(Side::Opener))
                else {
                    return;
                };
                let Some(process) = &mut self.nodes[node].process else { return };
                let new = Caller {
                    stream: id,
                    driver,
                    relay: None,
                    subscribe: None,
                    fresh: false,
                    held: None,
                    ready: false,
                    waiting: VecDeque::new(),
                };
                process.callers.insert(caller, new);
            }
            Frame::Call(frame) => self.gateway_takes(node, caller, frame),
            Frame::ToLeader(_) | Frame::ToAgent(_) | Frame::Event(_) | Frame::End => {}
        }
    }

    fn gateway_takes(&mut self, node: usize, id: u64, frame: CallFrame) {
        let Some(process) = &mut self.nodes[node].process else { return };
        let generation = process.generation;
        let Some(caller) = process.callers.get_mut(&id) else { return };
        match (&frame.call, caller.relay.filter(|_| caller.ready)) {
            (Call::Subscribe(_), _) => {
                caller.subscribe = Some(frame);
                caller.fresh = true;
                self.open_relay(node, generation, id);
                if let Some(caller) = self.caller_mut(node, id) {
                    caller.fresh = false;
                }
            }
            (_, Some(relay)) => self.send(relay, Side::Acceptor, Frame::Call(frame)),
            // Never repeated: the driver asks what became of it.
            (Call::Accept(_), None) => {}
            (_, None) => {
                if caller.waiting.len() < WAITING_MAX {
                    caller.waiting.push_back(frame);
                }
            }
        }
    }

    /// A driver's stream is closed: so is its relay.
    pub fn gateway_lost_driver(&mut self, node: usize, caller: u64) {
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(gone) = process.callers.remove(&caller) else { return };
        if let Some(relay) = gone.relay {
            self.finish(relay, Side::Opener);
        }
    }

    /// Opens a caller's stream to the leader and subscribes there, or goes on where it was.
    pub fn open_relay(&mut self, node: usize, generation: u64, id: u64) {
        if !self.is_running(node, generation) {
            return;
        }
        let Some(process) = &self.nodes[node].process else { return };
        let (Some((term, leader)), Some(caller)) = (process.leader, process.callers.get(&id))
        else {
            return;
        };
        let (None, Some(mut frame)) = (caller.relay, caller.subscribe.clone()) else { return };
        if let Call::Subscribe(subscribe) = &mut frame.call {
            if let Some((framework, subscription)) = caller.held {
                subscribe.framework = Some(framework);
                subscribe.resume = Some(subscription);
            }
            let takes_over = subscribe.framework.is_some() && subscribe.resume.is_none();
            if takes_over && !caller.fresh {
                // The driver may be dead, and another instance in its place.
                let fence = Fence { cluster: CLUSTER, term };
                let again = EventFrame { fence, event: Event::SubscribeAgain };
                let driver = caller.stream;
                self.send(driver, Side::Opener, Frame::Event(again));
                return;
            }
        }
        let class = Class::Relay(term, id, caller.driver);
        let stream = self.open_stream(class, [Host::Node(node), Host::Node(leader)]);
        self.send(stream, Side::Acceptor, Frame::Call(frame));
        if let Some(caller) = self.caller_mut(node, id) {
            caller.relay = Some(stream);
            caller.ready = false;
        }
    }

    /// The node follows a new leader: so do its callers.
    pub fn move_callers(&mut self, node: usize, generation: u64) {
        let Some(process) = &self.nodes[node].process else { return };
        let ids: Vec<u64> = process.callers.keys().copied().collect();
        for id in ids {
            self.leave_leader(node, id);
            self.open_relay(node, generation, id);
        }
    }

    fn leave_leader(&mut self, node: usize, id: u64) {
        let Some(caller) = self.caller_mut(node, id) else { return };
        caller.ready = false;
        let stream = caller.stream;
        let Some(relay) = caller.relay.take() else { return };
        self.finish(relay, Side::Opener);
        let term = self.nodes[node].disk.term.unwrap_or_default();
        let frame =
            EventFrame { fence: Fence { cluster: CLUSTER, term }, event: Event::LeaderLost };
        self.send(stream, Side::Opener, Frame::Event(frame));
    }

    /// A relay is closed.
    pub fn gateway_lost_leader(&mut self, node: usize, id: u64, stream: StreamId) {
        let Some(process) = &self.nodes[node].process else { return };
        let generation = process.generation;
        if process.callers.get(&id).is_none_or(|caller| caller.relay != Some(stream)) {
            return;
        }
        self.leave_leader(node, id);
        let delay = self.dice.number(20..=400);
        self.plan(delay, Happening::Relay { node, generation, caller: id });
    }

    /// The leader's word for a framework reaches its gateway.
    pub fn gateway_hears_leader(&mut self, node: usize, id: u64, stream: StreamId, frame: Frame) {
        let Frame::Event(frame) = frame else { return };
        let newest = self.nodes[node].disk.term.unwrap_or_default();
        let Some(caller) = self.caller_mut(node, id) else { return };
        if caller.relay != Some(stream) || frame.fence.term < newest {
            return;
        }
        let driver = caller.stream;
        let waiting = if let Event::Subscribed { framework, subscription, .. } = &frame.event {
            caller.held = Some((*framework, *subscription));
            caller.ready = true;
            std::mem::take(&mut caller.waiting)
        } else {
            VecDeque::new()
        };
        let over = matches!(frame.event, Event::Error { .. });
        self.send(driver, Side::Opener, Frame::Event(frame));
        for call in waiting {
            self.send(stream, Side::Acceptor, Frame::Call(call));
        }
        if over {
            self.gateway_lost_driver(node, id);
            self.finish(driver, Side::Acceptor);
        }
    }
}
