//! Executors as they are outside of the agent: processes with sockets of their own, which outlive the
//! node's process and are at times slow, silent or dead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meshos_control::agent;
use meshos_protocol::{
    executor::{ExecutorInfo, ExecutorKind},
    ids::{AgentId, ContainerId, ExecutorId, FrameworkId, TaskId, UpdateId},
    messages::{
        executor::{Call, Event, ExecutorStatus, Subscribe},
        scheduler::Call as FrameworkCall,
    },
    resources::Resources,
    task::{Command, CommandLine, Exit, TaskState},
};

use crate::{
    launcher::Container,
    world::{Happening, World},
};

/// How long an executor tries to come back; the agent waits as long.
pub(crate) const RECOVERY_MS: u64 = 8_000;

/// What an executor does by itself.
#[derive(Debug, Clone)]
pub enum Step {
    /// It connects to its agent.
    Connect,
    /// It reads what it was sent next over a connection.
    Read { connection: u64 },
    /// What it wrote next over a connection reaches the agent.
    Write { connection: u64 },
    /// One of its tasks ends by itself.
    TaskEnds { task: TaskId },
    /// It ends one of its tasks, as it was asked to.
    Kills { task: TaskId },
    /// It tells again what nobody has acknowledged.
    Repeat,
    /// It ends.
    Quit,
}

/// The process in an executor's container.
#[derive(Debug)]
pub struct Program {
    executor: ExecutorId,
    /// Which it is of those that were in its container.
    number: u64,
    /// Whether it ever speaks to its agent.
    speaks: bool,
    registered_before: bool,
    /// Tasks that it was handed and whose end is not acknowledged; over when their end was told.
    tasks: BTreeMap<TaskId, bool>,
    /// What is not acknowledged, oldest first.
    waiting: Vec<ExecutorStatus>,
    connection: Option<u64>,
    inbox: VecDeque<Event>,
    outbox: VecDeque<Call>,
    /// When the last of what is on its way arrives, in each direction.
    read_at: u64,
    write_at: u64,
    away_since: u64,
}

impl Program {
    pub(crate) fn new(executor: ExecutorId, speaks: bool, now_ms: u64) -> Self {
        Self {
            executor,
            number: 1,
            speaks,
            registered_before: false,
            tasks: BTreeMap::new(),
            waiting: Vec::new(),
            connection: None,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            read_at: 0,
            write_at: 0,
            away_since: now_ms,
        }
    }
}

impl World {
    fn program(&mut self, node: usize, container: &ContainerId) -> Option<&mut Program> {
        let container = self.nodes[node].launcher.containers.get_mut(container)?;
        container.program.as_mut().filter(|_| container.ended.is_none())
    }

    fn plan_step(&mut self, node: usize, container: &ContainerId, delay_ms: u64, step: Step) {
        let container = container.clone();
        self.plan(delay_ms, Happening::Executor { node, container, step });
    }

    /// An executor's container has come up.
    pub(crate) fn executor_up(&mut self, node: usize, container: &ContainerId) {
        let delay = self.dice.skewed(1..=500);
        self.plan_step(node, container, delay, Step::Connect);
        self.plan_step(node, container, 3_000, Step::Repeat);
    }

    /// An executor does what it has planned.
    pub fn executor_steps(&mut self, node: usize, container: &ContainerId, step: Step) {
        if self.program(node, container).is_none() {
            return;
        }
        match step {
            Step::Connect => self.executor_connects(node, container),
            Step::Read { connection } => self.executor_reads(node, container, connection),
            Step::Write { connection } => self.agent_reads(node, container, connection),
            Step::TaskEnds { task } => {
                let failed = self.dice.chance(200);
                let state = if failed { TaskState::Failed } else { TaskState::Finished };
                self.executor_tells(node, container, &task, state);
            }
            Step::Kills { task } => {
                self.executor_tells(node, container, &task, TaskState::Killed);
            }
            Step::Repeat => {
                self.executor_repeats(node, container);
                self.plan_step(node, container, 3_000, Step::Repeat);
            }
            Step::Quit => {
                self.container_ends(node, container.clone(), Exit::Code { code: 0 });
            }
        }
    }

