//! Settings that are times, and what depends on them.

use std::time::Duration;

use meshos_isolation::garbage;
use meshos_membership::raft::SNAPSHOT_EVERY_ENTRIES;

use super::{
    super::{ExecutorTimes, Raw, Times, parse_duration, print_duration, raw::Given},
    Check,
};

const TIMING_FACTOR_MAX: u32 = 100;
/// In thousandths.
const GC_HEADROOM_DEFAULT: u32 = 100;

impl Check<'_> {
    pub(super) fn times(&mut self, raw: &Raw) -> Times {
        let factor = match &raw.timing_factor {
            None => 1,
            Some(given) if (1..=TIMING_FACTOR_MAX).contains(&given.value) => given.value,
            Some(given) => {
                let why = format!("expected a whole number from 1 to {TIMING_FACTOR_MAX}");
                self.problems.push(given.problem(why));
                1
            }
        };
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let day = s(24 * 3_600);
        let times = Times {
            factor,
            gossip: self.time(raw.gossip_interval.as_ref(), s(1), ms(10), s(60)),
            agent_timeout: self.time(raw.agent_timeout.as_ref(), s(75), ms(500), day),
            agent_timeout_when_dead: self.time(
                raw.agent_timeout_dead.as_ref(),
                s(20).min(self.time_or(raw.agent_timeout.as_ref(), s(75))),
                ms(500),
                day,
            ),
            reconnect_grace: self.time(raw.reconnect_grace.as_ref(), s(30), ms(100), day),
            offer_timeout: self.time(raw.offer_timeout.as_ref(), s(60), ms(100), day),
        };
        if let Some(given) = raw
            .agent_timeout_dead
            .as_ref()
            .filter(|_| times.agent_timeout_when_dead > times.agent_timeout)
        {
            let timeout = print_duration(times.agent_timeout);
            self.problems.push(given.problem(format!(
                "a node that gossip calls dead is not waited for longer than any other; at most --agent-timeout, {timeout}"
            )));
        }
        times
    }

    /// After which silence a voter is replaced, and after how many entries it makes a snapshot.
    pub(super) fn voters(&mut self, raw: &Raw) -> (Option<Duration>, u64) {
        (self.replace_voters_after(raw), self.snapshot_every_entries(raw))
    }

    /// None at all would let the log grow without end.
    fn snapshot_every_entries(&mut self, raw: &Raw) -> u64 {
        match &raw.snapshot_every_entries {
            None => SNAPSHOT_EVERY_ENTRIES,
            Some(given) if given.value > 0 => given.value.into(),
            Some(given) => {
                self.problems.push(given.problem("expected a whole number above 0"));
                SNAPSHOT_EVERY_ENTRIES
            }
        }
    }

    fn replace_voters_after(&mut self, raw: &Raw) -> Option<Duration> {
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3_600));
        let after = self.time(raw.replace_voters_after.as_ref(), hour, second, 30 * 24 * hour);
        let never = raw.no_replace_voters.as_ref().filter(|given| given.value);
        if let (Some(after), Some(never)) = (&raw.replace_voters_after, never) {
            self.problems.push(format!(
                "{} and {} exclude each other: give one of them",
                after.from, never.from
            ));
        }
        never.is_none().then_some(after)
    }

    fn time(
        &mut self,
        given: Option<&Given<String>>,
        default: Duration,
        least: Duration,
        most: Duration,
    ) -> Duration {
        self.read(
            given,
            || default,
            |text| {
                let duration = parse_duration(text)?;
                if (least..=most).contains(&duration) {
                    return Ok(duration);
                }
                Err(format!(
                    "expected a time from {} to {}",
                    print_duration(least),
                    print_duration(most)
                ))
            },
        )
    }

    /// The defaults are Mesos's.
    pub(super) fn executor_times(&mut self, raw: &Raw) -> ExecutorTimes {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        let (least, day) = (Duration::from_millis(100), 24 * 60 * minute);
        let (registration, recovery, shutdown) = (
            raw.executor_registration_timeout.as_ref(),
            raw.executor_recovery_timeout.as_ref(),
            raw.executor_shutdown_grace.as_ref(),
        );
        ExecutorTimes {
            registration: self.time(registration, minute, least, day),
            recovery: self.time(recovery, 15 * minute, least, 30 * day),
            shutdown: self.time(shutdown, 5 * second, least, day),
        }
    }

    /// The defaults are Mesos's.
    pub(super) fn sandbox_rule(&mut self, raw: &Raw) -> garbage::Rule {
        let day = Duration::from_secs(24 * 3_600);
        let (least, most) = (Duration::from_secs(1), 3_650 * day);
        let headroom = raw
            .gc_disk_headroom
            .as_ref()
            .map(|given| Given { value: given.value.0.clone(), from: given.from.clone() });
        garbage::Rule {
            delay: self.time(raw.gc_delay.as_ref(), 7 * day, least, most),
            headroom: self.read(headroom.as_ref(), || GC_HEADROOM_DEFAULT, parse_part),
        }
    }

    /// The time that was given, for the default of another; what is wrong with it is told elsewhere.
    fn time_or(&self, given: Option<&Given<String>>, default: Duration) -> Duration {
        given.and_then(|given| parse_duration(&given.value).ok()).unwrap_or(default)
    }
}

fn parse_part(text: &str) -> Result<u32, String> {
    let wrong =
        || "expected a part from 0 to 1 with at most three decimals, for example 0.1".to_owned();
    let text = text.trim();
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = decimals.bytes().all(|digit| digit.is_ascii_digit());
    if whole.len() != 1 || decimals.len() > 3 || !all_digits {
        return Err(wrong());
    }
    let thousandths = format!("{whole}{decimals:0<3}").parse::<u32>().map_err(|_| wrong())?;
    if thousandths <= garbage::WHOLE { Ok(thousandths) } else { Err(wrong()) }
}
