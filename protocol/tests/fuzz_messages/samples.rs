//! Every type that is decoded from the wire, with examples of each of its forms.

use std::{collections::BTreeMap, fmt::Debug};

use meshos_protocol::{
    attributes::Attributes,
    codec::{self, DecodeError},
    demand::Demands,
    framework::{Capabilities, FrameworkInfo, Offer},
    ids::{
        AgentId, ClusterId, ContainerId, Fence, FrameworkId, Generation, NodeId, OfferId,
        Principal, ProposalId, RequestId, SessionId, Subscription, TaskId, Term, UpdateId,
    },
    maintenance::{InverseOffer, Unavailability},
    messages::{
        Refusal, StreamAnswer, StreamClass, StreamHello,
        agent::{Registration, TaskHint, ToAgent, ToAgentFrame, ToLeader},
        node::{
            Announcement, HintsPlace, Release, Reply, ReplyFrame, Request, RequestFrame, Retold,
            SignSubject,
        },
        scheduler::{
            Accept, Call, CallError, CallErrorKind, CallFrame, Event, EventFrame, RescindCause,
            Subscribe, TaskQuery, UpdateFramework,
        },
    },
    resources::Resources,
    role::Role,
    task::{
        Command, CommandLine, DrainKill, Exit, Reason, Source, StatusUpdate, TaskDescription,
        TaskEnd, TaskLaunch, TaskReport, TaskState, Uri,
    },
    time::{Mono, Wall},
    wishes::{AgentConstraint, OfferWishes, Predicate, ResourceRequest, Selector},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{checks, executors, operations, resources};

/// One type of the wire.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Encoded examples.
    pub(crate) samples: Vec<Vec<u8>>,
    /// Decodes, holds what must be true of whatever is decoded, and encodes again.
    pub(crate) read: fn(&[u8]) -> Result<Vec<u8>, DecodeError>,
}

pub(crate) fn target<T>(samples: impl IntoIterator<Item = T>) -> Target
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let samples = samples.into_iter().map(|sample| codec::encode(&sample)).collect();
    Target { name: std::any::type_name::<T>(), samples, read: read::<T> }
}

fn read<T>(bytes: &[u8]) -> Result<Vec<u8>, DecodeError>
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let value = codec::decode::<T>(bytes)?;
    let encoded = codec::encode(&value);
    match codec::decode::<T>(&encoded) {
        Ok(again) => assert_eq!(again, value),
        Err(error) => panic!("{value:?} cannot be read back: {error}"),
    }
    let followed = codec::decode::<T>(&[bytes, &[0xc0]].concat());
    assert!(matches!(followed, Err(DecodeError::Trailing { extra: 1, .. })), "{followed:?}");
    Ok(encoded)
}

fn node() -> NodeId {
    NodeId::from_bits(0x0123_4567_89ab)
}

pub(crate) fn agent() -> AgentId {
    AgentId::new(node(), 3)
}

fn fence() -> Fence {
    Fence { cluster: ClusterId::from_u128(0xfeed), term: Term(7) }
}

pub(crate) fn task_id() -> TaskId {
    TaskId::new("web.1 ü").expect("a good id")
}

fn offer_id() -> OfferId {
    OfferId { term: Term(7), number: 300 }
}

pub(crate) fn role() -> Role {
    Role::new("team/web").expect("a good role")
}

pub(crate) fn resources() -> Resources {
    "cpus:1.5;mem:512;ports:[31000-31003,31010-31010];bugs:{a,b};cpus(team/web):2"
        .parse()
        .expect("good resources")
}

fn attributes() -> Attributes {
    "rack:abc;level:10;keys:[1000-1500];s:{a,b}".parse().expect("good attributes")
}

pub(crate) fn update_id() -> UpdateId {
    UpdateId::mint(node(), Generation(2), 5)
}

pub(crate) fn texts() -> BTreeMap<String, String> {
    [("a".to_owned(), "b".to_owned()), (String::new(), "ü".repeat(40))].into()
}

fn uri() -> Uri {
    Uri {
        value: "http://host/a.tgz".into(),
        executable: true,
        extract: true,
        output_file: Some("a".into()),
    }
}

fn command_lines() -> [CommandLine; 3] {
    [
        CommandLine::Shell { line: "echo hello".into() },
        CommandLine::Exec {
            program: "/bin/true".into(),
            arguments: vec!["-x".into(), String::new()],
        },
        CommandLine::Unknown,
    ]
}

