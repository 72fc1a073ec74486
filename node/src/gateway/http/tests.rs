//! Streams of frameworks that speak Mesos's API, to one leader and the next, over real QUIC.

use std::time::Duration;

use futures_util::StreamExt as _;
use meshos_mesos::{
    codec::{Media, Refused},
    convert::{framework, offer::Place},
    schema::{self, CallType},
    session::{Places, Session},
};
use meshos_protocol::{
    ids::{FrameworkId, NodeId, Principal},
    messages::{StreamClass, scheduler::Call},
};
use tokio::sync::{mpsc, watch};

use super::{
    carrier::{Called, Carrier},
    outbox::{self, Records},
    read_call::ReadCall,
    streams::answer_in_time,
};
use crate::{
    budget::{Budget, Permit},
    clock::Clock,
    cluster::LeaderStream,
    gateway::tests::{FRAMEWORK, Leaders},
    net::{
        Limits,
        testing::{Authority, CLUSTER, TestNode, in_time},
    },
};

struct Nowhere;

impl Places for Nowhere {
    fn agent(&self, _: NodeId) -> Option<Place> {
        None
    }

    fn leader(&self) -> Option<Place> {
        None
    }
}

/// A stream that is carried.
struct World {
    _gateway: TestNode,
    leaders: Leaders,
    calls: mpsc::Sender<Called>,
    records: Records,
    framework: watch::Receiver<Option<FrameworkId>>,
}

impl World {
    /// With so many bytes that the client has not read.
    fn new(unread: usize) -> Self {
        let authority = Authority::new();
        let gateway = TestNode::start(&authority, 10, Limits::default());
        let leaders = Leaders::new(&authority);
        let info = schema::FrameworkInfo {
            user: Some("nobody".to_owned()),
            name: Some("test".to_owned()),
            ..schema::FrameworkInfo::default()
        };
        let description = framework::read(&info, &[], None).unwrap();
        let class = StreamClass::Relay { principal: Principal::new("alice").unwrap() };
        let (calls, called) = mpsc::channel(8);
        let (told, framework) = watch::channel(None);
        let (outbox, records) = outbox::pair();
        outbox.push(vec![b'x'; unread]);
        let carrier = Carrier {
            session: Session::new(CLUSTER, None, description, "nonce".to_owned()),
            leader: LeaderStream::new(gateway.net.clone(), class, leaders.followed()),
            calls: called,
            outbox,
            media: Media::Json,
            places: Nowhere,
            clock: Clock::start(),
            framework: told,
        };
        tokio::spawn(carrier.run());
        Self { _gateway: gateway, leaders, calls, records, framework }
    }
}

fn permit() -> Permit {
    let taken = futures_util::FutureExt::now_or_never(Budget::new(1 << 20).take(1));
    taken.flatten().expect("there is memory")
}

fn revive() -> ReadCall {
    let call = schema::Call { r#type: Some(CallType::Revive.into()), ..schema::Call::default() };
    ReadCall { call, kind: CallType::Revive, permit: permit() }
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_subscribed_at_each_leader() {
    let mut world = World::new(8 << 20);
    let mut first = world.leaders.elect(0, 1).await;
    first.subscribed(1, 1).await;
    let mut second = world.leaders.elect(1, 2).await;
    second.subscribed(2, 1).await;
    assert_eq!(*world.framework.borrow(), None, "what leaders say waits for the client");
    let mut framework = world.framework.clone();
    let known = framework.wait_for(|known| *known == Some(FRAMEWORK));
    let read = async { while world.records.next().await.is_some() {} };
    in_time("it is read", async {
        tokio::select! {
            known = known => assert!(known.is_ok()),
            () = read => panic!("the stream is over"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_call_is_not_made_once_its_asker_was_told_so() {
    let mut world = World::new(0);
    let mut leader = world.leaders.elect(0, 1).await;
    leader.subscribed(1, 1).await;
    let mut framework = world.framework.clone();
    in_time("it is subscribed", framework.wait_for(Option::is_some)).await.unwrap();
    let ask = |kind: CallType, answer| {
        let call = schema::Call { r#type: Some(kind.into()), ..schema::Call::default() };
        Called { call, kind, permit: permit(), answer }
    };
    let (given_up, asker) = tokio::sync::oneshot::channel();
    drop(asker);
    world.calls.send(ask(CallType::Suppress, given_up)).await.unwrap();
    let (answer, _asker) = tokio::sync::oneshot::channel();
    world.calls.send(ask(CallType::Revive, answer)).await.unwrap();
    let made = leader.called().await.unwrap().call;
    assert!(matches!(made, Call::Revive { .. }), "{made:?}");
}

#[tokio::test]
async fn a_call_that_is_not_taken_is_answered_in_time() {
    let (calls, mut taken) = mpsc::channel(1);
    let limit = Duration::from_millis(50);
    let both = async {
        tokio::join!(
            answer_in_time(&calls, revive(), limit),
            // There is no place for it.
            answer_in_time(&calls, revive(), limit)
        )
    };
    let (one, other) = in_time("both are answered", Box::pin(both)).await;
    assert!([one, other].iter().all(|it| it.as_ref().is_err_and(|it| it.status == 503)));
    assert!(taken.recv().await.is_some_and(|called| called.answer.is_closed()));
    drop(taken);
    let refused: Refused = answer_in_time(&calls, revive(), limit).await.unwrap_err();
    assert_eq!(refused.status, 403);
}
