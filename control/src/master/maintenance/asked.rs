//! Who was asked about which agent, and what it said.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{AgentId, FrameworkId, NodeId, OfferId},
    maintenance::Unavailability,
    time::{Mono, Wall},
};

use crate::master::{
    AskedView, MaintenanceView, Table,
    table::{Slot, TableWriter},
};

/// Who is asked about what.
pub(super) type About = (AgentId, FrameworkId);

/// When a framework is asked, or asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// As soon as somebody listens.
    Now,
    /// When this has come.
    At(Mono),
    /// Not while all stays as it is.
    Never,
}

#[derive(Debug)]
struct Asked {
    about: Unavailability,
    /// The inverse offer that is not answered.
    open: Option<OfferId>,
    /// Whether the newest answer was yes, and when it came.
    answer: Option<(bool, Wall)>,
    again: Again,
}

/// The inverse offers: those that are open, and those that were answered and are still about something.
#[derive(Debug, Default)]
pub(in crate::master) struct Inverse {
    asked: BTreeMap<About, Asked>,
    open: BTreeMap<OfferId, About>,
    by_framework: BTreeMap<FrameworkId, BTreeSet<AgentId>>,
    /// What is planned, as the newest change has it.
    planned: BTreeMap<NodeId, Unavailability>,
    /// A change of the plan is on its way through the registry.
    pub(super) in_flight: bool,
    /// Frameworks that came, went, or are in other roles, since they were last asked for.
    frameworks: BTreeSet<FrameworkId>,
    rows: TableWriter<MaintenanceView>,
    slots: BTreeMap<NodeId, Slot>,
    /// Nodes whose rows are to be redrawn.
    changed: BTreeSet<NodeId>,
}

impl Inverse {
    pub(in crate::master) fn picture(&self) -> Table<MaintenanceView> {
        self.rows.picture()
    }

    /// A framework came or went, or is in other roles.
    pub(in crate::master) fn framework_changed(&mut self, framework: FrameworkId) {
        self.frameworks.insert(framework);
    }

