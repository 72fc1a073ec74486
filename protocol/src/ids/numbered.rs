//! Ids that are numbers: minted from what is on disk and a counter, never from entropy.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{ClusterId, IdError, NodeId, serde_as_text};

/// Decimal digits without sign or leading zero.
pub(super) fn plain_number(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && !text.is_empty());
    (canonical && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// Raft's term: one leader each, carried by every instruction as the fencing number.
    Term
);
number!(
    /// How often a node has started; rises at every start.
    Generation
);
number!(
    /// Counts a framework's own subscribes; calls with a lower one are refused.
    Subscription
);
number!(
    /// Pairs a request with its reply on one stream.
    RequestId
);
number!(
    /// Pairs a registry proposal of the master with its commit.
    ProposalId
);
number!(
    /// One framework stream as the leader knows it; never reused within a term.
    SessionId
);

/// Who may give instructions: the leader of `term` in `cluster`.
///
/// Ordered by term within one cluster. Instructions under a lower fence are dropped everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// The cluster that the instruction belongs to.
    pub cluster: ClusterId,
    /// The leader's raft term.
    pub term: Term,
}

impl Fence {
    /// Whether an instruction under `self` must be dropped by someone who has seen `newest`.
    pub fn is_stale(self, newest: Self) -> bool {
        self.cluster != newest.cluster || self.term < newest.term
    }
}

/// A framework, numbered by the registry in order of admission. Printed as `F<number>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameworkId(pub u64);

impl fmt::Display for FrameworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("F{}", self.0))
    }
}

impl FromStr for FrameworkId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let number = text.strip_prefix('F').and_then(plain_number);
        number.map(Self).ok_or_else(|| IdError::new("framework id", text, "expected F<number>"))
    }
}

serde_as_text!(FrameworkId);

/// One offer of one term. Printed as `O<term>.<number>`; it dies with the term.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferId {
    /// The term of the leader that made the offer.
    pub term: Term,
    /// Counts that leader's offers.
    pub number: u64,
}

impl fmt::Display for OfferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "O{}.{}", self.term, self.number)
    }
}

impl FromStr for OfferId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let invalid = || IdError::new("offer id", text, "expected O<term>.<number>");
        let (term, number) =
            text.strip_prefix('O').and_then(|rest| rest.split_once('.')).ok_or_else(invalid)?;
        let term = Term(plain_number(term).ok_or_else(invalid)?);
        Ok(Self { term, number: plain_number(number).ok_or_else(invalid)? })
    }
}

serde_as_text!(OfferId);

/// One operation as a leader hands it to an agent. Printed as `U<term>.<number>`; no leader mints
/// one twice, so an agent that meets it again knows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationUuid {
    /// The term of the leader that took the operation on.
    pub term: Term,
    /// Counts that leader's operations.
    pub number: u64,
}

impl fmt::Display for OperationUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "U{}.{}", self.term, self.number)
    }
}

impl FromStr for OperationUuid {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let invalid = || IdError::new("operation uuid", text, "expected U<term>.<number>");
        let (term, number) =
            text.strip_prefix('U').and_then(|rest| rest.split_once('.')).ok_or_else(invalid)?;
        let term = Term(plain_number(term).ok_or_else(invalid)?);
        Ok(Self { term, number: plain_number(number).ok_or_else(invalid)? })
    }
}

serde_as_text!(OperationUuid);

/// One status update: 16 bytes made of (node id, start generation, counter), so that a node never
/// mints the same id twice, whatever happens to its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UpdateId(#[serde(with = "serde_bytes")] [u8; 16]);

impl UpdateId {
    /// Bits of the start generation and of the counter in the lower half.
    const COUNTER_BITS: u32 = 40;

    /// The id of update number `counter` of `node` in its start `generation`.
    ///
    /// The generation keeps its lower 24 bits (16 million starts) and the counter its lower 40.
    pub fn mint(node: NodeId, generation: Generation, counter: u64) -> Self {
        let counter = counter & ((1 << Self::COUNTER_BITS) - 1);
        let lower = (generation.0 << Self::COUNTER_BITS) | counter;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&node.bits().to_be_bytes());
        bytes[8..].copy_from_slice(&lower.to_be_bytes());
        Self(bytes)
    }

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
