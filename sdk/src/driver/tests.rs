//! The driver's decisions, step by step.

mod inverse;
mod updates;
mod wants;

use std::collections::BTreeSet;

use meshos_protocol::{
    framework::{Capabilities, FrameworkInfo, Offer},
    ids::{
        AgentId, ClusterId, Fence, FrameworkId, Generation, NodeId, OfferId, OperationId,
        OperationUuid, RequestId, Subscription, TaskId, Term, UpdateId,
    },
    messages::scheduler::{Call, CallError, CallErrorKind, Event, EventFrame, RescindCause},
    operation::{Operation, OperationRequest, OperationState, OperationStatus},
    role::Role,
    task::{Reason, Source, StatusUpdate, TaskState},
    time::Wall,
};

use super::{
    core::{Ask, Core, KILLS_MAX, Output, Tell},
    wants::Wants,
};
use crate::TaskBuilder;

const FRAMEWORK: FrameworkId = FrameworkId(7);

fn node() -> NodeId {
    NodeId::from_bits(1)
}

fn agent() -> AgentId {
    AgentId::new(node(), 1)
}

fn core() -> Core {
    core_with(Capabilities::default(), false)
}

fn core_with(capabilities: Capabilities, explicit_acknowledgements: bool) -> Core {
    core_like(capabilities, explicit_acknowledgements, Wants::default())
}

fn core_of(wants: Wants) -> Core {
    core_like(Capabilities::default(), false, wants)
}

fn core_like(capabilities: Capabilities, explicit_acknowledgements: bool, wants: Wants) -> Core {
    let info = FrameworkInfo {
        name: "test".into(),
        user: String::new(),
        roles: [Role::default()].into(),
        failover_timeout_ms: 0,
        capabilities,
        hostname: String::new(),
        webui_url: String::new(),
        labels: std::collections::BTreeMap::new(),
    };
    Core::new(info, None, BTreeSet::new(), wants, explicit_acknowledgements, "nonce".into())
}

fn frame(term: u64, event: Event) -> EventFrame {
    EventFrame { fence: Fence { cluster: ClusterId::from_u128(1), term: Term(term) }, event }
}

fn subscribed(term: u64) -> EventFrame {
    let event = Event::Subscribed {
        framework: FRAMEWORK,
        subscription: Subscription(1),
        leader: node(),
        heartbeat_ms: 15_000,
        nonce: "nonce".into(),
    };
    frame(term, event)
}

fn offer(term: u64, number: u64) -> Offer {
    Offer {
        id: OfferId { term: Term(term), number },
        framework: FRAMEWORK,
        role: Role::default(),
        agent: agent(),
        hostname: "here".into(),
        resources: "cpus:4;mem:4096".parse().unwrap(),
        attributes: meshos_protocol::attributes::Attributes::default(),
        domain: None,
        unavailability: None,
    }
}

fn update(task: &str, state: TaskState, counter: u64) -> EventFrame {
    let status = StatusUpdate {
        framework: FRAMEWORK,
        task: TaskId::new(task).unwrap(),
        agent: Some(agent()),
        state,
        reason: None,
        message: String::new(),
        update: Some(UpdateId::mint(node(), Generation(1), counter)),
        at: Wall(1),
        source: Source::Agent,
        executor: None,
        data: Vec::new(),
        exit: None,
        healthy: None,
        check_status: None,
    };
    frame(1, Event::Update { status })
}

/// What the core wants after one step.
fn step(core: &mut Core, act: impl FnOnce(&mut Core, &mut Vec<Output>)) -> Vec<Output> {
    let mut out = Vec::new();
    act(core, &mut out);
    out
}

fn calls<'a>(out: &'a [Output]) -> Vec<&'a Call> {
    let call = |output: &'a Output| match output {
        Output::Send(frame) => Some(&frame.call),
        Output::Tell(_) | Output::Wake(_) | Output::End(_) => None,
    };
    out.iter().filter_map(call).collect()
}

fn tells<'a>(out: &'a [Output]) -> Vec<&'a Tell> {
    let tell = |output: &'a Output| match output {
        Output::Tell(tell) => Some(tell),
        Output::Send(_) | Output::Wake(_) | Output::End(_) => None,
    };
    out.iter().filter_map(tell).collect()
}

