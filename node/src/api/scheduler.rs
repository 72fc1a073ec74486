//! Mesos's scheduler API: which stream a call belongs to, and the answers when it belongs to none.

use std::time::Duration;

use meshos_mesos::{
    codec::{Media, Refused},
    schema::CallType,
    session::not_subscribed,
    validate,
};
use meshos_protocol::ids::NodeId;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    Api,
    call::{Answer, Call},
    route::Leading,
};
use crate::{
    budget::Permit,
    gateway::{ANSWER_LIMIT, ReadCall, Records, StreamId},
    net::Target,
};

/// Under which nodes pass calls on to the one that holds the stream.
const PATH: &str = "/api/v1/scheduler";

/// How long another node may take for a call on its stream: longer than it waits for the leader's answer
/// and for room.
const HOLDER_LIMIT: Duration = ANSWER_LIMIT.saturating_add(Duration::from_secs(10));

/// How old the leader's picture may be.
const PICTURE_AGE: Duration = Duration::from_millis(200);

/// How long a node is waited for of which gossip has not told yet.
const GOSSIP_LIMIT: Duration = Duration::from_secs(3);

/// A request to the scheduler API.
#[derive(Debug)]
pub(crate) struct SchedulerRequest {
    pub method: String,
    /// The caller, as the entry node authenticated it.
    pub principal: String,
    pub content_type: Option<String>,
    pub accept: Option<String>,
    pub stream_id: Option<String>,
    pub body: Body,
}

/// A body, and the permit for its memory.
#[derive(Debug)]
pub(crate) struct Body {
    pub bytes: Vec<u8>,
    /// Given back with the body.
    #[expect(dead_code, reason = "it is held, and nothing else is done with it")]
    pub permit: Option<Permit>,
}

/// What such a request is answered with.
pub(crate) enum Scheduled {
    Answer(Answer),
    /// A stream of events, one chunk each.
    Stream {
        /// What its calls must quote; those of executors quote nothing.
        id: Option<StreamId>,
        media: Media,
        records: Records,
    },
}

/// A framework as the list of frameworks has it.
#[derive(Deserialize)]
struct Listed {
    id: meshos_protocol::ids::FrameworkId,
    state: String,
}

impl Api {
    /// Whether a path is that of the scheduler API.
    pub(crate) fn is_scheduler_path(path: &str) -> bool {
        let path = path.trim_end_matches('/');
        path.strip_prefix("/master").unwrap_or(path) == PATH
    }

    /// The way to the leader: its address alone, without a scheme, as Mesos says it.
    pub(super) fn redirect(&self) -> Answer {
        match self.options.tracker.leader().borrow().as_ref() {
            Some(leader) => Answer::redirect(format!("//{}", leader.http_address)),
            None => Answer::plain(503, "No leader elected"),
        }
    }

    /// Answers a request to the scheduler API.
    pub(crate) async fn schedule(&self, request: SchedulerRequest) -> Scheduled {
        match self.try_schedule(request).await {
            Ok(scheduled) => scheduled,
            Err(refused) => Scheduled::Answer(refused.into()),
        }
    }

    async fn try_schedule(&self, request: SchedulerRequest) -> Result<Scheduled, Refused> {
        if request.method != "POST" {
            let method = &request.method;
            return Err(Refused::new(
                405,
                format!(
                    "405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{method}'."
                ),
            ));
        }
        let media = Media::of_content(request.content_type.as_deref())?;
        let stream = request.stream_id.as_deref().and_then(|id| id.parse().ok());
        let streams = &self.options.streams;
        let read = streams.read_call(stream, media, &request.body.bytes).await?;
        let subscribe = read.call.subscribe.as_ref();
        let Some(subscribe) = subscribe.filter(|_| read.kind == CallType::Subscribe) else {
            return self.call_on_stream(request, media, read).await.map(Scheduled::Answer);
        };
        if request.stream_id.is_some() {
            let why = "Subscribe calls should not include the 'Mesos-Stream-Id' header";
            return Err(Refused::new(400, why));
        }
        let media = Media::acceptable(request.accept.as_deref())?;
        let (id, records) = streams.subscribe(&request.principal, subscribe, media).await?;
        Ok(Scheduled::Stream { id: Some(id), media, records })
    }

    async fn call_on_stream(
        &self,
        request: SchedulerRequest,
        media: Media,
        read: ReadCall,
    ) -> Result<Answer, Refused> {
        let SchedulerRequest { principal, stream_id, body, .. } = request;
        let framework =
            validate::id_text(read.call.framework_id.as_ref()).unwrap_or_default().to_owned();
        let Some(text) = stream_id else {
            self.must_be_subscribed(&framework).await?;
            let why = "All non-subscribe calls should include the 'Mesos-Stream-Id' header";
            return Err(Refused::new(400, why));
        };
        let id = text.parse::<StreamId>().ok();
        let answered = match id {
            Some(id) if id.node() != self.options.node => {
                drop(read);
                self.pass_to_holder(id, principal, media, body).await
            }
            Some(id) => {
                // It may have to wait for its answer, which needs the body no more.
                drop(body);
                self.call_here(id, &principal, read).await
            }
            None => None,
        };
        match answered {
            Some(answer) => Ok(answer),
            None => {
                self.must_be_subscribed(&framework).await?;
                Err(Refused::new(
                    400,
                    format!(
                        "The stream ID '{text}' included in this request didn't match the stream ID currently associated \
                     with framework ID {framework}"
                    ),
                ))
            }
        }
    }

