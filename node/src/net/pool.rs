//! One connection a peer, dialled once however many ask for it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use meshos_protocol::ids::NodeId;
use meshos_sdk::wire::{self, ANY_NODE_NAME, WireError, node_server_name};
use tokio::sync::SetOnce;

use super::{Handler, Link, Net, incoming};

/// How long a dial may take.
const DIAL_LIMIT: Duration = Duration::from_secs(3);
/// How long after a failed dial the next attempt is refused at once, so that callers in a loop do
/// not dial a dead node without pause.
const DIAL_PAUSE: Duration = Duration::from_millis(100);

/// Whom to connect to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// The node, checked against its certificate; any node of the cluster when absent.
    pub node: Option<NodeId>,
    /// `host:port` of its QUIC port.
    pub address: String,
}

/// All connections of one endpoint.
#[derive(Default)]
pub(super) struct Pool {
    slots: Mutex<BTreeMap<Target, Arc<Slot>>>,
    /// The newest connection of each node, whoever dialled.
    nodes: Mutex<BTreeMap<NodeId, Arc<Link>>>,
    /// Serves the streams that peers open on connections which this node dialled.
    handler: SetOnce<Arc<dyn Handler>>,
}

#[derive(Default)]
struct Slot {
    state: tokio::sync::Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    link: Option<Arc<Link>>,
    failed: Option<(Instant, WireError)>,
}

impl Pool {
    pub(super) async fn link(&self, net: &Net, target: &Target) -> Result<Arc<Link>, WireError> {
        if let Some(link) = target.node.and_then(|node| self.known(node)) {
            return Ok(link);
        }
        let slot = Arc::clone(lock(&self.slots).entry(target.clone()).or_default());
        let mut state = slot.state.lock().await;
        if let Some(link) = state.link.as_ref().filter(|link| link.is_usable()) {
            // The node at the address may have started again and dialled since.
            let newest = link.node.and_then(|node| self.known(node));
            return Ok(newest.unwrap_or_else(|| Arc::clone(link)));
        }
        if let Some((when, why)) = &state.failed
            && when.elapsed() < DIAL_PAUSE
        {
            return Err(why.clone());
        }
        match dial(net, target).await {
            Ok(link) => {
                *state = SlotState { link: Some(Arc::clone(&link)), failed: None };
                Ok(link)
            }
            Err(error) => {
                let failed = Some((Instant::now(), error.clone()));
                *state = SlotState { link: None, failed };
                Err(error)
            }
        }
    }

    /// Remembers the newest connection of a node: after a restart of the peer the older one leads
    /// nowhere.
    pub(super) fn remember(&self, node: NodeId, link: Arc<Link>) {
        lock(&self.nodes).insert(node, link);
    }

    /// From now on streams are served.
    pub(super) fn set_handler(&self, handler: Arc<dyn Handler>) {
        // An endpoint is served once; a second handler would be a mistake of the caller.
        let _first = self.handler.set(handler);
    }

    /// Who serves streams, as soon as that is known.
    pub(super) async fn handler(&self) -> Arc<dyn Handler> {
        Arc::clone(self.handler.wait().await)
    }

    /// The newest live connection of a node.
    pub(super) fn known(&self, node: NodeId) -> Option<Arc<Link>> {
        let mut nodes = lock(&self.nodes);
        let link = nodes.get(&node)?;
        if link.is_usable() {
            return Some(Arc::clone(link));
        }
        nodes.remove(&node);
        None
    }
}

async fn dial(net: &Net, target: &Target) -> Result<Arc<Link>, WireError> {
    let limit_ms = meshos_protocol::time::millis(DIAL_LIMIT);
    match tokio::time::timeout(DIAL_LIMIT, dial_any_address(net, target)).await {
        Ok(result) => result,
        Err(_) => Err(WireError::TimedOut(limit_ms)),
    }
}

async fn dial_any_address(net: &Net, target: &Target) -> Result<Arc<Link>, WireError> {
    let address = &target.address;
    let unresolved = |why: String| WireError::Lost(format!("cannot resolve {address:?}: {why}"));
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(address.as_str())
        .await
        .map_err(|error| unresolved(error.to_string()))?
        .take(8)
        .collect();
    let mut last = unresolved("no address".into());
    for socket in addresses {
        match dial_one(net, target, socket).await {
            Ok(link) => return Ok(link),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn dial_one(net: &Net, target: &Target, address: SocketAddr) -> Result<Arc<Link>, WireError> {
    let name = target.node.map_or_else(|| ANY_NODE_NAME.to_owned(), node_server_name);
    let inner = net.inner();
    let connection = inner
        .endpoint
        .connect_with(inner.client.clone(), address, &name)
        .map_err(|error| WireError::Lost(format!("cannot dial {address}: {error}")))?
        .await
        .map_err(|error| wire::lost(&address, &error))?;
    let link = Arc::new(Link::new(connection.clone(), inner.cluster.clone()));
    if let Some(node) = link.node {
        inner.pool.remember(node, Arc::clone(&link));
    }
    incoming::serve_dialled(net, connection);
    Ok(link)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
