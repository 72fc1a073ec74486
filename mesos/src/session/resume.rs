//! Leaders come and go.
//!
//! A leader that takes the subscription up is told what it cannot know: calls that have no answer, which
//! tasks and operations are asked for, what is to be killed. That may be much, so it is told in pieces, for
//! which the shell asks as the stream to the leader takes them; and a piece that has many answers only when
//! those of the one before have come.

use std::{collections::BTreeMap, ops::Bound};

use meshos_protocol::{
    ids::{AgentId, Fence, FrameworkId, OperationId, RequestId, TaskId},
    messages::scheduler::{Call, CallErrorKind, OPERATIONS_PER_CALL_MAX, TaskQuery},
    operation::OperationQuery,
};

use super::{HEARTBEAT_MS, Output, Places, Session, is_passing, tell};
use crate::convert::{event, number};

/// Tasks that are asked for at a time.
pub(super) const TASKS_IN_PIECE: usize = 1_000;
/// Kills that are said at a time.
const KILLS_IN_PIECE: usize = 100;

/// What the leader is still to be told, in this order, and after which of each it goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Untold {
    /// Calls that have no answer.
    Requests(Option<RequestId>),
    /// Tasks that were accepted and not heard of.
    Pending(Option<TaskId>),
    /// The other live tasks.
    Live(Option<TaskId>),
    /// Operations that were accepted and not heard of.
    Operations(Option<OperationId>),
    /// Kills of tasks that have not ended.
    Kills(Option<TaskId>),
    #[default]
    Nothing,
}

/// How far a leader has been told.
#[derive(Debug, Default)]
pub(super) struct Resuming {
    untold: Untold,
    /// The request whose answer is awaited before more is told, and where to go on when the leader was
    /// too busy for it.
    asked: Option<(RequestId, Untold)>,
    /// The leader was too busy: nothing until the next tick.
    rests: bool,
}

impl Resuming {
    /// Whether calls that wait are still to be sent.
    pub(super) const fn is_at_requests(&self) -> bool {
        matches!(self.untold, Untold::Requests(_))
    }

    #[cfg(test)]
    pub(super) fn asked(&self) -> Option<RequestId> {
        self.asked.as_ref().map(|(request, _)| *request)
    }

    /// A request was answered; whether it was one of these.
    pub(super) fn answered(&mut self, request: RequestId, error: Option<CallErrorKind>) -> bool {
        if self.asked.as_ref().is_none_or(|(asked, _)| *asked != request) {
            return false;
        }
        if let Some((_, before)) = self.asked.take()
            && error.is_some_and(is_passing)
        {
            self.untold = before;
            self.rests = true;
        }
        true
    }
}

impl Session {
    /// A stream to a leader is open: subscribes, or resumes the subscription.
    pub fn opened(&mut self, out: &mut Vec<Output>) {
        if self.ended {
            return;
        }
        self.subscribed = false;
        self.demand_untold = false;
        self.resuming = Resuming::default();
        let mut subscribe = self.subscribe.clone();
        subscribe.resume = self.subscription;
        subscribe.suppressed_roles = self.silent_roles();
        self.send(Call::Subscribe(subscribe), out);
    }

    /// The leader is lost. Offers die with it.
    pub fn closed(&mut self, out: &mut Vec<Output>) {
        self.subscribed = false;
        self.resuming = Resuming::default();
        let void = std::mem::take(&mut self.offers);
        for offer in void.into_keys() {
            tell(out, event::rescind(self.cluster, offer));
        }
        self.void_inverse_offers(out);
    }

    /// A leader has taken the subscription up.
    pub(super) fn taken_up(
        &mut self,
        fence: Fence,
        framework: FrameworkId,
        places: &dyn Places,
        out: &mut Vec<Output>,
    ) {
        self.subscribed = true;
        if !std::mem::replace(&mut self.told_subscribed, true) {
            let pace = number::seconds(HEARTBEAT_MS);
            let leader = places.leader();
            tell(out, event::subscribed(fence, framework, pace, leader.as_ref()));
            tell(out, event::heartbeat());
        }
        self.resuming = Resuming { untold: Untold::Requests(None), asked: None, rests: false };
        self.tell_demand(out);
        self.tell_wishes(out);
        self.release(out);
    }

    /// Whether the leader is still to be told something that it may be told now.
    #[must_use]
    pub fn has_more(&self) -> bool {
        let Resuming { untold, asked, rests } = &self.resuming;
        self.subscribed && asked.is_none() && !rests && *untold != Untold::Nothing
    }

