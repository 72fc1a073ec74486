//! A framework, a session and the leaders it meets, without any of the three being there.

use meshos_protocol::{
    attributes::Attributes,
    framework::Offer,
    ids::{Term, UpdateId},
    messages::scheduler::{Accept, TaskQuery},
    resources::Resources,
    task::{Reason, Source},
    time::Wall,
};
use serde_json::{Value, json};

use super::*;
use crate::{convert::framework, schema::CallType, validate};

mod demand;
mod executors;
mod held;
mod inverse;

const CLUSTER: ClusterId = ClusterId::from_u128(0xab);
const PREFIX: &str = "00000000-0000-0000-0000-0000000000ab";

struct Nowhere;

impl Places for Nowhere {
    fn agent(&self, _node: NodeId) -> Option<Place> {
        None
    }

    fn leader(&self) -> Option<Place> {
        Place::read("127.0.0.1:5050")
    }
}

struct World {
    session: Session,
    term: u64,
    tickets: u64,
    out: Vec<Output>,
}

fn agent() -> AgentId {
    AgentId::new(NodeId::from_bits(0), 1)
}

impl World {
    fn new(framework: Option<u64>, info: Value) -> Self {
        let mut info = info;
        (info["user"], info["name"]) = (json!("u"), json!("n"));
        let info = crate::json::read(info).unwrap();
        Self::described(framework, framework::read(&info, &[], None).unwrap())
    }

    fn described(framework: Option<u64>, description: Description) -> Self {
        let session =
            Session::new(CLUSTER, framework.map(FrameworkId), description, "nonce".into());
        Self { session, term: 1, tickets: 0, out: Vec::new() }
    }

    /// Subscribed at the first leader.
    fn subscribed() -> Self {
        let mut world = Self::new(None, json!({}));
        world.open();
        world.take();
        world.subscribe();
        world.take();
        world
    }

    fn open(&mut self) {
        self.session.opened(&mut self.out);
    }

    fn close(&mut self) {
        self.session.closed(&mut self.out);
        self.term += 1;
    }

    fn event(&mut self, event: Event) {
        let fence = Fence { cluster: CLUSTER, term: Term(self.term) };
        self.session.event(EventFrame { fence, event }, &Nowhere, &mut self.out);
    }

    /// The leader takes the subscription up and is told all that it is to be told.
    fn subscribe(&mut self) {
        self.taken_up();
        while self.session.has_more() {
            self.session.say_more(&mut self.out);
            self.answer_asked(None);
        }
    }

    /// The leader answers what is asked in turn.
    fn answer_asked(&mut self, error: Option<CallErrorKind>) {
        if let Some(request) = self.session.resuming.asked() {
            let error = error.map(|kind| CallError { kind, message: String::new() });
            self.event(Event::Answered { request, error });
        }
    }

    fn taken_up(&mut self) {
        self.event(Event::Subscribed {
            framework: FrameworkId(7),
            subscription: Subscription(3),
            leader: NodeId::from_bits(1),
            heartbeat_ms: 15_000,
            nonce: "nonce".into(),
        });
    }

    fn offer(&mut self, number: u64) {
        let offer = Offer {
            id: OfferId { term: Term(self.term), number },
            framework: FrameworkId(7),
            role: Role::default(),
            agent: agent(),
            hostname: "h".into(),
            resources: "cpus:4;mem:1024".parse::<Resources>().unwrap(),
            attributes: Attributes::default(),
            domain: None,
            unavailability: None,
        };
        self.event(Event::Offers { offers: vec![offer] });
    }

    fn update(&mut self, task: &str, state: TaskState) {
        let status = StatusUpdate {
            framework: FrameworkId(7),
            task: TaskId::new(task).unwrap(),
            agent: Some(agent()),
            state,
            reason: Some(Reason::Reconciliation),
            message: String::new(),
            update: Some(UpdateId::from_bytes([2; 16])),
            at: Wall(0),
            source: Source::Agent,
            executor: None,
            data: Vec::new(),
            exit: None,
            healthy: None,
            check_status: None,
        };
        self.event(Event::Update { status });
    }

    fn call(&mut self, kind: &str, body: Value) -> Ticket {
        let mut call = json!({"framework_id": {"value": "f"}, "type": kind});
        if !body.is_null() {
            call[kind.to_ascii_lowercase()] = body;
        }
        let call: schema::Call = crate::json::read(call).unwrap();
        let kind = validate::call(&call).unwrap();
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.session.call(&call, kind, ticket, Wall(5_000), &mut self.out);
        ticket
    }

