//! One connection to one peer.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use meshos_protocol::{
    ids::ClusterId,
    messages::{
        StreamClass, StreamHello,
        node::{Reply, Request},
    },
};
use meshos_sdk::wire::{self, Opened, WireError};
use tokio::sync::{OnceCell, watch};

use super::requests::RequestClient;

/// One connection to a node, with a stream for requests that is opened at the first one.
pub(crate) struct Link {
    connection: quinn::Connection,
    cluster: watch::Receiver<Option<ClusterId>>,
    requests: OnceCell<RequestClient>,
    /// Set when the peer did not answer a new stream in time: another connection is better.
    deaf: AtomicBool,
}

impl Link {
    pub(super) fn new(
        connection: quinn::Connection,
        cluster: watch::Receiver<Option<ClusterId>>,
    ) -> Self {
        Self { connection, cluster, requests: OnceCell::new(), deaf: AtomicBool::new(false) }
    }

    /// Whether the connection is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.connection.close_reason().is_some()
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
        let ask = async {
            let open = || async {
                Ok::<_, WireError>(RequestClient::start(self.open(StreamClass::Request).await?))
            };
            self.requests.get_or_try_init(open).await?.ask(request).await
        };
        match tokio::time::timeout(limit, ask).await {
            Ok(answer) => answer,
            Err(_) => {
                if !self.requests.initialized() {
                    self.deaf.store(true, Ordering::Relaxed);
                }
                Err(WireError::TimedOut(limit_ms))
            }
        }
    }

    /// Ends the connection when its request stream is broken, so that the next use dials anew.
    pub(super) fn is_usable(&self) -> bool {
        !self.is_closed()
            && !self.deaf.load(Ordering::Relaxed)
            && self.requests.get().is_none_or(|client| !client.is_broken())
    }
}
