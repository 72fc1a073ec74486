//! The gossip socket, sealed, as the transport that chitchat runs over.
//!
//! The socket, its seal and its memory of what was received outlive chitchat, which may have to be
//! started again. Each time it opens the transport it gets a new pair of queues and two tasks that
//! work them off: so chitchat's loop never waits for the network, and giving up a `recv` loses
//! nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;
use async_trait::async_trait;
use chitchat::{
    ChitchatEnvelope,
    transport::{RecvOutcome, SendOutcome, Socket, Transport},
};
use meshos_protocol::ids::NodeId;
use ring::rand::SystemRandom;
use tokio::{
    net::UdpSocket,
    sync::{Notify, mpsc},
    time::timeout,
};

use super::{
    codec::{CodecError, Decoder, Encoder},
    counters::Tally,
    options::{GossipError, Options},
    seal::{Kind, Message, Opener, PACKET_BYTES_MAX, Rejected, Sealer},
};
use crate::view::{Refusal, Refusals};

/// Messages that wait to be sent: a round of ours makes five, a reply one each. More are dropped,
/// as the network would; gossip repeats itself.
const OUTBOUND_QUEUE: usize = 256;
/// Messages that wait for chitchat's loop.
const INBOUND_QUEUE: usize = 256;
/// How long a packet may wait for room in the socket's buffer.
const SEND_TIMEOUT: Duration = Duration::from_millis(100);
/// How often the same refusal is told.
const REFUSAL_QUIET: Duration = Duration::from_secs(60);
/// Refusals that are remembered as told.
const REFUSALS_KEPT: usize = 1_024;

/// Who is let in.
#[derive(Debug, Default)]
struct Admission {
    /// The nodes that are in.
    nodes: BTreeSet<NodeId>,
    /// No other is let in.
    full: bool,
    /// When each refusal was last told.
    told: BTreeMap<NodeId, Instant>,
    refusals: Refusals,
}

/// The socket and what belongs to it.
#[derive(Debug)]
pub(super) struct Wire {
    socket: UdpSocket,
    address: SocketAddr,
    nodes_max: usize,
    sealer: Mutex<Sealer>,
    opener: Mutex<Opener>,
    admission: Mutex<Admission>,
    /// Told when a refusal is to be shown.
    pub(super) changed: Notify,
    pub(super) tally: Tally,
    #[cfg(test)]
    pub(super) break_next: std::sync::atomic::AtomicBool,
}

impl Wire {
    pub(super) async fn bind(options: &Options) -> Result<Self, GossipError> {
        let bind = |source| GossipError::Bind { address: options.listen, source };
        let socket = UdpSocket::bind(options.listen).await.map_err(bind)?;
        let address = socket.local_addr().map_err(bind)?;
        let Options { key, tag, node_id, generation, .. } = options;
        let sealer = Sealer::new(key, tag, *node_id, *generation, &SystemRandom::new())
            .ok_or(GossipError::NoRandomness)?;
        Ok(Self {
            socket,
            address,
            nodes_max: options.nodes_max,
            sealer: Mutex::new(sealer),
            opener: Mutex::new(Opener::new(key, tag, *node_id)),
            admission: Mutex::default(),
            changed: Notify::new(),
            tally: Tally::default(),
            #[cfg(test)]
            break_next: std::sync::atomic::AtomicBool::new(false),
        })
    }

    /// Where the socket is bound.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells who is in, so that others can be kept out once the cluster is full.
    pub(super) fn set_admitted(&self, nodes: BTreeSet<NodeId>, full: bool) {
        let mut admission = lock(&self.admission);
        admission.nodes = nodes;
        admission.full = full;
    }

    /// Records that somebody was kept out, once a minute for each.
    pub(super) fn refuse(&self, node: NodeId, refusal: Refusal) {
        let now = Instant::now();
        let mut admission = lock(&self.admission);
        let told = admission.told.get(&node);
        if told.is_some_and(|told| now.duration_since(*told) < REFUSAL_QUIET) {
            return;
        }
        if admission.told.len() >= REFUSALS_KEPT {
            admission.told.clear();
        }
        admission.told.insert(node, now);
        admission.refusals.count += 1;
        tracing::warn!(%node, reason = %refusal, "gossip refused");
        admission.refusals.newest = Some(refusal);
        drop(admission);
        self.changed.notify_one();
    }

