//! From a request to a call, and from an answer to a response.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Buf;
use futures_util::{Stream, StreamExt as _};
use meshos_mesos::codec::Media;
use warp::{
    Filter as _, Reply as _,
    filters::{BoxedFilter, path::FullPath},
    http::{
        HeaderMap, HeaderValue, Method,
        header::{
            ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION,
            VARY, WWW_AUTHENTICATE,
        },
    },
    reply::Response,
};

use super::{
    gate::{Caller, Gate, Refused, Sender},
    idle::Connection,
    peer::Peer,
    reads::Wanted,
};
use crate::{
    api::{Answer, Api, Body, Call, ExecutorRequest, Scheduled, SchedulerRequest},
    budget::{Budget, Permit},
    driver::agent::Credential,
    gateway::{Records, StreamId},
};

/// The largest body of a request.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;
/// The largest body of an executor's call: one that comes back tells of all tasks and updates that nobody acknowledged.
pub(super) const EXECUTOR_BODY_BYTES_MAX: usize = 8 << 20;
/// What the agent's port serves.
const AGENT_PATHS: [&str; 4] = ["/health", "/version", "/metrics", "/api/agent"];

/// What credentials are asked for.
pub(super) const REALM: &str = "meshos";
const SCHEDULER_REALM: &str = "mesos-master-scheduler";
/// Names the stream that a call of the scheduler API belongs to.
const STREAM_ID: &str = "mesos-stream-id";

/// Which of a node's ports a request came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Cluster,
    Agent {
        /// The number of the other port, for whoever mistakes this one for it.
        cluster: u16,
    },
}

/// Answers the calls that are let in.
#[async_trait]
pub(super) trait Answers: Send + Sync + 'static {
    async fn answer(&self, call: Call) -> Answer;

    /// Answers a request to Mesos's scheduler API.
    async fn schedule(&self, request: SchedulerRequest) -> Scheduled;

    /// As whom somebody is counted who may speak for an executor of this node.
    async fn admit_executor(&self, credential: &Credential) -> Option<Credential>;

    /// Answers a request to Mesos's executor API.
    async fn execute(&self, request: ExecutorRequest) -> Scheduled;

    /// Counts an answer by its status.
    fn answered(&self, status: u16);
}

#[async_trait]
impl Answers for Api {
    async fn answer(&self, call: Call) -> Answer {
        Self::answer(self, call).await
    }

    async fn schedule(&self, request: SchedulerRequest) -> Scheduled {
        Self::schedule(self, request).await
    }

    async fn admit_executor(&self, credential: &Credential) -> Option<Credential> {
        Self::admit_executor(self, credential).await
    }

    async fn execute(&self, request: ExecutorRequest) -> Scheduled {
        Self::execute(self, request).await
    }

    fn answered(&self, status: u16) {
        self.metrics().http().answered(status);
    }
}

/// All requests of a port.
pub(super) fn routes<A: Answers>(
    port: Port,
    gate: Arc<Gate>,
    answers: Arc<A>,
) -> BoxedFilter<(Response,)> {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let handler = Arc::new(Handler { port, gate, answers });
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Peer>())
        .and(warp::ext::optional::<Connection>())
        .and(warp::body::stream())
        .then(move |method, path: FullPath, query, headers, peer, connection, body| {
            let handler = Arc::clone(&handler);
            async move {
                if handler.port != Port::Cluster && Api::is_executor_path(path.as_str()) {
                    let other_end = (peer, connection);
                    return handler.executor_api(method, other_end, &headers, body).await;
                }
                handler.serve(method, path, query, headers, (connection, body)).await
            }
        })
        .boxed()
}

pub(super) struct Handler<A> {
    pub(super) port: Port,
    pub(super) gate: Arc<Gate>,
    pub(super) answers: Arc<A>,
}

