//! A small client of Mesos's scheduler API: raw HTTP/1.1, and what the bytes must look like.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use serde_json::{Value, json};

use crate::{node::Node, wait::PATIENCE};

const PATH: &str = "/api/v1/scheduler";

/// An answer with its head.
#[derive(Debug, Clone)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body as text; of a stream, nothing.
    pub body: String,
    /// The body as it came.
    pub bytes: Vec<u8>,
}

/// A request: what differs from a good one.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path.
    pub path: &'a str,
    /// Headers beside `Host` and `Content-Length`.
    pub headers: Vec<(&'a str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl<'a> Request<'a> {
    /// A call in JSON, with the credentials of `node`.
    #[must_use]
    pub fn json(node: &Node, call: &Value) -> Self {
        let headers = vec![
            ("Content-Type", "application/json".to_owned()),
            ("Authorization", format!("Bearer {}", node.token())),
        ];
        Self { method: "POST", path: PATH, headers, body: call.to_string().into_bytes() }
    }

    /// A call in protobuf, with the credentials of `node`.
    #[must_use]
    pub fn protobuf(node: &Node, call: Vec<u8>) -> Self {
        let mut request = Self { body: call, ..Self::json(node, &Value::Null) };
        request.headers[0].1 = "application/x-protobuf".to_owned();
        request.headers.push(("Accept", "application/x-protobuf".to_owned()));
        request
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Without a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| *header != name);
        self
    }

    /// Sends it, and reads the head of the answer; the rest is read from what comes back.
    fn send(&self, address: SocketAddr) -> io::Result<(BufReader<TcpStream>, Response)> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let Self { method, path, .. } = self;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.body.len()
        );
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        stream.write_all(&self.body)?;
        let mut reader = BufReader::new(stream);
        let response = read_head(&mut reader)?;
        Ok((reader, response))
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn answer(&self, node: &Node) -> Response {
        self.try_answer(node).unwrap_or_else(|error| panic!("no answer to {self:?}: {error}"))
    }

    /// The same, for nodes that may be gone.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn try_answer(&self, node: &Node) -> io::Result<Response> {
        Self::read(self.send(node.http())?)
    }

    /// The same at the agent's port.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn answer_of_agent(&self, node: &Node) -> Response {
        let answered = self.send(node.quic()).and_then(Self::read);
        answered.unwrap_or_else(|error| panic!("no answer to {self:?}: {error}"))
    }

    fn read((mut reader, mut response): (BufReader<TcpStream>, Response)) -> io::Result<Response> {
        reader.read_to_end(&mut response.bytes)?;
        response.body = String::from_utf8_lossy(&response.bytes).into_owned();
        Ok(response)
    }

    /// Sends it and expects a stream.
    ///
    /// # Panics
    /// When it is answered otherwise.
    #[must_use]
    pub fn stream(&self, node: &Node) -> MesosStream {
        let (reader, response) = self.send(node.http()).expect("the node answers");
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.headers["transfer-encoding"], "chunked");
        MesosStream { reader, response, offers: Vec::new(), offered: 0 }
    }
}

fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<Response> {
    let garbled = |line: &str| io::Error::other(format!("not the head of an answer: {line:?}"));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| garbled(&line))?;
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        if line == "\r\n" {
            return Ok(Response { status, headers, body: String::new(), bytes: Vec::new() });
        }
        let (name, value) = line.split_once(':').ok_or_else(|| garbled(&line))?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}

/// A stream of events.
#[derive(Debug)]
pub struct MesosStream {
    reader: BufReader<TcpStream>,
    /// Its head.
    pub response: Response,
    /// Offers that are open and were not waited for.
    offers: Vec<Value>,
    /// How many offers ever came.
    offered: usize,
}

impl MesosStream {
    /// The id that its calls quote.
    #[must_use]
    pub fn id(&self) -> String {
        self.response.headers["mesos-stream-id"].clone()
    }

