//! Accepts connections, within bounds, and has warp serve them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use hyper::{
    Request,
    body::Incoming,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use meshos_protocol::executor::EXECUTORS_PER_AGENT_MAX;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warp::{
    Filter as _,
    filters::{BoxedFilter, path::FullPath},
    reply::Response,
};

use super::{
    address::Names,
    gate::{Gate, Keys},
    idle::{Connection, KNOWN_IDLE, UnderWay},
    peer::Peer,
    principals::Principals,
    routes::{Port, routes},
    token::Token,
};
use crate::{api::Api, config::NodeOptions};

/// The most bytes that the head of a request may have.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The most headers of a request.
const HEADERS_MAX: usize = 64;
/// How long a stopping node waits for the answers that are under way.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// How long the system waits for a peer to acknowledge what was sent to it.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);
/// After how long without a word the system asks whether a peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// After the system refused to accept a connection, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds of one port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections that may be open; more are closed at once.
    pub connections: usize,
    /// How long the head of a request may take, and how long a connection of a stranger may be idle.
    pub head: Duration,
}

impl Limits {
    /// Those of the agent's port: an executor has a stream, and a connection for its calls.
    const AGENT: Self = Self { connections: 1_024 + 2 * EXECUTORS_PER_AGENT_MAX, ..Self::CLUSTER };
    const CLUSTER: Self = Self { connections: 1_024, head: Duration::from_secs(10) };
}

impl Default for Limits {
    fn default() -> Self {
        Self::CLUSTER
    }
}

/// Counts the connections of a port.
pub(super) trait Connections: Send + Sync + 'static {
    fn opened(&self);
    fn closed(&self);
    fn refused(&self);
}

impl Connections for Api {
    fn opened(&self) {
        self.metrics().http().opened();
    }

    fn closed(&self) {
        self.metrics().http().closed();
    }

    fn refused(&self) {
        self.metrics().http().refused();
    }
}

/// Both ports, taken and not yet served.
pub(crate) struct Service {
    api: Arc<Api>,
    gate: Arc<Gate>,
    cluster: TcpListener,
    agent: TcpListener,
}

impl Service {
    /// Takes both ports and reads the token, or makes one.
    pub(crate) async fn bind(options: &NodeOptions, api: Arc<Api>) -> Result<Self> {
        let keys = if options.open_http {
            for address in [options.listen, options.agent_listen] {
                if !address.ip().is_loopback() {
                    bail!(
                        "HTTP without credentials is served on loopback only, and {address} is not: leave out --open-http"
                    );
                }
            }
            None
        } else {
            let principals =
                options.http_principals.as_deref().map(Principals::load).transpose()?;
            Some(Keys { token: Token::load_or_create(&options.data_dir)?, principals })
        };
        Ok(Self {
            api,
            gate: Arc::new(Gate::new(Names::of(options), keys)),
            cluster: listen(options.listen, "--listen").await?,
            agent: listen(options.agent_listen, "--agent-port").await?,
        })
    }

    /// Serves until `stop`, then lets the answers under way end.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Self { api, gate, cluster, agent } = self;
        let cluster_port = cluster.local_addr().map_or(0, |address| address.port());
        let measuring = api.metrics().clone().run(stop.clone());
        let port = |listener, port| {
            let limits = if port == Port::Cluster { Limits::CLUSTER } else { Limits::AGENT };
            let routes = routes(port, Arc::clone(&gate), Arc::clone(&api));
            serve(listener, routes, limits, Arc::clone(&api), stop.clone())
        };
        let of_agent = Port::Agent { cluster: cluster_port };
        tokio::join!(port(cluster, Port::Cluster), port(agent, of_agent), measuring);
    }
}

/// Takes a TCP port; `flag` is what moves it.
pub(super) async fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => bail!(
            "port {} of {} (tcp, HTTP) is taken: is another node running there? choose another port with {flag}",
            address.port(),
            address.ip()
        ),
        Err(error) => Err(error).with_context(|| {
            format!(
                "cannot listen on {address} (tcp, HTTP): choose another address or port with {flag}"
            )
        }),
    }
}

/// Serves one port until `stop`.
pub(super) async fn serve<C: Connections>(
    listener: TcpListener,
    routes: BoxedFilter<(Response,)>,
    limits: Limits,
    counts: Arc<C>,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let open = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            tracing::warn!(limit = limits.connections, "too many HTTP connections: one is closed");
            counts.refused();
            continue;
        };
        let held = Held::new(Arc::clone(&counts), slot);
        let (routes, stop) = (routes.clone(), stop.clone());
        open.spawn(async move {
            serve_connection(stream, routes, limits, stop).await;
            drop(held);
        });
    }
    drop(listener);
    open.close();
    if tokio::time::timeout(STOP_LIMIT, open.wait()).await.is_err() {
        tracing::warn!(connections = open.len(), "HTTP connections are cut off: the node stops");
    }
}

/// A connection's place, given back however the connection ends.
struct Held<C: Connections> {
    counts: Arc<C>,
    _slot: OwnedSemaphorePermit,
}

impl<C: Connections> Held<C> {
    fn new(counts: Arc<C>, slot: OwnedSemaphorePermit) -> Self {
        counts.opened();
        Self { counts, _slot: slot }
    }
}

impl<C: Connections> Drop for Held<C> {
    fn drop(&mut self) {
        self.counts.closed();
    }
}

/// Both ends of a connection, unless it is gone already.
fn peer_of(stream: &TcpStream) -> Option<Peer> {
    Some(Peer::new(stream.local_addr().ok()?, stream.peer_addr().ok()?))
}

async fn serve_connection(
    stream: TcpStream,
    routes: BoxedFilter<(Response,)>,
    limits: Limits,
    stop: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection closed at once");
        return;
    }
    // A peer that vanished is found out by what is sent to it, on streams a heartbeat at least.
    if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED)) {
        tracing::debug!(%error, "a connection has no limit for what is not acknowledged");
    }
    // Nothing may be said for long on some, and one whose peer has vanished must not stay.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4);
    if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
        tracing::debug!(%error, "a connection is not asked whether its peer is there");
    }
    let Some(peer) = peer_of(&stream) else { return };
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(KNOWN_IDLE)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(false);
    let known = Connection::new();
    let service = TowerToHyperService::new(warp::service(watched(routes, known.clone())));
    let handle = known.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(handle.clone());
        service.call(request)
    });
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = known.is_idle(limits.head) => return,
        () = known.is_cut() => return,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}

/// The routes, and word of each request and its answer.
fn watched(routes: BoxedFilter<(Response,)>, connection: Connection) -> BoxedFilter<(Response,)> {
    warp::any()
        .map(move || connection.asks())
        .and(warp::path::full())
        .and(routes)
        .map(|asked: UnderWay, path: FullPath, response: Response| {
            asked.answered(path.as_str(), response.status());
            response
        })
        .boxed()
}
