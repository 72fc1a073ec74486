//! What is bulky keeps nothing else waiting, between two endpoints on loopback.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use meshos_membership::keys::{Authority, PeerKind, VALIDITY_DEFAULT};
use meshos_protocol::{
    ids::{NodeId, Principal},
    messages::{
        Refusal, StreamClass,
        node::{Reply, Request},
    },
};
use meshos_sdk::wire::{Credentials, Idle, Opened};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Handler, Limits, Net, Options, Peer, Target, requests::BULKY_BYTES};

/// Far beyond what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);
/// As many as one stream has under way at a time.
const SLOTS: usize = 128;

/// Answers at once what is small, and what is bulky when the gate is open.
struct Gated {
    gate: watch::Receiver<bool>,
    held: watch::Sender<usize>,
    knows_bulk: bool,
}

#[async_trait]
impl Handler for Gated {
    fn admit(&self, class: &StreamClass) -> Result<(), (Refusal, String)> {
        match class {
            StreamClass::Bulk if !self.knows_bulk => {
                Err((Refusal::Version, "not known here".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn agent(&self, _: NodeId, _: Opened) {}

    fn scheduler(&self, _: Principal, _: Opened) {}

    fn relay(&self, _: NodeId, _: Principal, _: Opened) {}

    async fn request(&self, _: &Peer, request: Request) -> Reply {
        let Request::Raft { body } = request else { return Reply::Done };
        if body.len() >= BULKY_BYTES {
            self.held.send_modify(|held| *held += 1);
            let mut gate = self.gate.clone();
            drop(gate.wait_for(|open| *open).await);
        }
        Reply::Bytes { body: body.len().to_be_bytes().to_vec() }
    }
}

fn bind(authority: &Authority, node: NodeId) -> Net {
    let issued = authority.issue(&PeerKind::Node(node), VALIDITY_DEFAULT).unwrap();
    let (_, cluster) = watch::channel(None);
    Net::bind(Options {
        node,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        credentials: Credentials {
            authority: issued.authority.clone(),
            certificate: Some((issued.certificate, issued.key)),
        },
        idle: Idle { timeout: PATIENCE, ..Idle::default() },
        cluster,
        limits: Limits::default(),
        reset_secret: [7; 32],
    })
    .unwrap()
}

/// A node that serves, and another's way to it.
struct Pair {
    open: watch::Sender<bool>,
    held: watch::Receiver<usize>,
    from: Net,
    to: Target,
    stop: CancellationToken,
}

impl Pair {
    fn start(knows_bulk: bool) -> Self {
        let authority = Authority::generate().unwrap();
        let (asked, asking) = (NodeId::from_bits(1), NodeId::from_bits(2));
        let serving = bind(&authority, asked);
        let address = serving.inner().endpoint.local_addr().unwrap().to_string();
        let (open, gate) = watch::channel(false);
        let (sender, held) = watch::channel(0);
        let handler = Arc::new(Gated { gate, held: sender, knows_bulk });
        let stop = CancellationToken::new();
        let token = stop.clone();
        tokio::spawn(async move { serving.serve(handler, token).await });
        let to = Target { node: Some(asked), address };
        Self { open, held, from: bind(&authority, asking), to, stop }
    }

    async fn ask(&self, bytes: usize) -> usize {
        ask(self.from.clone(), self.to.clone(), bytes).await
    }

    fn ask_beside(&self, asked: &mut JoinSet<usize>, bytes: usize) {
        asked.spawn(ask(self.from.clone(), self.to.clone(), bytes));
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A message of raft of so many bytes; the answer is how many arrived.
async fn ask(net: Net, to: Target, bytes: usize) -> usize {
    let request = Request::Raft { body: vec![7; bytes] };
    let answer = net.link(&to).await.unwrap().request(request, PATIENCE).await.unwrap();
    let Reply::Bytes { body } = answer else { panic!("an unexpected answer: {answer:?}") };
    usize::from_be_bytes(body.try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_is_answered_while_parts_of_snapshots_are_stuck() {
    let mut pair = Pair::start(true);
    let mut asked = JoinSet::new();
    // The peer takes no more of these before it has answered one.
    for _ in 0..SLOTS {
        pair.ask_beside(&mut asked, BULKY_BYTES);
    }
    pair.held.wait_for(|held| *held == SLOTS).await.unwrap();
    // More than fits into what the peer has not read yet.
    let chunk = 4 << 20;
    pair.ask_beside(&mut asked, chunk);
    assert_eq!(pair.ask(100).await, 100, "a heartbeat");
    assert_eq!(pair.ask(BULKY_BYTES - 1).await, BULKY_BYTES - 1, "a few entries");
    assert!(asked.try_join_next().is_none(), "nothing bulky was answered meanwhile");
    assert_eq!(*pair.held.borrow(), SLOTS, "the last part has not arrived");

    pair.open.send_replace(true);
    let mut answers = asked.join_all().await;
    answers.sort_unstable();
    assert_eq!(answers.len(), SLOTS + 1);
    assert_eq!(answers.last(), Some(&chunk));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_an_older_release_takes_everything_on_one_stream() {
    let pair = Pair::start(false);
    pair.open.send_replace(true);
    for bytes in [BULKY_BYTES, 1, 2 * BULKY_BYTES] {
        assert_eq!(pair.ask(bytes).await, bytes);
    }
}
