//! One term of leadership: the loop that owns the master.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, bail};
use meshos_control::{
    master::{Effect, Event, Master, View, VoterRelease},
    recording::Start,
    registry::{Command, Entry},
};
use meshos_membership::{
    raft::{Led, MemberRelease, Voter, VoterRole},
    view::ViewChange,
};
use meshos_protocol::{
    codec,
    ids::{ClusterId, Fence, ProposalId, RequestId},
    messages::scheduler::CallError,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    Handle, Input, MAILBOX_MAX, Options, Pictured, Port,
    flush::{Acting, flush},
    proposer::Proposer,
    recorder::Recorder,
    streams::{StreamInput, Streams},
};
use crate::{
    cluster::{AppliedEntry, HintSender},
    driver::{Publisher, Snapshot, until},
    net::Target,
};

/// Events handled before effects are carried out.
const BATCH_MAX: usize = 512;

/// Leads until raft says otherwise, the lease runs out, or `shutdown`.
pub(super) async fn lead(
    options: &Options,
    handle: &Handle,
    led: Led,
    shutdown: CancellationToken,
) -> Result<()> {
    let fence = Fence { cluster: cluster_id(options, led).await?, term: led.term };
    let (registry, applied) = options.registry.follow();
    let (sender, mailbox) = mpsc::channel(MAILBOX_MAX);
    let now = options.clock.now();
    let me = options.net.node();
    // Ties are broken by a seed that differs from term to term and is in the log, for replay.
    let seed = led.term.0 ^ me.bits();
    tracing::info!(%fence.cluster, %fence.term, seed, "a master is made");
    let hints = options.hints.all();
    let config = options.config.clone();
    let release = env!("CARGO_PKG_VERSION").to_owned();
    let start = Start { release, fence, node: me, now, seed, config };
    let (recordings, bytes_max) = (&options.recordings, options.record_bytes);
    let recorder = Recorder::start(recordings, bytes_max, &start, &registry, &hints);
    let master = Master::new(start.config, fence, me, registry, hints, now, seed);
    let view = Snapshot::new(master.view());
    let voters = options.raft.voters();
    let voters = voters.iter().map(|status| target(&status.voter));
    let term = Term {
        options,
        fence,
        master,
        recorder,
        effects: Vec::new(),
        streams: Streams::new(fence, sender.clone()),
        proposer: Proposer::start(Arc::clone(&options.raft), led.term, sender.clone()),
        hints: HintSender::start(&options.net, fence, voters, options.hints.clone()),
        publisher: Publisher::new(view.clone()),
        operators: BTreeMap::new(),
        requests: 0,
        over: false,
    };
    handle.port.store(Some(Arc::new(Port { mailbox: sender, view })));
    term.run(mailbox, applied, shutdown).await;
    Ok(())
}

/// The cluster's id; the first leader of a new cluster makes one.
async fn cluster_id(options: &Options, led: Led) -> Result<ClusterId> {
    let mut known = options.registry.cluster();
    if let (registry, _) = options.registry.follow()
        && let Some(cluster) = registry.cluster()
    {
        return Ok(cluster);
    }
    let command = Command::FormCluster { cluster: (options.new_cluster_id)() };
    let entry = Entry { term: led.term, proposal: ProposalId(0), command };
    options
        .raft
        .propose_in(led.term, codec::encode(&[entry]))
        .await
        .context("cannot form the cluster")?;
    match *known.borrow_and_update() {
        Some(cluster) => Ok(cluster),
        None => bail!("the registry has no cluster id although one was committed"),
    }
}

fn target(voter: &Voter) -> Target {
    Target { node: Some(voter.node_id), address: voter.address.clone() }
}

/// A member of the raft group as the master sees it.
fn told(member: MemberRelease) -> VoterRelease {
    let MemberRelease { voter, role, release, answers } = member;
    VoterRelease { node: voter.node_id, votes: role == VoterRole::Voter, release, answers }
}

struct Term<'a> {
    options: &'a Options,
    fence: Fence,
    master: Master,
    recorder: Recorder,
    effects: Vec<Effect>,
    streams: Streams,
    proposer: Proposer,
    hints: HintSender,
    publisher: Publisher<View>,
    operators: BTreeMap<RequestId, oneshot::Sender<Result<(), CallError>>>,
    requests: u64,
    /// Set when the master was told that it is deposed.
    over: bool,
}

