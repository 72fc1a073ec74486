//! The leader is killed again and again while 200 tasks are launched, run and finish.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use meshos_sdk::protocol::task::{Reason, TaskState};
use meshos_tests::{
    Cluster, Framework, FrameworkOptions, Journal, Leader, Note, PATIENCE, poll_until, say,
    since_logged, wait_until,
};

use crate::common::{
    assert_alive, assert_started_at_most_once, assert_updates_in_order, gated, ids,
    wait_for_births, wait_for_every_update,
};

const TASKS: usize = 200;
const BATCHES: usize = 20;
const ROUNDS: u64 = 20;
const ROUNDS_MAX: u64 = 60;

/// Numbers that a seed decides (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}

/// When the leader dies.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// Right after the accept of this batch of tasks was sent, by so many microseconds.
    Launch { batch: usize, after_us: u64 },
    /// While all run.
    Run,
    /// When so many have finished.
    Finish { finished: usize },
}

impl Moment {
    fn of(dice: &mut Dice, round: u64) -> Self {
        let small = |value: u64| usize::try_from(value).unwrap_or(0);
        match round % 4 {
            // Launches are where most can go wrong.
            0 | 2 => Self::Launch {
                batch: small(dice.below(BATCHES as u64)),
                after_us: dice.below(4_000),
            },
            1 => Self::Run,
            _ => Self::Finish { finished: small(dice.below(TASKS as u64 * 3 / 4)) },
        }
    }
}

/// What one round has shown.
struct Round {
    moment: Moment,
    first_offer: Duration,
    /// From the moment that the new leader says that it leads.
    first_offer_after_election_ms: f64,
    dropped: usize,
}

