//! Files of sandboxes, handed out piece by piece: what the client has not taken is not read yet.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use meshos_mesos::reads::files::Attachment;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout,
};
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
    reads::{Wanted, not_allowed, read_of},
    routes::{Answers, Handler, Port},
};
use crate::api::{Answer, Api, FileFacts, PIECE_BYTES};

/// Files that a node hands out at once.
pub(super) const DOWNLOADS_MAX: usize = 32;
/// How long a client may take nothing at all.
const TAKE_LIMIT: Duration = Duration::from_secs(60);
/// What is taken here.
const METHODS: &str = "GET, HEAD";

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

    /// Hands over piece after piece until the client has all, is gone, or takes nothing any more.
    async fn run(mut self, taken: mpsc::Sender<io::Result<Bytes>>, connection: Option<Connection>) {
        loop {
            let piece = tokio::select! {
                biased;
                () = taken.closed() => return,
                piece = self.next() => piece.transpose(),
            };
            let Some(piece) = piece else { return };
            if let Err(error) = &piece {
                let path = &self.facts.path;
                tracing::debug!(%path, %error, "a file is not handed out to its end");
            }
            let is_last = piece.is_err();
            match timeout(TAKE_LIMIT, taken.send(piece)).await {
                Ok(Ok(())) if !is_last => {}
                Ok(_) => return,
                Err(_) => {
                    // What it has not taken is in memory, and its place is for others.
                    connection.iter().for_each(Connection::cut);
                    return;
                }
            }
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
    ) -> Result<Result<(Download<A>, OwnedSemaphorePermit), Answer>, Refused> {
        let principal = self.gate.admit(path, headers)?.principal;
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(not_allowed("'GET', 'HEAD'", method));
        }
        let slot = self.gate.downloads().try_acquire_owned().map_err(|_| {
            let message = format!(
                "this node hands out {DOWNLOADS_MAX} files, which is the most that it does at once: try again, or ask \
                 another node"
            );
            Refused { status: 503, message }
        })?;
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
    slot: OwnedSemaphorePermit,
    connection: Option<Connection>,
) -> Response {
    let Attachment { content_type, disposition } = Attachment::of(&download.facts.path);
    let size = download.facts.size;
    let (taken, pieces) = mpsc::channel(1);
    tokio::spawn(download.run(taken, connection));
    // The place is taken until the connection is done with the body.
    let state: (mpsc::Receiver<io::Result<Bytes>>, _) = (pieces, slot);
    let pieces = stream::unfold(state, |(mut pieces, slot)| async move {
        pieces.recv().await.map(|piece| (piece, (pieces, slot)))
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
