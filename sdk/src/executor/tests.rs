//! What an executor's driver says when.

use meshos_protocol::{
    ids::{ContainerId, FrameworkId, TaskId},
    messages::executor::{Call, Event, Subscribe, Subscribed, UPDATES_IN_FLIGHT_MAX},
    task::{Command, TaskDescription, TaskState},
    time::Wall,
};

use super::{
    ExecutorOptions, ExecutorOptionsError, TaskUpdate,
    core::{Core, Output, Tell},
};

fn options() -> ExecutorOptions {
    let variable = |name: &str| {
        let value = match name {
            "MESHOS_EXECUTOR_SOCKET" => "/s/.executor.sock",
            "MESHOS_EXECUTOR_TOKEN" => "token",
            "MESHOS_FRAMEWORK_ID" => "F3",
            "MESHOS_EXECUTOR_ID" => "pool",
            "MESHOS_CONTAINER_ID" => "e1-1",
            "MESHOS_EXECUTOR_SHUTDOWN_GRACE_MS" => "700",
            _ => return None,
        };
        Some(value.to_owned())
    };
    ExecutorOptions::from_variables(variable).unwrap()
}

fn task(id: &str) -> TaskDescription {
    TaskDescription {
        task_id: TaskId::new(id).unwrap(),
        name: String::new(),
        resources: Default::default(),
        command: Command::none(),
        executor: None,
        group: None,
        data: b"work".to_vec(),
        kill_grace_ms: None,
        max_completion_ms: None,
        health_check: None,
        check: None,
        labels: Default::default(),
    }
}

struct World {
    core: Core,
    out: Vec<Output>,
}

impl World {
    fn new() -> Self {
        Self { core: Core::new(options(), 7), out: Vec::new() }
    }

    fn connect(&mut self) -> Subscribe {
        self.core.connected(&mut self.out);
        let Output::Send(call) = self.out.remove(0) else { panic!("{:?}", self.out) };
        let Call::Subscribe(subscribe) = *call else { panic!("{call:?}") };
        subscribe
    }

    fn subscribed(&mut self) {
        let subscribed = Subscribed {
            version: 1,
            executor: meshos_protocol::executor::ExecutorInfo {
                id: options().executor,
                name: String::new(),
                kind: meshos_protocol::executor::ExecutorKind::Custom,
                source: String::new(),
                resources: Default::default(),
                command: Command::none(),
                data: Vec::new(),
                shutdown_grace_ms: None,
                labels: Default::default(),
            },
            framework: FrameworkId(3),
            framework_info: None,
            agent: None,
            hostname: String::new(),
            container: ContainerId::new("e1-1").unwrap(),
        };
        self.hear(Event::Subscribed(Box::new(subscribed)));
    }

    fn hear(&mut self, event: Event) {
        self.core.event(event, &mut self.out);
    }

    fn launch(&mut self, id: &str) {
        self.hear(Event::Launch { task: Box::new(task(id)) });
    }

    fn tell(&mut self, id: &str, state: TaskState) -> bool {
        let update = TaskUpdate::new(TaskId::new(id).unwrap(), state);
        self.core.update(update, Wall(5), &mut self.out).is_ok()
    }

    /// The updates that were sent since the last look.
    fn sent(&mut self) -> Vec<meshos_protocol::messages::executor::ExecutorStatus> {
        let updates = std::mem::take(&mut self.out).into_iter().filter_map(|output| match output {
            Output::Send(call) => match *call {
                Call::Update { status } => Some(status),
                Call::Subscribe(_) | Call::Message { .. } | Call::Unknown => None,
            },
            Output::Tell(_) | Output::Refused(_) => None,
        });
        updates.collect()
    }
}

#[test]
fn the_environment_says_who_an_executor_is() {
    let options = options();
    assert_eq!((options.framework, options.executor.as_str()), (FrameworkId(3), "pool"));
    assert_eq!(options.recovery_timeout.as_secs(), 900);
    assert_eq!(options.shutdown_grace.as_millis(), 700);
    let by_hand = ExecutorOptions::from_variables(|_| None).unwrap_err();
    assert!(matches!(by_hand, ExecutorOptionsError::Missing("MESHOS_EXECUTOR_SOCKET")));
}

