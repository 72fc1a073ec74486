//! Examples of what is said of and with executors.

use meshos_protocol::{
    check::CheckStatus,
    executor::{ExecutorInfo, ExecutorKind},
    ids::{ContainerId, ExecutorId, FrameworkId},
    messages::{
        agent::{ExecutorReport, Registration, ToAgent, ToLeader},
        executor::{
            Call as ExecutorCall, Event as ExecutorEvent, ExecutorStatus, Subscribe, Subscribed,
        },
        scheduler::{Accept, Call, Event},
    },
    task::{
        Command, Exit, GroupEnds, GroupMember, Reason, Source, StatusUpdate, TaskDescription,
        TaskLaunch, TaskState,
    },
    time::Wall,
};

use super::samples::{self, Target, agent, command, resources, role, task_id, texts, update_id};

const FRAMEWORK: FrameworkId = FrameworkId(12);

fn executor_id() -> ExecutorId {
    ExecutorId::new("pool ü").expect("a good id")
}

fn container() -> ContainerId {
    ContainerId::new("e1-1").expect("a good id")
}

fn info() -> ExecutorInfo {
    ExecutorInfo {
        id: executor_id(),
        name: "a pool".into(),
        kind: ExecutorKind::Custom,
        source: "nightly".into(),
        resources: resources(),
        command: command(),
        data: vec![0, 255, 7],
        shutdown_grace_ms: Some(4_000),
        labels: texts(),
    }
}

fn description() -> TaskDescription {
    TaskDescription {
        command: Command::none(),
        executor: Some(Box::new(info())),
        data: b"work".to_vec(),
        ..samples::description()
    }
}

fn member(ends: GroupEnds) -> TaskDescription {
    TaskDescription {
        executor: Some(Box::new(ExecutorInfo { kind: ExecutorKind::Group, ..info() })),
        group: Some(Box::new(GroupMember { first: task_id(), size: 2, ends })),
        ..samples::description()
    }
}

/// Ends of tasks that are a group, and those that part.
fn members() -> Vec<TaskDescription> {
    [GroupEnds::Together, GroupEnds::Apart].map(member).into()
}

fn group_launch() -> ToAgent {
    let launch = |description| TaskLaunch { description, role: role(), executor_resources: None };
    let tasks = members().into_iter().map(launch).collect();
    ToAgent::LaunchGroup { framework: FRAMEWORK, user: "nobody".into(), info: None, tasks }
}

fn launch() -> TaskLaunch {
    TaskLaunch { description: description(), role: role(), executor_resources: Some(resources()) }
}

fn report() -> ExecutorReport {
    ExecutorReport {
        framework: FRAMEWORK,
        executor: executor_id(),
        role: role(),
        resources: resources(),
        fingerprint: info().fingerprint(),
    }
}

fn update() -> StatusUpdate {
    StatusUpdate {
        executor: Some(executor_id()),
        data: vec![1, 2, 3],
        source: Source::Executor,
        ..samples::status()
    }
}

fn registration() -> Registration {
    Registration { executors: Some(vec![report()]), ..samples::registration() }
}

pub(crate) fn to_leader() -> Vec<ToLeader> {
    let ended = |exit| ToLeader::ExecutorEnded {
        framework: FRAMEWORK,
        executor: executor_id(),
        exit,
        message: "the executor exited with status 1".into(),
    };
    vec![
        ToLeader::Register(registration()),
        ToLeader::Register(Registration { groups: true, ..registration() }),
        ToLeader::Update { status: update() },
        ended(Some(Exit::Signal { signal: 9 })),
        ended(None),
        ToLeader::ExecutorMessage {
            framework: FRAMEWORK,
            executor: executor_id(),
            data: vec![9, 200],
        },
    ]
}

pub(crate) fn to_agent() -> Vec<ToAgent> {
    let (framework, executor) = (FRAMEWORK, executor_id());
    vec![
        ToAgent::Launch { framework, user: "nobody".into(), info: None, tasks: vec![launch()] },
        ToAgent::Launch {
            framework,
            user: "nobody".into(),
            info: Some(Box::new(samples::info())),
            tasks: vec![launch()],
        },
        ToAgent::ShutdownExecutor { framework, executor: executor.clone(), grace_max_ms: None },
        ToAgent::ShutdownExecutor { framework, executor: executor.clone(), grace_max_ms: Some(1) },
        ToAgent::ExecutorMessage { framework, executor, data: vec![9, 200] },
        group_launch(),
    ]
}

