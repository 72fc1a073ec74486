//! Executors that speak Mesos's executor API: a program in another language, over HTTP.

use std::{fs, path::PathBuf};

use meshos_tests::{
    Cluster, MesosFramework, MesosRequest as Request, Node, kill_process, pid_alive, wait_until,
};
use serde_json::{Value, json};

const PROGRAM: &str = include_str!("mesos_executor.py");

fn info(name: &str) -> Value {
    json!({"user": "nobody", "name": name, "failover_timeout": 60.0})
}

fn scalar(name: &str, value: f64) -> Value {
    json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
}

/// The description of an executor; one that shows its token is not known by its user alone.
fn executor(id: &str, shows_token: bool) -> Value {
    let mut variables = vec![json!({"name": "PROGRAM", "value": PROGRAM})];
    if shows_token {
        variables.push(json!({"name": "SHOWS_TOKEN", "value": "1"}));
    }
    json!({"executor_id": {"value": id}, "name": "python", "resources": [scalar("cpus", 0.1), scalar("mem", 64.0)],
        "command": {"value": "exec python3 -c \"$PROGRAM\"", "environment": {"variables": variables}}})
}

fn base64(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}

fn text(data: &Value) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    String::from_utf8(STANDARD.decode(data.as_str().unwrap()).unwrap()).unwrap()
}

/// Launches tasks, each with what it is to do, on an offer that is waited for; gives the agent.
fn launch(
    framework: &mut MesosFramework,
    node: &Node,
    executor: &Value,
    tasks: &[(&str, &str)],
) -> Value {
    let offer = loop {
        let offer = framework.stream.wait_for_offer();
        let cpus = offer["resources"].as_array().unwrap().iter().find(|it| it["name"] == "cpus");
        // What ended tasks leave comes in small pieces.
        if cpus.is_some_and(|cpus| cpus["scalar"]["value"].as_f64().unwrap() >= 1.0) {
            break offer;
        }
    };
    let info = |(id, work): &(&str, &str)| {
        json!({"name": id, "task_id": {"value": id}, "agent_id": offer["agent_id"], "data": base64(work),
            "resources": [scalar("cpus", 0.1), scalar("mem", 16.0)], "executor": executor})
    };
    let infos: Vec<Value> = tasks.iter().map(info).collect();
    let launch = json!({"type": "LAUNCH", "launch": {"task_infos": infos}});
    let accept = json!({"offer_ids": [offer["id"]], "operations": [launch],
        "filters": {"refuse_seconds": 0.0}});
    framework.call(node, "ACCEPT", &accept);
    offer["agent_id"].clone()
}

/// The process of the executor, as it tells with the start of each task.
fn pid_of(running: &Value) -> u32 {
    text(&running["data"]).parse().unwrap()
}

fn wait_for_message(framework: &mut MesosFramework, executor: &str, begins: &str) -> String {
    framework.stream.wait_for(&format!("{executor} says {begins:?}"), |kind, body| {
        let said = (kind == "MESSAGE" && body["executor_id"]["value"] == executor)
            .then(|| text(&body["data"]))?;
        said.starts_with(begins).then_some(said)
    })
}

fn wait_for_failure(framework: &mut MesosFramework, executor: &str) -> Value {
    framework.stream.wait_for("the executor is over", |kind, body| {
        (kind == "FAILURE" && body["executor_id"]["value"] == executor)
            .then(|| body["status"].clone())
    })
}

/// The sandbox of the only executor.
fn sandbox_of(node: &Node, executor: &str) -> PathBuf {
    let mut below = vec![node.data_dir().join("sandboxes")];
    while let Some(directory) = below.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_name() == ".executor.sock" {
                let sandbox = entry.path().parent().unwrap().to_owned();
                if sandbox.display().to_string().contains(executor) {
                    return sandbox;
                }
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                below.push(entry.path());
            }
        }
    }
    panic!("executor {executor} has no sandbox");
}