fn ready() -> Core {
    ready_as(core())
}

fn ready_as(mut core: Core) -> Core {
    step(&mut core, Core::connected);
    step(&mut core, |core, out| core.event(subscribed(1), out));
    core
}

fn launch(core: &mut Core, task: &str, offers: &[Offer]) -> Vec<Output> {
    let ask = Ask::Accept {
        operations: Vec::new(),
        offers: offers.iter().map(|offer| offer.id).collect(),
        tasks: vec![TaskBuilder::shell(task, "true").build().unwrap()],
        refuse_ms: None,
    };
    step(core, |core, out| core.ask(ask, out))
}

#[test]
fn the_first_subscribe_is_new_and_later_ones_resume() {
    let mut core = core();
    let out = step(&mut core, Core::connected);
    let [Call::Subscribe(first)] = calls(&out)[..] else { panic!("{out:?}") };
    assert_eq!((first.framework, first.resume), (None, None));
    let out = step(&mut core, |core, out| core.event(subscribed(1), out));
    assert!(matches!(tells(&out)[..], [Tell::Registered(_)]), "{out:?}");

    let out = step(&mut core, Core::disconnected);
    assert!(matches!(tells(&out)[..], [Tell::Disconnected]), "{out:?}");
    let out = step(&mut core, Core::connected);
    let [Call::Subscribe(again)] = calls(&out)[..] else { panic!("{out:?}") };
    assert_eq!((again.framework, again.resume), (Some(FRAMEWORK), Some(Subscription(1))));
    let out = step(&mut core, |core, out| core.event(subscribed(2), out));
    assert!(matches!(tells(&out)[..], [Tell::Reregistered(_)]), "{out:?}");
}

#[test]
fn a_subscribe_that_nobody_answered_is_said_again_when_it_is_asked_for() {
    let mut core = core();
    step(&mut core, Core::connected);
    let ask =
        |core: &mut Core| step(core, |core, out| core.event(frame(1, Event::SubscribeAgain), out));
    let out = ask(&mut core);
    let [Call::Subscribe(again)] = calls(&out)[..] else { panic!("{out:?}") };
    assert!(again.can_be_asked && again.resume.is_none());
    step(&mut core, |core, out| core.event(subscribed(1), out));
    assert!(ask(&mut core).is_empty(), "it is subscribed");
}

#[test]
fn an_update_is_delivered_once_and_acknowledged_each_time() {
    let mut core = ready();
    let first = step(&mut core, |core, out| core.event(update("a", TaskState::Running, 1), out));
    assert!(matches!(tells(&first)[..], [Tell::Update(_)]), "{first:?}");
    assert!(matches!(calls(&first)[..], [Call::Acknowledge { .. }]), "{first:?}");
    let again = step(&mut core, |core, out| core.event(update("a", TaskState::Running, 1), out));
    assert!(tells(&again).is_empty(), "{again:?}");
    assert!(matches!(calls(&again)[..], [Call::Acknowledge { .. }]), "{again:?}");
}

#[test]
fn a_launch_that_nothing_was_heard_of_is_asked_for_after_the_leader_changed() {
    let mut core = ready();
    let offer = offer(1, 1);
    let event = frame(1, Event::Offers { offers: vec![offer.clone()] });
    step(&mut core, |core, out| core.event(event, out));
    let out = launch(&mut core, "a", &[offer]);
    assert!(matches!(calls(&out)[..], [Call::Accept(_)]), "{out:?}");

    step(&mut core, |core, out| core.event(frame(1, Event::LeaderLost), out));
    let out = step(&mut core, |core, out| core.event(subscribed(2), out));
    let [Call::Reconcile { tasks }] = calls(&out)[..] else { panic!("{out:?}") };
    assert!(tasks[0].pending && tasks[0].agent == Some(agent()), "{tasks:?}");

    step(&mut core, |core, out| core.event(update("a", TaskState::Running, 1), out));
    assert_eq!(core.pending(), 1, "an update of a term before is stale");
    let mut fresh = update("a", TaskState::Running, 1);
    fresh.fence.term = Term(2);
    step(&mut core, |core, out| core.event(fresh, out));
    assert_eq!(core.pending(), 0);
}

