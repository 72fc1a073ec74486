//! What a framework has said it wants, kept by those who must say it to the next leader.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    ids::AgentId,
    resources::Resources,
    role::Role,
    time::millis,
    wishes::{REQUESTS_MAX, ResourceRequest},
};

/// What a framework wants in one role: that, and no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatedDemand {
    /// What; nothing: it wants nothing more.
    #[serde(default)]
    pub requests: Vec<ResourceRequest>,
    /// Present: all of it at once or nothing, for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub together_within_ms: Option<u64>,
}

impl StatedDemand {
    /// All of it at once or nothing, for so long.
    #[must_use]
    pub fn together(requests: Vec<ResourceRequest>, within: Duration) -> Self {
        Self { requests, together_within_ms: Some(millis(within)) }
    }
}

impl From<Vec<ResourceRequest>> for StatedDemand {
    fn from(requests: Vec<ResourceRequest>) -> Self {
        Self { requests, together_within_ms: None }
    }
}

/// What a framework has said it wants, by role, less what it has launched since. In a role that is not
/// here it wants whatever there is.
///
/// A leader keeps this in its allocator, which the next leader does not have: so the driver and the
/// gateway keep it too, and say it when they resume the subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Demands(BTreeMap<Role, StatedDemand>);

impl Demands {
    /// The framework says what it wants in a role, in place of what it said before; without requests it
    /// wants whatever there is. More requests than a leader takes are ignored, as it ignores them.
    pub fn say(
        &mut self,
        role: &Role,
        requests: &[ResourceRequest],
        together_within_ms: Option<u64>,
    ) {
        if requests.is_empty() {
            self.0.remove(role);
        } else if requests.len() <= REQUESTS_MAX {
            let requests = requests.to_vec();
            self.0.insert(role.clone(), StatedDemand { requests, together_within_ms });
        }
    }

    /// It launched tasks that use this of an agent: so much less is wanted, first of what was wanted
    /// of that very agent. Should a task be dropped, its framework says what it wants once more.
    pub fn launched(&mut self, role: &Role, agent: AgentId, used: &Resources) {
        let Some(demand) = self.0.get_mut(role) else { return };
        let mut rest = used.as_request();
        for of in [Some(agent), None] {
            for request in demand.requests.iter_mut().filter(|request| request.agent == of) {
                let wanted = request.resources.as_request();
                request.count -= rest.take(&wanted, request.count, &Role::default());
            }
        }
        demand.requests.retain(|request| request.count > 0);
    }

    /// What was wanted together was not to be had in time: nothing is wanted any more.
    pub fn unfulfilled(&mut self, role: &Role) {
        if let Some(demand) = self.0.get_mut(role) {
            demand.requests.clear();
        }
    }

    /// The framework is in these roles only: what it wanted in others is forgotten.
    pub fn keep_roles(&mut self, roles: &BTreeSet<Role>) {
        self.0.retain(|role, _| roles.contains(role));
    }

    /// What is wanted in a role; nothing when it is whatever there is.
    #[must_use]
    pub fn get(&self, role: &Role) -> Option<&StatedDemand> {
        self.0.get(role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;

    fn agent(number: u64) -> AgentId {
        AgentId::new(NodeId::from_bits(number), 1)
    }

    fn request(of: Option<u64>, text: &str, count: u32) -> ResourceRequest {
        ResourceRequest { agent: of.map(agent), resources: text.parse().unwrap(), count }
    }

    fn left(demands: &Demands) -> Vec<(Option<AgentId>, u32)> {
        let requests = &demands.get(&Role::default()).unwrap().requests;
        requests.iter().map(|request| (request.agent, request.count)).collect()
    }

    #[test]
    fn what_was_launched_is_wanted_no_more() {
        let role = Role::default();
        let mut demands = Demands::default();
        demands.say(
            &role,
            &[request(None, "cpus:1;mem:64", 3), request(Some(7), "cpus:1", 1)],
            None,
        );
        demands.launched(&role, agent(7), &"cpus:2;mem:64".parse().unwrap());
        assert_eq!(left(&demands), [(None, 2)]);
        // What may be taken back is another thing.
        demands.launched(&role, agent(7), &"cpus{revocable}:2;mem:64".parse().unwrap());
        assert_eq!(left(&demands), [(None, 2)]);
        // More than was wanted, and of a role that said nothing.
        demands.launched(&role, agent(1), &"cpus:9;mem:640".parse().unwrap());
        assert_eq!(left(&demands), []);
        demands.launched(&Role::new("a").unwrap(), agent(1), &"cpus:9".parse().unwrap());
        assert_eq!(demands.get(&Role::new("a").unwrap()), None);
    }

    #[test]
    fn a_demand_that_is_met_differs_from_none() {
        let role = Role::default();
        let mut demands = Demands::default();
        demands.say(&role, &[request(None, "cpus:1", 1)], Some(5));
        demands.unfulfilled(&role);
        assert_eq!(demands.get(&role).unwrap().requests, []);
        demands.say(&role, &vec![request(None, "cpus:1", 1); REQUESTS_MAX + 1], None);
        assert_eq!(demands.get(&role).unwrap().requests, [], "as a leader has it");
        demands.say(&role, &[], None);
        assert_eq!(demands, Demands::default());
    }
}
