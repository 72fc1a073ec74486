//! Frames that arrive twice. A stream of QUIC doubles nothing, but whoever says something again after it was
//! heard does, and the protocol lets most things be said again; accepts and subscriptions are not among them.

use meshos_protocol::messages::{
    agent::{ToAgent, ToLeader},
    scheduler::Call,
};

use crate::{
    net::{Frame, Side, StreamId},
    world::{Happening, World},
};

/// How many of a thousand frames that may come twice do.
const OF_THOUSAND: u64 = 40;
/// Times until those come once more that may be late.
const LATE_MS: std::ops::RangeInclusive<u64> = 1..=800;

/// Whether the frame may come again right behind itself. What is said later may have been revoked in between.
fn at_once(frame: &Frame) -> bool {
    match frame {
        Frame::Call(call) => {
            matches!(
                call.call,
                Call::Revive { .. }
                    | Call::Suppress { .. }
                    | Call::Wish { .. }
                    | Call::Request { .. }
                    | Call::Kill { .. }
            )
        }
        Frame::ToAgent(frame) => matches!(
            frame.message,
            ToAgent::Drain { .. }
                | ToAgent::Launch { .. }
                | ToAgent::Kill { .. }
                | ToAgent::Operate { .. }
                | ToAgent::CloseFramework { .. }
        ),
        Frame::ToLeader(message) => {
            matches!(message, ToLeader::TaskEnded { .. } | ToLeader::Operation { .. })
        }
        Frame::Hello | Frame::Event(_) | Frame::End => false,
    }
}

/// Whether the frame may come again at any later time on its stream.
fn late(frame: &Frame) -> bool {
    match frame {
        Frame::Call(call) => matches!(
            call.call,
            Call::Decline { .. }
                | Call::Acknowledge { .. }
                | Call::Reconcile { .. }
                | Call::AcknowledgeOperation { .. }
        ),
        Frame::ToAgent(frame) => matches!(
            frame.message,
            ToAgent::Acknowledge { .. }
                | ToAgent::SettleOperation { .. }
                | ToAgent::TellEnds { .. }
        ),
        Frame::ToLeader(message) => matches!(message, ToLeader::Update { .. }),
        Frame::Hello | Frame::Event(_) | Frame::End => false,
    }
}

impl World {
    /// Sends a frame once more, now and then, if that may happen to it.
    pub(crate) fn maybe_echo(&mut self, stream: StreamId, to: Side, frame: &Frame) {
        if !self.faults || !(at_once(frame) || late(frame)) || !self.echoes.chance(OF_THOUSAND) {
            return;
        }
        let delay = if late(frame) { self.echoes.number(LATE_MS) } else { 0 };
        let frame = Box::new(frame.clone());
        self.oracle.echoes += 1;
        if delay == 0 {
            self.deliver(stream, to, 0, *frame);
        } else {
            self.plan(delay, Happening::Echo { stream, to, frame });
        }
    }
}
