//! What a leader was told plays the same again, step by step, from its recording alone.

use meshos_control::recording::Player;

use crate::node::Leading;

/// Of each term so much is recorded. The recording of a longer one ends within it.
pub const BYTES_MAX: u64 = 1 << 20;

/// Plays what a leader was told, at the end of its time.
///
/// # Panics
/// When its recording cannot be read, or another master decides otherwise.
pub fn check(leading: &mut Leading) {
    let recording = leading.tape.take();
    let term = leading.term;
    let mut player = match Player::new(&recording[..]) {
        Ok(player) => player,
        Err(error) => panic!("the recording of term {term} cannot be read: {error}"),
    };
    loop {
        match player.step() {
            Ok(Some(played)) => assert!(
                played.same,
                "term {term} plays otherwise from event {} on: {:?} led to {:?}",
                played.number, played.step.event, played.effects
            ),
            Ok(None) => break,
            Err(error) => panic!("the recording of term {term} cannot be read: {error}"),
        }
    }
    if !player.is_full() {
        let deadlines = (player.master().next_deadline(), leading.master.next_deadline());
        assert_eq!(deadlines.0, deadlines.1, "term {term} plays to another state");
    }
}
