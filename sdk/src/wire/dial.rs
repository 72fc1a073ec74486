//! A connection from a socket of its own.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{ANY_NODE_NAME, WireError};

/// Connects to whichever node listens at `address`. The socket lives as long as the connection.
///
/// # Errors
/// When there is no socket, or no node of the cluster answers.
pub async fn connect(
    address: SocketAddr,
    config: quinn::ClientConfig,
) -> Result<quinn::Connection, WireError> {
    let lost = |error: &dyn std::fmt::Display| WireError::Lost(format!("{address}: {error}"));
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let endpoint = quinn::Endpoint::client(any).map_err(|error| lost(&error))?;
    let connecting = endpoint.connect_with(config, address, ANY_NODE_NAME);
    connecting.map_err(|error| lost(&error))?.await.map_err(|error| lost(&error))
}
