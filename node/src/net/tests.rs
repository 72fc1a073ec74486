//! What peers may take up, over real QUIC.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use meshos_membership::keys::PeerKind;
use meshos_protocol::{
    codec::{FRAME_BYTES_MAX, WIRE_VERSION, WIRE_VERSION_MIN},
    ids::{NodeId, Principal, RequestId},
    messages::{
        Refusal, StreamAnswer, StreamClass, StreamHello,
        node::{Reply, ReplyFrame, Request, RequestFrame},
    },
};
use meshos_sdk::wire::{self, Credentials, Idle, OPENING_BYTES_MAX, Opened};

use super::{
    Limits, Peer, Target,
    testing::{Authority, CLUSTER, PATIENCE, TestNode, connect, in_time, open, poll_until},
};

/// Long enough to tell that something does not happen, where nothing tells that.
const WHILE: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_millis(200);

/// Whether a node with a certificate is served: it dials anew and asks something.
async fn node_is_served(authority: &Authority, asked: &TestNode) {
    let other = TestNode::start(authority, 99, Limits::default());
    let link = in_time("a node is let in", other.net.link(&asked.target())).await.unwrap();
    let reply = link.request(Request::Leader, PATIENCE).await.unwrap();
    assert_eq!(reply, Reply::Done);
}

/// Why the node closed the connection.
async fn closed_with(connection: &quinn::Connection) -> u64 {
    match in_time("the connection is closed", connection.closed()).await {
        quinn::ConnectionError::ApplicationClosed(closed) => closed.error_code.into_inner(),
        other => panic!("the connection was not closed by the node: {other}"),
    }
}

#[tokio::test]
async fn strangers_cannot_keep_a_node_out() {
    let authority = Authority::new();
    let limits = Limits { anonymous_per_source: 3, ..Limits::default() };
    let node = TestNode::start(&authority, 1, limits);
    let stranger = authority.stranger();
    let mut held = Vec::new();
    for _ in 0..3 {
        let connection = connect(&stranger, node.net.address()).await.unwrap();
        let opened = open(&connection, StreamClass::Request).await.unwrap();
        held.push((connection, opened));
    }
    for _ in 0..3 {
        let connection = connect(&stranger, node.net.address()).await.unwrap();
        assert_eq!(closed_with(&connection).await, 1);
    }
    node_is_served(&authority, &node).await;

    // A place that is given up is free again.
    let (given_up, _) = held.remove(0);
    given_up.close(0u32.into(), b"");
    loop {
        let connection = connect(&stranger, node.net.address()).await.unwrap();
        if open(&connection, StreamClass::Request).await.is_ok() {
            break;
        }
    }
}

#[tokio::test]
async fn a_stranger_may_open_two_streams_and_a_node_many() {
    let authority = Authority::new();
    let node = TestNode::start(&authority, 1, Limits::default());
    let connection = connect(&authority.stranger(), node.net.address()).await.unwrap();
    let first = open(&connection, StreamClass::Request).await.unwrap();
    let _second = open(&connection, StreamClass::Request).await.unwrap();
    let third = tokio::time::timeout(WHILE, connection.open_bi()).await;
    assert!(third.is_err(), "a third stream was opened");
    drop(first);
    in_time("a stream may follow one that is over", connection.open_bi()).await.unwrap();

    let credentials = authority.issue(&PeerKind::Node(NodeId::from_bits(2)));
    let connection = connect(&credentials, node.net.address()).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..20 {
        held.push(open(&connection, StreamClass::Request).await.unwrap());
    }
}

#[tokio::test]
async fn a_stranger_is_cut_off_in_time_and_a_node_is_not() {
    let authority = Authority::new();
    let limits = Limits { anonymous_time: SOON, ..Limits::default() };
    let node = TestNode::start(&authority, 1, limits);
    let other = TestNode::start(&authority, 2, limits);
    let link = other.net.link(&node.target()).await.unwrap();
    let stranger = connect(&authority.stranger(), node.net.address()).await.unwrap();
    assert_eq!(closed_with(&stranger).await, 2);
    assert!(!link.is_closed());
    assert_eq!(link.request(Request::Leader, PATIENCE).await.unwrap(), Reply::Done);
}

/// Writes `bytes` on a stream of its own, and waits until the node wants no more of it.
async fn is_stopped(connection: &quinn::Connection, bytes: &[u8]) {
    let (mut send, _receive) = in_time("a stream", connection.open_bi()).await.unwrap();
    send.write_all(bytes).await.unwrap();
    in_time("the node gives the stream up", send.stopped()).await.unwrap();
}

