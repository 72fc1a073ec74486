//! Where all parts of what is wanted together find a place, if they do.
//!
//! Filling agents greedily finds one nearly always, and quickly. Where it does not, a search tries all other ways, up to
//! a number of steps: this is bin packing, and to know for certain can take longer than any leader has.

use std::collections::BTreeSet;

use meshos_protocol::{
    ids::AgentId,
    resources::{Amount, Resources, ScalarQuantities},
    role::Role,
};

use super::{Demand, Request};
use crate::Share;

/// What each agent that is needed would give: its place among the agents, and of what it has how much.
pub(crate) type Layout = Vec<(usize, Resources)>;

/// How many steps of about a microsecond searches may still take: all of one run share them.
#[derive(Debug)]
pub(crate) struct Budget(u32);

impl Budget {
    /// What one search may spend of it.
    const SEARCH: u32 = 10_000;

    pub(crate) fn of_a_run() -> Self {
        Self(50_000)
    }

    fn spend(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }

    /// Has a part of it spent.
    fn with_part<T>(&mut self, spend: impl FnOnce(&mut Self) -> T) -> T {
        let mut part = Self(self.0.min(Self::SEARCH));
        self.0 -= part.0;
        let result = spend(&mut part);
        self.0 += part.0;
        result
    }
}

impl Demand {
    /// Lays out all requests over agents, each of which has so much for the role. Nothing when they do not all fit,
    /// or when no way was found within the budget.
    pub(crate) fn lay_out(
        &self,
        available: &[(AgentId, Resources)],
        role: &Role,
        budget: &mut Budget,
    ) -> Option<Layout> {
        let total: Resources = available.iter().map(|(_, resources)| resources).sum();
        let size = |resources: &Resources| largest_part(resources, &total);
        let mut requests: Vec<&Request> =
            self.requests.iter().filter(|request| request.left > 0).collect();
        requests.sort_by_key(|request| (request.agent.is_some(), size(&request.wanted)));
        requests.reverse();
        let mut places: Vec<usize> = (0..available.len()).collect();
        places.sort_by_cached_key(|place| size(&available[*place].1));
        let problem = Problem { requests, places, available, role };
        let left = problem.greedy().or_else(|| {
            budget.with_part(|part| {
                let problem = problem.without_useless_places(part)?;
                Search::new(&problem).run(part)
            })
        })?;
        let taken = available.iter().zip(&left).enumerate();
        let taken = taken.map(|(place, ((_, before), left))| (place, before.saturating_sub(left)));
        Some(taken.filter(|(_, taken)| !taken.is_empty()).collect())
    }
}

/// What is to be laid out where.
struct Problem<'a> {
    /// Those first that name an agent, then the largest.
    requests: Vec<&'a Request>,
    /// Which of the available agents are used, those first that have the least.
    places: Vec<usize>,
    available: &'a [(AgentId, Resources)],
    role: &'a Role,
}

impl Problem<'_> {
    /// Each request in turn on the agents that have the least of those where it fits. Says what is left of all agents.
    fn greedy(&self) -> Option<Vec<Resources>> {
        let mut rest = self.untouched();
        for request in &self.requests {
            let mut left = request.left;
            for place in self.places_for(request) {
                if left == 0 {
                    break;
                }
                left -= rest[place].take(&request.wanted, left, self.role);
            }
            if left > 0 {
                return None;
            }
        }
        Some(rest)
    }

    fn untouched(&self) -> Vec<Resources> {
        self.available.iter().map(|(_, resources)| resources.clone()).collect()
    }

    fn may_be_on(&self, request: &Request, place: usize) -> bool {
        request.agent.is_none_or(|named| named == self.available[place].0)
    }

    fn places_for<'a>(&'a self, request: &'a Request) -> impl Iterator<Item = usize> + 'a {
        self.places.iter().copied().filter(|place| self.may_be_on(request, *place))
    }

    /// The same on those agents alone that something fits on. Nothing when one request alone does not fit often enough:
    /// most gangs that do not fit lack that, and need no search.
    fn without_useless_places(&self, budget: &mut Budget) -> Option<Self> {
        let mut useful = BTreeSet::new();
        for request in &self.requests {
            let mut left = request.left;
            for place in self.places_for(request) {
                if left == 0 && useful.contains(&place) {
                    continue;
                }
                budget.spend()?;
                let count =
                    self.available[place].1.clone().take(&request.wanted, left.max(1), self.role);
                if count > 0 {
                    useful.insert(place);
                }
                left = left.saturating_sub(count);
            }
            if left > 0 {
                return None;
            }
        }
        let places = self.places.iter().copied().filter(|place| useful.contains(place)).collect();
        Some(Self { requests: self.requests.clone(), places, ..*self })
    }
}

/// How many of one request are put on one agent.
struct Choice {
    count: u32,
    /// What the agent has left then.
    rest: Resources,
}