impl Term<'_> {
    async fn run(
        mut self,
        mut mailbox: mpsc::Receiver<Input>,
        mut applied: mpsc::Receiver<AppliedEntry>,
        shutdown: CancellationToken,
    ) {
        let mut leadership = self.options.raft.leadership();
        let mut gossip = self.options.gossip.changes();
        let mut releases = self.options.raft.releases();
        releases.mark_changed();
        let mut inputs = Vec::with_capacity(BATCH_MAX);
        let mut entries = Vec::with_capacity(BATCH_MAX);
        while !self.over {
            let deadline = self.master.next_deadline();
            let deadline = deadline.map(|mono| self.options.clock.instant(mono));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => self.depose("the node stops"),
                changed = leadership.changed() => {
                    let led = leadership.borrow_and_update().led;
                    if changed.is_err() || led.map(|led| led.term) != Some(self.fence.term) {
                        self.depose("raft says so");
                    }
                }
                count = applied.recv_many(&mut entries, BATCH_MAX) => {
                    if count == 0 {
                        self.depose("the registry was replaced or is too far ahead");
                    }
                }
                Ok(()) = releases.changed() => {
                    let members = releases.borrow_and_update().clone();
                    self.hints.follow(members.iter().map(|member| target(&member.voter)));
                    self.handle(Event::Voters { voters: members.into_iter().map(told).collect() });
                }
                Some(changes) = gossip.next() => changes.iter().for_each(|change| self.heard(change)),
                count = mailbox.recv_many(&mut inputs, BATCH_MAX) => {
                    if count == 0 {
                        self.depose("nobody can reach the master");
                    }
                }
                () = until([deadline, self.publisher.due()]) => {}
            }
            for (entry, outcome) in entries.drain(..) {
                self.handle(Event::Applied { entry, outcome });
            }
            for input in inputs.drain(..) {
                self.take(input);
            }
            self.handle(Event::Tick);
            self.publisher.touch();
            flush(&mut self);
            self.recorder.flush();
            self.publisher.changed(|| self.master.view());
        }
        self.recorder.finish().await;
    }

    /// Gossip is a hint: it only shortens the wait for an agent that is silent already. The first
    /// changes that a new master hears are all that is known, the dead among it.
    fn heard(&mut self, change: &ViewChange) {
        match change {
            ViewChange::PeerUp(peer) => self.handle(Event::PeerUp { node: peer.node_id }),
            ViewChange::PeerDown(peer) => self.handle(Event::PeerDown { node: peer.node_id }),
            ViewChange::PeerGone(node) => self.handle(Event::PeerForgotten { node: *node }),
            ViewChange::PeerChanged(_)
            | ViewChange::LeaderHint(_)
            | ViewChange::Refused(_)
            | ViewChange::GossipRestarted(_) => {}
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Agent { node, opened } => {
                let connection = self.streams.add_agent(opened);
                self.handle(Event::AgentConnected { connection, node });
            }
            Input::Relay { gateway, principal, opened } => {
                let session = self.streams.add_session(opened);
                self.handle(Event::SessionOpened { session, principal, gateway });
            }
            Input::Operator { call, answer } => {
                self.requests += 1;
                let request = RequestId(self.requests);
                self.operators.retain(|_, waiting| !waiting.is_closed());
                self.operators.insert(request, answer);
                self.handle(Event::Operator { request, call });
            }
            Input::Explainer { answer } => {
                // Whoever asked may have gone, and then it costs nothing.
                if !answer.is_closed() {
                    // So that what is left of a refusal is counted from now on.
                    self.handle(Event::Tick);
                    let began = std::time::Instant::now();
                    let explainer = self.master.explainer();
                    let _heard = answer.send(Pictured { explainer, took: began.elapsed() });
                }
            }
            Input::Stream(input) => self.take_from_stream(input),
            Input::ProposalsEnded => self.depose("a proposal failed"),
        }
    }

    fn take_from_stream(&mut self, input: StreamInput) {
        match input {
            StreamInput::FromAgent { connection, message } => {
                self.handle(Event::AgentMessage { connection, message: *message });
            }
            StreamInput::AgentClosed { connection } => {
                self.streams.close_agent(connection);
                self.handle(Event::AgentDisconnected { connection });
            }
            StreamInput::FromFramework { session, frame } => {
                self.handle(Event::Call { session, frame: *frame });
            }
            StreamInput::SessionClosed { session } => {
                self.streams.close_session(session);
                self.handle(Event::SessionClosed { session });
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.options.clock.now();
        self.recorder.handle(&mut self.master, now, event, &mut self.effects);
    }
}

impl Acting for Term<'_> {
    fn lease_valid(&self) -> bool {
        self.options.raft.lease_valid()
    }

    fn is_over(&self) -> bool {
        self.over
    }

    fn effects(&mut self) -> &mut Vec<Effect> {
        &mut self.effects
    }

    fn depose(&mut self, why: &str) {
        if !self.over {
            tracing::info!(term = %self.fence.term, why, "the master is deposed");
            self.over = true;
            self.effects.clear();
            self.handle(Event::Deposed);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Propose(entry) => {
                if !self.proposer.propose(entry) {
                    self.depose("its proposals are not taken any more");
                }
            }
            Effect::SendToAgent { connection, message } => {
                if !self.streams.send_to_agent(connection, message) {
                    self.handle(Event::AgentDisconnected { connection });
                }
            }
            Effect::CloseConnection { connection, why } => {
                tracing::info!(?connection, why, "an agent's stream is closed");
                self.streams.close_agent(connection);
            }
            Effect::SendToFramework { session, event } => {
                if !self.streams.send_to_framework(session, event) {
                    self.handle(Event::SessionClosed { session });
                }
            }
            Effect::CloseSession { session } => self.streams.close_session(session),
            Effect::Hint(hint) => self.hints.send(hint),
            Effect::AnswerOperator { request, result } => {
                if let Some(answer) = self.operators.remove(&request) {
                    self.publisher.publish(self.master.view());
                    // The operator may have gone.
                    let _heard = answer.send(result);
                }
            }
        }
    }
}
