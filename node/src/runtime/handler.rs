//! What peers may ask of this node, and who answers.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use meshos_membership::{
    gossip,
    keys::{ClusterKeys, JoinToken, PeerKind, VALIDITY_DEFAULT},
    raft::{RaftGroup, Voter},
};
use meshos_protocol::{
    ids::{NodeId, Principal},
    messages::{
        Refusal, StreamClass,
        node::{Reply, Request, SignSubject},
    },
};
use meshos_sdk::wire::Opened;
use rustls_pki_types::CertificateSigningRequestDer;
use tokio_util::sync::CancellationToken;

use super::formation::{Formation, make_voter};
use crate::{
    api::{Api, Call},
    cluster::{HintStore, LeaderTracker, RegistryHost},
    driver::master,
    gateway,
    net::{Handler, Net, Peer},
};

/// How long a certificate of a framework that an operator asked for is good.
const FRAMEWORK_VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);

/// Answers peers.
pub(crate) struct NodeHandler {
    pub net: Net,
    pub raft: Arc<RaftGroup>,
    pub formation: Formation,
    pub tracker: LeaderTracker,
    pub gossip: gossip::Handle,
    pub registry: RegistryHost,
    pub hints: HintStore,
    pub master: master::Handle,
    pub api: Arc<Api>,
    pub cluster_keys: Option<Arc<ClusterKeys>>,
    pub shutdown: CancellationToken,
}

#[async_trait]
impl Handler for NodeHandler {
    fn admit(&self, class: &StreamClass) -> Result<(), (Refusal, String)> {
        match class {
            StreamClass::Agent | StreamClass::Relay { .. } => self.master.admit(),
            StreamClass::Scheduler | StreamClass::Request | StreamClass::Bulk => Ok(()),
            StreamClass::Unknown => {
                Err((Refusal::Version, "this release does not know that class of stream".into()))
            }
        }
    }

    fn agent(&self, node: NodeId, opened: Opened) {
        self.master.agent(node, opened);
    }

    fn scheduler(&self, principal: Principal, opened: Opened) {
        let options =
            gateway::Options { net: self.net.clone(), leader: self.tracker.leader(), principal };
        tokio::spawn(gateway::serve(options, opened, self.shutdown.clone()));
    }

    fn relay(&self, gateway: NodeId, principal: Principal, opened: Opened) {
        self.master.relay(gateway, principal, opened);
    }

    async fn request(&self, peer: &Peer, request: Request) -> Reply {
        let answer = match peer {
            Peer::Node(node) => self.answer_node(*node, request).await,
            Peer::Anonymous => self.answer_anonymous(request),
            Peer::Operator(name) => self.answer_operator(name, request).await,
            Peer::Framework(_) => Err(not_allowed()),
        };
        answer.unwrap_or_else(|message| Reply::Failed { message })
    }
}

impl NodeHandler {
    async fn answer_node(&self, node: NodeId, request: Request) -> Result<Reply, String> {
        match request {
            Request::Raft { body } => {
                let answer = self.raft.handle_request(node, &body).await;
                answer.map(|body| Reply::Bytes { body }).map_err(|error| error.to_string())
            }
            Request::Probe { body } => {
                let body = self.formation.answer(node, &body).await?;
                Ok(Reply::Bytes { body })
            }
            Request::Announce(announcement) => {
                // Only the leader speaks for itself.
                if announcement.leader == node {
                    self.tracker.announced(&announcement);
                    self.tracker.told_by_leader(announcement);
                }
                Ok(Reply::Done)
            }
            Request::Leader => Ok(Reply::Leader { announcement: self.tracker.announcement() }),
            Request::ConfirmLeader { term, leader } => {
                Ok(Reply::Confirmed { agrees: self.tracker.agrees(term, leader) })
            }
            Request::Hints { fence, hints, place } => {
                let complete =
                    !self.tracker.agrees(fence.term, node) || self.hints.hear(fence, place, hints);
                Ok(if complete { Reply::Done } else { Reply::HintsMissed })
            }
            Request::JoinVoters { raft_id, address, replaces, release } => {
                let voter = Voter { raft_id, node_id: node, address };
                let joined = make_voter(&self.raft, voter, replaces, release).await;
                joined.map(|()| Reply::Done).map_err(|error| error.to_string())
            }
            Request::Http { method, path, principal, body } => {
                let call = Call { method, path, principal, body, forwarded: true };
                Ok(self.api.answer(call).await.into_reply())
            }
            Request::Sign { request, subject, token: _ } => match subject {
                SignSubject::Framework { .. } => self.sign(&request, &subject),
                SignSubject::Node { .. } | SignSubject::Unknown => Err(not_allowed()),
            },
            Request::Unknown => Err("this release does not know that request".into()),
        }
    }

