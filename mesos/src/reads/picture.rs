//! The leader's picture, put in order for who reads it.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use meshos_control::master::{AgentView, FrameworkView, NodeState, OfferView, TaskView, View};
use meshos_protocol::{
    ids::{AgentId, ClusterId, FrameworkId},
    task::TaskState,
};

use super::tasks::TaskRow;
use crate::convert::{ids, offer::Place};

/// The tasks of one framework.
#[derive(Debug, Default)]
pub(super) struct Of<'a> {
    /// Those that may still run.
    pub(super) live: Vec<&'a TaskView>,
    /// Those whose agent is out of reach.
    pub(super) unreachable: Vec<&'a TaskView>,
    /// Those that have ended.
    pub(super) ended: Vec<&'a TaskView>,
    /// Its open offers.
    pub(super) offers: Vec<&'a OfferView>,
}

impl<'a> Of<'a> {
    /// All of its tasks.
    pub(super) fn tasks(&self) -> impl Iterator<Item = &'a TaskView> + Clone {
        self.live.iter().chain(&self.unreachable).chain(&self.ended).copied()
    }
}

/// A picture of the leader's master. Making it costs a look at each agent and framework; tasks and offers are put in
/// order when they are first asked for.
#[derive(Debug)]
pub struct Picture<'a> {
    pub(super) view: &'a View,
    /// Those that are on record and not gone, by id.
    pub(super) agents: BTreeMap<AgentId, &'a AgentView>,
    /// Those that have not ended, by id.
    pub(super) frameworks: BTreeMap<FrameworkId, &'a FrameworkView>,
    of: OnceCell<BTreeMap<FrameworkId, Of<'a>>>,
    /// Frameworks that tell lost tasks apart.
    tell_apart: BTreeSet<FrameworkId>,
    nothing: Of<'a>,
}

/// Whether the leader knows in which state a task is: of one that only an earlier leader told of, it hears when its
/// agent has reported, and says nothing before.
pub(super) fn is_known(task: &TaskView) -> bool {
    task.state != TaskState::Unknown
}

/// Tasks and offers by framework, each in the order of their ids; those that have ended in the order of their ends.
fn by_framework(view: &View) -> BTreeMap<FrameworkId, Of<'_>> {
    let mut of: BTreeMap<FrameworkId, Of<'_>> = BTreeMap::new();
    for task in view.tasks.iter() {
        let its = of.entry(task.framework_id).or_default();
        if !is_known(task) {
            continue;
        }
        if task.state == TaskState::Unreachable {
            its.unreachable.push(task);
        } else {
            its.live.push(task);
        }
    }
    for task in view.tasks_ended.iter() {
        of.entry(task.framework_id).or_default().ended.push(task);
    }
    for offer in view.offers.iter() {
        of.entry(offer.framework_id).or_default().offers.push(offer);
    }
    for its in of.values_mut() {
        its.live.sort_unstable_by_key(|task| &task.id);
        its.unreachable.sort_unstable_by_key(|task| &task.id);
        its.offers.sort_unstable_by_key(|offer| offer.id);
    }
    of
}

impl<'a> Picture<'a> {
    /// Of what the leader has published.
    #[must_use]
    pub fn new(view: &'a View) -> Self {
        let all = view.frameworks.iter().chain(view.frameworks_closed.iter());
        let telling = all.filter(|framework| framework.details.capabilities.partition_aware);
        let agents = view.agents.iter().filter(|agent| agent.state != NodeState::Gone);
        Self {
            view,
            agents: agents.map(|agent| (agent.agent_id, agent.as_ref())).collect(),
            frameworks: view.frameworks.iter().map(|it| (it.id, it.as_ref())).collect(),
            of: OnceCell::new(),
            tell_apart: telling.map(|framework| framework.id).collect(),
            nothing: Of::default(),
        }
    }

    /// Which cluster it is.
    pub(super) const fn cluster(&self) -> ClusterId {
        self.view.fence.cluster
    }

    /// What each framework has, also those of which nothing else is known.
    pub(super) fn by_framework(&self) -> &BTreeMap<FrameworkId, Of<'a>> {
        self.of.get_or_init(|| by_framework(self.view))
    }

    pub(super) fn of(&self, framework: FrameworkId) -> &Of<'a> {
        self.by_framework().get(&framework).unwrap_or(&self.nothing)
    }

    pub(super) fn framework_text(&self, id: FrameworkId) -> String {
        ids::framework(self.cluster(), id).value.unwrap_or_default()
    }

    pub(super) fn agent_text(&self, id: AgentId) -> String {
        ids::agent(self.cluster(), id).value.unwrap_or_default()
    }

    /// What a framework calls the state of its task.
    pub(super) fn state_of(&self, task: &TaskView) -> TaskState {
        if self.tell_apart.contains(&task.framework_id) {
            task.state
        } else {
            task.state.without_partitions()
        }
    }

    /// The agents that take part, in the order of their ids: those that have registered in this term.
    pub(super) fn registered(&self) -> impl Iterator<Item = &'a AgentView> + Clone {
        let all = self.agents.values().copied();
        all.filter(|agent| agent.registered_at.is_some() && agent.state != NodeState::Unreachable)
    }

    /// Those that are expected to register.
    pub(super) fn awaited(&self) -> impl Iterator<Item = &'a AgentView> + Clone {
        let all = self.agents.values().copied();
        all.filter(|agent| agent.registered_at.is_none() && agent.state != NodeState::Unreachable)
    }

    /// How many are out of reach.
    pub(super) fn unreachable(&self) -> usize {
        self.agents.values().filter(|agent| agent.state == NodeState::Unreachable).count()
    }

    /// Rows of tasks.
    pub(super) fn task_rows<'b>(
        &'b self,
        tasks: impl Iterator<Item = &'a TaskView> + Clone + 'b,
    ) -> impl Iterator<Item = TaskRow<'b>> + Clone + 'b
    where
        'a: 'b,
    {
        tasks.map(move |task| TaskRow::of(self, task))
    }

    /// Where the agent of a task listens.
    pub(super) fn place_of(&self, agent: AgentId) -> Option<Place> {
        self.agents.get(&agent).and_then(|agent| Place::read(&agent.agent_address))
    }
}
