//! What is free is offered to those who are guaranteed it, have asked for it, or take whatever there
//! is, unless a limit forbids it.
//!
//! Looked at while no framework answers: then nothing is on its way back.

use std::collections::BTreeMap;

use meshos_alloc::{OfferMode, Quota};
use meshos_control::master::{NodeState, OfferView, View};
use meshos_protocol::{
    ids::{AgentId, FrameworkId},
    resources::{Amount, ResourceName, Resources},
    role::Role,
};

use super::quota_limits::{Held, held};
use crate::{
    driver::Driver,
    wishes::{Said, WANTED},
    world::World,
};

pub(super) fn not_yet(world: &World) -> Option<String> {
    let (Some(view), true) = (world.master_view(), world.is_whole()) else {
        return Some("not all agents have reported".to_owned());
    };
    let quotas: BTreeMap<&Role, &Quota> = world.raft.registry().quotas().collect();
    let waiting = world.drivers.iter().filter(|driver| !driver.ended && driver.demand > 0);
    for driver in waiting {
        let Some(framework) = driver.framework.filter(|_| driver.stream.is_some()) else {
            return Some(format!("{} has not subscribed", driver.principal));
        };
        let role = Role::new(&driver.setup.role).expect("a valid role");
        if at_a_limit(&view, &quotas, &role) {
            continue;
        }
        let optimistic = world.setup.master.offers == OfferMode::Optimistic;
        let wanted = wanted(driver, &view, framework)?;
        for (agent, free) in free(&view, optimistic.then_some(framework)) {
            if free.contains(&wanted) && is_for(world, driver, agent) {
                return Some(format!("{} is not offered {free} of {agent}", driver.principal));
            }
        }
        if driver.said_of_offers == Said::Nothing
            && !optimistic
            && let Some(lent) = lent(world, &view, &quotas, driver)
        {
            return Some(format!("{} is guaranteed what is lent: {lent:?}", driver.principal));
        }
    }
    None
}

/// Whether an agent is where a framework goes.
fn is_for(world: &World, driver: &Driver, agent: AgentId) -> bool {
    let region = world.leader().and_then(|leader| world.region_of(leader));
    let node = world.nodes.iter().find(|node| node.id == agent.node);
    let is_remote = node.is_some_and(|node| node.place.is_remote_to(region.as_deref()));
    driver.setup.region_aware || !is_remote
}

/// What a framework would take if it were free; nothing that anybody has when it wants no more.
fn wanted(driver: &Driver, view: &View, framework: FrameworkId) -> Option<Resources> {
    const MORE_THAN_THERE_IS: &str = "cpus:1000000";
    let has_offers = view.offers.iter().any(|offer| offer.framework_id == framework);
    let text = match driver.said_of_offers {
        Said::Nothing => "cpus:0.1;mem:32",
        Said::Demand if !has_offers => WANTED,
        Said::Demand | Said::Other => MORE_THAN_THERE_IS,
    };
    text.parse().ok()
}

/// Whether so little is left below a limit that it may not be worth an offer.
fn at_a_limit(view: &View, quotas: &BTreeMap<&Role, &Quota>, role: &Role) -> bool {
    let chain = role.with_those_above();
    let mut limits = chain.filter_map(|role| quotas.get(&role).map(|quota| (role, &quota.limit)));
    limits.any(|(role, limits)| {
        limits.iter().any(|(name, limit)| {
            let Held { tasks, offers } = held(view, &role, name);
            let least = if *name == ResourceName::Mem { 64 } else { 1 };
            limit.remaining_after(tasks.saturating_add(offers)) < Amount::whole(least)
        })
    })
}

/// What tasks and offers (or, when offers are optimistic, those to this framework) leave free.
fn free(view: &View, only: Option<FrameworkId>) -> BTreeMap<AgentId, Resources> {
    let offered = view.agents.iter().filter(|agent| agent.state == NodeState::Active);
    let mut free: BTreeMap<_, _> =
        offered.map(|agent| (agent.agent_id, agent.resources.clone())).collect();
    let mut take = |agent, taken: &Resources| {
        if let Some(left) = free.get_mut(&agent) {
            *left = left.saturating_sub(taken);
        }
    };
    view.tasks.iter().for_each(|task| take(task.agent_id, &task.resources));
    let offers = view.offers.iter();
    offers
        .filter(|offer| only.is_none_or(|only| only == offer.framework_id))
        .for_each(|offer| take(offer.agent_id, &offer.resources));
    free
}

/// An open offer in a role without a quota that holds what this role lacks of its guarantee.
fn lent(
    world: &World,
    view: &View,
    quotas: &BTreeMap<&Role, &Quota>,
    driver: &Driver,
) -> Option<OfferView> {
    let role = &Role::new(&driver.setup.role).expect("a valid role");
    let guarantee = &quotas.get(role)?.guarantee;
    let lacking = guarantee.iter().find(|(name, amount)| {
        let Held { tasks, offers } = held(view, role, name);
        tasks.saturating_add(offers) < *amount
    });
    let (name, _) = lacking?;
    let lends = |lender: &Role| {
        let mut chain = lender.with_those_above();
        chain.all(|role| !quotas.contains_key(&role))
    };
    let mut offers = view.offers.iter();
    let lent = offers.find(|offer| {
        let holds = !offer.resources.amount_of(name).is_zero();
        holds && lends(&offer.role) && is_for(world, driver, offer.agent_id)
    });
    lent.map(|offer| OfferView::clone(offer))
}
