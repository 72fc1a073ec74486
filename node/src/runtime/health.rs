//! How this machine fares, told to the other nodes by gossip.
//!
//! Coarse and seldom: every change costs a message on every node.

use std::{fs, sync::Arc, time::Duration};

use meshos_membership::{
    gossip,
    raft::{RaftGroup, VoterRole},
    view::{Health, NodeFacts},
};
use meshos_protocol::{ids::NodeId, resources::Amount};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::driver::agent;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// After so long without a leader it is logged: an election takes a second.
const LEADERLESS_TOLD: Duration = Duration::from_secs(10);
/// A change of pressure below this is not told, in thousandths.
const PRESSURE_STEP: u32 = 20;
/// A change of the load below this is not told, in thousandths; of high loads, below a tenth.
const LOAD_STEP: u32 = 200;

/// Looks at the machine and says what it sees.
pub(super) struct HealthWatch {
    pub node: NodeId,
    pub gossip: gossip::Handle,
    pub raft: Arc<RaftGroup>,
    pub agent: agent::Handle,
    /// What this node says of itself; read by its own API, which gossip does not tell.
    pub facts: watch::Sender<NodeFacts>,
    /// Since when no leader has had this node's registration; read by its own API.
    pub leaderless: watch::Sender<Option<Instant>>,
}

/// What the kernel says, as texts; empty where it says nothing.
#[derive(Debug, Default)]
struct Said {
    load: String,
    memory: String,
    disk: String,
}

impl HealthWatch {
    /// Runs until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = false;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = looks.tick() => {
                    let registered = self.agent.view().registered;
                    self.note_leader(registered);
                    told = self.log_leaderless(told);
                    self.look();
                }
            }
        }
    }

    fn note_leader(&self, registered: bool) {
        self.leaderless.send_if_modified(|since| {
            let before = *since;
            *since = if registered { None } else { before.or_else(|| Some(Instant::now())) };
            *since != before
        });
    }

    /// Logs once that there is no leader, and once that there is one again. Returns whether the former
    /// is what was logged last.
    fn log_leaderless(&self, told: bool) -> bool {
        let leaderless = self.leaderless.borrow().map(|since| since.elapsed());
        match leaderless {
            Some(since) if !told && since >= LEADERLESS_TOLD => {
                tracing::warn!(
                    seconds = since.as_secs(),
                    "no leader has this node's registration; /health says what is waited for"
                );
                true
            }
            None if told => {
                tracing::info!("a leader has this node's registration again");
                false
            }
            _ => told,
        }
    }

    fn look(&self) {
        let mut facts = self.facts.borrow().clone();
        let draining = self.agent.view().draining;
        facts.health = health(&facts.health, &Said::of_kernel(), draining);
        let votes = self
            .raft
            .voters()
            .iter()
            .any(|it| it.voter.node_id == self.node && it.role == VoterRole::Voter);
        roles(votes).clone_into(&mut facts.roles);
        if *self.facts.borrow() == facts {
            return;
        }
        if let Err(error) = self.gossip.set(facts.clone()) {
            // Health and roles are short; what was too long was refused at the start.
            tracing::warn!(%error, "this node's health is not told");
        }
        self.facts.send_replace(facts);
    }
}

impl Said {
    /// A few hundred bytes that the kernel keeps at hand.
    fn of_kernel() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            load: read("/proc/loadavg"),
            memory: read("/proc/pressure/memory"),
            disk: read("/proc/pressure/io"),
        }
    }
}

const fn roles(votes: bool) -> &'static str {
    if votes { "agent,voter" } else { "agent" }
}

/// The new health: numbers that have hardly changed stay as they were told.
fn health(told: &Health, said: &Said, draining: bool) -> Health {
    let load = load_thousandths(&said.load).unwrap_or(0);
    let pressure = |text: &str, told: u16| {
        let now = settled(told.into(), pressure_thousandths(text).unwrap_or(0), PRESSURE_STEP);
        u16::try_from(now).unwrap_or(u16::MAX)
    };
    Health {
        load_thousandths: settled(told.load_thousandths, load, LOAD_STEP.max(load / 10)),
        memory_pressure_thousandths: pressure(&said.memory, told.memory_pressure_thousandths),
        disk_pressure_thousandths: pressure(&said.disk, told.disk_pressure_thousandths),
        draining,
    }
}

fn settled(told: u32, now: u32, step: u32) -> u32 {
    if told.abs_diff(now) < step { told } else { now }
}

/// The load average of one minute, the first number of `/proc/loadavg`.
fn load_thousandths(text: &str) -> Option<u32> {
    let load: Amount = text.split_whitespace().next()?.parse().ok()?;
    u32::try_from(load.millis()).ok()
}

/// The share of the last ten seconds in which some task waited: `some avg10=1.23 ...`, in percent.
fn pressure_thousandths(text: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let percent = line.split_whitespace().find_map(|field| field.strip_prefix("avg10="))?;
    let percent: Amount = percent.parse().ok()?;
    u32::try_from(percent.millis() / 100).ok().filter(|share| *share <= 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(load: &str, memory: &str, disk: &str) -> Said {
        let pressure = |avg10: &str| {
            format!("some avg10={avg10} avg60=0.00 avg300=0.00 total=1\nfull avg10=9.99 total=1\n")
        };
        Said {
            load: format!("{load} 0.58 0.59 1/467 12345\n"),
            memory: pressure(memory),
            disk: pressure(disk),
        }
    }

    #[test]
    fn the_kernels_words_are_read() {
        let now = health(&Health::default(), &said("3.25", "12.30", "100.00"), true);
        let expected = Health {
            load_thousandths: 3_250,
            memory_pressure_thousandths: 123,
            disk_pressure_thousandths: 1_000,
            draining: true,
        };
        assert_eq!(now, expected);
    }

    #[test]
    fn what_has_hardly_changed_is_not_told_again() {
        let told = health(&Health::default(), &said("3.25", "12.30", "40.00"), false);
        assert_eq!(health(&told, &said("3.40", "13.00", "41.50"), false), told);
        let later = health(&told, &said("0.10", "15.00", "0.00"), false);
        assert_eq!(later.load_thousandths, 100);
        assert_eq!(later.memory_pressure_thousandths, 150);
        assert_eq!(later.disk_pressure_thousandths, 0);
        // Of a high load a tenth is little.
        let high = health(&told, &said("80.00", "0", "0"), false);
        assert_eq!(health(&high, &said("84.00", "0", "0"), false).load_thousandths, 80_000);
    }

    #[test]
    fn a_kernel_that_says_nothing_has_no_pressure() {
        assert_eq!(health(&Health::default(), &Said::default(), false), Health::default());
        for text in ["some avg10=x", "some avg10=-1", "some avg10=1000", "full avg10=1.00"] {
            assert_eq!(pressure_thousandths(text), None, "{text}");
        }
        assert_eq!(load_thousandths("-1"), None);
    }

    #[test]
    fn this_machine_has_a_load() {
        assert!(load_thousandths(&Said::of_kernel().load).is_some());
    }
}
