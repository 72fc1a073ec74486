//! Claims to lead, confirmed side by side: one that nobody confirms keeps no other waiting.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use meshos_protocol::{
    ids::{NodeId, Term},
    messages::node::Announcement,
};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use super::Claim;

/// Claims that are being confirmed at a time; a further one takes the place of the oldest of the
/// node that most are made for: many claims for one node crowd out only claims for that node.
pub(super) const AT_ONCE_MAX: usize = 32;
/// Between the first two attempts to confirm a claim; it doubles up to the longest. A voter may be
/// asked a moment before it has heard of the election itself.
const RETRY_MIN: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_millis(80);
/// How long a claim is worth confirming.
const CONFIRM_LIMIT: Duration = Duration::from_secs(20);

/// Finds out whether a claim is true.
pub(super) trait Confirm: Clone + Send + Sync + 'static {
    /// What the leader says of itself, when the claim is true.
    fn confirm(&self, claim: &Claim) -> impl Future<Output = Option<Confirmed>> + Send;
}

/// A claim that is true.
#[derive(Debug)]
pub(super) struct Confirmed {
    /// What the leader says of itself.
    pub(super) announcement: Announcement,
    /// The version of this node's beliefs that it was held against.
    pub(super) basis: u64,
}

/// The claims that are being confirmed.
pub(super) struct Claims<C> {
    confirm: C,
    /// How long a claim is worth confirming.
    limit: Duration,
    attempts: JoinSet<(Claim, Option<Confirmed>)>,
    under_way: BTreeMap<(Term, NodeId), UnderWay>,
    gave_up: Option<(Term, NodeId)>,
}

struct UnderWay {
    since: Instant,
    abort: AbortHandle,
}

impl<C: Confirm> Claims<C> {
    pub(super) fn new(confirm: C) -> Self {
        Self::giving_up_after(CONFIRM_LIMIT, confirm)
    }

    /// Gives a claim up that is not confirmed within `limit`.
    pub(super) fn giving_up_after(limit: Duration, confirm: C) -> Self {
        let (attempts, under_way) = (JoinSet::new(), BTreeMap::new());
        Self { confirm, limit, attempts, under_way, gave_up: None }
    }

    /// Begins to confirm a claim, unless that is under way.
    pub(super) fn take(&mut self, claim: Claim) {
        let key = (claim.term, claim.leader);
        if self.under_way.contains_key(&key) {
            return;
        }
        if self.under_way.len() >= AT_ONCE_MAX
            && let Some(oldest) = self.oldest_of_most_claimed()
        {
            self.give_up(oldest);
        }
        let abort = self.attempts.spawn(confirm_in_time(self.confirm.clone(), claim, self.limit));
        self.under_way.insert(key, UnderWay { since: Instant::now(), abort });
    }

    fn oldest_of_most_claimed(&self) -> Option<(Term, NodeId)> {
        let mut claims: BTreeMap<NodeId, usize> = BTreeMap::new();
        for (_, leader) in self.under_way.keys() {
            *claims.entry(*leader).or_default() += 1;
        }
        let age = |key: &(Term, NodeId)| (claims[&key.1], Reverse(self.under_way[key].since));
        self.under_way.keys().max_by_key(|key| age(key)).copied()
    }

    /// What became of the next claim that is settled: confirmed, or nothing when it was not in time.
    /// Cancel-safe.
    pub(super) async fn settled(&mut self) -> Option<Confirmed> {
        loop {
            match self.attempts.join_next().await {
                Some(Ok((claim, confirmed))) => {
                    self.under_way.remove(&(claim.term, claim.leader));
                    if confirmed.is_none() {
                        self.gave_up = self.gave_up.max(Some((claim.term, claim.leader)));
                        tracing::warn!(term = %claim.term, leader = %claim.leader, "a claim to lead was not confirmed");
                    }
                    return confirmed;
                }
                // Given up, and forgotten by whoever did that.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// The newest claim that could not be confirmed in time since the last leader was followed.
    pub(super) const fn gave_up(&self) -> Option<(Term, NodeId)> {
        self.gave_up
    }

    /// Gives up all claims of this term and below: a leader is followed.
    pub(super) fn give_up_to(&mut self, term: Term) {
        self.gave_up = None;
        let old: Vec<_> =
            self.under_way.keys().take_while(|(claimed, _)| *claimed <= term).copied().collect();
        old.into_iter().for_each(|key| self.give_up(key));
    }

    fn give_up(&mut self, key: (Term, NodeId)) {
        if let Some(one) = self.under_way.remove(&key) {
            one.abort.abort();
        }
    }
}

async fn confirm_in_time<C: Confirm>(
    confirm: C,
    claim: Claim,
    limit: Duration,
) -> (Claim, Option<Confirmed>) {
    let attempts = async {
        let mut pause = RETRY_MIN;
        loop {
            if let Some(confirmed) = confirm.confirm(&claim).await {
                return confirmed;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    };
    let confirmed = tokio::time::timeout(limit, attempts).await.ok();
    (claim, confirmed)
}
