//! What `Mesos-Stream-Id` says: which node holds the stream, and which of its streams it is. So a call
//! may come in at any node.

use std::{fmt, str::FromStr};

use meshos_protocol::ids::{ClusterId, NodeId};
use ring::rand::SecureRandom as _;

/// Bits of the node's id.
const NODE_BITS: u32 = 60;
const RANDOM_BITS: u32 = 128 - NODE_BITS;

/// One stream of one node; it looks like a UUID, and nobody can guess it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId(u128);

impl StreamId {
    /// A new stream of this node.
    pub(super) fn random(node: NodeId) -> Self {
        let mut bytes = [0; 16];
        ring::rand::SystemRandom::new()
            .fill(&mut bytes)
            .expect("the system's random number generator works: keys were made with it");
        let random = u128::from_be_bytes(bytes) & ((1 << RANDOM_BITS) - 1);
        Self(u128::from(node.bits()) << RANDOM_BITS | random)
    }

    /// The node that holds the stream.
    pub(crate) fn node(self) -> NodeId {
        NodeId::from_bits(u64::try_from(self.0 >> RANDOM_BITS).expect("60 bits are left"))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        ClusterId::from_u128(self.0).fmt(formatter)
    }
}

impl FromStr for StreamId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse::<ClusterId>().map(|id| Self(id.as_u128())).map_err(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_id_names_its_node_and_comes_back() {
        let node = NodeId::from_bits(0x0abc_def0_1234_5678);
        let (one, two) = (StreamId::random(node), StreamId::random(node));
        assert_ne!(one, two);
        assert_eq!(one.node(), node);
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_eq!(one.to_string().len(), 36);
        assert_eq!("x".parse::<StreamId>(), Err(()));
    }
}
