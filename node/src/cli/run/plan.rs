//! What runs where: the decisions of the framework, without I/O.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use meshos_protocol::{
    framework::Offer,
    ids::{FrameworkId, NodeId, OfferId, TaskId},
    resources::Resources,
    task::{Exit, Reason, StatusUpdate, TaskDescription, TaskState},
};

use super::{
    constraint::{Constraint, Place},
    request::Request,
    shortfall::Shortfall,
};

/// For offers that can never be used, and when there is nothing left to launch.
const REFUSE_FOR_GOOD: Duration = Duration::from_secs(3_600);
/// For offers that are too small: when more is free, it is offered in any case.
const REFUSE_TOO_SMALL: Duration = Duration::from_secs(30);
/// How often an instance whose launch never took effect is launched again.
const TRIES_MAX: u32 = 10;
/// What nodes have instead of what a constraint demands: so many are remembered.
const FOUND_MAX: usize = 5;
/// The exit code when a task ran for longer than it may, as `timeout` of the GNU coreutils has it.
const TIME_LIMIT_CODE: u8 = 124;
/// Stands for a task that was killed because it was not healthy.
const HEALTH_CODE: u8 = 123;
/// The exit code when a task ended without one.
pub(super) const NO_EXIT_CODE: u8 = 125;

/// What the driver is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Launch {
        offer: Box<Offer>,
        tasks: Vec<TaskDescription>,
        refuse: Option<Duration>,
    },
    Decline {
        offer: OfferId,
        refuse: Duration,
    },
    /// So many instances wait, and offers that were refused are wanted after all.
    Want {
        instances: usize,
    },
}

/// What happened, for whoever watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    Registered(FrameworkId),
    Reconnected,
    Disconnected,
    /// No node can be reached, and why.
    Unreachable(String),
    /// A task was told to start there.
    Launched {
        task: TaskId,
        hostname: String,
    },
    /// A step in a task's life.
    Step(Box<Step>),
}

/// A step in a task's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub task: TaskId,
    pub instance: usize,
    pub node: Option<NodeId>,
    pub hostname: String,
    pub state: TaskState,
    /// Whether its health check finds it well, if that is known.
    pub healthy: Option<bool>,
    /// Why, in words; may be empty.
    pub why: String,
    /// It will be launched once more.
    pub again: bool,
}

/// How many instances are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub waiting: usize,
    pub launched: usize,
    pub ended: usize,
    pub failed: usize,
}

/// What was seen of offers that were no use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Declined {
    /// Nodes that miss a constraint, as offers.
    pub by_constraint: usize,
    /// What they had instead, by the first constraint that they miss.
    pub found: BTreeMap<String, BTreeSet<String>>,
    pub too_small: usize,
    /// What the one that had almost enough was lacking.
    pub nearest: Option<Shortfall>,
}

#[derive(Debug)]
struct Live {
    instance: usize,
    hostname: String,
    state: TaskState,
    healthy: Option<bool>,
}

/// Which instances wait, run and have ended.
#[derive(Debug)]
pub(super) struct Plan {
    request: Request,
    framework: Option<FrameworkId>,
    waiting: VecDeque<usize>,
    tries: Vec<u32>,
    live: BTreeMap<TaskId, Live>,
    ended: usize,
    failed: usize,
    /// The first exit code that was not 0.
    code: u8,
    stopping: bool,
    declined: Declined,
    /// A few for each instance and try, until they are taken.
    notes: Vec<Note>,
}

impl Plan {
    pub(super) fn new(request: Request) -> Self {
        let instances = request.instances;
        Self {
            request,
            framework: None,
            waiting: (0..instances).collect(),
            tries: vec![0; instances],
            live: BTreeMap::new(),
            ended: 0,
            failed: 0,
            code: 0,
            stopping: false,
            declined: Declined::default(),
            notes: Vec::new(),
        }
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn framework(&self) -> Option<FrameworkId> {
        self.framework
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            waiting: self.waiting.len(),
            launched: self.live.len(),
            ended: self.ended,
            failed: self.failed,
        }
    }

    pub(super) fn declined(&self) -> &Declined {
        &self.declined
    }