    fn launch(&mut self, offer: &str, tasks: Value) -> Ticket {
        let launch = json!({"type": "LAUNCH", "launch": {"task_infos": tasks}});
        let accept =
            json!({"offer_ids": [{"value": format!("{PREFIX}-{offer}")}], "operations": [launch]});
        self.call("ACCEPT", accept)
    }

    fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    fn sent(&mut self) -> Vec<Call> {
        let out = self.take();
        out.into_iter()
            .filter_map(|output| match output {
                Output::Send(frame) => Some(frame.call),
                Output::Tell(_) | Output::Answer(..) | Output::End => None,
            })
            .collect()
    }

    /// What the client was told, as JSON, and how its requests were answered.
    fn told(&mut self) -> (Vec<Value>, Vec<(Ticket, Option<u16>)>) {
        let (mut events, mut answers) = (Vec::new(), Vec::new());
        for output in self.take() {
            match output {
                Output::Tell(event) => events.push(serde_json::to_value(&*event).unwrap()),
                Output::Answer(ticket, answer) => {
                    answers.push((ticket, answer.err().map(|refused| refused.status)));
                }
                Output::End => events.push(json!("end")),
                Output::Send(_) => {}
            }
        }
        (events, answers)
    }
}

fn task(id: &str) -> Value {
    json!({"name": id, "task_id": {"value": id}, "agent_id": {"value": format!("{PREFIX}-S{}", agent())},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}}],
        "command": {"value": "true"}})
}

#[test]
fn a_subscription_is_told_once_and_resumed_at_the_next_leader() {
    let mut world = World::new(None, json!({}));
    world.open();
    let sent = world.sent();
    assert!(
        matches!(&sent[..], [Call::Subscribe(it)] if it.resume.is_none() && it.nonce == "nonce")
    );
    assert!(world.session.left().is_none());
    world.subscribe();
    let (events, _) = world.told();
    assert_eq!(events[0]["type"], "SUBSCRIBED");
    let subscribed = &events[0]["subscribed"];
    assert_eq!(subscribed["framework_id"]["value"], format!("{PREFIX}-0007"));
    assert_eq!(subscribed["heartbeat_interval_seconds"], 15.0);
    assert_eq!(subscribed["master_info"]["ip"], 0x0100_007f);
    assert_eq!(subscribed["master_info"]["pid"], "master@127.0.0.1:5050");
    assert_eq!(events[1..], [json!({"type": "HEARTBEAT"})]);
    world.offer(1);
    let (events, _) = world.told();
    assert_eq!(events[0]["offers"]["offers"][0]["id"]["value"], format!("{PREFIX}-O1.1"));
    world.close();
    let rescind =
        json!({"type": "RESCIND", "rescind": {"offer_id": {"value": format!("{PREFIX}-O1.1")}}});
    assert_eq!(world.told().0, [rescind]);
    world.open();
    let resumed = world.sent();
    assert!(matches!(&resumed[..], [Call::Subscribe(it)]
        if it.resume == Some(Subscription(3)) && it.framework == Some(FrameworkId(7))));
    world.subscribe();
    assert_eq!(world.told().0, [] as [Value; 0], "the client notices nothing");
    // A deposed leader's word counts for nothing.
    world.term = 1;
    world.offer(2);
    assert_eq!(world.told().0, [] as [Value; 0]);
    let frame = world.session.left().unwrap();
    assert_eq!((frame.subscription, frame.call), (Subscription(3), Call::Disconnect));
}

