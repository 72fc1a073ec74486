//! Connections to nodes from a socket of the caller's.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{ANY_NODE_NAME, WireError};

/// A UDP socket that connections are made from, as many as are wanted. It lives as long as the last of them.
#[derive(Debug, Clone)]
pub struct Socket(quinn::Endpoint);

impl Socket {
    /// A socket on a free port that can reach addresses of the family of `peer`.
    ///
    /// # Errors
    /// When the system has none.
    pub fn towards(peer: SocketAddr) -> Result<Self, WireError> {
        let any: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        quinn::Endpoint::client(any).map(Self).map_err(|error| lost(peer, &error))
    }

    /// Connects to whichever node listens at `address`.
    ///
    /// # Errors
    /// When no node of the cluster answers.
    pub async fn connect(
        &self,
        address: SocketAddr,
        config: quinn::ClientConfig,
    ) -> Result<quinn::Connection, WireError> {
        let connecting = self.0.connect_with(config, address, ANY_NODE_NAME);
        let connecting = connecting.map_err(|error| lost(address, &error))?;
        connecting.await.map_err(|error| super::lost(&address, &error))
    }
}

/// Connects from a socket of its own to whichever node listens at `address`.
///
/// # Errors
/// When there is no socket, or no node of the cluster answers.
pub async fn connect(
    address: SocketAddr,
    config: quinn::ClientConfig,
) -> Result<quinn::Connection, WireError> {
    Socket::towards(address)?.connect(address, config).await
}

fn lost(address: SocketAddr, error: &dyn std::fmt::Display) -> WireError {
    WireError::Lost(format!("{address}: {error}"))
}
