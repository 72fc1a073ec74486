//! Whether the leader that this node follows is there for it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether a stream to the leader that is followed stands: told by the agent, whose stream it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach(Arc<AtomicBool>);

impl Reach {
    /// The stream stands, or does not any more.
    pub(crate) fn tell(&self, stands: bool) {
        self.0.store(stands, Ordering::Relaxed);
    }

    pub(super) fn is_lost(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}
