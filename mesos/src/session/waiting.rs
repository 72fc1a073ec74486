//! Calls that have no answer from a leader yet.

use std::{collections::BTreeMap, ops::Bound};

use meshos_protocol::{
    codec,
    ids::RequestId,
    messages::scheduler::{Call, TaskQuery},
};

use super::Ticket;

/// Calls that may wait for the leader.
const CALLS_MAX: usize = 10_000;
/// Their bytes together, as they are sent.
const BYTES_MAX: usize = 16 << 20;

/// A call that has no answer from a leader yet.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The request that waits with it, if one does.
    pub(super) ticket: Option<Ticket>,
    pub(super) call: Call,
    /// Tasks that are asked for once the call is answered: a part of them at a time, so that what it
    /// leads to comes in parts too.
    pub(super) rest: Vec<TaskQuery>,
    /// Whether a leader may have heard of it.
    pub(super) sent: bool,
}

/// Those of a session, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct WaitingCalls {
    /// Each with its bytes.
    calls: BTreeMap<RequestId, (Waiting, usize)>,
    bytes: usize,
}

impl WaitingCalls {
    /// Adds a call, or gives its ticket back when there are too many, or too large ones.
    pub(super) fn insert(
        &mut self,
        request: RequestId,
        waiting: Waiting,
    ) -> Result<(), Option<Ticket>> {
        let bytes = codec::encode(&waiting.call).len() + codec::encode(&waiting.rest).len();
        if self.calls.len() >= CALLS_MAX || self.bytes + bytes > BYTES_MAX {
            return Err(waiting.ticket);
        }
        self.bytes += bytes;
        self.calls.insert(request, (waiting, bytes));
        Ok(())
    }

    pub(super) fn remove(&mut self, request: RequestId) -> Option<Waiting> {
        let (waiting, bytes) = self.calls.remove(&request)?;
        self.bytes -= bytes;
        Some(waiting)
    }

    pub(super) fn get_mut(&mut self, request: RequestId) -> Option<&mut Waiting> {
        self.calls.get_mut(&request).map(|(waiting, _)| waiting)
    }

    /// Those after another; all of them when none is named.
    pub(super) fn following(
        &self,
        after: Option<RequestId>,
    ) -> impl Iterator<Item = (RequestId, &Waiting)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let following = self.calls.range((from, Bound::Unbounded));
        following.map(|(request, (waiting, _))| (*request, waiting))
    }

    #[cfg(test)]
    pub(super) fn next(&self, after: Option<RequestId>) -> Option<RequestId> {
        self.following(after).next().map(|(request, _)| request)
    }

    /// Removes the one of a request that nobody waits for any more.
    pub(super) fn forget(&mut self, ticket: Ticket) -> Option<Waiting> {
        let mut all = self.calls.iter();
        let (request, _) = all.find(|(_, (waiting, _))| waiting.ticket == Some(ticket))?;
        let request = *request;
        self.remove(request)
    }

    pub(super) fn calls(&self) -> impl Iterator<Item = &Waiting> {
        self.calls.values().map(|(waiting, _)| waiting)
    }

    pub(super) fn into_calls(self) -> impl Iterator<Item = Waiting> {
        self.calls.into_values().map(|(waiting, _)| waiting)
    }
}
