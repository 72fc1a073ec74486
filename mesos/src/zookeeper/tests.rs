//! Frames as kazoo 2.11 writes them, and the answers as it reads them.

use meshos_protocol::ids::{ClusterId, Fence, Term};

use super::{Connection, Frames, Next, Sent, TooLong, Tree};
use crate::convert::offer::Place;

const CONNECT: &str =
    "000000000000000000000000000027100000000000000000000000100000000000000000000000000000000000";
const PING: &str = "fffffffe0000000b";
const AUTH: &str = "fffffffc00000064000000000000000664696765737400000003753a70";
const CHILDREN: &str = "0000000100000008000000062f6d65736f7301";
const CHILDREN_2: &str = "000000020000000c000000062f6d65736f7300";
const DATA_7: &str =
    "00000003000000040000001b2f6d65736f732f6a736f6e2e696e666f5f3030303030303030303701";
const EXISTS_8: &str =
    "00000004000000030000001b2f6d65736f732f6a736f6e2e696e666f5f3030303030303030303801";
const CREATE: &str = "0000000500000001000000062f6d65736f7300000000000000010000001f00000005776f726c64\
                      00000006616e796f6e6500000000";
const CLOSE: &str = "00000006fffffff5";

/// `/mesos/json.info_0000000007`, a text.
const NODE_7: &str = "0000001b2f6d65736f732f6a736f6e2e696e666f5f30303030303030303037";
/// `json.info_0000000007`, a text.
const NAME_7: &str = "000000146a736f6e2e696e666f5f30303030303030303037";

fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tree(before: &Tree, term: u64, address: &str) -> Tree {
    let fence = Fence { cluster: ClusterId::from_u128(0xab), term: Term(term) };
    before.lead_by(Some((fence, &Place::read(address).unwrap())))
}

fn led() -> Tree {
    tree(&Tree::default(), 7, "10.0.0.7:5050")
}

/// A client that has connected.
fn connected(tree: Tree) -> Connection {
    let mut connection = Connection::new(tree, 0x55);
    let (answer, next) = connection.frame(&bytes(CONNECT)).unwrap();
    let session = "0000000000000055";
    let (version, timeout, password) = ("00000000", "00002710", "00".repeat(16));
    let expected = format!("00000025{version}{timeout}{session}00000010{password}00");
    assert_eq!((hex(&answer), next), (expected, Next::Go));
    assert_eq!(connection.timeout_ms(), Some(10_000));
    connection
}

#[track_caller]
fn ask(connection: &mut Connection, frame: &str) -> String {
    let (answer, next) = connection.frame(&bytes(frame)).expect("the frame is good");
    assert_eq!(next, Next::Go);
    hex(&answer)
}

/// The head of an answer, and what follows it, as one frame.
fn answer(xid: &str, newest: u64, error: &str, body: &str) -> String {
    let rest = format!("{xid}{newest:016x}{error}{body}");
    format!("{:08x}{rest}", rest.len() / 2)
}

fn event(kind: u32, path: &str) -> String {
    let rest = format!("ffffffff{}00000000{kind:08x}00000003{path}", "ff".repeat(8));
    format!("{:08x}{rest}", rest.len() / 2)
}

#[test]
fn the_leader_is_found_by_its_name_and_read() {
    let mut client = connected(led());
    let list = format!("00000001{NAME_7}");
    assert_eq!(ask(&mut client, CHILDREN), answer("00000001", 7, "00000000", &list));
    let stat = format!(
        "{zero}{zero}{zero}{zero}00000000{version}00000000{zero}00000000{children}{newest}",
        zero = "00".repeat(8),
        version = "00000007",
        children = "00000001",
        newest = "0000000000000007",
    );
    let both = format!("{list}{stat}");
    assert_eq!(ask(&mut client, CHILDREN_2), answer("00000002", 7, "00000000", &both));

    let (read, _) = client.frame(&bytes(DATA_7)).unwrap();
    let length = u32::from_be_bytes(*read[20..].first_chunk().unwrap());
    let length = usize::try_from(length).unwrap();
    let info: serde_json::Value = serde_json::from_slice(&read[24..24 + length]).unwrap();
    assert_eq!(info["address"]["ip"], "10.0.0.7", "{info}");
    assert_eq!(info["address"]["port"], 5050, "{info}");
    assert_eq!(info["pid"], "master@10.0.0.7:5050", "{info}");
    // The number that Mesos makes of an address: its bytes in network order, read as those of a little machine.
    assert_eq!(info["ip"], 0x0700_000a, "{info}");
    let stat = &hex(&read[24 + length..]);
    assert_eq!(stat.len(), 2 * 68, "{stat}");
    assert!(stat.starts_with(&"0000000000000007".repeat(2)), "{stat}");
    assert!(stat.contains(&format!("{length:08x}00000000")), "{stat}");
}

#[test]
fn what_keeps_a_session_and_ends_it() {
    let mut client = connected(led());
    assert_eq!(ask(&mut client, PING), answer("fffffffe", 7, "00000000", ""));
    assert_eq!(ask(&mut client, AUTH), answer("fffffffc", 7, "00000000", ""));
    // Whoever wants to be sure of the path hears that it is there, and nothing else can be written.
    assert_eq!(ask(&mut client, CREATE), answer("00000005", 7, "ffffff92", ""));
    let other = CREATE.replace("2f6d65736f73", "2f6d65736f74");
    assert_eq!(ask(&mut client, &other), answer("00000005", 7, "ffffff89", ""));
    let unknown = "0000000900000066";
    assert_eq!(ask(&mut client, unknown), answer("00000009", 7, "fffffffa", ""));
    let (bye, next) = client.frame(&bytes(CLOSE)).unwrap();
    assert_eq!((hex(&bye), next), (answer("00000006", 7, "00000000", ""), Next::Close));
}

