//! A distinct type for every identifier.
//!
//! A cluster manager passes framework, task, offer, node and container ids side by side; with one
//! type each, swapping two does not compile. All ids are cheap to clone, ordered, and read back
//! exactly what they print.

mod cluster;
mod node;
mod numbered;
mod text;

pub use cluster::ClusterId;
pub use node::{AgentId, NodeId};
pub use numbered::{
    Fence, FrameworkId, Generation, OfferId, OperationUuid, ProposalId, RequestId, SessionId,
    Subscription, Term, UpdateId,
};
pub(crate) use text::chosen_by_framework;
pub use text::{ContainerId, ExecutorId, OperationId, Principal, TaskId};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: {reason}")]
pub struct IdError {
    /// Which id was expected, in words.
    pub kind: &'static str,
    /// The text as given, cut to 64 characters.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl IdError {
    pub(crate) fn new(kind: &'static str, text: &str, reason: &'static str) -> Self {
        Self { kind, text: text.chars().take(64).collect(), reason }
    }
}

/// Serialises an id as its text and validates on the way in.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;
                impl serde::de::Visitor<'_> for TextVisitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("the text form of ", stringify!($type)))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(TextVisitor)
            }
        }
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}
pub(crate) use serde_as_text;

#[cfg(test)]
mod tests;
