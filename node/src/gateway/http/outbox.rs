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
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use crate::gateway::progress::{Progress, Stalled};

/// With more bytes that wait, nothing more is read from the leader.
const ROOM: usize = 8 << 20;
/// With more bytes that wait, nothing more is read from the leader even if it may be the answer to a
/// call: many clients read events only once their call is answered.
const ROOM_FOR_ANSWERS: usize = 32 << 20;
/// What a record takes beside its bytes.
const RECORD_COST: usize = 64;
/// Larger records are taken in parts, so that it is seen how they are taken over a slow link.
const PART_MAX: usize = 64 << 10;

#[derive(Default)]
struct Counts {
    /// Bytes that wait, with what their records take beside them.
    bytes: AtomicUsize,
    /// Bytes that were taken.
    taken: AtomicU64,
    /// Told whenever some were taken.
    gone: Notify,
}

/// The writing end.
pub(crate) struct Outbox {
    pusher: Pusher,
    progress: Progress,
}

/// Adds records.
#[derive(Clone)]
pub(crate) struct Pusher {
    /// Bounded by whoever asks for room before there is something to be pushed.
    sender: mpsc::UnboundedSender<Bytes>,
    counts: Arc<Counts>,
}

/// The records, one chunk each unless they are large.
pub(crate) struct Records {
    receiver: mpsc::UnboundedReceiver<Bytes>,
    /// What is left of the record that is being taken.
    rest: Bytes,
    counts: Arc<Counts>,
}

/// Both ends.
pub(crate) fn pair() -> (Outbox, Records) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let counts = Arc::<Counts>::default();
    let progress = Progress::new(Instant::now());
    let outbox = Outbox { pusher: Pusher { sender, counts: Arc::clone(&counts) }, progress };
    (outbox, Records { receiver, rest: Bytes::new(), counts })
}

fn cost(record: &[u8]) -> usize {
    record.len() + RECORD_COST
}

impl Pusher {
    /// Adds a record.
    pub(crate) fn push(&self, record: Vec<u8>) {
        self.counts.bytes.fetch_add(cost(&record), Ordering::Relaxed);
        // That the client is gone is told by `closed`.
        let _listening = self.sender.send(record.into());
    }

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.counts.bytes.load(Ordering::Relaxed)
    }
}

impl Outbox {
    /// Adds a record.
    pub(crate) fn push(&self, record: Vec<u8>) {
        self.pusher.push(record);
    }

    /// What else adds records.
    pub(crate) fn pusher(&self) -> Pusher {
        self.pusher.clone()
    }

    /// Whether more may come from the leader; `answers` when somebody waits for an answer of it.
    pub(super) fn has_room(&self, answers: bool) -> bool {
        self.waiting() < if answers { ROOM_FOR_ANSWERS } else { ROOM }
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.pusher.waiting()
    }

    /// Ends when more may come from the leader. Cancel-safe.
    pub(super) async fn room(&self, answers: bool) {
        while !self.has_room(answers) {
            // What is taken meanwhile is remembered for the only one who waits.
            self.pusher.counts.gone.notified().await;
        }
    }

    /// Looks whether the client still takes what waits for it; called from time to time.
    pub(crate) fn check(&mut self, now: Instant) -> Result<(), Stalled> {
        let taken = self.pusher.counts.taken.load(Ordering::Relaxed);
        let is_behind = self.waiting() > 0;
        self.progress.check(taken, is_behind, now)
    }

    /// Ends when the client is gone.
    pub(crate) async fn closed(&self) {
        self.pusher.sender.closed().await;
    }
}

impl Stream for Records {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let records = &mut *self;
        if records.rest.is_empty() {
            match std::task::ready!(records.receiver.poll_recv(context)) {
                Some(record) => records.rest = record,
                None => return Poll::Ready(None),
            }
        }
        let part = records.rest.split_to(records.rest.len().min(PART_MAX));
        let cost = part.len() + if records.rest.is_empty() { RECORD_COST } else { 0 };
        records.counts.bytes.fetch_sub(cost, Ordering::Relaxed);
        let taken = u64::try_from(part.len()).unwrap_or(u64::MAX);
        records.counts.taken.fetch_add(taken, Ordering::Relaxed);
        records.counts.gone.notify_one();
        Poll::Ready(Some(Ok(part)))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;
    use crate::gateway::progress::STALLED_LIMIT;

    #[tokio::test]
    async fn there_is_room_while_not_too_much_waits() {
        let (outbox, mut records) = pair();
        outbox.push(vec![0; ROOM]);
        assert!(!outbox.has_room(false) && outbox.has_room(true));
        assert_eq!(outbox.room(false).now_or_never(), None);
        outbox.push(vec![0; ROOM_FOR_ANSWERS - ROOM]);
        assert!(!outbox.has_room(true), "an answer is not waited for without end");
        let taken = async {
            for _ in 0..ROOM_FOR_ANSWERS / PART_MAX {
                assert_eq!(records.next().await.unwrap().unwrap().len(), PART_MAX);
            }
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
        // One record, however slowly it is taken.
        let record: Vec<u8> = (0..=u8::MAX).cycle().take(10 * PART_MAX + 1).collect();
        outbox.push(record.clone());
        outbox.push(vec![7]);
        let mut taken = Vec::new();
        for _ in 0..11 {
            taken.extend(records.next().await.unwrap().unwrap());
            now += STALLED_LIMIT / 2;
            assert_eq!(outbox.check(now), Ok(()), "something is taken");
        }
        assert_eq!(taken, record);
        assert_eq!(outbox.waiting(), 1 + RECORD_COST);
        now += STALLED_LIMIT * 2;
        assert_eq!(outbox.check(now), Err(Stalled));
        assert_eq!(records.next().await.unwrap().unwrap(), [7][..]);
        assert_eq!(outbox.waiting(), 0);
    }
}
