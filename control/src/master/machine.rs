//! The master's one way in.

use meshos_protocol::{
    ids::{Fence, NodeId},
    messages::agent::TaskHint,
    time::{Mono, Now},
};

use super::{
    Effect, Event, Explainer, MasterConfig, View,
    state::{Core, Cx},
};
use crate::registry::Registry;

/// The master of one term. See the module's documentation.
#[derive(Debug)]
pub struct Master {
    fence: Fence,
    me: NodeId,
    /// Absent once deposed: nothing is salvaged.
    core: Option<Box<Core>>,
}

impl Master {
    /// The master of `me` for the term in `fence`.
    ///
    /// `registry` is the state of the log at some entry; every later one must be handed in as
    /// [`Event::Applied`]. `hints` are what the earlier leader told of its tasks, oldest first.
    /// `seed` decides between what is equal.
    pub fn new(
        config: MasterConfig,
        fence: Fence,
        me: NodeId,
        registry: Registry,
        hints: Vec<TaskHint>,
        now: Now,
        seed: u64,
    ) -> Self {
        let core = Core::new(config, fence, me, registry, hints, now, seed);
        Self { fence, me, core: Some(Box::new(core)) }
    }

    /// The only way in. Runs to completion, never blocks, never fails.
    pub fn handle(&mut self, now: Now, event: Event, effects: &mut Vec<Effect>) {
        if matches!(event, Event::Deposed) {
            self.core = None;
        }
        let Some(core) = &mut self.core else { return };
        let mut cx = Cx { now, out: effects };
        core.on_event(&mut cx, event);
        core.act_on_deadlines(&mut cx);
        core.settle_maintenance(&mut cx);
        core.publish(now);
    }

    /// When the shell must call again with [`Event::Tick`], if nothing else happens.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.core.as_ref().and_then(|core| core.next_deadline())
    }

    /// An immutable picture for reads and metrics; cheap.
    pub fn view(&self) -> View {
        self.core.as_ref().map_or_else(|| View::deposed(self.fence, self.me), |core| core.view())
    }

    /// An immutable picture, as of the last event, from which anybody can have explained why somebody
    /// is not offered what it wants. It costs about as much as one explanation; none once deposed.
    pub fn explainer(&self) -> Option<Explainer> {
        self.core.as_ref().map(|core| core.explainer())
    }

    /// Whether this master was told that it leads no more.
    pub const fn is_deposed(&self) -> bool {
        self.core.is_none()
    }

    /// Asserted after every step in tests and simulation.
    ///
    /// # Panics
    /// When the master contradicts itself: a defect.
    pub fn check_invariants(&self) {
        if let Some(core) = &self.core {
            core.check_invariants();
        }
    }
}
