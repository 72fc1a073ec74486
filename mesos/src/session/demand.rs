//! What the framework asks for: the leader is told, and so is the next one.

use meshos_protocol::{
    ids::AgentId, messages::scheduler::Call, resources::Resources, role::Role,
    task::TaskDescription,
};

use super::{
    Output, Session,
    calls::{ACCEPTED, Reply, invalid},
};
use crate::{convert::demand, schema};

impl Session {
    /// It stands in place of what was asked for before, in all roles. Without a leader the next one is
    /// told with the subscribe, and one that is taking the subscription up when it has.
    pub(super) fn request(
        &mut self,
        request: &schema::CallRequest,
        out: &mut Vec<Output>,
    ) -> Reply {
        let roles = &self.subscribe.info.roles;
        let mut asked = match demand::read(self.cluster, &request.requests, roles) {
            Ok(asked) => asked,
            Err(why) => return invalid(why),
        };
        let demands = self.subscribe.demand.get_or_insert_default();
        let mut calls = Vec::new();
        for role in roles {
            let requests = asked.remove(role).unwrap_or_default();
            if requests.is_empty() && demands.get(role).is_none() {
                continue;
            }
            demands.say(role, &requests, None);
            calls.push(Call::Request { role: role.clone(), requests, together_within_ms: None });
        }
        if self.subscribed {
            calls.into_iter().for_each(|call| self.send(call, out));
        } else {
            self.demand_untold = true;
        }
        ACCEPTED
    }

    /// A leader has taken the subscription up: what was asked for while it did, it has not heard.
    pub(super) fn tell_demand(&mut self, out: &mut Vec<Output>) {
        if !std::mem::take(&mut self.demand_untold) {
            return;
        }
        let demands = self.subscribe.demand.clone().unwrap_or_default();
        for role in self.subscribe.info.roles.clone() {
            let requests = demands.get(&role).map(|of| of.requests.clone()).unwrap_or_default();
            self.send(Call::Request { role, requests, together_within_ms: None }, out);
        }
    }

    /// These tasks are launched: so much less is wanted.
    pub(super) fn launched(&mut self, role: &Role, agent: AgentId, tasks: &[TaskDescription]) {
        let Some(demand) = &mut self.subscribe.demand else { return };
        let used: Resources = tasks.iter().map(|task| &task.resources).sum();
        demand.launched(role, agent, &used);
    }
}
