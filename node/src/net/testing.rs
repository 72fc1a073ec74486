//! Nodes and their peers over real QUIC on loopback, for the tests of this crate.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use meshos_membership::keys::{ClusterKeys, PeerKind, VALIDITY_DEFAULT, keygen};
use meshos_protocol::{
    ids::{ClusterId, NodeId, Principal},
    messages::{
        Refusal, StreamClass, StreamHello,
        node::{Reply, Request},
    },
};
use meshos_sdk::wire::{self, Credentials, Idle, Opened, WireError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Handler, Limits, Net, Options, Peer, Target};

/// How long anything may take on a busy machine before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The cluster that test nodes belong to.
pub(crate) const CLUSTER: ClusterId = ClusterId::from_u128(7);

/// Fails the test when `work` takes too long.
pub(crate) async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// Looks until `condition` holds.
pub(crate) async fn poll_until(what: &str, mut condition: impl FnMut() -> bool) {
    let look = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(what, look).await;
}

/// The authority of one cluster.
pub(crate) struct Authority {
    keys: ClusterKeys,
    _directory: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let keys = keygen(&directory.path().join("keys")).expect("keys can be made");
        Self { keys, _directory: directory }
    }

    /// A certificate of this kind.
    pub(crate) fn issue(&self, kind: &PeerKind) -> Credentials {
        let issued = self.keys.authority.issue(kind, VALIDITY_DEFAULT).expect("it signs");
        Credentials {
            authority: issued.authority,
            certificate: Some((issued.certificate, issued.key)),
        }
    }

    /// Whoever knows the authority and has no certificate.
    pub(crate) fn stranger(&self) -> Credentials {
        let authority = self.keys.authority.certificate().clone().into_owned();
        Credentials { authority, certificate: None }
    }

    pub(crate) fn framework(&self, name: &str) -> Credentials {
        self.issue(&PeerKind::Framework(Principal::new(name).expect("a good name")))
    }
}

/// A stream that a peer opened.
pub(crate) enum Arrival {
    Agent,
    Scheduler(Principal, Opened),
    Relay(NodeId, Principal, Opened),
}

type Answer = Box<dyn Fn(&Peer, Request) -> Reply + Send + Sync>;

/// Admits everything, and hands over what arrives.
struct Recorder {
    arrivals: mpsc::UnboundedSender<Arrival>,
    answer: Answer,
}

#[async_trait]
impl Handler for Recorder {
    fn admit(&self, _class: &StreamClass) -> Result<(), (Refusal, String)> {
        Ok(())
    }

    fn agent(&self, _node: NodeId, _opened: Opened) {
        self.arrivals.send(Arrival::Agent).ok();
    }

    fn scheduler(&self, principal: Principal, opened: Opened) {
        self.arrivals.send(Arrival::Scheduler(principal, opened)).ok();
    }

    fn relay(&self, gateway: NodeId, principal: Principal, opened: Opened) {
        self.arrivals.send(Arrival::Relay(gateway, principal, opened)).ok();
    }

    async fn request(&self, peer: &Peer, request: Request) -> Reply {
        (self.answer)(peer, request)
    }
}

/// A node's QUIC with nothing behind it.
pub(crate) struct TestNode {
    pub(crate) id: NodeId,
    pub(crate) net: Net,
    pub(crate) arrivals: mpsc::UnboundedReceiver<Arrival>,
    stop: DropGuard,
}

impl TestNode {
    /// A node that answers requests with "done".
    pub(crate) fn start(authority: &Authority, number: u64, limits: Limits) -> Self {
        Self::answering(authority, number, limits, |_, _| Reply::Done)
    }

    /// A node that answers requests in this way.
    pub(crate) fn answering(
        authority: &Authority,
        number: u64,
        limits: Limits,
        answer: impl Fn(&Peer, Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let id = NodeId::from_bits(number);
        let net = Net::bind(Options {
            node: id,
            listen: "127.0.0.1:0".parse().expect("an address"),
            credentials: authority.issue(&PeerKind::Node(id)),
            idle: Idle { timeout: PATIENCE, ..Idle::default() },
            cluster: watch::channel(Some(CLUSTER)).1,
            limits,
            reset_secret: [1; 32],
        })
        .expect("a port is free");
        let (sender, arrivals) = mpsc::unbounded_channel();
        let handler = Arc::new(Recorder { arrivals: sender, answer: Box::new(answer) });
        let stop = CancellationToken::new();
        let (serving, token) = (net.clone(), stop.clone());
        tokio::spawn(async move { serving.serve(handler, token).await });
        Self { id, net, arrivals, stop: stop.drop_guard() }
    }

    /// Ends it: its connections are closed.
    pub(crate) fn stop(self) {
        drop(self.stop);
    }

    pub(crate) fn target(&self) -> Target {
        Target { node: Some(self.id), address: self.net.address().to_string() }
    }

    /// The next stream that a peer opened.
    pub(crate) async fn arrival(&mut self) -> Arrival {
        in_time("a stream arrives", self.arrivals.recv()).await.expect("the node runs")
    }
}

/// A connection to the node.
pub(crate) async fn connect(
    credentials: &Credentials,
    address: SocketAddr,
) -> Result<quinn::Connection, WireError> {
    let idle = Idle { timeout: PATIENCE, ..Idle::default() };
    let config = wire::client_config(credentials, idle).expect("the credentials are good");
    in_time("a connection", wire::connect(address, config)).await
}

/// A stream of this class.
pub(crate) async fn open(
    connection: &quinn::Connection,
    class: StreamClass,
) -> Result<Opened, WireError> {
    let hello = StreamHello::new(Some(CLUSTER), class);
    in_time("a stream", wire::open_stream(connection, &hello)).await
}