    /// Tells the leader the next piece of what it is still to be told.
    pub fn say_more(&mut self, out: &mut Vec<Output>) {
        if !self.has_more() {
            return;
        }
        self.resuming.untold = match std::mem::take(&mut self.resuming.untold) {
            Untold::Nothing => Untold::Nothing,
            Untold::Requests(after) => match self.next_in_turn(after) {
                Some(request) => {
                    self.send_waiting(request, out);
                    Untold::Requests(Some(request))
                }
                None => Untold::Pending(None),
            },
            Untold::Pending(after) => {
                let next = following(&self.pending, after.as_ref()).take(TASKS_IN_PIECE);
                let queries = next.map(|(task, agent)| query(task, *agent, true)).collect();
                let last = self.ask_for_tasks(queries, || Untold::Pending(after), out);
                last.map_or(Untold::Live(None), |last| Untold::Pending(Some(last)))
            }
            Untold::Live(after) => {
                let pending = &self.pending;
                let next = following(&self.tasks, after.as_ref());
                // What the former leader itself told of a task carries no id and is not sent again, so
                // all live tasks are asked for, not only those that nothing was heard of.
                let live =
                    next.filter(|(task, _)| !pending.contains_key(*task)).take(TASKS_IN_PIECE);
                let queries = live.map(|(task, agent)| query(task, *agent, false)).collect();
                let last = self.ask_for_tasks(queries, || Untold::Live(after), out);
                last.map_or(Untold::Operations(None), |last| Untold::Live(Some(last)))
            }
            Untold::Operations(after) => self.ask_for_operations(after, out),
            Untold::Kills(after) => self.say_kills(after.as_ref(), out),
        };
    }

    /// The call that is told after this one.
    fn next_in_turn(&self, after: Option<RequestId>) -> Option<RequestId> {
        let mut following = self.waiting.following(after);
        let next = following.find(|(_, waiting)| !self.waits_for_wishes(&waiting.call));
        next.map(|(request, _)| request)
    }

    /// From time to time: what a busy leader did not take is said again.
    pub fn tick(&mut self, out: &mut Vec<Output>) {
        self.resuming.rests = false;
        if self.subscribed {
            self.tell_wishes(out);
            self.release(out);
        }
    }

    /// Asks for the tasks, if there are any, and tells the last of them.
    fn ask_for_tasks(
        &mut self,
        tasks: Vec<TaskQuery>,
        before: impl FnOnce() -> Untold,
        out: &mut Vec<Output>,
    ) -> Option<TaskId> {
        let last = tasks.last().map(|query| query.task.clone())?;
        self.ask_in_turn(Call::Reconcile { tasks }, before(), out);
        Some(last)
    }

    fn ask_for_operations(&mut self, after: Option<OperationId>, out: &mut Vec<Output>) -> Untold {
        let next = following(&self.operations, after.as_ref()).take(OPERATIONS_PER_CALL_MAX);
        let queries = next.map(|(id, agent)| OperationQuery { id: id.clone(), agent: *agent });
        let operations: Vec<OperationQuery> = queries.collect();
        let Some(last) = operations.last().map(|query| query.id.clone()) else {
            return Untold::Kills(None);
        };
        let before = Untold::Operations(after);
        self.ask_in_turn(Call::ReconcileOperations { operations }, before, out);
        Untold::Operations(Some(last))
    }

    fn say_kills(&mut self, after: Option<&TaskId>, out: &mut Vec<Output>) -> Untold {
        let next = following(&self.kills, after).take(KILLS_IN_PIECE);
        let kills: Vec<Call> = next
            .map(|(task, (agent, grace_ms))| Call::Kill {
                task: task.clone(),
                agent: *agent,
                grace_ms: *grace_ms,
            })
            .collect();
        let mut untold = Untold::Nothing;
        for call in kills {
            if let Call::Kill { task, .. } = &call {
                untold = Untold::Kills(Some(task.clone()));
            }
            self.send(call, out);
        }
        untold
    }

    /// Sends a call after which nothing more is told until it is answered; if the leader is too busy, it
    /// goes on `before` it, after a rest.
    fn ask_in_turn(&mut self, call: Call, before: Untold, out: &mut Vec<Output>) {
        let request = self.next_request();
        self.resuming.asked = Some((request, before));
        self.send_as(Some(request), call, out);
    }
}

fn query(task: &TaskId, agent: AgentId, pending: bool) -> TaskQuery {
    TaskQuery { task: task.clone(), agent: Some(agent), pending }
}

/// The entries of a map after this one.
fn following<'a, K: Ord, V>(
    all: &'a BTreeMap<K, V>,
    after: Option<&K>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    all.range((from, Bound::Unbounded))
}
