//! Asks a node over QUIC, as the operator that a certificate names.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use meshos_membership::keys::{self, PeerKind};
use meshos_protocol::messages::node::{Reply, Request};
use meshos_sdk::wire::{Credentials, WireError};

use super::{ApiError, CONNECT_LIMIT};
use crate::net::{Link, dial_as};

/// How long the less likely port of a node is left alone.
const DIAL_STAGGER: Duration = Duration::from_millis(200);

/// A certificate, and the connections that were made with it.
pub(super) struct Operator {
    credentials: Credentials,
    links: Mutex<BTreeMap<String, Arc<Link>>>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Operator(key hidden)")
    }
}

impl Operator {
    /// Reads a file made by `meshos keygen operator`.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(super) fn load(file: &Path) -> Result<Self> {
        let loaded = keys::Credentials::load(file)
            .context("--credentials names a file made by `meshos keygen operator NAME`")?;
        let kind = loaded.identity()?.kind;
        if !matches!(kind, PeerKind::Operator(_)) {
            anyhow::bail!(
                "{} holds the certificate of {}: commands want an operator's, made by `meshos keygen operator NAME`",
                file.display(),
                match kind {
                    PeerKind::Framework(name) => format!("the framework {name}"),
                    _ => "a node".to_owned(),
                }
            );
        }
        let certificate = Some((loaded.certificate, loaded.key));
        let credentials = Credentials { authority: loaded.authority, certificate };
        Ok(Self { credentials, links: Mutex::default() })
    }

    /// The status of HTTP and the body.
    ///
    /// # Errors
    /// When the node cannot be reached, or does not answer in time.
    pub(super) async fn ask(
        &self,
        node: &str,
        method: &str,
        path: &str,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<(u16, Vec<u8>), ApiError> {
        let link = self.link(node).await?;
        let request = Request::Http {
            method: method.to_owned(),
            path: path.to_owned(),
            // The node takes the name from the certificate.
            principal: String::new(),
            body,
        };
        let lost = |why: String| ApiError::NoAnswer { node: node.to_owned(), why };
        match link.request(request, limit).await {
            Ok(Reply::Http { status, content_type: _, body }) => Ok((status, body)),
            Ok(Reply::Failed { message }) => Err(ApiError::Refused { status: 403, message }),
            Ok(other) => Err(lost(format!("it gave an unexpected answer: {other:?}"))),
            Err(WireError::Refused { message, .. }) => {
                Err(ApiError::Refused { status: 403, message })
            }
            Err(error) => Err(lost(error.to_string())),
        }
    }

    async fn link(&self, node: &str) -> Result<Arc<Link>, ApiError> {
        let known = self.links().get(node).filter(|link| !link.is_closed()).cloned();
        if let Some(link) = known {
            return Ok(link);
        }
        let mut dials: FuturesUnordered<_> = quic_addresses(node)
            .into_iter()
            .zip(0u32..)
            .map(|(address, turn)| self.dial(address, DIAL_STAGGER * turn))
            .collect();
        let mut first_error = None;
        while let Some(dialled) = dials.next().await {
            match dialled {
                Ok(link) => {
                    self.links().insert(node.to_owned(), Arc::clone(&link));
                    return Ok(link);
                }
                // That somebody is there says more than that nobody is at the other port.
                Err(why @ WireError::Credentials(_)) => first_error = Some(why),
                Err(why) => {
                    first_error.get_or_insert(why);
                }
            }
        }
        let none = || WireError::Lost("it has no port for QUIC".to_owned());
        Err(unreachable(node, first_error.unwrap_or_else(none)))
    }

    async fn dial(&self, address: String, after: Duration) -> Result<Arc<Link>, WireError> {
        tokio::time::sleep(after).await;
        let dial = dial_as(&self.credentials, &address);
        match tokio::time::timeout(CONNECT_LIMIT, dial).await {
            Ok(dialled) => dialled,
            Err(_) => {
                Err(WireError::Lost(format!("{address}: no answer within {CONNECT_LIMIT:?}")))
            }
        }
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no connection: a node that is there and takes other certificates is told apart from
/// one that is not, since starting one would not help.
fn unreachable(node: &str, error: WireError) -> ApiError {
    match error {
        WireError::Credentials(why) => {
            let message = format!(
                "{why}: --credentials must name a certificate made by `meshos keygen operator NAME` with the keys of \
                 that node's cluster"
            );
            ApiError::Refused { status: 401, message }
        }
        error => ApiError::Unreachable { node: node.to_owned(), why: error.to_string() },
    }
}

/// Where QUIC may be: at the port after the cluster's, or at the port that was named when that is
/// the agent's already.
fn quic_addresses(node: &str) -> Vec<String> {
    let Some((host, port)) = node.rsplit_once(':') else { return Vec::new() };
    let Ok(port) = port.parse::<u16>() else { return Vec::new() };
    let ports = port.checked_add(1).into_iter().chain([port]);
    ports.map(|port| format!("{host}:{port}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quic_is_looked_for_beside_the_clusters_port_first() {
        assert_eq!(quic_addresses("a:5050"), ["a:5051", "a:5050"]);
        assert_eq!(quic_addresses("[::1]:65535"), ["[::1]:65535"]);
    }

    #[test]
    fn a_certificate_of_another_cluster_is_told_from_a_node_that_is_not_there() {
        let foreign = unreachable("a:5050", WireError::Credentials("a:5051 is foreign".to_owned()));
        let sentence = foreign.to_string();
        assert!(sentence.starts_with("a:5051 is foreign: --credentials must name"), "{sentence}");
        let silent = unreachable("a:5050", WireError::Lost("a:5051: timed out".to_owned()));
        assert!(silent.to_string().starts_with("cannot reach a node at a:5050"), "{silent}");
    }

    #[test]
    fn a_file_that_is_no_certificate_is_refused_with_what_to_do() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("operator.pem");
        std::fs::write(&file, "nonsense").unwrap();
        let error = format!("{:#}", Operator::load(&file).unwrap_err());
        assert!(error.contains("meshos keygen operator"), "{error}");
    }
}
