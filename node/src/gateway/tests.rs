//! A framework's stream through a gateway to one leader and the next, over real QUIC.

use std::time::Duration;

use meshos_protocol::{
    framework::{Capabilities, FrameworkInfo, Offer},
    ids::{AgentId, Fence, FrameworkId, NodeId, OfferId, Principal, RequestId, Subscription, Term},
    messages::{
        StreamClass,
        scheduler::{
            Accept, Call, CallError, CallErrorKind, CallFrame, Event, EventFrame, RescindCause,
            Subscribe,
        },
    },
    role::Role,
    wishes::ResourceRequest,
};
use meshos_sdk::wire::{FrameReader, FrameSender, Opened, WriterOptions, spawn_writer};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Options, serve};
use crate::{
    cluster::Leader,
    net::{
        Limits,
        testing::{Arrival, Authority, CLUSTER, TestNode, connect, in_time, open},
    },
};

pub(super) const FRAMEWORK: FrameworkId = FrameworkId(7);

/// One end of a stream: what it sends and what it reads.
pub(super) struct End {
    sender: FrameSender,
    reader: FrameReader,
}

impl End {
    pub(super) fn new(opened: Opened) -> Self {
        let sender = spawn_writer(opened.send, WriterOptions::default());
        Self { sender, reader: opened.reader }
    }

    /// The framework's side.
    fn call(&self, subscription: u64, request: Option<u64>, call: Call) {
        let subscription = Subscription(subscription);
        let frame = CallFrame { request: request.map(RequestId), subscription, call };
        self.sender.send(&frame).unwrap();
    }

    async fn event(&mut self) -> EventFrame {
        in_time("an event", self.reader.read()).await.unwrap().expect("the stream is open")
    }

    /// The leader's side.
    pub(super) fn tell(&self, term: u64, event: Event) {
        self.sender.send(&EventFrame { fence: fence(term), event }).unwrap();
    }

    pub(super) async fn called(&mut self) -> Option<CallFrame> {
        in_time("a call", self.reader.read()).await.unwrap()
    }

    pub(super) async fn subscribed(&mut self, term: u64, subscription: u64) -> Subscribe {
        let frame = self.called().await.expect("the stream is open");
        let Call::Subscribe(subscribe) = frame.call else { panic!("{frame:?}") };
        self.tell(
            term,
            Event::Subscribed {
                framework: FRAMEWORK,
                subscription: Subscription(subscription),
                leader: NodeId::from_bits(1),
                heartbeat_ms: 15_000,
                nonce: subscribe.nonce.clone(),
            },
        );
        subscribe
    }
}

fn fence(term: u64) -> Fence {
    Fence { cluster: CLUSTER, term: Term(term) }
}

fn subscribe() -> Call {
    let info = FrameworkInfo {
        name: "test".into(),
        user: String::new(),
        roles: [Role::default()].into(),
        failover_timeout_ms: 0,
        capabilities: Capabilities::default(),
        hostname: String::new(),
        webui_url: String::new(),
        labels: [].into(),
    };
    Call::Subscribe(Subscribe {
        framework: None,
        info,
        suppressed_roles: [].into(),
        resume: None,
        nonce: "n".into(),
        can_be_asked: false,
        demand: None,
    })
}

fn offer(number: u64) -> Offer {
    Offer {
        id: OfferId { term: Term(1), number },
        framework: FRAMEWORK,
        role: Role::default(),
        agent: AgentId::new(NodeId::from_bits(9), 1),
        hostname: "here".into(),
        resources: "cpus:1;mem:64".parse().unwrap(),
        attributes: meshos_protocol::attributes::Attributes::default(),
        domain: None,
        unavailability: None,
    }
}

/// Nodes that may lead.
pub(super) struct Leaders {
    nodes: Vec<TestNode>,
    follow: watch::Sender<Option<Leader>>,
}

impl Leaders {
    pub(super) fn new(authority: &Authority) -> Self {
        let start = |number| TestNode::start(authority, number, Limits::default());
        Self { nodes: vec![start(1), start(2)], follow: watch::channel(None).0 }
    }

    /// Whom the gateway follows.
    pub(super) fn followed(&self) -> watch::Receiver<Option<Leader>> {
        self.follow.subscribe()
    }

