use meshos_protocol::{
    attributes::Attributes,
    ids::{AgentId, Term},
    role::Role,
    task::{Reason, Source},
    time::Wall,
};

use super::{super::request::tests::request, *};

fn plan(line: &[&str]) -> Plan {
    let mut plan = Plan::new(request(line).unwrap());
    plan.registered(FrameworkId(3));
    plan
}

fn offer(number: u64, resources: &str, attributes: &str) -> Offer {
    Offer {
        id: OfferId { term: Term(1), number },
        framework: FrameworkId(3),
        role: Role::default(),
        agent: AgentId::new(NodeId::from_bits(number), 1),
        hostname: format!("node-{number}"),
        resources: resources.parse().unwrap(),
        attributes: Attributes::parse(attributes).unwrap(),
        domain: None,
        unavailability: None,
    }
}

fn status(task: &str, state: TaskState, exit: Option<Exit>) -> StatusUpdate {
    StatusUpdate {
        framework: FrameworkId(3),
        task: TaskId::new(task).unwrap(),
        agent: Some(AgentId::new(NodeId::from_bits(1), 1)),
        state,
        reason: None,
        message: String::new(),
        update: None,
        at: Wall(0),
        source: Source::Agent,
        executor: None,
        data: Vec::new(),
        exit,
        healthy: None,
        check_status: None,
    }
}

fn launched(actions: &[Action]) -> Vec<String> {
    let tasks = actions.iter().flat_map(|action| match action {
        Action::Launch { tasks, .. } => tasks.clone(),
        Action::Decline { .. } | Action::Want { .. } => Vec::new(),
    });
    tasks.map(|task| task.task_id.to_string()).collect()
}

#[test]
fn one_instance_takes_one_part_of_one_offer() {
    let mut plan = plan(&["--cpus", "1", "--mem", "64", "echo"]);
    let actions =
        plan.offers(vec![offer(1, "cpus:4;mem:4096", ""), offer(2, "cpus:4;mem:4096", "")]);
    let [Action::Launch { offer, tasks, refuse }, second] = actions.as_slice() else {
        panic!("{actions:?}");
    };
    assert_eq!(offer.id.number, 1);
    assert_eq!(tasks[0].task_id.as_str(), "echo-F3");
    assert_eq!(tasks[0].resources.to_string(), "cpus:1;mem:64");
    assert_eq!(*refuse, Some(REFUSE_FOR_GOOD));
    assert!(matches!(second, Action::Decline { refuse: REFUSE_FOR_GOOD, .. }));
    assert_eq!(plan.counts(), Counts { launched: 1, ..Counts::default() });
}

#[test]
fn several_instances_fill_offers_and_the_rest_waits() {
    let mut plan = plan(&["--cpus", "1", "--mem", "64", "--instances", "4", "echo"]);
    let actions =
        plan.offers(vec![offer(1, "cpus:2.5;mem:4096", ""), offer(2, "cpus:9;mem:100", "")]);
    assert_eq!(launched(&actions), ["echo-F3.0", "echo-F3.1", "echo-F3.2"]);
    assert_eq!(plan.counts(), Counts { waiting: 1, launched: 3, ..Counts::default() });
    let more = plan.offers(vec![offer(3, "cpus:9;mem:100", "")]);
    assert_eq!(launched(&more), ["echo-F3.3"]);
}

#[test]
fn what_is_reserved_for_the_role_is_taken_as_it_is() {
    let mut plan = plan(&["--cpus", "2", "--mem", "64", "--role", "web", "echo"]);
    let actions = plan.offers(vec![offer(1, "cpus(web):1;cpus:4;mem:64", "")]);
    let [Action::Launch { tasks, .. }] = actions.as_slice() else { panic!("{actions:?}") };
    let expected: Resources = "cpus(web):1;cpus:1;mem:64".parse().unwrap();
    assert_eq!(tasks[0].resources, expected);
}

#[test]
fn what_may_be_taken_back_is_taken_only_by_who_asks_for_it() {
    let both = "cpus:4;mem:4096;cpus{revocable}:2;mem{revocable}:100";
    let taken = |line: &[&str]| {
        let [action] = &plan(line).offers(vec![offer(1, both, "")])[..] else { panic!("one") };
        match action {
            Action::Launch { tasks, .. } => {
                tasks.iter().map(|task| task.resources.to_string()).collect()
            }
            Action::Decline { .. } | Action::Want { .. } => Vec::new(),
        }
    };
    let lent = ["--revocable", "--mem", "64", "--instances", "2", "echo"];
    assert_eq!(taken(&lent), ["cpus{revocable}:1;mem{revocable}:64"]);
    assert_eq!(taken(&["--mem", "64", "echo"]), ["cpus:1;mem:64"]);
    assert_eq!(taken(&["--revocable=cpus", "--mem", "999", "echo"]), ["mem:999;cpus{revocable}:1"]);
    assert_eq!(taken(&["--revocable", "--cpus", "3", "echo"]), Vec::<String>::new());
}

