//! A group starts whole or not at all, and all of it in one place.

use crate::oracle::{Life, Oracle, TaskKey};

pub(super) fn check(oracle: &Oracle, key: &TaskKey, life: &Life) {
    for task in &life.group {
        let other = oracle.lives.get(&(key.0, task.clone()));
        let starts = other.map(|other| other.starts.as_slice()).unwrap_or_default();
        assert_eq!(
            starts, life.starts,
            "of the group of {key:?}, {task} started elsewhere or not at all"
        );
    }
}