/// Goes through the agents, and on each through the requests, and puts there as many as fit; where that leads to nothing,
/// one less, and so on.
///
/// Two kinds of ways need no look, because each leads to nothing that another does not. An agent is always full: of
/// what is still to be placed nothing fits on it, or it could be moved there from an agent further on. And an agent that
/// has what the one before has holds no more, in the order of the requests, or the two could change places.
struct Search<'a> {
    problem: &'a Problem<'a>,
    /// What the agents from each on have together.
    rests: Vec<ScalarQuantities>,
    /// How many of each request are still to be placed.
    left: Vec<u32>,
    /// For each agent in turn, and there for each request.
    choices: Vec<Choice>,
}

impl<'a> Search<'a> {
    fn new(problem: &'a Problem<'a>) -> Self {
        let mut rests = vec![ScalarQuantities::new(); problem.places.len()];
        let mut sum = ScalarQuantities::new();
        for (rest, place) in rests.iter_mut().zip(&problem.places).rev() {
            sum += &problem.available[*place].1.quantities();
            rest.clone_from(&sum);
        }
        let left = problem.requests.iter().map(|request| request.left).collect();
        Self { problem, rests, left, choices: Vec::new() }
    }

    /// What is left of all agents then, if there is a way to place everything.
    fn run(mut self, budget: &mut Budget) -> Option<Vec<Resources>> {
        let mut most = u32::MAX;
        while self.left.iter().any(|left| *left > 0) {
            budget.spend()?;
            most = if self.forward(most) { u32::MAX } else { self.back()? };
        }
        let mut rest = self.problem.untouched();
        for (at, choice) in self.choices.into_iter().enumerate() {
            rest[self.problem.places[at / self.problem.requests.len()]] = choice.rest;
        }
        Some(rest)
    }

    /// Decides how many of the next request are put on the agent whose turn it is, at most so many. Returns whether
    /// there may be a way from there on.
    fn forward(&mut self, most: u32) -> bool {
        let width = self.problem.requests.len();
        let (agent, index) = (self.choices.len() / width, self.choices.len() % width);
        let Some(&place) = self.problem.places.get(agent) else { return false };
        if index == 0 && !self.may_suffice(agent) {
            return false;
        }
        let request = self.problem.requests[index];
        let mut rest = match self.choices.last() {
            Some(last) if index > 0 => last.rest.clone(),
            _ => self.problem.available[place].1.clone(),
        };
        let mut count = 0;
        if self.problem.may_be_on(request, place) {
            let most = most.min(self.left[index]).min(self.as_before(agent, index));
            count = rest.take(&request.wanted, most, self.problem.role);
            if request.agent.is_some() && count < self.left[index] {
                return false;
            }
        }
        self.left[index] -= count;
        if index + 1 == width && !self.is_full(place, &rest) {
            self.left[index] += count;
            return false;
        }
        self.choices.push(Choice { count, rest });
        true
    }

    /// Undoes choices up to one of which there can be less. Returns how many at most.
    fn back(&mut self) -> Option<u32> {
        loop {
            let last = self.choices.pop()?;
            self.left[self.choices.len() % self.problem.requests.len()] += last.count;
            if let Some(less) = last.count.checked_sub(1) {
                return Some(less);
            }
        }
    }

    /// Whether the agents from one on have enough of everything, in whatever pieces.
    fn may_suffice(&self, agent: usize) -> bool {
        let mut wanted = ScalarQuantities::new();
        for (request, left) in self.problem.requests.iter().zip(&self.left) {
            let quantities = request.wanted.quantities();
            let all = quantities
                .iter()
                .map(|(name, amount)| (name.clone(), amount.saturating_mul(i64::from(*left))));
            wanted += &all.collect();
        }
        wanted.iter().all(|(name, amount)| self.rests[agent].get(name) >= amount)
    }

    /// Whether nothing of what is still to be placed fits on an agent that has so much left.
    fn is_full(&self, place: usize, rest: &Resources) -> bool {
        let (problem, mut requests) = (self.problem, self.problem.requests.iter().zip(&self.left));
        !requests.any(|(request, left)| {
            *left > 0
                && problem.may_be_on(request, place)
                && rest.find(&request.wanted, problem.role).is_some()
        })
    }

    /// How many of a request an agent may hold that is like the one before.
    fn as_before(&self, agent: usize, index: usize) -> u32 {
        let Problem { requests, places, available, .. } = self.problem;
        let Some(before) = agent.checked_sub(1) else { return u32::MAX };
        let width = requests.len();
        let counts = |agent: usize| {
            self.choices[agent * width..].iter().take(index).map(|choice| choice.count)
        };
        let [one, other] = [before, agent].map(|agent| &available[places[agent]]);
        let is_named = |id: AgentId| requests.iter().any(|request| request.agent == Some(id));
        let alike = one.1 == other.1 && !is_named(one.0) && !is_named(other.0);
        if alike && counts(before).eq(counts(agent)) {
            self.choices[before * width + index].count
        } else {
            u32::MAX
        }
    }
}

/// How large resources are: the largest of their shares of a total.
fn largest_part(resources: &Resources, total: &Resources) -> Share {
    let part = |amount: Amount| u128::try_from(amount.millis()).unwrap_or(0);
    let quantities = resources.quantities();
    let parts = quantities
        .iter()
        .map(|(name, amount)| Share::new(part(amount), part(total.amount_of(name))));
    parts.max().unwrap_or(Share::ZERO)
}

#[cfg(test)]
mod tests;
