//! What frameworks are told is so: a task that was dropped never runs, and one that is said to run
//! or to have finished did start.

use meshos_protocol::task::TaskState;

use crate::oracle::{Life, TaskKey};

pub(super) fn check(key: &TaskKey, life: &Life) {
    for (_, state) in &life.told {
        let started = !life.starts.is_empty();
        match state {
            TaskState::Dropped | TaskState::Error => {
                assert!(
                    !started,
                    "{key:?} was told to be {state}, and it started: {:?}",
                    life.told
                );
            }
            TaskState::Running | TaskState::Finished => {
                assert!(started, "{key:?} was told to be {state}, and it never started");
            }
            TaskState::Staging
            | TaskState::Starting
            | TaskState::Killing
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Unreachable
            | TaskState::Lost
            | TaskState::Unknown => {}
        }
    }
}
