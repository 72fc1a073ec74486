//! Raft's messages over the connections between nodes.

use std::time::Duration;

use async_trait::async_trait;
use meshos_membership::raft::{NetworkError, RaftNetwork, Voter};
use meshos_protocol::messages::node::{Reply, Request};
use meshos_sdk::wire::WireError;

use crate::net::{Net, Target};

/// Carries raft's messages over QUIC.
pub(crate) struct QuicRaftNetwork {
    net: Net,
}

impl QuicRaftNetwork {
    pub(crate) fn new(net: Net) -> Self {
        Self { net }
    }
}

#[async_trait]
impl RaftNetwork for QuicRaftNetwork {
    async fn call(
        &self,
        target: &Voter,
        request: Vec<u8>,
        deadline: Duration,
    ) -> Result<Vec<u8>, NetworkError> {
        let target = Target { node: Some(target.node_id), address: target.address.clone() };
        let ask = async {
            let link = self.net.link(&target).await?;
            link.request(Request::Raft { body: request }, deadline).await
        };
        let answer = tokio::time::timeout(deadline, ask).await;
        match answer.unwrap_or(Err(WireError::TimedOut(0))) {
            Ok(Reply::Bytes { body }) => Ok(body),
            Ok(Reply::Failed { message }) => Err(NetworkError::Refused(message)),
            Ok(other) => Err(NetworkError::Refused(format!("an unexpected answer: {other:?}"))),
            Err(WireError::TimedOut(_)) => Err(NetworkError::Timeout),
            Err(error) => Err(NetworkError::Unreachable(error.to_string())),
        }
    }
}
