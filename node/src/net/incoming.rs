//! Streams that peers open: who may open which, and who handles them.

use std::sync::Arc;

use async_trait::async_trait;
use meshos_membership::keys::{PeerIdentity, PeerKind};
use meshos_protocol::{
    codec::FRAME_BYTES_MAX,
    ids::{NodeId, Principal},
    messages::{
        Refusal, StreamClass,
        node::{Reply, ReplyFrame, Request, RequestFrame},
    },
};
use meshos_sdk::wire::{
    self, FrameReader, FrameSender, OPENING_BYTES_MAX, Opened, WireError, WriterOptions,
    spawn_writer,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    Link, Net,
    admission::{Entry, Handshake},
    requests,
};

/// Requests of one stream that may be handled at a time.
const REQUESTS_MAX: usize = 128;
/// The same for a peer that is no node.
const REQUESTS_OF_CLIENT_MAX: usize = 16;
/// The same for a peer without a certificate.
const REQUESTS_OF_STRANGER_MAX: usize = 1;
/// The largest frame of an operator: a call of the HTTP API with its body.
const OPERATOR_BYTES_MAX: usize = 2 << 20;
/// What waits to be sent to a peer without a certificate: certificates, which are small.
const STRANGER_WRITER: WriterOptions = WriterOptions { frames_max: 4, bytes_max: 64 << 10 };

/// Tells a peer why its connection is closed.
const CLOSE_FULL: (u32, &[u8]) = (1, b"too many connections: try again later");
const CLOSE_OVER: (u32, &[u8]) = (2, b"a connection without a certificate lasts no longer");

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
    loop {
        let incoming = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            incoming = net.inner().endpoint.accept() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let (address, proven) =
            (incoming.remote_address().ip(), incoming.remote_address_validated());
        match net.inner().admission.knock(address, proven) {
            Entry::Enter(handshake) => {
                let (net, handler) = (net.clone(), Arc::clone(&handler));
                tokio::spawn(serve_incoming(net, incoming, handshake, handler));
            }
            Entry::Prove => {
                if let Err(error) = incoming.retry() {
                    error.into_incoming().refuse();
                }
            }
            Entry::Refuse => {
                tracing::warn!(%address, "too many handshakes are under way: one is refused");
                incoming.refuse();
            }
        }
    }
}

