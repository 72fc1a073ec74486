//! Requests over warp's test client and over real connections.

mod shares;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use warp::{filters::BoxedFilter, reply::Response, test::RequestBuilder};

use super::{
    address::Names,
    gate::{Bodies, FRAMEWORKS_BYTES_MAX, Gate, Keys, OTHERS_BYTES_MAX},
    principals::Principals,
    routes::{Answers, BODY_BYTES_MAX, EXECUTOR_BODY_BYTES_MAX, Port, routes},
    service::{Connections, Limits, listen, serve},
    token::Token,
};
use crate::{
    api::{Answer, Call, ExecutorRequest, Scheduled, SchedulerRequest},
    driver::agent::Credential,
};

mod agents;

/// Tells what it was asked.
#[derive(Default)]
struct Echo {
    statuses: Mutex<Vec<u16>>,
    open: AtomicUsize,
    refused: AtomicUsize,
    made_room: AtomicUsize,
}

#[async_trait]
impl Answers for Echo {
    async fn answer(&self, call: Call) -> Answer {
        if call.path == "/post-only" && call.method != "POST" {
            return Answer {
                allow: Some("POST"),
                ..Answer::error(405, "this path takes POST only")
            };
        }
        assert!(!call.forwarded);
        let Call { method, path, principal, body, .. } = call;
        let body = format!("{method} {path} {principal} {}", body.len()).into_bytes();
        Answer::of_media("text/plain", body)
    }

    async fn schedule(&self, request: SchedulerRequest) -> Scheduled {
        let SchedulerRequest { method, principal, content_type, accept, stream_id, body } = request;
        let headers = [content_type, accept, stream_id].map(Option::unwrap_or_default).join(" ");
        // Only a body is told back.
        let text = if body.bytes.is_empty() {
            String::new()
        } else {
            format!("{method} {principal} {headers}")
        };
        Scheduled::Answer(Answer::plain(202, &text))
    }

    async fn admit_executor(&self, credential: &Credential) -> Option<Credential> {
        ["right", "other"].map(Credential::token).into_iter().find(|one| one == credential)
    }

    async fn execute(&self, request: ExecutorRequest) -> Scheduled {
        let ExecutorRequest { method, content_type, accept, body, .. } = request;
        let headers = [content_type, accept].map(Option::unwrap_or_default).join(" ");
        Scheduled::Answer(Answer::plain(202, &format!("{method} {headers} {}", body.bytes.len())))
    }

    fn answered(&self, status: u16) {
        self.statuses.lock().unwrap().push(status);
    }
}