#[test]
fn an_accept_is_sent_once_and_asked_for_at_the_next_leader() {
    let mut world = World::subscribed();
    world.offer(1);
    world.take();
    world.launch("O1.1", json!([task("t")]));
    let sent = world.sent();
    let [Call::Accept(Accept { offers, launch, refuse_ms, .. })] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!((offers.len(), launch[0].task_id.as_str(), *refuse_ms), (1, "t", None));
    // Said again, as after an answer that got lost, it does not end what it launched.
    world.launch("O1.1", json!([task("t")]));
    assert_eq!(world.told().0, [json!(null); 0]);
    // The offer is void now.
    world.launch("O1.1", json!([task("u")]));
    let (events, answers) = world.told();
    assert_eq!(events[0]["update"]["status"]["state"], "TASK_LOST");
    assert_eq!(events[0]["update"]["status"]["reason"], "REASON_INVALID_OFFERS");
    assert_eq!(events[0]["update"]["status"]["timestamp"], 5.0);
    assert_eq!(answers, [(Ticket(3), None)]);
    world.update("t", TaskState::Running);
    world.launch("O1.1", json!([]));
    world.take();
    world.close();
    world.call("KILL", json!({"task_id": {"value": "t"}}));
    assert_eq!(world.told().1, [(Ticket(5), None)], "taken in without a leader");
    world.open();
    world.subscribe();
    let sent = world.sent();
    let query = TaskQuery { task: TaskId::new("t").unwrap(), agent: Some(agent()), pending: false };
    assert!(sent.contains(&Call::Reconcile { tasks: vec![query.clone()] }), "{sent:?}");
    let kill = Call::Kill { task: query.task, agent: Some(agent()), grace_ms: None };
    assert!(sent.contains(&kill), "{sent:?}");
    assert!(!sent.iter().any(|call| matches!(call, Call::Accept(_))), "{sent:?}");
    world.update("t", TaskState::Killed);
    world.close();
    world.take();
    world.open();
    world.subscribe();
    assert_eq!(world.sent().len(), 1, "nothing is left to be said but the subscribe");
}

#[test]
fn a_kill_of_an_earlier_task_is_not_said_of_a_later_one_of_its_id() {
    let mut world = World::subscribed();
    world.call("KILL", json!({"task_id": {"value": "t"}}));
    world.offer(1);
    world.launch("O1.1", json!([task("t")]));
    world.close();
    world.take();
    world.open();
    world.subscribe();
    let sent = world.sent();
    assert!(!sent.iter().any(|call| matches!(call, Call::Kill { .. })), "{sent:?}");
}

#[test]
fn tasks_that_cannot_be_are_refused_beside_those_that_can() {
    let mut world = World::subscribed();
    world.offer(1);
    world.take();
    let mut elsewhere = task("elsewhere");
    elsewhere["agent_id"]["value"] = json!(format!("{PREFIX}-Saaaaaaaaaaaa.9"));
    let mut checked = task("checked");
    checked["health_check"] = json!({});
    let group = json!({"type": "LAUNCH_GROUP", "launch_group": {
        "executor": {"type": "DEFAULT", "executor_id": {"value": "e"}, "command": {"value": "x"}},
        "task_group": {"tasks": [task("grouped")]}}});
    let launch =
        json!({"type": "LAUNCH", "launch": {"task_infos": [elsewhere, checked, task("good")]}});
    let disk = json!({"type": "CREATE_DISK", "id": {"value": "o"}});
    let accept = json!({"offer_ids": [{"value": format!("{PREFIX}-O1.1")}],
        "operations": [launch, group, disk], "filters": {"refuse_seconds": 0.5}});
    world.call("ACCEPT", accept);
    let sent: Vec<Output> =
        world.out.iter().filter(|it| matches!(it, Output::Send(_))).cloned().collect();
    let [Output::Send(frame)] = &sent[..] else { panic!("{sent:?}") };
    let Call::Accept(accept) = &frame.call else { panic!("{frame:?}") };
    assert_eq!(accept.launch.len(), 1);
    assert_eq!((accept.launch[0].task_id.as_str(), accept.refuse_ms), ("good", Some(500)));
    let (events, _) = world.told();
    let refused: Vec<(Value, Value)> = events
        .iter()
        .filter(|event| event["type"] == "UPDATE")
        .map(|event| {
            let status = &event["update"]["status"];
            assert_eq!(status["state"], "TASK_ERROR");
            (status["task_id"]["value"].clone(), status["reason"].clone())
        })
        .collect();
    assert_eq!(
        refused,
        [
            (json!("elsewhere"), json!("REASON_TASK_INVALID")),
            (json!("checked"), json!("REASON_TASK_INVALID")),
            (json!("grouped"), json!("REASON_TASK_GROUP_INVALID")),
        ]
    );
    assert_eq!(events[3]["update_operation_status"]["status"]["state"], "OPERATION_ERROR");
}

