//! What only the leader knows: answered here when this node leads, else passed on.

use std::{sync::Arc, time::Duration};

use meshos_control::master::View;
use meshos_protocol::{
    messages::node::{Reply, Request},
    wishes::FaultDomain,
};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Api,
    call::{Answer, Call, Failure},
    explain::Asked,
    maintenance, nodes, operations,
    pages::Rows,
    reservations,
    route::{Leading, Page, TaskName},
    shares, tasks,
    voters::Answering,
};
use crate::{cluster::Leader, net::Target};

/// How long a call waits for a leader to be there before it is told that none is known.
const LEADER_WAIT: Duration = Duration::from_secs(2);
/// Between two looks whether this node itself leads by now, which nothing tells.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);
/// How long the leader may take to answer a read.
pub(super) const READ_LIMIT: Duration = Duration::from_secs(5);
/// How long the leader may take to carry out a change: longer than any of them, of which the longest is
/// to ask a new voter and have it copy the log. Whoever called waits a little longer.
pub(super) const CHANGE_LIMIT: Duration = Duration::from_secs(85);

/// Why the leader's answer is not there.
enum Lost {
    /// The call has not reached it.
    Unreached(String),
    /// It may have carried out the call.
    Unanswered(String),
}

#[derive(Serialize)]
struct LeaderRow {
    node_id: String,
    address: String,
    term: u64,
    cluster: String,
    /// Where the leader stands; nodes of other regions are offered to those only who go there.
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<FaultDomain>,
}

fn task_row(view: &View, name: &TaskName) -> Result<Answer, Failure> {
    let task = tasks::find(view.tasks.iter(), view.tasks_ended.iter(), name);
    let away = view.agents.iter().filter(|agent| !agent.connected).count();
    let task = task.map_err(|failure| failure.of_absent(away))?;
    let agent = view.agents.iter().find(|agent| agent.id == task.node_id);
    Answer::json(&tasks::located(task, agent.map(AsRef::as_ref)))
}

impl Api {
    /// Answers as the leader, or has it answer.
    pub(super) async fn answer_by_leader(
        &self,
        route: &Leading,
        call: &Call,
    ) -> Result<Answer, Failure> {
        let answered = self.answer_by_leader_in_time(route, call).await;
        match (route, answered) {
            // When the group has lost its majority, its members are what the operator needs.
            (Leading::Voters, Err(failure)) if !call.forwarded => {
                self.voters_without_leader().unwrap_or(Err(failure))
            }
            // Among these there is none that a leader of this release does not know.
            (Leading::Mesos(_), Ok(answer)) if answer.status == 404 => {
                let why = "the leader runs a release that does not answer this yet: upgrade it";
                Err(Failure::unavailable(why))
            }
            // Nor among these: they are all made in the one way.
            (Leading::MesosChange(_), Ok(answer)) if answer.status == 405 => {
                let why = "the leader runs a release that does not change anything over this API: upgrade it";
                Err(Failure::unavailable(why))
            }
            (_, answered) => answered,
        }
    }