    /// Makes the call on a stream that this node holds; nothing when it holds no such stream.
    async fn call_here(&self, id: StreamId, principal: &str, read: ReadCall) -> Option<Answer> {
        let kind = read.kind;
        let answered = self.options.streams.call(id, principal, read).await?;
        let status = if kind == CallType::UpdateFramework { 200 } else { 202 };
        Some(answered.map_or_else(Answer::from, |()| Answer::empty(status)))
    }

    /// Has the node answer that holds the stream; nothing when it holds no such stream, or is not known.
    async fn pass_to_holder(
        &self,
        id: StreamId,
        principal: String,
        media: Media,
        body: Body,
    ) -> Option<Answer> {
        let node = id.node();
        let target = Target { node: Some(node), address: self.address_of(node).await? };
        let encoding = match media {
            Media::Json => "json",
            Media::Protobuf => "protobuf",
        };
        let call = Call {
            method: "POST".to_owned(),
            path: format!("{PATH}?stream={id}&body={encoding}"),
            principal,
            body: body.bytes,
            forwarded: false,
        };
        match self.forward_within(&target, &call, HOLDER_LIMIT).await {
            Ok(answer) => Some(answer).filter(|answer| answer.status != NO_SUCH_STREAM),
            Err(failure) => Some(Answer::plain(503, &failure.to_string())),
        }
    }

    /// Answers a call that another node passed on, if it is one on a stream.
    pub(super) async fn answer_for_stream(&self, call: &Call) -> Option<Answer> {
        let query = call.path.strip_prefix(PATH)?.strip_prefix("?stream=")?;
        let (id, encoding) = query.split_once("&body=")?;
        let media = if encoding == "json" { Media::Json } else { Media::Protobuf };
        let no_such_stream = || Answer::plain(NO_SUCH_STREAM, "");
        let Ok(id) = id.parse::<StreamId>() else { return Some(no_such_stream()) };
        Some(match self.options.streams.read_call(Some(id), media, &call.body).await {
            Ok(read) => {
                self.call_here(id, &call.principal, read).await.unwrap_or_else(no_such_stream)
            }
            Err(refused) => refused.into(),
        })
    }

    /// Where a node is reached. One that has only just started may be known a moment later.
    async fn address_of(&self, node: NodeId) -> Option<String> {
        let give_up = Instant::now() + GOSSIP_LIMIT;
        loop {
            let known = self.options.gossip.view().peers.get(&node).map(|it| it.facts.address_quic);
            if let Some(address) = known {
                return Some(address.to_string());
            }
            if self.options.net.reaches(node) {
                // The connection that there is needs no address.
                return Some(String::new());
            }
            if Instant::now() >= give_up {
                return None;
            }
            tokio::time::sleep(PICTURE_AGE).await;
        }
    }

    /// Whether a call could be taken if it named the right stream. The leader's picture may be a moment
    /// behind, so a framework that is not in it is looked up once more.
    async fn must_be_subscribed(&self, framework: &str) -> Result<(), Refused> {
        match self.is_subscribed(framework).await {
            Err(refused) if refused.status == 400 => {
                tokio::time::sleep(PICTURE_AGE).await;
                self.is_subscribed(framework).await
            }
            answered => answered,
        }
    }

    async fn is_subscribed(&self, framework: &str) -> Result<(), Refused> {
        let unknown = || Refused::new(400, "Framework cannot be found");
        let call = Call::read("/api/frameworks".to_owned());
        let listed = self.answer_by_leader(&Leading::Frameworks(None), &call).await;
        let listed = listed.map_err(|failure| Refused::new(503, failure.to_string()))?;
        let listed: Vec<Listed> = serde_json::from_slice(&listed.body).map_err(|_| unknown())?;
        let cluster = self.options.tracker.leader().borrow().as_ref().map(|it| it.fence.cluster);
        let id = cluster.and_then(|it| meshos_mesos::convert::ids::read_framework(it, framework));
        let found = listed.into_iter().find(|listed| Some(listed.id) == id);
        match found.ok_or_else(unknown)?.state.as_str() {
            "closed" => Err(unknown()),
            "subscribed" => Ok(()),
            _ => Err(not_subscribed()),
        }
    }
}

/// Between nodes: the stream is not held here.
const NO_SUCH_STREAM: u16 = 410;

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        let allow = (refused.status == 405).then_some("POST");
        Self { allow, ..Self::plain(refused.status, &refused.message) }
    }
}
