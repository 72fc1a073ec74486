//! Sandboxes and agents as tools made for Mesos read them, over real nodes.

use std::path::Path;

use meshos_tests::{
    Cluster, Journal, MesosFramework, MesosRequest as Request, MesosResponse as Response, Node,
    wait_until,
};
use serde_json::{Value, json};

use crate::{
    common::wait_for_births,
    mesos_reads::{get, read, read_agent},
};

/// Three nodes, and a task that runs on one that does not lead.
struct Story {
    cluster: Cluster,
    journal: Journal,
    framework: MesosFramework,
    /// The nodes by what they are: the leader, the task's, and the third.
    leader: usize,
    agent: usize,
    third: usize,
    /// Where the task's agent says that its sandbox is.
    directory: String,
}

fn agent_rows(node: &Node) -> Vec<Value> {
    read(node, "/slaves")["slaves"].as_array().cloned().unwrap_or_default()
}

/// What a task leaves in its sandbox before it waits at the gate.
const SETUP: &str = "echo hello; echo 'gr\u{fc}n'; mkdir logs; echo deep > logs/app.log; ln -s /etc/passwd stolen; \
                     ln -s /etc out; head -c 700000 /dev/zero > big.bin";

impl Story {
    fn begin() -> Self {
        let mut cluster = Cluster::start(3);
        let leader = cluster.leader().index;
        let journal = Journal::new();
        let (nodes, first) = (&cluster.nodes, &cluster.nodes[(leader + 1) % 3]);
        wait_until("all agents take part", || agent_rows(first).len() == 3);
        let rows = agent_rows(first);
        let node_of = |agent: &Value| {
            let row = rows.iter().find(|row| row["id"] == *agent).expect("it is listed");
            let is = |node: &Node| row["pid"] == format!("slave(1)@{}", node.quic());
            nodes.iter().position(is).expect("one of them is it")
        };
        let info = json!({"user": "nobody", "name": "files", "failover_timeout": 60.0});
        let mut framework = MesosFramework::subscribe(first, &info);
        let (offer, agent) = loop {
            let offer = framework.stream.wait_for_offer();
            let agent = node_of(&offer["agent_id"]["value"]);
            if agent != leader {
                break (offer, agent);
            }
        };
        let line = format!("{SETUP}; {}", journal.gated_line("t1", "gate", 0));
        framework.launch(first, &offer, "t1", &line);
        framework.wait_for_state(first, "t1", "TASK_RUNNING");
        wait_for_births(&journal, &["t1".to_owned()]);
        let state = read_agent(&nodes[agent], "/state");
        let executor = &state["frameworks"][0]["executors"][0];
        let directory = executor["directory"].as_str().unwrap().to_owned();
        let third = 3 - leader - agent;
        Self { cluster, journal, framework, leader, agent, third, directory }
    }

    fn node(&self, index: usize) -> &Node {
        &self.cluster.nodes[index]
    }

    /// What a node answers at its cluster port to a request for files.
    fn ask(&self, node: usize, path: &str) -> Response {
        get(self.node(node), path).answer(self.node(node))
    }
}