impl Connections for Echo {
    fn opened(&self) {
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    fn closed(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    fn refused(&self) {
        self.refused.fetch_add(1, Ordering::SeqCst);
    }

    fn made_room(&self) {
        self.made_room.fetch_add(1, Ordering::SeqCst);
    }
}

fn open(port: Port) -> BoxedFilter<(Response,)> {
    routes(port, Arc::new(Gate::new(Names::default(), None)), Arc::new(Echo::default()))
}

/// Routes that ask for the token, and the token.
fn guarded() -> (BoxedFilter<(Response,)>, String) {
    let scratch = tempfile::tempdir().unwrap();
    let token = Token::load_or_create(scratch.path()).unwrap();
    let text = std::fs::read_to_string(scratch.path().join("http-token")).unwrap();
    let gate = Gate::new(Names::default(), Some(Keys { token, principals: None }));
    let routes = routes(Port::Cluster, Arc::new(gate), Arc::new(Echo::default()));
    (routes, text.trim().to_owned())
}

fn request(method: &str, path: &str) -> RequestBuilder {
    warp::test::request().method(method).path(path).header("host", "127.0.0.1:5050")
}

fn error_of(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body.as_object().unwrap().len(), 1);
    body["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_request_becomes_a_call_and_an_answer_a_response() {
    let response =
        request("POST", "/api/x%20y?a=1&b=%2F").body("12345").reply(&open(Port::Cluster)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.body(), "POST /api/x%20y?a=1&b=%2F local 5");
    assert_eq!(response.headers()["content-type"], "text/plain");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn the_methods_of_a_path_are_told() {
    let response = request("GET", "/post-only").reply(&open(Port::Cluster)).await;
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "POST");
    assert_eq!(error_of(response.body()), "this path takes POST only");
}

#[tokio::test]
async fn principals_call_in_their_own_names_and_only_operators_change_the_cluster() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = tempfile::tempdir().unwrap();
    let token = Token::load_or_create(scratch.path()).unwrap();
    let file = scratch.path().join("principals.toml");
    let text = "[analytics]\nsecret = 'one'\n[ops]\nsecret = 'two'\noperator = true\n";
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let principals = Some(Principals::load(&file).unwrap());
    let gate = Gate::new(Names::default(), Some(Keys { token, principals }));
    let routes = routes(Port::Cluster, Arc::new(gate), Arc::new(Echo::default()));
    let call = |method: &'static str, path: &'static str, credentials: &str| {
        let basic = format!("Basic {}", STANDARD.encode(credentials));
        request(method, path).header("authorization", basic).body("{}")
    };
    let read = call("GET", "/api/nodes", "analytics:one").reply(&routes).await;
    assert_eq!(read.body(), "GET /api/nodes analytics 0");
    let framework = call("POST", "/api/v1/scheduler", "analytics:one").reply(&routes).await;
    assert_eq!(framework.status(), 202);
    assert!(framework.body().starts_with(b"POST analytics "));
    let change = call("POST", "/api/weights/set", "analytics:one").reply(&routes).await;
    assert_eq!(change.status(), 403);
    assert!(error_of(change.body()).contains("operator = true"));
    let change = call("POST", "/api/weights/set", "ops:two").reply(&routes).await;
    assert_eq!(change.body(), "POST /api/weights/set ops 2");
    let json = r#"{"type":"UPDATE_WEIGHTS","update_weights":{"weight_infos":[]}}"#;
    for (method, path, body) in
        [("POST", "/api/v1", json), ("PUT", "/weights", "[]"), ("DELETE", "/quota/a", "")]
    {
        let of = |credentials| {
            let call = call(method, path, credentials).body(body);
            call.header("content-type", "application/json")
        };
        let refused = of("analytics:one").reply(&routes).await;
        assert_eq!(refused.status(), 403, "{path}");
        assert!(refused.body().starts_with(b"analytics may read and run frameworks"), "{path}");
        let change = of("ops:two").reply(&routes).await;
        assert!(change.body().starts_with(b"POST /mesos/change?in=json ops "), "{path}");
        let nobody = request(method, path).body(body).reply(&routes).await;
        assert_eq!(nobody.status(), 401, "{path}");
    }
    for wrong in ["analytics:two", "nobody:one", "analytics:", ":one"] {
        let refused = call("GET", "/api/nodes", wrong).reply(&routes).await;
        assert_eq!(refused.status(), 401, "{wrong}");
    }
}

#[tokio::test]
async fn without_credentials_only_health_and_release_are_told() {
    let (routes, token) = guarded();
    for path in ["/health", "/version", "/master/version"] {
        assert_eq!(request("GET", path).reply(&routes).await.status(), 200, "{path}");
    }
    for path in ["/", "/metrics", "/health/", "/version/x", "/api/nodes", "/%68ealth"] {
        let response = request("GET", path).reply(&routes).await;
        assert_eq!(response.status(), 401, "{path}");
        let kinds: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
        assert_eq!(kinds, ["Bearer realm=\"meshos\"", "Basic realm=\"meshos\""]);
        assert!(error_of(response.body()).contains("http-token"));
        assert!(!String::from_utf8_lossy(response.body()).contains(&token));
    }
}

#[tokio::test]
async fn the_scheduler_api_has_a_door_of_its_own() {
    for path in ["/api/v1/scheduler", "/master/api/v1/scheduler", "/api/v1/scheduler//"] {
        let asked = request("POST", path)
            .header("content-type", "a/b")
            .header("accept", "c/d")
            .header("mesos-stream-id", "e")
            .body("x");
        let response = asked.reply(&open(Port::Cluster)).await;
        assert_eq!(
            (response.status().as_u16(), response.body().as_ref()),
            (202, &b"POST local a/b c/d e"[..]),
            "{path}"
        );
    }
    let response = request("POST", "/api/v1/scheduler").reply(&open(Port::Cluster)).await;
    assert_eq!((response.status().as_u16(), response.body().len()), (202, 0));
    assert_eq!(
        response.headers().get("content-type"),
        None,
        "an answer without a body has no type"
    );
    let agent = Port::Agent { cluster: 5050 };
    let response = request("POST", "/api/v1/scheduler").reply(&open(agent)).await;
    assert_eq!(response.status(), 404);
    // No stranger gets in, and what he is told is no JSON.
    let (routes, _) = guarded();
    let response = request("POST", "/api/v1/scheduler").body("x").reply(&routes).await;
    assert_eq!(response.status(), 401);
    assert!(response.body().starts_with(b"credentials are needed"));
    let challenges: Vec<_> = response.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(
        challenges,
        ["Bearer realm=\"mesos-master-scheduler\"", "Basic realm=\"mesos-master-scheduler\""]
    );
}

#[tokio::test]
async fn the_token_lets_in_as_bearer_and_as_password() {
    use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
    let (routes, token) = guarded();
    let basic = |text: &str| format!("Basic {}", BASE64.encode(text));
    let cases = [
        (format!("Bearer {token}"), Some("operator")),
        (format!("bearer {token}"), Some("operator")),
        (basic(&format!("alice:{token}")), Some("alice")),
        (basic(&format!(":{token}")), Some("operator")),
        (format!("Bearer {token}x"), None),
        (format!("Bearer {}", &token[1..]), None),
        ("Bearer ".to_owned(), None),
        ("Bearer".to_owned(), None),
        (basic("alice:wrong"), None),
        (basic(&token), None),
        (basic(&format!("a\nb:{token}")), None),
        ("Basic ***".to_owned(), None),
        (format!("Digest {token}"), None),
        (token.clone(), None),
    ];
    for (value, caller) in cases {
        let response = request("GET", "/x").header("authorization", &value).reply(&routes).await;
        match caller {
            Some(caller) => {
                assert_eq!(response.status(), 200, "{value}");
                assert_eq!(response.body(), &format!("GET /x {caller} 0"));
            }
            None => assert_eq!(response.status(), 401, "{value}"),
        }
    }
    let twice = request("GET", "/x")
        .header("authorization", format!("Bearer {token}"))
        .header("authorization", "Bearer other");
    assert_eq!(twice.reply(&routes).await.status(), 401);
}

#[tokio::test]
async fn foreign_hosts_and_pages_are_refused_whatever_they_know() {
    let (guarded, token) = guarded();
    for routes in [&guarded, &open(Port::Cluster)] {
        let plain = || {
            warp::test::request().path("/health").header("authorization", format!("Bearer {token}"))
        };
        let rebound = plain().header("host", "evil.example:5050").reply(routes).await;
        assert_eq!(rebound.status(), 403);
        let page = plain().header("host", "127.0.0.1:5050").header("origin", "http://evil.example");
        assert_eq!(page.reply(routes).await.status(), 403);
        assert_eq!(plain().reply(routes).await.status(), 400);
    }
}

#[tokio::test]
async fn the_agents_port_serves_only_what_is_the_agents() {
    let routes = open(Port::Agent { cluster: 7000 });
    for path in ["/health", "/version", "/metrics", "/api/agent"] {
        assert_eq!(request("GET", path).reply(&routes).await.status(), 200, "{path}");
    }
    let response = request("GET", "/api/nodes").reply(&routes).await;
    assert_eq!(response.status(), 404);
    assert!(error_of(response.body()).contains("at its cluster port, 7000"));
}

#[tokio::test]
async fn bodies_are_bounded() {
    let routes = open(Port::Cluster);
    let full = request("POST", "/x").body(vec![b'x'; BODY_BYTES_MAX]).reply(&routes).await;
    assert_eq!(full.status(), 200);
    let over = request("POST", "/x").body(vec![b'x'; BODY_BYTES_MAX + 1]).reply(&routes).await;
    assert_eq!(over.status(), 413);
    assert!(error_of(over.body()).contains("larger than"));
}

/// A port that is really served.
struct Running {
    address: SocketAddr,
    echo: Arc<Echo>,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
}

async fn run(limits: Limits) -> Running {
    start(limits, Gate::new(Names::default(), None)).await
}

async fn run_with_bodies(bodies: Bodies) -> Running {
    let gate = Gate::new(Names::default(), None).with_bodies(bodies);
    start(Limits::default(), gate).await
}

/// Bodies that do not come are waited for as long as a test may take.
fn patient() -> Bodies {
    Bodies { limit: Duration::from_secs(3_600), ..Bodies::default() }
}

async fn start(limits: Limits, gate: Gate) -> Running {
    start_port(Port::Cluster, limits, gate).await
}

async fn start_port(port: Port, limits: Limits, gate: Gate) -> Running {
    let listener = listen("127.0.0.1:0".parse().unwrap(), "--port").await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo = Arc::new(Echo::default());
    let routes = routes(port, Arc::new(gate), Arc::clone(&echo));
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, routes, limits, Arc::clone(&echo), stop.clone()));
    Running { address, echo, stop, served }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// Reads until `end` has come.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let mut part = [0; 4_096];
    while !String::from_utf8_lossy(&text).contains(end) {
        let count = within(stream.read(&mut part)).await.unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&part[..count]);
    }
    String::from_utf8(text).unwrap()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    // A reset is an end too.
    within(stream.read_to_end(&mut rest)).await.map_or(true, |_| true)
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("in time")
}

