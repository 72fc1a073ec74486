//! Random histories with a crash at any point: nothing starts twice, nothing told is taken back,
//! and once everything has come to rest nothing is left.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    ids::{AgentId, FrameworkId, TaskId, UpdateId},
    messages::agent::{ToAgent, ToLeader},
    task::{Exit, TaskReport, TaskState},
};
use proptest::prelude::*;

use super::rig::{F1, NODE, Rig, launch_of, task, task_id};
use crate::agent::Event;

#[derive(Debug, Clone)]
enum Step {
    Launch(u8),
    Kill(u8),
    Acknowledge,
    /// The oldest so many writes become durable.
    Flush(usize),
    ComesUp,
    CannotStart,
    Exits(u8),
    Wait(u64),
    Crash,
    Reboot,
    Disconnect,
    Register,
    NewTerm,
    Gone,
    CloseFramework,
    DiskFails,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..6).prop_map(Step::Launch),
        3 => (0u8..6).prop_map(Step::Kill),
        8 => Just(Step::Acknowledge),
        8 => (1usize..4).prop_map(Step::Flush),
        6 => Just(Step::ComesUp),
        1 => Just(Step::CannotStart),
        4 => (0u8..6).prop_map(Step::Exits),
        2 => (1u64..20_000).prop_map(Step::Wait),
        2 => Just(Step::Crash),
        1 => Just(Step::Reboot),
        1 => Just(Step::Disconnect),
        4 => Just(Step::Register),
        1 => Just(Step::NewTerm),
        1 => Just(Step::Gone),
        1 => Just(Step::CloseFramework),
        1 => Just(Step::DiskFails),
    ]
}

/// The leader's and the framework's side, and what they were told.
#[derive(Debug)]
struct World {
    rig: Rig,
    term: u64,
    registrations: u32,
    /// Whether a stream is open on which the agent has registered.
    open: bool,
    /// The newest update with an id for each task: its id, its state, and the start generation
    /// under which it was sent.
    heard: BTreeMap<(FrameworkId, TaskId), (UpdateId, TaskState, u64)>,
    /// Every update with an id.
    told: BTreeSet<UpdateId>,
    launched: BTreeMap<(FrameworkId, TaskId), u64>,
    /// Heard and not acknowledged.
    owed: Vec<(TaskId, UpdateId)>,
}

impl World {
    fn new() -> Self {
        let mut rig = Rig::registered();
        rig.flush();
        Self {
            rig,
            term: 1,
            registrations: 1,
            open: true,
            heard: BTreeMap::new(),
            told: BTreeSet::new(),
            launched: BTreeMap::new(),
            owed: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Launch(number) => self.launch(*number),
            Step::Kill(number) => {
                let task = task_id(&format!("t{number}"));
                self.say(ToAgent::Kill { framework: F1, task, grace_ms: Some(5_000) });
            }
            Step::Acknowledge => self.acknowledge(),
            Step::Flush(count) => self.rig.flush_some(*count),
            Step::ComesUp => self.comes_up(),
            Step::CannotStart => self.cannot_start(),
            Step::Exits(number) => self.exits(usize::from(*number)),
            Step::Wait(ms) => self.rig.wait(*ms),
            Step::Crash => {
                self.open = false;
                self.rig.crash();
            }
            Step::Reboot => {
                self.open = false;
                self.rig.reboot();
            }
            Step::Disconnect => {
                self.open = false;
                self.rig.event(Event::Disconnected);
            }
            Step::Register => self.connect(),
            Step::NewTerm => {
                self.term += 1;
                self.connect();
            }
            Step::Gone => self.say(ToAgent::Gone { message: String::new() }),
            Step::CloseFramework => self.say(ToAgent::CloseFramework { framework: F1 }),
            Step::DiskFails => {
                self.rig.event(Event::StorageFailed { why: "full".to_owned() });
                self.rig.pending.clear();
            }
        }
        self.listen();
        let used = self.rig.agent.view().used;
        assert!(self.rig.agent.view().resources.contains(&used), "more is used than there is");
    }

    fn say(&mut self, message: ToAgent) {
        if self.open {
            self.rig.tell(message);
        }
    }

    /// A leader launches a task once; a transport that repeated it would do so while it is known.
    fn launch(&mut self, number: u8) {
        let key = (F1, task_id(&format!("t{number}")));
        let known = self
            .rig
            .agent
            .view()
            .tasks
            .iter()
            .any(|t| t.record.launch.description.task_id == key.1);
        if self.open && (known || !self.launched.contains_key(&key)) {
            *self.launched.entry(key.clone()).or_default() += 1;
            self.rig.tell(launch_of(F1, vec![task(key.1.as_str())]));
        }
    }