#[test]
fn a_launch_on_a_void_offer_is_dropped_here_and_never_sent() {
    let mut core = ready();
    let offer = offer(1, 1);
    let event = frame(1, Event::Offers { offers: vec![offer.clone()] });
    step(&mut core, |core, out| core.event(event, out));
    let out = step(&mut core, |core, out| core.event(frame(1, Event::LeaderLost), out));
    assert!(tells(&out).contains(&&Tell::Rescinded(offer.id, RescindCause::LeaderLost)), "{out:?}");
    step(&mut core, |core, out| core.event(subscribed(2), out));
    let out = launch(&mut core, "a", &[offer]);
    assert!(calls(&out).is_empty(), "{out:?}");
    let [Tell::Update(status)] = tells(&out)[..] else { panic!("{out:?}") };
    assert_eq!(status.state, TaskState::Dropped);
}

#[test]
fn a_launch_on_an_offer_that_was_taken_says_so_also_after_the_rescind() {
    for (cause, told, reason) in [
        (Some(RescindCause::Taken), RescindCause::Taken, Reason::OfferTaken),
        (Some(RescindCause::TimedOut), RescindCause::TimedOut, Reason::InvalidOffers),
        (None, RescindCause::Unknown, Reason::InvalidOffers),
    ] {
        let mut core = ready();
        let offer = offer(1, 1);
        let event = frame(1, Event::Offers { offers: vec![offer.clone()] });
        step(&mut core, |core, out| core.event(event, out));
        let rescind = frame(1, Event::Rescind { offers: vec![offer.id], cause });
        let out = step(&mut core, |core, out| core.event(rescind, out));
        assert_eq!(tells(&out), [&Tell::Rescinded(offer.id, told)]);
        let out = launch(&mut core, "a", &[offer]);
        let [Tell::Update(status)] = tells(&out)[..] else { panic!("{out:?}") };
        assert_eq!((status.state, status.reason), (TaskState::Dropped, Some(reason)));
    }
}

#[test]
fn an_offer_that_was_given_along_with_a_void_one_is_declined() {
    let mut core = ready();
    let (void, open) = (offer(1, 1), offer(1, 2));
    let event = frame(1, Event::Offers { offers: vec![void.clone(), open.clone()] });
    step(&mut core, |core, out| core.event(event, out));
    let rescind = frame(1, Event::Rescind { offers: vec![void.id], cause: None });
    step(&mut core, |core, out| core.event(rescind, out));
    let out = launch(&mut core, "a", &[void, open.clone()]);
    assert_eq!(calls(&out), [&Call::Decline { offers: vec![open.id], refuse_ms: Some(0) }]);
    assert!(matches!(tells(&out)[..], [Tell::Update(_)]), "{out:?}");
}

#[test]
fn a_kill_is_repeated_after_each_subscription_until_the_task_ends() {
    let mut core = ready();
    step(&mut core, |core, out| core.event(update("a", TaskState::Running, 1), out));
    let task = TaskId::new("a").unwrap();
    let kill = Ask::Kill { task, grace_ms: None };
    let out = step(&mut core, |core, out| core.ask(kill, out));
    assert!(matches!(calls(&out)[..], [Call::Kill { agent: Some(_), .. }]), "{out:?}");
    let out = step(&mut core, |core, out| core.event(subscribed(1), out));
    assert!(matches!(calls(&out)[..], [Call::Reconcile { .. }, Call::Kill { .. }]), "{out:?}");
    step(&mut core, |core, out| core.event(update("a", TaskState::Killed, 2), out));
    let out = step(&mut core, |core, out| core.event(subscribed(1), out));
    assert!(calls(&out).is_empty(), "{out:?}");
}

#[test]
fn words_of_a_deposed_leader_are_dropped() {
    let mut core = ready();
    step(&mut core, |core, out| core.event(subscribed(3), out));
    let old = frame(2, Event::Offers { offers: vec![offer(2, 1)] });
    assert!(step(&mut core, |core, out| core.event(old, out)).is_empty());
}

#[test]
fn a_framework_that_is_turned_away_ends() {
    let mut core = ready();
    let error = CallError { kind: CallErrorKind::FailedOver, message: "another took over".into() };
    let event = frame(1, Event::Error { error: error.clone() });
    assert_eq!(step(&mut core, |core, out| core.event(event, out)), [Output::End(error)]);
}

