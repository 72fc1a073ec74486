//! The parts that need no second node.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use chitchat::{
    Chitchat, ChitchatConfig, ChitchatId, ChitchatMessage, FailureDetectorConfig, ProtocolVersion,
};
use meshos_protocol::ids::{ClusterId, Generation, NodeId, Term};
use proptest::prelude::*;

use crate::{
    gossip::{
        FactsError, VALUE_BYTES_MAX, assemble,
        codec::{CodecError, Decoder},
        facts,
        own::{self, Spoiled},
    },
    view::{Health, LeaderClaim, NodeFacts, Peer},
};

pub(super) fn facts_of(bits: u64) -> NodeFacts {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    NodeFacts {
        address_http: address(5050),
        address_agent_http: address(5051),
        address_quic: address(5051),
        hostname: format!("host{bits}"),
        resources: "cpus:4;mem:1024".into(),
        attributes: format!("rack:r{bits}"),
        version: "0.1.0".into(),
        registry_level: 1,
        roles: "agent".into(),
        health: Health::default(),
        cluster: None,
    }
}

fn read_back(
    facts: &NodeFacts,
    claim: Option<LeaderClaim>,
) -> Option<(NodeFacts, Option<LeaderClaim>)> {
    let pairs: BTreeMap<_, _> = facts::encode(facts, claim).unwrap().into_iter().collect();
    facts::decode(|key| pairs.get(key).map(String::as_str))
}

proptest! {
    #[test]
    fn facts_read_back(
        texts in prop::array::uniform5(".{0,100}"),
        numbers in any::<(u32, u16, u16, bool)>(),
        claim in prop::option::of((any::<u64>(), any::<u64>())),
        (port, cluster, registry_level) in any::<(u16, Option<u128>, u32)>(),
    ) {
        let [hostname, resources, attributes, version, roles] = texts;
        let (load_thousandths, memory_pressure_thousandths, disk_pressure_thousandths, draining) =
            numbers;
        let facts = NodeFacts {
            address_http: (std::net::Ipv6Addr::LOCALHOST, port).into(),
            hostname,
            resources,
            attributes,
            version,
            registry_level,
            roles,
            health: Health {
                load_thousandths,
                memory_pressure_thousandths,
                disk_pressure_thousandths,
                draining,
            },
            cluster: cluster.map(ClusterId::from_u128),
            ..facts_of(1)
        };
        let claim = claim
            .map(|(term, leader)| LeaderClaim { term: Term(term), leader: NodeId::from_bits(leader) });
        prop_assert_eq!(read_back(&facts, claim), Some((facts, claim)));
    }

    #[test]
    fn a_peers_nonsense_is_no_facts_or_claim(key in 0usize..13, value in ".{0,30}") {
        let mut pairs = facts::encode(&facts_of(1), None).unwrap();
        pairs[key].1 = value;
        let get = |wanted: &str| {
            pairs.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value.as_str())
        };
        drop(facts::decode(get));
    }
}

#[test]
fn incomplete_or_oversized_facts_are_not_shown() {
    let pairs = facts::encode(&facts_of(1), None).unwrap();
    // Nodes of an older release say nothing of their cluster, nor how they are called, nor what they
    // know of the registry.
    for missing in pairs.iter().map(|(key, _)| *key) {
        let get = |wanted: &str| {
            let found = pairs.iter().find(|(key, _)| *key == wanted && wanted != missing);
            found.map(|(_, value)| value.as_str())
        };
        let expected = match missing {
            "leader" | "cluster" | "level" => Some((facts_of(1), None)),
            "hostname" => Some((NodeFacts { hostname: String::new(), ..facts_of(1) }, None)),
            _ => None,
        };
        assert_eq!(facts::decode(get), expected, "{missing}");
    }
    let long = "x".repeat(VALUE_BYTES_MAX + 1);
    let facts = NodeFacts { attributes: long.clone(), ..facts_of(1) };
    let error = FactsError { key: "attributes", bytes: VALUE_BYTES_MAX + 1 };
    assert_eq!(facts::encode(&facts, None), Err(error));
    let get = |wanted: &str| match wanted {
        "attributes" => Some(long.as_str()),
        _ => pairs.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value.as_str()),
    };
    assert_eq!(facts::decode(get), None, "a peer's oversized value");
}

