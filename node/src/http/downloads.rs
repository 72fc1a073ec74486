//! Files of sandboxes, handed out piece by piece: what the client has not taken is not read yet.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use meshos_mesos::reads::files::Attachment;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use warp::{
    Reply as _,
    http::{
        HeaderMap, HeaderValue, Method,
        header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE},
    },
    reply::Response,
};

use super::{
    gate::Refused,
    idle::Connection,
    reads::{RATE_MIN, TAKE_LIMIT, Wanted, not_allowed, read_of},
    routes::{Answers, Handler, Port},
};
use crate::api::{Answer, Api, FileFacts, PIECE_BYTES};

/// Files that a node hands out at once.
const DOWNLOADS_MAX: usize = 32;
/// How many of them for one principal.
const EACH_MAX: usize = DOWNLOADS_MAX / 4;
/// What is taken here.
const METHODS: &str = "GET, HEAD";

/// Who is handed out files.
#[derive(Debug, Default)]
pub(super) struct Slots(Arc<Mutex<BTreeMap<String, usize>>>);

/// A place among these files, given back when dropped.
#[derive(Debug)]
struct Slot {
    taken: Arc<Mutex<BTreeMap<String, usize>>>,
    principal: String,
}

impl Slots {
    /// A place for a principal.
    ///
    /// # Errors
    /// 503 when there is none.
    fn take(&self, principal: &str) -> Result<Slot, Refused> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(principal).copied().unwrap_or_default();
        let message = if taken.values().sum::<usize>() >= DOWNLOADS_MAX {
            format!(
                "this node hands out {DOWNLOADS_MAX} files, which is the most that it does at once: try again, or ask another \
                 node"
            )
        } else if own >= EACH_MAX {
            format!(
                "this node hands out {EACH_MAX} files to {principal}, which is the most for one principal: wait until one of \
                 them has ended, or ask another node"
            )
        } else {
            taken.insert(principal.to_owned(), own + 1);
            return Ok(Slot { taken: Arc::clone(&self.0), principal: principal.to_owned() });
        };
        Err(Refused { status: 503, message })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let left = taken.get(&self.principal).map_or(0, |own| own.saturating_sub(1));
        if left == 0 {
            taken.remove(&self.principal);
        } else {
            taken.insert(self.principal.clone(), left);
        }
    }
}

/// How long a client may still be waited for. It grows with what is handed out, as that of long answers does, but not for later:
/// whoever was quick at first must not take its time at the end.
#[derive(Debug)]
struct Patience(Duration);

impl Patience {
    /// So many bytes more are to be taken.
    fn gains(&mut self, bytes: usize) {
        let rate = u64::try_from(RATE_MIN).unwrap_or(u64::MAX);
        let millis = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000) / rate;
        self.0 = self.0.saturating_add(Duration::from_millis(millis)).min(TAKE_LIMIT);
    }

    /// It was waited for.
    fn loses(&mut self, waited: Duration) {
        self.0 = self.0.saturating_sub(waited);
    }
}

/// A file that is handed out.
struct Download<A> {
    answers: Arc<A>,
    principal: String,
    of_agent: bool,
    facts: FileFacts,
    /// How much of it was handed out.
    offset: u64,
}

impl<A: Answers> Download<A> {
    /// The next piece; nothing at the end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let left = self.facts.size.saturating_sub(self.offset);
        if left == 0 {
            return Ok(None);
        }
        let length = left.min(u64::try_from(PIECE_BYTES).unwrap_or(u64::MAX));
        let path = Api::file_piece_path(self.of_agent, &self.facts.path, self.offset, length);
        let answer = self.answers.answer(read_of(path, self.principal.clone())).await;
        if answer.status != 200 {
            return Err(io::Error::other(answer.message()));
        }
        let piece = Bytes::from(answer.body);
        if piece.is_empty() {
            // The client was told how long it is, and must not take this for all of it.
            return Err(io::Error::other("the file was cut short while it was handed out"));
        }
        self.offset = self.offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        Ok(Some(piece))
    }

    /// Hands over piece after piece until the client has all, is gone, or takes them too slowly; `done` is when the connection
    /// needs none any more.
    async fn run(
        mut self,
        taken: mpsc::Sender<io::Result<Bytes>>,
        connection: Option<Connection>,
        done: CancellationToken,
    ) {
        // What it has not taken is in memory, and its place is for others.
        let cut = || connection.iter().for_each(Connection::cut);
        let mut patience = Patience(TAKE_LIMIT);
        loop {
            let piece = tokio::select! {
                biased;
                () = taken.closed() => return,
                piece = self.next() => piece.transpose(),
            };
            let Some(piece) = piece else { break };
            if let Err(error) = &piece {
                let path = &self.facts.path;
                tracing::debug!(%path, %error, "a file is not handed out to its end");
            }
            let is_last = piece.is_err();
            patience.gains(piece.as_ref().map_or(0, Bytes::len));
            let begun = Instant::now();
            match timeout(patience.0, taken.send(piece)).await {
                Ok(Ok(())) if !is_last => patience.loses(begun.elapsed()),
                Ok(Ok(())) => break,
                Ok(Err(_)) => return,
                Err(_) => return cut(),
            }
        }
        // The end is told, and what was handed out last may still be there.
        drop(taken);
        if timeout(patience.0, done.cancelled()).await.is_err() {
            cut();
        }
    }
}

