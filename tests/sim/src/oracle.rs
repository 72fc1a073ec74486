//! What really happened and what was told, as no part of the cluster knows it.
//!
//! The oracle only notes. The rules it is held against are in [`crate::invariants`].

use std::collections::{BTreeMap, BTreeSet};

use meshos_control::agent::Effect;
use meshos_protocol::{
    ids::{AgentId, Fence, FrameworkId, OfferId, TaskId, Term, UpdateId},
    task::{Reason, StatusUpdate, TaskState},
};

use crate::{invariants::RegistryMemory, reservations::Ledger};

/// Names a task of the whole cluster.
pub type TaskKey = (FrameworkId, TaskId);

/// What an update was for the framework that it reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// News.
    New,
    /// Known by its id, or an answer that came too late to matter.
    Old,
}

/// The life of one task.
#[derive(Debug, Default)]
pub struct Life {
    /// On which nodes it started, in order.
    pub starts: Vec<usize>,
    /// What its framework was told for the first time, in order: the id and the state.
    pub told: Vec<(Option<UpdateId>, TaskState)>,
    /// The updates that its framework knows.
    pub updates: BTreeSet<UpdateId>,
    /// Whether the framework accepted offers for it.
    pub accepted: bool,
    /// The tasks of its group, itself too, if it has one.
    pub group: Vec<TaskId>,
    /// How many of its probes have failed in a row.
    pub failures: u32,
    /// The most that ever were.
    pub failures_most: u32,
    /// Whether a probe has succeeded.
    pub probe_succeeded: bool,
    /// Whether it was told to be healthy.
    pub told_healthy: bool,
    /// Whether it was told to have been killed for its health.
    pub killed_unhealthy: bool,
}

/// An instruction that reached an agent.
#[derive(Debug, Clone, Copy)]
pub struct Instruction {
    /// The agent's node.
    pub node: usize,
    /// Whose word it was.
    pub fence: Fence,
    /// Whom the agent obeyed then.
    pub obeyed: Option<Fence>,
    /// Whether it led to anything.
    pub acted_on: bool,
}

/// What really happened.
#[derive(Debug, Default)]
pub struct Oracle {
    /// All tasks that anybody spoke of.
    pub lives: BTreeMap<TaskKey, Life>,
    /// Tasks that changed in this step.
    pub touched: BTreeSet<TaskKey>,
    /// How many entries of the log were held against what voters know.
    pub records_known: usize,
    /// Who led in each term.
    pub leaders: BTreeMap<Term, BTreeSet<usize>>,
    /// The last instruction, until it was looked at.
    pub instruction: Option<Instruction>,
    /// The newest term whose instruction each node has acted on.
    pub acted_on: BTreeMap<usize, Term>,
    /// The framework ids that each driver was given.
    pub frameworks: BTreeMap<usize, BTreeSet<FrameworkId>>,
    /// Every offer that reached a framework.
    pub offers: BTreeSet<OfferId>,
    /// How many operations frameworks have sent.
    pub operations_sent: u64,
    /// How many frames were said again.
    pub echoes: u64,
    /// What is sure of reservations.
    pub reservations: Ledger,
    /// How many probes found something.
    pub probes: u64,
    /// How many updates executors have made.
    pub executor_updates: u64,
    /// How many callers gateways, and agents from executors, have had.
    pub callers: u64,
    /// The agents that the newest leader showed as drained a step ago.
    pub drained: BTreeSet<AgentId>,
    /// What the registry was made of.
    pub registry: RegistryMemory,
}

impl Oracle {
    fn touch(&mut self, framework: FrameworkId, task: &TaskId) -> &mut Life {
        let key = (framework, task.clone());
        self.touched.insert(key.clone());
        self.lives.entry(key).or_default()
    }

    /// A container of the task came up.
    pub fn started(&mut self, node: usize, framework: FrameworkId, task: &TaskId) {
        self.touch(framework, task).starts.push(node);
    }

    /// A probe of a task has succeeded, or not.
    pub fn probed(&mut self, framework: FrameworkId, task: &TaskId, success: bool) {
        let life = self.touch(framework, task);
        life.probe_succeeded |= success;
        life.failures = if success { 0 } else { life.failures + 1 };
        life.failures_most = life.failures_most.max(life.failures);
        self.probes += 1;
    }

    /// A crash has left so many failures in a row on disk: if a probe succeeded after them, that was lost, and the next failure
    /// counts on.
    pub fn failures_left(&mut self, framework: FrameworkId, task: &TaskId, failures: u32) {
        let life = self.touch(framework, task);
        life.failures = life.failures.max(failures.min(life.failures_most));
    }

    /// The framework sends an accept with the task.
    pub fn accepted(&mut self, framework: FrameworkId, task: &TaskId) {
        self.touch(framework, task).accepted = true;
    }

    /// The task is launched with these.
    pub fn grouped(&mut self, framework: FrameworkId, task: &TaskId, group: &[TaskId]) {
        self.touch(framework, task).group = group.to_vec();
    }

    /// The framework was told that the accept with the task was not carried out.
    pub fn refused(&mut self, framework: FrameworkId, task: &TaskId) {
        self.touch(framework, task).told.push((None, TaskState::Dropped));
    }

    /// The framework was told something of a task.
    pub fn told(&mut self, status: &StatusUpdate) -> Told {
        let life = self.touch(status.framework, &status.task);
        let over = life.told.last().is_some_and(|(_, state)| state.is_terminal());
        match status.update {
            Some(update) if !life.updates.insert(update) => return Told::Old,
            Some(_) => {}
            // Nobody waits for answers on a task that is over: they crossed its end.
            None if over => return Told::Old,
            None => {}
        }
        life.told.push((status.update, status.state));
        life.told_healthy |= status.healthy == Some(true);
        life.killed_unhealthy |= status.reason == Some(Reason::HealthCheckFailed);
        Told::New
    }

    /// A node leads in a term.
    pub fn led(&mut self, term: Term, node: usize) {
        self.leaders.entry(term).or_default().insert(node);
    }

    /// An agent was instructed.
    pub fn instructed(
        &mut self,
        node: usize,
        fence: Fence,
        obeyed: Option<Fence>,
        effects: &[Effect],
    ) {
        let acted_on = !effects.is_empty();
        self.instruction = Some(Instruction { node, fence, obeyed, acted_on });
    }

    /// A driver was given a framework id.
    pub fn subscribed(&mut self, driver: usize, framework: FrameworkId) {
        self.frameworks.entry(driver).or_default().insert(framework);
    }

    /// A framework was made an offer.
    pub fn offered(&mut self, offer: OfferId) {
        self.offers.insert(offer);
    }

    /// How many tasks have started.
    pub fn starts(&self) -> usize {
        self.lives.values().map(|life| life.starts.len()).sum()
    }
}
