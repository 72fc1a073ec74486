//! Reads are served from pictures that a core's loop publishes, never by the loop itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::Notify, time::Instant};

/// How old a published picture may become while things change.
const INTERVAL: Duration = Duration::from_millis(50);

/// The reading side: the newest picture.
#[derive(Debug)]
pub(crate) struct Snapshot<V> {
    slot: Arc<Slot<V>>,
}

#[derive(Debug)]
struct Slot<V> {
    picture: ArcSwap<V>,
    replaced: Notify,
    /// Something has changed since.
    behind: AtomicBool,
}

impl<V> Clone for Snapshot<V> {
    fn clone(&self) -> Self {
        Self { slot: Arc::clone(&self.slot) }
    }
}

impl<V> Snapshot<V> {
    /// Starts with this picture.
    pub(crate) fn new(first: V) -> Self {
        let picture = ArcSwap::from_pointee(first);
        Self {
            slot: Arc::new(Slot {
                picture,
                replaced: Notify::new(),
                behind: AtomicBool::new(false),
            }),
        }
    }

    /// The newest picture.
    pub(crate) fn get(&self) -> Arc<V> {
        self.slot.picture.load_full()
    }

    /// A picture that shows all that the loop had done when this was called: the newest, unless something has changed since
    /// it was made; then the next one.
    pub(crate) async fn caught_up(&self) -> Arc<V> {
        let replaced = self.slot.replaced.notified();
        if self.slot.behind.load(Ordering::SeqCst) {
            tokio::time::timeout(INTERVAL * 2, replaced).await.ok();
        }
        self.get()
    }

    /// The picture in which to look for what `known` does not show: the next one, or the newest when
    /// none comes in the time in which a change is published by a loop that keeps up.
    pub(crate) async fn settled(&self, known: &Arc<V>) -> Arc<V> {
        let replaced = self.slot.replaced.notified();
        if Arc::ptr_eq(&self.get(), known) {
            tokio::time::timeout(INTERVAL * 2, replaced).await.ok();
        }
        self.get()
    }

    /// Replaces the picture.
    pub(crate) fn set(&self, view: V) {
        self.slot.behind.store(false, Ordering::SeqCst);
        self.slot.picture.store(Arc::new(view));
        self.slot.replaced.notify_waiters();
    }
}

/// The writing side: publishes at most once an interval, and never leaves a change unpublished.
#[derive(Debug)]
pub(crate) struct Publisher<V> {
    snapshot: Snapshot<V>,
    due: Option<Instant>,
    last: Option<Instant>,
}

impl<V> Publisher<V> {
    /// Publishes into `snapshot`.
    pub(crate) fn new(snapshot: Snapshot<V>) -> Self {
        Self { snapshot, due: None, last: None }
    }

    /// Something has changed and others are about to hear of it: from now on whoever asks for a picture that shows it
    /// waits for the next.
    pub(crate) fn touch(&self) {
        self.snapshot.slot.behind.store(true, Ordering::SeqCst);
    }

    /// Something changed: publishes now, or notes when to.
    pub(crate) fn changed(&mut self, view: impl FnOnce() -> V) {
        let now = Instant::now();
        let earliest = self.last.map_or(now, |last| last + INTERVAL);
        if earliest > now {
            self.due.get_or_insert(earliest);
            self.touch();
            return;
        }
        self.publish(view());
    }

    /// Publishes at once: whoever is about to be answered must find what it changed.
    pub(crate) fn publish(&mut self, view: V) {
        self.snapshot.set(view);
        self.last = Some(Instant::now());
        self.due = None;
    }

    /// When [`Publisher::changed`] must be called again, if nothing changes before.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }
}

/// Waits until the earliest of some moments; for ever when there is none.
pub(crate) async fn until(moments: impl IntoIterator<Item = Option<Instant>>) {
    match moments.into_iter().flatten().min() {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_settled_picture_shows_what_happened_before_it_was_asked_for() {
        let snapshot = Snapshot::new(1);
        let known = snapshot.get();
        let late = async {
            tokio::task::yield_now().await;
            snapshot.set(2);
        };
        let (settled, ()) = tokio::join!(snapshot.settled(&known), late);
        assert_eq!(*settled, 2);
        // A picture that came in between will do, and one that nothing replaces too.
        assert_eq!(*snapshot.settled(&known).await, 2);
        let start = Instant::now();
        assert_eq!(*snapshot.settled(&settled).await, 2);
        assert!(start.elapsed() >= INTERVAL * 2);
    }

    #[tokio::test]
    async fn who_reads_after_a_change_sees_it() {
        let snapshot = Snapshot::new(0);
        let mut publisher = Publisher::new(snapshot.clone());
        publisher.changed(|| 1);
        tokio::select! {
            biased;
            read = snapshot.caught_up() => assert_eq!(*read, 1),
            () = std::future::ready(()) => panic!("it waits for nothing"),
        }
        publisher.changed(|| 2);
        let publish = async {
            // On a machine that is slow enough it is published already.
            if let Some(due) = publisher.due() {
                until([Some(due)]).await;
                publisher.changed(|| 3);
            }
        };
        let (read, ()) = tokio::join!(snapshot.caught_up(), publish);
        assert!(*read >= 2, "{read}");
    }
}