    /// Whether nothing waits or runs any more.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.live.is_empty()
    }

    /// The exit code so far: the first that was not 0.
    pub(super) fn code(&self) -> u8 {
        self.code
    }

    /// What happened since the last call.
    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    pub(super) fn registered(&mut self, framework: FrameworkId) {
        self.framework = Some(framework);
        self.notes.push(Note::Registered(framework));
    }

    pub(super) fn connection(&mut self, up: bool) {
        self.notes.push(if up { Note::Reconnected } else { Note::Disconnected });
    }

    pub(super) fn unreachable(&mut self, why: &str) {
        self.notes.push(Note::Unreachable(why.to_owned()));
    }

    /// Launches nothing more; gives the tasks that have to be killed.
    pub(super) fn stop(&mut self) -> Vec<TaskId> {
        self.stopping = true;
        self.waiting.clear();
        self.live.keys().cloned().collect()
    }

    /// Uses what can be used of the offers and gives the rest back.
    pub(super) fn offers(&mut self, offers: Vec<Offer>) -> Vec<Action> {
        offers.into_iter().map(|offer| self.offer(offer)).collect()
    }

    fn offer(&mut self, offer: Offer) -> Action {
        let decline = |refuse| Action::Decline { offer: offer.id, refuse };
        let Some(framework) = self.framework.filter(|_| !self.waiting.is_empty()) else {
            return decline(REFUSE_FOR_GOOD);
        };
        let place = Place::of(&offer);
        let misses = |constraint: &&Constraint| !constraint.holds(&place);
        if let Some(missed) = self.request.constraints.iter().find(misses) {
            self.declined.by_constraint += 1;
            let found = self.declined.found.entry(missed.to_string()).or_default();
            if found.len() < FOUND_MAX {
                found.insert(missed.found(&place));
            }
            return decline(REFUSE_FOR_GOOD);
        }
        let mut free = offer.resources.clone();
        let mut tasks = Vec::new();
        while let Some(instance) = self.waiting.front().copied() {
            let Some(part) = free.find(&self.request.need, &self.request.role) else { break };
            // What was found is part of it.
            let Some(rest) = free.checked_sub(&part) else { break };
            let Some(task) = self.describe(framework, instance, part) else { break };
            free = rest;
            self.waiting.pop_front();
            self.tries[instance] += 1;
            let hostname = offer.hostname.clone();
            self.notes
                .push(Note::Launched { task: task.task_id.clone(), hostname: hostname.clone() });
            let live = Live { instance, hostname, state: TaskState::Staging, healthy: None };
            self.live.insert(task.task_id.clone(), live);
            tasks.push(task);
        }
        if tasks.is_empty() {
            self.declined.too_small += 1;
            let lacking = Shortfall::of(&self.request.need, &offer.resources);
            let nearest = self.declined.nearest;
            if nearest.is_none_or(|best| lacking.is_some_and(|one| one.is_nearer_than(&best))) {
                self.declined.nearest = lacking;
            }
            return decline(REFUSE_TOO_SMALL);
        }
        let refuse = if self.waiting.is_empty() { REFUSE_FOR_GOOD } else { REFUSE_TOO_SMALL };
        Action::Launch { offer: Box::new(offer), tasks, refuse: Some(refuse) }
    }

    /// `echo-F3`, of several instances `echo-F3.1`, at the second try `echo-F3.1~2`: unique in the
    /// whole cluster, so that `meshos logs` needs no more than it.
    fn describe(
        &self,
        framework: FrameworkId,
        instance: usize,
        resources: Resources,
    ) -> Option<TaskDescription> {
        let mut id = format!("{}-{framework}", self.request.name);
        if self.request.instances > 1 {
            id += &format!(".{instance}");
        }
        if self.tries[instance] > 0 {
            id += &format!("~{}", self.tries[instance] + 1);
        }
        let mut task = self.request.template.clone();
        task.task_id = TaskId::new(&id).ok()?;
        task.name = self.request.name.clone();
        task.resources = resources;
        Some(task)
    }

    /// Takes a step of a task into account.
    pub(super) fn update(&mut self, status: StatusUpdate) -> Vec<Action> {
        let Some(live) = self.live.get_mut(&status.task) else { return Vec::new() };
        let healthy = std::mem::replace(&mut live.healthy, status.healthy) != status.healthy;
        let new = std::mem::replace(&mut live.state, status.state) != status.state || healthy;
        let (instance, hostname) = (live.instance, live.hostname.clone());
        let over = status.state.is_terminal();
        let again = status.state == TaskState::Dropped
            && !self.stopping
            && self.tries[instance] < TRIES_MAX;
        if over {
            self.live.remove(&status.task);
            if again {
                self.waiting.push_back(instance);
            } else {
                self.end(&status);
            }
        }
        if new || over {
            let node = status.agent.map(|agent| agent.node);
            let why = why(&status);
            let StatusUpdate { task, state, healthy, .. } = status;
            let step = Step { task, instance, node, hostname, state, healthy, why, again };
            self.notes.push(Note::Step(Box::new(step)));
        }
        if again { vec![Action::Want { instances: self.waiting.len() }] } else { Vec::new() }
    }

    fn end(&mut self, status: &StatusUpdate) {
        let code = exit_code(status);
        self.ended += 1;
        if code != 0 {
            self.failed += 1;
            if self.code == 0 {
                self.code = code;
            }
        }
    }
}

/// The exit code that stands for how a task ended, as shells have it.
fn exit_code(status: &StatusUpdate) -> u8 {
    if status.reason == Some(Reason::MaxCompletionTimeReached) {
        return TIME_LIMIT_CODE;
    }
    if status.reason == Some(Reason::HealthCheckFailed) {
        return HEALTH_CODE;
    }
    match (&status.exit, status.state) {
        (Some(Exit::Code { code }), _) => u8::try_from(*code).unwrap_or(NO_EXIT_CODE),
        (Some(Exit::Signal { signal }), _) => u8::try_from(*signal)
            .ok()
            .and_then(|signal| signal.checked_add(128))
            .unwrap_or(NO_EXIT_CODE),
        (_, TaskState::Finished) => 0,
        _ => NO_EXIT_CODE,
    }
}

/// Why the task is in its state, in words.
fn why(status: &StatusUpdate) -> String {
    let mut parts = Vec::new();
    if let Some(reason) = status.reason {
        parts.push(reason.name().to_owned());
    }
    if !status.message.is_empty() {
        parts.push(status.message.clone());
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests;
