use std::time::{Duration, Instant};

use meshos_protocol::ids::{Generation, NodeId};
use proptest::prelude::*;
use ring::rand::SystemRandom;

use crate::{
    gossip::seal::{
        Kind, MESSAGE_BYTES_MAX, Message, Opener, PACKET_BYTES_MAX, Rejected, SealError, Sealer,
    },
    keys::GossipKey,
};

const KEY: GossipKey = GossipKey::from_bytes([7; 32]);
const OTHER_KEY: GossipKey = GossipKey::from_bytes([8; 32]);
const TAG: &str = "cluster";
const RECEIVER: NodeId = NodeId::from_bits(1_000);

fn sealer(bits: u64, generation: u64) -> Sealer {
    sealer_of(&KEY, TAG, bits, generation)
}

fn sealer_of(key: &GossipKey, tag: &str, bits: u64, generation: u64) -> Sealer {
    let sender = NodeId::from_bits(bits);
    Sealer::new(key, tag, sender, Generation(generation), &SystemRandom::new()).unwrap()
}

fn opener() -> Opener {
    Opener::new(&KEY, TAG, RECEIVER)
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn message(bits: u64, body: Vec<u8>) -> Message {
    Message { sender: NodeId::from_bits(bits), kind: Kind::Gossip, body }
}

/// Opens all packets; at most one message comes of them.
fn open_all(opener: &mut Opener, packets: &[Vec<u8>]) -> Result<Option<Message>, Rejected> {
    let mut whole = None;
    for packet in packets {
        if let Some(message) = opener.open(packet, Instant::now())? {
            assert!(whole.replace(message).is_none(), "one message for each seal");
        }
    }
    Ok(whole)
}

#[test]
fn messages_of_all_sizes_go_round() {
    let mut sealer = sealer(1, 1);
    let mut opener = opener();
    for length in [0, 1, 1_147, 1_148, 1_149, 2_296, 2_297, 20_000, MESSAGE_BYTES_MAX] {
        let packets = sealer.seal(Kind::Gossip, &body(length)).unwrap();
        assert!(packets.iter().all(|packet| packet.len() <= PACKET_BYTES_MAX));
        assert_eq!(packets.len(), length.div_ceil(1_148).max(1), "no more parts than needed");
        let opened = open_all(&mut opener, &packets).unwrap();
        assert_eq!(opened, Some(message(1, body(length))), "{length}");
        assert_eq!(opener.partial_bytes(), 0);
    }
    let packets = sealer.seal(Kind::Full, b"xxxx").unwrap();
    assert_eq!(open_all(&mut opener, &packets).unwrap().unwrap().kind, Kind::Full);
}

#[test]
fn what_cannot_be_sealed_is_refused() {
    let mut sealer = sealer(1, 1);
    let too_long = sealer.seal(Kind::Gossip, &body(MESSAGE_BYTES_MAX + 1));
    assert_eq!(too_long, Err(SealError::TooLong(MESSAGE_BYTES_MAX + 1)));
    // The last number of a start is not used, so the counter never wraps to a used nonce.
    sealer.skip_to(u64::MAX - 1);
    assert!(sealer.seal(Kind::Gossip, b"last").is_ok());
    assert_eq!(sealer.seal(Kind::Gossip, b"none left"), Err(SealError::Exhausted));
    assert_eq!(sealer.seal(Kind::Gossip, b"none left"), Err(SealError::Exhausted));
}

#[test]
fn another_key_or_tag_is_a_forgery() {
    for mut stranger in [sealer_of(&OTHER_KEY, TAG, 1, 1), sealer_of(&KEY, "other cluster", 1, 1)] {
        let packets = stranger.seal(Kind::Gossip, b"hello").unwrap();
        let mut opener = opener();
        assert_eq!(opener.open(&packets[0], Instant::now()), Err(Rejected::Forged));
    }
}

#[test]
fn a_forged_higher_generation_does_not_lock_the_sender_out() {
    let mut opener = opener();
    let forged = sealer_of(&OTHER_KEY, TAG, 1, 99).seal(Kind::Gossip, b"x").unwrap();
    assert_eq!(opener.open(&forged[0], Instant::now()), Err(Rejected::Forged));
    let real = sealer(1, 2).seal(Kind::Gossip, b"x").unwrap();
    assert!(opener.open(&real[0], Instant::now()).unwrap().is_some());
}

#[test]
fn every_change_and_every_cut_of_a_packet_is_refused() {
    let packet = sealer(1, 1).seal(Kind::Gossip, b"hello world").unwrap().remove(0);
    for at in 0..packet.len() {
        for bit in 0..8 {
            let mut changed = packet.clone();
            changed[at] ^= 1 << bit;
            let opened = opener().open(&changed, Instant::now());
            assert!(
                matches!(opened, Err(Rejected::Forged | Rejected::Garbled)),
                "{at}: {opened:?}"
            );
        }
        let opened = opener().open(&packet[..at], Instant::now());
        assert!(matches!(opened, Err(Rejected::Forged | Rejected::Garbled)), "{at}: {opened:?}");
    }
    let mut longer = packet.clone();
    longer.push(0);
    assert_eq!(opener().open(&longer, Instant::now()), Err(Rejected::Forged));
    longer.resize(PACKET_BYTES_MAX + 1, 0);
    assert_eq!(opener().open(&longer, Instant::now()), Err(Rejected::Garbled));
    assert!(opener().open(&packet, Instant::now()).unwrap().is_some());
}

#[test]
fn no_packet_is_taken_twice() {
    let mut sealer = sealer(1, 1);
    let mut opener = opener();
    let first = sealer.seal(Kind::Gossip, &body(10)).unwrap();
    let long = sealer.seal(Kind::Gossip, &body(5_000)).unwrap();
    open_all(&mut opener, &long).unwrap().unwrap();
    open_all(&mut opener, &first).unwrap().unwrap();
    for packet in first.iter().chain(&long) {
        assert_eq!(opener.open(packet, Instant::now()), Err(Rejected::Replayed));
    }
    // The same part twice before the message is whole.
    let long = sealer.seal(Kind::Gossip, &body(5_000)).unwrap();
    assert_eq!(opener.open(&long[0], Instant::now()), Ok(None));
    assert_eq!(opener.open(&long[0], Instant::now()), Err(Rejected::Replayed));
    assert!(open_all(&mut opener, &long[1..]).unwrap().is_some());
}

#[test]
fn what_lies_too_far_back_is_refused_unseen() {
    let mut sealer = sealer(1, 1);
    let mut opener = opener();
    let old = sealer.seal(Kind::Gossip, b"old").unwrap();
    sealer.skip_to(5_000);
    let new = sealer.seal(Kind::Gossip, b"new").unwrap();
    assert!(opener.open(&new[0], Instant::now()).unwrap().is_some());
    assert_eq!(opener.open(&old[0], Instant::now()), Err(Rejected::Replayed));
}

#[test]
fn an_earlier_start_is_refused_once_a_later_one_was_heard() {
    let mut opener = opener();
    let mut old = sealer(1, 1);
    let before = old.seal(Kind::Gossip, b"before").unwrap();
    let after = old.seal(Kind::Gossip, b"after").unwrap();
    assert!(opener.open(&before[0], Instant::now()).unwrap().is_some());
    let restarted = sealer(1, 2).seal(Kind::Gossip, b"restarted").unwrap();
    assert!(opener.open(&restarted[0], Instant::now()).unwrap().is_some());
    for packet in [&before[0], &after[0]] {
        assert_eq!(opener.open(packet, Instant::now()), Err(Rejected::Replayed));
    }
}

#[test]
fn two_processes_under_one_identity_do_not_take_turns() {
    // As after a data directory was restored from a copy.
    let mut opener = opener();
    let now = Instant::now();
    let first = sealer(1, 1).seal(Kind::Gossip, b"first").unwrap();
    let mut second = sealer(1, 1);
    assert!(opener.open(&first[0], now).unwrap().is_some());
    let packet = second.seal(Kind::Gossip, b"second").unwrap();
    assert_eq!(opener.open(&packet[0], now), Err(Rejected::Replayed));
    let later = now + Duration::from_secs(61);
    assert!(opener.open(&packet[0], later).unwrap().is_some(), "the first has fallen silent");
}

#[test]
fn our_own_packets_sent_back_are_refused() {
    let packets = sealer(RECEIVER.bits(), 1).seal(Kind::Gossip, b"x").unwrap();
    assert_eq!(opener().open(&packets[0], Instant::now()), Err(Rejected::Replayed));
}

#[test]
fn a_lost_part_costs_one_message() {
    let mut sealer = sealer(1, 1);
    let mut opener = opener();
    let now = Instant::now();
    let lossy = sealer.seal(Kind::Gossip, &body(5_000)).unwrap();
    for packet in &lossy[1..] {
        assert_eq!(opener.open(packet, now), Ok(None));
    }
    let whole = sealer.seal(Kind::Gossip, &body(3_000)).unwrap();
    assert!(open_all(&mut opener, &whole).unwrap().is_some());
    assert_eq!(opener.expire(now + Duration::from_secs(4)), 0);
    assert_eq!(opener.expire(now + Duration::from_secs(6)), 1);
    assert_eq!(opener.partial_bytes(), 0);
    assert_eq!(opener.open(&lossy[0], now), Err(Rejected::Replayed), "too late");
}

#[test]
fn a_sender_that_leaves_messages_incomplete_loses_its_oldest() {
    let mut sealer = sealer(1, 1);
    let mut opener = opener();
    let now = Instant::now();
    let messages: Vec<_> =
        (0..6).map(|_| sealer.seal(Kind::Gossip, &body(2_000)).unwrap()).collect();
    for packets in &messages {
        assert_eq!(opener.open(&packets[0], now), Ok(None));
    }
    assert_eq!(opener.expire(now), 2);
    assert_eq!(opener.open(&messages[0][1], now), Err(Rejected::Replayed));
    assert!(opener.open(&messages[5][1], now).unwrap().is_some());
}

#[test]
fn incomplete_messages_are_bounded_in_memory() {
    let mut opener = opener();
    let now = Instant::now();
    let mut crowded = 0;
    for bits in 1..150 {
        let packets = sealer(bits, 1).seal(Kind::Gossip, &body(MESSAGE_BYTES_MAX)).unwrap();
        for packet in &packets[1..] {
            if opener.open(packet, now) == Err(Rejected::Crowded) {
                crowded += 1;
            }
        }
        assert!(opener.partial_bytes() <= 4 << 20);
    }
    assert!(crowded > 0);
    assert!(opener.expire(now + Duration::from_secs(6)) > 0);
    assert_eq!(opener.partial_bytes(), 0);
}

#[test]
fn senders_are_bounded_in_number() {
    let mut opener = opener();
    let now = Instant::now();
    let mut open = |bits: u64, at: Instant| {
        let packets = sealer(bits, 1).seal(Kind::Gossip, b"x").unwrap();
        opener.open(&packets[0], at).map(|message| message.is_some())
    };
    for bits in 10_000..14_096 {
        assert_eq!(open(bits, now), Ok(true));
    }
    assert_eq!(open(1, now), Err(Rejected::Crowded));
    assert_eq!(open(1, now + Duration::from_secs(61)), Ok(true), "in place of a silent one");
}

proptest! {
    #[test]
    fn parts_may_come_in_any_order(
        length in 0usize..8_000,
        order in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let packets = sealer(1, 1).seal(Kind::Gossip, &body(length)).unwrap();
        let shuffled: Vec<_> =
            order.iter().filter_map(|at| packets.get(*at).cloned()).collect();
        prop_assert_eq!(
            open_all(&mut opener(), &shuffled).unwrap(),
            Some(message(1, body(length)))
        );
    }

    /// Anything at all, and headers of our form before anything.
    #[test]
    fn no_packet_makes_it_panic(
        noise in prop::collection::vec(any::<u8>(), 0..1_300),
        form in any::<bool>(),
        kind in 0u8..3,
        part in 0u8..70,
        parts in 0u8..70,
    ) {
        let mut packet = noise;
        if form && packet.len() >= 5 {
            packet[..5].copy_from_slice(&[1, kind, part, parts, 0]);
        }
        let mut opener = opener();
        prop_assert!(opener.open(&packet, Instant::now()).is_err());
        prop_assert_eq!(opener.partial_bytes(), 0);
    }

    /// An insider's packets with parts that contradict each other.
    #[test]
    fn contradicting_parts_of_an_insider_do_not_panic(
        picks in prop::collection::vec((0usize..3, 0usize..10), 1..40),
    ) {
        // One number and salt under three different cuts.
        let mut sealers = sealer(1, 1);
        let cuts: Vec<_> = [1_500, 4_000, 9_000]
            .iter()
            .map(|length| {
                sealers.skip_to(5);
                sealers.seal(Kind::Gossip, &body(*length)).unwrap()
            })
            .collect();
        let mut opener = opener();
        for (cut, part) in picks {
            if let Some(packet) = cuts[cut].get(part) {
                drop(opener.open(packet, Instant::now()));
            }
        }
        opener.expire(Instant::now() + Duration::from_secs(10));
        prop_assert_eq!(opener.partial_bytes(), 0);
    }
}
