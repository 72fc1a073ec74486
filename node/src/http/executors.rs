//! Mesos's executor API: who calls, and what the call is.

use bytes::Buf;
use futures_util::Stream;
use warp::{
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    reply::Response,
};

use super::{
    gate::{Refused, Sender},
    idle::Connection,
    peer::Peer,
    routes::{Answers, Handler, text_of},
};
use crate::{
    api::{Answer, Body, ExecutorRequest, Scheduled},
    driver::agent::Credential,
};

/// What credentials are asked for, as at Mesos's agents.
const REALM: &str = "mesos-agent-executor";
const NOT_KNOWN: &str = "this is for executors of this node alone: show the executor's token as a bearer token, or call as \
                         its user from this machine";

impl<A: Answers> Handler<A> {
    /// Mesos's executor API: its errors are plain texts, and it may answer with a stream.
    pub(super) async fn executor_api<S, B>(
        &self,
        method: Method,
        (peer, connection): (Option<Peer>, Option<Connection>),
        headers: &HeaderMap,
        body: S,
    ) -> Response
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf + Send,
    {
        let answered = match self.read_executor(method, (peer, connection), headers, body).await {
            Ok(request) => self.answers.execute(request).await,
            Err(Refused { status, message }) => Scheduled::Answer(Answer::plain(status, &message)),
        };
        let mut response = self.respond_scheduled(answered, REALM);
        if response.status() == StatusCode::UNAUTHORIZED {
            // No name and password would do.
            let challenge = HeaderValue::from_static("Bearer realm=\"mesos-agent-executor\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }

    async fn read_executor<S, B>(
        &self,
        method: Method,
        (peer, connection): (Option<Peer>, Option<Connection>),
        headers: &HeaderMap,
        body: S,
    ) -> Result<ExecutorRequest, Refused>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf + Send,
    {
        self.gate.check_names(headers)?;
        let credential = credential(peer, headers).await?;
        // Before anything is read of strangers.
        let counted = self.answers.admit_executor(&credential).await.ok_or_else(not_known)?;
        // While its body comes it is no stranger.
        connection.iter().for_each(|connection| connection.admitted(counted));
        let is_post = method == Method::POST;
        let sender = Sender::Executor(counted);
        let (bytes, permit) = self.read_body(is_post, sender, headers, body).await?;
        Ok(ExecutorRequest {
            method: method.to_string(),
            credential,
            content_type: text_of(headers, CONTENT_TYPE.as_str()),
            accept: text_of(headers, ACCEPT.as_str()),
            body: Body { bytes, permit },
        })
    }
}

/// By what the caller is known: its token, or, without one, the user that the system says it runs as.
async fn credential(peer: Option<Peer>, headers: &HeaderMap) -> Result<Credential, Refused> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => {
            let user = match peer {
                Some(peer) => peer.user().await,
                None => None,
            };
            user.map(Credential::User).ok_or_else(not_known)
        }
        (Some(value), None) => {
            let text = value.to_str().ok().and_then(|text| text.split_once(' '));
            let token = text.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            token.map(|(_, token)| Credential::token(token.trim())).ok_or_else(not_known)
        }
        (Some(_), Some(_)) => Err(not_known()),
    }
}

fn not_known() -> Refused {
    Refused { status: 401, message: NOT_KNOWN.to_owned() }
}
