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
                | ToAgent::LaunchGroup { .. }
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
                | Call::AcceptInverseOffers { .. }
                | Call::DeclineInverseOffers { .. }
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

/// A frame that comes again, and after how long.
pub(crate) struct Echo {
    frame: Box<Frame>,
    delay_ms: u64,
}

impl World {
    /// Whether the frame comes once more.
    pub(crate) fn draw_echo(&mut self, frame: &Frame) -> Option<Echo> {
        let late = late(frame);
        if !self.faults || !(late || at_once(frame)) || !self.echoes.chance(OF_THOUSAND) {
            return None;
        }
        let delay_ms = if late { self.echoes.number(LATE_MS) } else { 0 };
        Some(Echo { frame: Box::new(frame.clone()), delay_ms })
    }

    /// Sends it once more.
    pub(crate) fn send_again(&mut self, stream: StreamId, to: Side, echo: Echo) {
        let Echo { frame, delay_ms } = echo;
        self.oracle.echoes += 1;
        if delay_ms == 0 {
            self.deliver(stream, to, 0, *frame);
        } else {
            self.plan(delay_ms, Happening::Echo { stream, to, frame });
        }
    }
}