    pub(super) fn refusals(&self) -> Refusals {
        lock(&self.admission).refusals.clone()
    }

    /// Gives up messages that stay incomplete.
    pub(super) fn expire(&self) {
        let expired = lock(&self.opener).expire(Instant::now());
        self.tally.incomplete.add(expired);
    }

    /// Seals and sends a message of chitchat, waiting a moment for room in the socket's buffer.
    async fn send(&self, to: SocketAddr, body: &[u8]) {
        let Some(packets) = self.seal(Kind::Gossip, body) else {
            return;
        };
        for packet in &packets {
            let sent = timeout(SEND_TIMEOUT, self.socket.send_to(packet, to)).await;
            if !self.count_sent(to, sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))) {
                return;
            }
        }
        self.tally.messages_sent.add(1);
    }

    /// Tells a node that there is no room for it; not at all when the socket's buffer is full.
    fn send_full(&self, to: SocketAddr) {
        let limit = u32::try_from(self.nodes_max).unwrap_or(u32::MAX);
        for packet in self.seal(Kind::Full, &limit.to_be_bytes()).unwrap_or_default() {
            self.count_sent(to, self.socket.try_send_to(&packet, to));
        }
    }

    fn seal(&self, kind: Kind, body: &[u8]) -> Option<Vec<Vec<u8>>> {
        let sealed = lock(&self.sealer).seal(kind, body);
        match sealed {
            Ok(packets) => Some(packets),
            Err(error) => {
                tracing::warn!(%error, "gossip message not sent");
                self.tally.unsent.add(1);
                None
            }
        }
    }

    fn count_sent(&self, to: SocketAddr, sent: io::Result<usize>) -> bool {
        match sent {
            Ok(_) => self.tally.packets_sent.add(1),
            Err(ref error) => {
                tracing::debug!(%to, %error, "gossip packet not sent");
                self.tally.unsent.add(1);
            }
        }
        sent.is_ok()
    }

    /// Opens a packet and lets in what belongs here.
    fn receive(&self, packet: &[u8], from: SocketAddr) -> Option<Message> {
        self.tally.packets_received.add(1);
        let opened = lock(&self.opener).open(packet, Instant::now());
        let message = match opened {
            Ok(message) => message?,
            Err(rejected) => {
                let counter = match rejected {
                    Rejected::Garbled => &self.tally.garbled,
                    Rejected::Forged => &self.tally.forged,
                    Rejected::Replayed => &self.tally.replayed,
                    Rejected::Crowded => &self.tally.crowded,
                };
                counter.add(1);
                tracing::debug!(%from, reason = ?rejected, "gossip packet dropped");
                return None;
            }
        };
        self.tally.messages_received.add(1);
        match message.kind {
            Kind::Full => {
                self.told_full(&message);
                None
            }
            Kind::Gossip => self.admits(message, from),
        }
    }

    fn admits(&self, message: Message, from: SocketAddr) -> Option<Message> {
        let sender = message.sender;
        let admitted = {
            let admission = lock(&self.admission);
            !admission.full || admission.nodes.contains(&sender)
        };
        if admitted {
            return Some(message);
        }
        let nodes_max = self.nodes_max;
        self.tally.refused.add(1);
        self.refuse(sender, Refusal::ClusterFull { node: sender, nodes_max });
        self.send_full(from);
        None
    }

    fn told_full(&self, message: &Message) {
        let by = message.sender;
        // A node that has let this one in says nothing of the kind; whoever did not is believed,
        // since nothing but a notice follows.
        let limit = message.body.as_slice().try_into().map(u32::from_be_bytes);
        match limit.ok().and_then(|limit| usize::try_from(limit).ok()) {
            Some(nodes_max) => self.refuse(by, Refusal::RefusedByPeer { by, nodes_max }),
            None => self.tally.undecodable.add(1),
        }
    }
}