#[test]
fn a_change_of_leader_is_told_once() {
    let mut client = connected(led());
    ask(&mut client, CHILDREN);
    ask(&mut client, DATA_7);
    // Not there yet, and waited for.
    assert_eq!(ask(&mut client, EXISTS_8), answer("00000004", 7, "ffffff9b", ""));
    assert_eq!(client.change(led()), Vec::<u8>::new(), "nothing has changed");

    let path = "000000062f6d65736f73";
    let next = NODE_7.replace("37", "38");
    let told = hex(&client.change(tree(&led(), 8, "10.0.0.8:5050")));
    assert_eq!(told.len(), event(4, path).len() + event(2, NODE_7).len() + event(1, &next).len());
    for expected in [event(4, path), event(2, NODE_7), event(1, &next)] {
        assert!(told.contains(&expected), "{expected} in {told}");
    }
    assert_eq!(client.change(led()), Vec::<u8>::new(), "each watch is told of one change");
    assert_eq!(ask(&mut client, DATA_7).len() % 2, 0);
    // The same leader under another address.
    let told = hex(&client.change(tree(&led(), 7, "10.0.0.9:5050")));
    assert_eq!(told, event(3, NODE_7));
}

#[test]
fn without_a_leader_there_is_nobody_and_the_transactions_go_on() {
    let mut client = connected(led());
    ask(&mut client, CHILDREN);
    let told = hex(&client.change(led().lead_by(None)));
    assert_eq!(told, event(4, "000000062f6d65736f73"));
    assert_eq!(ask(&mut client, CHILDREN), answer("00000001", 7, "00000000", "00000000"));
    assert_eq!(ask(&mut client, DATA_7), answer("00000003", 7, "ffffff9b", ""));
}

#[test]
fn a_client_that_comes_back_is_told_what_it_missed() {
    let mut client = connected(tree(&led(), 8, "10.0.0.8:5050"));
    // Seen up to 7: data of 7, existence of 8, children of the path.
    let next = NODE_7.replace("37", "38");
    let path = "000000062f6d65736f73";
    let frame = |seen: u64| {
        format!("fffffff800000065{seen:016x}00000001{NODE_7}00000001{next}00000001{path}")
    };
    let answered = answer("fffffff8", 8, "00000000", "");
    let told = ask(&mut client, &frame(7));
    assert_eq!(
        told,
        [event(2, NODE_7), event(1, &next), event(4, path), answered.clone()].concat()
    );
    // Up to 8: the children have not changed since, and are watched on.
    let told = ask(&mut client, &frame(8));
    assert_eq!(told, [event(2, NODE_7), event(1, &next), answered].concat());
    assert_eq!(hex(&client.change(Tree::default())), event(4, path));
}

#[test]
fn a_session_of_another_connection_is_taken_over_within_bounds() {
    let mut client = Connection::new(led(), 1);
    assert_eq!(client.timeout_ms(), None);
    // Session 0x63 of before, a tenth of a second, and a client of before 3.4.
    let again = "000000000000000000000007000000640000000000000063000000100000000000000000000000000000000000";
    let (answer, _) = client.frame(&bytes(&again[..again.len() - 2])).unwrap();
    let answer = hex(&answer);
    assert!(answer.starts_with("000000240000000000000fa00000000000000063"), "{answer}");
    assert_eq!(client.timeout_ms(), Some(4_000));
}

#[test]
fn what_is_no_frame_ends_the_connection_and_watches_are_bounded() {
    assert_eq!(Connection::new(led(), 1).frame(&bytes("0000")), None);
    let mut client = connected(led());
    assert_eq!(client.frame(&bytes("00000001")), None);
    assert_eq!(client.frame(&bytes("000000010000000800000100")), None, "a text that is not there");
    let exists = |number: u32| {
        let path = format!("/{number:03}");
        format!("0000000400000003{:08x}{}01", path.len(), hex(path.as_bytes()))
    };
    for number in 0..64 {
        let told = ask(&mut client, &exists(number));
        assert_eq!(told, answer("00000004", 7, "ffffff9b", ""));
    }
    assert_eq!(ask(&mut client, &exists(64)), answer("00000004", 7, "ffffffff", ""));
    assert_eq!(ask(&mut client, &exists(63)), answer("00000004", 7, "ffffff9b", ""));
    let relative = format!("0000000400000003{:08x}{}01", 1, hex(b"a"));
    assert_eq!(ask(&mut client, &relative), answer("00000004", 7, "fffffff8", ""));
}

#[test]
fn frames_are_taken_as_they_become_whole() {
    let mut frames = Frames::default();
    frames.add(b"\0\0\0\x02a");
    assert_eq!(frames.take(), Ok(None));
    frames.add(b"bruok");
    assert_eq!(frames.take(), Ok(Some(Sent::Frame(b"ab".to_vec()))));
    // Behind a frame it is no word any more, but a length.
    assert_eq!(frames.take(), Err(TooLong(u32::from_be_bytes(*b"ruok"))));

    let mut frames = Frames::default();
    frames.add(b"ruo");
    assert_eq!(frames.take(), Ok(None));
    frames.add(b"k\n");
    assert_eq!(frames.take(), Ok(Some(Sent::AreYouOk)));
    assert_eq!(frames.take(), Ok(None));
    let mut frames = Frames::default();
    frames.add(&[0, 0, 0x40, 1]);
    assert_eq!(frames.take(), Err(TooLong(0x4001)));
}