#[test]
fn an_executor_in_another_language_runs_tasks_and_messages_go_both_ways() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    let mut framework = MesosFramework::subscribe(node, &info("python"));
    for (id, shows_token) in [("by-user", false), ("by-token", true)] {
        let executor = executor(id, shows_token);
        let [hold, end, lost] = ["hold", "end", "lost"].map(|task| format!("{id}-{task}"));
        let agent = launch(&mut framework, node, &executor, &[(&hold, "hold")]);
        let facts = wait_for_message(&mut framework, id, "{");
        let facts: Value = serde_json::from_str(&facts).unwrap();
        assert_eq!(facts["framework"]["name"], "python", "{facts}");
        assert_eq!(facts["agent"]["id"], agent, "{facts}");
        let running = framework.wait_for_state(node, &hold, "TASK_RUNNING");
        assert_eq!(running["source"], "SOURCE_EXECUTOR", "{running}");
        assert_eq!(running["executor_id"]["value"], id, "{running}");
        let works = [(end.as_str(), "end"), (lost.as_str(), "loss")];
        launch(&mut framework, node, &executor, &works[..1]);
        let finished = framework.wait_for_state(node, &end, "TASK_FINISHED");
        assert_eq!(text(&finished["data"]), "done");
        launch(&mut framework, node, &executor, &works[1..]);
        framework.wait_for_state(node, &lost, "TASK_LOST");
        let message =
            json!({"agent_id": agent, "executor_id": {"value": id}, "data": base64("hi")});
        framework.call(node, "MESSAGE", &message);
        assert_eq!(wait_for_message(&mut framework, id, "heard"), "heard: hi");
        framework.call(node, "KILL", &json!({"task_id": {"value": hold}}));
        framework.wait_for_state(node, &hold, "TASK_KILLED");
        let pid = pid_of(&running);
        let shutdown = json!({"agent_id": agent, "executor_id": {"value": id}});
        framework.call(node, "SHUTDOWN", &shutdown);
        assert_eq!(wait_for_failure(&mut framework, id), 0);
        assert!(!pid_alive(pid));
    }
    // The same executor means the same description.
    let pool = executor("pool", false);
    launch(&mut framework, node, &pool, &[("first", "hold")]);
    framework.wait_for_state(node, "first", "TASK_RUNNING");
    launch(&mut framework, node, &executor("pool", true), &[("second", "hold")]);
    let error = framework.wait_for_state(node, "second", "TASK_ERROR");
    assert_eq!(error["reason"], "REASON_TASK_INVALID", "{error}");
}

#[test]
fn what_an_executor_tells_while_its_agent_is_away_arrives_once_when_it_is_back() {
    let mut cluster = Cluster::start(1);
    let id = {
        let node = &cluster.nodes[0];
        let mut framework = MesosFramework::subscribe(node, &info("gap"));
        let works = [("a", "gate"), ("b", "gate"), ("quiet", "silence")];
        launch(&mut framework, node, &executor("pool", false), &works);
        let pid = pid_of(&framework.wait_for_state(node, "a", "TASK_RUNNING"));
        framework.wait_for_state(node, "b", "TASK_RUNNING");
        (framework.id, pid)
    };
    let (id, pid) = id;
    let sandbox = sandbox_of(&cluster.nodes[0], "pool");
    cluster.nodes[0].kill();
    // Nobody is there to hear of it.
    fs::write(sandbox.join("gate-a"), "").unwrap();
    wait_until("the executor has tried to tell it", || {
        let said = fs::read_to_string(sandbox.join("stdout")).unwrap_or_default();
        said.contains("told later")
    });
    assert!(pid_alive(pid));
    cluster.nodes[0].start();
    cluster.wait_until_ready();
    let node = &cluster.nodes[0];
    // Another instance of the framework takes it over.
    let mut again = info("gap");
    again["id"] = id;
    let mut framework = MesosFramework::subscribe(node, &again);
    let finished = framework.wait_for_state(node, "a", "TASK_FINISHED");
    assert_eq!(text(&finished["data"]), "through the gate");
    fs::write(sandbox.join("gate-b"), "").unwrap();
    let mut ends_of_a = 1;
    framework.stream.wait_for("the other ends", |kind, body| {
        let status = &body["status"];
        let ends = |task: &str| {
            kind == "UPDATE"
                && status["task_id"]["value"] == task
                && status["state"] == "TASK_FINISHED"
        };
        // One that is not acknowledged yet may be sent again, and is the same.
        ends_of_a += usize::from(ends("a") && status["uuid"] != finished["uuid"]);
        ends("b").then_some(())
    });
    assert_eq!(ends_of_a, 1);
    launch(&mut framework, node, &executor("pool", false), &[("c", "hold")]);
    let running = framework.wait_for_state(node, "c", "TASK_RUNNING");
    assert_eq!(
        pid_of(&running),
        pid,
        "the same executor, which still has what it had told nothing of"
    );
    framework.call(node, "KILL", &json!({"task_id": {"value": "quiet"}}));
    framework.wait_for_state(node, "quiet", "TASK_KILLED");
}

