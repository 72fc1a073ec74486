//! One run: a phase in which everything goes wrong, then one in which everything must come right.

use std::collections::BTreeSet;

use meshos_protocol::messages::scheduler::Call;

use crate::{
    dice::Dice,
    driver::Act,
    invariants,
    setup::Setup,
    world::{Happening, World},
};

/// How long things go wrong, in simulated milliseconds.
const SAFETY_MS: u64 = 45_000;
/// Within which simulated time everything must come right.
const LIVENESS_MS: u64 = 180_000;

/// More tasks than can run in the time.
const HUNGER: u64 = 1_000_000;
/// How long frameworks are hungry before their shares are compared.
const HUNGER_MS: u64 = 6_000;

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The hash of everything that happened.
    pub hash: u64,
    /// How much happened.
    pub steps: u64,
    /// How many tasks started.
    pub tasks_started: usize,
    /// How many terms there were.
    pub terms: u64,
    /// How many frames were said twice.
    pub echoes: u64,
}

/// Runs a random cluster under random faults; the seed decides everything.
///
/// # Panics
/// When an invariant is broken.
pub fn seed(seed: u64, verbose: bool) -> Summary {
    // Dice of its own, so that a change of the setup's draws does not shift those of the run.
    let setup = Setup::random(&mut Dice::new(!seed));
    let mut world = World::new(setup, seed, verbose);
    world.run_ms(2_000);
    world.faults = true;
    world.plan(0, Happening::Fault);
    world.run_ms(SAFETY_MS);
    rest(&mut world);
    empty(&mut world);
    hunger(&mut world);
    settle(&mut world);
    end_frameworks(&mut world);
    for node in 0..world.nodes.len() {
        world.depose(node);
    }
    Summary {
        hash: world.trace.hash(),
        steps: world.trace.steps(),
        tasks_started: world.oracle.starts(),
        echoes: world.oracle.echoes,
        terms: world.raft.term().0,
    }
}

/// Ends all faults, has every framework leave its offers unanswered, and demands that what is free
/// is offered to those who want it, under the policy, quota and wishes that are in force.
///
/// # Panics
/// When that does not come to pass in time.
pub fn rest(world: &mut World) {
    calm(world);
    world.resting = true;
    // What is reserved would be offered to some alone.
    world.reserving = false;
    await_all(world, World::still_reserved);
    for driver in &mut world.drivers {
        driver.demand = driver.demand.max(3);
    }
    await_all(world, invariants::not_yet_offered);
    world.resting = false;
    for index in 0..world.drivers.len() {
        world.drivers[index].thinking = true;
        world.plan_act(index, 0, Act::Think);
    }
}

/// Ends all faults but changes of leader, has every framework want more than there is, drains a node
/// meanwhile, and demands that nothing is left of it.
///
/// # Panics
/// When that does not come to pass in time.
pub fn empty(world: &mut World) {
    calm(world);
    for driver in &mut world.drivers {
        driver.demand = HUNGER;
    }
    world.run_ms(HUNGER_MS / 2);
    let until = world.now_ms + LIVENESS_MS;
    while world.emptied.is_none() && world.now_ms < until {
        world.choose_to_empty();
        world.run_ms(250);
    }
    if let (true, Some(emptied)) = (world.dice.chance(700), world.emptied) {
        world.disturb_a_drain(emptied.agent.node);
    }
    await_all(world, invariants::not_yet_emptied);
    world.emptied = None;
    for driver in &mut world.drivers {
        driver.demand = 0;
    }
}

/// Ends all faults, has every framework want more than there is, and demands that they share.
///
/// # Panics
/// When that does not come to pass in time.
pub fn hunger(world: &mut World) {
    calm(world);
    for driver in &mut world.drivers {
        driver.demand = HUNGER;
    }
    world.choose_windows();
    world.run_ms(HUNGER_MS);
    demand(world, invariants::not_yet_fair);
    for driver in &mut world.drivers {
        driver.demand = 0;
    }
}

/// Ends all faults and demands that every framework gets what it wants.
///
/// # Panics
/// When that does not come to pass in time.
pub fn settle(world: &mut World) {
    calm(world);
    for driver in &mut world.drivers {
        driver.offers_seen = 0;
        driver.demand += 3;
    }
    world.windows = Some(BTreeSet::new());
    demand(world, invariants::not_yet_settled);
}

fn calm(world: &mut World) {
    world.note(format_args!("the calm begins"));
    world.faults = false;
    world.net.heal();
    world.end_upgrade();
    for node in 0..world.nodes.len() {
        world.nodes[node].disk_factor = 1;
        world.launcher_starts(node);
        world.start_node(node);
    }
}

/// Ends all frameworks and demands that nothing is left of them.
///
/// # Panics
/// When that does not come to pass in time.
pub fn end_frameworks(world: &mut World) {
    world.note(format_args!("the frameworks end"));
    for index in 0..world.drivers.len() {
        world.drivers[index].torn_down = true;
        world.call(index, Call::Teardown, None);
    }
    demand(world, invariants::not_yet_quiet);
}

/// Demands something, with the settings that operators leave alone.
fn demand(world: &mut World, not_yet: fn(&World) -> Option<String>) {
    await_all(world, |world| {
        let settings = world.raft.registry();
        if settings.quotas().len() + settings.priorities().len() > 0 {
            return Some("quota and priorities are not cleared".to_owned());
        }
        not_yet(world)
    });
}

fn await_all(world: &mut World, not_yet: impl Fn(&World) -> Option<String>) {
    let until = world.now_ms + LIVENESS_MS;
    while let Some(why) = not_yet(world) {
        assert!(world.now_ms < until, "after {LIVENESS_MS} ms of calm: {why}");
        world.reactivate_all();
        world.insist_on_drain();
        world.insist_on_windows();
        if !world.reserving {
            world.unreserve_all();
        }
        if !world.resting {
            world.clear_settings();
        }
        world.run_ms(250);
    }
}
