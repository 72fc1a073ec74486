//! Records on their way to a client: as many as a slow reader may have waiting, and no more.

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
use tokio::{sync::mpsc, time::Instant};

/// Records that may wait for a client.
const RECORDS_MAX: usize = 16 << 10;
/// Their bytes together.
const BYTES_MAX: usize = 16 << 20;
/// How long nothing may be taken of what waits.
const STALLED_LIMIT: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Counts {
    /// Bytes that wait.
    bytes: AtomicUsize,
    /// Records that were taken.
    taken: AtomicU64,
}

/// The writing end.
pub(super) struct Outbox {
    sender: mpsc::Sender<Bytes>,
    counts: Arc<Counts>,
    /// How many records had been taken, and since when that is so.
    seen: (u64, Instant),
}

/// The records, one chunk each.
pub(crate) struct Records {
    receiver: mpsc::Receiver<Bytes>,
    counts: Arc<Counts>,
}

/// The client reads too slowly, or not at all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooSlow;

pub(super) fn pair() -> (Outbox, Records) {
    let (sender, receiver) = mpsc::channel(RECORDS_MAX);
    let counts = Arc::<Counts>::default();
    let outbox = Outbox { sender, counts: Arc::clone(&counts), seen: (0, Instant::now()) };
    (outbox, Records { receiver, counts })
}

impl Outbox {
    /// Adds a record.
    pub(super) fn push(&self, record: Vec<u8>) -> Result<(), TooSlow> {
        let bytes = record.len();
        let waiting = self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        // One record is taken however large it is.
        if waiting > 0 && waiting + bytes > BYTES_MAX {
            return Err(TooSlow);
        }
        match self.sender.try_send(record.into()) {
            // That the client is gone is told by `closed`.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(TooSlow),
        }
    }

    /// Looks whether the client still takes what waits for it; called from time to time.
    pub(super) fn check(&mut self, now: Instant) -> Result<(), TooSlow> {
        let taken = self.counts.taken.load(Ordering::Relaxed);
        if taken != self.seen.0 || self.counts.bytes.load(Ordering::Relaxed) == 0 {
            self.seen = (taken, now);
        }
        if now.duration_since(self.seen.1) > STALLED_LIMIT { Err(TooSlow) } else { Ok(()) }
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
            self.counts.bytes.fetch_sub(record.len(), Ordering::Relaxed);
            self.counts.taken.fetch_add(1, Ordering::Relaxed);
        }
        Poll::Ready(record.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn what_waits_is_bounded_by_number_and_by_bytes() {
        let (outbox, mut records) = pair();
        for _ in 0..RECORDS_MAX {
            outbox.push(vec![0]).unwrap();
        }
        assert_eq!(outbox.push(vec![0]), Err(TooSlow));
        assert_eq!(records.next().await.unwrap().unwrap().len(), 1);
        let (outbox, mut records) = pair();
        outbox.push(vec![0; BYTES_MAX + 1]).unwrap();
        assert_eq!(outbox.push(vec![0]), Err(TooSlow), "the first one waits still");
        drop(outbox);
        assert_eq!(records.next().await.unwrap().unwrap().len(), BYTES_MAX + 1);
        assert!(records.next().await.is_none());
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
            outbox.push(vec![0]).unwrap();
            outbox.push(vec![0]).unwrap();
            records.next().await.unwrap().unwrap();
            now += STALLED_LIMIT / 2;
            assert_eq!(outbox.check(now), Ok(()), "something is taken");
        }
        now += STALLED_LIMIT * 2;
        assert_eq!(outbox.check(now), Err(TooSlow));
    }
}
