//! A master offers or allocates nothing twice: on each agent, what tasks hold and what offers hold
//! do not overlap and do not exceed the total.

use std::collections::BTreeMap;

use meshos_protocol::{ids::AgentId, resources::Resources};

use crate::world::World;

pub(super) fn check(world: &World) {
    for (index, node) in world.nodes.iter().enumerate() {
        let Some(leading) = node.process.as_ref().and_then(|process| process.leading.as_ref())
        else {
            continue;
        };
        let view = leading.master.view();
        let mut free: BTreeMap<AgentId, Resources> = view
            .agents
            .iter()
            .filter(|agent| agent.connected)
            .map(|agent| (agent.agent_id, agent.resources.clone()))
            .collect();
        for task in view.tasks.iter() {
            take(&mut free, task.agent_id, &task.resources, |what| {
                format!("n{index} counts task {} on {what}", task.id)
            });
        }
        for offer in view.offers.iter() {
            assert!(free.contains_key(&offer.agent_id), "n{index} offers of an agent that is away");
            take(&mut free, offer.agent_id, &offer.resources, |what| {
                format!("n{index} offers {} on {what}", offer.id)
            });
        }
    }
}

fn take(
    free: &mut BTreeMap<AgentId, Resources>,
    agent: AgentId,
    taken: &Resources,
    who: impl FnOnce(String) -> String,
) {
    let Some(left) = free.get_mut(&agent) else { return };
    match left.checked_sub(taken) {
        Some(rest) => *left = rest,
        None => panic!("{}", who(format!("{agent}: {taken} of {left}"))),
    }
}
