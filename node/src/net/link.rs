//! One connection to one peer.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use meshos_protocol::{
    ids::{ClusterId, NodeId},
    messages::{
        Refusal, StreamClass, StreamHello,
        node::{Reply, Request},
    },
};
use meshos_sdk::wire::{self, Opened, WireError};
use tokio::sync::{OnceCell, watch};

use super::{
    incoming,
    requests::{self, RequestClient},
};

/// One connection to a node, with a stream for requests and one for bulky requests, each opened at
/// the first one.
pub(crate) struct Link {
    /// The peer, as its certificate says; none when it showed none of a node.
    pub(super) node: Option<NodeId>,
    connection: quinn::Connection,
    cluster: watch::Receiver<Option<ClusterId>>,
    requests: OnceCell<RequestClient>,
    /// Absent inside when the peer's release does not know such a stream.
    bulk: OnceCell<Option<RequestClient>>,
    /// Set when the peer did not answer a new stream in time: another connection is better.
    deaf: AtomicBool,
}

impl Link {
    pub(super) fn new(
        connection: quinn::Connection,
        cluster: watch::Receiver<Option<ClusterId>>,
    ) -> Self {
        Self {
            node: incoming::peer_of(&connection).node(),
            connection,
            cluster,
            requests: OnceCell::new(),
            bulk: OnceCell::new(),
            deaf: AtomicBool::new(false),
        }
    }

    /// Whether the connection is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    /// Ends the connection, as a peer that dies does.
    #[cfg(test)]
    pub(super) fn close_for_test(&self) {
        self.connection.close(0u32.into(), b"");
    }

    /// Opens a stream.
    pub(crate) async fn open(&self, class: StreamClass) -> Result<Opened, WireError> {
        let hello = StreamHello::new(*self.cluster.borrow(), class);
        let opened = wire::open_stream(&self.connection, &hello).await;
        if matches!(opened, Err(WireError::TimedOut(_))) {
            self.deaf.store(true, Ordering::Relaxed);
        }
        opened
    }

    /// Asks the peer; several requests may be under way.
    pub(crate) async fn request(
        &self,
        request: Request,
        limit: Duration,
    ) -> Result<Reply, WireError> {
        let limit_ms = meshos_protocol::time::millis(limit);
        let bulky = requests::is_bulky(&request);
        let ask = async {
            let bulk = if bulky { self.bulk_stream().await? } else { None };
            let stream = match bulk {
                Some(stream) => stream,
                None => self.request_stream().await?,
            };
            stream.ask(request).await
        };
        match tokio::time::timeout(limit, ask).await {
            Ok(answer) => answer,
            Err(_) => {
                let opened =
                    if bulky { self.bulk.initialized() } else { self.requests.initialized() };
                if !opened {
                    self.deaf.store(true, Ordering::Relaxed);
                }
                Err(WireError::TimedOut(limit_ms))
            }
        }
    }

    async fn request_stream(&self) -> Result<&RequestClient, WireError> {
        let open = async || Ok(RequestClient::start(self.open(StreamClass::Request).await?));
        self.requests.get_or_try_init(open).await
    }

    /// None with a peer of an older release, which takes bulky requests among the others.
    async fn bulk_stream(&self) -> Result<Option<&RequestClient>, WireError> {
        let open = async || match self.open(StreamClass::Bulk).await {
            Ok(opened) => {
                requests::give_way(&opened.send);
                Ok(Some(RequestClient::start(opened)))
            }
            Err(WireError::Refused { cause: Refusal::Identity | Refusal::Version, message }) => {
                tracing::debug!(%message, "a peer takes bulky requests among the others");
                Ok(None)
            }
            Err(error) => Err(error),
        };
        Ok(self.bulk.get_or_try_init(open).await?.as_ref())
    }

    /// Ends the connection when a stream for requests is broken, so that the next use dials anew.
    pub(super) fn is_usable(&self) -> bool {
        let bulk = self.bulk.get().and_then(Option::as_ref);
        !self.is_closed()
            && !self.deaf.load(Ordering::Relaxed)
            && self.requests.get().is_none_or(|client| !client.is_broken())
            && bulk.is_none_or(|client| !client.is_broken())
    }
}
