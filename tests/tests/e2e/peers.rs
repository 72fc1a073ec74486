//! Who may open which stream, and ask what: the kinds of certificates, and none, against real processes.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use meshos_sdk::{
    protocol::{
        framework::{Capabilities, FrameworkInfo},
        ids::{ClusterId, Fence, NodeId, Principal, RequestId, Subscription, Term},
        messages::{
            Refusal, StreamClass, StreamHello,
            node::{Announcement, Reply, ReplyFrame, Request, RequestFrame, SignSubject},
            scheduler::{Call, CallFrame, Event, EventFrame, Subscribe},
        },
        role::Role,
    },
    wire::{self, Credentials, Idle, Opened, Socket, WireError},
};
use meshos_tests::{
    Cluster, ClusterOptions, Command, Finished, PATIENCE, signing_request, wait_until,
    wire_credentials,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The keys of a cluster, with certificates of all kinds that are not nodes.
struct Keys {
    directory: TempDir,
}

impl Keys {
    fn new() -> Self {
        let keys = Self { directory: tempfile::tempdir().unwrap() };
        keys.generate(&[]);
        keys
    }

    fn keys(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    fn generate(&self, what: &[&str]) {
        let keys = self.keys().display().to_string();
        let arguments = ["keygen"].iter().chain(what).copied().chain(["--dir", &keys]);
        let ended = Command::new(self.directory.path(), arguments).run();
        assert_eq!(ended.code(), 0, "{ended:?}");
    }

    /// The file with a new certificate of this kind.
    fn file(&self, kind: &str, name: &str) -> String {
        let file = self.directory.path().join(format!("{kind}-{name}.pem")).display().to_string();
        self.generate(&[kind, name, "--out", &file]);
        file
    }

    fn credentials(&self, kind: &str, name: &str) -> Credentials {
        wire_credentials(&std::fs::read_to_string(self.file(kind, name)).unwrap())
    }

    /// Whoever knows the authority and has no certificate.
    fn stranger(&self) -> Credentials {
        Credentials { certificate: None, ..self.credentials("framework", "stranger") }
    }

    fn cluster(&self) -> Cluster {
        let flags = vec!["--keys".to_owned(), self.keys().display().to_string()];
        Cluster::start_with(ClusterOptions { flags, ..ClusterOptions::default() })
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("nothing takes so long")
}

/// A peer of one node.
struct Peer {
    config: Credentials,
    address: SocketAddr,
}

impl Peer {
    async fn open_with(&self, hello: &StreamHello) -> Result<Opened, WireError> {
        let config = wire::client_config(&self.config, Idle::default())?;
        let connection = in_time(wire::connect(self.address, config)).await?;
        in_time(wire::open_stream(&connection, hello)).await
    }

    async fn open(&self, class: StreamClass) -> Result<Opened, WireError> {
        self.open_with(&StreamHello::new(None, class)).await
    }

    /// Why a stream is refused.
    async fn refusal(&self, class: StreamClass) -> Option<Refusal> {
        match self.open(class).await {
            Ok(_) => None,
            Err(WireError::Refused { cause, .. }) => Some(cause),
            Err(error) => panic!("neither served nor refused: {error}"),
        }
    }

    async fn ask(&self, request: Request) -> Reply {
        let opened = self.open(StreamClass::Request).await.unwrap();
        let Opened { mut send, mut reader } = opened;
        let frame = wire::frame(&RequestFrame { id: RequestId(1), request }).unwrap();
        in_time(send.write_all(&frame)).await.unwrap();
        let reply = in_time(reader.read::<ReplyFrame>()).await.unwrap().unwrap();
        assert_eq!(reply.id, RequestId(1));
        reply.reply
    }

    /// Demands that the request is refused for want of a right.
    async fn is_denied(&self, request: Request) {
        let shown = format!("{request:?}");
        match self.ask(request).await {
            Reply::Failed { message } => {
                assert!(message.contains("certificate does not allow"), "{shown}: {message}");
            }
            other => panic!("{shown} was answered: {other:?}"),
        }
    }
}

fn relay() -> StreamClass {
    StreamClass::Relay { principal: Principal::new("somebody-else").unwrap() }
}

/// What only nodes may ask.
fn of_nodes() -> Vec<Request> {
    let node = NodeId::from_bits(1);
    let fence = Fence { cluster: ClusterId::from_u128(1), term: Term(99) };
    let announcement = Announcement {
        fence,
        leader: node,
        agent_address: "127.0.0.1:1".into(),
        http_address: "127.0.0.1:1".into(),
        voters: Vec::new(),
        recovery: Vec::new(),
    };
    vec![
        Request::Raft { body: vec![1, 2, 3] },
        Request::Probe { body: vec![1, 2, 3] },
        Request::Announce(announcement),
        Request::ConfirmLeader { term: Term(99), leader: node },
        Request::Hints { fence, hints: Vec::new(), place: None },
        Request::JoinVoters {
            raft_id: 1,
            address: "127.0.0.1:1".into(),
            replaces: None,
            release: None,
        },
    ]
}

fn http(path: &str) -> Request {
    let (method, principal) = ("GET".to_owned(), "somebody-else".to_owned());
    Request::Http { method, path: path.to_owned(), principal, body: Vec::new() }
}

fn sign(subject: SignSubject, token: &str) -> Request {
    let request = BASE64.decode(signing_request().1).unwrap();
    Request::Sign { request, subject, token: token.to_owned() }
}

fn for_framework() -> SignSubject {
    SignSubject::Framework { principal: "analytics".into() }
}

fn for_node() -> SignSubject {
    SignSubject::Node { node: NodeId::from_bits(77) }
}

async fn a_framework_may_schedule(framework: &Peer) {
    for class in [StreamClass::Agent, relay(), StreamClass::Request] {
        assert_eq!(framework.refusal(class.clone()).await, Some(Refusal::Identity), "{class:?}");
    }
    let opened = framework.open(StreamClass::Scheduler).await.unwrap();
    let Opened { mut send, mut reader } = opened;
    let info = FrameworkInfo {
        name: "test".into(),
        user: String::new(),
        roles: [Role::default()].into(),
        failover_timeout_ms: 0,
        capabilities: Capabilities::default(),
        hostname: String::new(),
        webui_url: String::new(),
        labels: [].into(),
    };
    let call = Call::Subscribe(Subscribe {
        framework: None,
        info,
        suppressed_roles: [].into(),
        resume: None,
        demand: None,
        nonce: "n".into(),
        can_be_asked: false,
    });
    let frame = CallFrame { request: None, subscription: Subscription(0), call };
    in_time(send.write_all(&wire::frame(&frame).unwrap())).await.unwrap();
    let told = in_time(reader.read::<EventFrame>()).await.unwrap().unwrap();
    assert!(matches!(told.event, Event::Subscribed { .. }), "{told:?}");
}

async fn an_operator_may_call(operator: &Peer, nodes: usize) {
    for class in [StreamClass::Agent, relay(), StreamClass::Scheduler] {
        assert_eq!(operator.refusal(class.clone()).await, Some(Refusal::Identity), "{class:?}");
    }
    for request in of_nodes() {
        operator.is_denied(request).await;
    }
    operator.is_denied(sign(for_node(), "")).await;
    let Reply::Http { status: 200, body, .. } = operator.ask(http("/api/nodes")).await else {
        panic!("an operator may read the nodes");
    };
    let rows: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), nodes);
    // Only the leader may ask this, of another node.
    let admit = Request::Http {
        method: "POST".into(),
        path: "/api/voters/admit-leader".into(),
        principal: String::new(),
        body: Vec::new(),
    };
    let refused = operator.ask(admit).await;
    assert!(matches!(refused, Reply::Http { status: 400, .. }), "{refused:?}");
    let leader = operator.ask(Request::Leader).await;
    assert!(matches!(leader, Reply::Leader { announcement: Some(_) }), "{leader:?}");
    let signed = operator.ask(sign(for_framework(), "")).await;
    let Reply::Signed { gossip_key, .. } = signed else { panic!("{signed:?}") };
    assert!(gossip_key.is_empty(), "the gossip key is for nodes alone");
}

async fn a_stranger_may_ask_for_a_certificate(stranger: &Peer) {
    for class in [StreamClass::Agent, relay(), StreamClass::Scheduler] {
        assert_eq!(stranger.refusal(class.clone()).await, Some(Refusal::Identity), "{class:?}");
    }
    for request in of_nodes().into_iter().chain([http("/api/nodes"), Request::Leader]) {
        stranger.is_denied(request).await;
    }
    stranger.is_denied(sign(for_framework(), "")).await;
    for token in ["", "nonsense"] {
        match stranger.ask(sign(for_node(), token)).await {
            Reply::Failed { message } => assert!(message.contains("join token"), "{message}"),
            other => panic!("signed against the token {token:?}: {other:?}"),
        }
    }
}

async fn another_cluster_is_refused(address: SocketAddr, own: Credentials) {
    let foreign = Keys::new().credentials("framework", "foreign");
    let impostor = Credentials { authority: own.authority.clone(), ..foreign };
    let impostor = Peer { config: impostor, address };
    let refused = impostor.open(StreamClass::Scheduler).await;
    assert!(matches!(refused, Err(WireError::Lost(_))), "{refused:?}");
    let strayed = Peer { config: own, address };
    let hello = StreamHello::new(Some(ClusterId::from_u128(1)), StreamClass::Scheduler);
    let refused = strayed.open_with(&hello).await;
    assert!(
        matches!(refused, Err(WireError::Refused { cause: Refusal::Cluster, .. })),
        "{refused:?}"
    );
}

#[test]
fn each_kind_of_peer_is_served_what_it_may_have_and_refused_the_rest() {
    let keys = Keys::new();
    let mut cluster = keys.cluster();
    let leader = cluster.leader().index;
    let peers = [leader, cluster.follower()];
    Runtime::new().unwrap().block_on(async {
        for address in peers.map(|index| cluster.nodes[index].quic()) {
            let peer = |config| Peer { config, address };
            let name = |kind: &str| format!("{kind}-{}", address.port());
            let framework = name("framework");
            a_framework_may_schedule(&peer(keys.credentials("framework", &framework))).await;
            an_operator_may_call(&peer(keys.credentials("operator", &name("o"))), 3).await;
            let file = keys.directory.path().join(format!("framework-{framework}.pem"));
            let own = wire_credentials(&std::fs::read_to_string(file).unwrap());
            let stranger = Credentials { authority: own.authority.clone(), certificate: None };
            a_stranger_may_ask_for_a_certificate(&peer(stranger)).await;
            another_cluster_is_refused(address, own).await;
        }
    });
    assert_eq!(cluster.wait_until_ready().index, leader, "nothing of that disturbs the cluster");
}

/// More connections than there is room for, over and over. All come from one socket, so that the other tests keep theirs.
async fn flood(addresses: Vec<SocketAddr>, stranger: Credentials, rounds: &AtomicUsize) {
    let config = wire::client_config(&stranger, Idle::default()).unwrap();
    let socket = Socket::towards(addresses[0]).unwrap();
    loop {
        let mut held = Vec::new();
        for address in addresses.iter().cycle().take(160) {
            let dial = socket.connect(*address, config.clone());
            held.extend(tokio::time::timeout(Duration::from_secs(1), dial).await);
            // Once the runtime has stopped the socket every dial fails at once, and this would never end.
            tokio::task::yield_now().await;
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn nodes_find_each_other_while_strangers_take_all_they_can() {
    static ROUNDS: AtomicUsize = AtomicUsize::new(0);
    let keys = Keys::new();
    let mut cluster = keys.cluster();
    let restarted = cluster.follower();
    cluster.nodes[restarted].kill();
    let addresses: Vec<SocketAddr> =
        cluster.running().into_iter().map(|index| cluster.nodes[index].quic()).collect();
    let runtime = Runtime::new().unwrap();
    let flood = runtime.spawn(flood(addresses, keys.stranger(), &ROUNDS));
    wait_until("the strangers have filled their share", || ROUNDS.load(Ordering::Relaxed) > 0);
    cluster.nodes[restarted].start();
    cluster.wait_until_ready();
    assert!(!flood.is_finished(), "the strangers are still at it");
    flood.abort();
}

fn nodes_as(cluster: &Cluster, file: &str) -> Finished {
    cluster.nodes[0].command(&["nodes", "--json", "--credentials", file]).run()
}

#[test]
fn an_operators_certificate_stands_for_the_token() {
    let keys = Keys::new();
    let cluster = keys.cluster();
    let operator = keys.file("operator", "alice");
    let rows = nodes_as(&cluster, &operator).success().json();
    assert_eq!(rows.as_array().unwrap().len(), 3, "{rows}");
    let run = cluster.nodes[0]
        .command(&["run", "--", "echo", "as an operator"])
        .env("MESHOS_CREDENTIALS", &operator)
        .run()
        .success();
    assert_eq!(run.stdout.trim(), "as an operator");

    let framework = keys.file("framework", "counter");
    let refused = nodes_as(&cluster, &framework);
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stderr.contains("the certificate of the framework counter"), "{refused:?}");
    let others = Keys::new();
    let foreign = others.file("operator", "mallory");
    let refused = nodes_as(&cluster, &foreign);
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stderr.contains("is no node of their cluster"), "{refused:?}");
    // Starting a node would not help.
    let told = refused.stderr.replace('\n', " ");
    assert!(!told.contains("cannot reach a node"), "{refused:?}");
    assert!(told.contains("--credentials must name a certificate"), "{refused:?}");
}
