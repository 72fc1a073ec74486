//! What is served of agents and of sandboxes.

use super::*;

#[tokio::test]
async fn an_agents_operator_api_is_at_its_own_port_and_under_its_name() {
    let (cluster, agent) = (open(Port::Cluster), open(Port::Agent { cluster: 5050 }));
    let call = |path: &str, body: &'static str| {
        request("POST", path).header("content-type", "application/json").body(body)
    };
    let containers = r#"{"type":"GET_CONTAINERS"}"#;
    let told = "GET /mesos/agent/call?type=GET_CONTAINERS&as=json local 0";
    for path in ["/api/v1", "/api/v1/", "/slave(1)/api/v1", "/slave%281%29/api/v1"] {
        assert_eq!(call(path, containers).reply(&agent).await.body(), told, "{path}");
    }
    assert_eq!(call("/slave(1)/api/v1", containers).reply(&cluster).await.body(), told);
    // The cluster's own has no such call.
    assert_eq!(call("/api/v1", containers).reply(&cluster).await.status(), 400);
    let file = r#"{"type":"READ_FILE","read_file":{"path":"/s","offset":1,"length":2}}"#;
    let told = "GET /mesos/agent/files/slice?path=%2Fs&offset=1&length=2&as=json local 0";
    assert_eq!(call("/api/v1", file).reply(&agent).await.body(), told);
    let session = r#"{"type":"LAUNCH_NESTED_CONTAINER_SESSION"}"#;
    assert_eq!(call("/api/v1", session).reply(&agent).await.status(), 501);
    let attach = request("POST", "/api/v1").header("content-type", "application/recordio");
    assert_eq!(attach.body("3\n{} ").reply(&agent).await.status(), 501);
    let got = request("GET", "/slave(1)/api/v1").reply(&agent).await;
    assert_eq!((got.status().as_u16(), &got.headers()["allow"]), (405, &"POST".parse().unwrap()));
    for (port, path, told) in [
        (&agent, "/files/read.json?path=%2Fs&jsonp=", 400_u16),
        (&agent, "/files/browse?path=%2Fs", 200),
        (&cluster, "/files/browse.json?path=%2Fs", 200),
        (&cluster, "/mesos/files/browse?path=%2Fs", 404),
        (&agent, "/mesos/agent/files/bytes?path=%2Fs", 404),
    ] {
        assert_eq!(request("GET", path).reply(port).await.status().as_u16(), told, "{path}");
    }
    let browsed = request("GET", "/files/browse.json?path=%2Fs&_=7").reply(&cluster).await;
    assert_eq!(browsed.body(), "GET /mesos/files/browse?path=%2Fs&_=7 local 0");
}

/// Has a file, of which something may be missing.
struct File {
    bytes: Vec<u8>,
    size: usize,
    statuses: Mutex<Vec<u16>>,
}

impl File {
    fn of(bytes: Vec<u8>, size: usize) -> Arc<Self> {
        Arc::new(Self { bytes, size, statuses: Mutex::default() })
    }
}

#[async_trait]
impl Answers for File {
    async fn answer(&self, call: Call) -> Answer {
        let (path, query) = call.path.split_once('?').unwrap();
        match path {
            "/mesos/files/stat" if query.starts_with("path=none") => {
                Answer::error(404, "there is no file")
            }
            "/mesos/files/stat" => {
                let facts = serde_json::json!({"size": self.size, "path": "/s/a b.log"});
                Answer::of_media("application/json", facts.to_string().into_bytes())
            }
            "/mesos/files/bytes" => {
                let number = |name: &str| -> usize {
                    let value = query.split('&').find_map(|pair| pair.strip_prefix(name));
                    value.unwrap().parse().unwrap()
                };
                assert!(query.starts_with("path=%2Fs%2Fa%20b.log&"), "{query}");
                let (offset, length) = (number("offset="), number("length="));
                assert!(length <= crate::api::PIECE_BYTES);
                let end = (offset + length).min(self.bytes.len());
                let piece = self.bytes.get(offset..end).unwrap_or_default();
                Answer::of_media("application/octet-stream", piece.to_vec())
            }
            other => panic!("{other}"),
        }
    }

    async fn schedule(&self, _request: SchedulerRequest) -> Scheduled {
        unreachable!("no scheduler calls")
    }

    async fn admit_executor(&self, _credential: &Credential) -> Option<Credential> {
        None
    }

    async fn execute(&self, _request: ExecutorRequest) -> Scheduled {
        unreachable!("no executor calls")
    }

    fn answered(&self, status: u16) {
        self.statuses.lock().unwrap().push(status);
    }
}

#[tokio::test]
async fn a_file_is_handed_out_in_pieces_and_whole() {
    let bytes: Vec<u8> = (0..600_000_u32).map(|at| (at % 251) as u8).collect();
    let file = File::of(bytes.clone(), bytes.len());
    let gate = || Arc::new(Gate::new(Names::default(), None));
    let routes = routes(Port::Cluster, gate(), Arc::clone(&file));
    let response = request("GET", "/files/download?path=x").reply(&routes).await;
    assert_eq!(response.status(), 200);
    let header = |name: &str| response.headers()[name].to_str().unwrap();
    assert_eq!(header("content-length"), "600000");
    assert_eq!(header("content-type"), "text/plain");
    assert_eq!(header("content-disposition"), "attachment; filename=\"a b.log\"");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(response.body() == bytes.as_slice());
    let none = request("GET", "/files/download?path=none").reply(&routes).await;
    assert_eq!((none.status().as_u16(), &none.body()[..]), (404, &b"there is no file"[..]));
    let posted = request("POST", "/files/download?path=x").reply(&routes).await;
    assert_eq!(posted.status(), 405);
    assert_eq!(*file.statuses.lock().unwrap(), [200, 404, 405]);
}

#[tokio::test]
async fn a_file_that_is_cut_short_is_not_taken_for_whole() {
    let file = File::of(vec![b'x'; 10], 20);
    let gate = Gate::new(Names::default(), None);
    let listener = listen("127.0.0.1:0".parse().unwrap(), "--port").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = routes(Port::Cluster, Arc::new(gate), file);
    let stop = CancellationToken::new();
    let counts = Arc::new(Echo::default());
    let served = tokio::spawn(serve(listener, routes, Limits::default(), counts, stop.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "GET /files/download?path=x HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    // A reset is an end too.
    let _ended = within(stream.read_to_end(&mut text)).await;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("content-length: 20\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\nxxxxxxxxxx"), "closed after what there was: {text}");
    stop.cancel();
    within(served).await.unwrap();
}

#[tokio::test]
async fn files_are_for_those_who_are_known() {
    let (routes, token) = guarded();
    let name = "path=%2Fs";
    for path in ["browse", "read", "debug", "download"] {
        let path = format!("/files/{path}?{name}");
        let stranger = request("GET", &path).reply(&routes).await;
        assert_eq!(stranger.status(), 401, "{path}");
        let known = request("GET", &path).header("authorization", format!("Bearer {token}"));
        let status = known.reply(&routes).await.status().as_u16();
        // What the echo says is nothing that a file can be handed out by.
        assert_eq!(status, if path.contains("download") { 503 } else { 200 }, "{path}");
    }
}
