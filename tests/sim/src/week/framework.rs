//! A framework: it keeps what it wants to run, and packs it into what it is offered.

use std::collections::VecDeque;

use meshos_alloc::Grant;
use meshos_protocol::{
    ids::FrameworkId, resources::Resources, role::Role, wishes::ResourceRequest,
};

use super::workload::Work;

/// How many of its oldest pieces of work a framework tries to fit into an offer: many, so that those
/// that need a whole machine do not hold up the others.
const LOOK_AHEAD: usize = 500;

/// What kind of work it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Service,
    Batch,
    Interactive,
}

#[derive(Debug)]
pub(super) struct Framework {
    pub(super) id: FrameworkId,
    pub(super) role: Role,
    pub(super) kind: Kind,
    pub(super) waiting: VecDeque<Work>,
    /// It has told the allocator that it wants nothing.
    pub(super) suppressed: bool,
}

/// A task that starts.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) resources: Resources,
    pub(super) run_ms: u64,
    pub(super) waited_s: u64,
}

impl Framework {
    /// Takes of an offer what fits of its work, oldest first.
    pub(super) fn pack(&mut self, offer: &Grant, now_s: u64) -> Vec<Start> {
        let mut rest = offer.resources.clone();
        let mut starts = Vec::new();
        for work in self.waiting.iter_mut().take(LOOK_AHEAD) {
            if rest.cpus() < work.resources.cpus() || rest.mem() < work.resources.mem() {
                continue;
            }
            while work.tasks_left > 0
                && let Some(left) = rest.checked_sub(&work.resources)
            {
                rest = left;
                work.tasks_left -= 1;
                let resources = work.resources.clone();
                let waited_s = now_s - work.arrived_s;
                starts.push(Start { resources, run_ms: work.run_ms, waited_s });
            }
        }
        self.waiting.retain(|work| work.tasks_left > 0);
        starts
    }
}

impl Work {
    pub(super) fn request(&self) -> ResourceRequest {
        let count = u32::try_from(self.tasks_left).unwrap_or(u32::MAX);
        ResourceRequest { agent: None, resources: self.resources.clone(), count }
    }
}
