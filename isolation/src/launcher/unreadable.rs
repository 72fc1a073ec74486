//! The words for an end that nobody could read.

use crate::containerizer::ExitStatus;

/// The status of a container that is over without anybody knowing how.
pub(super) fn unreadable(why: &str) -> ExitStatus {
    ExitStatus::Unreadable { reason: format!("the container is over, but {why}") }
}
