//! Certificates for frameworks, for whoever may call the API.
//!
//! The key never leaves the framework's machine: it sends a signing request, and a node that holds
//! the cluster's keys signs it. A node without them asks the seeds and the voters.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use meshos_membership::keys::{self, ClusterKeys, KeyError, PeerKind};
use meshos_protocol::{
    ids::Principal,
    messages::node::{Reply, Request, SignSubject},
};
use serde::{Deserialize, Serialize};

use super::{
    Api, bodies,
    call::{Answer, Call, Failure},
};
use crate::{config::KeySource, net::Target};

/// How long a certificate of a framework is good.
const VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a node may take to sign.
const SIGN_LIMIT: Duration = Duration::from_secs(5);
/// The longest request for a certificate, in bytes of DER.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// The most nodes that are told to a framework as places to connect to.
const NODES_MAX: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialsBody {
    /// The signing request: DER in base64.
    request: String,
    /// For whom; the caller when absent.
    #[serde(default)]
    principal: Option<Principal>,
}

#[derive(Debug, Serialize)]
struct Issued {
    principal: Principal,
    /// DER in base64.
    certificate: String,
    /// The certificate of the cluster's authority: DER in base64.
    authority: String,
    /// QUIC addresses of nodes, this one first.
    nodes: Vec<String>,
}

struct Signed {
    certificate: Vec<u8>,
    authority: Vec<u8>,
}

impl Api {
    pub(super) async fn framework_credentials(&self, call: &Call) -> Result<Answer, Failure> {
        let body: CredentialsBody = bodies::read(&call.body)?;
        let request = signing_request(&body.request)?;
        let principal = match body.principal {
            Some(principal) => principal,
            None => Principal::new(&call.principal)
                .map_err(|error| Failure::invalid(error.to_string()))?,
        };
        let signed = self.sign(request, &principal).await?;
        tracing::info!(%principal, caller = %call.principal, "a framework's certificate was signed");
        Answer::json(&Issued {
            principal,
            certificate: BASE64.encode(signed.certificate),
            authority: BASE64.encode(signed.authority),
            nodes: self.quic_addresses(),
        })
    }

    async fn sign(&self, request: Vec<u8>, principal: &Principal) -> Result<Signed, Failure> {
        match self.options.options.keys.clone() {
            KeySource::JoinToken(_) => self.have_signed(request, principal).await,
            source @ (KeySource::Directory(_) | KeySource::Loopback(_)) => {
                let principal = principal.clone();
                let sign = move || sign_with(&keys_of(&source)?, &request, principal);
                match tokio::task::spawn_blocking(sign).await {
                    Ok(signed) => signed.map_err(refused),
                    Err(error) => Err(Failure::unavailable(format!("nothing was signed: {error}"))),
                }
            }
        }
    }

    /// Asks the nodes that may hold the keys, one after the other.
    async fn have_signed(
        &self,
        request: Vec<u8>,
        principal: &Principal,
    ) -> Result<Signed, Failure> {
        let mut failures = Vec::new();
        for target in self.signers() {
            let request = Request::Sign {
                request: request.clone(),
                subject: SignSubject::Framework { principal: principal.to_string() },
                token: String::new(),
            };
            let asked =
                async { self.options.net.link(&target).await?.request(request, SIGN_LIMIT).await };
            let why = match asked.await {
                Ok(Reply::Signed { certificate, authority, .. }) => {
                    return Ok(Signed { certificate, authority });
                }
                Ok(Reply::Failed { message }) => message,
                Ok(other) => format!("it gave an unexpected answer: {other:?}"),
                Err(error) => error.to_string(),
            };
            failures.push(format!("{}: {why}", target.address));
        }
        let failures = failures.join("; ");
        Err(Failure::unavailable(format!("no node with the cluster's keys has signed: {failures}")))
    }

    fn signers(&self) -> Vec<Target> {
        let voters = self.options.raft.voters().into_iter().map(|status| Target {
            node: Some(status.voter.node_id),
            address: status.voter.address,
        });
        let seeds = self
            .options
            .options
            .seeds
            .iter()
            .map(|seed| Target { node: None, address: seed.quic.clone() });
        let own = self.options.options.agent_address().to_string();
        let others: BTreeSet<Target> =
            seeds.chain(voters).filter(|target| target.address != own).collect();
        others.into_iter().collect()
    }

    fn quic_addresses(&self) -> Vec<String> {
        let own = self.options.options.agent_address().to_string();
        let view = self.options.gossip.view();
        let others = view.alive().map(|peer| peer.facts.address_quic.to_string());
        std::iter::once(own).chain(others).take(NODES_MAX).collect()
    }
}

fn signing_request(text: &str) -> Result<Vec<u8>, Failure> {
    if text.len() > REQUEST_BYTES_MAX.div_ceil(3) * 4 {
        let what = format!("the signing request is longer than {REQUEST_BYTES_MAX} bytes");
        return Err(Failure::invalid(what));
    }
    BASE64
        .decode(text)
        .map_err(|error| Failure::invalid(format!("the signing request is not base64: {error}")))
}

/// Read anew each time: it is seldom, and keys that were replaced are used at once.
fn keys_of(source: &KeySource) -> Result<ClusterKeys, KeyError> {
    match source {
        KeySource::Directory(directory) => ClusterKeys::load(directory),
        KeySource::Loopback(directory) => keys::loopback_keys(directory),
        KeySource::JoinToken(_) => Err(KeyError::Refused {
            what: "cluster keys",
            reason: "this node has joined by a token and holds none".to_owned(),
        }),
    }
}

fn sign_with(keys: &ClusterKeys, request: &[u8], principal: Principal) -> Result<Signed, KeyError> {
    let kind = PeerKind::Framework(principal);
    let certificate = keys.authority.sign_request(request, &kind, VALIDITY)?;
    Ok(Signed {
        certificate: certificate.to_vec(),
        authority: keys.authority.certificate().to_vec(),
    })
}

fn refused(error: KeyError) -> Failure {
    match error {
        KeyError::Refused { .. } => Failure::invalid(error.to_string()),
        other => Failure::unavailable(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use meshos_membership::keys::{NodeKey, PeerIdentity, keygen};

    use super::*;

    #[test]
    fn a_framework_gets_a_certificate_of_its_principal() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("keys");
        keygen(&directory).unwrap();
        let request = NodeKey::generate().unwrap().request().unwrap();
        let request = signing_request(&BASE64.encode(&request)).unwrap();
        let keys = keys_of(&KeySource::Directory(directory)).unwrap();
        let principal = Principal::new("analytics").unwrap();
        let signed = sign_with(&keys, &request, principal.clone()).unwrap();
        let identity = PeerIdentity::from_certificate(&signed.certificate).unwrap();
        assert_eq!(identity.kind, PeerKind::Framework(principal));
        assert_eq!(signed.authority, keys.authority.certificate().to_vec());
    }

    #[test]
    fn what_is_no_signing_request_is_the_callers_mistake() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("keys");
        let keys = keygen(&directory).unwrap();
        let principal = Principal::new("p").unwrap();
        let error = sign_with(&keys, b"nonsense", principal).err().unwrap();
        assert_eq!(Answer::from(refused(error)).status, 400);
        assert_eq!(Answer::from(signing_request("***").unwrap_err()).status, 400);
        let long = BASE64.encode(vec![0; REQUEST_BYTES_MAX + 3]);
        assert_eq!(Answer::from(signing_request(&long).unwrap_err()).status, 400);
    }
}
