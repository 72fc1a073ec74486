//! A task starts at most once, and only when its framework accepted offers for it.

use crate::oracle::{Life, TaskKey};

pub(super) fn check(key: &TaskKey, life: &Life) {
    assert!(life.starts.len() <= 1, "{key:?} started on {:?}", life.starts);
    assert!(life.accepted || life.starts.is_empty(), "{key:?} started, and nobody asked for it");
}