#[tokio::test]
async fn a_hello_must_come_in_time_and_be_small() {
    let authority = Authority::new();
    let limits = Limits { hello_time: SOON, ..Limits::default() };
    let node = TestNode::start(&authority, 1, limits);
    let kinds = [authority.stranger(), authority.issue(&PeerKind::Node(NodeId::from_bits(2)))];
    for credentials in kinds {
        let connection = connect(&credentials, node.net.address()).await.unwrap();
        // Nothing but a part of the length follows.
        is_stopped(&connection, &[0]).await;
    }
    drop(node);

    let node = TestNode::start(&authority, 1, Limits { hello_time: PATIENCE, ..limits });
    let too_long = u32::try_from(OPENING_BYTES_MAX + 1).unwrap().to_be_bytes();
    let connection = connect(&authority.stranger(), node.net.address()).await.unwrap();
    is_stopped(&connection, &too_long).await;
    is_stopped(&connection, b"\x00\x00\x00\x03\xc1\xc1\xc1").await;
    node_is_served(&authority, &node).await;
}

/// Sends the head of a frame of this size where requests are taken; true when it is refused in time.
async fn is_refused(
    credentials: &Credentials,
    address: SocketAddr,
    bytes: usize,
    time: Duration,
) -> bool {
    let connection = connect(credentials, address).await.unwrap();
    let Opened { mut send, .. } = open(&connection, StreamClass::Request).await.unwrap();
    send.write_all(&u32::try_from(bytes).unwrap().to_be_bytes()).await.unwrap();
    tokio::time::timeout(time, send.stopped()).await.is_ok()
}

#[tokio::test]
async fn frames_are_bounded_by_who_sends_them() {
    let authority = Authority::new();
    let node = TestNode::start(&authority, 1, Limits::default());
    let address = node.net.address();
    let operator = authority.issue(&PeerKind::Operator(Principal::new("alice").unwrap()));
    let other = authority.issue(&PeerKind::Node(NodeId::from_bits(2)));
    let (stranger, small) = (authority.stranger(), OPENING_BYTES_MAX);
    assert!(!is_refused(&stranger, address, small, WHILE).await);
    assert!(is_refused(&stranger, address, small + 1, PATIENCE).await);
    assert!(!is_refused(&operator, address, small + 1, WHILE).await);
    assert!(is_refused(&operator, address, FRAME_BYTES_MAX, PATIENCE).await);
    assert!(!is_refused(&other, address, FRAME_BYTES_MAX, WHILE).await);
    assert!(is_refused(&other, address, FRAME_BYTES_MAX + 1, PATIENCE).await);
}

#[tokio::test]
async fn a_stranger_is_answered_as_one() {
    let authority = Authority::new();
    let node = TestNode::answering(&authority, 1, Limits::default(), |peer, _| {
        assert_eq!(*peer, Peer::Anonymous);
        Reply::Failed { message: "who are you?".into() }
    });
    let connection = connect(&authority.stranger(), node.net.address()).await.unwrap();
    let Opened { mut send, mut reader } = open(&connection, StreamClass::Request).await.unwrap();
    let frame = RequestFrame { id: RequestId(3), request: Request::Leader };
    send.write_all(&wire::frame(&frame).unwrap()).await.unwrap();
    let reply: ReplyFrame = in_time("a reply", reader.read()).await.unwrap().unwrap();
    assert_eq!(reply.id, RequestId(3));
    assert_eq!(reply.reply, Reply::Failed { message: "who are you?".into() });
}

#[tokio::test]
async fn another_cluster_is_refused_whatever_its_peers_are() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let node = TestNode::start(&authority, 1, Limits::default());
    let kind = PeerKind::Node(NodeId::from_bits(2));
    // A certificate of another authority, from one who knows ours.
    let mixed = Credentials {
        authority: authority.stranger().authority,
        certificate: foreign.issue(&kind).certificate,
    };
    let refused = match connect(&mixed, node.net.address()).await {
        // A client learns at its first read that the server did not take its certificate.
        Ok(connection) => open(&connection, StreamClass::Request).await.err(),
        Err(error) => Some(error),
    };
    assert!(refused.is_some(), "a certificate of another authority was taken");
    let error = connect(&foreign.issue(&kind), node.net.address()).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");

    let connection = connect(&authority.issue(&kind), node.net.address()).await.unwrap();
    let other = meshos_protocol::ids::ClusterId::from_u128(8);
    let hello = StreamHello::new(Some(other), StreamClass::Request);
    let error = wire::open_stream(&connection, &hello).await.unwrap_err();
    assert!(error.to_string().contains("belongs to cluster"), "{error}");
}

/// The first packet of a handshake that goes on no further.
async fn first_packet(authority: &Authority) -> Vec<u8> {
    let trap = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = wire::client_config(&authority.stranger(), Idle::default()).unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let name = wire::ANY_NODE_NAME;
    let _connecting = endpoint.connect_with(config, trap.local_addr().unwrap(), name).unwrap();
    let mut packet = vec![0; 2_048];
    let length = in_time("a packet", trap.recv(&mut packet)).await.unwrap();
    packet.truncate(length);
    packet
}