pub(crate) fn command() -> Command {
    let [line, ..] = command_lines();
    Command { line, environment: texts(), user: Some("nobody".into()), uris: vec![uri()] }
}

pub(crate) fn description() -> TaskDescription {
    TaskDescription {
        task_id: task_id(),
        name: "web".into(),
        resources: resources(),
        command: command(),
        executor: None,
        group: None,
        data: Vec::new(),
        kill_grace_ms: Some(3_000),
        max_completion_ms: Some(60_000),
        health_check: None,
        check: None,
        labels: texts(),
    }
}

fn launch() -> TaskLaunch {
    TaskLaunch { description: description(), role: role(), executor_resources: None }
}

fn exits() -> [Exit; 4] {
    [
        Exit::Code { code: 255 },
        Exit::Signal { signal: 9 },
        Exit::Unreadable { why: "its launcher died".into() },
        Exit::Unknown,
    ]
}

fn updates() -> Vec<StatusUpdate> {
    let update = |exit: Option<Exit>| StatusUpdate {
        framework: FrameworkId(12),
        task: task_id(),
        agent: Some(agent()),
        state: TaskState::Failed,
        reason: Some(Reason::CommandFailed),
        message: "it exited with status 1".into(),
        update: Some(update_id()),
        at: Wall(1_700_000_000_000),
        source: Source::Agent,
        executor: None,
        data: Vec::new(),
        exit,
        healthy: None,
        check_status: None,
    };
    let bare = StatusUpdate {
        agent: None,
        reason: None,
        message: String::new(),
        update: None,
        source: Source::Master,
        ..update(None)
    };
    exits().into_iter().map(|exit| update(Some(exit))).chain([bare]).collect()
}

pub(crate) fn status() -> StatusUpdate {
    updates().remove(0)
}

pub(crate) fn report() -> TaskReport {
    TaskReport {
        framework: FrameworkId(12),
        launch: launch(),
        state: TaskState::Running,
        unacknowledged: updates(),
        launched_at: Some(Wall(8)),
        started_at: Some(Wall(9)),
        healthy: None,
        check_status: None,
    }
}

fn end() -> TaskEnd {
    TaskEnd {
        framework: FrameworkId(12),
        task: task_id(),
        agent: Some(agent()),
        name: "count".into(),
        role: role(),
        resources: resources(),
        state: TaskState::Failed,
        reason: Some(Reason::CommandFailed),
        message: "the command exited with status 3".into(),
        exit: Some(Exit::Code { code: 3 }),
        launched_at: Wall(8),
        started_at: Some(Wall(9)),
        ended_at: Wall(10),
    }
}

pub(crate) fn info() -> FrameworkInfo {
    FrameworkInfo {
        name: "counter".into(),
        user: "nobody".into(),
        roles: [Role::default(), role()].into(),
        failover_timeout_ms: 60_000,
        capabilities: Capabilities { partition_aware: false, ..Capabilities::default() },
        hostname: "here".into(),
        webui_url: "http://here/".into(),
        labels: texts(),
    }
}

fn offer() -> Offer {
    Offer {
        id: offer_id(),
        framework: FrameworkId(12),
        role: role(),
        agent: agent(),
        hostname: "here".into(),
        resources: resources(),
        attributes: attributes(),
        domain: Some("eu/a".parse().expect("a good domain")),
        unavailability: Some(unavailability()),
    }
}

fn unavailability() -> Unavailability {
    Unavailability { start: Wall(1_800_000_000_000), duration_ms: Some(3_600_000) }
}

fn inverse_offer() -> InverseOffer {
    InverseOffer {
        id: offer_id(),
        framework: FrameworkId(12),
        agent: agent(),
        hostname: "here".into(),
        unavailability: unavailability(),
    }
}

fn announcement() -> Announcement {
    Announcement {
        fence: fence(),
        leader: node(),
        agent_address: "127.0.0.1:5051".into(),
        http_address: "127.0.0.1:5050".into(),
        voters: vec![(node(), "127.0.0.1:5051".into())],
        recovery: vec![3, 200, 7],
    }
}

