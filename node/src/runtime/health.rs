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

use crate::{
    cluster::Leader,
    driver::{agent, master},
};

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(5);
/// After so long without a leader, or without gossip, a node is ill: an election takes a second.
const MISSED_FOR_MAX: Duration = Duration::from_secs(10);
/// A change of pressure below this is not told, in thousandths.
const PRESSURE_STEP: u32 = 20;
/// A change of the load below this is not told, in thousandths; of high loads, below a tenth.
const LOAD_STEP: u32 = 200;

/// What a node lacks, and since when; read by its own API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// No leader has its registration.
    pub leader: Option<Instant>,
    /// Gossip hears no other node, though others are there.
    pub gossip: Option<Instant>,
}

/// Looks at the machine and says what it sees.
pub(super) struct HealthWatch {
    pub node: NodeId,
    pub gossip: gossip::Handle,
    pub raft: Arc<RaftGroup>,
    pub agent: agent::Handle,
    /// What this node says of itself; read by its own API, which gossip does not tell.
    pub facts: watch::Sender<NodeFacts>,
    pub leader: watch::Receiver<Option<Leader>>,
    pub master: master::Handle,
    pub missing: watch::Sender<Missing>,
    /// `host:port` of the node's gossip, for people.
    pub gossip_address: String,
}

/// What was logged last.
#[derive(Debug, Default)]
struct Told {
    leaderless: bool,
    deaf: bool,
}

/// Why gossip may hear nobody, and what to do.
pub(crate) fn deaf_for(address: &str) -> String {
    format!(
        "gossip hears no other node, though others are there: let UDP through to {address}, see that it is the address \
         under which others reach this node (--advertise), and that its gossip.key is that of the cluster; until then \
         nobody is told when this node dies"
    )
}

/// What is to be logged of what a node may lack.
enum News {
    MissedFor(Duration),
    Back,
}

/// What is to be logged of what is missing since then, and was or was not told to be.
fn news(told: &mut bool, since: Option<Instant>) -> Option<News> {
    match (missed_for(since), *told) {
        (Some(missed), false) => {
            *told = true;
            Some(News::MissedFor(missed))
        }
        (None, true) if since.is_none() => {
            *told = false;
            Some(News::Back)
        }
        (None | Some(_), _) => None,
    }
}

/// How long something has been missing, when that makes a node ill.
pub(crate) fn missed_for(since: Option<Instant>) -> Option<Duration> {
    since.map(|since| since.elapsed()).filter(|since| *since >= MISSED_FOR_MAX)
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
        let mut told = Told::default();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = looks.tick() => {
                    self.note_missing();
                    self.log_leaderless(&mut told);
                    self.log_deaf(&mut told);
                    self.look();
                }
            }
        }
    }

    fn note_missing(&self) {
        let (leader, deaf) = (!self.agent.view().registered, self.is_deaf());
        let since = |before: Option<Instant>| Some(before.unwrap_or_else(Instant::now));
        self.missing.send_modify(|missing| {
            missing.leader = if leader { since(missing.leader) } else { None };
            match deaf {
                Some(true) => missing.gossip = since(missing.gossip),
                Some(false) => missing.gossip = None,
                // Neither is known; what was found before stands.
                None => {}
            }
        });
    }

    /// Whether gossip hears nobody, though others are there: a leader elsewhere, or agents of others
    /// where this node leads. Unknown when it hears nobody and nothing tells of others either.
    fn is_deaf(&self) -> Option<bool> {
        if self.gossip.view().alive().next().is_some() {
            return Some(false);
        }
        let others = match self.leader.borrow().as_ref() {
            Some(leader) if leader.node == self.node => self.master.view().is_some_and(|view| {
                view.agents.iter().any(|agent| agent.connected && agent.id != self.node)
            }),
            Some(_) => self.agent.view().registered,
            None => false,
        };
        others.then_some(true)
    }

    /// Logs once that there is no leader, and once that there is one again.
    fn log_leaderless(&self, told: &mut Told) {
        match news(&mut told.leaderless, self.missing.borrow().leader) {
            Some(News::MissedFor(since)) => tracing::warn!(
                seconds = since.as_secs(),
                "no leader has this node's registration; /health says what is waited for"
            ),
            Some(News::Back) => tracing::info!("a leader has this node's registration again"),
            None => {}
        }
    }

    /// The same of gossip.
    fn log_deaf(&self, told: &mut Told) {
        match news(&mut told.deaf, self.missing.borrow().gossip) {
            Some(News::MissedFor(since)) => {
                tracing::warn!(seconds = since.as_secs(), "{}", deaf_for(&self.gossip_address));
            }
            Some(News::Back) => tracing::info!("gossip hears other nodes again"),
            None => {}
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
