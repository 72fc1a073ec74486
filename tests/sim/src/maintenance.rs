//! Windows in which nodes will be away: what operators plan, and what frameworks say to it.

use std::collections::{BTreeMap, BTreeSet};

use meshos_control::{
    master::{NodeState, OperatorCall},
    registry::Planned,
};
use meshos_protocol::{
    ids::{AgentId, NodeId, OfferId, Term},
    maintenance::{InverseOffer, Unavailability},
    messages::scheduler::Call,
    time::Wall,
};

use crate::{driver::Driver, invariants, world::World};

/// What a framework was asked by the present leader.
#[derive(Debug, Default)]
pub struct Questions {
    /// What it has not answered, and which agent that is about.
    pub open: BTreeMap<OfferId, AgentId>,
    /// The agents that it was asked about, and by the leaders of which terms: what is answered is not asked again by the same.
    pub about: BTreeSet<(Term, AgentId)>,
}

impl Questions {
    /// The leader is lost, or the way to it.
    pub fn void(&mut self) {
        self.open.clear();
    }
}

fn planned(start: u64) -> Planned {
    Planned {
        unavailability: Unavailability { start: Wall(start), duration_ms: None },
        hostname: String::new(),
        ip: String::new(),
        begun: None,
    }
}

/// What an operator does about the maintenance of a node.
pub(crate) fn call(world: &mut World, node: NodeId) -> OperatorCall {
    match world.dice.number(0..=7) {
        0 => OperatorCall::StartMaintenance { nodes: [(node, None)].into() },
        1 => {
            let grace_max_ms = world.dice.number(0..=3_000);
            OperatorCall::StartMaintenance { nodes: [(node, Some(grace_max_ms))].into() }
        }
        2 => OperatorCall::StopMaintenance { nodes: [node].into() },
        number => {
            let start = world.dice.number(1..=3);
            let nodes = [(node, (number > 3).then(|| planned(start)))].into();
            OperatorCall::PlanMaintenance { nodes, replace: world.dice.chance(100) }
        }
    }
}

impl World {
    /// An operator says which nodes will be away, and no other; or says it again: whether it was heard is not known.
    pub fn insist_on_windows(&mut self) {
        let Some(nodes) = &self.windows else { return };
        let nodes = nodes.iter().map(|node| (*node, Some(planned(1)))).collect();
        self.operate(OperatorCall::PlanMaintenance { nodes, replace: true });
    }

    /// An operator ends all maintenance that has begun, but for that of the node that is being drained on purpose.
    pub fn end_maintenance(&mut self) {
        let kept = self.emptied.map(|emptied| emptied.agent.node);
        let registry = self.raft.registry();
        let begun = registry.maintenance().filter(|(_, planned)| planned.begun.is_some());
        let nodes: BTreeSet<NodeId> =
            begun.map(|(node, _)| node).filter(|node| kept != Some(*node)).collect();
        if !nodes.is_empty() {
            self.operate(OperatorCall::StopMaintenance { nodes });
        }
    }

    /// An operator chooses nodes that will be away.
    pub fn choose_windows(&mut self) {
        let Some(view) = self.master_view() else { return };
        let agents = view.agents.iter().filter(|agent| agent.state != NodeState::Gone);
        let agents: Vec<NodeId> = agents.map(|agent| agent.id).collect();
        let chosen = agents.into_iter().filter(|_| self.dice.chance(500)).collect();
        self.windows = Some(chosen);
        self.insist_on_windows();
    }

    /// A framework is asked whether it suits that nodes will be away: it says so, says no, or says nothing.
    pub(crate) fn driver_asked(&mut self, index: usize, offers: Vec<InverseOffer>) {
        for offer in offers {
            invariants::check_asked(self, index, &offer);
            let questions = &mut self.drivers[index].questions;
            questions.about.insert((offer.id.term, offer.agent));
            questions.open.insert(offer.id, offer.agent);
            let refuse_ms = if self.dice.chance(500) { Some(2_000) } else { None };
            let call = match self.dice.number(0..=2) {
                0 => continue,
                1 => Call::AcceptInverseOffers { offers: vec![offer.id], refuse_ms },
                _ => Call::DeclineInverseOffers { offers: vec![offer.id], refuse_ms },
            };
            self.drivers[index].questions.open.remove(&offer.id);
            self.call(index, call, None);
        }
    }
}

impl Driver {
    /// These need no answer any more.
    pub(crate) fn not_asked(&mut self, offers: &[OfferId]) {
        for offer in offers {
            self.questions.open.remove(offer);
        }
    }
}
