//! The laws of fair sharing, up to one task.
//!
//! They are laws of divisible tasks, and ours are not. Progressive filling keeps any two users within
//! one task of each other until somebody cannot go on (Ghodsi et al., theorem 7: "the difference
//! between the allocations of any two users in the continuous and in the discrete scenario is at most
//! one max-task"). From then on what is left goes to whoever has a task that fits, as Pareto
//! efficiency demands, and is nobody's due. So the laws are asserted of the outcome at that moment,
//! up to the largest task, and that nothing useful is left, of the outcome at the end.

use meshos_protocol::{
    ids::FrameworkId,
    resources::{Amount, Metadata, Resource, ResourceName, Resources},
};

use super::{
    Chance,
    fill::{Filled, User, fill},
};
use crate::{Options, Policy};

/// What one task needs of two resources, in units.
pub type Need = (i64, i64);

/// Users of a cluster, who all want as many tasks as they can get.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What one task of each user needs; every one something.
    pub needs: Vec<Need>,
    /// The weights of the users, in thousandths.
    pub weights_millis: Vec<u64>,
}

/// What there is of either resource, in units.
const CAPACITY: i64 = 600;
/// A unit of the first resource in thousandths, large enough that one is worth an offer.
const CPUS_PER_UNIT: i64 = 1_000;
/// A unit of the second resource in thousandths.
const MEM_PER_UNIT: i64 = 100_000;

/// Asserts the laws of fair sharing over `cases` random problems: of two resources, or of cpus
/// alone.
///
/// # Panics
///
/// When one does not hold; the message names the law and the problem.
pub fn check_fairness(policy: impl Fn() -> Box<dyn Policy>, dominant: bool, cases: u64) {
    for case in 0..cases {
        let mut chance = Chance::new(case);
        let users = 2 + chance.below(4);
        let mut number = |bound: usize| i64::try_from(1 + chance.below(bound)).unwrap_or(1);
        let needs = (0..users).map(|_| (number(12), if dominant { number(12) } else { 0 }));
        let needs: Vec<Need> = needs.collect();
        // More of both, less of both, or more of one and less of the other.
        let lie = (number(16), if dominant { number(16) } else { 0 });
        let weights_millis = (0..users).map(|_| *chance.one_of(&[1000, 1000, 500, 3000])).collect();
        let problem = Problem { needs, weights_millis };
        let agents: Vec<Need> = (0..1 + chance.below(4))
            .map(|_| (20 + chance.below(40), 20 + chance.below(40)))
            .map(|(a, b)| (i64::try_from(a).unwrap_or(20), i64::try_from(b).unwrap_or(20)))
            .collect();
        let liar = chance.below(users);
        let mut order: Vec<usize> = (0..users).collect();
        chance.shuffle(&mut order);
        let laws = Laws { policy: &policy, problem: &problem };
        let outcome = laws
            .nothing_useful_is_left(&agents, case)
            .and_then(|()| laws.sharing_incentive())
            .and_then(|()| laws.no_envy())
            .and_then(|()| laws.no_envy_while_all_go_on(&agents, case))
            .and_then(|()| laws.shares_stay_together(&agents, case))
            .and_then(|()| laws.strategy_proofness(liar, lie))
            .and_then(|()| laws.population_monotonicity())
            .and_then(|()| laws.order_independence(&order))
            .and_then(|()| laws.equal_shares_of_a_common_bottleneck());
        if let Err(broken) = outcome {
            panic!("case {case}: {broken}, {problem:?}");
        }
    }
}

/// The laws over one problem; each says what is wrong.
pub struct Laws<'a, P> {
    /// Makes the policy.
    pub policy: P,
    /// The problem.
    pub problem: &'a Problem,
}

impl<P> std::fmt::Debug for Laws<'_, P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Laws").field("problem", self.problem).finish_non_exhaustive()
    }
}

