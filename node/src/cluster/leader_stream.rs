//! A stream to whoever leads: opened, kept, opened again at the next leader.

use std::{collections::VecDeque, time::Duration};

use meshos_protocol::messages::StreamClass;
use meshos_sdk::wire::{FrameReader, FrameSender, Opened, WireError, WriterOptions, spawn_writer};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::Leader;
use crate::net::{Net, Target};

/// The first wait after an attempt that failed; it doubles up to the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// A stream that lasted so long was a good one: the next attempt follows at once.
const LASTING: Duration = Duration::from_secs(5);
/// Frames read and not yet taken; the leader waits when there are more.
const READ_MAX: usize = 1_024;

/// What happens to the stream.
#[derive(Debug)]
pub(crate) enum LeaderEvent<T> {
    /// The node follows a new leader; the stream to it is being opened.
    Follow(Leader),
    /// The stream is open.
    Opened,
    /// The leader said something.
    Frame(T),
    /// The stream is closed; it is being opened again.
    Closed,
}

/// A stream of one class to whoever leads.
pub(crate) struct LeaderStream<T> {
    net: Net,
    class: StreamClass,
    leader: watch::Receiver<Option<Leader>>,
    attempt: Option<Attempt<T>>,
    /// The wait before the next attempt at the same leader: a leader that takes the stream and ends it
    /// at once would else be asked without pause.
    pause: Duration,
    ready: VecDeque<LeaderEvent<T>>,
}

struct Attempt<T> {
    leader: Leader,
    begun: Instant,
    sender: Option<FrameSender>,
    progress: mpsc::Receiver<Progress<T>>,
    cancel: CancellationToken,
    /// Told when nothing more comes but what has been read already.
    over: CancellationToken,
}

impl<T> Attempt<T> {
    /// What comes next; frames only when they are wanted, or when nothing follows them but the news that
    /// the stream is over.
    async fn next(&mut self, frames: bool) -> Option<Progress<T>> {
        if let Some(sender) = self.sender.as_ref().filter(|_| !frames) {
            tokio::select! {
                biased;
                () = self.over.cancelled() => {}
                // The leader does not listen any more, and what it may have said is lost.
                () = sender.closed() => return None,
            }
        }
        self.progress.recv().await
    }
}

impl<T> Drop for Attempt<T> {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

enum Progress<T> {
    Opened(FrameSender),
    Frame(T),
}

impl<T: DeserializeOwned + Send + 'static> LeaderStream<T> {
    /// Follows `leader` from its present value on.
    pub(crate) fn new(
        net: Net,
        class: StreamClass,
        mut leader: watch::Receiver<Option<Leader>>,
    ) -> Self {
        leader.mark_changed();
        Self { net, class, leader, attempt: None, pause: Duration::ZERO, ready: VecDeque::new() }
    }

    /// What happens next. Cancel-safe.
    pub(crate) async fn next(&mut self) -> LeaderEvent<T> {
        self.next_with(true).await
    }