async fn serve_incoming(
    net: Net,
    incoming: quinn::Incoming,
    handshake: Handshake,
    handler: Arc<dyn Handler>,
) {
    let limit = net.inner().admission.limits().handshake_time;
    let connected = tokio::time::timeout(limit, incoming).await;
    drop(handshake);
    match connected {
        Ok(Ok(connection)) => serve_connection(&net, connection, handler).await,
        Ok(Err(error)) => tracing::debug!(%error, "a connection was not established"),
        Err(_) => tracing::debug!("a handshake took too long"),
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
    let admission = &net.inner().admission;
    let Some(_place) = admission.place(&peer, connection.remote_address().ip()) else {
        tracing::warn!(?peer, "too many connections: one is closed");
        return close(&connection, CLOSE_FULL);
    };
    if peer == Peer::Anonymous {
        let streams = accept_streams(net.clone(), connection.clone(), peer, handler);
        if tokio::time::timeout(admission.limits().anonymous_time, streams).await.is_err() {
            close(&connection, CLOSE_OVER);
        }
        return;
    }
    wire::allow_streams(&connection);
    if let Some(node) = peer.node() {
        let link = Link::new(connection.clone(), net.inner().cluster.clone());
        net.inner().pool.remember(node, Arc::new(link));
    }
    accept_streams(net.clone(), connection, peer, handler).await;
}

fn close(connection: &quinn::Connection, (code, reason): (u32, &[u8])) {
    connection.close(code.into(), reason);
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
    let hello_time = net.inner().admission.limits().hello_time;
    let hello = wire::read_hello(&mut reader, hello_time).await?;
    let ours = *net.inner().cluster.borrow();
    let verdict = same_cluster(ours, hello.cluster)
        .and_then(|()| allowed(peer, &hello.class))
        .and_then(|()| handler.admit(&hello.class));
    wire::answer_stream(&mut send, &hello, verdict).await?;
    reader.limit_frames(frame_bytes_max(peer, &hello.class));
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

/// The largest frame that this peer may send on a stream of this class.
const fn frame_bytes_max(peer: &Peer, class: &StreamClass) -> usize {
    match (peer, class) {
        (Peer::Anonymous, _) | (_, StreamClass::Unknown) => OPENING_BYTES_MAX,
        (Peer::Operator(_), _) => OPERATOR_BYTES_MAX,
        (
            Peer::Node(_) | Peer::Framework(_),
            StreamClass::Agent
            | StreamClass::Scheduler
            | StreamClass::Relay { .. }
            | StreamClass::Request
            | StreamClass::Bulk,
        ) => FRAME_BYTES_MAX,
    }
}

/// How many requests are handled at a time, and what may wait to be sent.
fn request_bounds(peer: &Peer) -> (usize, WriterOptions) {
    match peer {
        Peer::Node(_) => (REQUESTS_MAX, WriterOptions::default()),
        Peer::Framework(_) | Peer::Operator(_) => {
            (REQUESTS_OF_CLIENT_MAX, WriterOptions::default())
        }
        Peer::Anonymous => (REQUESTS_OF_STRANGER_MAX, STRANGER_WRITER),
    }
}

async fn serve_requests(
    peer: &Peer,
    opened: Opened,
    handler: Arc<dyn Handler>,
) -> Result<(), WireError> {
    let Opened { send, mut reader } = opened;
    let (at_a_time, writer) = request_bounds(peer);
    let sender = spawn_writer(send, writer);
    let slots = Arc::new(Semaphore::new(at_a_time));
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

#[cfg(test)]
mod tests {
    use meshos_protocol::ids::ClusterId;

    use super::*;

    fn peers() -> [Peer; 4] {
        let name = || Principal::new("p").unwrap();
        let node = Peer::Node(NodeId::from_bits(1));
        [node, Peer::Framework(name()), Peer::Operator(name()), Peer::Anonymous]
    }

    fn classes() -> [StreamClass; 6] {
        let principal = Principal::new("p").unwrap();
        [
            StreamClass::Agent,
            StreamClass::Scheduler,
            StreamClass::Relay { principal },
            StreamClass::Request,
            StreamClass::Bulk,
            StreamClass::Unknown,
        ]
    }

    #[test]
    fn each_kind_of_peer_may_open_what_it_needs_and_nothing_else() {
        // agent, scheduler, relay, request, bulk, unknown
        let table = [
            [true, false, true, true, true, false],
            [false, true, false, false, false, false],
            [false, false, false, true, false, false],
            [false, false, false, true, false, false],
        ];
        for (peer, row) in peers().iter().zip(table) {
            for (class, expected) in classes().iter().zip(row) {
                match allowed(peer, class) {
                    Ok(()) => assert!(expected, "{peer:?} may open {class:?}"),
                    Err((cause, message)) => {
                        assert!(!expected, "{peer:?} may not open {class:?}");
                        assert_eq!(cause, Refusal::Identity);
                        assert!(message.contains("certificate"), "{message}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_stream_of_another_cluster_is_refused_once_both_know_theirs() {
        let (one, two) = (Some(ClusterId::from_u128(1)), Some(ClusterId::from_u128(2)));
        for (ours, theirs) in [(None, None), (one, None), (None, two), (one, one)] {
            assert_eq!(same_cluster(ours, theirs), Ok(()), "{ours:?} {theirs:?}");
        }
        let (cause, message) = same_cluster(one, two).unwrap_err();
        assert_eq!(cause, Refusal::Cluster);
        let told = ClusterId::from_u128(2).to_string();
        assert!(message.contains(&told), "{message}");
    }

    #[test]
    fn frames_are_as_large_as_their_sender_may_need() {
        let [node, framework, operator, anonymous] = peers();
        for class in classes() {
            assert_eq!(frame_bytes_max(&anonymous, &class), OPENING_BYTES_MAX);
            let unknown = class == StreamClass::Unknown;
            let largest = if unknown { OPENING_BYTES_MAX } else { FRAME_BYTES_MAX };
            assert_eq!(frame_bytes_max(&node, &class), largest);
            assert_eq!(frame_bytes_max(&framework, &class), largest);
        }
        assert_eq!(frame_bytes_max(&operator, &StreamClass::Request), OPERATOR_BYTES_MAX);
    }
}