    fn acknowledge(&mut self) {
        if self.open && !self.owed.is_empty() {
            let (task, update) = self.owed.remove(0);
            self.rig.acknowledge_id(&task, update);
        }
    }

    fn comes_up(&mut self) {
        if !self.rig.preparing.is_empty() {
            let container = self.rig.preparing.remove(0);
            self.rig.comes_up(&container);
        }
    }

    fn cannot_start(&mut self) {
        if !self.rig.preparing.is_empty() {
            let container = self.rig.preparing.remove(0);
            let reason = meshos_protocol::task::Reason::ContainerLaunchFailed;
            let message = String::new();
            self.rig.event(Event::ContainerFailed { container, reason, message });
        }
    }

    fn exits(&mut self, index: usize) {
        let running: Vec<_> =
            self.rig.containers.values().filter(|c| c.ended.is_none()).cloned().collect();
        if let Some(found) = running.get(index) {
            self.rig.exits(&found.container, Exit::Code { code: 1 });
        }
    }

    fn connect(&mut self) {
        self.open = true;
        self.rig.connect(self.term);
    }

    /// The leader answers registrations, and the framework hears what it is told.
    fn listen(&mut self) {
        while !self.rig.said.is_empty() {
            for message in std::mem::take(&mut self.rig.said) {
                match message {
                    ToLeader::Register(registration) => {
                        self.hear_reports(&registration.tasks);
                        let agent = registration.agent.unwrap_or_else(|| {
                            self.registrations += 1;
                            AgentId::new(NODE, self.registrations)
                        });
                        self.rig.tell(ToAgent::Registered { agent, draining: false });
                    }
                    ToLeader::Report { tasks, .. } => self.hear_reports(&tasks),
                    ToLeader::Update { status } => {
                        if let Some(update) = status.update {
                            self.hear(status.task, update, status.state);
                        }
                    }
                    ToLeader::TaskEnded { .. }
                    | ToLeader::Operation { .. }
                    | ToLeader::Leaving
                    | ToLeader::Ends { .. }
                    | ToLeader::Unknown => {}
                }
            }
        }
    }

    fn hear_reports(&mut self, reports: &[TaskReport]) {
        for head in reports.iter().filter_map(|report| report.unacknowledged.first()) {
            self.hear(head.task.clone(), head.update.unwrap(), head.state);
        }
    }

    fn hear(&mut self, task: TaskId, update: UpdateId, state: TaskState) {
        let steps = [TaskState::Starting, TaskState::Running, TaskState::Killing];
        let rank = |state| steps.iter().position(|step| *step == state).unwrap_or(steps.len());
        let key = (F1, task.clone());
        let generation = self.rig.generation;
        self.owed.push((task.clone(), update));
        if !self.told.insert(update) {
            // Told before: at least once means that frameworks tell repetitions by the id.
            return;
        }
        if let Some((heard, before, told_in)) = self.heard.get(&key) {
            // Steps before the end may be told again after a crash; an end is told for good.
            let in_order = rank(state) >= rank(*before) || *told_in < generation;
            assert!(in_order, "{task}: {before} then {state}");
            assert!(!before.is_terminal(), "{task}: {before} {heard}, then {state} {update}");
        }
        self.heard.insert(key, (update, state, generation));
    }

    /// Everything that can still happen happens; then nothing may be left.
    fn come_to_rest(&mut self) {
        // A disk that failed works again after a restart.
        self.step(&Step::Crash);
        self.term += 1;
        self.connect();
        for _ in 0..20 {
            self.listen();
            self.rig.flush();
            self.comes_up();
            self.exits(0);
            self.rig.flush();
            self.listen();
            while !self.owed.is_empty() {
                self.acknowledge();
                self.listen();
            }
            self.rig.wait(700_000);
        }
        let view = self.rig.agent.view();
        assert!(view.tasks.is_empty(), "left: {:?}", view.tasks);
        assert!(view.used.is_empty());
        assert!(self.rig.disk.records.is_empty());
        assert!(self.rig.containers.is_empty());
        assert!(view.registered);
    }
}

proptest! {
    #[test]
    fn no_task_starts_twice_whatever_happens(steps in proptest::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.come_to_rest();
        let mut starts = BTreeMap::<_, u32>::new();
        for key in &world.rig.starts {
            *starts.entry(key.clone()).or_default() += 1;
        }
        prop_assert!(starts.values().all(|count| *count == 1), "{starts:?}");
    }
}
