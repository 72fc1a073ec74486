//! What was used before goes on record, so that a change of leader does not clear it.

use std::time::Duration;

use meshos_protocol::time::Now;

use super::{
    proposals::Caller,
    state::{Core, Cx},
    timers::Timer,
};
use crate::registry::{Command, PAST_BYTES_MAX, PAST_PARTIES_MAX, PastRecord};

/// So often in a half-life what was used goes on record: a new leader misses about a
/// hundredth of what counts, and more of short ones, since that is not done more often than below.
const NOTES_PER_HALF_LIFE: u32 = 64;
/// But not more often than this, and at least this often.
const NOTE_EVERY: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(15 * 60)];

impl Core {
    /// Goes on from what earlier leaders counted, and begins to count.
    pub(super) fn take_past_use(&mut self, now: Now) {
        if let Some(past) = self.registry.past_use()
            && past.policy == self.policy.to_string()
        {
            // A clock that went back makes it as fresh as it was.
            self.allocator.set_past_use(&past.roles, now.wall.since(past.at));
        }
        self.await_past_use(now);
    }

    /// The time until it goes on record again begins, if the policy in force counts it.
    pub(super) fn await_past_use(&mut self, now: Now) {
        match self.allocator.policy().half_life() {
            Some(half_life) => {
                let [least, most] = NOTE_EVERY;
                let pause = (half_life / NOTES_PER_HALF_LIFE).clamp(least, most);
                self.timers.set(Timer::PastUse, now.mono.after(pause));
            }
            None => self.timers.clear(Timer::PastUse),
        }
    }

    /// What was used, of so many parties as there is room for: those that have used most.
    fn past_record(&mut self, now: Now) -> PastRecord {
        let mut parties = PAST_PARTIES_MAX;
        loop {
            let roles = self.allocator.past_use(parties);
            let past = PastRecord { policy: self.policy.to_string(), at: now.wall, roles };
            if parties == 0 || past.bytes() <= PAST_BYTES_MAX {
                return past;
            }
            parties /= 2;
        }
    }

    /// It is time to put on record what was used.
    pub(super) fn note_past_use(&mut self, cx: &mut Cx<'_>) {
        self.await_past_use(cx.now);
        let past = self.past_record(cx.now);
        self.pictures.roles_changed();
        let nothing = past.roles.is_empty() && self.registry.past_use().is_none();
        if nothing || self.may_propose().is_err() {
            return;
        }
        self.record(cx, Command::NotePastUse { past: Box::new(past) }, Caller::Nobody);
    }
}
