//! Executors of the framework's own: their tasks, messages both ways, their ends.

use meshos_protocol::{ids::ExecutorId, task::Exit};

use super::*;

fn pool() -> ExecutorId {
    ExecutorId::new("pool").unwrap()
}

fn task(id: &str, executor: Value) -> Value {
    json!({"name": id, "task_id": {"value": id}, "agent_id": {"value": format!("{PREFIX}-S{}", agent())},
        "data": "AAEC", "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}}],
        "executor": executor})
}

#[test]
fn tasks_of_an_executor_go_to_the_leader_with_its_description() {
    let mut world = World::subscribed();
    world.offer(1);
    world.take();
    let id = json!({"value": "pool"});
    let good = json!({"executor_id": id, "command": {"value": "run"}, "data": "AAEC"});
    let named = |framework: &str| {
        let mut executor = good.clone();
        executor["framework_id"] = json!({"value": framework});
        executor
    };
    let tasks = json!([
        task("a", good.clone()),
        task("b", named(&format!("{PREFIX}-0007"))),
        task("c", named(&format!("{PREFIX}-0008"))),
        task("d", json!({"executor_id": id, "type": "DEFAULT"})),
        task("e", json!({"executor_id": id})),
    ]);
    world.launch("O1.1", tasks);
    let out = world.take();
    let accepts = out.iter().filter_map(|output| {
        let Output::Send(frame) = output else { return None };
        let Call::Accept(accept) = &frame.call else { panic!("{frame:?}") };
        Some(accept.launch.clone())
    });
    let launched: Vec<_> = accepts.flatten().collect();
    let ids: Vec<&str> = launched.iter().map(|task| task.task_id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    for task in &launched {
        let executor = task.executor.as_ref().unwrap();
        assert_eq!((&executor.id, &executor.data[..]), (&pool(), &[0, 1, 2][..]));
        assert_eq!(task.data, [0, 1, 2]);
        assert!(task.command.is_none());
    }
    assert_eq!(launched[0].executor, launched[1].executor, "the same words for the same executor");
    world.out = out;
    let (events, _) = world.told();
    let why = |n: usize| events[n]["update"]["status"]["message"].as_str().unwrap().to_owned();
    assert_eq!(events.len(), 3, "{events:?}");
    let expected = format!("(Actual: {PREFIX}-0008 vs Expected: {PREFIX}-0007)");
    assert!(why(0).contains(&expected), "{}", why(0));
    assert!(why(1).contains("LAUNCH_GROUP") && why(2).contains("must be set for 'CUSTOM'"));
}

#[test]
fn messages_go_both_ways_and_the_end_of_an_executor_is_told() {
    let mut world = World::subscribed();
    let agent_id = json!({"value": format!("{PREFIX}-S{}", agent())});
    let body = json!({"agent_id": agent_id, "executor_id": {"value": "pool"}});
    let with = |data: &str| {
        let mut message = body.clone();
        message["data"] = json!(data);
        message
    };
    world.call("MESSAGE", with("AAEC"));
    let data = vec![0, 1, 2];
    assert_eq!(
        world.sent(),
        [Call::Message { agent: agent(), executor: pool(), data: data.clone() }]
    );
    let ticket = world.call("MESSAGE", with(&"AAAA".repeat((256 << 10) / 3 + 1)));
    assert_eq!(world.told().1, [(ticket, Some(400))]);
    world.call("SHUTDOWN", body.clone());
    assert_eq!(world.sent(), [Call::ShutdownExecutor { agent: agent(), executor: pool() }]);
    world.event(Event::Message { agent: agent(), executor: pool(), data });
    let lost = |exit| Event::ExecutorLost {
        agent: agent(),
        executor: pool(),
        exit,
        message: String::new(),
    };
    world.event(lost(Some(Exit::Code { code: 3 })));
    world.event(lost(Some(Exit::Signal { signal: 9 })));
    world.event(lost(None));
    let (events, _) = world.told();
    let mut failure = body.clone();
    let failed = |failure: &Value| json!({"type": "FAILURE", "failure": failure});
    failure["status"] = json!(3 << 8);
    assert_eq!(events[0], json!({"type": "MESSAGE", "message": with("AAEC")}));
    assert_eq!(events[1], failed(&failure));
    failure["status"] = json!(9);
    assert_eq!(events[2..], [failed(&failure), failed(&body)]);
    // Without a leader a message is lost, and the caller is none the wiser.
    world.close();
    let ticket = world.call("MESSAGE", with("AAEC"));
    assert_eq!(world.told(), (vec![], vec![(ticket, None)]));
}