#[test]
fn a_group_is_launched_whole_or_refused_whole() {
    for (elsewhere, size) in [(false, 2), (true, 0)] {
        let mut world = World::subscribed();
        world.offer(1);
        world.take();
        let mut second = task("second");
        if elsewhere {
            second["agent_id"]["value"] = json!(format!("{PREFIX}-Saaaaaaaaaaaa.9"));
        }
        let group = json!({"type": "LAUNCH_GROUP", "launch_group": {
            "executor": {"type": "DEFAULT", "executor_id": {"value": "pod"}},
            "task_group": {"tasks": [task("first"), second]}}});
        let accept =
            json!({"offer_ids": [{"value": format!("{PREFIX}-O1.1")}], "operations": [group]});
        world.call("ACCEPT", accept);
        let accepted = world.out.iter().find_map(|it| {
            let Output::Send(frame) = it else { return None };
            let Call::Accept(accept) = &frame.call else { return None };
            Some(accept.launch.clone())
        });
        let launch = accepted.unwrap();
        assert_eq!(launch.len(), size);
        assert!(launch.iter().all(|task| task.group.is_some() && task.executor.is_some()));
        let (events, _) = world.told();
        let errors = events.iter().filter(|event| event["type"] == "UPDATE").map(|event| {
            assert_eq!(event["update"]["status"]["reason"], "REASON_TASK_GROUP_INVALID");
            event["update"]["status"]["message"].clone()
        });
        let errors: Vec<Value> = errors.collect();
        assert_eq!(errors.len(), 2 - size);
        assert!(errors.iter().all(|why| why.as_str().unwrap().contains("'second'")), "{errors:?}");
    }
}

#[test]
fn changes_are_answered_when_a_leader_has_committed_them() {
    let mut world = World::subscribed();
    let suppress = world.call("SUPPRESS", Value::Null);
    assert_eq!(world.told().1, []);
    world.close();
    let revive = world.call("REVIVE", json!({"roles": ["*"]}));
    world.open();
    world.take();
    world.subscribe();
    let again: Vec<(Option<RequestId>, Call)> = world
        .take()
        .into_iter()
        .filter_map(|output| match output {
            Output::Send(frame) => Some((frame.request, frame.call)),
            Output::Tell(_) | Output::Answer(..) | Output::End => None,
        })
        .collect();
    assert!(
        matches!(again[0].1, Call::Suppress { .. }) && matches!(again[1].1, Call::Revive { .. })
    );
    world.event(Event::Answered { request: again[0].0.unwrap(), error: None });
    let error = CallError { kind: CallErrorKind::Invalid, message: "no such role".into() };
    world.event(Event::Answered { request: again[1].0.unwrap(), error: Some(error) });
    assert_eq!(world.told().1, [(suppress, None), (revive, Some(400))]);
    // The same answer once more is nobody's.
    world.event(Event::Answered { request: again[0].0.unwrap(), error: None });
    assert_eq!(world.told().1, []);
    let bad = world.call("REVIVE", json!({"roles": ["a//b"]}));
    assert_eq!(world.told().1, [(bad, Some(400))]);
}

#[test]
fn the_end_is_told_and_answers_all_who_wait() {
    for (kind, text) in [
        (CallErrorKind::FailedOver, "Framework failed over"),
        (CallErrorKind::FrameworkRemoved, "Framework has been removed"),
        (CallErrorKind::Invalid, "why"),
    ] {
        let mut world = World::subscribed();
        let waiting = world.call("SUPPRESS", Value::Null);
        world.event(Event::Error { error: CallError { kind, message: "why".into() } });
        let (events, answers) = world.told();
        assert_eq!(events, [json!({"type": "ERROR", "error": {"message": text}}), json!("end")]);
        assert_eq!(answers, [(waiting, Some(403))]);
        let late = world.call("SUPPRESS", Value::Null);
        assert_eq!(world.told().1, [(late, Some(403))]);
    }
    // A leader that is busy is asked again.
    let mut world = World::subscribed();
    world.event(Event::Error {
        error: CallError { kind: CallErrorKind::Busy, message: String::new() },
    });
    assert_eq!(world.told(), (vec![], vec![]));
    // A framework whose wish to be torn down was refused is told the end that comes later.
    let mut world = World::subscribed();
    let teardown = world.call("TEARDOWN", Value::Null);
    let request = world.session.waiting.next(None).unwrap();
    let busy = CallError { kind: CallErrorKind::Busy, message: String::new() };
    world.event(Event::Answered { request, error: Some(busy) });
    assert_eq!(world.told(), (vec![], vec![(teardown, Some(503))]));
    let over = CallError { kind: CallErrorKind::FailedOver, message: String::new() };
    world.event(Event::Error { error: over });
    assert_eq!(world.told().0[0]["error"]["message"], "Framework failed over");
    // A framework that tears itself down is told no error.
    let mut world = World::subscribed();
    let teardown = world.call("TEARDOWN", Value::Null);
    world.event(Event::Error {
        error: CallError { kind: CallErrorKind::FrameworkRemoved, message: String::new() },
    });
    assert_eq!(world.told(), (vec![json!("end")], vec![(teardown, None)]));
}