#[test]
fn updates_are_told_until_they_are_acknowledged_and_keep_their_ids() {
    let mut world = World::new();
    let first = world.connect();
    assert!(!first.again && first.tasks.is_empty());
    world.subscribed();
    world.launch("a");
    assert!(world.tell("a", TaskState::Running));
    assert!(world.tell("a", TaskState::Finished));
    let sent = world.sent();
    let states: Vec<_> = sent.iter().map(|status| status.state).collect();
    assert_eq!(states, [TaskState::Running, TaskState::Finished]);
    assert!(!world.tell("a", TaskState::Failed), "it is over");
    assert!(!world.tell("b", TaskState::Failed), "it was never handed over");
    world.core.repeat(&mut world.out);
    assert_eq!(world.sent(), sent);
    world.hear(Event::Acknowledged { task: sent[0].task.clone(), update: sent[0].update });
    world.core.disconnected(&mut world.out);
    assert_eq!(world.out, [Output::Tell(Tell::Disconnected)]);
    world.out.clear();
    let again = world.connect();
    assert!(again.again);
    assert_eq!(again.tasks, [sent[1].task.clone()]);
    assert_eq!(again.updates, sent[1..]);
    world.subscribed();
    assert!(world.sent().is_empty(), "the subscribe told it");
    assert!(!world.core.is_settled());
    world.hear(Event::Acknowledged { task: sent[1].task.clone(), update: sent[1].update });
    assert!(world.core.is_settled());
    assert!(world.connect().tasks.is_empty(), "it is forgotten");
}

#[test]
fn so_many_updates_of_a_task_are_on_their_way_and_no_more() {
    let mut world = World::new();
    world.connect();
    world.subscribed();
    world.launch("a");
    for _ in 0..UPDATES_IN_FLIGHT_MAX + 2 {
        assert!(world.tell("a", TaskState::Running));
    }
    let sent = world.sent();
    assert_eq!(sent.len(), UPDATES_IN_FLIGHT_MAX);
    world.hear(Event::Acknowledged { task: sent[0].task.clone(), update: sent[0].update });
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn a_text_that_the_agent_would_not_take_is_cut() {
    let mut world = World::new();
    world.connect();
    world.subscribed();
    world.launch("a");
    let long =
        TaskUpdate::new(TaskId::new("a").unwrap(), TaskState::Failed).message("é".repeat(9 << 20));
    world.core.update(long, Wall(5), &mut world.out).unwrap();
    assert_eq!(world.sent()[0].message.len(), 16 << 10);
}

#[test]
fn what_is_told_while_the_agent_is_away_waits() {
    let mut world = World::new();
    world.connect();
    world.subscribed();
    world.launch("a");
    world.core.disconnected(&mut world.out);
    world.out.clear();
    assert!(world.tell("a", TaskState::Running));
    assert!(world.out.is_empty());
    assert!(!world.core.message(vec![1], &mut world.out), "messages are lost");
    assert_eq!(world.connect().updates.len(), 1);
}

#[test]
fn a_group_is_launched_once_and_the_executor_says_that_it_has_all_of_it() {
    let mut world = World::new();
    assert!(world.connect().groups);
    world.subscribed();
    world.out.clear();
    let tasks = vec![task("a"), task("b")];
    for _ in 0..2 {
        world.hear(Event::LaunchGroup { tasks: tasks.clone() });
    }
    assert_eq!(world.out, [Output::Tell(Tell::LaunchGroup(tasks))]);
    world.out.clear();
    assert_eq!(world.connect().tasks.len(), 2);
}

#[test]
fn a_task_is_launched_once_and_killed_while_it_is_not_over() {
    let mut world = World::new();
    world.connect();
    world.subscribed();
    world.out.clear();
    world.launch("a");
    world.launch("a");
    assert_eq!(world.out, [Output::Tell(Tell::Launch(Box::new(task("a"))))]);
    world.out.clear();
    let kill = || Event::Kill { task: TaskId::new("a").unwrap(), grace_ms: Some(5) };
    world.hear(kill());
    assert_eq!(world.out.len(), 1);
    world.tell("a", TaskState::Killed);
    world.sent();
    world.hear(kill());
    assert!(world.out.is_empty(), "its end was told");
}
