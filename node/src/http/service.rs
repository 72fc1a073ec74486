//! Accepts connections, within bounds, and has warp serve them.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use hyper::{
    Request,
    body::{Body, Frame, Incoming, SizeHint},
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use meshos_protocol::executor::EXECUTORS_PER_AGENT_MAX;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warp::{
    filters::BoxedFilter,
    http::{HeaderMap, header::AUTHORIZATION},
    reply::Response,
};

use super::{
    address::Names,
    gate::{Gate, Keys},
    idle::{Connection, KNOWN_IDLE, UnderWay, Who},
    peer::Peer,
    places::{Place, Places},
    principals::Principals,
    routes::{Port, routes},
    token::Token,
};
use crate::{api::Api, config::NodeOptions, driver::agent::Credential};

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
    /// Connections that may be open; more are closed at once, or others for them.
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
    /// One was closed for another.
    fn made_room(&self);
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

    fn made_room(&self) {
        self.metrics().http().made_room();
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
    let places = Places::new(limits.connections);
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
        let Some(place) = places.take() else {
            tracing::warn!(limit = limits.connections, "too many HTTP connections: one is closed");
            counts.refused();
            continue;
        };
        if place.made {
            tracing::warn!(
                limit = limits.connections,
                "too many HTTP connections: one of whoever has most is closed for a new one"
            );
            counts.made_room();
        }
        let known = place.connection.clone();
        let held = Held::new(Arc::clone(&counts), place);
        let (routes, stop) = (routes.clone(), stop.clone());
        open.spawn(async move {
            serve_connection(stream, routes, known, limits, stop).await;
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
    _place: Place,
}

impl<C: Connections> Held<C> {
    fn new(counts: Arc<C>, place: Place) -> Self {
        counts.opened();
        Self { counts, _place: place }
    }
}

impl<C: Connections> Drop for Held<C> {
    fn drop(&mut self) {
        self.counts.closed();
    }
}

async fn serve_connection(
    stream: TcpStream,
    routes: BoxedFilter<(Response,)>,
    known: Connection,
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
    let Some(peer) = Peer::of(&stream) else { return };
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(KNOWN_IDLE)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .half_close(false);
    let (served, handle) = (TowerToHyperService::new(warp::service(routes)), known.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        let asked = handle.asks();
        let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(handle.clone());
        let (answer, peer) = (served.call(request), peer.clone());
        async move {
            let response = answer.await?;
            let executor = Api::is_executor_path(&path);
            let who = Who { credential: shown(&headers, &peer), executor };
            asked.answered(&path, response.status(), who);
            Ok::<_, std::convert::Infallible>(response.map(|body| Sent { body, _asked: asked }))
        }
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

/// What a caller shows, or whose process it is when it shows nothing and that was asked for.
fn shown(headers: &HeaderMap, peer: &Peer) -> Option<Credential> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return peer.known_user().map(Credential::User);
    };
    let text = value.to_str().ok()?;
    // However its scheme is written.
    text.split_once(' ').map(|(_, shown)| Credential::token(shown.trim()))
}

/// A body that is being sent, until the connection is done with it.
struct Sent<B> {
    body: B,
    _asked: UnderWay,
}

impl<B: Body + Unpin> Body for Sent<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