#[test]
fn a_framework_that_comes_back_says_what_it_wishes_anew() {
    let mut world = World::new(Some(7), json!({}));
    world.open();
    world.take();
    world.subscribe();
    let sent = world.sent();
    assert_eq!(sent, [Call::Wish { wishes: BTreeMap::new() }]);
    let error = CallError { kind: CallErrorKind::Busy, message: String::new() };
    world.event(Event::Answered { request: RequestId(1), error: Some(error) });
    world.session.tick(&mut world.out);
    assert_eq!(world.sent().len(), 1, "said again to a busy leader");
    world.event(Event::Answered { request: RequestId(2), error: None });
    world.session.tick(&mut world.out);
    assert_eq!(world.sent(), []);
}

#[test]
fn an_update_is_said_until_it_is_on_record() {
    let mut world = World::subscribed();
    let body = |more: Value| {
        let mut info = json!({"id": {"value": "f"}, "user": "u", "name": "m", "hostname": "h",
            "failover_timeout": 3.0, "roles": ["a", "b"], "capabilities": [{"type": "MULTI_ROLE"}]});
        info.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let constraint =
            json!({"selector": {"attribute_name": "rack"}, "predicate": {"exists": {}}});
        let group = json!({"attribute_constraints": [constraint]});
        json!({"framework_info": info, "suppressed_roles": ["b"],
            "offer_constraints": {"role_constraints": {"a": {"groups": [group]}}}})
    };
    for (more, why) in [
        (json!({"user": "root"}), "'FrameworkInfo.user' is unsupported"),
        (json!({"principal": "p"}), "principal"),
        (json!({"checkpoint": true}), "from 'false' to 'true'"),
        (json!({"roles": ["a"]}), "'suppressed_roles' names role"),
        (json!({"roles": ["a", "a"]}), "named twice"),
    ] {
        world.call("UPDATE_FRAMEWORK", body(more));
        let [Output::Answer(_, Err(refused))] = &world.take()[..] else { panic!("{why}") };
        assert_eq!(refused.status, 400);
        assert!(refused.message.contains(why), "{why}: {}", refused.message);
    }
    let ticket = world.call("UPDATE_FRAMEWORK", body(json!({})));
    let sent = world.sent();
    let [Call::UpdateFramework(update)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((update.info.name.as_str(), update.info.failover_timeout_ms), ("m", 3_000));
    assert_eq!((update.info.roles.len(), update.suppressed_roles.len()), (2, 1));
    assert_eq!(update.wishes.as_ref().unwrap().len(), 1);
    assert!(!update.info.capabilities.partition_aware);
    // The leader dies without an answer, the next one hears it too.
    world.close();
    world.take();
    world.open();
    world.take();
    world.subscribe();
    assert_eq!(world.sent(), sent);
    let request = RequestId(1);
    world.event(Event::Answered { request, error: None });
    assert_eq!(world.told().1, [(ticket, None)]);
    assert_eq!(world.session.subscribe.info, update.info);
    // What the leader says against it is passed on.
    let ticket = world.call("UPDATE_FRAMEWORK", body(json!({"roles": ["b"]})));
    assert_eq!(world.told().1, [(ticket, Some(400))], "constraints of a role that is not its own");
    let ticket = world.call("UPDATE_FRAMEWORK", body(json!({"name": "k"})));
    let error = CallError { kind: CallErrorKind::Busy, message: "an older voter".into() };
    world.event(Event::Answered { request: RequestId(2), error: Some(error) });
    assert_eq!(world.told().1, [(ticket, Some(503))]);
    assert_eq!(world.session.subscribe.info.name, "m");
}

#[test]
fn every_other_call_does_what_it_says() {
    let mut world = World::subscribed();
    world.offer(1);
    world.update("t", TaskState::Running);
    world.take();
    let agent_id = json!({"value": format!("{PREFIX}-S{}", agent())});
    let id = |text: &str| json!({"value": text});
    let uuid = "AgICAgICAgICAgICAgICAg==";
    let cpus = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}});
    for (kind, body, calls, waits) in [
        ("DECLINE", json!({"offer_ids": [id(&format!("{PREFIX}-O1.1")), id("x")]}), 1, false),
        ("DECLINE", json!({"offer_ids": [id(&format!("{PREFIX}-O1.1"))]}), 0, false),
        ("ACKNOWLEDGE", json!({"agent_id": agent_id, "task_id": id("t"), "uuid": uuid}), 1, false),
        ("ACKNOWLEDGE", json!({"agent_id": id("x"), "task_id": id("t"), "uuid": uuid}), 0, false),
        (
            "ACKNOWLEDGE_OPERATION_STATUS",
            json!({"agent_id": agent_id, "operation_id": id("o"), "uuid": uuid}),
            1,
            false,
        ),
        ("SHUTDOWN", json!({"agent_id": agent_id, "executor_id": id("t")}), 2, false),
        ("SHUTDOWN", json!({"agent_id": agent_id, "executor_id": id("other")}), 1, false),
        ("SHUTDOWN", json!({"agent_id": id("x"), "executor_id": id("other")}), 0, false),
        ("RECONCILE", json!({}), 1, true),
        ("RECONCILE", json!({"tasks": [{"task_id": id("t")}]}), 1, true),
        ("RECONCILE", json!({"tasks": [{"task_id": id("a/b")}]}), 0, false),
        (
            "RECONCILE_OPERATIONS",
            json!({"operations": [{"operation_id": id("o"), "agent_id": agent_id}]}),
            1,
            true,
        ),
        ("RECONCILE_OPERATIONS", json!({"operations": [{"operation_id": id("o")}]}), 0, false),
        ("MESSAGE", json!({"agent_id": agent_id, "executor_id": id("e"), "data": ""}), 1, false),
        ("MESSAGE", json!({"agent_id": id("x"), "executor_id": id("e"), "data": ""}), 0, false),
        ("REQUEST", json!({"requests": []}), 0, false),
        ("REQUEST", json!({"requests": [{"resources": [cpus]}]}), 1, false),
        ("ACCEPT_INVERSE_OFFERS", json!({}), 0, false),
        ("DECLINE_INVERSE_OFFERS", json!({}), 0, false),
    ] {
        world.call(kind, body.clone());
        let answered = world.out.iter().any(|it| matches!(it, Output::Answer(_, Ok(()))));
        assert_eq!(answered, !waits, "{kind} {body}");
        assert_eq!(world.sent().len(), calls, "{kind} {body}");
    }
    assert!(validate::call(&schema::Call::default()).is_err());
    assert_eq!(CallType::Subscribe as i32, 1);
}

