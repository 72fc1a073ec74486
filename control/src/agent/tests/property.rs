//! Random histories with a crash at any point: nothing starts twice, nothing told is taken back,
//! and once everything has come to rest nothing is left.

use std::collections::{BTreeMap, BTreeSet};

use meshos_protocol::{
    check::Probe,
    ids::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId, UpdateId},
    messages::{
        agent::{ToAgent, ToLeader},
        executor::{Call, Event as ExecutorEvent, ExecutorStatus, Subscribe},
    },
    task::{DrainKill, Exit, TaskLaunch, TaskReport, TaskState},
};
use proptest::prelude::*;

use super::{
    checks::{checked, healthy},
    rig::{F1, NODE, Rig, executor_task, group, launch_of, task, task_id},
};
use crate::agent::{Event, ProbeOutcome};

#[derive(Debug, Clone)]
enum Step {
    Launch(u8),
    Kill(u8),
    /// The same because the node is drained.
    Drain(u8, bool),
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
    /// A task for the one executor.
    LaunchInExecutor(u8),
    /// Two tasks for it that are a group.
    LaunchGroup(u8),
    /// The executor connects, or again.
    Connects,
    /// The executor tells the next step of one of its tasks.
    Tells(u8),
    /// The executor tells once more what nobody has acknowledged.
    TellsAgain,
    CutOff,
    ShutDown,
    /// A probe that is under way finds something.
    ProbeFinds(u8, u8),
    /// A program takes the place of the one before it in the executor's container.
    StartsAnew,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..6).prop_map(Step::Launch),
        3 => (0u8..14).prop_map(Step::Kill),
        2 => (0u8..14, any::<bool>()).prop_map(|(task, gone)| Step::Drain(task, gone)),
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
        6 => (0u8..6).prop_map(Step::LaunchInExecutor),
        3 => (0u8..4).prop_map(Step::LaunchGroup),
        6 => Just(Step::Connects),
        8 => (0u8..6).prop_map(Step::Tells),
        2 => Just(Step::TellsAgain),
        1 => Just(Step::CutOff),
        1 => Just(Step::ShutDown),
        1 => Just(Step::StartsAnew),
        8 => (0u8..4, 0u8..6).prop_map(|(probe, what)| Step::ProbeFinds(probe, what)),
    ]
}

/// The tasks of a group; a kill may name any of them.
fn members(number: u8) -> [String; 2] {
    [format!("t{}", 6 + 2 * number), format!("t{}", 7 + 2 * number)]
}

/// Half of the tasks have checks, one of them both.
fn checked_task(number: u8) -> TaskLaunch {
    let name = format!("t{number}");
    match number {
        0 => healthy(&name),
        1 => checked(&name, Probe::Tcp { port: 1 }),
        2 => {
            let mut launch = healthy(&name);
            launch.description.check = checked(&name, Probe::Tcp { port: 1 }).description.check;
            launch
        }
        _ => task(&name),
    }
}

/// An executor's process, which does what it should.
#[derive(Debug, Default)]
struct Program {
    /// Which it is of all that there were.
    number: u64,
    registered_before: bool,
    /// How many steps of each task it has told, of those whose end is not acknowledged.
    tasks: BTreeMap<TaskId, usize>,
    waiting: Vec<ExecutorStatus>,
}

