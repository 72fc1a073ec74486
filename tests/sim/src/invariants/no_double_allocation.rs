//! A master offers or allocates nothing twice: on each agent, what tasks hold and what offers hold
//! do not overlap and do not exceed the total. When offers are optimistic, those of different
//! frameworks or roles may overlap each other.

use std::collections::BTreeMap;

use meshos_alloc::OfferMode;
use meshos_control::master::{OfferView, View};
use meshos_protocol::{
    ids::{AgentId, NodeId},
    resources::Resources,
};

use crate::world::World;

pub(super) fn check(world: &mut World) {
    for index in 0..world.nodes.len() {
        let Some(leading) = world.nodes[index].leading() else { continue };
        let view = leading.master.view();
        let refused: Vec<bool> = world.nodes.iter().map(|node| node.disk_refused).collect();
        let same = world.looked_at.leaders.get(&index).is_some_and(|(before, refused_before)| {
            *refused_before == refused
                && view.agents.changes(&before.agents).next().is_none()
                && view.tasks.changes(&before.tasks).next().is_none()
                && view.offers.changes(&before.offers).next().is_none()
        });
        if !same {
            check_view(world, index, &view);
            world.looked_at.leaders.insert(index, (view, refused));
        }
    }
}

fn check_view(world: &World, index: usize, view: &View) {
    let mut free: BTreeMap<AgentId, Resources> = view
        .agents
        .iter()
        .filter(|agent| agent.connected && !refuses_writes(world, agent.id))
        .map(|agent| (agent.agent_id, agent.resources.clone()))
        .collect();
    for task in view.tasks.iter() {
        take(&mut free, task.agent_id, &task.resources, |what| {
            format!("n{index} counts task {} on {what}", task.id)
        });
    }
    let optimistic = world.setup.master.offers == OfferMode::Optimistic;
    let untaken = free.clone();
    let mut last = None;
    for offer in offers_by_holder(view) {
        let away = view.agents.iter().all(|it| it.agent_id != offer.agent_id || !it.connected);
        assert!(!away, "n{index} offers of an agent that is away");
        let holder = (offer.framework_id, &offer.role);
        if optimistic && last.replace(holder) != Some(holder) {
            free.clone_from(&untaken);
        }
        take(&mut free, offer.agent_id, &offer.resources, |what| {
            format!("n{index} offers {} on {what}", offer.id)
        });
    }
}

/// Whether an agent's disk refuses writes, or did until its process ended: it has told that it could not
/// reserve something, and that it drops the tasks that stood on that is yet to be heard.
fn refuses_writes(world: &World, id: NodeId) -> bool {
    world.nodes.iter().any(|node| node.id == id && node.disk_refused)
}

fn offers_by_holder(view: &View) -> Vec<&OfferView> {
    let mut offers: Vec<&OfferView> = view.offers.iter().map(|offer| &**offer).collect();
    offers.sort_by_key(|offer| (offer.framework_id, &offer.role));
    offers
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