pub(crate) fn registration() -> Registration {
    Registration {
        fence: fence(),
        node: node(),
        generation: Generation(4),
        agent: Some(agent()),
        hostname: "here".into(),
        http_address: "127.0.0.1:5050".into(),
        agent_address: "127.0.0.1:5051".into(),
        pid: 77,
        version: "0.1.0".into(),
        resources: resources(),
        operations: Some(operations::reports()),
        executors: None,
        groups: false,
        attributes: attributes(),
        domain: Some("eu/a".parse().expect("a good domain")),
        tasks: vec![report()],
        more: true,
        ends: 3,
    }
}

fn subscribe() -> Subscribe {
    Subscribe {
        framework: Some(FrameworkId(12)),
        info: info(),
        suppressed_roles: [role()].into(),
        resume: Some(Subscription(3)),
        nonce: "n-1".into(),
        can_be_asked: true,
        demand: Some(Box::new(demand())),
    }
}

pub(crate) fn accept() -> Accept {
    Accept {
        offers: vec![offer_id()],
        operations: operations::requests(),
        launch: vec![description()],
        refuse_ms: Some(5_000),
    }
}

fn query() -> TaskQuery {
    TaskQuery { task: task_id(), agent: Some(agent()), pending: true }
}

fn hint() -> TaskHint {
    TaskHint {
        framework: FrameworkId(12),
        task: task_id(),
        agent: agent(),
        launch: Some(launch()),
        end: None,
    }
}

fn call_errors() -> Vec<CallError> {
    use CallErrorKind::{
        Busy, FailedOver, Forbidden, FrameworkRemoved, Invalid, NoLeader, NotSubscribed, Unknown,
    };
    [NoLeader, Invalid, Forbidden, FrameworkRemoved, FailedOver, NotSubscribed, Busy, Unknown]
        .map(|kind| CallError { kind, message: "because".into() })
        .to_vec()
}

fn refusals() -> [Refusal; 6] {
    [
        Refusal::Version,
        Refusal::Cluster,
        Refusal::Identity,
        Refusal::NotLeader,
        Refusal::Busy,
        Refusal::Unknown,
    ]
}

fn classes() -> [StreamClass; 6] {
    let principal = Principal::new("analytics").expect("a good principal");
    [
        StreamClass::Agent,
        StreamClass::Scheduler,
        StreamClass::Relay { principal },
        StreamClass::Request,
        StreamClass::Bulk,
        StreamClass::Unknown,
    ]
}

fn subjects() -> [SignSubject; 3] {
    [
        SignSubject::Node { node: node() },
        SignSubject::Framework { principal: "analytics".into() },
        SignSubject::Unknown,
    ]
}

fn requests() -> Vec<Request> {
    let sign = |subject| Request::Sign { request: vec![0x30, 0x82, 0], subject, token: "t".into() };
    let mut all = vec![
        Request::Raft { body: vec![0, 255, 7] },
        Request::Probe { body: Vec::new() },
        Request::Announce(announcement()),
        Request::Leader,
        Request::ConfirmLeader { term: Term(7), leader: node() },
        Request::Hints {
            fence: fence(),
            hints: vec![hint(), TaskHint { launch: None, ..hint() }],
            place: None,
        },
        Request::Hints {
            fence: fence(),
            hints: vec![TaskHint { launch: None, end: Some(Box::new(end())), ..hint() }],
            place: Some(HintsPlace {
                number: 9,
                after: Some(Term(6)),
                retold: Some(Retold { first: true, last: false, all: true }),
            }),
        },
        Request::Hints {
            fence: fence(),
            hints: Vec::new(),
            place: Some(HintsPlace { number: 9, after: None, retold: None }),
        },
        Request::JoinVoters {
            raft_id: 9,
            address: "127.0.0.1:5051".into(),
            replaces: Some(8),
            release: Some(Release { name: "0.2.0".into(), level: 2 }),
        },
        Request::JoinVoters {
            raft_id: 9,
            address: "127.0.0.1:5051".into(),
            replaces: None,
            release: None,
        },
        Request::Http {
            method: "POST".into(),
            path: "/api/tasks/kill".into(),
            principal: "alice".into(),
            body: b"{}".to_vec(),
        },
        Request::Unknown,
    ];
    all.extend(subjects().map(sign));
    all
}