/// Waits for a moment that is too short to be polled for.
fn pass(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn finished(framework: &Framework) -> usize {
    framework.states().values().filter(|state| **state == TaskState::Finished).count()
}

/// Submits all tasks in batches, each as soon as the one before was taken; gives up its processor to the kill in between.
fn submit(
    framework: &Framework,
    journal: &Journal,
    tasks: &[String],
    mut after: impl FnMut(usize),
) {
    for (batch, tasks) in tasks.chunks(TASKS / BATCHES).enumerate() {
        framework.submit(gated(journal, tasks, "gate", 0));
        // Two batches may wait, so that an accept is on its way when the next is made.
        wait_until("offers come for the tasks", || framework.waiting() <= TASKS / BATCHES);
        after(batch);
    }
}

fn kill_the_leader(cluster: &mut Cluster, leader: &Leader) -> Instant {
    cluster.nodes[leader.index].kill();
    Instant::now()
}

fn round(cluster: &mut Cluster, seed: u64) -> Round {
    let mut dice = Dice(seed);
    let moment = Moment::of(&mut dice, seed);
    let leader = cluster.wait_until_ready();
    // Connected through a node that does not lead, and will not be killed.
    let gateways: Vec<usize> = (0..3).filter(|index| *index != leader.index).collect();
    let mut journal = Journal::new();
    let name = format!("round-{seed}");
    let framework = Framework::start(cluster, FrameworkOptions::new(&name, &gateways));
    let tasks = ids(&format!("r{seed}"), TASKS);
    let mut killed = None;
    submit(&framework, &journal, &tasks, |now| match moment {
        Moment::Launch { batch, after_us } if batch == now => {
            pass(Duration::from_micros(after_us));
            killed = Some(kill_the_leader(cluster, &leader));
        }
        Moment::Launch { .. } | Moment::Run | Moment::Finish { .. } => {}
    });
    if killed.is_none() {
        framework.wait_for_all("all tasks run", &tasks, |state| state == TaskState::Running);
        wait_for_births(&journal, &tasks);
        if let Moment::Finish { finished: wanted } = moment {
            journal.open_gate("gate");
            poll_until(PATIENCE, "some tasks have finished", || {
                (finished(&framework) >= wanted).then_some(())
            });
        }
        killed = Some(kill_the_leader(cluster, &leader));
    }
    let killed = killed.expect("the leader was killed");
    let offered = first_offer_after(&framework, killed, leader.term);
    let next = cluster.leader_after(leader.term);
    let elected = says_that_it_leads(cluster, &next);
    if matches!(moment, Moment::Run) {
        assert_alive(&journal, &tasks);
    }
    cluster.nodes[leader.index].start();
    let dropped = settle(&framework, &mut journal, &tasks);
    framework.driver().stop(false);
    Round {
        moment,
        first_offer: offered - killed,
        first_offer_after_election_ms: since_logged(&elected, offered) * 1_000.0,
        dropped,
    }
}

/// When a leader of a higher term made its first offer.
fn first_offer_after(framework: &Framework, killed: Instant, term: u64) -> Instant {
    framework.wait_for("the new leader makes an offer", |notes| {
        let later = || notes.iter().filter(|(at, _)| *at > killed);
        let elected = later().find(
            |(_, note)| matches!(note, Note::Reregistered(registered) if registered.term.0 > term),
        );
        let (elected, _) = elected?;
        let offered = later().find(|(at, note)| at >= elected && matches!(note, Note::Offers(_)));
        offered.map(|(at, _)| *at)
    })
}

/// The line of the leader's log in which it says that it leads.
fn says_that_it_leads(cluster: &Cluster, leader: &Leader) -> String {
    let (log, term) = (cluster.nodes[leader.index].log(), format!("term={}", leader.term));
    let says_so = |line: &&str| line.contains("this node leads") && line.ends_with(&term);
    log.lines().rev().find(says_so).expect("a leader says so").to_owned()
}

/// Lets all tasks end and holds what they say of themselves against what the framework was told. Gives the number of
/// tasks that were never started.
fn settle(framework: &Framework, journal: &mut Journal, tasks: &[String]) -> usize {
    // Each is running or was dropped before the gate opens, so that none is passed by.
    framework.wait_for_all("each task was started or dropped", tasks, |state| {
        matches!(state, TaskState::Running | TaskState::Dropped | TaskState::Finished)
    });
    journal.open_gate("gate");
    framework.wait_for_all("each task has ended", tasks, TaskState::is_terminal);
    assert_started_at_most_once(journal);
    let births = journal.births();
    let started: Vec<String> = births.keys().cloned().collect();
    wait_for_every_update(framework, &started);
    assert_updates_in_order(framework);
    let (mut finished, mut dropped) = (BTreeSet::new(), BTreeSet::new());
    for written in framework.written() {
        match written.state {
            TaskState::Finished => {
                assert!(written.update.is_some(), "an agent tells the end: {written:?}");
                finished.insert(written.task);
            }
            TaskState::Dropped => {
                dropped.insert(written.task);
            }
            other => assert!(!other.is_terminal(), "nothing may harm a task: {written:?}"),
        }
    }
    for task in tasks {
        let started = births.contains_key(task);
        assert_eq!(finished.contains(task), started, "{task}: finished if and only if started");
        assert_eq!(dropped.contains(task), !started, "{task}: dropped if and only if not started");
        assert_eq!(framework.launched().get(task), Some(&1), "{task} was launched once");
        if !started {
            let reason = framework.updates_of(task).pop().and_then(|update| update.reason);
            let expected =
                [Reason::LeaderChanged, Reason::InvalidOffers, Reason::LaunchInterrupted];
            assert!(reason.is_some_and(|reason| expected.contains(&reason)), "{task}: {reason:?}");
        }
    }
    dropped.len()
}

#[test]
fn two_hundred_tasks_do_not_notice_that_their_leader_is_killed() {
    let mut cluster = Cluster::start(3);
    let mut in_flight = 0;
    let mut seed = 0;
    // When no accept was met on its way, it is tried on.
    while seed < ROUNDS || (in_flight == 0 && seed < ROUNDS_MAX) {
        let start = Instant::now();
        let round = round(&mut cluster, seed);
        say(format_args!(
            "seed {seed}: {:?}: first offer {:?} after the kill, {:.1} ms after the election; \
             {} tasks dropped; {:?} in all",
            round.moment,
            round.first_offer,
            round.first_offer_after_election_ms,
            round.dropped,
            start.elapsed()
        ));
        in_flight += usize::from(round.dropped > 0);
        seed += 1;
    }
    assert!(in_flight > 0, "no kill met an accept on its way: the moments miss what they are for");
}
