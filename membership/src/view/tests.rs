use super::*;

fn node(bits: u64) -> NodeId {
    NodeId::from_bits(bits)
}

fn peer(bits: u64) -> Peer {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Peer {
        node_id: node(bits),
        generation: Generation(1),
        address_gossip: address(5050),
        facts: NodeFacts {
            address_http: address(5050),
            address_agent_http: address(5051),
            address_quic: address(5051),
            hostname: "a".into(),
            resources: "cpus:4".into(),
            attributes: "rack:a".into(),
            version: "0.1.0".into(),
            registry_level: 2,
            roles: "agent".into(),
            health: Health::default(),
            cluster: None,
        },
        alive: true,
        leader_claim: None,
    }
}

fn dead(peer: Peer) -> Peer {
    Peer { alive: false, ..peer }
}

fn restarted(peer: Peer) -> Peer {
    Peer { generation: peer.generation.next(), ..peer }
}

fn on_rack(peer: Peer, rack: &str) -> Peer {
    Peer { facts: NodeFacts { attributes: rack.into(), ..peer.facts.clone() }, ..peer }
}

fn claiming(peer: Peer, term: u64, leader: u64) -> Peer {
    let claim = LeaderClaim { term: Term(term), leader: node(leader) };
    Peer { leader_claim: Some(claim), ..peer }
}

fn view(peers: &[Peer]) -> ClusterView {
    let peers = peers.iter().map(|peer| (peer.node_id, peer.clone())).collect();
    ClusterView { peers, ..ClusterView::default() }
}

#[test]
fn each_difference_of_peers_is_told_once() {
    use ViewChange::{PeerChanged, PeerDown, PeerGone, PeerUp};

    type Case = (&'static str, Vec<Peer>, Vec<Peer>, Vec<ViewChange>);
    let cases: Vec<Case> = vec![
        ("nothing", vec![], vec![], vec![]),
        ("same", vec![peer(1)], vec![peer(1)], vec![]),
        ("up", vec![], vec![peer(1)], vec![PeerUp(peer(1))]),
        ("first seen dead", vec![], vec![dead(peer(1))], vec![PeerDown(dead(peer(1)))]),
        ("down", vec![peer(1)], vec![dead(peer(1))], vec![PeerDown(dead(peer(1)))]),
        ("still down", vec![dead(peer(1))], vec![dead(on_rack(peer(1), "b"))], vec![]),
        ("back", vec![dead(peer(1))], vec![peer(1)], vec![PeerUp(peer(1))]),
        (
            "changed",
            vec![peer(1)],
            vec![on_rack(peer(1), "b")],
            vec![PeerChanged(on_rack(peer(1), "b"))],
        ),
        (
            "restarted while alive",
            vec![peer(1)],
            vec![restarted(peer(1))],
            vec![PeerUp(restarted(peer(1)))],
        ),
        ("gone", vec![dead(peer(1))], vec![], vec![PeerGone(node(1))]),
        ("gone while alive", vec![peer(1)], vec![], vec![PeerGone(node(1))]),
        (
            "several, in order of their ids, those gone last",
            vec![peer(1), peer(2), peer(3)],
            vec![dead(peer(2)), on_rack(peer(3), "c"), peer(4)],
            vec![
                PeerDown(dead(peer(2))),
                PeerChanged(on_rack(peer(3), "c")),
                PeerUp(peer(4)),
                PeerGone(node(1)),
            ],
        ),
    ];
    for (name, old, new, expected) in cases {
        assert_eq!(diff(&view(&old), &view(&new)), expected, "{name}");
    }
}

#[test]
fn the_leader_hint_follows_the_highest_term_of_live_peers() {
    let claim = |term, leader| LeaderClaim { term: Term(term), leader: node(leader) };
    let old = view(&[claiming(peer(1), 3, 1), claiming(peer(2), 3, 1)]);
    assert_eq!(old.leader_hint(), Some(claim(3, 1)));

    let elected = view(&[claiming(peer(1), 3, 1), claiming(peer(2), 4, 2)]);
    assert_eq!(diff(&old, &elected), vec![ViewChange::LeaderHint(claim(4, 2))]);

    let late = view(&[claiming(peer(1), 4, 2), claiming(peer(2), 4, 2)]);
    assert_eq!(diff(&elected, &late), vec![], "the same news from another peer is no news");

    let claimant_died = view(&[claiming(peer(1), 4, 2), dead(claiming(peer(2), 9, 2))]);
    assert_eq!(claimant_died.leader_hint(), Some(claim(4, 2)));
}

#[test]
fn notices_are_told_when_their_count_rises() {
    let refusal = Refusal::ClusterFull { node: node(7), nodes_max: 250 };
    let new = ClusterView {
        restarts: 2,
        refusals: Refusals { count: 1, newest: Some(refusal.clone()) },
        ..ClusterView::default()
    };
    let expected = vec![ViewChange::GossipRestarted(2), ViewChange::Refused(refusal)];
    assert_eq!(diff(&ClusterView::default(), &new), expected);
    assert_eq!(diff(&new, &new), vec![]);
}
