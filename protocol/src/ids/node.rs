//! Node and agent ids.

use std::{fmt, str::FromStr};

use super::{IdError, serde_as_text};

/// The base32 alphabet of RFC 4648 in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const NODE_ID_CHARS: usize = 12;
const NODE_ID_BITS: u32 = 60;

/// A machine that runs meshos: 60 random bits, printed as 12 characters of base32.
///
/// Short because it stands in every gossip message, once for each node of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u64);

impl NodeId {
    /// The id of the lower 60 bits of `bits`; the upper four are ignored.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << NODE_ID_BITS) - 1))
    }

    /// The 60 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; NODE_ID_CHARS];
        let mut bits = self.0;
        for slot in text.iter_mut().rev() {
            let digit = usize::try_from(bits & 31).expect("five bits fit");
            *slot = ALPHABET[digit];
            bits >>= 5;
        }
        f.pad(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl FromStr for NodeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        const KIND: &str = "node id";
        if text.len() != NODE_ID_CHARS {
            return Err(IdError::new(KIND, text, "expected 12 characters"));
        }
        let mut bits = 0u64;
        for byte in text.bytes() {
            let Some(digit) = (0u64..).zip(ALPHABET).find(|(_, c)| **c == byte) else {
                return Err(IdError::new(KIND, text, "expected only a-z and 2-7"));
            };
            bits = (bits << 5) | digit.0;
        }
        Ok(Self(bits))
    }
}

serde_as_text!(NodeId);

/// The agent half of a node under one registration: `<node id>.<registration>`.
///
/// Marking an agent gone ends its agent id for ever; the node can be admitted again under the
/// next registration number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId {
    /// The node that the agent is part of.
    pub node: NodeId,
    /// Counts the admissions of the node, from 1.
    pub registration: u32,
}

impl AgentId {
    /// The agent of `node` under its admission number `registration`.
    pub const fn new(node: NodeId, registration: u32) -> Self {
        Self { node, registration }
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.registration)
    }
}

impl FromStr for AgentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let invalid = || IdError::new("agent id", text, "expected <node id>.<number>");
        let (node, number) = text.split_once('.').ok_or_else(invalid)?;
        let registration = super::numbered::plain_number(number).ok_or_else(invalid)?;
        let registration = u32::try_from(registration).map_err(|_| invalid())?;
        Ok(Self { node: node.parse()?, registration })
    }
}

serde_as_text!(AgentId);
