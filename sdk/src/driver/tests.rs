//! The driver's decisions, step by step.

use std::collections::BTreeSet;

use meshos_protocol::{
    framework::{Capabilities, FrameworkInfo, Offer},
    ids::{
        AgentId, ClusterId, Fence, FrameworkId, Generation, NodeId, OfferId, Subscription, TaskId,
        Term, UpdateId,
    },
    messages::scheduler::{Call, CallError, CallErrorKind, Event, EventFrame},
    role::Role,
    task::{Source, StatusUpdate, TaskState},
    time::Wall,
};

use super::core::{Ask, Core, Output, Tell};
use crate::TaskBuilder;

const FRAMEWORK: FrameworkId = FrameworkId(7);

fn node() -> NodeId {
    NodeId::from_bits(1)
}

fn agent() -> AgentId {
    AgentId::new(node(), 1)
}

fn core() -> Core {
    let info = FrameworkInfo {
        name: "test".into(),
        user: String::new(),
        roles: [Role::default()].into(),
        failover_timeout_ms: 0,
        capabilities: Capabilities::default(),
        hostname: String::new(),
        webui_url: String::new(),
        labels: std::collections::BTreeMap::new(),
    };
    Core::new(info, None, BTreeSet::new(), false, "nonce".into())
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
        exit: None,
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
        Output::Tell(_) | Output::End(_) => None,
    };
    out.iter().filter_map(call).collect()
}

fn tells<'a>(out: &'a [Output]) -> Vec<&'a Tell> {
    let tell = |output: &'a Output| match output {
        Output::Tell(tell) => Some(tell),
        Output::Send(_) | Output::End(_) => None,
    };
    out.iter().filter_map(tell).collect()
}

fn ready() -> Core {
    let mut core = core();
    step(&mut core, Core::connected);
    step(&mut core, |core, out| core.event(subscribed(1), out));
    core
}

fn launch(core: &mut Core, task: &str, offers: &[Offer]) -> Vec<Output> {
    let ask = Ask::Launch {
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
    assert!(tells(&out).contains(&&Tell::Rescinded(offer.id)), "{out:?}");
    step(&mut core, |core, out| core.event(subscribed(2), out));
    let out = launch(&mut core, "a", &[offer]);
    assert!(calls(&out).is_empty(), "{out:?}");
    let [Tell::Update(status)] = tells(&out)[..] else { panic!("{out:?}") };
    assert_eq!(status.state, TaskState::Dropped);
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