#[test]
fn a_leader_is_told_much_in_pieces() {
    let mut world = World::subscribed();
    for number in 0..2_500 {
        world.update(&format!("t{number}"), TaskState::Running);
    }
    for number in 0..250 {
        world.call("KILL", json!({"task_id": {"value": format!("t{number}")}}));
    }
    world.close();
    let waiting: Vec<Ticket> = (0..3).map(|_| world.call("SUPPRESS", Value::Null)).collect();
    world.take();
    world.open();
    world.take();
    world.taken_up();
    assert_eq!(world.sent(), [], "nothing before there is room for it");
    for _ in &waiting {
        world.session.say_more(&mut world.out);
        assert!(matches!(world.sent()[..], [Call::Suppress { .. }]));
    }
    let (mut asked, mut killed, mut rests) = (0, 0, 0);
    let mut late = None;
    while world.session.has_more() {
        world.session.say_more(&mut world.out);
        for call in world.sent() {
            let Call::Reconcile { tasks } = call else {
                assert!(matches!(call, Call::Kill { .. }), "{call:?}");
                killed += 1;
                continue;
            };
            assert!(tasks.len() <= 1_000 && !world.session.has_more());
            if rests > 0 {
                asked += tasks.len();
                world.answer_asked(None);
                continue;
            }
            // It is asked once more when the leader was too busy.
            rests += 1;
            world.answer_asked(Some(CallErrorKind::Busy));
            assert!(!world.session.has_more());
            world.session.tick(&mut world.out);
            // What comes now does not wait for the rest.
            late = Some(world.call("REVIVE", Value::Null));
            assert!(matches!(world.sent()[..], [Call::Revive { .. }]));
        }
    }
    assert_eq!((asked, killed, rests), (2_500, 250, 1));
    assert!(late.is_some());
}