    /// The next record; nothing when the stream is over.
    ///
    /// # Panics
    /// When a chunk is not just one record.
    pub fn record(&mut self) -> Option<Vec<u8>> {
        let mut size = String::new();
        self.reader.read_line(&mut size).expect("a chunk comes in time");
        let size = usize::from_str_radix(size.trim(), 16).expect("the size of a chunk");
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).expect("the chunk is there");
        chunk.truncate(size);
        if size == 0 {
            return None;
        }
        let end = chunk.iter().position(|byte| *byte == b'\n').expect("a record has its length");
        let length =
            std::str::from_utf8(&chunk[..end]).ok().and_then(|it| it.parse::<usize>().ok());
        let record = chunk.split_off(end + 1);
        assert_eq!(Some(record.len()), length, "one record is one chunk");
        Some(record)
    }

    /// The next event in JSON.
    pub fn event(&mut self) -> Option<Value> {
        let record = self.record()?;
        assert!(record.is_ascii() && !record.contains(&b'\n'), "one line of ASCII");
        let event: Value = serde_json::from_slice(&record).expect("an event is JSON");
        if let Some(offers) = event["offers"]["offers"].as_array() {
            self.offers.extend(offers.iter().cloned());
            self.offered += offers.len();
        }
        if event["type"] == "RESCIND" {
            self.offers.retain(|offer| offer["id"] != event["rescind"]["offer_id"]);
        }
        Some(event)
    }

    /// Reads until `wanted` has something of an event, whose body it is given, and its type.
    ///
    /// # Panics
    /// When the stream ends first, or it takes too long.
    #[track_caller]
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&str, &Value) -> Option<T>,
    ) -> T {
        let begun = Instant::now();
        loop {
            let event = self.event().unwrap_or_else(|| panic!("the stream ended before {what}"));
            let kind = event["type"].as_str().expect("an event has a type").to_owned();
            if let Some(found) = wanted(&kind, &event[kind.to_ascii_lowercase()]) {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "did not come: {what}; last was {event}");
        }
    }

    /// The offers that are open as far as was read, but for those that were waited for or forgotten.
    #[must_use]
    pub fn open_offers(&self) -> &[Value] {
        &self.offers
    }

    /// An offer is used: it is open no more.
    pub fn forget(&mut self, offer: &Value) {
        self.offers.retain(|open| open["id"] != offer["id"]);
    }

    /// # Panics
    /// When an offer was among the events that were read.
    #[track_caller]
    pub fn assert_nothing_offered(&self) {
        assert_eq!(self.offered, 0, "nothing was to be offered, open is {:?}", self.offers);
    }

    /// Waits for an open offer that was not given back before.
    #[track_caller]
    pub fn wait_for_offer(&mut self) -> Value {
        loop {
            if let Some(offer) = self.offers.pop() {
                return offer;
            }
            self.wait_for("an offer", |kind, _| (kind == "OFFERS").then_some(()));
        }
    }
}

/// A framework with its stream.
#[derive(Debug)]
pub struct MesosFramework {
    /// Its id.
    pub id: Value,
    /// Its events.
    pub stream: MesosStream,
}

impl MesosFramework {
    /// Subscribes at `node` with this description.
    ///
    /// # Panics
    /// When the first two events are not those of a new subscription.
    #[must_use]
    pub fn subscribe(node: &Node, info: &Value) -> Self {
        Self::subscribe_with(node, &json!({"framework_info": info}))
    }

    /// The same with all that a subscribe says.
    ///
    /// # Panics
    /// When the first two events are not those of a new subscription.
    #[must_use]
    pub fn subscribe_with(node: &Node, subscribe: &Value) -> Self {
        let mut call = json!({"type": "SUBSCRIBE", "subscribe": subscribe});
        if let Some(id) = subscribe["framework_info"].get("id") {
            call["framework_id"] = id.clone();
        }
        let mut stream = Request::json(node, &call).stream(node);
        assert_eq!(stream.response.headers["content-type"], "application/json");
        let first = stream.event().expect("the stream is open");
        assert_eq!(first["type"], "SUBSCRIBED", "{first}");
        let subscribed = &first["subscribed"];
        assert_eq!(subscribed["heartbeat_interval_seconds"], 15.0);
        assert!(subscribed["master_info"]["address"]["port"].is_u64(), "{first}");
        let id = subscribed["framework_id"].clone();
        assert_eq!(stream.event(), Some(json!({"type": "HEARTBEAT"})));
        Self { id, stream }
    }

    /// A call of this framework, to be sent to `node`.
    #[must_use]
    pub fn request(&self, node: &Node, kind: &str, body: &Value) -> Request<'static> {
        let mut call = json!({"framework_id": self.id, "type": kind});
        if !body.is_null() {
            call[kind.to_ascii_lowercase()] = body.clone();
        }
        Request::json(node, &call).with("Mesos-Stream-Id", &self.stream.id())
    }

    /// Makes a call at `node`, which must be accepted.
    #[track_caller]
    pub fn call(&self, node: &Node, kind: &str, body: &Value) {
        let response = self.request(node, kind, body).answer(node);
        assert_eq!((response.status, response.body.as_str()), (202, ""), "{kind}");
        assert_eq!(response.headers.get("content-type"), None, "{kind}");
    }

    /// Launches a line of shell on an offer.
    #[track_caller]
    pub fn launch(&self, node: &Node, offer: &Value, task: &str, line: &str) {
        let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
        let info = json!({
            "name": task, "task_id": {"value": task}, "agent_id": offer["agent_id"],
            "resources": [scalar("cpus", 0.1), scalar("mem", 32.0)],
            "command": {"value": line},
        });
        let launch = json!({"type": "LAUNCH", "launch": {"task_infos": [info]}});
        let accept = json!({
            "offer_ids": [offer["id"]], "operations": [launch], "filters": {"refuse_seconds": 0.0},
        });
        self.call(node, "ACCEPT", &accept);
    }

    /// Acknowledges what comes until a task is told to be in this state, and gives that status back.
    #[track_caller]
    pub fn wait_for_state(&mut self, node: &Node, task: &str, state: &str) -> Value {
        loop {
            let status = self.stream.wait_for(&format!("{task} is {state}"), |kind, body| {
                (kind == "UPDATE").then(|| body["status"].clone())
            });
            if status.get("uuid").is_some() {
                self.acknowledge(node, &status);
            }
            if status["task_id"]["value"] == task && status["state"] == state {
                return status;
            }
        }
    }

    /// Acknowledges a status.
    #[track_caller]
    pub fn acknowledge(&self, node: &Node, status: &Value) {
        let body = json!({
            "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"],
        });
        self.call(node, "ACKNOWLEDGE", &body);
    }
}
