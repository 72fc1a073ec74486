//! A task's state never leaves a terminal state, as its framework sees it.

use crate::oracle::{Life, TaskKey};

pub(super) fn check(key: &TaskKey, life: &Life) {
    let end = life.told.iter().position(|(_, state)| state.is_terminal());
    let Some(end) = end else { return };
    let (_, state) = life.told[end];
    for (_, later) in &life.told[end..] {
        assert_eq!(*later, state, "{key:?} ended {state} and then was {later}: {:?}", life.told);
    }
}
