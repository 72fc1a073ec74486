//! Streams that peers open: who may open which, and who handles them.

use std::sync::Arc;

use async_trait::async_trait;
use meshos_membership::keys::{PeerIdentity, PeerKind};
use meshos_protocol::{
    ids::{NodeId, Principal},
    messages::{
        Refusal, StreamClass,
        node::{Reply, ReplyFrame, Request, RequestFrame},
    },
};
use meshos_sdk::wire::{
    self, FrameReader, FrameSender, Opened, WireError, WriterOptions, spawn_writer,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Link, Net, requests};

/// Connections whose handshake may be under way at a time.
const HANDSHAKES_MAX: usize = 256;
/// Connections that may be open at a time.
const CONNECTIONS_MAX: usize = 20_000;
/// Requests of one stream that may be handled at a time.
const REQUESTS_MAX: usize = 128;

/// The other end of a connection, as its certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A node of this cluster's authority.
    Node(NodeId),
    /// A framework with this principal.
    Framework(Principal),
    /// An operator of this name.
    Operator(Principal),
    /// No certificate: may only ask for one.
    Anonymous,
}

impl Peer {
    /// The node, when it is one.
    pub(crate) fn node(&self) -> Option<NodeId> {
        match self {
            Self::Node(node) => Some(*node),
            Self::Framework(_) | Self::Operator(_) | Self::Anonymous => None,
        }
    }
}

type Verdict = Result<(), (Refusal, String)>;

/// What the rest of the node does with streams and requests.
#[async_trait]
pub(crate) trait Handler: Send + Sync + 'static {
    /// Whether a stream of this class may be opened now (identity is checked already).
    fn admit(&self, class: &StreamClass) -> Verdict;
    /// An agent registers.
    fn agent(&self, node: NodeId, opened: Opened);
    /// A framework connects to this node.
    fn scheduler(&self, principal: Principal, opened: Opened);
    /// A gateway passes a framework on to this node as the leader.
    fn relay(&self, gateway: NodeId, principal: Principal, opened: Opened);
    /// A request; the answer is sent back.
    async fn request(&self, peer: &Peer, request: Request) -> Reply;
}

/// Accepts connections until `shutdown`.
pub(super) async fn accept(net: &Net, handler: Arc<dyn Handler>, shutdown: CancellationToken) {
    net.inner().pool.set_handler(Arc::clone(&handler));
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let incoming = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            incoming = net.inner().endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let slots = (
            Arc::clone(&handshakes).try_acquire_owned(),
            Arc::clone(&connections).try_acquire_owned(),
        );
        let (Ok(handshake), Ok(open)) = slots else {
            tracing::warn!("too many connections: one is refused");
            incoming.refuse();
            continue;
        };
        let (net, handler) = (net.clone(), Arc::clone(&handler));
        tokio::spawn(async move {
            let connected = incoming.await;
            drop(handshake);
            match connected {
                Ok(connection) => serve_connection(&net, connection, handler).await,
                Err(error) => tracing::debug!(%error, "a connection was not established"),
            }
            drop(open);
        });
    }
}

/// Accepts streams on a connection that this node dialled.
///
/// A node that starts dials before it serves: such a connection waits for the handler, since the peer takes it for the
/// one to ask this node over.
pub(super) fn serve_dialled(net: &Net, connection: quinn::Connection) {
    let (net, peer) = (net.clone(), peer_of(&connection));
    tokio::spawn(async move {
        let handler = tokio::select! {
            handler = net.inner().pool.handler() => handler,
            _ = connection.closed() => return,
        };
        accept_streams(net, connection, peer, handler).await;
    });
}

