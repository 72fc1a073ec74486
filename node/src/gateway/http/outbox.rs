//! Records on their way to a client.
//!
//! Nobody is cut off for being slow: the leader is read only while there is room here, so a burst waits
//! where it comes from. Only a client that takes nothing at all is given up.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

/// With more bytes that wait, nothing more is read from the leader.
const ROOM: usize = 8 << 20;
/// With more bytes that wait, nothing more is read from the leader even if it may be the answer to a
/// call: many clients read events only once their call is answered.
const ROOM_FOR_ANSWERS: usize = 32 << 20;
/// What a record takes beside its bytes.
const RECORD_COST: usize = 64;
/// How long nothing may be taken of what waits.
const STALLED_LIMIT: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Counts {
    /// Bytes that wait, with what their records take beside them.
    bytes: AtomicUsize,
    /// Records that were taken.
    taken: AtomicU64,
    /// Told whenever one was taken.
    gone: Notify,
}

/// The writing end.
pub(super) struct Outbox {
    /// Bounded by whoever asks for room before there is something to be pushed.
    sender: mpsc::UnboundedSender<Bytes>,
    counts: Arc<Counts>,
    /// How many records had been taken, and since when that is so.
    seen: (u64, Instant),
}

/// The records, one chunk each.
pub(crate) struct Records {
    receiver: mpsc::UnboundedReceiver<Bytes>,
    counts: Arc<Counts>,
}

/// The client has taken nothing for too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stalled;

pub(super) fn pair() -> (Outbox, Records) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let counts = Arc::<Counts>::default();
    let outbox = Outbox { sender, counts: Arc::clone(&counts), seen: (0, Instant::now()) };
    (outbox, Records { receiver, counts })
}

fn cost(record: &[u8]) -> usize {
    record.len() + RECORD_COST
}

impl Outbox {
    /// Adds a record.
    pub(super) fn push(&self, record: Vec<u8>) {
        self.counts.bytes.fetch_add(cost(&record), Ordering::Relaxed);
        // That the client is gone is told by `closed`.
        let _listening = self.sender.send(record.into());
    }

    /// Whether more may come from the leader; `answers` when somebody waits for an answer of it.
    pub(super) fn has_room(&self, answers: bool) -> bool {
        self.waiting() < if answers { ROOM_FOR_ANSWERS } else { ROOM }
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.counts.bytes.load(Ordering::Relaxed)
    }

    /// Ends when more may come from the leader. Cancel-safe.
    pub(super) async fn room(&self, answers: bool) {
        while !self.has_room(answers) {
            // What is taken meanwhile is remembered for the only one who waits.
            self.counts.gone.notified().await;
        }
    }

    /// Looks whether the client still takes what waits for it; called from time to time.
    pub(super) fn check(&mut self, now: Instant) -> Result<(), Stalled> {
        let taken = self.counts.taken.load(Ordering::Relaxed);
        if taken != self.seen.0 || self.waiting() == 0 {
            self.seen = (taken, now);
        }
        if now.duration_since(self.seen.1) > STALLED_LIMIT { Err(Stalled) } else { Ok(()) }
    }

    /// Ends when the client is gone.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }
}

impl Stream for Records {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let record = std::task::ready!(self.receiver.poll_recv(context));
        if let Some(record) = &record {
            self.counts.bytes.fetch_sub(cost(record), Ordering::Relaxed);
            self.counts.taken.fetch_add(1, Ordering::Relaxed);
            self.counts.gone.notify_one();
        }
        Poll::Ready(record.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    #[tokio::test]
    async fn there_is_room_while_not_too_much_waits() {
        let (outbox, mut records) = pair();
        outbox.push(vec![0; ROOM]);
        assert!(!outbox.has_room(false) && outbox.has_room(true));
        assert_eq!(outbox.room(false).now_or_never(), None);
        outbox.push(vec![0; ROOM_FOR_ANSWERS - ROOM]);
        assert!(!outbox.has_room(true), "an answer is not waited for without end");
        let taken = async {
            assert_eq!(records.next().await.unwrap().unwrap().len(), ROOM);
            assert_eq!(records.next().await.unwrap().unwrap().len(), ROOM_FOR_ANSWERS - ROOM);
        };
        tokio::join!(outbox.room(false), taken);
        assert_eq!(outbox.waiting(), 0);
        // Small records count for more than their bytes.
        (0..ROOM / RECORD_COST).for_each(|_| outbox.push(vec![0]));
        assert!(!outbox.has_room(false));
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_found_out() {
        let (mut outbox, mut records) = pair();
        let mut now = Instant::now();
        for _ in 0..10 {
            now += STALLED_LIMIT / 2;
            assert_eq!(outbox.check(now), Ok(()), "nothing waits");
        }
        for _ in 0..10 {
            outbox.push(vec![0]);
            outbox.push(vec![0]);
            records.next().await.unwrap().unwrap();
            now += STALLED_LIMIT / 2;
            assert_eq!(outbox.check(now), Ok(()), "something is taken");
        }
        now += STALLED_LIMIT * 2;
        assert_eq!(outbox.check(now), Err(Stalled));
    }
}
