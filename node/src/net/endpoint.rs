//! The one UDP socket for QUIC: listens and dials.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use meshos_protocol::ids::{ClusterId, NodeId};
use meshos_sdk::wire::{self, Credentials, Idle};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Handler, Limits, Link, Target, admission::Admission, incoming, pool::Pool};

/// How an endpoint is made.
pub(crate) struct Options {
    /// This node.
    pub node: NodeId,
    /// Where to listen.
    pub listen: SocketAddr,
    /// This node's certificate and the cluster's authority.
    pub credentials: Credentials,
    /// When silent connections are given up.
    pub idle: Idle,
    /// The cluster, once known.
    pub cluster: watch::Receiver<Option<ClusterId>>,
    /// What peers may take up.
    pub limits: Limits,
    /// A secret of this node that survives restarts, so that peers of the process before learn at
    /// once that their connections are gone.
    pub reset_secret: [u8; 32],
}

/// Listens and dials; cheap to clone.
#[derive(Clone)]
pub(crate) struct Net {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) node: NodeId,
    pub(super) endpoint: quinn::Endpoint,
    pub(super) client: quinn::ClientConfig,
    pub(super) cluster: watch::Receiver<Option<ClusterId>>,
    pub(super) pool: Pool,
    pub(super) admission: Admission,
}

impl Net {
    /// Binds the socket. Nothing is accepted before [`Net::serve`].
    pub(crate) fn bind(options: Options) -> Result<Self> {
        let server = wire::server_config(&options.credentials, options.idle)?;
        let client = wire::client_config(&options.credentials, options.idle)?;
        let socket = std::net::UdpSocket::bind(options.listen).with_context(|| {
            format!(
                "cannot listen on {} (udp, QUIC): is another node running there? \
                 choose another port with --agent-port",
                options.listen
            )
        })?;
        let reset_key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &options.reset_secret);
        let endpoint = quinn::Endpoint::new(
            quinn::EndpointConfig::new(Arc::new(reset_key)),
            Some(server),
            socket,
            Arc::new(quinn::TokioRuntime),
        )
        .context("cannot use the QUIC socket")?;
        let inner = Inner {
            node: options.node,
            endpoint,
            client,
            cluster: options.cluster,
            pool: Pool::default(),
            admission: Admission::new(options.limits),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Accepts connections until `shutdown`, then closes all.
    pub(crate) async fn serve(&self, handler: Arc<dyn Handler>, shutdown: CancellationToken) {
        incoming::accept(self, handler, shutdown).await;
        self.inner.endpoint.close(0u32.into(), b"node stops");
        self.inner.endpoint.wait_idle().await;
    }

    /// A live connection to the target: the one there is, or a new one.
    pub(crate) async fn link(&self, target: &Target) -> Result<Arc<Link>, wire::WireError> {
        self.inner.pool.link(self, target).await
    }

    /// Whether there is a live connection to this node.
    pub(crate) fn reaches(&self, node: NodeId) -> bool {
        self.inner.pool.known(node).is_some()
    }

    /// This node.
    pub(crate) fn node(&self) -> NodeId {
        self.inner.node
    }

    /// Where it listens.
    #[cfg(test)]
    pub(crate) fn address(&self) -> SocketAddr {
        self.inner.endpoint.local_addr().expect("the socket is bound")
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }
}