pub(crate) fn calls() -> Vec<Call> {
    let executor = executor_id();
    vec![
        Call::Accept(Accept { launch: vec![description()], ..samples::accept() }),
        Call::Accept(Accept { launch: members(), ..samples::accept() }),
        Call::Message { agent: agent(), executor: executor.clone(), data: vec![9, 200] },
        Call::ShutdownExecutor { agent: agent(), executor },
    ]
}

pub(crate) fn events() -> Vec<Event> {
    let lost = |exit| Event::ExecutorLost {
        agent: agent(),
        executor: executor_id(),
        exit,
        message: "signal 9 ended it".into(),
    };
    vec![
        Event::Message { agent: agent(), executor: executor_id(), data: vec![9, 200] },
        lost(Some(Exit::Signal { signal: 9 })),
        lost(None),
        Event::Update { status: update() },
    ]
}

fn statuses() -> Vec<ExecutorStatus> {
    let status = ExecutorStatus {
        task: task_id(),
        state: TaskState::Failed,
        update: update_id(),
        reason: Some(Reason::CommandFailed),
        message: "no".into(),
        data: vec![4, 0, 4],
        at: Some(Wall(8)),
        healthy: Some(true),
        check_status: Some(CheckStatus::Tcp { succeeded: Some(true) }),
    };
    let bare = ExecutorStatus {
        state: TaskState::Running,
        reason: None,
        message: String::new(),
        data: Vec::new(),
        at: None,
        ..status.clone()
    };
    vec![status, bare]
}

fn subscribe() -> Subscribe {
    Subscribe {
        version: 1,
        version_min: 1,
        token: "secret".into(),
        framework: FRAMEWORK,
        executor: executor_id(),
        container: container(),
        program: 77,
        again: true,
        acknowledged_left_out: false,
        groups: false,
        tasks: vec![task_id()],
        updates: statuses(),
    }
}

fn executor_calls() -> Vec<ExecutorCall> {
    let mut all = vec![
        ExecutorCall::Subscribe(subscribe()),
        ExecutorCall::Subscribe(Subscribe { groups: true, ..subscribe() }),
        ExecutorCall::Message { data: vec![9, 200] },
        ExecutorCall::Unknown,
    ];
    all.extend(statuses().into_iter().map(|status| ExecutorCall::Update { status }));
    all
}

fn executor_events() -> Vec<ExecutorEvent> {
    let subscribed = Subscribed {
        version: 1,
        executor: info(),
        framework: FRAMEWORK,
        framework_info: Some(Box::new(samples::info())),
        agent: Some(agent()),
        hostname: "here".into(),
        container: container(),
    };
    let bare = Subscribed { framework_info: None, agent: None, ..subscribed.clone() };
    vec![
        ExecutorEvent::Subscribed(Box::new(subscribed)),
        ExecutorEvent::Subscribed(Box::new(bare)),
        ExecutorEvent::Launch { task: Box::new(description()) },
        ExecutorEvent::LaunchGroup { tasks: members() },
        ExecutorEvent::Kill { task: task_id(), grace_ms: Some(1) },
        ExecutorEvent::Acknowledged { task: task_id(), update: update_id() },
        ExecutorEvent::Message { data: vec![9, 200] },
        ExecutorEvent::Shutdown { grace_ms: 5_000 },
        ExecutorEvent::Error { message: "no".into() },
        ExecutorEvent::Unknown,
    ]
}

/// What is read as a whole frame of an executor's socket.
pub(crate) fn frame_targets() -> Vec<Target> {
    vec![samples::target(executor_calls()), samples::target(executor_events())]
}

pub(crate) fn targets() -> Vec<Target> {
    vec![
        samples::target([executor_id()]),
        samples::target([info()]),
        samples::target([description()]),
        samples::target(members()),
        samples::target([launch()]),
        samples::target([report()]),
        samples::target([registration()]),
        samples::target([update()]),
        samples::target([subscribe()]),
        samples::target(statuses()),
    ]
}
