//! The way from this voter to the others, implemented by whoever owns the connections.

use std::time::Duration;

use super::Voter;

/// Carries raft's requests to other voters; implemented over QUIC by the node.
///
/// A request may be lost, delayed or repeated; raft stands all three. Calls to one target run
/// concurrently (heartbeats beside entries beside snapshot chunks) and must not wait for each
/// other: a heartbeat behind a snapshot chunk costs the leader its lease.
#[async_trait::async_trait]
pub trait RaftNetwork: Send + Sync + 'static {
    /// Delivers `request` to [`RaftGroup::handle_request`](super::RaftGroup::handle_request) of
    /// `target` and brings its answer, or fails within `deadline`. The connection must be to the
    /// node that `target` names: an address is not enough, another node may have taken it.
    async fn call(
        &self,
        target: &Voter,
        request: Vec<u8>,
        deadline: Duration,
    ) -> Result<Vec<u8>, NetworkError>;
}

/// Why a request brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No connection: retried with back-off, which
    /// [`RaftGroup::peer_reachable`](super::RaftGroup::peer_reachable) ends early.
    #[error("cannot reach the node: {0}")]
    Unreachable(String),
    /// No answer within the deadline.
    #[error("no answer within the deadline")]
    Timeout,
    /// The node answered that it will not serve the request.
    #[error("the node refused the request: {0}")]
    Refused(String),
}
