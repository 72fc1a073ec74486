//! What an agent says of itself besides its resources.

use meshos_protocol::{attributes::Attributes, wishes::FaultDomain};

/// What an agent says of itself besides its resources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentProfile {
    /// Its attributes.
    pub attributes: Attributes,
    /// Its host name.
    pub hostname: String,
    /// Where it stands, if it says so.
    pub domain: Option<FaultDomain>,
}

/// Attributes alone.
impl From<Attributes> for AgentProfile {
    fn from(attributes: Attributes) -> Self {
        Self { attributes, ..Self::default() }
    }
}