    /// The gateway learns that this node leads; gives the stream that it then opens there.
    pub(super) async fn elect(&mut self, index: usize, term: u64) -> End {
        let target = self.nodes[index].target();
        self.follow.send_replace(Some(Leader {
            fence: fence(term),
            node: self.nodes[index].id,
            agent_address: target.address,
            http_address: String::new(),
        }));
        let Arrival::Relay(gateway, principal, opened) = self.nodes[index].arrival().await else {
            panic!("another stream than the gateway's");
        };
        assert_eq!(gateway, NodeId::from_bits(10));
        assert_eq!(
            principal,
            Principal::new("alice").unwrap(),
            "the caller's name, not the node's"
        );
        End::new(opened)
    }
}

/// A gateway with a framework, and nodes that may lead.
struct World {
    _gateway: TestNode,
    leaders: Leaders,
    client: End,
    _stop: DropGuard,
}

impl World {
    async fn new() -> Self {
        let authority = Authority::new();
        let mut gateway = TestNode::start(&authority, 10, Limits::default());
        let leaders = Leaders::new(&authority);
        let address = gateway.net.address();
        let connection = connect(&authority.framework("alice"), address).await.unwrap();
        let client = End::new(open(&connection, StreamClass::Scheduler).await.unwrap());
        let Arrival::Scheduler(principal, opened) = gateway.arrival().await else {
            panic!("another stream than the framework's");
        };
        let leader = leaders.followed();
        let options = Options { net: gateway.net.clone(), leader, principal };
        let stop = CancellationToken::new();
        tokio::spawn(serve(options, opened, stop.clone()));
        Self { _gateway: gateway, leaders, client, _stop: stop.drop_guard() }
    }

    async fn elect(&mut self, index: usize, term: u64) -> End {
        self.leaders.elect(index, term).await
    }

    async fn subscribed_at(&mut self, index: usize, term: u64) -> End {
        self.client.call(0, None, subscribe());
        let mut leader = self.elect(index, term).await;
        let first = leader.subscribed(term, 1).await;
        assert_eq!((first.framework, first.resume), (None, None));
        let told = self.client.event().await;
        assert!(matches!(told.event, Event::Subscribed { .. }), "{told:?}");
        leader
    }
}

#[tokio::test]
async fn a_framework_is_carried_over_to_the_next_leader() {
    let mut world = World::new().await;
    let first = world.subscribed_at(0, 1).await;
    first.tell(1, Event::Offers { offers: vec![offer(1), offer(2)] });
    assert!(matches!(world.client.event().await.event, Event::Offers { .. }));
    let decline = Call::Decline { offers: vec![offer(1).id], refuse_ms: None };
    world.client.call(1, None, decline);
    let suppress = Call::Suppress { roles: [].into() };
    world.client.call(1, None, suppress);
    let mut first = first;
    assert!(matches!(first.called().await.unwrap().call, Call::Decline { .. }));
    assert!(matches!(first.called().await.unwrap().call, Call::Suppress { .. }));

    let mut second = world.elect(1, 2).await;
    // What was open dies with its leader; what the framework declined is its own affair.
    let rescinded = world.client.event().await.event;
    assert_eq!(
        rescinded,
        Event::Rescind { offers: vec![offer(2).id], cause: Some(RescindCause::LeaderLost) }
    );
    assert_eq!(world.client.event().await.event, Event::LeaderLost);
    let resumed = second.subscribed(2, 1).await;
    assert_eq!((resumed.framework, resumed.resume), (Some(FRAMEWORK), Some(Subscription(1))));
    assert_eq!(resumed.suppressed_roles, [Role::default()].into(), "it stays suppressed");
    let told = world.client.event().await;
    assert_eq!(told.fence, fence(2));
    assert!(first.called().await.is_none(), "the stream to the first leader is closed");
}