/// A panic while a lock is held leaves counters and windows that are as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets chitchat open the wire, each time anew.
#[derive(Debug)]
pub(super) struct SealedTransport(pub(super) Arc<Wire>);

#[async_trait]
impl Transport for SealedTransport {
    async fn open(&self, _listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let encoder = Encoder::open().await?;
        let decoder = Decoder::open().await?;
        let (to_wire, outbound) = mpsc::channel(OUTBOUND_QUEUE);
        let (to_chitchat, inbound) = mpsc::channel(INBOUND_QUEUE);
        // Both end when chitchat drops its socket; when one of them breaks, `recv` fails and
        // chitchat ends, which the supervisor sees.
        tokio::spawn(work_outbound(Arc::clone(&self.0), encoder, outbound));
        tokio::spawn(work_inbound(Arc::clone(&self.0), decoder, to_chitchat));
        Ok(Box::new(SealedSocket { wire: Arc::clone(&self.0), to_wire, inbound }))
    }
}

/// Chitchat's end of the queues.
struct SealedSocket {
    wire: Arc<Wire>,
    to_wire: mpsc::Sender<(SocketAddr, ChitchatEnvelope)>,
    inbound: mpsc::Receiver<RecvOutcome>,
}

#[async_trait]
impl Socket for SealedSocket {
    fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.wire.address)
    }

    async fn send(
        &mut self,
        to: SocketAddr,
        envelope: ChitchatEnvelope,
    ) -> anyhow::Result<SendOutcome> {
        match self.to_wire.try_send((to, envelope)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => self.wire.tally.unsent.add(1),
            Err(mpsc::error::TrySendError::Closed(_)) => anyhow::bail!("gossip cannot send"),
        }
        // Not known yet, and chitchat only counts it.
        Ok(SendOutcome { num_bytes_sent: 0 })
    }

    async fn recv(&mut self) -> anyhow::Result<RecvOutcome> {
        let received = self.inbound.recv().await.context("gossip cannot receive")?;
        #[cfg(test)]
        if self.wire.break_next.swap(false, std::sync::atomic::Ordering::SeqCst) {
            panic!("broken by a test");
        }
        Ok(received)
    }
}

async fn work_outbound(
    wire: Arc<Wire>,
    mut encoder: Encoder,
    mut outbound: mpsc::Receiver<(SocketAddr, ChitchatEnvelope)>,
) {
    while let Some((to, envelope)) = outbound.recv().await {
        match encoder.encode(envelope).await {
            Ok(bytes) => wire.send(to, bytes).await,
            Err(error) => {
                tracing::warn!(%error, "gossip message not sent");
                wire.tally.unsent.add(1);
            }
        }
    }
}

async fn work_inbound(wire: Arc<Wire>, decoder: Decoder, inbound: mpsc::Sender<RecvOutcome>) {
    // One byte more than a packet may have, to tell the ones that are too long.
    let mut buffer = [0; PACKET_BYTES_MAX + 1];
    loop {
        let received = tokio::select! {
            biased;
            () = inbound.closed() => return,
            received = wire.socket.recv_from(&mut buffer) => received,
        };
        let (length, from) = match received {
            Ok(received) => received,
            Err(error) if is_transient(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "gossip socket is broken");
                return;
            }
        };
        let Some(message) = wire.receive(&buffer[..length], from) else {
            continue;
        };
        match decoder.decode(&message.body).await {
            Ok(envelope) => {
                let num_bytes_received = message.body.len();
                let outcome = RecvOutcome { from_addr: from, envelope, num_bytes_received };
                if inbound.try_send(outcome).is_err() {
                    wire.tally.crowded.add(1);
                }
            }
            Err(CodecError::Undecodable) => {
                tracing::warn!(%from, sender = %message.sender, "gossip message makes no sense");
                wire.tally.undecodable.add(1);
            }
            Err(error) => {
                tracing::warn!(%error, "gossip message lost");
                wire.tally.crowded.add(1);
            }
        }
    }
}

/// What the network says about an earlier packet, or a moment without memory.
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
        NetworkUnreachable, OutOfMemory, WouldBlock,
    };
    let kind = error.kind();
    matches!(
        kind,
        ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | OutOfMemory
            | WouldBlock
    )
}
