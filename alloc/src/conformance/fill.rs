//! Users who fill a cluster task by task: progressive filling, as the papers on fair sharing do it.

use std::collections::BTreeMap;

use meshos_protocol::{
    attributes::Attributes, framework::Capabilities, ids::FrameworkId, resources::Resources,
    role::Role, time::Mono,
};

use super::cluster::agent_id;
use crate::{Allocator, Grant, Options};

/// A user who runs tasks that are all alike.
#[derive(Debug, Clone)]
pub struct User {
    /// Its framework.
    pub framework: FrameworkId,
    /// The role of that.
    pub role: Role,
    /// What one task needs.
    pub task: Resources,
    /// How many tasks it wants to run.
    pub wanted: u64,
    /// The weight of its role, in thousandths.
    pub weight_millis: u64,
}

/// How a cluster was filled.
#[derive(Debug)]
pub struct Filled {
    /// Whose task was started, one after the other.
    pub order: Vec<FrameworkId>,
    /// How many tasks each runs in the end.
    pub tasks: BTreeMap<FrameworkId, u64>,
    /// How many each ran when for the first time somebody could not run another one that it wanted.
    pub tasks_at_first_refusal: BTreeMap<FrameworkId, u64>,
    /// The allocator at the end.
    pub allocator: Allocator,
}

impl Filled {
    /// How many tasks a user runs.
    pub fn tasks_of(&self, user: &User) -> u64 {
        self.tasks.get(&user.framework).copied().unwrap_or(0)
    }
}

/// Fills agents one task at a time, always by the first offer of a run, until nobody wants or can
/// run more.
pub fn fill(options: Options, seed: u64, agents: &[Resources], users: &[User]) -> Filled {
    let mut allocator = Allocator::new(options, seed);
    for (number, total) in (1..).zip(agents) {
        allocator.add_agent(agent_id(number), total.clone(), Attributes::default(), &[]);
    }
    for user in users {
        allocator.set_weight(&user.role, user.weight_millis);
        let roles = [user.role.clone()].into();
        let capabilities = Capabilities::default();
        allocator.add_framework(user.framework, &roles, &[].into(), capabilities);
    }
    let mut filled = Filled {
        order: Vec::new(),
        tasks: BTreeMap::new(),
        tasks_at_first_refusal: BTreeMap::new(),
        allocator,
    };
    let mut grants = Vec::new();
    let mut refused = false;
    loop {
        filled.allocator.allocate(Mono(0), &mut grants);
        if grants.is_empty() {
            filled.allocator.check_invariants();
            if !refused {
                filled.tasks_at_first_refusal = filled.tasks.clone();
            }
            return filled;
        }
        for (index, grant) in grants.drain(..).enumerate() {
            answer(&mut filled, users, index == 0, &grant, &mut refused);
        }
    }
}

/// Starts a task, or refuses for ever; the offers after the first of a run are given back.
fn answer(filled: &mut Filled, users: &[User], first: bool, grant: &Grant, refused: &mut bool) {
    let Some(user) = users.iter().find(|user| user.framework == grant.framework) else { return };
    let Grant { framework, role, agent, resources, .. } = grant;
    let running = filled.tasks.entry(user.framework).or_default();
    if !first {
        let nothing = Resources::new();
        filled.allocator.accept(*agent, *framework, role, resources, &nothing, None);
    } else if *running < user.wanted && resources.contains(&user.task) {
        filled.allocator.accept(*agent, *framework, role, resources, &user.task, None);
        *running += 1;
        filled.order.push(user.framework);
    } else {
        let wants = *running < user.wanted;
        if wants && !std::mem::replace(refused, true) {
            filled.tasks_at_first_refusal = filled.tasks.clone();
        }
        let never = Some(Mono(u64::MAX));
        filled.allocator.recover_offered(*agent, *framework, role, resources, never);
    }
}