#[test]
fn every_live_task_is_asked_for_after_a_subscription_and_an_ended_one_stays_ended() {
    let mut core = ready();
    step(&mut core, |core, out| core.event(update("a", TaskState::Running, 1), out));
    step(&mut core, |core, out| core.event(update("b", TaskState::Finished, 2), out));
    let out = step(&mut core, |core, out| core.event(subscribed(1), out));
    let [Call::Reconcile { tasks }] = calls(&out)[..] else { panic!("{out:?}") };
    assert_eq!(tasks.len(), 1, "{tasks:?}");
    assert!(!tasks[0].pending && tasks[0].task.as_str() == "a", "{tasks:?}");

    let mut late = update("b", TaskState::Running, 3);
    if let Event::Update { status } = &mut late.event {
        status.update = None;
    }
    assert!(step(&mut core, |core, out| core.event(late, out)).is_empty());
}

fn answered(request: Option<RequestId>, kind: Option<CallErrorKind>) -> EventFrame {
    let error = kind.map(|kind| CallError { kind, message: "because".into() });
    frame(1, Event::Answered { request: request.expect("it asks for an answer"), error })
}

/// The only call of a step, with its request.
fn only_call(out: &[Output]) -> (Option<RequestId>, &Call) {
    let [Output::Send(frame)] = out else { panic!("{out:?}") };
    (frame.request, &frame.call)
}

fn pending_launch() -> (Core, Option<RequestId>) {
    let mut core = ready();
    let offer = offer(1, 1);
    let event = frame(1, Event::Offers { offers: vec![offer.clone()] });
    step(&mut core, |core, out| core.event(event, out));
    launch(&mut core, "a", &[offer]);
    step(&mut core, Core::disconnected);
    let mut out = step(&mut core, |core, out| core.event(subscribed(1), out));
    let reconcile = out.pop().expect("the task is asked for");
    (core, only_call(&[reconcile]).0)
}

#[test]
fn a_busy_leader_is_asked_again_with_growing_pauses() {
    let (mut core, mut request) = pending_launch();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let busy = answered(request, Some(CallErrorKind::Busy));
        let out = step(&mut core, |core, out| core.event(busy, out));
        let [Output::Wake(pause)] = out[..] else { panic!("{out:?}") };
        pauses.push(pause.as_millis());
        let out = step(&mut core, Core::ask_again);
        let (again, call) = only_call(&out);
        let Call::Reconcile { tasks } = call else { panic!("{call:?}") };
        assert!(tasks[0].pending && again != request, "{tasks:?}");
        request = again;
    }
    assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    // Once it answers, the pauses begin anew.
    step(&mut core, |core, out| core.event(answered(request, None), out));
    let reconcile = Ask::Reconcile { tasks: Vec::new() };
    let out = step(&mut core, |core, out| core.ask(reconcile, out));
    let busy = answered(only_call(&out).0, Some(CallErrorKind::Busy));
    let out = step(&mut core, |core, out| core.event(busy, out));
    assert_eq!(out, [Output::Wake(std::time::Duration::from_millis(250))]);
}

#[test]
fn what_was_heard_of_meanwhile_is_not_asked_for_again() {
    let (mut core, request) = pending_launch();
    let busy = answered(request, Some(CallErrorKind::Busy));
    step(&mut core, |core, out| core.event(busy, out));
    step(&mut core, |core, out| core.event(update("a", TaskState::Running, 1), out));
    assert!(step(&mut core, Core::ask_again).is_empty());

    // Neither is anything when the stream is another: all is asked for anew there.
    let (mut core, request) = pending_launch();
    let busy = answered(request, Some(CallErrorKind::Busy));
    step(&mut core, |core, out| core.event(busy, out));
    step(&mut core, Core::disconnected);
    assert!(step(&mut core, Core::ask_again).is_empty());
    step(&mut core, |core, out| core.event(subscribed(1), out));
    assert!(step(&mut core, Core::ask_again).is_empty());
}

#[test]
fn only_busy_calls_are_asked_again() {
    for kind in [CallErrorKind::Invalid, CallErrorKind::Forbidden, CallErrorKind::Unknown] {
        let (mut core, request) = pending_launch();
        let refused = answered(request, Some(kind));
        assert!(step(&mut core, |core, out| core.event(refused, out)).is_empty(), "{kind:?}");
        assert!(step(&mut core, Core::ask_again).is_empty(), "{kind:?}");
    }
}

