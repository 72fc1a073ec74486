//! The key that seals gossip.

use std::{fmt, str::FromStr};

use ring::rand::{SecureRandom, SystemRandom};

use super::{KeyError, base32};

const PREFIX: &str = "meshos-gossip-1.";
const WHAT: &str = "gossip key";

/// The secret that every node of a cluster shares: packets sealed with another one are dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct GossipKey([u8; 32]);

impl GossipKey {
    /// A new random key.
    ///
    /// # Errors
    /// When the system's source of randomness fails.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(KeyError::crypto(WHAT))?;
        Ok(Self(bytes))
    }

    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The secret as one line of text.
    pub fn to_text(&self) -> String {
        format!("{PREFIX}{}", base32::encode(&self.0))
    }
}

impl fmt::Debug for GossipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GossipKey(hidden)")
    }
}

impl FromStr for GossipKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let error = |reason| KeyError::Text { what: WHAT, reason };
        let body = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or_else(|| error("it does not start with \"meshos-gossip-1.\""))?;
        let bytes = base32::decode(body).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| error("expected 52 characters of base32 after the prefix"))
    }
}