fn replies() -> Vec<Reply> {
    vec![
        Reply::Done,
        Reply::HintsMissed,
        Reply::Bytes { body: vec![1, 2, 3] },
        Reply::Leader { announcement: Some(announcement()) },
        Reply::Leader { announcement: None },
        Reply::Confirmed { agrees: true },
        Reply::Http { status: 200, content_type: "application/json".into(), body: b"[]".to_vec() },
        Reply::Signed { certificate: vec![0x30], authority: vec![0x30], gossip_key: vec![0; 32] },
        Reply::Failed { message: "no".into() },
        Reply::Unknown,
    ]
}

fn to_leader() -> Vec<ToLeader> {
    let (framework, task) = (FrameworkId(12), task_id());
    vec![
        ToLeader::Register(registration()),
        ToLeader::Report { tasks: vec![report()], more: false },
        ToLeader::Update { status: status() },
        ToLeader::TaskEnded { framework, task, state: TaskState::Killed, at: Some(Wall(5)) },
        ToLeader::Leaving,
        ToLeader::Ends { ends: vec![end()], more: true },
        ToLeader::Unknown,
    ]
}

fn to_agent() -> Vec<ToAgent> {
    let (framework, task) = (FrameworkId(12), task_id());
    vec![
        ToAgent::Registered { agent: agent(), draining: true },
        ToAgent::Drain { draining: false },
        ToAgent::Refused { message: "too many nodes".into() },
        ToAgent::Gone { message: "declared gone".into(), leave: false },
        ToAgent::Gone { message: "drained".into(), leave: true },
        ToAgent::Launch { framework, user: "nobody".into(), info: None, tasks: vec![launch()] },
        ToAgent::Kill { framework, task: task.clone(), grace_ms: Some(1), drain: None },
        ToAgent::Kill {
            framework,
            task: task.clone(),
            grace_ms: Some(1),
            drain: Some(DrainKill { grace_max_ms: 1, mark_gone: true }),
        },
        ToAgent::Acknowledge { framework, task, update: update_id() },
        ToAgent::CloseFramework { framework },
        ToAgent::TellEnds { after: Some(Wall(5)), max: 1_000 },
        ToAgent::Unknown,
    ]
}

fn demand() -> Demands {
    let mut demand = Demands::default();
    demand.say(&role(), &[ResourceRequest::on(agent(), resources(), 3)], Some(60_000));
    demand
}

fn wishes() -> OfferWishes {
    let of = Selector::Attribute { name: "rack".into() };
    let is = Predicate::Matches { pattern: "r[0-9]+".into() };
    OfferWishes {
        minimum: vec![resources().quantities()],
        constraints: vec![
            vec![AgentConstraint { of, is }],
            vec![AgentConstraint { of: Selector::Zone, is: Predicate::NotExists }],
            vec![AgentConstraint { of: Selector::Nothing, is: Predicate::Never }],
            vec![AgentConstraint { of: Selector::Unknown, is: Predicate::Unknown }],
        ],
    }
}

fn calls() -> Vec<Call> {
    vec![
        Call::Subscribe(subscribe()),
        Call::Accept(accept()),
        Call::Decline { offers: vec![offer_id()], refuse_ms: Some(0) },
        Call::Revive { roles: [role()].into() },
        Call::Suppress { roles: [].into() },
        Call::Kill { task: task_id(), agent: Some(agent()), grace_ms: Some(9) },
        Call::Acknowledge { task: task_id(), agent: agent(), update: update_id() },
        Call::Reconcile { tasks: vec![query()] },
        Call::Wish { wishes: [(role(), wishes())].into() },
        Call::Request {
            role: role(),
            requests: vec![ResourceRequest {
                agent: Some(agent()),
                resources: resources(),
                count: 2,
            }],
            together_within_ms: Some(5),
        },
        Call::UpdateFramework(Box::new(UpdateFramework {
            info: info(),
            suppressed_roles: [role()].into(),
            wishes: Some([(role(), wishes())].into()),
        })),
        Call::AcceptInverseOffers { offers: vec![offer_id()], refuse_ms: Some(7) },
        Call::DeclineInverseOffers { offers: vec![offer_id()], refuse_ms: None },
        Call::Teardown,
        Call::Disconnect,
        Call::Unknown,
    ]
}

