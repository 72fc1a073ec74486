//! Every message between nodes, and between frameworks and nodes.
//!
//! A QUIC stream carries one class of traffic. Its first frame is a [`StreamHello`] from the side
//! that opened it; the other side answers with a [`StreamAnswer`]; then both send frames of that
//! class until one closes. A frame is a length (four bytes, big-endian) and that many bytes of
//! MessagePack, see [`crate::codec`].
//!
//! | class | opened by | to | frames there | frames back |
//! | --- | --- | --- | --- | --- |
//! | agent | a node's agent | the leader | [`agent::ToLeader`] | [`agent::ToAgentFrame`] |
//! | scheduler | a framework | any node | [`scheduler::CallFrame`] | [`scheduler::EventFrame`] |
//! | relay | a gateway | the leader | [`scheduler::CallFrame`] | [`scheduler::EventFrame`] |
//! | request | any node | any node | [`node::RequestFrame`] | [`node::ReplyFrame`] |
//! | bulk | any node | any node | [`node::RequestFrame`] | [`node::ReplyFrame`] |
//!
//! Executors speak the same frames over a unix socket: [`executor::Call`] there, [`executor::Event`] back.
//!
//! Calls that may be repeated without harm: kill, acknowledge, decline, revive, suppress and
//! reconcile. An accept is never repeated by anyone.

pub mod agent;
pub mod executor;
pub mod node;
pub mod scheduler;

use serde::{Deserialize, Serialize};

use crate::ids::{ClusterId, Principal};

/// The first frame of a stream, from the side that opened it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHello {
    /// The newest wire version that the sender speaks.
    pub version: u32,
    /// The oldest wire version that the sender understands.
    pub version_min: u32,
    /// The sender's cluster, once it knows one; the other side refuses any but its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterId>,
    /// What the stream is for.
    pub class: StreamClass,
}

impl StreamHello {
    /// The hello of this build for a stream of `class`.
    pub const fn new(cluster: Option<ClusterId>, class: StreamClass) -> Self {
        use crate::codec::{WIRE_VERSION, WIRE_VERSION_MIN};
        Self { version: WIRE_VERSION, version_min: WIRE_VERSION_MIN, cluster, class }
    }
}

/// What a stream is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum StreamClass {
    /// An agent registers with the leader and stays.
    Agent,
    /// A framework's scheduler subscribes at a node of its choice.
    Scheduler,
    /// A gateway passes a framework's calls to the leader.
    Relay {
        /// The caller's identity as the gateway authenticated it.
        principal: Principal,
    },
    /// Requests and replies between nodes.
    Request,
    /// The same for those that are large or slow, so that the small ones need not wait behind them:
    /// a heartbeat behind a part of a snapshot would cost the leader its lease.
    Bulk,
    /// A class that this build does not know; refused.
    #[serde(other)]
    Unknown,
}

/// The answer to a [`StreamHello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum StreamAnswer {
    /// Go on, in this version.
    Accepted {
        /// The newest version that both sides speak.
        version: u32,
    },
    /// The stream is refused and closes.
    Refused {
        /// Why, for programs.
        cause: Refusal,
        /// Why, for people.
        message: String,
    },
    /// An answer that this build does not know; treated as refused.
    #[serde(other)]
    Unknown,
}

/// Why a stream was refused, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No version that both sides speak.
    Version,
    /// The peer belongs to another cluster.
    Cluster,
    /// The peer's certificate does not allow this class.
    Identity,
    /// The peer is not the leader; ask again when a leader is known.
    NotLeader,
    /// Too many streams or connections; try again later.
    Busy,
    /// A cause that this build does not know.
    #[serde(other)]
    Unknown,
}