#[test]
fn calls_keep_their_order_when_a_leader_is_there_again() {
    let mut world = World::subscribed();
    world.close();
    world.call("SUPPRESS", Value::Null);
    world.open();
    world.take();
    world.taken_up();
    world.call("REVIVE", Value::Null);
    assert_eq!(world.sent(), [], "it is not sent ahead of the one that waits");
    while world.session.has_more() {
        world.session.say_more(&mut world.out);
    }
    assert!(matches!(world.sent()[..], [Call::Suppress { .. }, Call::Revive { .. }]));
}

#[test]
fn what_waits_for_a_leader_is_bounded_by_bytes_and_forgotten_with_its_asker() {
    let mut world = World::subscribed();
    world.close();
    world.take();
    let tasks: Vec<Value> =
        (0..9_000).map(|number| json!({"task_id": {"value": format!("{number:0200}")}})).collect();
    let body = json!({ "tasks": tasks });
    let mut taken = Vec::new();
    loop {
        let ticket = world.call("RECONCILE", body.clone());
        match world.told().1[..] {
            [] => taken.push(ticket),
            [(refused, Some(503))] if refused == ticket => break,
            ref other => panic!("{other:?}"),
        }
        assert!(taken.len() < 100, "they are bounded");
    }
    world.session.forget(taken[0]);
    let fits = world.call("RECONCILE", body);
    assert_eq!(world.told().1, []);
    // One that was refused a teardown for want of a leader is told how it ends.
    let teardown = world.call("TEARDOWN", Value::Null);
    world.session.forget(teardown);
    world.open();
    world.take();
    world.subscribe();
    let sent = world.sent();
    assert_eq!(sent.len(), taken.len(), "the forgotten ones are not made: {fits:?}");
    let error = CallError { kind: CallErrorKind::FrameworkRemoved, message: String::new() };
    world.event(Event::Error { error });
    assert_eq!(world.told().0[0]["error"]["message"], "Framework has been removed");
}

#[test]
fn many_tasks_are_asked_for_in_parts_each_when_the_one_before_is_answered() {
    let mut world = World::subscribed();
    let task = |number: usize| json!({"task_id": {"value": format!("t{number}")}});
    let tasks: Vec<Value> = (0..2_500).map(task).collect();
    let body = json!({ "tasks": tasks });
    let reconcile = world.call("RECONCILE", body.clone());
    let mut asked = Vec::new();
    for part in [1_000, 1_000, 500] {
        let frames = world.take();
        let [Output::Send(frame)] = &frames[..] else { panic!("{frames:?}") };
        let Call::Reconcile { tasks } = &frame.call else { panic!("{frame:?}") };
        assert_eq!(tasks.len(), part);
        asked.extend(tasks.iter().map(|query| query.task.to_string()));
        if part == 500 {
            // A new leader is asked for the part that has no answer.
            world.close();
            world.open();
            world.take();
            world.taken_up();
            world.session.say_more(&mut world.out);
            let again = world.take();
            let [Output::Send(frame)] = &again[..] else { panic!("{again:?}") };
            assert!(matches!(&frame.call, Call::Reconcile { tasks } if tasks.len() == 500));
        }
        world.event(Event::Answered { request: frame.request.unwrap(), error: None });
    }
    assert_eq!(asked, (0..2_500).map(|number| format!("t{number}")).collect::<Vec<_>>());
    assert_eq!(world.told().1, [(reconcile, None)], "answered once, at the end");
    // A leader that is too busy for a part is not asked for the rest.
    let busy = world.call("RECONCILE", body);
    let request = world.session.waiting.next(None).unwrap();
    let error = CallError { kind: CallErrorKind::Busy, message: String::new() };
    world.take();
    world.event(Event::Answered { request, error: Some(error) });
    let (_, answers) = world.told();
    assert_eq!(answers, [(busy, Some(503))]);
    assert_eq!(world.session.waiting.next(None), None);
}
