//! Real nodes over loopback UDP.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chitchat::{
    ChitchatConfig, ChitchatId, FailureDetectorConfig, ProtocolVersion, spawn_chitchat,
};
use meshos_protocol::ids::{ClusterId, Generation, NodeId, Term};
use tokio::{
    net::UdpSocket,
    task::JoinHandle,
    time::{interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::local::facts_of;
use crate::{
    gossip::{
        Counters, GossipError, Handle, Options, Service, VALUE_BYTES_MAX,
        wire::{SealedTransport, Wire},
    },
    keys::GossipKey,
    view::{ClusterView, LeaderClaim, NodeFacts, Refusal, ViewChange},
};

const KEY: GossipKey = GossipKey::from_bytes([7; 32]);
const INTERVAL: Duration = Duration::from_millis(100);

/// Long enough for a machine that is busy with much else.
const DEADLINE: Duration = Duration::from_secs(120);

struct Node {
    id: NodeId,
    handle: Handle,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn id(bits: u64) -> NodeId {
    NodeId::from_bits(bits)
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn options(bits: u64, seeds: &[&Node]) -> Options {
    Options {
        seeds: seeds.iter().map(|node| node.handle.address().to_string()).collect(),
        interval: INTERVAL,
        ..Options::new(id(bits), Generation(1), loopback(), loopback(), KEY)
    }
}

async fn start(options: Options) -> Node {
    let id = options.node_id;
    let (service, handle) = Service::bind(options, facts_of(id.bits())).await.unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(service.run(stop.clone()));
    Node { id, handle, stop, task }
}

impl Node {
    async fn stop(self) {
        self.stop.cancel();
        timeout(DEADLINE, self.task).await.expect("it ends when told").unwrap();
    }

    /// Waits until the view is as wanted.
    async fn sees(&self, what: &str, wanted: impl Fn(&ClusterView) -> bool) -> Arc<ClusterView> {
        let mut changes = self.handle.changes();
        let seen = async {
            loop {
                let view = self.handle.view();
                if wanted(&view) {
                    return view;
                }
                changes.next().await.expect("gossip runs");
            }
        };
        match timeout(DEADLINE, seen).await {
            Ok(view) => view,
            Err(_) => panic!("{} never saw {what}: {:#?}", self.id, self.handle.view()),
        }
    }

    /// Waits until the counters are as wanted.
    async fn counts(&self, what: &str, wanted: impl Fn(&Counters) -> bool) {
        let mut looks = interval(Duration::from_millis(10));
        let counted = async {
            while !wanted(&self.handle.counters()) {
                looks.tick().await;
            }
        };
        let counted = timeout(DEADLINE, counted).await;
        assert!(counted.is_ok(), "{} never counted {what}: {:?}", self.id, self.handle.counters());
    }
}

fn has_alive(view: &ClusterView, nodes: &[NodeId]) -> bool {
    nodes.iter().all(|node| view.peers.get(node).is_some_and(|peer| peer.alive))
}

fn with_attributes(bits: u64, attributes: &str) -> NodeFacts {
    NodeFacts { attributes: attributes.into(), ..facts_of(bits) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_find_each_other_and_see_a_change_a_leader_and_a_death() {
    let mut nodes = vec![start(options(1, &[])).await];
    for bits in 2..=5 {
        let node = start(options(bits, &[&nodes[0]])).await;
        nodes.push(node);
    }
    for node in &nodes {
        let others: Vec<_> = (1..=5).map(id).filter(|other| *other != node.id).collect();
        let view = node.sees("all others", |view| has_alive(view, &others)).await;
        assert_eq!(view.peers.len(), 4);
        assert!(!view.peers.contains_key(&node.id), "oneself is no peer");
        for peer in view.peers.values() {
            assert_eq!(peer.facts, facts_of(peer.node_id.bits()));
            assert_eq!(peer.generation, Generation(1));
        }
        let told = timeout(DEADLINE, node.handle.changes().next()).await.unwrap().unwrap();
        let up = told.iter().filter(|change| matches!(change, ViewChange::PeerUp(_))).count();
        assert_eq!(up, 4, "a late reader is told of all: {told:?}");
    }

    nodes[2].handle.set(with_attributes(3, "rack:moved")).unwrap();
    let claim = LeaderClaim { term: Term(4), leader: id(5) };
    nodes[2].handle.set_leader_claim(Some(claim));
    for node in nodes.iter().filter(|node| node.id != id(3)) {
        node.sees("the change", |view| view.peers[&id(3)].facts.attributes == "rack:moved").await;
        node.sees("the leader", |view| view.leader_hint() == Some(claim)).await;
    }

    let dying = nodes.remove(2);
    dying.stop().await;
    for node in &nodes {
        let view = node.sees("the death", |view| !view.peers[&id(3)].alive).await;
        assert_eq!(view.leader_hint(), None, "the dead claim nothing");
        let refused = Counters { forged: 0, garbled: 0, undecodable: 0, ..node.handle.counters() };
        assert_eq!(node.handle.counters(), refused, "no packet of ours was refused");
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_cluster_hears_of_all_and_one_with_a_cluster_of_its_own_alone() {
    let (ours, theirs) = (ClusterId::from_u128(1), ClusterId::from_u128(2));
    let old = start(options(1, &[])).await;
    let forming = start(options(2, &[&old])).await;
    let other = start(options(3, &[&old])).await;
    old.handle.set_cluster(ours);
    let both = BTreeSet::from([ours, theirs]);
    forming.sees("a cluster", |view| view.clusters() == BTreeSet::from([ours])).await;
    other.handle.set_cluster(theirs);
    forming.sees("both clusters", |view| view.clusters() == both).await;
    // Those that know their cluster refuse the other's nodes, and nobody else.
    let view = old.sees("no stranger", |view| !view.peers.contains_key(&id(3))).await;
    assert!(view.peers.contains_key(&id(2)));
    let refusal = Refusal::OtherCluster { node: id(3), ours, theirs };
    old.sees("a refusal", |view| view.refusals.newest.as_ref() == Some(&refusal)).await;
    // Whoever tells of something else need not know the cluster, and does not take it back.
    old.handle.set(NodeFacts { roles: "agent,voter".to_owned(), ..facts_of(1) }).unwrap();
    let told = |view: &ClusterView| {
        view.peers.get(&id(1)).is_some_and(|peer| peer.facts.roles == "agent,voter")
    };
    let view = forming.sees("a change of the old one", told).await;
    assert_eq!(view.peers[&id(1)].facts.cluster, Some(ours));
    other.sees("no stranger", |view| !view.peers.contains_key(&id(1))).await;
    for node in [old, forming, other] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_nodes_hear_of_a_new_leader() {
    let slow = |bits, seeds: &[&Node]| Options {
        interval: Duration::from_millis(400),
        ..options(bits, seeds)
    };
    let mut nodes = vec![start(slow(1, &[])).await];
    for bits in 2..=20 {
        let node = start(slow(bits, &[&nodes[0]])).await;
        nodes.push(node);
    }
    let all: Vec<_> = nodes.iter().map(|node| node.id).collect();
    for node in &nodes {
        let others: Vec<_> = all.iter().copied().filter(|other| *other != node.id).collect();
        node.sees("all others", |view| has_alive(view, &others)).await;
    }
    let claim = LeaderClaim { term: Term(9), leader: id(2) };
    nodes[1].handle.set_leader_claim(Some(claim));
    for node in nodes.iter().filter(|node| node.id != id(2)) {
        node.sees("the leader", |view| view.leader_hint() == Some(claim)).await;
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_key_never_joins_and_is_counted() {
    let ours = start(options(1, &[])).await;
    let other_key = GossipKey::from_bytes([8; 32]);
    let stranger = start(Options { key: other_key, ..options(2, &[&ours]) }).await;
    ours.counts("forgeries", |counters| counters.forged >= 5).await;
    // Anyone may also send what is no packet at all.
    let junk = UdpSocket::bind(loopback()).await.unwrap();
    for length in [0, 1, 35, 36, 500, 1_200, 1_201, 9_000] {
        junk.send_to(&vec![0xa5; length], ours.handle.address()).await.unwrap();
    }
    ours.counts("garbled packets", |counters| counters.garbled >= 7).await;
    assert!(ours.handle.view().peers.is_empty());
    assert!(stranger.handle.view().peers.is_empty());
    assert_eq!(ours.handle.counters().restarts, 0);

    let friend = start(options(3, &[&ours])).await;
    ours.sees("a node with the key", |view| has_alive(view, &[id(3)])).await;
    for node in [ours, stranger, friend] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_replaces_what_it_was() {
    let stays = start(options(1, &[])).await;
    let first = start(options(2, &[&stays])).await;
    stays.sees("the first start", |view| has_alive(view, &[id(2)])).await;
    let mut changes = stays.handle.changes();
    first.stop().await;
    let second = start(Options { generation: Generation(2), ..options(2, &[&stays]) }).await;
    second.handle.set(with_attributes(2, "rack:new")).unwrap();
    let view = stays
        .sees("the second start", |view| {
            let peer = &view.peers[&id(2)];
            peer.alive
                && peer.generation == Generation(2)
                && peer.facts.attributes == "rack:new"
                && peer.address_gossip == second.handle.address()
        })
        .await;
    assert_eq!(view.peers.len(), 1);
    let told = timeout(DEADLINE, changes.next()).await.unwrap().unwrap();
    assert!(
        told.iter()
            .any(|change| matches!(change, ViewChange::PeerUp(peer) if peer.node_id == id(2))),
        "{told:?}"
    );
    stays.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_that_panics_is_started_again_and_forgets_nobody() {
    let steady = start(options(1, &[])).await;
    let breaks = start(options(2, &[&steady])).await;
    steady.sees("the peer", |view| has_alive(view, &[id(2)])).await;
    breaks.sees("the peer", |view| has_alive(view, &[id(1)])).await;
    let mut changes = breaks.handle.changes();
    let told = tokio::spawn(async move {
        let mut told = Vec::new();
        while let Some(changes) = changes.next().await {
            told.extend(changes);
        }
        told
    });

    for round in 1..=2 {
        breaks.handle.wire().break_next.store(true, Ordering::SeqCst);
        breaks.sees("its restart", |view| view.restarts == round).await;
        assert_eq!(breaks.handle.counters().restarts, round);
        let attributes = format!("rack:after-{round}");
        steady.handle.set(with_attributes(1, &attributes)).unwrap();
        breaks.handle.set(with_attributes(2, &attributes)).unwrap();
        steady
            .sees("a change after it", |view| view.peers[&id(2)].facts.attributes == attributes)
            .await;
        breaks
            .sees("a change after it", |view| view.peers[&id(1)].facts.attributes == attributes)
            .await;
        assert_eq!(steady.handle.view().peers[&id(2)].generation, Generation(1), "no new start");
    }
    breaks.stop().await;
    let told = timeout(DEADLINE, told).await.expect("it ends with gossip").unwrap();
    for round in 1..=2 {
        assert!(told.contains(&ViewChange::GossipRestarted(round)), "{told:?}");
    }
    let gone = |change: &ViewChange| matches!(change, ViewChange::PeerGone(_));
    assert!(!told.iter().any(gone), "{told:?}");
    steady.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_cluster_refuses_and_says_so_on_both_sides() {
    let first = start(Options { nodes_max: 2, ..options(1, &[]) }).await;
    let second = start(Options { nodes_max: 2, ..options(2, &[&first]) }).await;
    first.sees("the second", |view| has_alive(view, &[id(2)])).await;
    second.sees("the first", |view| has_alive(view, &[id(1)])).await;
    let third = start(Options { nodes_max: 2, ..options(3, &[&first]) }).await;
    let full = Refusal::ClusterFull { node: id(3), nodes_max: 2 };
    first.sees("the refusal", |view| view.refusals.newest.as_ref() == Some(&full)).await;
    let refused = Refusal::RefusedByPeer { by: id(1), nodes_max: 2 };
    third.sees("the refusal", |view| view.refusals.newest.as_ref() == Some(&refused)).await;
    first.counts("several refusals", |counters| counters.refused >= 3).await;
    for node in [&first, &second] {
        let view = node.handle.view();
        assert!(!view.peers.contains_key(&id(3)));
        assert!(view.refusals.count <= 1, "told once a minute");
    }
    for node in [first, second, third] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_speaks_for_another_node_is_overruled() {
    let victim = start(options(1, &[])).await;
    let witness = start(options(2, &[&victim])).await;
    witness.sees("the victim", |view| has_alive(view, &[id(1)])).await;

    // Chitchat under the victim's id, on the wire of a third node that has the key.
    let wire = Arc::new(Wire::bind(&options(3, &[])).await.unwrap());
    let stolen = ChitchatId::new(id(1).to_string(), 1 << 20, victim.handle.address());
    let config = ChitchatConfig {
        chitchat_id: stolen,
        cluster_id: "meshos".into(),
        gossip_interval: INTERVAL,
        listen_addr: loopback(),
        seed_nodes: vec![witness.handle.address().to_string()],
        failure_detector_config: FailureDetectorConfig::default(),
        marked_for_deletion_grace_period: Duration::from_secs(60),
        catchup_callback: None,
        extra_liveness_predicate: None,
        protocol_version: ProtocolVersion::V1,
    };
    let impostor = spawn_chitchat(config, Vec::new(), &SealedTransport(wire)).await.unwrap();
    impostor
        .with_chitchat(|chitchat| {
            for version in 0..100 {
                chitchat.self_node_state().set("attributes", format!("rack:evil-{version}"));
            }
        })
        .await;
    impostor.gossip(victim.handle.address()).unwrap();
    victim.counts("the intrusion", |counters| counters.overwritten > 0).await;
    impostor.shutdown().await.unwrap();
    // A change of the victim's own still comes through, over whatever the impostor said.
    victim.handle.set(with_attributes(1, "rack:true")).unwrap();
    let view = witness
        .sees("the victim's word", |view| view.peers[&id(1)].facts.attributes == "rack:true")
        .await;
    assert_eq!(view.peers[&id(1)].facts, with_attributes(1, "rack:true"));
    victim.stop().await;
    witness.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_says_why() {
    let taken = UdpSocket::bind(loopback()).await.unwrap();
    let address = taken.local_addr().unwrap();
    let bind = Service::bind(Options { listen: address, ..options(1, &[]) }, facts_of(1)).await;
    let error = bind.map(|_| ()).unwrap_err();
    assert!(matches!(error, GossipError::Bind { .. }), "{error}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");

    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let senseless = [
        Options { advertise: everywhere, ..options(1, &[]) },
        Options { interval: Duration::ZERO, ..options(1, &[]) },
        Options { nodes_max: 0, ..options(1, &[]) },
        Options { nodes_max: 5_000, ..options(1, &[]) },
        Options { generation: Generation(u64::MAX), ..options(1, &[]) },
    ];
    for options in senseless {
        let error = Service::bind(options, facts_of(1)).await.map(|_| ()).unwrap_err();
        assert!(matches!(error, GossipError::Options { .. }), "{error}");
    }

    let long = NodeFacts { resources: "x".repeat(VALUE_BYTES_MAX + 1), ..facts_of(1) };
    let error = Service::bind(options(1, &[]), long.clone()).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("\"resources\""), "{error}");
    let node = start(options(1, &[])).await;
    assert!(node.handle.set(long).is_err());
    node.stop().await;
}
