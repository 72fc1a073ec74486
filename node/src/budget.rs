//! Memory that many requests share: each takes a permit for what it may need before it uses it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted as one.
const UNIT: usize = 1 << 10;
/// How long somebody waits for a permit.
const WAIT: Duration = Duration::from_secs(5);

/// So much memory and no more.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    own: Arc<Semaphore>,
    /// The budget that it is a share of.
    whole: Option<Arc<Semaphore>>,
}

/// Memory that may be used; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    own: OwnedSemaphorePermit,
    whole: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// So many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { own: Arc::new(Semaphore::new(bytes / UNIT)), whole: None }
    }

    /// So many bytes of it at most, for one of those who share it.
    pub(crate) fn share(&self, bytes: usize) -> Self {
        Self { whole: Some(Arc::clone(&self.own)), ..Self::new(bytes) }
    }

    /// Takes a permit, in the order in which it was asked for; nothing when there is none within a few
    /// seconds.
    pub(crate) async fn take(&self, bytes: usize) -> Option<Permit> {
        let units = u32::try_from(units(bytes)).unwrap_or(u32::MAX);
        let take = |of: &Arc<Semaphore>| Arc::clone(of).acquire_many_owned(units);
        let taken = async {
            // First of the share: of the whole nobody waits for more than a share.
            let own = take(&self.own).await.ok()?;
            let whole = match &self.whole {
                Some(whole) => Some(take(whole).await.ok()?),
                None => None,
            };
            Some(Permit { own, whole })
        };
        tokio::time::timeout(WAIT, taken).await.ok()?
    }
}

/// A budget of which everybody has an equal share at most.
#[derive(Debug)]
pub(crate) struct Shares<K> {
    whole: Budget,
    /// Bytes of a share.
    each: usize,
    /// The shares of which something is taken or waited for.
    taken: Mutex<BTreeMap<K, Weak<Semaphore>>>,
}

impl<K: Ord> Shares<K> {
    /// So many bytes, of which everybody has `each` at most.
    pub(crate) fn new(bytes: usize, each: usize) -> Self {
        Self { whole: Budget::new(bytes), each, taken: Mutex::default() }
    }

    /// The share of one.
    pub(crate) fn of(&self, who: K) -> Budget {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|_, share| share.strong_count() > 0);
        if let Some(own) = taken.get(&who).and_then(Weak::upgrade) {
            return Budget { own, whole: Some(Arc::clone(&self.whole.own)) };
        }
        let share = self.whole.share(self.each);
        taken.insert(who, Arc::downgrade(&share.own));
        share
    }
}

impl Permit {
    /// Gives back what is not needed of it.
    pub(crate) fn keep(&mut self, bytes: usize) {
        for permit in std::iter::once(&mut self.own).chain(&mut self.whole) {
            let surplus = permit.num_permits().saturating_sub(units(bytes));
            // Dropped, and so given back.
            drop(permit.split(surplus));
        }
    }

    /// The bytes, whose memory is given back when nobody has any part of them: each part keeps the whole in memory.
    pub(crate) fn hold(mut self, bytes: Vec<u8>) -> Bytes {
        self.keep(bytes.capacity());
        Bytes::from_owner(Held { bytes, _permit: self })
    }
}

/// Bytes, and the permit for their memory.
struct Held {
    bytes: Vec<u8>,
    _permit: Permit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_permitted_is_bounded_and_comes_back() {
        let budget = Budget::new(10 * UNIT);
        let mut large = budget.take(8 * UNIT).await.unwrap();
        let small = budget.take(1).await.unwrap();
        assert!(budget.take(2 * UNIT).now_or_never().is_none(), "one unit is left");
        large.keep(UNIT + 1);
        let second = budget.take(7 * UNIT).await.unwrap();
        assert!(budget.take(1).now_or_never().is_none());
        drop((small, second, large));
        assert!(budget.take(10 * UNIT).await.is_some());
    }

    #[tokio::test]
    async fn everybody_has_one_share() {
        let shares = Shares::new(10 * UNIT, 4 * UNIT);
        let taken = shares.of("a").take(3 * UNIT).await.unwrap();
        assert!(shares.of("a").take(2 * UNIT).now_or_never().is_none());
        let small = shares.of("a").take(UNIT).now_or_never().unwrap();
        let others = ["b", "c"].map(|who| shares.of(who).take(3 * UNIT).now_or_never().unwrap());
        assert!(shares.of("d").take(1).now_or_never().is_none(), "nothing is left");
        drop((taken, small, others));
        assert!(shares.of("a").take(4 * UNIT).now_or_never().is_some());
        shares.of("e");
        assert_eq!(shares.taken.lock().unwrap().len(), 1, "who takes nothing is not remembered");
    }

    #[tokio::test]
    async fn bytes_hold_their_memory_until_the_last_part_of_them_is_gone() {
        let budget = Budget::new(10 * UNIT);
        let permit = budget.take(9 * UNIT).await.unwrap();
        let mut bytes = permit.hold(vec![7; 8 * UNIT]);
        assert!(budget.take(2 * UNIT).now_or_never().is_some(), "what is not needed comes back");
        let part = bytes.split_to(1);
        drop(bytes);
        assert!(budget.take(3 * UNIT).now_or_never().is_none());
        assert_eq!(part[..], [7]);
        drop(part);
        assert!(budget.take(10 * UNIT).now_or_never().is_some());
    }

    #[tokio::test]
    async fn nobody_takes_more_than_a_share() {
        let budget = Budget::new(10 * UNIT);
        let [one, other, third] = [4; 3].map(|units| budget.share(units * UNIT));
        let mut taken = one.take(4 * UNIT).await.unwrap();
        assert!(one.take(1).now_or_never().is_none(), "it has used its share up");
        let all = other.take(4 * UNIT).await.unwrap();
        assert!(third.take(3 * UNIT).now_or_never().is_none(), "shares are more than the whole");
        taken.keep(UNIT);
        assert!(third.take(3 * UNIT).now_or_never().is_some());
        assert!(one.take(3 * UNIT).now_or_never().is_some());
        drop((taken, all));
        assert!(budget.take(10 * UNIT).now_or_never().is_some(), "everything comes back");
    }
}