#[test]
fn offers_that_are_no_use_are_given_back_and_remembered() {
    let mut plan = plan(&["--cpus", "8", "--constraint", "rack:abc", "echo"]);
    let actions = plan.offers(vec![
        offer(1, "cpus:16;mem:4096", "rack:other"),
        offer(2, "cpus:2;mem:4096", "rack:abc"),
        offer(3, "cpus:4;mem:4096", "rack:abc"),
    ]);
    let refuse = actions.iter().map(|action| match action {
        Action::Decline { refuse, .. } => *refuse,
        other => panic!("{other:?}"),
    });
    let refuse: Vec<Duration> = refuse.collect();
    assert_eq!(refuse, [REFUSE_FOR_GOOD, REFUSE_TOO_SMALL, REFUSE_TOO_SMALL]);
    let declined = plan.declined();
    assert_eq!((declined.by_constraint, declined.too_small), (1, 2));
    assert_eq!(declined.nearest.unwrap().to_string(), "cpus:4");
}

#[test]
fn the_first_exit_code_that_is_not_zero_counts() {
    let mut plan = plan(&["--instances", "3", "echo"]);
    plan.offers(vec![offer(1, "cpus:9;mem:4096", "")]);
    let code = |code| Some(Exit::Code { code });
    plan.update(status("echo-F3.2", TaskState::Finished, code(0)));
    plan.update(status("echo-F3.0", TaskState::Failed, Some(Exit::Signal { signal: 9 })));
    assert!(!plan.is_over());
    plan.update(status("echo-F3.1", TaskState::Failed, code(3)));
    assert!(plan.is_over());
    assert_eq!(plan.code(), 137);
    assert_eq!(plan.counts(), Counts { ended: 3, failed: 2, ..Counts::default() });
}

#[test]
fn exit_codes_are_those_of_shells() {
    let cases = [
        (TaskState::Finished, Some(Exit::Code { code: 0 }), 0),
        (TaskState::Failed, Some(Exit::Code { code: 7 }), 7),
        (TaskState::Failed, Some(Exit::Signal { signal: 15 }), 143),
        (TaskState::Failed, Some(Exit::Unreadable { why: "lost".into() }), NO_EXIT_CODE),
        (TaskState::Failed, None, NO_EXIT_CODE),
        (TaskState::Error, None, NO_EXIT_CODE),
        (TaskState::Finished, None, 0),
    ];
    for (state, exit, code) in cases {
        assert_eq!(exit_code(&status("t", state, exit)), code, "{state}");
    }
    let late = StatusUpdate {
        reason: Some(Reason::MaxCompletionTimeReached),
        ..status("t", TaskState::Failed, Some(Exit::Signal { signal: 15 }))
    };
    assert_eq!(exit_code(&late), 124);
    let unhealthy = StatusUpdate {
        reason: Some(Reason::HealthCheckFailed),
        ..status("t", TaskState::Killed, Some(Exit::Code { code: 0 }))
    };
    assert_eq!(exit_code(&unhealthy), 123);
}

#[test]
fn a_launch_that_never_took_effect_is_made_again_under_another_id() {
    let mut plan = plan(&["echo"]);
    plan.offers(vec![offer(1, "cpus:9;mem:4096", "")]);
    for attempt in 2..=TRIES_MAX {
        let id =
            if attempt == 2 { "echo-F3".to_owned() } else { format!("echo-F3~{}", attempt - 1) };
        let actions = plan.update(status(&id, TaskState::Dropped, None));
        assert_eq!(actions, [Action::Want { instances: 1 }]);
        let actions = plan.offers(vec![offer(u64::from(attempt), "cpus:9;mem:4096", "")]);
        assert_eq!(launched(&actions), [format!("echo-F3~{attempt}")]);
    }
    let last = format!("echo-F3~{TRIES_MAX}");
    assert_eq!(plan.update(status(&last, TaskState::Dropped, None)), []);
    assert!(plan.is_over());
    assert_eq!(plan.code(), NO_EXIT_CODE);
}

#[test]
fn after_the_stop_nothing_is_launched_and_what_runs_is_named() {
    let mut plan = plan(&["--instances", "2", "echo"]);
    plan.offers(vec![offer(1, "cpus:1;mem:4096", "")]);
    assert_eq!(plan.stop(), [TaskId::new("echo-F3.0").unwrap()]);
    let actions = plan.offers(vec![offer(2, "cpus:9;mem:4096", "")]);
    assert!(matches!(actions.as_slice(), [Action::Decline { .. }]));
    assert!(!plan.is_over());
    assert_eq!(plan.update(status("echo-F3.0", TaskState::Dropped, None)), []);
    assert!(plan.is_over());
}

#[test]
fn steps_are_noted_once() {
    let mut plan = plan(&["echo"]);
    plan.offers(vec![offer(1, "cpus:1;mem:4096", "")]);
    plan.take_notes();
    plan.update(status("echo-F3", TaskState::Running, None));
    plan.update(status("echo-F3", TaskState::Running, None));
    plan.update(status("other", TaskState::Running, None));
    let mut failed = status("echo-F3", TaskState::Failed, Some(Exit::Code { code: 2 }));
    failed.reason = Some(Reason::CommandFailed);
    failed.message = "exited with status 2".into();
    plan.update(failed);
    let notes = plan.take_notes();
    let [Note::Step(running), Note::Step(failed)] = notes.as_slice() else { panic!("{notes:?}") };
    assert_eq!(running.state, TaskState::Running);
    assert_eq!(failed.why, "command_failed: exited with status 2");
    assert_eq!((failed.instance, failed.hostname.as_str(), failed.again), (0, "node-1", false));
}