#[tokio::test]
async fn a_connection_serves_several_requests_and_closes_when_asked() {
    let running = run(Limits::default()).await;
    let mut stream = running.connect().await;
    for number in 0..3 {
        let head = format!("GET /{number} HTTP/1.1\r\nhost: localhost:1\r\n\r\n")
            .replace("localhost", "127.0.0.1");
        stream.write_all(head.as_bytes()).await.unwrap();
        let text = read_until(&mut stream, &format!("GET /{number} local 0")).await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    }
    stream
        .write_all(b"GET /last HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let text = read_until(&mut stream, "GET /last").await;
    assert!(text.contains("connection: close"), "{text}");
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn a_chunked_body_is_counted_as_it_comes() {
    let running = run(Limits::default()).await;
    let mut stream = running.connect().await;
    let head = "POST /x HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk =
        [format!("{:x}\r\n", 64 << 10).into_bytes(), vec![b'x'; 64 << 10], b"\r\n".to_vec()]
            .concat();
    // The node answers and closes as soon as it has read too much.
    within(async { while stream.write_all(&chunk).await.is_ok() {} }).await;
    let mut answer = [0; 64];
    let count = within(stream.read(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer:?}");
}

#[tokio::test]
async fn a_head_that_does_not_end_closes_the_connection() {
    let running = run(Limits { head: Duration::from_millis(200), ..Limits::default() }).await;
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ").await.unwrap();
    assert!(is_closed(&mut stream).await);
    let mut idle = running.connect().await;
    assert!(is_closed(&mut idle).await);
    // Whoever was answered keeps the connection: clients of Mesos's API say nothing on it for hours.
    let mut known = running.connect().await;
    let request = "GET /first HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    known.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut known, "GET /first local 0").await;
    let mut later = running.connect().await;
    assert!(is_closed(&mut later).await, "longer than a stranger may be idle");
    known.write_all(request.replace("first", "second").as_bytes()).await.unwrap();
    read_until(&mut known, "GET /second local 0").await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let running = run(Limits::default()).await;
    let mut stream = running.connect().await;
    let head = format!("GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: {}\r\n\r\n", "y".repeat(128 << 10));
    // The node may close before all of it is sent.
    let _sent = stream.write_all(head.as_bytes()).await;
    let mut text = Vec::new();
    let _closed = within(stream.read_to_end(&mut text)).await;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
    assert!(running.echo.statuses.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_stopping_node_closes_idle_connections() {
    let running = run(Limits::default()).await;
    let mut stream = running.connect().await;
    stream.write_all(b"GET /a HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.unwrap();
    read_until(&mut stream, "GET /a").await;
    running.stop.cancel();
    assert!(is_closed(&mut stream).await);
    within(running.served).await.unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_the_flag_that_moves_it() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = listen(address, "--agent-port").await.unwrap_err().to_string();
    assert!(error.contains(&format!("port {}", address.port())), "{error}");
    assert!(error.contains("is taken") && error.contains("--agent-port"), "{error}");
}

/// The beginning of an answer to a small body, which is sent to this path.
async fn post(running: &Running, path: &str) -> String {
    let mut stream = running.connect().await;
    let small = format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1\r\n\r\nx");
    stream.write_all(small.as_bytes()).await.unwrap();
    read_until(&mut stream, "\r\n").await
}

/// Connections on which the largest bodies are announced, and do not come.
async fn announce(running: &Running, path: &str, count: usize) -> Vec<TcpStream> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {BODY_BYTES_MAX}\r\n\r\n"
    );
    let mut slow = Vec::new();
    for _ in 0..count {
        let mut stream = running.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    slow
}

#[tokio::test]
async fn bodies_that_are_read_at_once_are_bounded_together() {
    let running = run_with_bodies(patient()).await;
    let mut slow = announce(&running, "/x", OTHERS_BYTES_MAX / BODY_BYTES_MAX).await;
    // All of them have come once there is no memory left.
    loop {
        let answer = post(&running, "/x").await;
        if answer.starts_with("HTTP/1.1 503") {
            break;
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    slow.pop();
    // When the node sees that it is gone is up to the system.
    while !post(&running, "/x").await.starts_with("HTTP/1.1 200") {}
    // What has come of a body is all that it holds.
    let mut stream = slow.pop().unwrap();
    stream.write_all(&vec![b'x'; BODY_BYTES_MAX]).await.unwrap();
    let answer = read_until(&mut stream, "\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn large_bodies_of_frameworks_keep_no_others_out() {
    let running = run_with_bodies(patient()).await;
    let path = "/api/v1/scheduler";
    let count = FRAMEWORKS_BYTES_MAX / BODY_BYTES_MAX;
    let _slow = announce(&running, path, count).await;
    // One more is refused once all of them have come.
    let mut more = announce(&running, path, 1).await;
    let answer = read_until(&mut more[0], "\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    for (path, status) in [("/x", 200), (path, 202)] {
        let answer = post(&running, path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn what_mesos_tools_read_is_asked_for_under_one_name_and_with_credentials() {
    let cluster = open(Port::Cluster);
    for (method, path, told) in [
        ("GET", "/state", "GET /mesos/state local 0"),
        ("POST", "/master/tasks.json?limit=5&_=1", "GET /mesos/tasks?limit=5&_=1 local 0"),
        ("GET", "/slave(1)/state", "GET /mesos/agent local 0"),
        ("GET", "/master/version?x=1", "GET /version local 0"),
    ] {
        let response = request(method, path).reply(&cluster).await;
        assert_eq!(response.body(), told, "{path}");
    }
    for path in ["/mesos/state", "/%6desos/state", "/mesos/call?type=GET_STATE&as=json"] {
        assert_eq!(request("GET", path).reply(&cluster).await.status(), 404, "{path}");
    }
    let posted = request("POST", "/master/weights").body("[]").reply(&cluster).await;
    assert_eq!(posted.status(), 405, "it is changed by PUT");
    for path in ["/machine/down", "/master/machine/up"] {
        let response = request("POST", path).body("{}").reply(&cluster).await;
        assert_eq!(response.status(), 400, "{path}");
        assert!(response.body().starts_with(b"Expecting a JSON array of machines"), "{path}");
        assert_eq!(request("GET", path).reply(&cluster).await.status(), 405, "{path}");
    }
    let agent = open(Port::Agent { cluster: 5050 });
    let response = request("GET", "/state").reply(&agent).await;
    assert_eq!(response.body(), "GET /mesos/agent local 0");
    assert_eq!(request("GET", "/tasks").reply(&agent).await.status(), 404);
    assert_eq!(request("POST", "/master/api/v1").body("{}").reply(&agent).await.status(), 404);

    let (guarded, token) = guarded();
    for path in ["/state", "/metrics/snapshot", "/api/v1", "/slave(1)/state", "/teardown"] {
        let response = request("POST", path).body("{}").reply(&guarded).await;
        assert_eq!(response.status(), 401, "{path}");
        assert!(response.headers().contains_key("www-authenticate"), "{path}");
        assert!(!response.body().starts_with(b"{"), "{path}: Mesos's errors are plain texts");
    }
    let with = |path| request("GET", path).header("authorization", format!("Bearer {token}"));
    let response = with("/state").reply(&guarded).await;
    assert_eq!(response.body(), "GET /mesos/state operator 0");
}

#[tokio::test]
async fn older_endpoints_become_the_calls_that_they_stand_for() {
    let cluster = open(Port::Cluster);
    for (method, path, body) in [
        ("POST", "/teardown", "frameworkId=f"),
        ("POST", "/master/reserve", "slaveId=s&resources=[]"),
        ("PUT", "/weights/", "[]"),
        ("POST", "/quota", "{}"),
        ("DELETE", "/master/quota/a%2Fb", ""),
    ] {
        let response = request(method, path).body(body).reply(&cluster).await;
        assert_eq!(response.status(), 200, "{path}");
        let told = String::from_utf8_lossy(response.body()).into_owned();
        assert!(told.starts_with("POST /mesos/change?in=json local "), "{path}: {told}");
    }
    let wrong = request("POST", "/teardown").body("framework=f").reply(&cluster).await;
    assert_eq!(
        (wrong.status().as_u16(), &wrong.body()[..]),
        (400, &b"Expecting 'frameworkId' in the form"[..])
    );
    let read = request("GET", "/teardown").reply(&cluster).await;
    assert_eq!((read.status().as_u16(), &read.headers()["allow"]), (405, &"POST".parse().unwrap()));
    let agent = open(Port::Agent { cluster: 5050 });
    let elsewhere = request("POST", "/teardown").body("frameworkId=f").reply(&agent).await;
    assert_eq!(elsewhere.status(), 404);
    // The nodes' own name is no way in.
    let inner = request("POST", "/mesos/change?in=json").body("{}").reply(&cluster).await;
    assert_eq!(inner.status(), 404);
}

#[tokio::test]
async fn calls_of_the_operator_api_go_on_under_their_name() {
    let routes = open(Port::Cluster);
    let call = |body: &'static str| {
        request("POST", "/master/api/v1/").header("content-type", "application/json").body(body)
    };
    let response = call(r#"{"type":"GET_STATE"}"#).reply(&routes).await;
    assert_eq!(response.body(), "GET /mesos/call?type=GET_STATE&as=json local 0");
    let response = call(r#"{"type":"TEARDOWN"}"#).reply(&routes).await;
    assert_eq!(response.status(), 400);
    let response = call(r#"{"type":"GET_OPERATIONS"}"#).reply(&routes).await;
    assert_eq!(response.status(), 501);
    assert!(response.body().starts_with(b"Call GET_OPERATIONS is not supported by this release"));
    let list = call(r#"{"type":"LIST_FILES","list_files":{"path":"/s"}}"#).reply(&routes).await;
    assert_eq!(list.body(), "GET /mesos/files/list?path=%2Fs&as=json local 0");
    let body = r#"{"type":"TEARDOWN","teardown":{"framework_id":{"value":"f"}}}"#;
    let response = call(body).reply(&routes).await;
    let told = format!("POST /mesos/change?in=json local {}", body.len());
    assert_eq!(response.body(), told.as_bytes());
    let response = request("GET", "/api/v1").reply(&routes).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
}

#[tokio::test]
async fn long_answers_are_sent_whole_and_give_their_memory_back() {
    struct Long;

    #[async_trait]
    impl Answers for Long {
        async fn answer(&self, _call: Call) -> Answer {
            Answer::of_media("application/json", vec![b'1'; 1 << 20])
        }

        async fn schedule(&self, _request: SchedulerRequest) -> Scheduled {
            Scheduled::Answer(Answer::plain(501, ""))
        }

        async fn admit_executor(&self, _credential: &Credential) -> Option<Credential> {
            None
        }

        async fn execute(&self, _request: ExecutorRequest) -> Scheduled {
            Scheduled::Answer(Answer::plain(501, ""))
        }

        fn answered(&self, _status: u16) {}
    }

    let gate = Arc::new(Gate::new(Names::default(), None));
    let routes = routes(Port::Cluster, Arc::clone(&gate), Arc::new(Long));
    // More often than there is memory for.
    for _ in 0..10 {
        let response = request("GET", "/state").reply(&routes).await;
        assert_eq!(response.headers()["content-length"], (1_usize << 20).to_string());
        assert_eq!(response.body().len(), 1 << 20);
        let packed = request("GET", "/state").header("accept-encoding", "gzip");
        let packed = packed.reply(&routes).await;
        assert_eq!(packed.headers()["content-encoding"], "gzip");
        assert!(packed.body().len() < 1 << 13);
    }
    let all = gate.answers().take(4 * crate::api::ANSWER_BYTES_MAX).await;
    assert!(all.is_some(), "everything has come back");
}

#[tokio::test]
async fn a_connection_that_is_closed_keeps_the_memory_of_its_answer_until_that_is_made() {
    use futures_util::FutureExt as _;

    /// Answers when it is told to.
    struct Slow {
        begun: tokio::sync::Semaphore,
        go: tokio::sync::Semaphore,
    }

    #[async_trait]
    impl Answers for Slow {
        async fn answer(&self, _call: Call) -> Answer {
            self.begun.add_permits(1);
            self.go.acquire().await.unwrap().forget();
            Answer::of_media("application/json", b"{}".to_vec())
        }

        async fn schedule(&self, _request: SchedulerRequest) -> Scheduled {
            Scheduled::Answer(Answer::plain(501, ""))
        }

        async fn admit_executor(&self, _credential: &Credential) -> Option<Credential> {
            None
        }

        async fn execute(&self, _request: ExecutorRequest) -> Scheduled {
            Scheduled::Answer(Answer::plain(501, ""))
        }

        fn answered(&self, _status: u16) {}
    }

    let gate = Arc::new(Gate::new(Names::default(), None));
    let [begun, go] = [0, 0].map(tokio::sync::Semaphore::new);
    let slow = Arc::new(Slow { begun, go });
    let routes = routes(Port::Cluster, Arc::clone(&gate), Arc::clone(&slow));
    let asked = tokio::spawn(async move { request("GET", "/state").reply(&routes).await.status() });
    slow.begun.acquire().await.unwrap().forget();
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    let all = || gate.answers().take(4 * crate::api::ANSWER_BYTES_MAX);
    assert!(all().now_or_never().is_none(), "it is still being made");
    slow.go.add_permits(1);
    assert!(all().await.is_some());
}

#[tokio::test]
async fn executors_are_let_in_by_their_token_at_the_agents_port_alone() {
    let agent = open(Port::Agent { cluster: 5050 });
    let call = |path: &str| request("POST", path).header("content-type", "application/json");
    let right = "Bearer right";
    for path in ["/api/v1/executor", "/slave(1)/api/v1/executor/", "/slave%281%29/api/v1/executor"]
    {
        let answer = call(path).header("authorization", right).body("12345").reply(&agent).await;
        assert_eq!(answer.status(), 202, "{path}");
        assert_eq!(answer.body(), "POST application/json  5");
    }
    // Whatever the other credentials of the node are, and without any when the system does not know who calls.
    for wrong in ["Bearer wrong", "Basic OnJpZ2h0", "right", ""] {
        let mut strange = call("/api/v1/executor");
        if !wrong.is_empty() {
            strange = strange.header("authorization", wrong);
        }
        let answer = strange.body("1").reply(&agent).await;
        assert_eq!(answer.status(), 401, "{wrong}");
        let asked: Vec<_> = answer.headers().get_all("www-authenticate").iter().collect();
        assert_eq!(asked, ["Bearer realm=\"mesos-agent-executor\""]);
    }
    // One that comes back has much to say.
    for (bytes, status) in [(EXECUTOR_BODY_BYTES_MAX, 202), (EXECUTOR_BODY_BYTES_MAX + 1, 413)] {
        let large = call("/api/v1/executor").header("authorization", right);
        let answer = large.body(vec![b'1'; bytes]).reply(&agent).await;
        assert_eq!(answer.status(), status, "{bytes} bytes");
    }
    let foreign = call("/api/v1/executor").header("authorization", right);
    let answer = foreign.header("origin", "http://evil.example").reply(&agent).await;
    assert_eq!(answer.status(), 403);
    let elsewhere = call("/api/v1/executor").header("authorization", right);
    let answer = elsewhere.body("1").reply(&open(Port::Cluster)).await;
    assert_ne!(answer.body(), "POST application/json  1");
}
