//! The storm: what is killed when, and started again.

mod frameworks;
mod keep;

use std::{
    collections::BTreeMap,
    sync::mpsc::{RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use meshos_tests::{Cluster, ClusterOptions, Journal, say, sweep};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};
use rand_core::RngCore as _;

use crate::{account::Account, work::executors_journal};
use frameworks::FrameworkProcess;

const SEEDS: usize = 3;
const OTHERS: usize = 2;
const FRAMEWORKS: usize = 4;
/// How long everything may take to come to rest after the storm.
const REST: Duration = Duration::from_mins(4);

/// What may be killed, with how often it is of a hundred times.
const KILLS: [(u64, Kill); 6] = [
    (30, Kill::Node),
    (20, Kill::Leader),
    (10, Kill::Machine),
    (5, Kill::Launcher),
    (20, Kill::Framework),
    (15, Kill::Executor),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kill {
    Node,
    Leader,
    /// Node, launcher and tasks at once.
    Machine,
    Launcher,
    Framework,
    Executor,
}

/// What is down, and from when on it may start again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Down {
    Node(usize),
    Framework(usize),
}

struct Storm {
    cluster: Cluster,
    frameworks: Vec<FrameworkProcess>,
    journal: Journal,
    random: ChaCha8Rng,
    down: BTreeMap<Down, Instant>,
    kills: BTreeMap<Kill, usize>,
}

/// Kills for `length`, waits until all is at rest, and accounts for every task.
pub(crate) fn run(length: Duration, seed: u64) -> Result<()> {
    say(format_args!(
        "a storm of {} s over {} nodes and {FRAMEWORKS} frameworks, seed {seed}",
        length.as_secs(),
        SEEDS + OTHERS
    ));
    let cluster = Cluster::start_with(ClusterOptions {
        seeds: SEEDS,
        others: OTHERS,
        limit: length + REST * 2,
        ..ClusterOptions::default()
    });
    let journal = Journal::new();
    std::fs::create_dir(executors_journal(journal.path()))?;
    let mut frameworks = Vec::new();
    for number in 0..FRAMEWORKS {
        frameworks.push(FrameworkProcess::prepare(&cluster, &journal, number)?);
    }
    let random = ChaCha8Rng::seed_from_u64(seed);
    let (down, kills) = (BTreeMap::new(), BTreeMap::new());
    let mut storm = Storm { cluster, frameworks, journal, random, down, kills };
    storm.frameworks.iter_mut().for_each(|framework| framework.start(seed));
    let done =
        storm.rage(length).and_then(|()| storm.come_to_rest()).and_then(|()| storm.account());
    if done.is_err() {
        let kept = keep::logs(storm.cluster.path())?;
        say(format_args!("logs and books are kept in {}", kept.display()));
    }
    done
}

/// Lets time pass.
fn pass(time: Duration) {
    let (held, never) = channel::<()>();
    assert_eq!(never.recv_timeout(time), Err(RecvTimeoutError::Timeout));
    drop(held);
}

impl Storm {
    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.random.next_u64() % (most - least + 1)
    }

    fn rage(&mut self, length: Duration) -> Result<()> {
        let until = Instant::now() + length;
        let mut told = Instant::now();
        while Instant::now() < until {
            let ms = self.between(200, 1_500);
            pass(Duration::from_millis(ms));
            self.start_again(Instant::now())?;
            self.demand_that_the_others_live()?;
            self.kill_something();
            if told.elapsed() >= Duration::from_secs(20) {
                told = Instant::now();
                let left = until.saturating_duration_since(told).as_secs();
                say(format_args!("{left} s to go; kills so far: {:?}", self.kills));
            }
        }
        Ok(())
    }

    /// Starts what has been down for long enough.
    fn start_again(&mut self, now: Instant) -> Result<()> {
        let due: Vec<Down> =
            self.down.iter().filter(|(_, at)| **at <= now).map(|(what, _)| *what).collect();
        for what in due {
            self.down.remove(&what);
            let seed = self.random.next_u64();
            match what {
                Down::Node(node) => self.cluster.nodes[node].start(),
                Down::Framework(number) => self.frameworks[number].start(seed),
            }
        }
        Ok(())
    }

    /// Nothing may end by itself.
    fn demand_that_the_others_live(&mut self) -> Result<()> {
        for node in 0..SEEDS + OTHERS {
            let is_down = self.down.contains_key(&Down::Node(node));
            ensure!(
                is_down || self.cluster.nodes[node].is_running(),
                "node {node} ended by itself"
            );
        }
        for (number, framework) in self.frameworks.iter_mut().enumerate() {
            let is_down = self.down.contains_key(&Down::Framework(number));
            if !is_down && !framework.is_running() {
                framework.demand_success()?;
                bail!("framework {number} ended by itself");
            }
        }
        Ok(())
    }

    fn kill_something(&mut self) {
        let mut draw = self.between(0, 99);
        for (weight, kill) in KILLS {
            if draw < weight {
                if self.kill(kill).is_some() {
                    *self.kills.entry(kill).or_default() += 1;
                }
                return;
            }
            draw -= weight;
        }
    }

    /// Kills one of these, if one may be killed now.
    fn kill(&mut self, kill: Kill) -> Option<()> {
        match kill {
            Kill::Node => {
                let node = self.node()?;
                self.lose_node(node, false)
            }
            Kill::Machine => {
                let node = self.node()?;
                self.lose_node(node, true)
            }
            Kill::Leader => {
                let up = (0..SEEDS).find(|node| !self.down.contains_key(&Down::Node(*node)))?;
                let leader = self.cluster.leader_told_by(up)?.index;
                self.lose_node(leader, false)
            }
            Kill::Launcher => {
                let node = self.node()?;
                self.cluster.nodes[node].launcher()?.kill();
                Some(())
            }
            Kill::Framework => {
                let number = usize::try_from(self.between(0, FRAMEWORKS as u64 - 1)).ok()?;
                if self.down.contains_key(&Down::Framework(number)) {
                    return None;
                }
                self.frameworks[number].kill();
                let ms = self.between(50, 3_000);
                let at = Instant::now() + Duration::from_millis(ms);
                self.down.insert(Down::Framework(number), at);
                Some(())
            }
            Kill::Executor => {
                let alive = self.living_executors();
                let which = self.between(0, alive.len().checked_sub(1)? as u64);
                meshos_tests::kill_process(alive[usize::try_from(which).ok()?]);
                Some(())
            }
        }
    }

    /// A node that is up.
    fn node(&mut self) -> Option<usize> {
        let node = usize::try_from(self.between(0, (SEEDS + OTHERS) as u64 - 1)).ok()?;
        (!self.down.contains_key(&Down::Node(node))).then_some(node)
    }

    /// Kills a node, and with its machine all that runs there; but never most voters at once.
    fn lose_node(&mut self, node: usize, machine: bool) -> Option<()> {
        let down = |nodes: std::ops::Range<usize>| {
            nodes.filter(|node| self.down.contains_key(&Down::Node(*node))).count()
        };
        if down(0..SEEDS + OTHERS) >= 2 || node < SEEDS && down(0..SEEDS) >= 1 {
            return None;
        }
        self.cluster.nodes[node].kill();
        if machine {
            sweep(self.cluster.nodes[node].data_dir());
        }
        let ms = self.between(200, 6_000);
        self.down.insert(Down::Node(node), Instant::now() + Duration::from_millis(ms));
        Some(())
    }

    /// Everything is started again; frameworks launch nothing more and end when their tasks are over.
    fn come_to_rest(&mut self) -> Result<()> {
        say(format_args!("the storm is over; kills: {:?}", self.kills));
        let far = Instant::now() + Duration::from_secs(3_600);
        self.start_again(far)?;
        let leader = self.cluster.wait_until_ready();
        say(format_args!("all nodes follow the leader of term {}", leader.term));
        self.frameworks.iter().try_for_each(FrameworkProcess::tell_to_stop)?;
        let until = Instant::now() + REST;
        while self.frameworks.iter_mut().any(FrameworkProcess::is_running) {
            if Instant::now() > until {
                let open: Vec<String> =
                    self.frameworks.iter().flat_map(FrameworkProcess::open_tasks).collect();
                bail!("after {} s these are not over: {}", REST.as_secs(), open.join("\n"));
            }
            pass(Duration::from_millis(50));
        }
        self.frameworks.iter_mut().try_for_each(FrameworkProcess::demand_success)?;
        // With their frameworks all executors end.
        while let Some(pid) = self.living_executors().first() {
            if Instant::now() > until {
                bail!("executor process {pid} still runs, {} s after the storm", REST.as_secs());
            }
            pass(Duration::from_millis(50));
        }
        Ok(())
    }

    fn living_executors(&self) -> Vec<u32> {
        let births = Journal::births_in(&executors_journal(self.journal.path()));
        let alive = births.into_values().flatten().filter(|birth| birth.is_alive());
        alive.map(|birth| birth.pid).collect()
    }

    fn account(&self) -> Result<()> {
        let births = self.journal.births();
        let mut account = Account::default();
        for framework in &self.frameworks {
            account.add(&framework.book()?, &births);
        }
        account.demand_that_all_are_known(&births);
        say(format_args!("{account}; {} starts", births.values().map(Vec::len).sum::<usize>()));
        ensure!(account.tasks > 0, "no task was launched");
        ensure!(
            account.wrong.is_empty(),
            "{} faults:\n{}",
            account.wrong.len(),
            account.wrong.join("\n")
        );
        Ok(())
    }
}