    async fn answer_by_leader_in_time(
        &self,
        route: &Leading,
        call: &Call,
    ) -> Result<Answer, Failure> {
        let give_up = Instant::now() + LEADER_WAIT;
        let mut following = self.options.tracker.leader();
        let mut trouble = None;
        loop {
            if self.led().is_some() {
                // Whoever lists must find what it was just told of.
                if route.lists_work() {
                    self.options.master.caught_up().await;
                }
                if let Some(view) = self.led() {
                    return self.answer_leading(route, call, view).await;
                }
            }
            if call.forwarded {
                return Err(Failure::no_leader(&[]));
            }
            let leader = following.borrow_and_update().clone();
            if let Some(leader) = leader.filter(|leader| leader.node != self.options.node) {
                let repeat = route.may_repeat();
                let answered = tokio::select! {
                    answered = self.pass_on(&leader, route, call) => Some(answered),
                    // The old leader may be dead: its successor knows better.
                    _ = following.changed(), if repeat => None,
                };
                match answered {
                    Some(Ok(answer)) if repeat && answer.is_leader_lost() => {}
                    Some(Ok(answer)) if !answer.is_no_leader() => return Ok(answer),
                    Some(Ok(_)) | None => {}
                    Some(Err(Lost::Unanswered(why))) if !repeat => {
                        return Err(Failure::fate_unknown(&why));
                    }
                    Some(Err(Lost::Unanswered(why) | Lost::Unreached(why))) => trouble = Some(why),
                }
            }
            if Instant::now() >= give_up {
                let short =
                    self.voters_answering().is_some_and(|voters| voters.shortage().is_some());
                return Err(match trouble {
                    // A dead leader is not the trouble when there can be no other.
                    Some(trouble) if !short => Failure::unavailable(trouble),
                    _ => self.no_leader(),
                });
            }
            tokio::select! {
                _ = following.changed() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    /// The newest picture, when this node leads and its lease holds.
    pub(super) fn led(&self) -> Option<Arc<View>> {
        let view = self.options.master.view()?;
        (!view.deposed && self.options.raft.lease_valid()).then_some(view)
    }

    pub(super) fn no_leader(&self) -> Failure {
        Failure::no_leader(&self.why_leaderless())
    }

    /// What keeps a leader from being there, as far as this node knows.
    pub(super) fn why_leaderless(&self) -> Vec<String> {
        let waiting = self.options.formation.waiting().into_iter();
        let shortage = self.voters_answering().and_then(Answering::shortage);
        let doubted = self.options.tracker.doubted();
        waiting.map(|one| one.reason).chain(shortage).chain(doubted).collect()
    }

    async fn pass_on(&self, leader: &Leader, route: &Leading, call: &Call) -> Result<Answer, Lost> {
        let target = Target { node: Some(leader.node), address: leader.agent_address.clone() };
        let limit = if route.may_repeat() { READ_LIMIT } else { CHANGE_LIMIT };
        self.forward(&target, call, limit).await.map_err(|lost| match lost {
            Lost::Unreached(why) => {
                Lost::Unreached(format!("the leader {} cannot be reached: {why}", leader.node))
            }
            Lost::Unanswered(why) => {
                Lost::Unanswered(format!("the leader {} has not answered: {why}", leader.node))
            }
        })
    }

    async fn forward(&self, target: &Target, call: &Call, limit: Duration) -> Result<Answer, Lost> {
        let link = self.options.net.link(target).await;
        let link = link.map_err(|error| Lost::Unreached(error.to_string()))?;
        let request = Request::Http {
            method: call.method.clone(),
            path: call.path.clone(),
            principal: call.principal.clone(),
            body: call.body.clone(),
        };
        match link.request(request, limit).await {
            Ok(Reply::Http { status, content_type, body }) => {
                Ok(Answer::forwarded(status, content_type, body))
            }
            Ok(Reply::Failed { message }) => Err(Lost::Unreached(message)),
            Ok(other) => Err(Lost::Unreached(format!("it gave an unexpected answer: {other:?}"))),
            Err(error) => Err(Lost::Unanswered(error.to_string())),
        }
    }

    /// Passes a call on to a node that is not asked as the leader.
    pub(super) async fn forward_to_node(
        &self,
        target: &Target,
        call: &Call,
    ) -> Result<Answer, Failure> {
        self.forward_within(target, call, READ_LIMIT).await
    }

    /// The same for a call that may take so long.
    pub(super) async fn forward_within(
        &self,
        target: &Target,
        call: &Call,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        self.forward(target, call, limit).await.map_err(|lost| {
            let (Lost::Unreached(why) | Lost::Unanswered(why)) = lost;
            let node = target.node.map_or_else(|| target.address.clone(), |node| node.to_string());
            Failure::unavailable(format!("node {node} cannot be asked: {why}"))
        })
    }

    async fn answer_leading(
        &self,
        route: &Leading,
        call: &Call,
        view: Arc<View>,
    ) -> Result<Answer, Failure> {
        let answered = self.answer_from(route, call, Arc::clone(&view)).await;
        match (answered, route) {
            // Whoever was just told of a task must find it, and the picture is a moment behind.
            (
                Err(failure),
                Leading::Task(_) | Leading::KillTask | Leading::Explain(Asked::Task(_)),
            ) if failure.is_not_found() => match self.options.master.settled(&view).await {
                Some(settled) => self.answer_from(route, call, settled).await,
                None => Err(failure),
            },
            (answered, _) => answered,
        }
    }

    async fn answer_from(
        &self,
        route: &Leading,
        call: &Call,
        view: Arc<View>,
    ) -> Result<Answer, Failure> {
        match route {
            Leading::Leader => Answer::json(&self.leader_row(&view)),
            Leading::Nodes(page) => {
                let gossip = self.options.gossip.view();
                let own = self.options.options.clone();
                let facts = self.options.facts.borrow().clone();
                self.list(*page, move || {
                    nodes::rows(view.agents.iter(), &gossip, (&own, &facts)).map(Rows::Nodes)
                })
                .await
            }
            Leading::Frameworks(page) => {
                self.list(*page, move || Ok(Rows::Frameworks(nodes::frameworks(&view)))).await
            }
            Leading::Tasks(filter) => {
                let filter = filter.clone();
                self.list(filter.page, move || {
                    let rows = tasks::rows(view.tasks.iter(), view.tasks_ended.iter(), &filter);
                    Ok(Rows::Tasks(rows))
                })
                .await
            }
            Leading::Task(name) => task_row(&view, name),
            Leading::Mesos(reading) => self.read_for_mesos(reading, call.forwarded, view).await,
            Leading::MesosChange(media) => self.change_for_mesos(*media, call, &view).await,
            Leading::Offers(page) => {
                self.list(*page, move || Ok(Rows::Offers(nodes::offers(&view)))).await
            }
            Leading::Explain(asked) => self.explain(asked, &view).await,
            Leading::Voters => self.voters_known(true),
            Leading::Weights => Answer::json(&operations::weights(&view)),
            Leading::Roles => Answer::json(&shares::roles(&view)),
            Leading::Policy => shares::policy(&view),
            Leading::KillTask => self.kill_task(call, &view).await,
            Leading::Teardown => self.teardown(call).await,
            Leading::NodeGone => self.node_gone(call, &view).await,
            Leading::DrainNode => self.drain_node(call, &view).await,
            Leading::UndrainNode => self.undrain_node(call, &view).await,
            Leading::DeactivateNode => self.deactivate_node(call, &view, true).await,
            Leading::ReactivateNode => self.deactivate_node(call, &view, false).await,
            Leading::Maintenance => maintenance::rows(&view),
            Leading::ChangeMaintenance(what) => self.maintain(*what, call, &view).await,
            Leading::SetWeight => self.set_weight(call).await,
            Leading::Reservations(page) => {
                self.list(*page, move || Ok(Rows::Reservations(reservations::reservations(&view))))
                    .await
            }
            Leading::Volumes(page) => {
                self.list(*page, move || Ok(Rows::Volumes(reservations::volumes(&view)))).await
            }
            Leading::Reserve => self.reserve(call, &view).await,
            Leading::Unreserve => self.unreserve(call, &view).await,
            Leading::CreateVolume => self.create_volume(call, &view).await,
            Leading::DestroyVolume => self.destroy_volume(call, &view).await,
            Leading::SetPriority => self.set_priority(call).await,
            Leading::SetQuota => self.set_quota(call).await,
            Leading::SetPolicy => self.set_policy(call).await,
            Leading::AddVoter => self.add_voter(call, &view).await,
            Leading::RemoveVoter => self.remove_voter(call, &view).await,
            Leading::TransferLeader => self.transfer_leader(call, &view).await,
        }
    }

    /// This node, which leads.
    fn leader_row(&self, view: &View) -> LeaderRow {
        LeaderRow {
            node_id: self.options.node.to_string(),
            address: self.options.options.http_address().to_string(),
            term: view.fence.term.0,
            cluster: view.fence.cluster.to_string(),
            domain: self.options.options.domain.clone(),
        }
    }

    /// A list, or a page of it.
    async fn list<F>(&self, page: Option<Page>, make: F) -> Result<Answer, Failure>
    where
        F: FnOnce() -> Result<Rows, Failure> + Send + 'static,
    {
        let pages = Arc::clone(&self.pages);
        beside(move || match page {
            None => Answer::json(&make()?),
            Some(page) => pages.answer(page, make),
        })
        .await
    }
}

/// Runs what takes long on a large cluster beside the threads that serve everybody.
pub(super) async fn beside<F>(work: F) -> Result<Answer, Failure>
where
    F: FnOnce() -> Result<Answer, Failure> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(answered) => answered,
        Err(error) => Err(Failure::unavailable(format!("the answer was not made: {error}"))),
    }
}