impl<A: Answers> Handler<A> {
    async fn serve<S, B>(
        &self,
        method: Method,
        path: FullPath,
        query: String,
        headers: HeaderMap,
        (connection, body): (Option<Connection>, S),
    ) -> Response
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf + Send,
    {
        if self.port == Port::Cluster && Api::is_scheduler_path(path.as_str()) {
            return self.schedule(method, &path, &headers, body).await;
        }
        if let Some(api) = Api::operator_path(path.as_str(), self.port != Port::Cluster) {
            let (request, sent) = ((&method, path.as_str()), (connection, body));
            return self.operator_api(api, request, &headers, sent).await;
        }
        if Api::is_download_path(path.as_str()) {
            let request = (&method, path.as_str(), &*query);
            return self.download(request, &headers, connection).await;
        }
        if let Some(asked) = self.older_change(&method, path.as_str()) {
            let request = (&method, path.as_str());
            return self.change_by_older(asked, request, &headers, body).await;
        }
        if let Some(here) = self.mesos_path(path.as_str()) {
            let asked = (path.as_str(), here, query.as_str());
            return self.read_older(&method, asked, &headers, connection).await;
        }
        let wanted = Wanted::of(&headers);
        let answer = match self.call(method, &path, &query, &headers, body).await {
            Ok((call, _permit)) => self.answers.answer(call).await,
            Err(Refused { status, message }) => Answer::error(status, &message),
        };
        self.answers.answered(answer.status);
        respond(wanted.form(answer).await, REALM)
    }

    /// Mesos's scheduler API: its errors are plain texts, and it may answer with a stream.
    async fn schedule<S, B>(
        &self,
        method: Method,
        path: &FullPath,
        headers: &HeaderMap,
        body: S,
    ) -> Response
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf + Send,
    {
        let scheduled = match self.read_scheduler(method, path, headers, body).await {
            Ok(request) => self.answers.schedule(request).await,
            Err(Refused { status, message }) => Scheduled::Answer(Answer::plain(status, &message)),
        };
        self.respond_scheduled(scheduled, SCHEDULER_REALM)
    }

    async fn read_scheduler<S, B>(
        &self,
        method: Method,
        path: &FullPath,
        headers: &HeaderMap,
        body: S,
    ) -> Result<SchedulerRequest, Refused>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf + Send,
    {
        let Caller { principal, operator: _ } = self.gate.admit(path.as_str(), headers)?;
        let is_post = method == Method::POST;
        let (bytes, permit) = self.read_body(is_post, Sender::Framework, headers, body).await?;
        Ok(SchedulerRequest {
            method: method.to_string(),
            principal,
            content_type: text_of(headers, CONTENT_TYPE.as_str()),
            accept: text_of(headers, ACCEPT.as_str()),
            stream_id: text_of(headers, STREAM_ID),
            body: Body { bytes, permit },
        })
    }

    async fn call<S, B>(
        &self,
        method: Method,
        path: &FullPath,
        query: &str,
        headers: &HeaderMap,
        body: S,
    ) -> Result<(Call, Option<Permit>), Refused>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf + Send,
    {
        let path = path.as_str();
        let caller = self.gate.admit(path, headers)?;
        if !matches!(method, Method::GET | Method::HEAD) {
            caller.may_change()?;
        }
        let principal = caller.principal;
        if let Port::Agent { cluster } = self.port
            && !AGENT_PATHS.contains(&path)
        {
            let paths = AGENT_PATHS.join(", ");
            let message = format!(
                "this is a node's agent port, which serves {paths} and what Mesos's agents let tools read; all else is at \
                 its cluster port, {cluster}"
            );
            return Err(Refused { status: 404, message });
        }
        if Api::is_inner(path) {
            // Nodes' own names for what has others outside, which take care of how much memory it needs.
            let message = format!("there is nothing at {path:?}");
            return Err(Refused { status: 404, message });
        }
        let is_post = method == Method::POST;
        let (body, permit) = self.read_body(is_post, Sender::Other, headers, body).await?;
        let path = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let method = method.to_string();
        Ok((Call { method, path, principal, body, forwarded: false }, permit))
    }

    /// The body, and the permit for its memory.
    pub(super) async fn read_body<S, B>(
        &self,
        is_post: bool,
        sender: Sender,
        headers: &HeaderMap,
        body: S,
    ) -> Result<(Vec<u8>, Option<Permit>), Refused>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf + Send,
    {
        if !is_post {
            return Ok((Vec::new(), None));
        }
        let bodies = self.gate.bodies();
        let most = match sender {
            Sender::Framework | Sender::Other => BODY_BYTES_MAX,
            Sender::Executor(_) => EXECUTOR_BODY_BYTES_MAX,
        };
        let bytes = announced(headers, most)?;
        let mut permit = take_permit(&bodies.budget(sender, bytes), bytes).await?;
        let bytes = read_body(body, bodies.limit, most).await?;
        permit.keep(bytes.len());
        Ok((bytes, Some(permit)))
    }