    /// The same; without `frames` the leader is held up, and what happens to the stream is told still:
    /// it must be opened at a new leader however slow the client is. Cancel-safe.
    pub(crate) async fn next_with(&mut self, frames: bool) -> LeaderEvent<T> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            let progress = async {
                match self.attempt.as_mut() {
                    Some(attempt) => attempt.next(frames).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = self.leader.changed() => {
                    if changed.is_err() {
                        // No leader will follow: the node stops.
                        std::future::pending::<()>().await;
                    }
                    self.follow();
                }
                progress = progress => return self.progressed(progress),
            }
        }
    }

    fn follow(&mut self) {
        let leader = self.leader.borrow_and_update().clone();
        self.give_up();
        self.pause = Duration::ZERO;
        if let Some(leader) = leader {
            self.ready.push_back(LeaderEvent::Follow(leader.clone()));
            self.start(leader);
        }
    }

    fn progressed(&mut self, progress: Option<Progress<T>>) -> LeaderEvent<T> {
        match progress {
            Some(Progress::Opened(sender)) => {
                if let Some(attempt) = self.attempt.as_mut() {
                    attempt.sender = Some(sender);
                }
                LeaderEvent::Opened
            }
            Some(Progress::Frame(frame)) => LeaderEvent::Frame(frame),
            None => {
                self.restart();
                // An attempt ends only after it was open.
                LeaderEvent::Closed
            }
        }
    }

    fn restart(&mut self) {
        if let Some(ended) = self.attempt.take() {
            let lasted = ended.begun.elapsed() >= LASTING;
            let longer = (self.pause * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
            self.pause = if lasted { Duration::ZERO } else { longer };
            self.start(ended.leader.clone());
        }
    }

    fn start(&mut self, leader: Leader) {
        let (sender, progress) = mpsc::channel(READ_MAX);
        let (cancel, over) = (CancellationToken::new(), CancellationToken::new());
        let (net, class, to) = (self.net.clone(), self.class.clone(), leader.clone());
        let pause = self.pause;
        let ending = over.clone().drop_guard();
        let run = async move {
            let _ending = ending;
            tokio::time::sleep(pause).await;
            open_and_read(net, class, to, sender).await;
        };
        let token = cancel.clone();
        tokio::spawn(async move { token.run_until_cancelled(run).await });
        let begun = Instant::now();
        self.attempt = Some(Attempt { leader, begun, sender: None, progress, cancel, over });
    }

    /// Closes the stream; if it was open, [`LeaderEvent::Closed`] follows.
    fn give_up(&mut self) {
        if self.attempt.take().is_some_and(|attempt| attempt.sender.is_some()) {
            self.ready.push_back(LeaderEvent::Closed);
        }
    }

    /// Whether the stream is open.
    pub(crate) fn is_open(&self) -> bool {
        self.sender().is_some()
    }

    /// What sends to the leader, when the stream is open.
    pub(crate) fn sender(&self) -> Option<&FrameSender> {
        self.attempt.as_ref()?.sender.as_ref()
    }

    /// Sends to the leader. When it cannot, the stream is closed and opened again.
    pub(crate) fn send<M: Serialize>(&mut self, message: &M) -> Result<(), WireError> {
        let sender = self.sender().ok_or_else(|| WireError::Lost("no stream is open".into()))?;
        let sent = sender.send(message);
        if sent.is_err()
            && let Some(ended) = self.attempt.take()
        {
            self.ready.push_back(LeaderEvent::Closed);
            self.start(ended.leader.clone());
        }
        sent
    }
}

async fn open_and_read<T: DeserializeOwned>(
    net: Net,
    class: StreamClass,
    leader: Leader,
    progress: mpsc::Sender<Progress<T>>,
) {
    let mut backoff = BACKOFF_MIN;
    let Opened { send, reader } = loop {
        match open(&net, &class, &leader).await {
            Ok(opened) => break opened,
            Err(error) => {
                tracing::debug!(leader = %leader.node, %error, "cannot open a stream to the leader");
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    };
    let sender = spawn_writer(send, WriterOptions::default());
    if progress.send(Progress::Opened(sender)).await.is_ok()
        && let Err(error) = read(reader, &progress).await
    {
        tracing::info!(leader = %leader.node, %error, "a stream to the leader is over");
    }
}

async fn open(net: &Net, class: &StreamClass, leader: &Leader) -> Result<Opened, WireError> {
    let target = Target { node: Some(leader.node), address: leader.agent_address.clone() };
    net.link(&target).await?.open(class.clone()).await
}

async fn read<T: DeserializeOwned>(
    mut reader: FrameReader,
    progress: &mpsc::Sender<Progress<T>>,
) -> Result<(), WireError> {
    while let Some(frame) = reader.read::<T>().await? {
        if progress.send(Progress::Frame(frame)).await.is_err() {
            break;
        }
    }
    Ok(())
}
