//! What a master was told is written down and played again.

use meshos_protocol::{codec, ids::SessionId, time::Mono};

use super::world::{START, World, node, task};
use crate::{
    master::{Event, Master, MasterConfig},
    recording::{Player, ReadError, Start, Tape},
    registry::Registry,
};

/// Plays a recording to its end; the master must do the same at every step.
pub(super) fn play_all(recording: &[u8]) -> Master {
    let mut player = Player::new(recording).unwrap();
    while let Some(played) = player.step().unwrap() {
        player.master().check_invariants();
        assert!(played.same, "event {}: {:?}", played.number, played.step.event);
    }
    player.into_master()
}

/// A leader with a past: a registry, hints, agents, and a framework with tasks.
fn world() -> World {
    let mut first = World::new();
    first.register(1, "cpus:4;mem:4096", vec![]);
    let session = first.framework("one");
    first.pass(10);
    first.accept(session, &[1], vec![task("a", "cpus:1;mem:128")]);
    let mut world = first.next_leader();
    world.register(1, "cpus:4;mem:4096", vec![]);
    world.register(2, "cpus:2;mem:1024", vec![]);
    world.framework("two");
    world.pass(10);
    world
}

fn start() -> Start {
    let (fence, config) = (World::new().fence(), MasterConfig::default());
    let release = "0.1".to_owned();
    Start { release, fence, node: node(9), now: START, seed: 1, config }
}

fn error_of(recording: &[u8]) -> String {
    Player::new(recording).expect_err("it cannot be played").to_string()
}

#[test]
fn a_new_leader_with_hints_and_a_registry_plays_again() {
    let mut world = world();
    assert!(!world.hints.is_empty());
    let again = play_all(&world.tape.take());
    assert_eq!(again.view().agents.iter().count(), 2);
    let rows = |master: &Master| serde_json::to_string(&master.view()).unwrap();
    assert_eq!(rows(&again), rows(&world.master));
    assert_eq!(again.next_deadline(), world.master.next_deadline());
}

#[test]
fn a_recording_that_a_crash_cut_off_plays_up_to_there() {
    let whole = world().tape.take();
    let steps = |bytes: &[u8]| {
        let mut player = Player::new(bytes)?;
        while player.step()?.is_some() {}
        Ok::<u64, ReadError>(player.steps())
    };
    let all = steps(&whole).unwrap();
    let mut seen = 0;
    for length in 0..whole.len() {
        match steps(&whole[..length]) {
            Ok(number) => {
                assert!(number >= seen && number < all, "{number} of {all} in {length} bytes");
                seen = number;
            }
            Err(ReadError::CutOff | ReadError::Foreign) => assert_eq!(seen, 0),
            Err(error) => panic!("{length} bytes: {error}"),
        }
    }
    assert_eq!(seen, all - 1);
}

#[test]
fn a_step_that_leads_to_something_else_is_told() {
    let mut recording = world().tape.take();
    // The last byte of the last step is one of its fingerprint.
    *recording.last_mut().unwrap() ^= 1;
    let mut player = Player::new(&recording[..]).unwrap();
    let mut same = Vec::new();
    while let Some(played) = player.step().unwrap() {
        assert_eq!(played.number, player.steps());
        same.push(played.same);
    }
    assert_eq!(same.pop(), Some(false));
    assert!(same.len() > 5 && same.iter().all(|same| *same));
}

#[test]
fn a_recording_ends_when_its_bytes_are_used_up() {
    let mut tape = Tape::begin(start(), &Registry::new(), &[], 500);
    let Start { config, fence, node, now, .. } = start();
    let mut master = Master::new(config, fence, node, Registry::new(), vec![], now, 1);
    for session in 1..1_000 {
        let closed = Event::SessionClosed { session: SessionId(session) };
        tape.handle(&mut master, now, closed, &mut Vec::new());
    }
    assert!(tape.is_full());
    let bytes = tape.take();
    assert!(bytes.len() < 3_000, "{}", bytes.len());
    let mut player = Player::new(&bytes[..]).unwrap();
    while player.step().unwrap().is_some() {}
    assert!(player.is_full() && player.steps() > 1);
}

#[test]
fn other_files_are_told_apart() {
    let foreign = "it is no recording of a leader's events: it does not begin like one";
    assert_eq!(error_of(b""), foreign);
    assert_eq!(error_of(b"{\"some\": \"other file, which is long enough\"}"), foreign);
    assert_eq!(error_of(&[0, 0, 0, 1, 0xc0]), foreign);
    assert_eq!(error_of(&[0xff; 64]), foreign);
    // A later format, of a later release.
    let mut later = Tape::begin(start(), &Registry::new(), &[], 0).take();
    let (name, value) = (codec::encode("version"), codec::encode(&1_u32));
    let field = [name, value].concat();
    let place = later.windows(field.len()).position(|window| window == field).unwrap();
    later[place + field.len() - 1] = 2;
    let why = error_of(&later);
    assert!(why.starts_with("it has format 2 and this release reads format 1"), "{why}");
}

#[test]
fn frames_where_none_may_be_are_refused() {
    let begin = || Tape::begin(start(), &Registry::new(), &[], 1 << 20).take();
    let twice = [begin(), begin()].concat();
    let mut player = Player::new(&twice[..]).unwrap();
    assert!(matches!(player.step(), Err(ReadError::Misplaced { .. })));
    let mut bent = begin();
    bent.extend([0, 0, 0, 1, 0xc0]);
    let error = Player::new(&bent[..]).unwrap().step().unwrap_err();
    assert!(error.to_string().starts_with("frame 4 cannot be read: "), "{error}");
    assert_eq!(Player::new(&begin()[..]).unwrap().master().next_deadline(), None::<Mono>);
}
