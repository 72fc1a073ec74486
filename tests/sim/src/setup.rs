//! What a run starts from.

use std::{ops::RangeInclusive, time::Duration};

use meshos_alloc::OfferMode;
use meshos_control::master::MasterConfig;
use meshos_protocol::resources::Resources;

use crate::{dice::Dice, operators::ROLES, places::Place};

/// A cluster and its frameworks.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What each node has; the first `voters` are voters.
    pub nodes: Vec<Resources>,
    /// How many voters there are.
    pub voters: usize,
    /// Where each of them stands; those that are not named say nothing of it.
    pub places: Vec<Place>,
    /// Whether some voters run an older release at first.
    pub upgraded_while_running: bool,
    /// The frameworks.
    pub frameworks: Vec<FrameworkSetup>,
    /// How the master behaves.
    pub master: MasterConfig,
    /// How long a leader goes on without a majority.
    pub lease_ms: u64,
    /// Without traffic for this long, a stream is closed.
    pub idle_ms: u64,
}

/// A framework and what it wants.
#[derive(Debug, Clone)]
pub struct FrameworkSetup {
    /// How many tasks it wants to run, one after the other or together.
    pub tasks: u64,
    /// What each of them takes at most, in thousandths of a cpu.
    pub task_cpus_max_millis: u64,
    /// Its role.
    pub role: String,
    /// How long its tasks live without it.
    pub failover_timeout_ms: u64,
    /// How long a task runs when nobody ends it, in milliseconds.
    pub task_ms: RangeInclusive<u64>,
    /// Whether it does odd things: kills tasks, uses offers twice, asks for too much.
    pub restless: bool,
    /// Whether it says now and then what offers it wants.
    pub choosy: bool,
    /// Whether it goes to other regions than the leader's.
    pub region_aware: bool,
    /// Whether it runs tasks in executors of its own.
    pub executors: bool,
    /// Whether it reserves and makes volumes; in role `*` there is nothing to reserve.
    pub reserves: bool,
    /// Whether some of its tasks have checks, while things go wrong.
    pub checked: bool,
}

impl Default for FrameworkSetup {
    fn default() -> Self {
        Self {
            tasks: 0,
            task_cpus_max_millis: 1_000,
            role: "*".to_owned(),
            failover_timeout_ms: 60_000,
            task_ms: 1..=5_000,
            restless: false,
            choosy: false,
            region_aware: false,
            executors: false,
            reserves: false,
            checked: false,
        }
    }
}

/// `count` nodes with so many cpus and MB of memory each.
pub fn machines(count: usize, cpus: u64, mem_mb: u64) -> Vec<Resources> {
    let text = format!("cpus:{cpus};mem:{mem_mb};disk:2000;ports:[31000-31009]");
    vec![text.parse().expect("a resource text"); count]
}

/// The product's settings with times short enough that everything comes to pass in a run.
pub fn impatient() -> MasterConfig {
    MasterConfig {
        offer_timeout: Duration::from_secs(6),
        agent_timeout: Duration::from_secs(8),
        agent_timeout_dead: Duration::from_secs(4),
        reconnect_grace: Duration::from_secs(4),
        refuse_default: Duration::from_secs(1),
        ..MasterConfig::default()
    }
}

/// Tasks that go on until somebody ends them.
pub const ENDLESS: RangeInclusive<u64> = 100_000_000..=100_000_000;

impl Setup {
    /// A quiet cluster of the given nodes without frameworks.
    pub fn of(nodes: Vec<Resources>) -> Self {
        let voters = if nodes.len() < 3 { 1 } else { 3 };
        Self {
            nodes,
            voters,
            places: Vec::new(),
            upgraded_while_running: false,
            frameworks: Vec::new(),
            master: impatient(),
            lease_ms: 500,
            idle_ms: 1_500,
        }
    }

    /// A random cluster with random frameworks.
    pub fn random(dice: &mut Dice) -> Self {
        let mut nodes = machines(dice.index(6) + 3, 4, 4096);
        nodes.extend(machines(dice.index(3), 16, 65_536));
        let five = nodes.len() >= 5 && dice.chance(300);
        let mut setup = Self { voters: if five { 5 } else { 3 }, ..Self::of(nodes) };
        if dice.chance(250) {
            setup.master.offers = OfferMode::Optimistic;
        }
        setup.frameworks = (0..dice.number(1..=4))
            .map(|_| FrameworkSetup {
                tasks: dice.number(20..=400),
                task_cpus_max_millis: dice.number(200..=3_000),
                role: (*dice.pick(&ROLES).expect("there are roles")).to_owned(),
                failover_timeout_ms: *dice.pick(&[0, 5_000, 600_000]).expect("there are timeouts"),
                task_ms: 1..=dice.number(500..=15_000),
                restless: dice.chance(600),
                choosy: dice.chance(500),
                region_aware: false,
                executors: false,
                reserves: false,
                checked: false,
            })
            .collect();
        // Drawn last, so that what is drawn before stays as it was.
        for framework in &mut setup.frameworks {
            framework.reserves = framework.role != "*" && dice.chance(500);
        }
        setup.places = Place::draw(dice, setup.nodes.len());
        for framework in &mut setup.frameworks {
            framework.region_aware = dice.chance(400);
        }
        setup.upgraded_while_running = dice.chance(300);
        for framework in &mut setup.frameworks {
            framework.executors = dice.chance(400);
        }
        for framework in &mut setup.frameworks {
            framework.checked = dice.chance(400);
        }
        setup
    }
}
