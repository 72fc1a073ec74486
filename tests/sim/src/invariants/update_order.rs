//! A task's updates arrive in the order in which its agent made them.
//!
//! Their ids rise: the node comes first, then its start generation, then a counter.

use crate::oracle::{Life, TaskKey};

pub(super) fn check(key: &TaskKey, life: &Life) {
    let ids: Vec<_> = life.told.iter().filter_map(|(update, _)| *update).collect();
    assert!(ids.is_sorted(), "updates of {key:?} are out of order: {:?}", life.told);
}