#[tokio::test]
async fn handshakes_that_never_end_keep_nobody_out() {
    let authority = Authority::new();
    let limits = Limits {
        handshakes: 1,
        handshakes_per_source: 1,
        handshakes_unproven: 6,
        handshake_time: PATIENCE,
        ..Limits::default()
    };
    let node = TestNode::start(&authority, 1, limits);
    let mut sockets = Vec::new();
    // Addresses that are made up, for all that the node knows: they have places of their own.
    for source in ["127.0.0.1:0", "127.0.0.2:0"] {
        for _ in 0..8 {
            let socket = tokio::net::UdpSocket::bind(source).await.unwrap();
            let packet = first_packet(&authority).await;
            socket.send_to(&packet, node.net.address()).await.unwrap();
            sockets.push(socket);
        }
        let under_way = || node.net.inner().admission.under_way() == 6;
        poll_until("handshakes are under way", under_way).await;
    }
    node_is_served(&authority, &node).await;
    assert_eq!(node.net.inner().admission.under_way(), 6);
}

#[tokio::test]
async fn a_connection_is_used_again_and_replaced_when_it_is_closed() {
    let authority = Authority::new();
    let node = TestNode::start(&authority, 1, Limits::default());
    let other = TestNode::start(&authority, 2, Limits::default());
    let anybody = Target { node: None, ..node.target() };
    for target in [node.target(), anybody] {
        let (first, at_once) = tokio::join!(other.net.link(&target), other.net.link(&target));
        let first = first.unwrap();
        assert!(Arc::ptr_eq(&first, &at_once.unwrap()), "dialled once however many ask");
        assert_eq!(first.request(Request::Leader, PATIENCE).await.unwrap(), Reply::Done);
        assert!(Arc::ptr_eq(&first, &other.net.link(&target).await.unwrap()), "used again");

        first.close_for_test();
        let second = other.net.link(&target).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &second), "a closed one leads nowhere");
        assert_eq!(second.request(Request::Leader, PATIENCE).await.unwrap(), Reply::Done);
        assert!(Arc::ptr_eq(&second, &other.net.link(&target).await.unwrap()));
    }
    // Whoever was dialled uses the same connection back.
    let back = node.net.link(&other.target()).await.unwrap();
    assert!(Arc::ptr_eq(&back, &node.net.link(&other.target()).await.unwrap()));
}

#[tokio::test]
async fn a_node_that_started_again_is_reached_over_the_connection_that_it_dialled() {
    let authority = Authority::new();
    let node = TestNode::start(&authority, 1, Limits::default());
    let other = TestNode::start(&authority, 2, Limits::default());
    let anybody = Target { node: None, ..node.target() };
    let old = other.net.link(&anybody).await.unwrap();
    // It died without a word: for a while the old connection looks as if it were alive.
    let again = TestNode::start(&authority, 1, Limits::default());
    again.net.link(&other.target()).await.unwrap();
    let newest = || async { !Arc::ptr_eq(&old, &other.net.link(&anybody).await.unwrap()) };
    in_time("the newest connection is used", async { while !newest().await {} }).await;
    assert!(!old.is_closed());
}

/// What the node answers to a stream of these versions.
async fn answered(connection: &quinn::Connection, newest: u32, oldest: u32) -> StreamAnswer {
    let hello = StreamHello::new(Some(CLUSTER), StreamClass::Request);
    let hello = StreamHello { version: newest, version_min: oldest, ..hello };
    let (mut send, receive) = in_time("a stream", connection.open_bi()).await.unwrap();
    send.write_all(&wire::frame(&hello).unwrap()).await.unwrap();
    let mut reader = wire::FrameReader::new(receive);
    in_time("an answer", reader.read::<StreamAnswer>()).await.unwrap().unwrap()
}

#[tokio::test]
async fn streams_use_the_newest_version_that_both_sides_speak() {
    let authority = Authority::new();
    let node = TestNode::start(&authority, 1, Limits::default());
    let credentials = authority.issue(&PeerKind::Node(NodeId::from_bits(2)));
    let connection = connect(&credentials, node.net.address()).await.unwrap();
    let (now, least) = (WIRE_VERSION, WIRE_VERSION_MIN);
    for (newest, oldest, agreed) in [
        (now, least, Some(now)),
        (now, now, Some(now)),
        (least, least, Some(least)),
        // The next releases, which still speak with this one, and one that does not any more.
        (now + 1, now, Some(now)),
        (now + 9, least, Some(now)),
        (now + 1, now + 1, None),
        // One that is too old, and one that makes no sense.
        (least - 1, least - 1, None),
        (least - 1, now, None),
    ] {
        match answered(&connection, newest, oldest).await {
            StreamAnswer::Accepted { version } => assert_eq!(Some(version), agreed),
            StreamAnswer::Refused { cause: Refusal::Version, message } => {
                assert_eq!(agreed, None, "{newest} to {oldest}: {message}");
                let both = format!("versions {oldest} to {newest}, this node {least} to {now}");
                assert!(message.contains(&both), "{message}");
            }
            other => panic!("{newest} to {oldest}: {other:?}"),
        }
    }
}