#[tokio::test]
async fn the_next_leader_learns_what_is_still_wanted() {
    let mut world = World::new().await;
    let mut first = world.subscribed_at(0, 1).await;
    let request = |role: &str, count| Call::Request {
        role: Role::new(role).unwrap(),
        requests: vec![ResourceRequest::new("cpus:0.5;mem:32".parse().unwrap(), count)],
        together_within_ms: None,
    };
    world.client.call(1, None, request("*", 3));
    // Not one of its roles.
    world.client.call(1, None, request("other", 3));
    first.tell(1, Event::Offers { offers: vec![offer(1)] });
    assert!(matches!(world.client.event().await.event, Event::Offers { .. }));
    let task = |id: &str| {
        let task = meshos_sdk::TaskBuilder::shell(id, "true").resources("cpus:0.5;mem:32");
        task.build().unwrap()
    };
    let launch = vec![task("a"), task("b")];
    let accept =
        Accept { offers: vec![offer(1).id], operations: Vec::new(), launch, refuse_ms: None };
    world.client.call(1, None, Call::Accept(accept));
    for _ in 0..3 {
        first.called().await.unwrap();
    }
    let mut second = world.elect(1, 2).await;
    let resumed = second.subscribed(2, 1).await;
    let demand = resumed.demand.expect("it is told");
    let left = &demand.get(&Role::default()).expect("of the role").requests;
    assert_eq!((left.len(), left[0].count), (1, 1));
    assert_eq!(demand.get(&Role::new("other").unwrap()), None);

    second.tell(2, Event::Unfulfilled { role: Role::default() });
    assert!(matches!(world.client.event().await.event, Event::LeaderLost));
    assert!(matches!(world.client.event().await.event, Event::Subscribed { .. }));
    assert!(matches!(world.client.event().await.event, Event::Unfulfilled { .. }));
    let mut third = world.elect(0, 3).await;
    let demand = third.subscribed(3, 1).await.demand.expect("it is told");
    assert_eq!(demand.get(&Role::default()).expect("of the role").requests, []);
}

#[tokio::test]
async fn a_leader_that_closes_the_stream_is_asked_again() {
    let mut world = World::new().await;
    let leader = world.subscribed_at(0, 1).await;
    drop(leader);
    assert_eq!(world.client.event().await.event, Event::LeaderLost);
    let Arrival::Relay(_, _, opened) = world.leaders.nodes[0].arrival().await else {
        panic!("no relay")
    };
    let resumed = End::new(opened).subscribed(1, 1).await;
    assert_eq!(resumed.resume, Some(Subscription(1)));
}

#[tokio::test]
async fn calls_without_a_leader_are_answered_and_never_passed_on_later() {
    let mut world = World::new().await;
    let leader = world.subscribed_at(0, 1).await;
    world.leaders.follow.send_replace(None);
    drop(leader);
    assert_eq!(world.client.event().await.event, Event::LeaderLost);
    let accept = Accept {
        offers: vec![offer(1).id],
        operations: Vec::new(),
        launch: Vec::new(),
        refuse_ms: None,
    };
    world.client.call(1, Some(5), Call::Accept(accept));
    let told = world.client.event().await.event;
    let Event::Answered { request: RequestId(5), error: Some(error) } = told else {
        panic!("{told:?}");
    };
    assert_eq!(error.kind, CallErrorKind::NoLeader);

    let mut second = world.elect(1, 2).await;
    second.subscribed(2, 1).await;
    world.client.call(1, None, Call::Revive { roles: [].into() });
    let next = second.called().await.unwrap().call;
    assert!(matches!(next, Call::Revive { .. }), "nothing was kept: {next:?}");
}

#[tokio::test]
async fn what_a_deposed_leader_says_is_dropped() {
    let mut world = World::new().await;
    let mut leader = world.subscribed_at(0, 3).await;
    leader.tell(2, Event::Offers { offers: vec![offer(1)] });
    leader.tell(3, Event::Heartbeat);
    assert_eq!(world.client.event().await.event, Event::Heartbeat);
    // The stream is none the worse for it.
    world.client.call(1, None, Call::Revive { roles: [].into() });
    assert!(matches!(leader.called().await.unwrap().call, Call::Revive { .. }));
}

#[tokio::test]
async fn a_framework_that_goes_is_told_to_the_leader_at_once() {
    let mut world = World::new().await;
    let mut leader = world.subscribed_at(0, 1).await;
    drop(world.client);
    let last = leader.called().await.unwrap();
    assert_eq!((last.call, last.subscription), (Call::Disconnect, Subscription(1)));
    assert!(leader.called().await.is_none(), "the stream ends with it");
}

