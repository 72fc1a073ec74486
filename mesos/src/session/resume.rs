//! Leaders come and go.

use meshos_protocol::{
    ids::{Fence, FrameworkId, RequestId},
    messages::scheduler::{Call, OPERATIONS_PER_CALL_MAX, TASKS_PER_CALL_MAX, TaskQuery},
    operation::OperationQuery,
};

use super::{HEARTBEAT_MS, Output, Places, Session, tell};
use crate::convert::{event, number};

impl Session {
    /// A stream to a leader is open: subscribes, or resumes the subscription.
    pub fn opened(&mut self, out: &mut Vec<Output>) {
        if self.ended {
            return;
        }
        self.subscribed = false;
        let mut subscribe = self.subscribe.clone();
        subscribe.resume = self.subscription;
        self.send(Call::Subscribe(subscribe), out);
    }

    /// The leader is lost. Offers die with it.
    pub fn closed(&mut self, out: &mut Vec<Output>) {
        self.subscribed = false;
        let void = std::mem::take(&mut self.offers);
        for offer in void.into_keys() {
            tell(out, event::rescind(self.cluster, offer));
        }
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
        let waiting: Vec<RequestId> = self.waiting.keys().copied().collect();
        for request in waiting {
            if let Some(call) = self.waiting.get(&request).map(|waiting| waiting.call.clone()) {
                self.send_as(Some(request), call, out);
            }
        }
        self.tell_wishes(out);
        self.ask_for_tasks(out);
        self.ask_for_operations(out);
        let kills: Vec<Call> = self
            .kills
            .iter()
            .map(|(task, (agent, grace_ms))| Call::Kill {
                task: task.clone(),
                agent: *agent,
                grace_ms: *grace_ms,
            })
            .collect();
        kills.into_iter().for_each(|call| self.send(call, out));
    }

    /// From time to time: what a busy leader did not take is said again.
    pub fn tick(&mut self, out: &mut Vec<Output>) {
        if self.subscribed {
            self.tell_wishes(out);
        }
    }

    fn tell_wishes(&mut self, out: &mut Vec<Output>) {
        let under_way = self.waiting.values().any(|it| matches!(it.call, Call::Wish { .. }));
        if let Some(wishes) = self.wishes_untold.clone().filter(|_| !under_way) {
            self.ask(None, Call::Wish { wishes }, out);
        }
    }

    /// What the former leader itself told of a task carries no id and is not sent again, so all live
    /// tasks are asked for, not only those that nothing was heard of.
    fn ask_for_tasks(&mut self, out: &mut Vec<Output>) {
        let pending = self.pending.iter().map(|(task, agent)| (task, agent, true));
        let live = self.tasks.iter().filter(|(task, _)| !self.pending.contains_key(*task));
        let all = pending.chain(live.map(|(task, agent)| (task, agent, false)));
        let queries: Vec<TaskQuery> = all
            .map(|(task, agent, pending)| TaskQuery {
                task: task.clone(),
                agent: Some(*agent),
                pending,
            })
            .collect();
        for part in queries.chunks(TASKS_PER_CALL_MAX) {
            self.send(Call::Reconcile { tasks: part.to_vec() }, out);
        }
    }

    fn ask_for_operations(&mut self, out: &mut Vec<Output>) {
        let pending = self.operations.iter();
        let queries: Vec<OperationQuery> =
            pending.map(|(id, agent)| OperationQuery { id: id.clone(), agent: *agent }).collect();
        for part in queries.chunks(OPERATIONS_PER_CALL_MAX) {
            self.send(Call::ReconcileOperations { operations: part.to_vec() }, out);
        }
    }
}
