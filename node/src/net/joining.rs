//! Connections of those who are no nodes: one that is about to join, and an operator.

use std::sync::Arc;

use meshos_sdk::wire::{self, AuthorityCheck, Credentials, Idle, WireError};
use tokio::sync::watch;

use super::Link;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Connects to a seed without a certificate, when the seed's authority passes the check.
pub(crate) async fn dial_unknown(
    address: &str,
    expected: AuthorityCheck,
) -> Result<Arc<Link>, WireError> {
    dial(address, wire::joining_config(expected, Idle::default())?).await
}

/// Connects to a node with a certificate that is not a node's.
pub(crate) async fn dial_as(
    credentials: &Credentials,
    address: &str,
) -> Result<Arc<Link>, WireError> {
    dial(address, wire::client_config(credentials, Idle::default())?).await
}

async fn dial(address: &str, config: quinn::ClientConfig) -> Result<Arc<Link>, WireError> {
    let lost = |why: String| WireError::Lost(format!("{address}: {why}"));
    let found = tokio::net::lookup_host(address).await.map_err(|error| lost(error.to_string()))?;
    let mut last = lost("the name has no address".to_owned());
    for socket in found.take(ADDRESSES_MAX) {
        match wire::connect(socket, config.clone()).await {
            Ok(connection) => {
                let (_no_cluster, cluster) = watch::channel(None);
                return Ok(Arc::new(Link::new(connection, cluster)));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