impl<P: Fn() -> Box<dyn Policy>> Laws<'_, P> {
    /// Pareto efficiency: nothing is left in the end that anybody could use, on any agent.
    ///
    /// # Errors
    ///
    /// When something is.
    pub fn nothing_useful_is_left(&self, agents: &[Need], seed: u64) -> Result<(), String> {
        let agents: Vec<_> = agents.iter().map(|agent| units(*agent)).collect();
        let users = users(&self.problem.needs, &self.problem.weights_millis);
        let filled = fill(self.options(), seed, &agents, &users);
        for state in filled.allocator.agents() {
            if let Some(user) = users.iter().find(|user| state.free.contains(&user.task)) {
                return Err(format!("{} is left, {} would fit", state.free, user.task));
            }
        }
        Ok(())
    }

    /// Everybody gets at least what its part of the cluster by weight would give, less one task.
    ///
    /// # Errors
    ///
    /// When somebody does not.
    pub fn sharing_incentive(&self) -> Result<(), String> {
        let Problem { needs, weights_millis } = self.problem;
        let all: i64 = weights_millis.iter().map(|weight| signed(*weight)).sum();
        for (user, tasks) in self.shares(needs).into_iter().enumerate() {
            let (need, weight) = (&needs[user], &weights_millis[user]);
            let part = CAPACITY * signed(*weight) / all;
            let alone = dominant(*need, fitting(*need, (part, part)));
            if dominant(*need, tasks) + self.one_task(needs, user) < alone {
                return Err(format!("{need:?} runs {tasks} tasks, alone it would hold {alone}"));
            }
        }
        Ok(())
    }

    /// Nobody could run more tasks with what another has, less one task of that, scaled by their
    /// weights.
    ///
    /// # Errors
    ///
    /// When somebody could.
    pub fn no_envy(&self) -> Result<(), String> {
        self.no_envy_of(&self.shares(&self.problem.needs))
    }

    /// The same over several agents, as long as everybody finds room for a task where it is offered.
    ///
    /// # Errors
    ///
    /// When somebody could.
    pub fn no_envy_while_all_go_on(&self, agents: &[Need], seed: u64) -> Result<(), String> {
        let Problem { needs, weights_millis } = self.problem;
        let agents: Vec<_> = agents.iter().map(|agent| units(*agent)).collect();
        let users = users(needs, weights_millis);
        let filled = fill(self.options(), seed, &agents, &users);
        let of = |user: &User| filled.tasks_at_first_refusal.get(&user.framework).copied();
        let tasks: Vec<i64> = users.iter().map(|user| signed(of(user).unwrap_or(0))).collect();
        self.no_envy_of(&tasks)
    }

    /// The dominant shares of any two users, over their weights, are within one task of each other as
    /// long as everybody finds room for a task where it is offered, on however many agents: theorem 7.
    ///
    /// # Errors
    ///
    /// When two are further apart.
    pub fn shares_stay_together(&self, agents: &[Need], seed: u64) -> Result<(), String> {
        let Problem { needs, weights_millis } = self.problem;
        let total = agents.iter().fold((0, 0), |sum, agent| (sum.0 + agent.0, sum.1 + agent.1));
        let agents: Vec<_> = agents.iter().map(|agent| units(*agent)).collect();
        let users = users(needs, weights_millis);
        let filled = fill(self.options(), seed, &agents, &users);
        // Shares of so many tasks in units of 1/(cpus * mem), over the weight in thousandths: exact.
        let share = |user: usize, tasks: i64| {
            let (cpus, mem) = needs[user];
            let largest = (cpus * total.1).max(mem * total.0);
            i128::from(largest) * i128::from(tasks) * 1_000_000 / i128::from(weights_millis[user])
        };
        let tasks: Vec<i64> = users
            .iter()
            .map(|user| filled.tasks_at_first_refusal.get(&user.framework).copied())
            .map(|tasks| signed(tasks.unwrap_or(0)))
            .collect();
        for (one, ones) in tasks.iter().enumerate() {
            for (other, others) in tasks.iter().enumerate() {
                let apart = share(one, *ones) - share(other, *others);
                // Rounded down, so one unit more.
                if apart > share(one, 1).max(share(other, 1)) + 1 {
                    return Err(format!("{one} and {other} are too far apart: {tasks:?}"));
                }
            }
        }
        Ok(())
    }

    fn no_envy_of(&self, tasks: &[i64]) -> Result<(), String> {
        let Problem { needs, weights_millis } = self.problem;
        for (mine, my_need) in needs.iter().enumerate() {
            for (theirs, their_need) in needs.iter().enumerate() {
                let less_one = (tasks[theirs] - 1).max(0);
                let (my_weight, their_weight) =
                    (signed(weights_millis[mine]), signed(weights_millis[theirs]));
                let scaled = |held: i64| held * my_weight / their_weight;
                let bundle = (scaled(their_need.0 * less_one), scaled(their_need.1 * less_one));
                if fitting(*my_need, bundle) > tasks[mine] {
                    return Err(format!("{my_need:?} envies {their_need:?}: {tasks:?}"));
                }
            }
        }
        Ok(())
    }

    /// Asking for something else than one needs, be it more or less of either resource, brings no more
    /// useful tasks, but for one task.
    ///
    /// # Errors
    ///
    /// When it does.
    pub fn strategy_proofness(&self, liar: usize, lie: Need) -> Result<(), String> {
        let needs = &self.problem.needs;
        let truth = needs[liar];
        let mut lying = needs.clone();
        lying[liar] = lie;
        let (honest, lied) = (self.shares(needs)[liar], self.shares(&lying)[liar]);
        let useful = fitting(truth, (lie.0 * lied, lie.1 * lied));
        let gained = dominant(truth, useful) - dominant(truth, honest);
        if gained > self.one_task(&lying, liar).max(self.one_task(needs, liar)) {
            return Err(format!("saying {lie:?} brings {useful} tasks instead of {honest}"));
        }
        Ok(())
    }

    /// Nobody loses when another leaves, but for one task.
    ///
    /// # Errors
    ///
    /// When somebody does.
    pub fn population_monotonicity(&self) -> Result<(), String> {
        let needs = &self.problem.needs;
        let (with, without) = (self.shares(needs), self.shares(&needs[..needs.len() - 1]));
        for (user, (with, without)) in with.into_iter().zip(without).enumerate() {
            let need = &needs[user];
            if dominant(*need, with) - dominant(*need, without) > self.one_task(needs, user) {
                return Err(format!("{need:?} runs {without} instead of {with} alone"));
            }
        }
        Ok(())
    }

    /// The order of ids moves no dominant share by more than one task: the users get other ids, in
    /// such an order. (That the order in which agents and frameworks come does not matter is a law of
    /// [`super::check`].)
    ///
    /// # Errors
    ///
    /// When it does.
    pub fn order_independence(&self, order: &[usize]) -> Result<(), String> {
        let Problem { needs, weights_millis } = self.problem;
        let straight = self.shares(needs);
        let turned: Vec<Need> = order.iter().map(|user| needs[*user]).collect();
        let weights = order.iter().map(|user| weights_millis[*user]).collect();
        let problem = Problem { needs: turned.clone(), weights_millis: weights };
        let found = Laws { policy: &self.policy, problem: &problem }.shares(&turned);
        for (user, other) in order.iter().copied().zip(found) {
            let (need, one) = (&needs[user], straight[user]);
            let moved = (dominant(*need, one) - dominant(*need, other)).abs();
            if moved > self.one_task(needs, user) {
                return Err(format!("{need:?} runs {one} or {other} tasks"));
            }
        }
        Ok(())
    }

    /// When all need most of the same resource, it is shared out by weight, up to one task.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn equal_shares_of_a_common_bottleneck(&self) -> Result<(), String> {
        let Problem { needs, weights_millis } = self.problem;
        let bottleneck: Vec<Need> = needs.iter().map(|(a, b)| (*a.max(b), *a.min(b))).collect();
        let all: i64 = weights_millis.iter().map(|weight| signed(*weight)).sum();
        let tasks = self.shares(&bottleneck);
        for (user, tasks) in tasks.into_iter().enumerate() {
            let (need, weight) = (&bottleneck[user], &weights_millis[user]);
            let due = CAPACITY * signed(*weight) / all;
            if (dominant(*need, tasks) - due).abs() > self.one_task(&bottleneck, user) {
                return Err(format!("{need:?} holds {} of {due}", dominant(*need, tasks)));
            }
        }
        Ok(())
    }

    /// What the largest task of anybody is worth to a user: weights scale shares, so what one task
    /// moves the share of a light user by is more to a heavy one.
    fn one_task(&self, needs: &[Need], user: usize) -> i64 {
        let weights = &self.problem.weights_millis;
        let mine = signed(weights[user]);
        let worth = |(need, weight): (&Need, &u64)| {
            (dominant(*need, 1) * mine + signed(*weight) - 1) / signed(*weight)
        };
        needs.iter().zip(weights).map(worth).max().unwrap_or(0)
    }

    /// How many tasks each runs when for the first time somebody cannot go on.
    fn shares(&self, needs: &[Need]) -> Vec<i64> {
        let users = users(needs, &self.problem.weights_millis);
        let Filled { tasks_at_first_refusal: tasks, .. } =
            fill(self.options(), 3, &[units((CAPACITY, CAPACITY))], &users);
        let of = |user: &User| tasks.get(&user.framework).copied().unwrap_or(0);
        users.iter().map(|user| signed(of(user))).collect()
    }

    fn options(&self) -> Options {
        // Offers as a whole: a user who is offered less than a task could not go on.
        Options { policy: (self.policy)(), split: None, ..Options::default() }
    }
}