    fn executor_connects(&mut self, node: usize, container: &ContainerId) {
        let now_ms = self.now_ms;
        let process = self.nodes[node].process.as_ref();
        let served = process.is_some_and(|process| process.served.contains(container));
        let Some(program) = self.program(node, container) else { return };
        if program.connection.is_some() || !program.speaks {
            return;
        }
        if !served {
            if now_ms - program.away_since >= RECOVERY_MS {
                // Nobody is there who would want to know.
                self.container_ends(node, container.clone(), Exit::Code { code: 1 });
                return;
            }
            let delay = self.dice.number(50..=300);
            self.plan_step(node, container, delay, Step::Connect);
            return;
        }
        self.oracle.callers += 1;
        let connection = self.oracle.callers;
        let Some(program) = self.program(node, container) else { return };
        program.connection = Some(connection);
        program.inbox.clear();
        program.outbox.clear();
        let (executor, again) = (program.executor.clone(), program.registered_before);
        let (tasks, updates) = (program.tasks.keys().cloned().collect(), program.waiting.clone());
        let program = program.number;
        let framework = self.nodes[node].launcher.containers[container].framework;
        let subscribe = Subscribe {
            version: 1,
            version_min: 1,
            token: String::new(),
            framework,
            executor,
            container: container.clone(),
            program,
            again,
            acknowledged_left_out: false,
            groups: true,
            tasks,
            updates,
        };
        if let Some(process) = &mut self.nodes[node].process {
            process.executor_links.insert(container.clone(), connection);
        }
        self.executor_writes(node, container, Call::Subscribe(subscribe));
    }

    fn executor_writes(&mut self, node: usize, container: &ContainerId, call: Call) {
        let delay = self.dice.skewed(1..=20);
        let now_ms = self.now_ms;
        let Some(program) = self.program(node, container) else { return };
        let Some(connection) = program.connection else { return };
        program.outbox.push_back(call);
        program.write_at = program.write_at.max(now_ms + delay);
        let at = program.write_at - now_ms;
        self.plan_step(node, container, at, Step::Write { connection });
    }

    fn agent_reads(&mut self, node: usize, container: &ContainerId, connection: u64) {
        let Some(program) = self.program(node, container) else { return };
        if program.connection != Some(connection) {
            return;
        }
        let Some(call) = program.outbox.pop_front() else { return };
        let process = self.nodes[node].process.as_ref();
        let link = process.and_then(|process| process.executor_links.get(container));
        if link == Some(&connection) {
            let container = container.clone();
            self.agent_event(node, agent::Event::ExecutorCalled { container, call });
        }
    }

    /// The agent says something to an executor.
    pub(crate) fn tell_executor(&mut self, node: usize, container: &ContainerId, event: Event) {
        let delay = self.dice.skewed(1..=20);
        let now_ms = self.now_ms;
        let process = self.nodes[node].process.as_ref();
        let link = process.and_then(|process| process.executor_links.get(container)).copied();
        let Some(program) = self.program(node, container) else { return };
        let Some(connection) = link.filter(|link| program.connection == Some(*link)) else {
            return;
        };
        program.inbox.push_back(event);
        program.read_at = program.read_at.max(now_ms + delay);
        let at = program.read_at - now_ms;
        self.plan_step(node, container, at, Step::Read { connection });
    }