/// Who is at the other end; anonymous when the certificate is absent or not one of ours.
pub(super) fn peer_of(connection: &quinn::Connection) -> Peer {
    let certificates = connection
        .peer_identity()
        .and_then(|any| any.downcast::<Vec<rustls_pki_types::CertificateDer<'static>>>().ok());
    let Some(certificate) = certificates.as_ref().and_then(|chain| chain.first()) else {
        return Peer::Anonymous;
    };
    match PeerIdentity::from_certificate(certificate) {
        Ok(identity) => match identity.kind {
            PeerKind::Node(node) => Peer::Node(node),
            PeerKind::Framework(principal) => Peer::Framework(principal),
            PeerKind::Operator(name) => Peer::Operator(name),
        },
        Err(error) => {
            tracing::warn!(%error, "a peer's certificate names nobody");
            Peer::Anonymous
        }
    }
}

async fn serve_connection(net: &Net, connection: quinn::Connection, handler: Arc<dyn Handler>) {
    let peer = peer_of(&connection);
    if let Some(node) = peer.node() {
        let link = Link::new(connection.clone(), net.inner().cluster.clone());
        net.inner().pool.remember(node, Arc::new(link));
    }
    accept_streams(net.clone(), connection, peer, handler).await;
}

async fn accept_streams(
    net: Net,
    connection: quinn::Connection,
    peer: Peer,
    handler: Arc<dyn Handler>,
) {
    loop {
        match connection.accept_bi().await {
            Ok((send, receive)) => {
                let (net, peer, handler) = (net.clone(), peer.clone(), Arc::clone(&handler));
                tokio::spawn(async move {
                    if let Err(error) = serve_stream(&net, &peer, send, receive, handler).await {
                        tracing::debug!(?peer, %error, "a stream ended");
                    }
                });
            }
            Err(error) => {
                tracing::debug!(?peer, %error, "a connection ended");
                return;
            }
        }
    }
}

async fn serve_stream(
    net: &Net,
    peer: &Peer,
    mut send: quinn::SendStream,
    receive: quinn::RecvStream,
    handler: Arc<dyn Handler>,
) -> Result<(), WireError> {
    let mut reader = FrameReader::new(receive);
    let hello = wire::read_hello(&mut reader).await?;
    let ours = *net.inner().cluster.borrow();
    let verdict = same_cluster(ours, hello.cluster)
        .and_then(|()| allowed(peer, &hello.class))
        .and_then(|()| handler.admit(&hello.class));
    wire::answer_stream(&mut send, &hello, verdict).await?;
    let opened = Opened { send, reader };
    match (hello.class, peer) {
        (StreamClass::Agent, Peer::Node(node)) => handler.agent(*node, opened),
        (StreamClass::Scheduler, Peer::Framework(principal)) => {
            handler.scheduler(principal.clone(), opened);
        }
        (StreamClass::Relay { principal }, Peer::Node(gateway)) => {
            handler.relay(*gateway, principal, opened);
        }
        (StreamClass::Request, _) => serve_requests(peer, opened, handler).await?,
        (StreamClass::Bulk, Peer::Node(_)) => {
            requests::give_way(&opened.send);
            serve_requests(peer, opened, handler).await?;
        }
        (class, peer) => tracing::error!(?class, ?peer, "a stream was admitted for nobody"),
    }
    Ok(())
}

fn same_cluster(
    ours: Option<meshos_protocol::ids::ClusterId>,
    theirs: Option<meshos_protocol::ids::ClusterId>,
) -> Verdict {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours != theirs => Err((
            Refusal::Cluster,
            format!("this node belongs to cluster {ours}, the peer to {theirs}"),
        )),
        _ => Ok(()),
    }
}

/// Least rights: each kind of peer may open only what it needs.
fn allowed(peer: &Peer, class: &StreamClass) -> Verdict {
    let permitted = match (peer, class) {
        (
            Peer::Node(_),
            StreamClass::Agent
            | StreamClass::Relay { .. }
            | StreamClass::Request
            | StreamClass::Bulk,
        )
        | (Peer::Framework(_), StreamClass::Scheduler)
        | (Peer::Operator(_) | Peer::Anonymous, StreamClass::Request) => true,
        (Peer::Node(_), StreamClass::Scheduler | StreamClass::Unknown)
        | (Peer::Framework(_) | Peer::Operator(_) | Peer::Anonymous, _) => false,
    };
    if permitted {
        return Ok(());
    }
    let message = format!("the peer's certificate does not allow a stream of class {class:?}");
    Err((Refusal::Identity, message))
}

async fn serve_requests(
    peer: &Peer,
    opened: Opened,
    handler: Arc<dyn Handler>,
) -> Result<(), WireError> {
    let Opened { send, mut reader } = opened;
    let sender = spawn_writer(send, WriterOptions::default());
    let slots = Arc::new(Semaphore::new(REQUESTS_MAX));
    while let Some(RequestFrame { id, request }) = reader.read().await? {
        // Hints tell a sequence, so they are taken one after the other.
        let in_order = matches!(request, Request::Hints { .. });
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return Ok(()) };
        let (peer, handler, sender) = (peer.clone(), Arc::clone(&handler), sender.clone());
        let answer = async move {
            let reply = handler.request(&peer, request).await;
            reply_with(&sender, &ReplyFrame { id, reply });
            drop(slot);
        };
        if in_order {
            answer.await;
        } else {
            tokio::spawn(answer);
        }
    }
    Ok(())
}

fn reply_with(sender: &FrameSender, frame: &ReplyFrame) {
    if let Err(error) = sender.send(frame) {
        tracing::debug!(%error, "a reply could not be sent");
    }
}
