//! The laws for all policies.

use std::collections::BTreeSet;

use super::{
    Chance,
    cluster::Cluster,
    history::{AgentStep, FrameworkStep, Step, history, in_one_role},
};
use crate::{Grant, OfferMode, Options, Policy, policy::Drf};

/// The most agents in a history.
const AGENTS_MAX: usize = 200;

/// Asserts the laws that every policy must keep, see [the module](super), over `cases` random
/// histories.
///
/// # Panics
///
/// When one does not hold; the message names the case.
pub fn check(policy: impl Fn() -> Box<dyn Policy>, cases: u64) {
    name_is_well_formed(policy().name());
    for case in 0..cases {
        let mut chance = Chance::new(case);
        // Mostly few agents, on which everybody meets everybody.
        let agents =
            if chance.once_in(8) { 1 + chance.below(AGENTS_MAX) } else { 1 + chance.below(8) };
        let mut steps = history(&mut chance, agents, 60);
        // With one role there are no levels, and runs have short cuts.
        if chance.once_in(4) {
            in_one_role(&mut steps);
        }
        let offers = if chance.once_in(4) { OfferMode::Optimistic } else { OfferMode::Exclusive };
        let play = |from_scratch| play(&policy, offers, case, &steps, from_scratch);
        let grants = play(false);
        same(case, "the same history gives other offers", &grants, &play(false));
        same(case, "a run over everything offers other things", &grants, &play(true));
        order_of_arrival_does_not_matter(&policy, offers, &mut chance, case, &steps);
        another_policy_can_take_over(&policy, offers, &mut chance, case, &steps);
    }
}

/// Asserts that the same was granted; names the first difference.
fn same(case: u64, law: &str, one: &[Grant], other: &[Grant]) {
    let place = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    assert_eq!(one.get(place), other.get(place), "case {case}, grant {place}: {law}");
}

fn name_is_well_formed(name: &str) {
    let fine =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    assert!(!name.is_empty() && name.chars().all(fine), "`{name}` is not lower-case words");
}

fn play(
    policy: impl Fn() -> Box<dyn Policy>,
    offers: OfferMode,
    seed: u64,
    steps: &[Step],
    from_scratch: bool,
) -> Vec<Grant> {
    // Nor does it matter whether the few who have not refused are looked for.
    let few_left_from = if from_scratch { usize::MAX } else { 1 };
    let options = Options { policy: policy(), offers, few_left_from, ..Options::default() };
    let mut cluster = Cluster::with(options, seed);
    cluster.from_scratch = from_scratch;
    for step in steps {
        cluster.step(step);
    }
    cluster.granted
}

/// Whoever comes first, and whatever is then said of roles, wished and asked for: the first run offers
/// the same.
fn order_of_arrival_does_not_matter(
    policy: impl Fn() -> Box<dyn Policy>,
    offers: OfferMode,
    chance: &mut Chance,
    case: u64,
    steps: &[Step],
) {
    let mut seen = BTreeSet::new();
    let mut once = |step: &&Step| match step {
        Step::Agent(AgentStep::Add { number, .. }) => seen.insert((true, *number)),
        Step::Framework(framework, FrameworkStep::Subscribe { .. }) => {
            seen.insert((false, *framework))
        }
        Step::Agent(_)
        | Step::Framework(..)
        | Step::Role(..)
        | Step::Ledger(_)
        | Step::Wait { .. }
        | Step::Run => false,
    };
    let arrivals: Vec<&Step> = steps.iter().filter(&mut once).collect();
    let is_said = |step: &&Step| {
        let wish = |step: &FrameworkStep| {
            matches!(step, FrameworkStep::Wish(..) | FrameworkStep::Ask { .. })
        };
        matches!(step, Step::Role(..)) || matches!(step, Step::Framework(_, step) if wish(step))
    };
    let said: Vec<&Step> = steps.iter().filter(is_said).collect();
    let first_run = |arrivals: &[&Step]| {
        let mut cluster = Cluster::new(policy(), offers, case);
        arrivals.iter().chain(&said).for_each(|step| cluster.step(step));
        cluster.run_once();
        cluster.granted
    };
    let mut shuffled = arrivals.clone();
    chance.shuffle(&mut shuffled);
    same(case, "the order of arrival matters", &first_run(&arrivals), &first_run(&shuffled));
}

/// A policy comes into force and goes again in the middle of everything.
fn another_policy_can_take_over(
    policy: impl Fn() -> Box<dyn Policy>,
    offers: OfferMode,
    chance: &mut Chance,
    case: u64,
    steps: &[Step],
) {
    let mut cluster = Cluster::new(Box::new(Drf), offers, case);
    let (comes, goes) = (chance.below(steps.len()), chance.below(steps.len()));
    for (index, step) in steps.iter().enumerate() {
        if index == comes.min(goes) {
            cluster.switch(policy());
        }
        if index == comes.max(goes) {
            cluster.switch(Box::new(Drf));
        }
        cluster.step(step);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use meshos_protocol::resources::{Resource, ResourceName};

    use super::*;
    use crate::policy::{FairDecay, MaxMin, Priority, Random};

    /// Those that come with the allocator.
    fn shipped(number: u64) -> Box<dyn Policy> {
        match number % 5 {
            0 => Box::new(Drf),
            1 => Box::new(MaxMin { resource: ResourceName::Cpus }),
            2 => Box::new(Priority),
            3 => Box::new(FairDecay::new(Duration::from_secs(2))),
            _ => Box::new(Random::default()),
        }
    }

    fn lived(seed: u64, optimistic: bool, steps: &[Step]) -> Cluster {
        let offers = if optimistic { OfferMode::Optimistic } else { OfferMode::Exclusive };
        let mut cluster = Cluster::new(shipped(seed), offers, seed);
        steps.iter().for_each(|step| cluster.step(step));
        cluster.step(&Step::Run);
        cluster
    }

    /// Guards the suite: histories must reach operations, both those that succeed and those that are
    /// refused, and all that the laws speak of.
    #[test]
    fn histories_reach_what_the_laws_speak_of() {
        let (mut done, mut refused, mut reclaimed) = (0, 0, 0);
        let (mut revocable, mut shared, mut gangs) = (0, 0, 0);
        for case in 0..32 {
            let mut chance = Chance::new(case);
            let steps = history(&mut chance, 4, 120);
            let cluster = lived(case, case.is_multiple_of(4), &steps);
            done += cluster.operations.0;
            refused += cluster.operations.1;
            reclaimed += cluster.taken_back_for_guarantees;
            let with = |wanted: fn(&Resource) -> bool| {
                cluster.granted.iter().filter(|grant| grant.resources.iter().any(wanted)).count()
            };
            revocable += with(|part| part.metadata().revocable);
            shared += with(|part| part.metadata().shared);
            gangs += cluster.granted.iter().filter(|grant| grant.gang.is_some()).count();
        }
        assert!(done > 40 && refused > 10, "{done} were carried out and {refused} refused");
        assert!(reclaimed > 20, "{reclaimed} offers came back for those who were guaranteed them");
        assert!(revocable > 20 && shared > 20, "{revocable} revocable and {shared} shared offers");
        assert!(gangs > 2, "{gangs} offers of gangs");
    }
}