#[test]
fn an_executor_that_dies_takes_its_tasks_with_it_and_its_framework_is_told() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    let mut framework = MesosFramework::subscribe(node, &info("killed"));
    launch(&mut framework, node, &executor("pool", false), &[("a", "hold")]);
    let running = framework.wait_for_state(node, "a", "TASK_RUNNING");
    kill_process(pid_of(&running));
    let failed = framework.wait_for_state(node, "a", "TASK_FAILED");
    assert_eq!(failed["reason"], "REASON_EXECUTOR_TERMINATED", "{failed}");
    assert_eq!(wait_for_failure(&mut framework, "pool"), 9);
    // Another one may be started under the same name.
    launch(&mut framework, node, &executor("pool", false), &[("b", "hold")]);
    let again = framework.wait_for_state(node, "b", "TASK_RUNNING");
    assert_ne!(pid_of(&again), pid_of(&running));
}

/// An executor that runs, and what it takes to speak for it.
struct Spoken {
    cluster: Cluster,
    framework: Value,
    token: String,
    /// Keeps the framework there.
    _stream: MesosFramework,
}

impl Spoken {
    fn start(name: &str) -> Self {
        let cluster = Cluster::start(1);
        let node = &cluster.nodes[0];
        let mut framework = MesosFramework::subscribe(node, &info(name));
        launch(&mut framework, node, &executor("pool", false), &[("a", "hold")]);
        framework.wait_for_state(node, "a", "TASK_RUNNING");
        let files = fs::read_dir(node.data_dir().join("executors")).unwrap().flatten();
        let mut files = files.map(|entry| entry.path());
        let file = files.find(|file| file.extension().is_some_and(|it| it == "token")).unwrap();
        let token = fs::read_to_string(file).unwrap();
        Self { framework: framework.id.clone(), token, cluster, _stream: framework }
    }

    fn node(&self) -> &Node {
        &self.cluster.nodes[0]
    }

    fn call(&self, kind: &str, rest: &Value) -> Value {
        let mut call =
            json!({"framework_id": self.framework, "executor_id": {"value": "pool"}, "type": kind});
        call.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        call
    }

    /// A call with the executor's token.
    fn shown(&self, call: &Value) -> Request<'static> {
        let mut request = Request::json(self.node(), call).without("Authorization");
        request.path = "/api/v1/executor";
        request.with("Authorization", &format!("Bearer {}", self.token))
    }

    /// A call in protobuf: who it is, and the rest.
    fn in_protobuf(&self, rest: &[u8]) -> u16 {
        // Fields 1 and 2 are ids, which have a text in field 1.
        let id = |number: u8, text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            [&[number << 3 | 2, length + 2, 1 << 3 | 2, length], text.as_bytes()].concat()
        };
        let framework = id(2, self.framework["value"].as_str().unwrap());
        let body = [&id(1, "pool"), &framework, rest].concat();
        let mut request = Request::protobuf(self.node(), body).without("Authorization");
        request.path = "/slave(1)/api/v1/executor/";
        let shown = request.with("Authorization", &format!("Bearer {}", self.token));
        shown.answer_of_agent(self.node()).status
    }
}