    /// Answers a call of one of the APIs that may answer with a stream.
    pub(super) fn respond_scheduled(&self, answered: Scheduled, realm: &'static str) -> Response {
        match answered {
            Scheduled::Answer(answer) => {
                self.answers.answered(answer.status);
                respond(answer, realm)
            }
            Scheduled::Stream { id, media, records } => {
                self.answers.answered(200);
                streamed(id, media, records)
            }
        }
    }
}

/// The text of a header, as far as it is one.
pub(super) fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The bytes that a body may have: all that it may when it does not say.
fn announced(headers: &HeaderMap, most: usize) -> Result<usize, Refused> {
    let announced = headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let announced = announced.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    let bytes = announced.unwrap_or(most);
    if bytes > most { Err(too_large(most)) } else { Ok(bytes) }
}

/// Takes the memory that a body may need.
async fn take_permit(budget: &Budget, bytes: usize) -> Result<Permit, Refused> {
    budget.take(bytes).await.ok_or_else(|| {
        let message =
            "too many bodies are read by this node at once: try again, or ask another node";
        Refused { status: 503, message: message.to_owned() }
    })
}

fn too_large(most: usize) -> Refused {
    let message = format!("the body is larger than {most} bytes");
    Refused { status: 413, message }
}

async fn read_body<S, B>(body: S, limit: Duration, most: usize) -> Result<Vec<u8>, Refused>
where
    S: Stream<Item = Result<B, warp::Error>> + Send,
    B: Buf + Send,
{
    let read = async {
        let mut bytes = Vec::new();
        let mut body = std::pin::pin!(body);
        while let Some(part) = body.next().await {
            let mut part = part.map_err(|error| Refused {
                status: 400,
                message: format!("the body cannot be read: {error}"),
            })?;
            if bytes.len() + part.remaining() > most {
                return Err(too_large(most));
            }
            while part.has_remaining() {
                let chunk = part.chunk();
                bytes.extend_from_slice(chunk);
                let taken = chunk.len();
                part.advance(taken);
            }
        }
        Ok(bytes)
    };
    tokio::time::timeout(limit, read).await.unwrap_or_else(|_| {
        let message = format!("the body has not arrived within {limit:?}");
        Err(Refused { status: 408, message })
    })
}

/// A stream of events.
fn streamed(id: Option<StreamId>, media: Media, records: Records) -> Response {
    let mut response = warp::reply::stream(records).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media.name()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(Ok(id)) = id.map(|id| HeaderValue::from_str(&id.to_string())) {
        headers.insert(STREAM_ID, id);
    }
    response
}

pub(super) fn respond(answer: Answer, realm: &str) -> Response {
    let Answer { status, content_type, body, allow, location, packed } = answer;
    let mut response = body.into_response();
    *response.status_mut() =
        warp::http::StatusCode::from_u16(status).unwrap_or(warp::http::StatusCode::BAD_GATEWAY);
    let headers = response.headers_mut();
    if content_type.is_empty() {
        headers.remove(CONTENT_TYPE);
    } else {
        let content_type = HeaderValue::from_str(&content_type)
            .unwrap_or(HeaderValue::from_static("application/octet-stream"));
        headers.insert(CONTENT_TYPE, content_type);
    }
    // What tasks wrote must not be taken for a page, and nothing here is true for long.
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(Ok(location)) = location.as_deref().map(HeaderValue::from_str) {
        headers.insert(LOCATION, location);
    }
    if packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    if let Some(allow) = allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    if status == 401 {
        for scheme in ["Bearer", "Basic"] {
            if let Ok(challenge) = HeaderValue::from_str(&format!("{scheme} realm=\"{realm}\"")) {
                headers.append(WWW_AUTHENTICATE, challenge);
            }
        }
    }
    response
}
