//! Requests of tools made for Mesos that change something: by the older endpoints.

use bytes::Buf;
use futures_util::Stream;
use warp::{
    http::{HeaderMap, Method},
    reply::Response,
};

use super::{
    gate::{Refused, Sender},
    reads::{Wanted, not_allowed},
    routes::{Answers, Handler, Port},
};
use crate::{
    api::{Answer, Api, Call, OlderChange},
    budget::Permit,
};

impl<A: Answers> Handler<A> {
    /// What a request to an older endpoint is to change, if it is one that changes something.
    pub(super) fn older_change(&self, method: &Method, path: &str) -> Option<OlderChange> {
        if self.port == Port::Cluster { OlderChange::of(method.as_str(), path) } else { None }
    }

    /// Answers a request to an older endpoint that changes something.
    pub(super) async fn change_by_older<S, B>(
        &self,
        asked: OlderChange,
        (method, path): (&Method, &str),
        headers: &HeaderMap,
        body: S,
    ) -> Response
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf + Send,
    {
        // No other method is refused.
        let allow = if let OlderChange::Takes(method) = &asked { *method } else { "" };
        match self.older_change_call(asked, (method, path), headers, body).await {
            Ok((call, _permit)) => self.respond_held(self.changed(call, headers).await, None),
            Err(refused) => self.refuse(refused, allow),
        }
    }

    /// Has a change carried out.
    pub(super) async fn changed(&self, call: Call, headers: &HeaderMap) -> Answer {
        Wanted::of_mesos(headers).form(self.answers.answer(call).await).await
    }

    async fn older_change_call<S, B>(
        &self,
        asked: OlderChange,
        (method, path): (&Method, &str),
        headers: &HeaderMap,
        body: S,
    ) -> Result<(Call, Option<Permit>), Refused>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: Buf + Send,
    {
        let caller = self.gate.admit(path, headers)?;
        let older = match asked {
            OlderChange::Asked(older) => older,
            OlderChange::Takes(expected) => {
                return Err(not_allowed(&format!("'{expected}'"), method));
            }
        };
        caller.may_change()?;
        let (body, permit) = self.read_body(true, Sender::Other, headers, body).await?;
        let (path, body) = Api::older_call(&older, &body)?;
        Ok((change_of(path, body, caller.principal), permit))
    }
}

/// The call of a change.
pub(super) fn change_of(path: String, body: Vec<u8>, principal: String) -> Call {
    Call { method: "POST".to_owned(), path, principal, body, forwarded: false }
}
