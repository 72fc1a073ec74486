//! The cluster's keys and what is made from them.
//!
//! `meshos keygen` makes a directory with the certificate authority of one cluster, the key that
//! seals its gossip and its join token ([`ClusterKeys`]). Seeds hold all of it. Any other node needs
//! the token alone: it makes a key pair ([`NodeKey`]), a seed that the token's fingerprint proves
//! signs it for the node's id, and hands over the gossip key; the node keeps these as
//! [`Credentials`]. Frameworks and operators get credentials of their own kinds.
//!
//! The kind and the name of a peer are read from its certificate alone ([`PeerIdentity`]), compared
//! whole, and anything unknown is refused. Being a voter is never read from a certificate.
//!
//! TLS itself is not set up here: these types hand out DER.

mod authority;
mod base32;
mod cluster;
mod credentials;
mod directory;
mod error;
mod gossip_key;
mod peer;
mod token;

pub use authority::{Authority, NodeKey, VALIDITY_DEFAULT, verify_statement};
pub use cluster::{ClusterKeys, keygen, loopback_keys};
pub use credentials::Credentials;
pub use error::KeyError;
pub use gossip_key::GossipKey;
pub use peer::{ANY_NODE_NAME, PeerIdentity, PeerKind, certificate_fingerprint, node_server_name};
pub use token::JoinToken;

#[cfg(test)]
mod tests;