fn kill(task: &str) -> Ask {
    Ask::Kill { task: TaskId::new(task).unwrap(), grace_ms: None }
}

#[test]
fn a_kill_that_a_busy_leader_refused_is_repeated() {
    let mut core = ready();
    let out = step(&mut core, |core, out| core.ask(kill("a"), out));
    let busy = answered(only_call(&out).0, Some(CallErrorKind::Busy));
    step(&mut core, |core, out| core.event(busy, out));
    let out = step(&mut core, Core::ask_again);
    assert!(matches!(only_call(&out).1, Call::Kill { .. }), "{out:?}");
}

#[test]
fn kills_of_tasks_that_nobody_knows_are_forgotten() {
    let mut core = ready();
    step(&mut core, |core, out| core.ask(kill("never"), out));
    assert_eq!(core.kills().0, 1);
    let mut unknown = update("never", TaskState::Unknown, 1);
    if let Event::Update { status } = &mut unknown.event {
        status.update = None;
    }
    step(&mut core, |core, out| core.event(unknown, out));
    assert_eq!(core.kills().0, 0, "the leader knows no such task");

    step(&mut core, |core, out| core.event(update("b", TaskState::Finished, 2), out));
    step(&mut core, |core, out| core.ask(kill("b"), out));
    assert_eq!(core.kills().0, 0, "it has ended");
}

#[test]
fn kills_are_remembered_only_so_many() {
    let mut core = ready();
    for number in 0..KILLS_MAX + 10 {
        step(&mut core, |core, out| core.ask(kill(&format!("t{number}")), out));
    }
    assert_eq!(core.kills(), (KILLS_MAX, KILLS_MAX));
    // Those that end leave nothing behind either.
    for number in 0..3 * KILLS_MAX as u64 {
        let task = format!("u{number}");
        step(&mut core, |core, out| core.ask(kill(&task), out));
        let end = update(&task, TaskState::Killed, 10 + number);
        step(&mut core, |core, out| core.event(end, out));
    }
    assert!(core.kills().1 <= 2 * KILLS_MAX + 1, "{:?}", core.kills());
}

/// The states that a framework is told of, for each state that there is.
fn told(capabilities: Capabilities) -> Vec<(TaskState, Option<TaskState>)> {
    let tell = |state: TaskState| {
        let mut core = ready_as(core_with(capabilities, false));
        let out = step(&mut core, |core, out| core.event(update("a", state, 1), out));
        assert!(matches!(calls(&out)[..], [Call::Acknowledge { .. }]), "{state}: {out:?}");
        match tells(&out)[..] {
            [Tell::Update(status)] => (state, Some(status.state)),
            _ => (state, None),
        }
    };
    TaskState::ALL.map(tell).to_vec()
}

#[test]
fn a_framework_is_partition_aware_unless_it_says_otherwise() {
    for (state, told) in told(Capabilities::default()) {
        assert_eq!(told, Some(state));
    }
}

#[test]
fn a_framework_that_is_not_partition_aware_is_told_lost() {
    let capabilities = Capabilities { partition_aware: false, ..Capabilities::default() };
    for (state, told) in told(capabilities) {
        let expected = match state {
            TaskState::Dropped
            | TaskState::Unreachable
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Unknown => TaskState::Lost,
            other => other,
        };
        assert_eq!(told, Some(expected), "{state}");
    }
    // A launch that is dropped here is lost, too.
    let mut core = ready_as(core_with(capabilities, false));
    let out = launch(&mut core, "a", &[offer(1, 1)]);
    let [Tell::Update(status)] = tells(&out)[..] else { panic!("{out:?}") };
    assert_eq!(status.state, TaskState::Lost);
}