#[test]
fn calls_of_executors_are_judged() {
    let spoken = Spoken::start("judged");
    let status = json!({"task_id": {"value": "a"}, "state": "TASK_RUNNING", "source": "SOURCE_EXECUTOR",
        "uuid": base64("0123456789abcdef")});
    let update = |without: &str| {
        let mut status = status.clone();
        status.as_object_mut().unwrap().remove(without);
        spoken.call("UPDATE", &json!({"update": {"status": status}}))
    };
    let message = json!({"message": {"data": "AAEC"}});
    let elsewhere = |field: &str| {
        let mut call = spoken.call("MESSAGE", &message);
        call[field] = json!({"value": "other"});
        call
    };
    for (body, expected, text) in [
        (spoken.call("HEARTBEAT", &json!({})), 202, ""),
        (update(""), 202, ""),
        (spoken.call("MESSAGE", &message), 202, ""),
        (json!({"type": "HEARTBEAT"}), 400, "Missing required fields: executor_id, framework_id"),
        (spoken.call("SUBSCRIBE", &json!({})), 400, "Expecting 'subscribe' to be present"),
        (spoken.call("MESSAGE", &json!({})), 400, "Expecting 'message' to be present"),
        (update("uuid"), 400, "Expecting 'uuid' to be present"),
        (update("source"), 400, "with invalid source, expecting 'SOURCE_EXECUTOR'"),
        (elsewhere("framework_id"), 400, "Framework cannot be found"),
        (elsewhere("executor_id"), 400, "Executor cannot be found"),
        (spoken.call("UNKNOWN", &json!({})), 501, "not known"),
        (spoken.call("NOTHING", &json!({})), 400, "Expecting 'type' to be present"),
    ] {
        let answer = spoken.shown(&body).answer_of_agent(spoken.node());
        assert_eq!(answer.status, expected, "{body}: {answer:?}");
        assert!(answer.body.contains(text), "{body}: {answer:?}");
        if expected == 202 {
            assert_eq!((answer.body.as_str(), answer.headers.get("content-type")), ("", None));
        }
    }
    for (rest, expected) in [
        (&[3 << 3, 4][..], 202),
        // A message with three bytes.
        (&[3 << 3, 3, 6 << 3 | 2, 5, 2 << 3 | 2, 3, 0, 1, 2], 202),
        (&[3 << 3, 3], 400),
        (&[], 400),
        (&[255], 400),
    ] {
        assert_eq!(spoken.in_protobuf(rest), expected, "{rest:?}");
    }
}

#[test]
fn who_calls_as_an_executor_and_how_is_looked_at_before_the_call() {
    let spoken = Spoken::start("strangers");
    let node = spoken.node();
    let heartbeat = spoken.call("HEARTBEAT", &json!({}));
    let bare = || spoken.shown(&heartbeat).without("Authorization");
    for wrong in ["Bearer 00", "Basic OjA=", &spoken.token] {
        let answer = bare().with("Authorization", wrong).answer_of_agent(node);
        assert_eq!(answer.status, 401, "{answer:?}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"mesos-agent-executor\"");
    }
    let shown = || spoken.shown(&heartbeat);
    let get = Request { method: "GET", body: Vec::new(), ..shown() }.answer_of_agent(node);
    assert_eq!((get.status, get.headers["allow"].as_str()), (405, "POST"), "{get:?}");
    let plain = shown().without("Content-Type");
    assert_eq!(plain.answer_of_agent(node).status, 400);
    assert_eq!(plain.with("Content-Type", "text/plain").answer_of_agent(node).status, 415);
    let subscribe = spoken.call("SUBSCRIBE", &json!({"subscribe": {}}));
    let picky = spoken.shown(&subscribe).with("Accept", "text/html").answer_of_agent(node);
    assert_eq!(picky.status, 406, "{picky:?}");
    let foreign = shown().with("Origin", "http://evil.example").answer_of_agent(node);
    assert_eq!(foreign.status, 403, "{foreign:?}");
    // It is none of the cluster port's.
    assert_ne!(shown().answer(node).status, 202);
}
