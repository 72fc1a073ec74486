//! The operator API's stream of events. What is told next is asked for when the client has taken what was told before, so that a
//! slow reader holds one answer and no more.

use std::{
    collections::VecDeque, convert::Infallible, future::Future, pin::Pin, sync::Arc, time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use meshos_mesos::{
    codec::{self, Media},
    reads::events,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use warp::{
    Reply as _,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    reply::Response,
};

use super::{
    idle::Connection,
    reads::{PIECE_BYTES, TAKE_LIMIT, read_of, sending_limit},
    routes::{Answers, Handler},
};
use crate::{
    api::{ANSWER_BYTES_MAX, Answer, packing},
    budget::Permit,
};

/// Streams of events that a node holds.
pub(super) const STREAMS_MAX: usize = 32;
/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(15);

type Asked = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// One client's stream.
struct Events<A> {
    answers: Arc<A>,
    media: Media,
    principal: String,
    /// What was told last, as the leader calls it.
    seen: String,
    /// Records that the client has not taken.
    waiting: VecDeque<Bytes>,
    /// What is being asked for.
    asked: Option<Asked>,
    heartbeat_at: Instant,
}

fn word(media: Media) -> &'static str {
    match media {
        Media::Json => "json",
        Media::Protobuf => "protobuf",
    }
}

/// The records of an answer, the first of them without its length and as text.
fn records(mut rest: Bytes) -> Option<(String, VecDeque<Bytes>)> {
    let mut records = VecDeque::new();
    while !rest.is_empty() {
        let line = rest.iter().position(|byte| *byte == b'\n')?;
        let length: usize = std::str::from_utf8(&rest[..line]).ok()?.parse().ok()?;
        let end = (line + 1).checked_add(length).filter(|end| *end <= rest.len())?;
        records.push_back(rest.split_to(end));
    }
    let first = records.pop_front()?;
    let text = first.iter().position(|byte| *byte == b'\n')? + 1;
    Some((String::from_utf8(first[text..].to_vec()).ok()?, records))
}

/// The records of what the leader answered, which keep the memory that was taken for them; the answer itself when it is no success.
async fn told(answer: Answer, held: Option<Permit>) -> Result<(String, VecDeque<Bytes>), Answer> {
    if answer.status != 200 {
        return Err(answer);
    }
    let is_packed = answer.packed;
    let read = move || {
        let body = if answer.packed {
            packing::unpack(&answer.body, ANSWER_BYTES_MAX).ok()?
        } else {
            answer.body
        };
        records(match held {
            Some(held) => held.hold(body),
            None => Bytes::from(body),
        })
    };
    // Tens of megabytes take a while.
    let read =
        if is_packed { tokio::task::spawn_blocking(read).await.ok().flatten() } else { read() };
    read.ok_or_else(|| Answer::plain(503, "the leader's answer cannot be read"))
}

/// Hands a record over in pieces; says whether each of them and all together were taken in time.
async fn hand_over(
    mut record: Bytes,
    taken: &mpsc::Sender<Bytes>,
    (each, all): (Duration, Duration),
) -> bool {
    let handed = async {
        while !record.is_empty() {
            let piece = record.split_to(record.len().min(PIECE_BYTES));
            if !matches!(timeout(each, taken.send(piece)).await, Ok(Ok(()))) {
                return false;
            }
        }
        true
    };
    timeout(all, handed).await.unwrap_or(false)
}

impl<A: Answers> Events<A> {
    fn ask(&self) -> Asked {
        let path = format!("/mesos/events?as={}&after={}", word(self.media), self.seen);
        let call = read_of(path, self.principal.clone());
        let answers = Arc::clone(&self.answers);
        Box::pin(async move { answers.answer(call).await })
    }

    /// Hands over record after record until the client is gone, or is to subscribe anew.
    async fn run(mut self, taken: mpsc::Sender<Bytes>, connection: Option<Connection>) {
        loop {
            let record = tokio::select! {
                biased;
                () = taken.closed() => return,
                record = self.next() => record,
            };
            let Some(record) = record else { return };
            let limits = (TAKE_LIMIT, sending_limit(record.len()));
            if !hand_over(record, &taken, limits).await {
                // Half a record is no end that a client would understand, and what it has not taken is in memory.
                connection.iter().for_each(Connection::cut);
                return;
            }
        }
    }

    /// The next record; nothing when the client is to subscribe anew, as when a leader's stream ends in Mesos.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(record) = self.waiting.pop_front() {
                return Some(record);
            }
            let mut asked = self.asked.take().unwrap_or_else(|| self.ask());
            let answer = tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.heartbeat_at) => {
                    self.asked = Some(asked);
                    self.heartbeat_at = Instant::now() + HEARTBEAT;
                    return Some(codec::record(self.media, &events::heartbeat()).into());
                }
                answer = asked.as_mut() => answer,
            };
            match told(answer, None).await {
                Ok((seen, records)) => (self.seen, self.waiting) = (seen, records),
                Err(answer) => {
                    tracing::debug!(status = answer.status, "a stream of events ends");
                    return None;
                }
            }
        }
    }
}

impl<A: Answers> Handler<A> {
    /// Tells a client what happens, as it happens.
    pub(super) async fn watch(
        &self,
        media: Media,
        principal: String,
        connection: Option<Connection>,
    ) -> Response {
        match self.begin_to_watch(media, principal, connection).await {
            Ok(records) => {
                self.answers.answered(200);
                let mut response = warp::reply::stream(records).into_response();
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(media.name()));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            Err(answer) => {
                let answer = Answer::plain(answer.status, &answer.message());
                self.respond_held(answer, None)
            }
        }
    }

    async fn begin_to_watch(
        &self,
        media: Media,
        principal: String,
        connection: Option<Connection>,
    ) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + Send + use<A>, Answer> {
        let busy = || Answer::plain(503, "this node holds too many streams of events: ask another");
        let slot = self.gate.watchers().try_acquire_owned().map_err(|_| busy())?;
        let held = self.gate.answers().take(ANSWER_BYTES_MAX).await.ok_or_else(busy)?;
        let path = format!("/mesos/events?as={}", word(media));
        let (answers, call) = (Arc::clone(&self.answers), read_of(path, principal.clone()));
        // Beside the connection: one that is closed meanwhile must not give back the memory of what is still being made.
        let made = tokio::spawn(async move { told(answers.answer(call).await, Some(held)).await });
        let stopping = |_| Err(Answer::plain(503, "the node is being stopped"));
        let (seen, mut waiting) = made.await.unwrap_or_else(stopping)?;
        waiting.push_back(codec::record(media, &events::heartbeat()).into());
        let events = Events {
            answers: Arc::clone(&self.answers),
            media,
            principal,
            seen,
            waiting,
            asked: None,
            heartbeat_at: Instant::now() + HEARTBEAT,
        };
        // One piece waits for its connection, and the next record is looked for when that has taken it.
        let (taken, taking) = mpsc::channel(1);
        tokio::spawn(events.run(taken, connection));
        // The place is taken until the connection is done with the body.
        Ok(stream::unfold((taking, slot), |(mut taking, slot)| async move {
            let piece = taking.recv().await?;
            Some((Ok(piece), (taking, slot)))
        }))
    }
}

#[cfg(test)]
mod tests;
