//! Which sandboxes go, and when to look again.

use std::time::Duration;

/// Shares are counted in thousandths, so that no decision hangs on how a float is rounded.
pub const WHOLE: u32 = 1_000;
/// However full the disk is, a sandbox stays for so long, so that the log of a task that has just ended can be read. A
/// shorter delay goes before it.
const KEEP_MIN: Duration = Duration::from_secs(30);
/// How many sandboxes go in one round; the next one follows at once.
const REMOVALS_MAX: usize = 256;
/// Between two rounds when there is more to remove.
const BACKLOG_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks when nothing is due: not more often than the shortest delay makes sense,
const LOOK_MIN: Duration = Duration::from_secs(1);
/// and often enough to see a disk that fills (Mesos's `--disk_watch_interval`).
const LOOK_MAX: Duration = Duration::from_secs(60);

/// How old the sandbox of an ended container may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// On an empty disk without headroom.
    pub delay: Duration,
    /// How much of the disk is to stay free, in thousandths.
    pub headroom: u32,
}

impl Rule {
    /// The age that is allowed while `used` thousandths of the disk are.
    ///
    /// `gc_delay * max(0.0, (1.0 - gc_disk_headroom - disk usage))`: Apache Mesos, `docs/configuration/agent.md`, at
    /// `--gc_disk_headroom`.
    #[must_use]
    pub fn allowed_age(&self, used: u32) -> Duration {
        let share = WHOLE.saturating_sub(self.headroom).saturating_sub(used);
        let age = self.delay.saturating_mul(share) / WHOLE;
        age.max(KEEP_MIN.min(self.delay))
    }
}

/// A sandbox to decide on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Since the end of its container.
    pub age: Duration,
    /// Its container is being launched, runs, or has ended without being released.
    pub held: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The sandboxes that go, by their place among the candidates; the oldest first.
    pub remove: Vec<usize>,
    /// How long until the next look.
    pub look_again: Duration,
}

/// Decides on sandboxes while `used` thousandths of the disk are.
#[must_use]
pub fn plan(rule: &Rule, used: u32, candidates: &[Candidate]) -> Plan {
    let allowed = rule.allowed_age(used);
    let ended = candidates.iter().enumerate().filter(|(_, candidate)| !candidate.held);
    let (mut due, kept): (Vec<_>, Vec<_>) =
        ended.partition(|(_, candidate)| candidate.age >= allowed);
    due.sort_by_key(|(_, candidate)| std::cmp::Reverse(candidate.age));
    let more = due.len() > REMOVALS_MAX;
    // What ends from now on is not due before the allowed age has passed.
    let next = kept.iter().map(|(_, candidate)| allowed.saturating_sub(candidate.age)).min();
    Plan {
        remove: due.iter().take(REMOVALS_MAX).map(|(place, _)| *place).collect(),
        look_again: if more {
            BACKLOG_PAUSE
        } else {
            next.unwrap_or(allowed).clamp(LOOK_MIN, LOOK_MAX)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_allowed_age_follows_mesos() {
        for (delay, headroom, used, allowed) in [
            (WEEK, 100, 0, WEEK / 10 * 9),
            (WEEK, 100, 400, WEEK / 2),
            (WEEK, 0, 0, WEEK),
            (WEEK, 0, 250, WEEK / 4 * 3),
            (WEEK, 100, 899, WEEK / WHOLE),
            // From here on Mesos keeps nothing; we keep it until it can be read.
            (WEEK, 100, 900, KEEP_MIN),
            (WEEK, 100, 1_000, KEEP_MIN),
            (WEEK, 1_000, 0, KEEP_MIN),
            (WEEK, u32::MAX, u32::MAX, KEEP_MIN),
            (seconds(2), 100, 990, seconds(2)),
            (seconds(2), 100, 0, seconds(2)),
            (Duration::MAX, 0, 0, Duration::MAX / WHOLE),
        ] {
            let rule = Rule { delay, headroom };
            assert_eq!(rule.allowed_age(used), allowed, "{rule:?} {used}");
        }
    }

    /// Ages in hours, held ones negative.
    fn decide(used: u32, ages: &[i32]) -> (Vec<usize>, Duration) {
        let candidate = |age: &i32| Candidate { age: HOUR * age.unsigned_abs(), held: *age < 0 };
        let candidates: Vec<_> = ages.iter().map(candidate).collect();
        let rule = Rule { delay: HOUR * 100, headroom: 100 };
        let Plan { remove, look_again } = plan(&rule, used, &candidates);
        (remove, look_again)
    }

    #[test]
    fn what_is_older_than_allowed_goes_the_oldest_first_and_what_is_held_stays() {
        let table: &[(u32, &[i32], &[usize])] = &[
            (0, &[], &[]),
            (0, &[89, 90, 91], &[2, 1]),
            (0, &[-1_000, 89], &[]),
            (0, &[-1_000, 95, -200, 99], &[3, 1]),
            (400, &[49, 50, 89], &[2, 1]),
            (900, &[0, 1, -1, 2], &[3, 1]),
            (1_000, &[1, 0], &[0]),
        ];
        for (used, ages, expected) in table {
            assert_eq!(decide(*used, ages).0, *expected, "{used} {ages:?}");
        }
    }

    #[test]
    fn the_next_look_is_at_the_next_end_of_a_sandbox_and_never_far() {
        let rule = Rule { delay: seconds(100), headroom: 0 };
        let look = |ages: &[u64]| {
            let candidate = |age: &u64| Candidate { age: seconds(*age), held: false };
            plan(&rule, 0, &ages.iter().map(candidate).collect::<Vec<_>>()).look_again
        };
        for (ages, expected) in [
            (&[][..], LOOK_MAX),
            (&[10], LOOK_MAX),
            (&[70, 20], seconds(30)),
            (&[20, 70], seconds(30)),
            (&[500, 70], seconds(30)),
            (&[500], LOOK_MAX),
        ] {
            assert_eq!(look(ages), expected, "{ages:?}");
        }
        let just_before = [Candidate { age: seconds(100) - Duration::from_millis(1), held: false }];
        assert_eq!(plan(&rule, 0, &just_before).look_again, LOOK_MIN);
        let short = Rule { delay: seconds(2), headroom: 0 };
        assert_eq!(plan(&short, 0, &[]).look_again, seconds(2));
        let full = [Candidate { age: seconds(0), held: false }];
        assert_eq!(plan(&rule, 1_000, &full), Plan { remove: vec![], look_again: KEEP_MIN });
    }

    #[test]
    fn a_round_is_bounded_and_the_next_follows_soon() {
        let many = vec![Candidate { age: seconds(200), held: false }; REMOVALS_MAX + 1];
        let rule = Rule { delay: seconds(100), headroom: 0 };
        let planned = plan(&rule, 0, &many);
        assert_eq!(planned.remove.len(), REMOVALS_MAX);
        assert_eq!(planned.look_again, BACKLOG_PAUSE);
        let planned = plan(&rule, 0, &many[1..]);
        assert_eq!((planned.remove.len(), planned.look_again), (REMOVALS_MAX, LOOK_MAX));
    }
}