    pub(super) fn take_changed_frameworks(&mut self) -> BTreeSet<FrameworkId> {
        std::mem::take(&mut self.frameworks)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (About, Unavailability, Again)> {
        self.asked.iter().map(|(of, asked)| (*of, asked.about, asked.again))
    }

    pub(super) fn is_asked(&self, of: About) -> bool {
        self.asked.contains_key(&of)
    }

    pub(super) fn of_agent(&self, agent: AgentId) -> impl Iterator<Item = About> {
        let all = (agent, FrameworkId(0))..=(agent, FrameworkId(u64::MAX));
        self.asked.range(all).map(|(of, _)| *of)
    }

    pub(super) fn of_framework(&self, framework: FrameworkId) -> Vec<About> {
        let agents = self.by_framework.get(&framework).into_iter().flatten();
        agents.map(|agent| (*agent, framework)).collect()
    }

    /// What an open inverse offer is about.
    pub(super) fn about(&self, offer: OfferId) -> Option<About> {
        self.open.get(&offer).copied()
    }

    /// Whether it was asked about another time than this.
    pub(super) fn is_about_other(&self, of: About, about: Unavailability) -> bool {
        self.asked.get(&of).is_some_and(|asked| asked.about != about)
    }

    /// Whether it is to be asked now.
    pub(super) fn is_due(&self, of: About, now: Mono) -> bool {
        self.asked.get(&of).is_none_or(|asked| {
            asked.open.is_none()
                && match asked.again {
                    Again::Now => true,
                    Again::At(at) => at <= now,
                    Again::Never => false,
                }
        })
    }

    /// It is asked.
    pub(super) fn ask(&mut self, of: About, about: Unavailability, offer: OfferId) {
        let answer = self.asked.get(&of).and_then(|asked| asked.answer);
        let asked = Asked { about, open: Some(offer), answer, again: Again::Now };
        self.asked.insert(of, asked);
        self.open.insert(offer, of);
        self.by_framework.entry(of.1).or_default().insert(of.0);
        self.changed.insert(of.0.node);
    }

    /// It has answered, and is asked again at that time.
    pub(super) fn answer(&mut self, of: About, answer: (bool, Wall), again: Option<Mono>) {
        let Some(asked) = self.asked.get_mut(&of) else { return };
        if let Some(offer) = asked.open.take() {
            self.open.remove(&offer);
        }
        asked.answer = Some(answer);
        asked.again = again.map_or(Again::Never, Again::At);
        self.changed.insert(of.0.node);
    }

    /// It is asked again as soon as it listens.
    pub(super) fn ask_now(&mut self, of: About) {
        if let Some(asked) = self.asked.get_mut(&of) {
            asked.again = Again::Now;
            self.frameworks.insert(of.1);
        }
    }

    /// Nobody has heard what is open for the framework.
    pub(super) fn unheard(&mut self, framework: FrameworkId) {
        for of in self.of_framework(framework) {
            let open = self.asked.get_mut(&of).and_then(|asked| asked.open.take());
            if let Some(offer) = open {
                self.open.remove(&offer);
                self.changed.insert(of.0.node);
            }
        }
    }

    /// It is not asked any more: the inverse offer that was open.
    pub(super) fn remove(&mut self, of: About) -> Option<OfferId> {
        let asked = self.asked.remove(&of)?;
        if let Some(agents) = self.by_framework.get_mut(&of.1) {
            agents.remove(&of.0);
            if agents.is_empty() {
                self.by_framework.remove(&of.1);
            }
        }
        self.changed.insert(of.0.node);
        asked.open.inspect(|offer| {
            self.open.remove(offer);
        })
    }

    /// Takes over what is planned: the nodes of which anything may have changed, and whether it is when they will be away.
    pub(super) fn plan(
        &mut self,
        planned: BTreeMap<NodeId, Unavailability>,
    ) -> Vec<(NodeId, bool)> {
        let before = std::mem::replace(&mut self.planned, planned);
        let nodes: BTreeSet<NodeId> = before.keys().chain(self.planned.keys()).copied().collect();
        let changed = |node: NodeId| (node, before.get(&node) != self.planned.get(&node));
        let changed = nodes.iter().map(|node| changed(*node)).collect();
        self.changed.extend(nodes);
        changed
    }

    /// What the frameworks said that were asked about an agent.
    pub(super) fn shown(&self, agent: AgentId) -> impl Iterator<Item = AskedView> {
        let all = (agent, FrameworkId(0))..=(agent, FrameworkId(u64::MAX));
        self.asked.range(all).map(|((_, framework), asked)| AskedView {
            framework_id: *framework,
            open: asked.open,
            accepted: asked.answer.map(|(accepted, _)| accepted),
            answered_at: asked.answer.map(|(_, at)| at),
        })
    }

    pub(super) fn take_changed(&mut self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.changed)
    }

    /// Puts a node's row in place of the one before.
    pub(super) fn draw(&mut self, node: NodeId, row: Option<MaintenanceView>) {
        match (self.slots.get(&node).copied(), row) {
            (Some(slot), Some(row)) => self.rows.replace(slot, row),
            (None, Some(row)) => {
                self.slots.insert(node, self.rows.insert(row));
            }
            (Some(slot), None) => {
                self.rows.remove(slot);
                self.slots.remove(&node);
            }
            (None, None) => {}
        }
    }

    pub(super) fn check_invariants(&self) {
        for (offer, of) in &self.open {
            let open = self.asked.get(of).and_then(|asked| asked.open);
            assert_eq!(open, Some(*offer), "an inverse offer that is open");
        }
        let open = self.asked.values().filter(|asked| asked.open.is_some()).count();
        assert_eq!(open, self.open.len(), "each inverse offer is open once");
        let indexed: usize = self.by_framework.values().map(BTreeSet::len).sum();
        assert_eq!(indexed, self.asked.len(), "inverse offers by framework");
        assert_eq!(self.slots.len(), self.planned.len(), "a row for each node in a window");
    }
}