fn chitchat() -> Chitchat {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let config = ChitchatConfig {
        chitchat_id: ChitchatId::new("own", 1, address),
        cluster_id: "cluster".into(),
        gossip_interval: Duration::from_secs(1),
        listen_addr: address,
        seed_nodes: Vec::new(),
        failure_detector_config: FailureDetectorConfig::default(),
        marked_for_deletion_grace_period: Duration::from_secs(60),
        catchup_callback: None,
        extra_liveness_predicate: None,
        protocol_version: ProtocolVersion::V1,
    };
    let (_, seeds) = tokio::sync::watch::channel(std::collections::HashSet::new());
    Chitchat::with_chitchat_id_and_seeds(config, seeds, Vec::new())
}

#[test]
fn what_a_peer_changes_of_ours_is_set_right_and_counted() {
    let mut chitchat = chitchat();
    let pairs = [("http", "a".to_owned()), ("agent", "b".to_owned())];
    own::publish(&mut chitchat, &pairs).unwrap();
    assert_eq!(own::reassert(&mut chitchat, &pairs), Ok(0));
    let version = chitchat.self_node_state().max_version();

    let own_state = chitchat.self_node_state();
    own_state.set("http", "evil");
    own_state.delete("agent");
    own_state.set("stranger", "x");
    assert_eq!(own::reassert(&mut chitchat, &pairs), Ok(3));
    assert_eq!(own::reassert(&mut chitchat, &pairs), Ok(0));
    let own_state = chitchat.self_node_state();
    let left: Vec<_> = own_state.key_values().collect();
    assert_eq!(left, [("agent", "b"), ("http", "a")]);
    assert!(own_state.max_version() > version, "so that peers take it over");

    chitchat.self_node_state().set_with_ttl("http", "a");
    assert_eq!(own::reassert(&mut chitchat, &pairs), Ok(1), "it would vanish after a while");

    chitchat.self_node_state().set_max_version(u64::MAX);
    assert_eq!(own::reassert(&mut chitchat, &pairs), Err(Spoiled));
    assert_eq!(own::publish(&mut chitchat, &pairs), Err(Spoiled));
}

fn peers(of: &[(u64, bool)]) -> BTreeMap<NodeId, Peer> {
    let peer = |bits, alive| Peer {
        node_id: NodeId::from_bits(bits),
        generation: Generation(1),
        address_gossip: SocketAddr::from(([127, 0, 0, 1], 5050)),
        facts: facts_of(bits),
        alive,
        leader_claim: None,
    };
    of.iter().map(|(bits, alive)| (NodeId::from_bits(*bits), peer(*bits, *alive))).collect()
}

#[test]
fn after_a_restart_those_known_before_are_still_believed() {
    let before = peers(&[(1, true), (2, true), (3, false)]);
    let mut now = peers(&[(2, false), (4, true)]);
    assemble::carry_over(&mut now, &before);
    assert_eq!(now, peers(&[(1, true), (2, true), (3, false), (4, true)]));
}

#[test]
fn a_full_cluster_leaves_out_newcomers_only() {
    let before = peers(&[(5, true), (6, false)]);
    let cases = [
        (vec![(5, true), (6, false), (1, true)], 2, vec![]),
        (vec![(5, true), (1, true), (2, true)], 2, vec![2]),
        (vec![(5, true), (6, true), (1, true), (2, true)], 2, vec![2, 1]),
        (vec![(5, true), (6, true)], 1, vec![]),
        (vec![(1, false), (5, true)], 1, vec![]),
        (vec![(1, true)], 0, vec![1]),
    ];
    for (found, peers_max, expected) in cases {
        let mut now = peers(&found);
        let left_out = assemble::limit(&mut now, &before, peers_max);
        let expected: Vec<_> = expected.into_iter().map(NodeId::from_bits).collect();
        assert_eq!(left_out, expected, "{found:?}");
        assert!(expected.iter().all(|node| !now.contains_key(node)));
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_are_told_at_once() {
    let decoder = Decoder::open().await.unwrap();
    let junk: [&[u8]; 5] = [b"", b"junk", &[0x53, 0xb0, 1, 0], &[0x53, 0xb0, 9, 3], &[0; 60_000]];
    let started = std::time::Instant::now();
    for bytes in junk {
        let decoded = decoder.decode(bytes).await;
        assert!(matches!(decoded, Err(CodecError::Undecodable)), "{decoded:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(5), "without waiting for a time-out each");
    let envelope = decoder.decode(&[0x53, 0xb0, 1, 3]).await.unwrap();
    assert_eq!(envelope.version, ProtocolVersion::V1);
    assert_eq!(envelope.message, ChitchatMessage::BadCluster);
}