    /// An operator may make every call of the HTTP API and have the keys of frameworks signed.
    async fn answer_operator(&self, name: &Principal, request: Request) -> Result<Reply, String> {
        match request {
            // Who calls is what the certificate says, whatever the request says.
            Request::Http { method, path, principal: _, body } => {
                if Api::is_inner(&path) {
                    return Err(format!("there is nothing at {path:?}"));
                }
                let principal = name.to_string();
                let call = Call { method, path, principal, body, forwarded: false };
                Ok(self.api.answer(call).await.into_reply())
            }
            Request::Leader => Ok(Reply::Leader { announcement: self.tracker.announcement() }),
            Request::Sign {
                request,
                subject: subject @ SignSubject::Framework { .. },
                token: _,
            } => self.sign(&request, &subject),
            Request::Unknown => Err("this release does not know that request".into()),
            Request::Raft { .. }
            | Request::Probe { .. }
            | Request::Announce(_)
            | Request::ConfirmLeader { .. }
            | Request::Hints { .. }
            | Request::JoinVoters { .. }
            | Request::Sign { .. } => Err(not_allowed()),
        }
    }

    /// A peer without a certificate may ask for one, against the join token.
    fn answer_anonymous(&self, request: Request) -> Result<Reply, String> {
        let Request::Sign { request, subject, token } = request else { return Err(not_allowed()) };
        let SignSubject::Node { node } = subject else { return Err(not_allowed()) };
        let keys = self.keys()?;
        let refused = || "the join token is not the one of this cluster".to_owned();
        let presented: JoinToken = token.parse().map_err(|_| refused())?;
        if !keys.join_token.verify(presented.secret()) {
            return Err(refused());
        }
        if self.is_taken(node) {
            return Err(format!("node id {node} belongs to a node of this cluster already"));
        }
        self.sign(&request, &subject)
    }

    /// A token lets a new node in; it must not let anyone become a node that exists.
    fn is_taken(&self, node: NodeId) -> bool {
        node == self.net.node()
            || self.gossip.view().peers.contains_key(&node)
            || self.registry.knows_node(node)
            || self.raft.voters().iter().any(|status| status.voter.node_id == node)
    }

    fn sign(&self, request: &[u8], subject: &SignSubject) -> Result<Reply, String> {
        let keys = self.keys()?;
        let (kind, validity) = match subject {
            SignSubject::Node { node } => (PeerKind::Node(*node), VALIDITY_DEFAULT),
            SignSubject::Framework { principal } => {
                let principal = Principal::new(principal).map_err(|error| error.to_string())?;
                (PeerKind::Framework(principal), FRAMEWORK_VALIDITY)
            }
            SignSubject::Unknown => return Err(not_allowed()),
        };
        let gossip_key = match &kind {
            PeerKind::Node(_) => keys.gossip_key.as_bytes().to_vec(),
            PeerKind::Framework(_) | PeerKind::Operator(_) => Vec::new(),
        };
        let request = CertificateSigningRequestDer::from(request.to_vec());
        let certificate = keys
            .authority
            .sign_request(&request, &kind, validity)
            .map_err(|error| error.to_string())?;
        tracing::info!(?kind, "a certificate was signed");
        Ok(Reply::Signed {
            certificate: certificate.to_vec(),
            authority: keys.authority.certificate().to_vec(),
            gossip_key,
        })
    }

    fn keys(&self) -> Result<&ClusterKeys, String> {
        self.cluster_keys.as_deref().ok_or_else(|| {
            "this node does not hold the cluster's keys and cannot sign: ask a seed".to_owned()
        })
    }
}

fn not_allowed() -> String {
    "the peer's certificate does not allow that request".to_owned()
}