/// The client may have died before there was a leader, and another instance have taken its place.
#[tokio::test]
async fn a_take_over_that_no_leader_has_answered_is_asked_for_again_and_not_repeated() {
    let mut world = World::new().await;
    let Call::Subscribe(subscribe) = subscribe() else { panic!("it subscribes") };
    let take_over =
        Call::Subscribe(Subscribe { framework: Some(FRAMEWORK), can_be_asked: true, ..subscribe });
    world.client.call(0, None, take_over.clone());
    let mut first = world.elect(0, 1).await;
    assert_eq!(world.client.event().await.event, Event::SubscribeAgain);
    world.client.call(0, None, take_over.clone());
    let asked = first.called().await.expect("it subscribes by itself");
    assert_eq!(asked.call, take_over);
    // The leader dies before it answers.
    let mut second = world.elect(1, 2).await;
    let told = world.client.event().await.event;
    let told = if told == Event::LeaderLost { world.client.event().await.event } else { told };
    assert_eq!(told, Event::SubscribeAgain);
    world.client.call(0, None, take_over);
    let taken = second.subscribed(2, 5).await;
    assert_eq!((taken.framework, taken.resume), (Some(FRAMEWORK), None));
}

#[tokio::test]
async fn a_framework_that_said_good_bye_is_not_resumed() {
    let mut world = World::new().await;
    let mut leader = world.subscribed_at(0, 1).await;
    world.client.call(1, None, Call::Teardown);
    assert_eq!(leader.called().await.unwrap().call, Call::Teardown);
    let mut second = world.elect(1, 2).await;
    drop(world.client);
    assert!(second.called().await.is_none(), "nothing is said in its name any more");
}

/// A framework that reads nothing for a while is not cut off by a burst: the leader is held up.
#[tokio::test]
async fn a_burst_waits_for_a_framework_that_is_slow_for_a_while() {
    const EVENTS: u64 = 20_000;
    let mut world = World::new().await;
    let mut leader = world.subscribed_at(0, 1).await;
    let message = "much to say".repeat(300);
    let error = Some(CallError { kind: CallErrorKind::Unknown, message });
    let (sent, mut progress) = watch::channel(0);
    let sender = leader.sender.clone();
    let telling = tokio::spawn(async move {
        for number in 0..EVENTS {
            sender.room().await;
            let event = Event::Answered { request: RequestId(number), error: error.clone() };
            sender.send(&EventFrame { fence: fence(1), event }).unwrap();
            sent.send_replace(number);
        }
    });
    // Until nothing moves any more.
    while tokio::time::timeout(Duration::from_secs(2), progress.changed()).await.is_ok() {}
    assert!(*progress.borrow() < EVENTS - 1, "somewhere it is held up");
    for number in 0..EVENTS {
        let Event::Answered { request, .. } = world.client.event().await.event else {
            panic!("another event");
        };
        assert_eq!(request, RequestId(number), "nothing is lost");
    }
    telling.await.unwrap();
    world.client.call(1, None, Call::Revive { roles: [].into() });
    assert!(matches!(leader.called().await.unwrap().call, Call::Revive { .. }));
}

/// A framework that reads nothing is subscribed at the next leader all the same, which would else end
/// its tasks.
#[tokio::test]
async fn a_framework_that_reads_nothing_is_subscribed_at_the_next_leader() {
    let mut world = World::new().await;
    let leader = world.subscribed_at(0, 1).await;
    let message = "much to say".repeat(1_000);
    let error = Some(CallError { kind: CallErrorKind::Unknown, message });
    let sender = leader.sender.clone();
    let telling = tokio::spawn(async move {
        // Without end, and so until the gateway's queue is full.
        for number in 0.. {
            sender.room().await;
            let event = Event::Answered { request: RequestId(number), error: error.clone() };
            if sender.send(&EventFrame { fence: fence(1), event }).is_err() {
                break;
            }
        }
    });
    let is_held_up = async {
        // Nothing moves any more at the leader.
        while tokio::time::timeout(Duration::from_secs(2), leader.sender.room()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    in_time("the leader is held up", is_held_up).await;
    let mut next = world.elect(1, 2).await;
    let resumed = next.subscribed(2, 1).await;
    assert_eq!((resumed.framework, resumed.resume), (Some(FRAMEWORK), Some(Subscription(1))));
    in_time("the first leader's stream is closed", telling).await.unwrap();
    // A leader that gives the stream up is asked again, as ever.
    drop(next);
    let Arrival::Relay(_, _, opened) = world.leaders.nodes[1].arrival().await else {
        panic!("no relay")
    };
    End::new(opened).subscribed(2, 1).await;
}
