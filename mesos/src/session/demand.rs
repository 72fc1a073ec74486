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
    /// told with the subscribe.
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
        }
        ACCEPTED
    }

    /// These tasks are launched: so much less is wanted.
    pub(super) fn launched(&mut self, role: &Role, agent: AgentId, tasks: &[TaskDescription]) {
        let Some(demand) = &mut self.subscribe.demand else { return };
        let used: Resources = tasks.iter().map(|task| &task.resources).sum();
        demand.launched(role, agent, &used);
    }
}
