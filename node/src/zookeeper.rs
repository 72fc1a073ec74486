//! Serves clients of ZooKeeper that look for the leader, read-only: what they may ask is in [`meshos_mesos::zookeeper`].
//!
//! It asks for no credentials and tells nothing but who leads, so it listens on loopback unless an address is named.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use meshos_mesos::{
    convert::offer::Place,
    zookeeper::{Connection, Frames, I_AM_OK, Next, Sent, Tree},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::cluster::Leader;

/// Clients at once; more are closed at once. Each holds a few kilobytes.
const CLIENTS_MAX: usize = 256;
/// How long a client may take to say who it is.
const FIRST_FRAME: Duration = Duration::from_secs(10);
/// How long a client may take to read an answer or an event.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// What is read at once.
const PART_BYTES: usize = 4 << 10;
/// After the system refused to accept a connection, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The port, taken and not yet served.
pub(crate) struct Service {
    listener: TcpListener,
    leader: watch::Receiver<Option<Leader>>,
}

impl Service {
    /// Takes the port.
    pub(crate) async fn bind(
        address: SocketAddr,
        leader: watch::Receiver<Option<Leader>>,
    ) -> Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!(
                "cannot listen on {address} (tcp, for clients of ZooKeeper): choose another port with --zk-port"
            )
        })?;
        Ok(Self { listener, leader })
    }

    /// Serves until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Self { listener, mut leader } = self;
        let (trees, _) = watch::channel(tree(&Tree::default(), &mut leader));
        let slots = Arc::new(Semaphore::new(CLIENTS_MAX));
        let mut session = first_session();
        let mut clients = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = leader.changed() => {
                    trees.send_modify(|now| *now = tree(now, &mut leader));
                    continue;
                }
                Some(_) = clients.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection of a client of ZooKeeper cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                tracing::warn!(limit = CLIENTS_MAX, "too many clients of ZooKeeper: one is closed");
                continue;
            };
            session = session.checked_add(1).unwrap_or(1);
            let client = serve(stream, session, trees.subscribe());
            clients.spawn(async move {
                if let Err(error) = client.await {
                    tracing::debug!(%error, "a client of ZooKeeper is gone");
                }
                drop(slot);
            });
        }
        clients.shutdown().await;
    }
}

fn tree(before: &Tree, leader: &mut watch::Receiver<Option<Leader>>) -> Tree {
    let leader = leader.borrow_and_update().clone();
    let place = leader.and_then(|leader| Some((leader.fence, Place::read(&leader.http_address)?)));
    before.lead_by(place.as_ref().map(|(fence, place)| (*fence, place)))
}

/// A number from which sessions are counted that other starts of this node have not given.
fn first_session() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).map_or(1, |millis| (millis << 20) & i64::MAX)
}

/// Serves one client until it goes, or is taken for gone.
async fn serve(
    mut stream: TcpStream,
    session: i64,
    mut trees: watch::Receiver<Tree>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut connection = Connection::new(trees.borrow_and_update().clone(), session);
    let mut frames = Frames::default();
    let mut part = [0; PART_BYTES];
    let mut limit = Instant::now() + FIRST_FRAME;
    loop {
        let read = tokio::select! {
            Ok(()) = trees.changed() => {
                let now = trees.borrow_and_update().clone();
                write(&mut stream, &connection.change(now)).await?;
                continue;
            }
            read = timeout_at(limit, stream.read(&mut part)) => read,
        };
        let read = read.context("it says nothing")??;
        if read == 0 {
            return Ok(());
        }
        frames.add(&part[..read]);
        while let Some(sent) = frames.take()? {
            let frame = match sent {
                Sent::Frame(frame) => frame,
                Sent::AreYouOk => return write(&mut stream, &I_AM_OK).await,
            };
            let (answer, next) = connection.frame(&frame).context("a frame cannot be read")?;
            write(&mut stream, &answer).await?;
            if next == Next::Close {
                return Ok(());
            }
            let silence =
                connection.timeout_ms().map(|millis| Duration::from_millis(millis.into()));
            limit = Instant::now() + silence.unwrap_or(FIRST_FRAME);
        }
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    timeout(WRITE_LIMIT, stream.write_all(bytes)).await.context("it does not read")??;
    Ok(())
}