fn events() -> Vec<Event> {
    let answered = |error| Event::Answered { request: RequestId(4), error };
    let mut all = vec![
        Event::Subscribed {
            framework: FrameworkId(12),
            subscription: Subscription(3),
            leader: node(),
            heartbeat_ms: 15_000,
            nonce: "n-1".into(),
        },
        Event::Offers { offers: vec![offer()] },
        Event::Rescind { offers: vec![offer_id()], cause: None },
        Event::Rescind { offers: vec![offer_id()], cause: Some(RescindCause::Taken) },
        Event::InverseOffers { offers: vec![inverse_offer()] },
        Event::RescindInverseOffers { offers: vec![offer_id()] },
        Event::AgentLost { agent: agent() },
        Event::LeaderLost,
        Event::SubscribeAgain,
        Event::Unfulfilled { role: role() },
        Event::Heartbeat,
        Event::Unknown,
        answered(None),
    ];
    all.extend(updates().into_iter().map(|status| Event::Update { status }));
    all.extend(call_errors().into_iter().map(|error| answered(Some(error))));
    all.extend(call_errors().into_iter().map(|error| Event::Error { error }));
    all
}

pub(crate) fn id_targets() -> Vec<Target> {
    vec![
        target([node()]),
        target([agent()]),
        target([ClusterId::from_u128(0xfeed)]),
        target([FrameworkId(12)]),
        target([offer_id()]),
        target([task_id()]),
        target([ContainerId::new("c-1").expect("a good id")]),
        target([Principal::new("analytics").expect("a good principal")]),
        target([update_id()]),
        target([fence()]),
        target([Term(0), Term(u64::MAX)]),
        target([Generation(1)]),
        target([Subscription(1)]),
        target([RequestId(1)]),
        target([SessionId(1)]),
        target([ProposalId(1)]),
        target([Mono(1)]),
        target([Wall(1)]),
        target([attributes()]),
        target([role()]),
    ]
}

pub(crate) fn part_targets() -> Vec<Target> {
    vec![
        target(TaskState::ALL),
        target(Reason::ALL.iter().copied().chain([Reason::Unknown])),
        target([Source::Master, Source::Agent, Source::Executor, Source::Unknown]),
        target(exits()),
        target([uri()]),
        target(command_lines()),
        target([command()]),
        target([description()]),
        target([launch()]),
        target(updates()),
        target([report()]),
        target([Capabilities::default()]),
        target([info()]),
        target([offer()]),
        target(classes()),
        target(refusals()),
        target(subjects()),
        target([announcement()]),
        target([registration()]),
        target([hint()]),
        target([subscribe()]),
        target([accept()]),
        target([query()]),
        target(call_errors()),
    ]
}

/// What is read as a whole frame of some stream.
pub(crate) fn frame_targets() -> Vec<Target> {
    let cluster = Some(ClusterId::from_u128(0xfeed));
    let refused = |cause| StreamAnswer::Refused { cause, message: "no".into() };
    let answers = [StreamAnswer::Accepted { version: 1 }, StreamAnswer::Unknown];
    let (id, subscription) = (RequestId(4), Subscription(3));
    let mut all = vec![
        target(classes().map(|class| StreamHello::new(cluster, class))),
        target(answers.into_iter().chain(refusals().map(refused))),
        target(requests().into_iter().map(|request| RequestFrame { id, request })),
        target(replies().into_iter().map(|reply| ReplyFrame { id, reply })),
        target(
            to_leader()
                .into_iter()
                .chain(operations::to_leader())
                .chain(executors::to_leader())
                .chain(checks::to_leader()),
        ),
        target(
            to_agent()
                .into_iter()
                .chain(operations::to_agent())
                .chain(executors::to_agent())
                .chain(checks::to_agent())
                .map(|message| ToAgentFrame { fence: fence(), message }),
        ),
        target(
            calls()
                .into_iter()
                .chain(operations::calls())
                .chain(executors::calls())
                .chain(checks::calls())
                .map(|call| CallFrame { request: Some(id), subscription, call }),
        ),
        target(
            events()
                .into_iter()
                .chain(operations::events())
                .chain(executors::events())
                .chain(checks::events())
                .map(|event| EventFrame { fence: fence(), event }),
        ),
    ];
    all.extend(executors::frame_targets());
    all
}

/// Every type that is decoded from the wire.
pub(crate) fn targets() -> Vec<Target> {
    let all = [
        id_targets(),
        resources::targets(),
        operations::targets(),
        executors::targets(),
        part_targets(),
        frame_targets(),
    ];
    all.into_iter().flatten().collect()
}
