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
    sync::{OwnedSemaphorePermit, mpsc},
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
    reads::read_of,
    routes::{Answers, Handler},
};
use crate::{
    api::{ANSWER_BYTES_MAX, Answer, packing},
    budget::Permit,
};

/// Streams of events that a node holds.
pub(super) const STREAMS_MAX: usize = 32;
/// How long a client may take nothing at all.
const TAKE_LIMIT: Duration = Duration::from_secs(60);
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
    /// Memory of the first event, until it is taken.
    held: Option<Permit>,
    _slot: OwnedSemaphorePermit,
}

fn word(media: Media) -> &'static str {
    match media {
        Media::Json => "json",
        Media::Protobuf => "protobuf",
    }
}

/// The records of an answer, the first of them without its length and as text.
fn records(body: Vec<u8>) -> Option<(String, VecDeque<Bytes>)> {
    let mut rest = Bytes::from(body);
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

/// The records of what the leader answered; the answer itself when it is no success.
fn told(answer: Answer) -> Result<(String, VecDeque<Bytes>), Answer> {
    if answer.status != 200 {
        return Err(answer);
    }
    let body = if answer.packed {
        packing::unpack(&answer.body, ANSWER_BYTES_MAX).ok()
    } else {
        Some(answer.body)
    };
    let garbled = || Answer::plain(503, "the leader's answer cannot be read");
    body.and_then(records).ok_or_else(garbled)
}

impl<A: Answers> Events<A> {
    fn ask(&self) -> Asked {
        let path = format!("/mesos/events?as={}&after={}", word(self.media), self.seen);
        let call = read_of(path, self.principal.clone());
        let answers = Arc::clone(&self.answers);
        Box::pin(async move { answers.answer(call).await })
    }

    /// Hands over record after record until the client is gone, or is to subscribe anew.
    async fn run(mut self, taken: mpsc::Sender<Bytes>) {
        loop {
            let record = tokio::select! {
                biased;
                () = taken.closed() => return,
                record = self.next() => record,
            };
            let Some(record) = record else { return };
            if !matches!(timeout(TAKE_LIMIT, taken.send(record)).await, Ok(Ok(()))) {
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
            self.held = None;
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
            match told(answer) {
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
    pub(super) async fn watch(&self, media: Media, principal: String) -> Response {
        match self.begin_to_watch(media, principal).await {
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
    ) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + Send + use<A>, Answer> {
        let busy = || Answer::plain(503, "this node holds too many streams of events: ask another");
        let slot = self.gate.watchers().try_acquire_owned().map_err(|_| busy())?;
        let held = self.gate.answers().take(ANSWER_BYTES_MAX).await.ok_or_else(busy)?;
        let path = format!("/mesos/events?as={}", word(media));
        let answer = self.answers.answer(read_of(path, principal.clone())).await;
        let (seen, mut waiting) = told(answer)?;
        waiting.push_back(codec::record(media, &events::heartbeat()).into());
        let events = Events {
            answers: Arc::clone(&self.answers),
            media,
            principal,
            seen,
            waiting,
            asked: None,
            heartbeat_at: Instant::now() + HEARTBEAT,
            held: Some(held),
            _slot: slot,
        };
        // One record waits for its connection, and the next is looked for when that has taken it.
        let (taken, taking) = mpsc::channel(1);
        tokio::spawn(events.run(taken));
        Ok(stream::unfold(taking, |mut taking| async move {
            let record = taking.recv().await?;
            Some((Ok(record), taking))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_apart_and_garbage_is_refused() {
        let body = b"3\n3-72\n{}0\n".to_vec();
        let (seen, records) = records(body).unwrap();
        assert_eq!(
            (seen.as_str(), records),
            ("3-7", [&b"2\n{}"[..], b"0\n"].map(Bytes::from).into())
        );
        for body in
            ["", "x", "3\n3-", "2\n3-7", "\n", "99999999999999999999\nx", "18446744073709551615\nx"]
        {
            assert_eq!(super::records(body.as_bytes().to_vec()), None, "{body:?}");
        }
        assert_eq!(told(Answer::plain(410, "x")).unwrap_err().status, 410);
        assert_eq!(told(Answer::plain(200, "x")).unwrap_err().status, 503);
    }
}