/// Users with a role each, so that they have weights.
fn users(needs: &[Need], weights_millis: &[u64]) -> Vec<User> {
    let user = |(number, (need, weight_millis)): (u64, (&Need, &u64))| User {
        framework: FrameworkId(number),
        role: format!("user-{number}").parse().expect("a role"),
        task: units(*need),
        wanted: u64::MAX,
        weight_millis: *weight_millis,
    };
    (1..).zip(needs.iter().zip(weights_millis)).map(user).collect()
}

fn units((cpus, mem): Need) -> Resources {
    [(ResourceName::Cpus, cpus * CPUS_PER_UNIT), (ResourceName::Mem, mem * MEM_PER_UNIT)]
        .map(|(name, millis)| {
            Resource::new(name, Metadata::UNRESERVED, Amount::from_millis(millis))
                .expect("amounts of cpus and mem")
        })
        .into_iter()
        .collect()
}

/// The dominant share of so many tasks, in units of the cluster's capacity.
fn dominant(need: Need, tasks: i64) -> i64 {
    need.0.max(need.1) * tasks
}

/// How many tasks fit into what is there.
fn fitting(need: Need, (a, b): Need) -> i64 {
    let times = |have: i64, need: i64| if need == 0 { i64::MAX } else { have / need };
    times(a, need.0).min(times(b, need.1))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