fn in_body(path: &str, more: &Value) -> Value {
    let mut body = json!({ "path": path });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// A call of the operator API at a node's cluster port.
fn call(node: &Node, kind: &str, body: &Value) -> Response {
    let call = json!({"type": kind, kind.to_ascii_lowercase(): body});
    Request { path: "/api/v1", ..Request::json(node, &call) }.answer(node)
}

fn json_of(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{response:?}");
    serde_json::from_slice(&response.bytes).unwrap()
}

/// A field of a protobuf message that holds bytes.
fn field(key: u8, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len();
    let head =
        [key, u8::try_from(length & 0x7f).unwrap() | 0x80, u8::try_from(length >> 7).unwrap()];
    [&head, bytes].concat()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_sandbox_is_read_through_a_node_that_neither_leads_nor_has_it() {
    let mut story = Story::begin();
    let directory = story.directory.clone();
    let third = story.node(story.third);
    let browsed = read(third, &format!("/files/browse?path={directory}"));
    let names: Vec<&str> = browsed
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["path"].as_str().unwrap().strip_prefix(&format!("{directory}/")).unwrap())
        .collect();
    for name in ["big.bin", "logs", "stderr", "stdout", "stolen"] {
        assert!(names.contains(&name), "{name}: {browsed}");
    }
    let row = |name: &str| &browsed[names.iter().position(|it| *it == name).unwrap()];
    assert_eq!((&row("big.bin")["size"], &row("big.bin")["nlink"]), (&json!(700_000), &json!(1)));
    assert!(row("logs")["mode"].as_str().unwrap().starts_with("drwx"), "{browsed}");
    assert!(row("stolen")["mode"].as_str().unwrap().starts_with('l'), "{browsed}");
    assert!(row("stdout")["mtime"].as_u64().unwrap() > 1_000_000_000, "{browsed}");
    // The same at all nodes, and at the agent's own port.
    let path = format!("/files/browse.json?path={directory}/");
    for node in [story.leader, story.agent] {
        assert_eq!(read(story.node(node), &path), browsed);
    }
    assert_eq!(read_agent(story.node(story.agent), &path), browsed);
    let other = get(third, &path).answer_of_agent(third);
    assert_eq!(other.status, 404, "an agent's port is for its own: {other:?}");

    assert_reads_and_hands_out(&story);

    // It stays when the task is over and its agent has forgotten it.
    story.journal.open_gate("gate");
    let holder = (story.leader + 1) % 3;
    story.framework.wait_for_state(&story.cluster.nodes[holder], "t1", "TASK_FINISHED");
    let agent = story.node(story.agent);
    wait_until("the agent has forgotten the task", || {
        read_agent(agent, "/state")["frameworks"] == json!([])
    });
    let over = &read_agent(agent, "/state")["completed_frameworks"][0];
    assert_eq!(over["id"], story.framework.id["value"]);
    assert_eq!(over["completed_executors"][0]["directory"], directory);
    let stdout = format!("/files/read?path={directory}/stdout&offset=6");
    assert_eq!(read(story.node(story.third), &stdout)["data"], "gr\u{fc}n\n");
    story.cluster.nodes[story.agent].kill();
    let away = story.ask(story.third, &stdout);
    assert_eq!(away.status, 503, "{away:?}");
    assert!(away.body.contains("what the task wrote lies there"), "{away:?}");
}

/// What the task wrote is read in parts and as a whole, under all the names that it has.
fn assert_reads_and_hands_out(story: &Story) {
    let (directory, third) = (&story.directory, story.node(story.third));
    let stdout = format!("/files/read?path={directory}/stdout");
    let whole = json!({"offset": 0, "data": "hello\ngr\u{fc}n\n"});
    assert_eq!(read(third, &format!("{stdout}&offset=0&length=100")), whole);
    let part = read(third, &format!("{stdout}&offset=1&length=4"));
    assert_eq!(part, json!({"offset": 1, "data": "ello"}));
    for length in ["", "&offset=-1", "&offset=-1&length=50000", "&offset=999"] {
        let end = read(third, &format!("{stdout}{length}"));
        assert_eq!(end, json!({"offset": 12, "data": ""}), "{length}");
    }
    let capped =
        read(third, &format!("/files/read?path={directory}/big.bin&offset=0&length=700000"));
    assert_eq!(capped["data"].as_str().unwrap().len(), 64 << 10);
    let script = get(third, &format!("{stdout}&offset=0&length=5&jsonp=f")).answer(third);
    assert_eq!(script.headers["content-type"], "text/javascript");
    assert!(script.body.starts_with("f({") && script.body.contains("hello"), "{script:?}");

    let big = story.ask(story.third, &format!("/files/download?path={directory}/big.bin"));
    assert_eq!((big.status, big.headers["content-length"].as_str()), (200, "700000"));
    assert_eq!(big.headers["content-disposition"], "attachment; filename=big.bin");
    assert_eq!(big.headers["content-type"], "application/octet-stream");
    assert!(big.bytes == vec![0; 700_000], "{} bytes", big.bytes.len());

    // By the executor, and where it really is: there the agent's own port knows it.
    let framework = story.framework.id["value"].as_str().unwrap();
    let latest = format!("/frameworks/{framework}/executors/t1/runs/latest/logs/app.log");
    let deep = read(third, &format!("/files/read?path={latest}&offset=0"));
    assert_eq!(deep, json!({"offset": 0, "data": "deep\n"}));
    let places = read_agent(story.node(story.agent), "/files/debug");
    let real = places[directory].as_str().expect("the sandbox has its path").to_owned();
    assert!(Path::new(&real).join("logs/app.log").is_file(), "{places}");
    let own =
        read_agent(story.node(story.agent), &format!("/files/read?path={real}/stdout&offset=0"));
    assert_eq!(own, whole);
}

#[test]
fn no_request_reads_what_is_not_in_a_sandbox() {
    let story = Story::begin();
    let directory = &story.directory;
    let up = "/..".repeat(12);
    for (path, status) in [
        (format!("{directory}{up}/etc/passwd"), 400),
        (format!("{directory}/logs/../../stdout"), 400),
        (format!("{directory}%2F..%2F..%2F..{up}/etc/passwd"), 400),
        (format!("{directory}/stolen"), 400),
        (format!("{directory}/out/passwd"), 400),
        ("/etc/passwd".to_owned(), 404),
        (format!("{directory}/none"), 404),
        (directory.replace("/runs/", "/runs/x"), 404),
        (directory.replace("/executors/t1", "/executors/.."), 404),
        ("/slave/log".to_owned(), 404),
    ] {
        for node in [story.agent, story.third] {
            let node = story.node(node);
            for asked in ["browse?", "read?offset=0&length=100&", "download?"] {
                let asked = format!("/files/{asked}path={path}");
                let refused = get(node, &asked).answer(node);
                assert_eq!(refused.status, status, "{asked}: {refused:?}");
                assert!(!refused.body.contains("root:"), "{asked}: {refused:?}");
                assert_eq!(refused.headers["content-type"], "text/plain; charset=utf-8");
            }
            let body = json!({ "path": path.replace("%2F", "/") });
            assert_eq!(call(node, "LIST_FILES", &body).status, status, "{path}");
            let body = in_body(&path.replace("%2F", "/"), &json!({"offset": 0}));
            assert_eq!(call(node, "READ_FILE", &body).status, status, "{path}");
        }
    }
    let says = |path: String| {
        let refused = story.ask(story.third, &path);
        (refused.status, refused.body)
    };
    let no_path = || (400, "Expecting 'path=value' in query.\n".to_owned());
    for asked in ["/files/browse", "/files/read?path=", "/files/download?jsonp=f"] {
        assert_eq!(says(asked.to_owned()), no_path(), "{asked}");
    }
    assert_eq!(
        says(format!("/files/read?path={directory}/logs")),
        (400, "Cannot read a directory.\n".to_owned())
    );
    assert_eq!(
        says(format!("/files/download?path={directory}")),
        (400, "Cannot download a directory.\n".to_owned())
    );
    assert_eq!(
        says(format!("/files/read?path={directory}/stdout&offset=-7")),
        (400, "Negative offset provided: -7.\n".to_owned())
    );
    assert_eq!(says(format!("/files/read?path={directory}/stdout&length=x")).0, 400);
}

#[test]
fn files_are_read_over_the_operator_api_in_both_encodings() {
    let story = Story::begin();
    let (directory, third) = (&story.directory, story.node(story.third));
    let listed = json_of(&call(third, "LIST_FILES", &json!({"path": format!("{directory}/logs")})));
    assert_eq!(listed["type"], "LIST_FILES");
    let info = &listed["list_files"]["file_infos"][0];
    assert_eq!(info["path"], format!("{directory}/logs/app.log"));
    assert_eq!((&info["size"], &info["nlink"]), (&json!(5), &json!(1)));
    assert!(info["mtime"]["nanoseconds"].as_u64().unwrap() > 1_000_000_000_000_000_000);
    assert_eq!(info["mode"].as_u64().unwrap() & 0o170_000, 0o100_000);
    let path = format!("{directory}/stdout");
    let body = in_body(&path, &json!({"offset": 1, "length": 4}));
    let file = json_of(&call(third, "READ_FILE", &body));
    assert_eq!(file, json!({"type": "READ_FILE", "read_file": {"size": 12, "data": "ZWxsbw=="}}));
    // The same of the agent, whose numbers are the same: type READ_FILE and its body in field 5.
    let body = [field(0x0a, path.as_bytes()), vec![0x10, 1, 0x18, 4]].concat();
    let bytes = [vec![0x08, 8], field(0x2a, &body)].concat();
    let asked = |node| Request { path: "/api/v1", ..Request::protobuf(node, bytes.clone()) };
    let told = [0x08, 7, 0x42, 8, 0x08, 12, 0x12, 4, b'e', b'l', b'l', b'o'];
    let agent = story.node(story.agent);
    for response in [asked(third).answer(third), asked(agent).answer_of_agent(agent)] {
        assert_eq!(response.headers["content-type"], "application/x-protobuf");
        assert_eq!(response.bytes, told);
    }
    let missing = call(third, "READ_FILE", &json!({"path": path}));
    assert!(missing.status == 400 && missing.body.contains("read_file.offset"), "{missing:?}");
}

#[test]
fn an_agent_tells_what_its_tasks_use_and_answers_its_own_api() {
    let mut cluster = Cluster::start(1);
    let _leader = cluster.leader();
    let node = &cluster.nodes[0];
    let info = json!({"user": "nobody", "name": "busy", "failover_timeout": 60.0});
    let mut framework = MesosFramework::subscribe(node, &info);
    let offer = framework.stream.wait_for_offer();
    framework.launch(node, &offer, "busy", "while :; do :; done");
    framework.wait_for_state(node, "busy", "TASK_RUNNING");
    let used = || {
        let rows = read_agent(node, "/monitor/statistics");
        let statistics = rows[0]["statistics"].clone();
        statistics["cpus_user_time_secs"].as_f64().map(|user| (user, statistics))
    };
    let mut first = None;
    wait_until("the task has used some time", || {
        first = used().filter(|(user, _)| *user > 0.0);
        first.is_some()
    });
    let (first, statistics) = first.unwrap();
    assert_eq!(
        (&statistics["cpus_limit"], &statistics["mem_limit_bytes"]),
        (&json!(0.1), &json!(32 << 20))
    );
    assert!(statistics["mem_rss_bytes"].as_u64().unwrap() > 0, "{statistics}");
    wait_until("the task uses more and more", || {
        used().is_some_and(|(user, later)| {
            user > first + 0.02
                && later["timestamp"].as_f64().unwrap() > statistics["timestamp"].as_f64().unwrap()
        })
    });

    assert_containers(node, &framework, first);
    assert_agent_api(node, &framework, &offer);
    let kill = json!({"task_id": {"value": "busy"}, "agent_id": offer["agent_id"]});
    framework.call(node, "KILL", &kill);
    framework.wait_for_state(node, "busy", "TASK_KILLED");
}

/// A call of the operator API at an agent's port.
fn ask_agent(node: &Node, kind: &str) -> Response {
    let call = json!({"type": kind, "get_metrics": {}});
    Request { path: "/api/v1", ..Request::json(node, &call) }.answer_of_agent(node)
}

fn told(node: &Node, kind: &str) -> Value {
    let answer = json_of(&ask_agent(node, kind));
    assert_eq!(answer["type"], kind);
    answer[kind.to_ascii_lowercase()].clone()
}

/// The container of the one task is told of everywhere, and that it used at least so many seconds.
fn assert_containers(node: &Node, framework: &MesosFramework, used: f64) {
    let containers = told(node, "GET_CONTAINERS");
    let container = &containers["containers"][0];
    assert_eq!(container["executor_id"]["value"], "busy");
    assert_eq!(container["framework_id"], framework.id);
    assert!(container["resource_statistics"]["cpus_user_time_secs"].as_f64().unwrap() > used);
    let id = container["container_id"]["value"].as_str().unwrap();
    let rows = |query: &str| read_agent(node, &format!("/containers{query}"));
    assert_eq!(rows(&format!("?container_id={id}"))[0]["container_id"], id);
    assert_eq!(rows("?executor_id=other"), json!([]));
    // Protobuf: type GET_CONTAINERS, and its answer.
    let protobuf = Request { path: "/slave(1)/api/v1", ..Request::protobuf(node, vec![0x08, 10]) };
    for response in [protobuf.answer_of_agent(node), protobuf.answer(node)] {
        assert_eq!(response.headers["content-type"], "application/x-protobuf");
        assert!(response.bytes.starts_with(&[0x08, 9]), "{response:?}");
        assert!(contains(&response.bytes, id.as_bytes()), "{response:?}");
    }
}

/// What else the agent says of itself and of the one task.
fn assert_agent_api(node: &Node, framework: &MesosFramework, offer: &Value) {
    assert_eq!(told(node, "GET_HEALTH"), json!({"healthy": true}));
    assert_eq!(told(node, "GET_VERSION")["version_info"]["version"], "1.11.0");
    let flags = told(node, "GET_FLAGS");
    let port = json!({"name": "port", "value": node.quic().port().to_string()});
    assert!(flags["flags"].as_array().unwrap().contains(&port), "{flags}");
    let registered = json!({"name": "slave/registered", "value": 1.0});
    assert!(told(node, "GET_METRICS")["metrics"].as_array().unwrap().contains(&registered));
    assert_eq!(told(node, "GET_AGENT")["agent_info"]["id"], offer["agent_id"]);
    let tasks = told(node, "GET_TASKS");
    assert_eq!(tasks["launched_tasks"][0]["task_id"]["value"], "busy");
    let executors = told(node, "GET_EXECUTORS");
    assert_eq!(executors["executors"][0]["executor_info"]["executor_id"]["value"], "busy");
    let frameworks = told(node, "GET_FRAMEWORKS");
    assert_eq!(frameworks["frameworks"][0]["framework_info"]["id"], framework.id);
    assert_eq!(
        told(node, "GET_STATE"),
        json!({"get_tasks": tasks, "get_executors": executors, "get_frameworks": frameworks})
    );
    assert_eq!(told(node, "GET_OPERATIONS"), json!({}));
    assert_eq!(told(node, "GET_RESOURCE_PROVIDERS"), json!({}));
    assert_eq!(told(node, "GET_LOGGING_LEVEL"), json!({"level": 0}));
    let nested = ask_agent(node, "LAUNCH_NESTED_CONTAINER_SESSION");
    assert_eq!(nested.status, 501);
    assert!(nested.body.contains("which launch no others inside"), "{nested:?}");
    let system = read_agent(node, "/system/stats.json");
    assert!(system["mem_total_bytes"].as_u64().unwrap() > 1 << 20, "{system}");
}