#[test]
fn a_lost_task_may_come_back() {
    let capabilities = Capabilities { partition_aware: false, ..Capabilities::default() };
    let mut core = ready_as(core_with(capabilities, false));
    step(&mut core, |core, out| core.event(update("a", TaskState::Running, 1), out));
    for (state, expected) in
        [(TaskState::Unreachable, TaskState::Lost), (TaskState::Running, TaskState::Running)]
    {
        let mut inferred = update("a", state, 1);
        if let Event::Update { status } = &mut inferred.event {
            status.update = None;
        }
        let out = step(&mut core, |core, out| core.event(inferred, out));
        let [Tell::Update(status)] = tells(&out)[..] else { panic!("{out:?}") };
        assert_eq!(status.state, expected);
    }
    let out = step(&mut core, |core, out| core.event(subscribed(1), out));
    let [Call::Reconcile { tasks }] = calls(&out)[..] else { panic!("{out:?}") };
    assert_eq!(tasks.len(), 1, "it is still asked for");
}

#[test]
fn a_framework_that_does_not_know_the_killing_state_is_not_told_it() {
    let capabilities = Capabilities { task_killing_state: false, ..Capabilities::default() };
    let untold: Vec<TaskState> = told(capabilities)
        .into_iter()
        .filter(|(_, told)| told.is_none())
        .map(|one| one.0)
        .collect();
    assert_eq!(untold, [TaskState::Killing]);

    // It cannot acknowledge what it is not told: the driver does, however often it comes.
    let mut core = ready_as(core_with(capabilities, true));
    for _ in 0..2 {
        let killing = update("a", TaskState::Killing, 1);
        let out = step(&mut core, |core, out| core.event(killing, out));
        assert!(tells(&out).is_empty(), "{out:?}");
        assert!(matches!(calls(&out)[..], [Call::Acknowledge { .. }]), "{out:?}");
    }
    let out = step(&mut core, |core, out| core.event(update("a", TaskState::Killed, 2), out));
    assert!(calls(&out).is_empty(), "the rest it acknowledges itself: {out:?}");
}

fn operate(core: &mut Core, id: &str, offers: &[Offer]) -> Vec<Output> {
    let operation = Operation::Unknown;
    let ask = Ask::Accept {
        offers: offers.iter().map(|offer| offer.id).collect(),
        operations: vec![OperationRequest { id: Some(OperationId::new(id).unwrap()), operation }],
        tasks: Vec::new(),
        refuse_ms: None,
    };
    step(core, |core, out| core.ask(ask, out))
}

fn operation_told(id: &str, state: OperationState, number: Option<u64>) -> EventFrame {
    let status = OperationStatus {
        id: OperationId::new(id).unwrap(),
        state,
        message: String::new(),
        agent: Some(agent()),
        uuid: number.map(|number| OperationUuid { term: Term(1), number }),
    };
    frame(2, Event::OperationStatus { status })
}

#[test]
fn an_operation_that_nothing_is_heard_of_is_asked_for_and_its_end_is_told_once() {
    let mut core = ready();
    let offers = [offer(1, 1), offer(1, 2)];
    let event = Event::Offers { offers: offers.to_vec() };
    step(&mut core, |core, out| core.event(frame(1, event), out));
    operate(&mut core, "a", &offers[..1]);
    operate(&mut core, "b", &offers[1..]);
    let void = operate(&mut core, "void", &offers[..1]);
    let [Tell::Operation(status)] = tells(&void)[..] else { panic!("{void:?}") };
    assert_eq!(status.state, OperationState::Dropped);

    step(&mut core, Core::disconnected);
    step(&mut core, Core::connected);
    let out = step(&mut core, |core, out| core.event(subscribed(2), out));
    let asked = calls(&out).into_iter().find_map(|call| match call {
        Call::ReconcileOperations { operations } => Some(operations.len()),
        _ => None,
    });
    assert_eq!(asked, Some(2), "{out:?}");
    for expected in [1, 0] {
        let told = operation_told("a", OperationState::Finished, Some(7));
        let out = step(&mut core, |core, out| core.event(told, out));
        assert_eq!(tells(&out).len(), expected, "{out:?}");
        let acknowledged = matches!(&calls(&out)[..], [Call::AcknowledgeOperation { .. }]);
        assert!(acknowledged, "{out:?}");
    }
    // A late answer does not contradict what was told.
    let late = operation_told("a", OperationState::Dropped, None);
    assert_eq!(step(&mut core, |core, out| core.event(late, out)), []);
    let dropped = operation_told("b", OperationState::Dropped, None);
    let out = step(&mut core, |core, out| core.event(dropped, out));
    assert_eq!((tells(&out).len(), calls(&out).len()), (1, 0), "{out:?}");
}
