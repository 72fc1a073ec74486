//! One executor's socket and its connections.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use meshos_protocol::{
    ids::ContainerId,
    messages::executor::{
        Call, Event as ExecutorEvent, FRAME_BYTES_MAX, OPENING_BYTES_MAX, Subscribe,
    },
};
use meshos_sdk::wire::{LocalReader, frame};
use ring::digest;
use tokio::{
    io::AsyncWriteExt as _,
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc},
};
use tokio_util::sync::CancellationToken;

use super::{super::Input, Doors, Outlet, Said, place::Place};

/// Connections to one socket at a time, most of which have not shown the token.
const CONNECTIONS_MAX: usize = 8;
/// How long somebody may take to show the token.
const OPENING_LIMIT: Duration = Duration::from_secs(10);
/// Frames that may wait for an executor: more than the tasks that an agent takes on.
const FRAMES_MAX: usize = 40_000;
/// Bytes that may wait for it.
pub(super) const WAITING_BYTES_MAX: usize = 64 << 20;
/// Messages of the scheduler are left out when so much waits.
pub(super) const MESSAGES_BYTES_MAX: usize = 4 << 20;

/// Numbers all connections of this process.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// A number for a connection.
pub(super) fn next_connection() -> u64 {
    CONNECTIONS.fetch_add(1, Ordering::Relaxed)
}

/// What waits to be written to an executor; the connection ends when it is dropped.
pub(in crate::driver::agent) struct Outbox {
    queue: mpsc::Sender<Bytes>,
    waiting: Arc<AtomicUsize>,
}

impl Outbox {
    /// Queues an event, or leaves out one that may be. False when too much waits.
    pub(super) fn tell(&self, event: &ExecutorEvent) -> bool {
        match event {
            ExecutorEvent::Message { .. } => {
                self.send_within(event, MESSAGES_BYTES_MAX);
                true
            }
            ExecutorEvent::Subscribed(_)
            | ExecutorEvent::Launch { .. }
            | ExecutorEvent::LaunchGroup { .. }
            | ExecutorEvent::Kill { .. }
            | ExecutorEvent::Acknowledged { .. }
            | ExecutorEvent::Shutdown { .. }
            | ExecutorEvent::Error { .. }
            | ExecutorEvent::Unknown => self.send_within(event, WAITING_BYTES_MAX),
        }
    }

    fn send_within(&self, event: &ExecutorEvent, limit: usize) -> bool {
        let Ok(bytes) = frame(event) else { return false };
        let size = bytes.len();
        if self.waiting.load(Ordering::Relaxed).saturating_add(size) > limit {
            return false;
        }
        self.waiting.fetch_add(size, Ordering::Relaxed);
        let queued = self.queue.try_send(bytes).is_ok();
        if !queued {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
        }
        queued
    }
}

/// Listens on a socket until `stop`.
pub(super) async fn serve(
    place: Place,
    mailbox: mpsc::Sender<Input>,
    doors: Doors,
    stop: CancellationToken,
) -> io::Result<()> {
    let container = place.container.clone();
    let listening = tokio::task::spawn_blocking(move || place.listen()).await;
    // An error means that the runtime shuts down.
    let Ok(listening) = listening else { return Ok(()) };
    let listening = listening?;
    doors.open(&container, &listening.token, listening.uid);
    let listener = UnixListener::from_std(listening.listener)?;
    let door = Arc::new(Door { container, token: listening.token, uid: listening.uid, mailbox });
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of an executor");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Beyond the limit the connection is closed at once.
        let Ok(taken) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (door, stop) = (Arc::clone(&door), stop.clone());
        tokio::spawn(async move {
            stop.run_until_cancelled(door.let_in(stream)).await;
            drop(taken);
        });
    }
}

/// Who may come in.
struct Door {
    container: ContainerId,
    token: String,
    uid: u32,
    mailbox: mpsc::Sender<Input>,
}

impl Door {
    async fn let_in(&self, stream: UnixStream) {
        let container = &self.container;
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == self.uid => {}
            Ok(peer) => {
                tracing::warn!(%container, uid = peer.uid(), "another user tried to speak for an executor");
                return;
            }
            Err(error) => {
                tracing::warn!(%container, %error, "cannot learn who speaks for an executor");
                return;
            }
        }
        let (read, mut write) = stream.into_split();
        let mut reader = LocalReader::new(read, OPENING_BYTES_MAX);
        let Some(mut subscribe) = self.opening(&mut reader).await else { return };
        if !is_same(&subscribe.token, &self.token) {
            tracing::warn!(%container, "somebody without the token tried to speak for an executor");
            let message = "the token is not that of the executor".to_owned();
            if let Ok(bytes) = frame(&ExecutorEvent::Error { message }) {
                // Whoever it is may have gone.
                let _told = write.write_all(&bytes).await;
            }
            return;
        }
        subscribe.token.clear();
        self.speak(subscribe, reader, write).await;
    }

    async fn opening(&self, reader: &mut LocalReader<OwnedReadHalf>) -> Option<Box<Subscribe>> {
        let container = &self.container;
        match tokio::time::timeout(OPENING_LIMIT, reader.read::<Call>()).await {
            Ok(Ok(Some(Call::Subscribe(subscribe)))) => return Some(Box::new(subscribe)),
            Ok(Ok(Some(Call::Update { .. } | Call::Message { .. } | Call::Unknown))) => {
                tracing::warn!(%container, "an executor did not subscribe first");
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::warn!(%container, %error, "an executor broke the protocol"),
            Err(_) => tracing::warn!(%container, "an executor said nothing"),
        }
        None
    }

    async fn speak(
        &self,
        subscribe: Box<Subscribe>,
        mut reader: LocalReader<OwnedReadHalf>,
        write: OwnedWriteHalf,
    ) {
        reader.limit_frames(FRAME_BYTES_MAX);
        let connection = next_connection();
        let (queue, frames) = mpsc::channel(FRAMES_MAX);
        let waiting = Arc::<AtomicUsize>::default();
        let outbox = Outlet::Socket(Outbox { queue, waiting: Arc::clone(&waiting) });
        self.say(Said::Subscribed { connection, outbox, subscribe }).await;
        let reading = async {
            loop {
                match reader.read::<Call>().await {
                    Ok(Some(call)) => self.say(Said::Called { connection, call }).await,
                    Ok(None) => return,
                    Err(error) => {
                        let container = &self.container;
                        tracing::info!(%container, %error, "the connection of an executor is lost");
                        return;
                    }
                }
            }
        };
        tokio::select! {
            () = reading => {}
            () = write_frames(write, frames, &waiting) => {}
        }
        self.say(Said::Gone { connection }).await;
    }

    async fn say(&self, said: Said) {
        let container = self.container.clone();
        // The loop is gone only when the node stops.
        let _listening = self.mailbox.send(Input::Executor { container, said }).await;
    }
}

/// Writes what is queued; ends when the outbox is dropped and all is written, or nobody reads.
async fn write_frames(
    mut write: OwnedWriteHalf,
    mut frames: mpsc::Receiver<Bytes>,
    waiting: &AtomicUsize,
) {
    while let Some(bytes) = frames.recv().await {
        let written = write.write_all(&bytes).await;
        waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
        if written.is_err() {
            return;
        }
    }
}

/// Compares digests, whose differences tell nothing of the token.
fn is_same(shown: &str, token: &str) -> bool {
    let of = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    of(shown).as_ref() == of(token).as_ref()
}