    fn executor_reads(&mut self, node: usize, container: &ContainerId, connection: u64) {
        let Some(program) = self.program(node, container) else { return };
        if program.connection != Some(connection) {
            return;
        }
        let Some(event) = program.inbox.pop_front() else {
            // The end of the connection.
            let lives = self.nodes[node].process.as_ref();
            let link = lives.and_then(|process| process.executor_links.get(container));
            if link != Some(&connection) {
                self.executor_cut_off(node, container);
            }
            return;
        };
        self.trace.note(self.now_ms, format_args!("n{node} executor {container}: {event:?}"));
        match event {
            Event::Subscribed(_) => {
                if let Some(program) = self.program(node, container) {
                    program.registered_before = true;
                }
            }
            Event::Launch { task } => self.executor_launches(node, container, task.task_id),
            Event::LaunchGroup { tasks } => {
                for task in tasks {
                    self.executor_launches(node, container, task.task_id);
                }
            }
            Event::Kill { task, .. } => {
                let running = self.program(node, container);
                let running = running.is_some_and(|it| it.tasks.get(&task) == Some(&false));
                // One in four needs to be told again.
                if running && self.dice.chance(750) {
                    let delay = self.dice.number(1..=500);
                    self.plan_step(node, container, delay, Step::Kills { task });
                }
            }
            Event::Acknowledged { task, update } => {
                let Some(program) = self.program(node, container) else { return };
                program.waiting.retain(|status| status.update != update);
                let waits = program.waiting.iter().any(|status| status.task == task);
                if !waits && program.tasks.get(&task) == Some(&true) {
                    program.tasks.remove(&task);
                }
            }
            Event::Shutdown { .. } => {
                if self.dice.chance(750) {
                    let delay = self.dice.number(1..=800);
                    self.plan_step(node, container, delay, Step::Quit);
                }
            }
            Event::Error { .. } => self.plan_step(node, container, 1, Step::Quit),
            Event::Message { .. } | Event::Unknown => {}
        }
    }

    fn executor_launches(&mut self, node: usize, container: &ContainerId, task: TaskId) {
        let framework = self.nodes[node].launcher.containers[container].framework;
        self.oracle.started(node, framework, &task);
        let Some(program) = self.program(node, container) else { return };
        let known = program.tasks.insert(task.clone(), false);
        assert_eq!(known, None, "n{node} hands {task} over twice");
        if self.dice.chance(200) {
            self.executor_tells(node, container, &task, TaskState::Starting);
        }
        if self.dice.chance(900) {
            self.executor_tells(node, container, &task, TaskState::Running);
        }
        let delay = self.draw_task_ms(&task);
        self.plan_step(node, container, delay, Step::TaskEnds { task });
    }

    fn executor_tells(
        &mut self,
        node: usize,
        container: &ContainerId,
        task: &TaskId,
        state: TaskState,
    ) {
        // Rising, and below all that agents make.
        self.oracle.executor_updates += 1;
        let update = UpdateId::from_bytes(u128::from(self.oracle.executor_updates).to_be_bytes());
        let Some(program) = self.program(node, container) else { return };
        let Some(over) = program.tasks.get_mut(task).filter(|over| !**over) else { return };
        *over = state.is_terminal();
        let status = ExecutorStatus {
            task: task.clone(),
            state,
            update,
            reason: None,
            message: String::new(),
            data: Vec::new(),
            at: None,
            healthy: None,
            check_status: None,
        };
        program.waiting.push(status.clone());
        self.executor_writes(node, container, Call::Update { status });
        if self.dice.chance(50) {
            self.executor_writes(node, container, Call::Message { data: vec![1] });
        }
    }

    fn executor_repeats(&mut self, node: usize, container: &ContainerId) {
        let Some(program) = self.program(node, container) else { return };
        let again = program.waiting.clone();
        for status in again {
            self.executor_writes(node, container, Call::Update { status });
        }
    }

    /// The connection is gone: it comes back after a while.
    fn executor_cut_off(&mut self, node: usize, container: &ContainerId) {
        let now_ms = self.now_ms;
        let Some(program) = self.program(node, container) else { return };
        if program.connection.take().is_some() {
            program.away_since = now_ms;
            let delay = self.dice.number(20..=400);
            self.plan_step(node, container, delay, Step::Connect);
        }
    }