impl<A: Answers> Handler<A> {
    /// Hands out a file.
    pub(super) async fn download(
        &self,
        request: (&Method, &str, &str),
        headers: &HeaderMap,
        connection: Option<Connection>,
    ) -> Response {
        match self.find_download(request, headers).await {
            Ok(Ok((download, slot))) => {
                self.answers.answered(200);
                handed_out(download, slot, connection)
            }
            Ok(Err(answer)) => self.respond_held(answer, None),
            Err(refused) => self.refuse(refused, METHODS),
        }
    }

    /// What is to be handed out, or what is answered instead.
    async fn find_download(
        &self,
        (method, path, query): (&Method, &str, &str),
        headers: &HeaderMap,
    ) -> Result<Result<(Download<A>, Slot), Answer>, Refused> {
        let principal = self.gate.admit(path, headers)?.principal;
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(not_allowed("'GET', 'HEAD'", method));
        }
        let slot = self.gate.downloads().take(&principal)?;
        let of_agent = self.port != Port::Cluster;
        let call = read_of(Api::file_facts_path(of_agent, query), principal.clone());
        let answer = self.answers.answer(call).await;
        if answer.status != 200 {
            return Ok(Err(Wanted::of_mesos(headers).form(answer).await));
        }
        let facts = serde_json::from_slice(&answer.body).map_err(|error| Refused {
            status: 503,
            message: format!("what is known of the file cannot be read: {error}"),
        })?;
        let answers = Arc::clone(&self.answers);
        Ok(Ok((Download { answers, principal, of_agent, facts, offset: 0 }, slot)))
    }
}

fn handed_out<A: Answers>(
    download: Download<A>,
    slot: Slot,
    connection: Option<Connection>,
) -> Response {
    let Attachment { content_type, disposition } = Attachment::of(&download.facts.path);
    let size = download.facts.size;
    let (taken, pieces) = mpsc::channel(1);
    let done = CancellationToken::new();
    // The place is taken until the connection is done with the body.
    let held = (slot, done.clone().drop_guard());
    tokio::spawn(download.run(taken, connection, done));
    let state: (mpsc::Receiver<io::Result<Bytes>>, _) = (pieces, held);
    let pieces = stream::unfold(state, |(mut pieces, held)| async move {
        pieces.recv().await.map(|piece| (piece, (pieces, held)))
    });
    let mut response = warp::reply::stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    let plain = HeaderValue::from_static("attachment");
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_str(&disposition).unwrap_or(plain));
    // What tasks wrote must not be taken for a page, and is not the same for long.
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_principal_has_a_quarter_of_the_places() {
        let slots = Slots::default();
        let take = |who: &str| slots.take(who).map_err(|refused| refused.message);
        let mut held: Vec<Slot> = (0..EACH_MAX).map(|_| take("one").unwrap()).collect();
        assert!(take("one").unwrap_err().contains("8 files to one"));
        for who in ["two", "three", "four"] {
            held.extend((0..EACH_MAX).map(|_| take(who).unwrap()));
        }
        assert!(take("five").unwrap_err().contains("32 files, which"));
        held.remove(0);
        held.push(take("one").unwrap());
        held.clear();
        assert!(slots.0.lock().unwrap().is_empty(), "who takes nothing is not remembered");
    }

    #[test]
    fn a_client_must_keep_up_with_the_least_rate() {
        const PIECE: usize = 4 * RATE_MIN;
        let mut patience = Patience(TAKE_LIMIT);
        // However quick it was.
        (0..1_000).for_each(|_| patience.gains(PIECE));
        assert_eq!(patience.0, TAKE_LIMIT);
        // A piece in five seconds is one second too late each time.
        let mut pieces = 0;
        while !patience.0.is_zero() {
            patience.gains(PIECE);
            patience.loses(Duration::from_secs(5));
            pieces += 1;
        }
        assert_eq!(pieces, 56);
        // A piece in four seconds is taken for as long as there are any.
        let mut patience = Patience(Duration::from_secs(1));
        for _ in 0..1_000 {
            patience.gains(PIECE);
            patience.loses(Duration::from_secs(4));
        }
        assert_eq!(patience.0, Duration::from_secs(1));
    }
}