const STEPS: [TaskState; 2] = [TaskState::Running, TaskState::Finished];

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
    programs: BTreeMap<ContainerId, Program>,
    /// What was handed over.
    handed: BTreeSet<TaskId>,
    /// Whether the leader counts the executor.
    paid: bool,
    updates_made: u64,
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
            programs: BTreeMap::new(),
            handed: BTreeSet::new(),
            paid: false,
            updates_made: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Launch(number) => self.launch(*number),
            Step::Kill(number) => {
                let task = task_id(&format!("t{number}"));
                self.say(ToAgent::Kill { framework: F1, task, grace_ms: Some(5_000), drain: None });
            }
            Step::Drain(number, mark_gone) => {
                let task = task_id(&format!("t{number}"));
                let drain = Some(DrainKill { grace_max_ms: 2_000, mark_gone: *mark_gone });
                self.say(ToAgent::Kill { framework: F1, task, grace_ms: None, drain });
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
            Step::Gone => self.say(ToAgent::Gone { message: String::new(), leave: false }),
            Step::CloseFramework => self.say(ToAgent::CloseFramework { framework: F1 }),
            Step::DiskFails => {
                self.rig.event(Event::StorageFailed { why: "full".to_owned() });
                self.rig.pending.clear();
            }
            Step::LaunchInExecutor(number) => self.launch_in_executor(*number),
            Step::LaunchGroup(number) => self.launch_group(*number),
            Step::Connects => self.connects(),
            Step::Tells(number) => self.tells(usize::from(*number)),
            Step::TellsAgain => {
                if let Some((container, program)) = self.program() {
                    for status in program.waiting.clone() {
                        self.says(&container, Call::Update { status });
                    }
                }
            }
            Step::CutOff => {
                if let Some((container, _)) = self.program() {
                    self.rig.event(Event::ExecutorDisconnected { container });
                }
            }
            Step::StartsAnew => self.starts_anew(),
            Step::ProbeFinds(probe, what) => self.probe_finds(usize::from(*probe), *what),
            Step::ShutDown => {
                let executor = ExecutorId::new("pool").unwrap();
                self.say(ToAgent::ShutdownExecutor { framework: F1, executor, grace_max_ms: None });
            }
        }
        self.hear_agent();
        self.listen();
        let used = self.rig.agent.view().used;
        assert!(self.rig.agent.view().resources.contains(&used), "more is used than there is");
    }

    fn starts_anew(&mut self) {
        if let Some((container, program)) = self.program() {
            *program = Program { number: program.number + 1, ..Program::default() };
            self.rig.event(Event::ExecutorDisconnected { container });
        }
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
            self.rig.tell(launch_of(F1, vec![checked_task(number)]));
        }
    }

    fn probe_finds(&mut self, which: usize, what: u8) {
        let Some(probe) = self.rig.probes.keys().nth(which).cloned() else { return };
        let outcome = match what {
            0 => ProbeOutcome::Connected,
            1 => ProbeOutcome::NotAsked { why: String::new() },
            2 => ProbeOutcome::Status(503),
            3 => {
                // As a container of its own.
                self.rig.probes.remove(&probe);
                let exit = Exit::Code { code: 1 };
                self.rig.event(Event::ContainerExited { container: probe, exit, limitation: None });
                return;
            }
            _ => ProbeOutcome::Failed { why: String::new() },
        };
        self.rig.probe_ends(&probe, outcome);
    }

    fn launch_in_executor(&mut self, number: u8) {
        let key = (F1, task_id(&format!("x{number}")));
        if self.open && !self.launched.contains_key(&key) {
            *self.launched.entry(key.clone()).or_default() += 1;
            let starts = !std::mem::replace(&mut self.paid, true);
            self.rig.tell(launch_of(F1, vec![executor_task(key.1.as_str(), starts)]));
        }
    }

    fn launch_group(&mut self, number: u8) {
        let names = members(number);
        if !self.open || self.launched.contains_key(&(F1, task_id(&names[0]))) {
            return;
        }
        let starts = !std::mem::replace(&mut self.paid, true);
        let mut tasks = group(&names.each_ref().map(String::as_str), starts);
        for launch in &mut tasks {
            let id = launch.description.task_id.clone();
            // The framework's own executor may be handed groups too.
            launch.description.executor = executor_task(id.as_str(), false).description.executor;
            *self.launched.entry((F1, id)).or_default() += 1;
        }
        self.rig.tell(ToAgent::LaunchGroup {
            framework: F1,
            user: String::new(),
            info: None,
            tasks,
        });
    }

    /// The executor whose container runs.
    fn program(&mut self) -> Option<(ContainerId, &mut Program)> {
        let mut running = self.rig.containers.values().filter(|it| it.ended.is_none());
        let found = running.find(|it| it.container.as_str().starts_with('e'))?;
        let container = found.container.clone();
        let first = || Program { number: 1, ..Program::default() };
        Some((container.clone(), self.programs.entry(container).or_insert_with(first)))
    }

    fn says(&mut self, container: &ContainerId, call: Call) {
        self.rig.event(Event::ExecutorCalled { container: container.clone(), call });
    }

    fn connects(&mut self) {
        let Some((container, program)) = self.program() else { return };
        let subscribe = Subscribe {
            version: 1,
            version_min: 1,
            token: String::new(),
            framework: F1,
            executor: ExecutorId::new("pool").unwrap(),
            container: container.clone(),
            program: program.number,
            again: program.registered_before,
            acknowledged_left_out: false,
            groups: true,
            tasks: program.tasks.keys().cloned().collect(),
            updates: program.waiting.clone(),
        };
        self.says(&container, Call::Subscribe(subscribe));
    }

    fn tells(&mut self, which: usize) {
        self.updates_made += 1;
        let update = UpdateId::from_bytes(u128::from(self.updates_made).to_be_bytes());
        let Some((container, program)) = self.program() else { return };
        let mut open = program.tasks.iter_mut().filter(|(_, told)| **told < STEPS.len());
        let Some((task, told)) = open.nth(which) else { return };
        let (reason, message, data, at) = (None, String::new(), Vec::new(), None);
        let (task, state) = (task.clone(), STEPS[*told]);
        *told += 1;
        let (healthy, check_status) = (Some(true), None);
        let status = ExecutorStatus {
            task,
            state,
            update,
            reason,
            message,
            data,
            at,
            healthy,
            check_status,
        };
        program.waiting.push(status.clone());
        self.says(&container, Call::Update { status });
    }

    /// Executors hear what they are told.
    fn hear_agent(&mut self) {
        for (container, event) in std::mem::take(&mut self.rig.told) {
            let runs = self.rig.containers.get(&container).is_some_and(|it| it.ended.is_none());
            if !runs {
                continue;
            }
            let program = self.programs.entry(container).or_default();
            match event {
                ExecutorEvent::Subscribed(_) => program.registered_before = true,
                ExecutorEvent::Launch { task } => {
                    let id = task.task_id;
                    assert!(self.handed.insert(id.clone()), "{id} is handed over twice");
                    program.tasks.insert(id, 0);
                }
                ExecutorEvent::LaunchGroup { tasks } => {
                    for task in tasks {
                        let id = task.task_id;
                        assert!(self.handed.insert(id.clone()), "{id} is handed over twice");
                        program.tasks.insert(id, 0);
                    }
                }
                ExecutorEvent::Acknowledged { task, update } => {
                    program.waiting.retain(|status| status.update != update);
                    let waits = program.waiting.iter().any(|status| status.task == task);
                    if !waits && program.tasks.get(&task) == Some(&STEPS.len()) {
                        program.tasks.remove(&task);
                    }
                }
                ExecutorEvent::Kill { .. }
                | ExecutorEvent::Message { .. }
                | ExecutorEvent::Shutdown { .. }
                | ExecutorEvent::Error { .. }
                | ExecutorEvent::Unknown => {}
            }
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
                        self.paid = !registration.executors.as_ref().unwrap().is_empty();
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
                    ToLeader::ExecutorEnded { .. } => self.paid = false,
                    ToLeader::TaskEnded { .. }
                    | ToLeader::Operation { .. }
                    | ToLeader::Leaving
                    | ToLeader::ExecutorMessage { .. }
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
        assert!(view.used.is_empty() && view.executors.is_empty());
        assert!(self.rig.disk.executors.is_empty() && !self.paid);
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
        for number in 0..4 {
            let [first, second] = members(number).map(|name| starts.contains_key(&(F1, task_id(&name))));
            prop_assert_eq!(first, second, "a group starts whole or not at all: {:?}", starts);
        }
    }
}