    /// The node's process is gone: of what it had said, executors read some.
    pub(crate) fn executors_lose_agent(&mut self, node: usize) {
        let running: Vec<ContainerId> =
            self.nodes[node].launcher.running().map(|(id, _)| id.clone()).collect();
        for container in running {
            let Some(program) = self.program(node, &container) else { continue };
            let Some(connection) = program.connection else { continue };
            let length = program.inbox.len();
            let kept = self.dice.index(length + 1);
            let delay = self.dice.skewed(1..=200);
            let now_ms = self.now_ms;
            let Some(program) = self.program(node, &container) else { continue };
            program.inbox.truncate(kept);
            let at = program.read_at.max(now_ms) + delay - now_ms;
            self.plan_step(node, &container, at, Step::Read { connection });
        }
    }

    /// An executor's connection breaks.
    pub(crate) fn cut_an_executor(&mut self, node: usize, container: &ContainerId) {
        let process = self.nodes[node].process.as_mut();
        let link = process.and_then(|process| process.executor_links.remove(container));
        if link.is_some() {
            let container = container.clone();
            self.agent_event(node, agent::Event::ExecutorDisconnected { container });
        }
        self.executor_cut_off(node, container);
    }

    /// A program takes the place of the one before it in an executor's container, and knows nothing of
    /// what that was handed.
    pub(crate) fn start_executor_anew(&mut self, node: usize, container: &ContainerId) {
        self.cut_an_executor(node, container);
        let now_ms = self.now_ms;
        let Some(program) = self.program(node, container) else { return };
        let anew = Program::new(program.executor.clone(), program.speaks, now_ms);
        *program = Program { number: program.number + 1, ..anew };
    }

    /// The containers of executors that run, with their nodes.
    pub(crate) fn running_executors(&self) -> Vec<(usize, ContainerId)> {
        let of = |(index, node): (usize, &crate::node::Node)| {
            let executors = node.launcher.running().filter(|(_, it)| it.program.is_some());
            executors.map(|(id, _)| (index, id.clone())).collect::<Vec<_>>()
        };
        self.nodes.iter().enumerate().flat_map(of).collect()
    }

    /// An executor's container is being prepared.
    pub(crate) fn prepare_executor(
        &mut self,
        node: usize,
        id: ContainerId,
        framework: FrameworkId,
        info: &ExecutorInfo,
        resources: Resources,
    ) {
        let speaks = self.dice.chance(970);
        let program = Some(Program::new(info.id.clone(), speaks, self.now_ms));
        let container =
            Container { framework, task: None, program, resources, pid: 0, ended: None };
        self.prepare(node, id, container);
    }

    /// The framework ends the executors that it has no use for.
    pub(crate) fn driver_ends_executors(&mut self, index: usize) {
        let driver = &self.drivers[index];
        let used: BTreeSet<(AgentId, ExecutorId)> = driver
            .beliefs
            .values()
            .filter(|belief| !belief.is_over())
            .filter_map(|belief| Some((belief.agent, belief.executor.clone()?)))
            .collect();
        let idle: Vec<_> = driver.executors.difference(&used).cloned().collect();
        for (agent, executor) in idle {
            if !self.faults || self.dice.chance(200) {
                self.call(index, FrameworkCall::ShutdownExecutor { agent, executor }, None);
            } else if self.dice.chance(200) {
                let data = vec![2];
                self.call(index, FrameworkCall::Message { agent, executor, data }, None);
            }
        }
    }
}

/// One of the two executors that a framework has.
pub(crate) fn description(which: usize) -> ExecutorInfo {
    ExecutorInfo {
        id: ExecutorId::new(&format!("x{which}")).expect("a plain text"),
        name: String::new(),
        kind: ExecutorKind::Custom,
        source: String::new(),
        resources: "cpus:0.1;mem:16".parse().expect("a resource text"),
        command: Command {
            line: CommandLine::Shell { line: "true".to_owned() },
            ..Command::none()
        },
        data: Vec::new(),
        shutdown_grace_ms: None,
        labels: BTreeMap::new(),
    }
}
