//! The laws of fair sharing over random clusters.
//!
//! They are laws of divisible tasks, and ours are not. While everybody can go on, a dominant share
//! is within one task of the divisible one. At the end, when a resource runs out, what is left of it
//! goes to whoever has a task that fits: at most about one task of each. So laws about one outcome
//! hold up to one task, and laws that compare two outcomes up to one task of each user in either,
//! which is little in a cluster that is large against its tasks.

use std::collections::BTreeMap;

use meshos_protocol::resources::Resources;
use proptest::prelude::*;

use super::support::{Outcome, User, cpus_mem, fill};

type Demand = (i64, i64);

const CAPACITY: (i64, i64) = (1200, 1200);

fn units((a, b): Demand) -> Resources {
    cpus_mem(a * 1_000, b * 100_000)
}

fn users(demands: &[Demand]) -> Vec<User> {
    (1..)
        .zip(demands)
        .map(|(framework, demand)| User {
            framework,
            role: "*".parse().unwrap(),
            task: units(*demand),
            wanted: u64::MAX,
            weight_millis: 1000,
        })
        .collect()
}

fn demands() -> impl Strategy<Value = Vec<Demand>> {
    prop::collection::vec((1i64..12, 1i64..12), 2..6)
}

/// The dominant share of so many tasks, in units of the cluster's capacity.
fn dominant(demand: Demand, tasks: u64) -> i64 {
    let tasks = i64::try_from(tasks).unwrap();
    demand.0.max(demand.1) * tasks
}

fn largest(demands: &[Demand]) -> i64 {
    demands.iter().map(|demand| dominant(*demand, 1)).max().unwrap()
}

/// How far apart the sizes of tasks may bring two outcomes that would be the same without them.
fn rounding(demands: &[Demand]) -> i64 {
    2 * demands.iter().map(|demand| dominant(*demand, 1)).sum::<i64>()
}

fn tasks(outcomes: &BTreeMap<u64, Outcome>, count: usize) -> Vec<u64> {
    let of = |user: u64| outcomes.get(&user).map_or(0, |outcome| outcome.tasks);
    (1..).take(count).map(of).collect()
}

fn fill_one(demands: &[Demand]) -> Vec<u64> {
    let (_, outcomes, _) = fill(3, &[units(CAPACITY)], &users(demands));
    tasks(&outcomes, demands.len())
}

/// How many tasks of a demand fit into what others have.
fn fitting(demand: Demand, (a, b): Demand) -> i64 {
    (a / demand.0).min(b / demand.1)
}

proptest! {
    /// Nothing is left that anybody could use, on any agent.
    #[test]
    fn pareto(
        demands in demands(),
        agents in prop::collection::vec((1i64..60, 1i64..60), 1..6),
        seed: u64,
    ) {
        let agents: Vec<_> = agents.into_iter().map(units).collect();
        let users = users(&demands);
        let (_, _, cluster) = fill(seed, &agents, &users);
        for state in cluster.allocator.agents() {
            for user in &users {
                prop_assert!(!state.free.contains(&user.task), "{} left on {}", state.free, state.agent);
            }
        }
    }

    /// Everybody gets at least what an equal part of the cluster would give, less one task.
    #[test]
    fn sharing_incentive(demands in demands()) {
        let parts = i64::try_from(demands.len()).unwrap();
        for (demand, tasks) in demands.iter().zip(fill_one(&demands)) {
            let alone = fitting(*demand, (CAPACITY.0 / parts, CAPACITY.1 / parts));
            let alone = dominant(*demand, u64::try_from(alone).unwrap());
            prop_assert!(dominant(*demand, tasks) + largest(&demands) >= alone, "{tasks} of {demand:?}");
        }
    }

    /// Nobody could run more tasks with what another has, less one task.
    #[test]
    fn no_envy(demands in demands()) {
        let tasks = fill_one(&demands);
        for (mine, my_tasks) in demands.iter().zip(&tasks) {
            for (theirs, their_tasks) in demands.iter().zip(&tasks) {
                let less_one = i64::try_from(their_tasks.saturating_sub(1)).unwrap();
                let bundle = (theirs.0 * less_one, theirs.1 * less_one);
                let my_tasks = i64::try_from(*my_tasks).unwrap();
                prop_assert!(fitting(*mine, bundle) <= my_tasks + 1, "{mine:?} envies {theirs:?}");
            }
        }
    }

    /// Asking for more than one needs brings no more useful tasks, but for what the sizes of tasks
    /// make of it.
    #[test]
    fn strategy_proofness(demands in demands(), excess in (0i64..8, 0i64..8)) {
        let truth = demands[0];
        let honest = fill_one(&demands)[0];
        let lie = (truth.0 + excess.0, truth.1 + excess.1);
        let mut lying = demands.clone();
        lying[0] = lie;
        let useful = fill_one(&lying)[0];
        let useful = fitting(truth, (lie.0 * i64::try_from(useful).unwrap(), lie.1 * i64::try_from(useful).unwrap()));
        let gained = dominant(truth, u64::try_from(useful).unwrap()) - dominant(truth, honest);
        prop_assert!(gained <= rounding(&lying), "{useful} instead of {honest}");
    }

    /// Nobody loses when another leaves, but for what the sizes of tasks make of it.
    #[test]
    fn population_monotonicity(demands in demands()) {
        let with = fill_one(&demands);
        let without = fill_one(&demands[..demands.len() - 1]);
        for ((demand, with), without) in demands.iter().zip(with).zip(without) {
            let lost = dominant(*demand, with) - dominant(*demand, without);
            prop_assert!(lost <= rounding(&demands), "{with} became {without}");
        }
    }

    /// Those who ask for the same get the same, up to one task, whatever their ids.
    #[test]
    fn equals_are_served_equally(demands in demands(), copies in 2usize..4) {
        let repeated: Vec<_> = (0..copies).flat_map(|_| demands.iter().copied()).collect();
        let tasks = fill_one(&repeated);
        for (index, first) in tasks.iter().take(demands.len()).enumerate() {
            for copy in 1..copies {
                let other = tasks[index + copy * demands.len()];
                prop_assert!(first.abs_diff(other) <= 1, "{first} and {other}: {tasks:?}");
            }
        }
    }

    /// The order of ids moves no dominant share further than the sizes of tasks do.
    #[test]
    fn order_independence(demands in demands(), turn in 1usize..5) {
        let straight = fill_one(&demands);
        let mut turned = demands.clone();
        turned.rotate_left(turn % demands.len());
        let mut back = fill_one(&turned);
        back.rotate_right(turn % demands.len());
        for ((demand, one), other) in demands.iter().zip(straight).zip(back) {
            let moved = (dominant(*demand, one) - dominant(*demand, other)).abs();
            prop_assert!(moved <= rounding(&demands), "{one} became {other}");
        }
    }
}
