//! A connection of a node that is no member yet.

use std::{net::SocketAddr, sync::Arc};

use meshos_sdk::wire::{self, ANY_NODE_NAME, AuthorityCheck, Idle, WireError};
use tokio::sync::watch;

use super::Link;

/// Connects to a seed without a certificate, when the seed's authority passes the check. The
/// endpoint lives as long as the link.
pub(crate) async fn dial_unknown(
    address: &str,
    expected: AuthorityCheck,
) -> Result<Arc<Link>, WireError> {
    let lost = |error: &dyn std::fmt::Display| WireError::Lost(format!("{address}: {error}"));
    let target = tokio::net::lookup_host(address).await.map_err(|error| lost(&error))?.next();
    let target = target.ok_or_else(|| lost(&"the name has no address"))?;
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let endpoint = quinn::Endpoint::client(any).map_err(|error| lost(&error))?;
    let config = wire::joining_config(expected, Idle::default())?;
    let connection = endpoint
        .connect_with(config, target, ANY_NODE_NAME)
        .map_err(|error| lost(&error))?
        .await
        .map_err(|error| lost(&error))?;
    let (_no_cluster, cluster) = watch::channel(None);
    Ok(Arc::new(Link::new(connection, cluster)))
}
