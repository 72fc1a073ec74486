//! What rules were held against before, so that what has not changed since is not looked at after every step. The rules over
//! a whole leader, and over all that was reserved, took half of the simulation's time before.

use std::collections::BTreeMap;

use meshos_control::master::View;
use meshos_protocol::resources::Resources;

/// By node, unless it says otherwise.
#[derive(Debug, Default)]
pub struct LookedAt {
    /// What a leader showed, and whose disks refused writes.
    pub(super) leaders: BTreeMap<usize, (View, Vec<bool>)>,
    /// What a machine has, what of it became something else, and what that became.
    pub(super) operations: BTreeMap<usize, [Resources; 3]>,
    /// What is there of a reservation or volume, and what its framework was told; by node and label.
    pub(super) labels: BTreeMap<(usize, String), [Resources; 2]>,
}

/// Whether these are the same as those before.
pub(super) fn same<const N: usize>(before: Option<&[Resources; N]>, now: [&Resources; N]) -> bool {
    before.is_some_and(|before| before.iter().zip(now).all(|(before, now)| before.is_same(now)))
}
