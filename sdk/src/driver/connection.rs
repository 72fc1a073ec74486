//! A stream to some node: dialled, read, and found anew at another node.

use std::{net::SocketAddr, time::Duration};

use meshos_protocol::messages::{StreamClass, StreamHello, scheduler::EventFrame};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::DriverError;
use crate::{
    Credentials,
    wire::{
        self, ANY_NODE_NAME, FrameReader, FrameSender, Idle, Opened, WireError, WriterOptions,
        spawn_writer,
    },
};

/// How long dialling one node may take.
const DIAL_LIMIT: Duration = Duration::from_secs(3);
/// The wait after all nodes failed; it doubles up to the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Events read and not yet handled; the node waits when there are more.
const EVENTS_MAX: usize = 1_024;

/// What happens to the connection.
#[derive(Debug)]
pub(super) enum Link {
    Up(FrameSender),
    Event(Box<EventFrame>),
    Down,
}

/// Keeps a stream to one of the nodes open, until it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) links: mpsc::Receiver<Link>,
    cancel: CancellationToken,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Connection {
    pub(super) fn start(
        credentials: &Credentials,
        nodes: Vec<String>,
    ) -> Result<Self, DriverError> {
        let config = wire::client_config(&credentials.for_wire(), Idle::default())?;
        let any: SocketAddr = (std::net::Ipv4Addr::UNSPECIFIED, 0).into();
        let mut endpoint = quinn::Endpoint::client(any)?;
        endpoint.set_default_client_config(config);
        let (sender, links) = mpsc::channel(EVENTS_MAX);
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        tokio::spawn(async move {
            token.run_until_cancelled(keep(&endpoint, &nodes, &sender)).await;
            endpoint.close(0u32.into(), b"driver stops");
            endpoint.wait_idle().await;
        });
        Ok(Self { links, cancel })
    }
}

async fn keep(endpoint: &quinn::Endpoint, nodes: &[String], links: &mpsc::Sender<Link>) {
    let mut backoff = BACKOFF_MIN;
    let mut failures = 0;
    for node in nodes.iter().cycle() {
        match open(endpoint, node).await {
            Ok(opened) => {
                tracing::info!(%node, "connected");
                (backoff, failures) = (BACKOFF_MIN, 0);
                if serve(opened, links).await.is_err() {
                    return;
                }
                tracing::info!(%node, "connection lost; another node is tried");
            }
            Err(error) => {
                tracing::debug!(%node, %error, "cannot connect");
                failures += 1;
                if failures % nodes.len() == 0 {
                    tracing::warn!(%node, %error, "no node can be reached");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }
}

async fn open(endpoint: &quinn::Endpoint, node: &str) -> Result<Opened, WireError> {
    let lost = |error: String| WireError::Lost(format!("{node}: {error}"));
    let dial = async {
        let mut addresses =
            tokio::net::lookup_host(node).await.map_err(|error| lost(error.to_string()))?;
        let address = addresses.next().ok_or_else(|| lost("the name has no address".into()))?;
        let connecting =
            endpoint.connect(address, ANY_NODE_NAME).map_err(|error| lost(error.to_string()))?;
        let connection = connecting.await.map_err(|error| lost(error.to_string()))?;
        wire::open_stream(&connection, &StreamHello::new(None, StreamClass::Scheduler)).await
    };
    let limit_ms = meshos_protocol::time::millis(DIAL_LIMIT);
    match tokio::time::timeout(DIAL_LIMIT, dial).await {
        Ok(opened) => opened,
        Err(_) => Err(WireError::TimedOut(limit_ms)),
    }
}

/// Passes events on until the stream ends; an error means that the driver is gone.
async fn serve(
    opened: Opened,
    links: &mpsc::Sender<Link>,
) -> Result<(), mpsc::error::SendError<Link>> {
    let Opened { send, mut reader } = opened;
    links.send(Link::Up(spawn_writer(send, WriterOptions::default()))).await?;
    let ended = read(&mut reader, links).await?;
    if let Err(error) = ended {
        tracing::info!(%error, "the stream ended");
    }
    links.send(Link::Down).await
}

async fn read(
    reader: &mut FrameReader,
    links: &mpsc::Sender<Link>,
) -> Result<Result<(), WireError>, mpsc::error::SendError<Link>> {
    loop {
        match reader.read::<EventFrame>().await {
            Ok(Some(event)) => links.send(Link::Event(Box::new(event))).await?,
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        }
    }
}
