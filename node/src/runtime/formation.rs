//! Drives the forming of the voters' group: asks the seeds, answers them, and carries out what is
//! decided.

mod join;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use meshos_membership::{
    bootstrap::{
        Bootstrap, Decision, Effect, Event, Own, ProbeAnswer, ProbeRequest, SeedAnswer, SeedList,
        Waiting, own_seed,
    },
    gossip,
    identity::{DataDir, NodeIdentity},
    raft::{RaftGroup, Voter},
};
use meshos_protocol::{
    codec,
    ids::{ClusterId, NodeId},
    messages::node::{Reply, Request},
};
use meshos_sdk::wire::WireError;
use tokio::sync::mpsc;

use crate::{
    clock::Clock,
    cluster::RegistryHost,
    config::{KeySource, NodeOptions, Seed},
    net::{Net, Target},
};

pub(in crate::runtime) use join::make_voter;
use told::Told;

/// Answers of seeds that may wait.
const EVENTS_MAX: usize = 1_024;
/// How long a seed may take to answer.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// How often the group is looked at, beside when raft tells.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Answers probes, and tells what the node waits for; cheap to clone.
#[derive(Clone)]
pub(crate) struct Formation {
    shared: Arc<Shared>,
}

struct Shared {
    machine: Mutex<Machine>,
    clock: Clock,
    raft: Arc<RaftGroup>,
    net: Net,
    registry: RegistryHost,
    seeds: BTreeMap<String, Seed>,
    own: Voter,
    /// Whether the node has keys of its own making, since it was given none.
    throwaway: bool,
    events: mpsc::Sender<Event>,
    queue: Mutex<Option<mpsc::Receiver<Event>>>,
}

struct Machine {
    bootstrap: Bootstrap,
    /// Effects of probes, for the loop.
    effects: Vec<Effect>,
    waiting: Vec<Waiting>,
    told: Told,
}

impl Formation {
    /// Nothing is asked before [`Formation::run`].
    pub(crate) fn new(
        options: &NodeOptions,
        node: NodeIdentity,
        raft: Arc<RaftGroup>,
        net: Net,
        registry: RegistryHost,
        clock: Clock,
    ) -> Result<Self> {
        let list = SeedList::parse(options.seeds.iter().map(|seed| &seed.gossip))?;
        if let Some(warning) = list.warning() {
            tracing::warn!("{warning}");
        }
        let own = Voter {
            raft_id: node.raft_id,
            node_id: node.node_id,
            address: options.agent_address().to_string(),
        };
        let seed = own_seed_of(options, &list)?;
        let bootstrap = Bootstrap::new(
            Own {
                voter: own.clone().into(),
                cluster_id: node.cluster_id,
                has_raft_state: raft.had_state(),
                seed,
                first_start: node.generation.0 == 1,
            },
            list,
        );
        let seeds = options.seeds.iter().map(|seed| {
            let name = SeedList::parse([&seed.gossip]).ok()?.first()?.to_owned();
            Some((name, seed.clone()))
        });
        let (events, queue) = mpsc::channel(EVENTS_MAX);
        let machine =
            Machine { bootstrap, effects: Vec::new(), waiting: Vec::new(), told: Told::default() };
        let shared = Shared {
            machine: Mutex::new(machine),
            clock,
            raft,
            net,
            registry,
            seeds: seeds.flatten().collect(),
            own,
            throwaway: matches!(options.keys, KeySource::Loopback(_)),
            events,
            queue: Mutex::new(Some(queue)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Answers another node's probe.
    pub(crate) async fn answer(&self, from: NodeId, body: &[u8]) -> Result<Vec<u8>, String> {
        let request: ProbeRequest = codec::decode(body).map_err(|error| error.to_string())?;
        if request.node_id != from {
            return Err("a probe must name the node that sends it".into());
        }
        let effects = self.handle(Event::Probed(request));
        let mut answer = None;
        let mut later = Vec::new();
        for effect in effects {
            match effect {
                // What the answer promises holds before it leaves.
                Effect::Admit(nodes) => self.shared.raft.admit(nodes),
                Effect::Answer(found) => answer = Some(found),
                other => later.push(other),
            }
        }
        self.lock().effects.extend(later);
        // The loop sees these effects at its next turn; a full queue turns it anyway.
        let _turned = self.shared.events.try_send(Event::Tick);
        let answer = answer.ok_or("this node has no answer yet")?;
        // A vote taken at this moment would make "empty" a lie.
        if matches!(answer, SeedAnswer::Empty { .. }) && !self.shared.raft.is_pristine().await {
            return Err("this node is just taking part in a group".into());
        }
        Ok(codec::encode(&ProbeAnswer { version: 1, answer }))
    }

    /// What the node waits for before it can take part; empty when it does.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        self.lock().waiting.clone()
    }

    /// Runs until the node must not go on; ends only with an error.
    pub(crate) async fn run(
        self,
        data_dir: &DataDir,
        mut node: NodeIdentity,
        gossip: &gossip::Handle,
    ) -> Result<()> {
        let queue = self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut queue = queue.context("the forming of the cluster runs already")?;
        if let Some(cluster) = node.cluster_id.filter(|_| self.shared.raft.had_state()) {
            let data_dir = data_dir.path().display();
            tracing::info!(%cluster, %data_dir, "the data directory makes this node a member of its cluster's group; --seed does not change that");
        }
        let mut cluster = self.shared.registry.cluster();
        let mut leadership = self.shared.raft.leadership();
        let mut seen = ClustersSeen { changes: gossip.changes(), told: BTreeSet::new() };
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        cluster.mark_changed();
        let mut event = Some(Event::Started);
        loop {
            if let Some(event) = event.take() {
                let effects = self.handle(event);
                self.lock().effects.extend(effects);
            }
            let effects = std::mem::take(&mut self.lock().effects);
            for effect in effects {
                self.perform(effect, data_dir, &mut node).await?;
            }
            let deadline = self.lock().bootstrap.next_deadline();
            let deadline = deadline.map(|mono| self.shared.clock.instant(mono));
            event = tokio::select! {
                answered = queue.recv() => answered,
                Ok(()) = cluster.changed() => {
                    let known = *cluster.borrow_and_update();
                    if let Some(cluster) = known {
                        data_dir.set_cluster_id(&mut node, cluster)?;
                        gossip.set_cluster(cluster);
                    }
                    known.map(Event::ClusterKnown)
                }
                cluster = seen.next(gossip), if node.cluster_id.is_none() => {
                    tracing::warn!(%cluster, "gossip tells of a cluster");
                    Some(Event::ClusterSeen(cluster))
                }
                Ok(()) = leadership.changed() => self.group(),
                _ = look.tick() => self.group(),
                () = crate::driver::until([deadline]) => Some(Event::Tick),
            };
        }
    }

    /// The group as raft has it, once there is one.
    fn group(&self) -> Option<Event> {
        let voters: Vec<Voter> =
            self.shared.raft.voters().into_iter().map(|status| status.voter).collect();
        let leader = self.shared.raft.leadership().borrow().leader.clone();
        (!voters.is_empty()).then_some(Event::GroupChanged { voters, leader })
    }

    fn handle(&self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        let now = self.shared.clock.now().mono;
        self.lock().bootstrap.handle(now, event, &mut effects);
        effects
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Machine> {
        self.shared.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn perform(
        &self,
        effect: Effect,
        data_dir: &DataDir,
        node: &mut NodeIdentity,
    ) -> Result<()> {
        match effect {
            Effect::Probe { seed, probe, request } => self.probe(seed, probe, request),
            Effect::Answer(_) => {}
            Effect::Admit(nodes) => self.shared.raft.admit(nodes),
            Effect::WaitingFor(waiting) => {
                let mut machine = self.lock();
                machine.told.tell(&waiting);
                machine.waiting = waiting;
            }
            Effect::Decided(decision) => self.decided(decision, data_dir, node).await?,
        }
        Ok(())
    }

    async fn decided(
        &self,
        decision: Decision,
        data_dir: &DataDir,
        node: &mut NodeIdentity,
    ) -> Result<()> {
        {
            let mut machine = self.lock();
            machine.told = Told::default();
            machine.waiting.clear();
        }
        tracing::info!(?decision, "the node's place in the cluster is decided");
        match decision {
            Decision::Initialise { members } => {
                self.shared.raft.initialise(&members).await.context("the group cannot begin")?;
            }
            Decision::AwaitLog => {}
            Decision::JoinAsLearner { via: _, cluster_id, voters, replaces } => {
                self.belongs_to(cluster_id, data_dir, node)?;
                self.shared.raft.admit(voters.iter().map(|voter| voter.node_id));
                tokio::spawn(join::ask_until_voter(self.clone(), voters, replaces));
            }
            Decision::JoinAsNode { via: _, cluster_id } => {
                self.belongs_to(cluster_id, data_dir, node)?;
            }
            Decision::Refuse(refusal) => return Err(refusal.into()),
        }
        Ok(())
    }

    fn belongs_to(
        &self,
        cluster: ClusterId,
        data_dir: &DataDir,
        node: &mut NodeIdentity,
    ) -> Result<()> {
        data_dir.set_cluster_id(node, cluster)?;
        self.shared.registry.learn_cluster(cluster);
        Ok(())
    }

    fn probe(&self, seed: String, probe: u64, request: ProbeRequest) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let event = match ask(&shared, &seed, &request).await {
                Ok(answer) => Event::Answered { seed, probe, answer },
                Err(Unasked { why, refused }) => Event::Unreachable { seed, why, refused },
            };
            // A full queue loses an answer; the seed is asked again.
            let _queued = shared.events.try_send(event);
        });
    }
}

/// Tells each cluster that live peers belong to, once.
struct ClustersSeen {
    changes: gossip::Changes,
    told: BTreeSet<ClusterId>,
}

impl ClustersSeen {
    /// The next one. Cancel-safe.
    async fn next(&mut self, gossip: &gossip::Handle) -> ClusterId {
        loop {
            let seen = gossip.view().clusters();
            if let Some(new) = seen.difference(&self.told).next().copied() {
                self.told.insert(new);
                return new;
            }
            if self.changes.next().await.is_none() {
                // Gossip has ended: the node stops.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Why a seed has not answered.
struct Unasked {
    why: String,
    /// Whether it is about certificates.
    refused: bool,
}

impl From<String> for Unasked {
    fn from(why: String) -> Self {
        Self { why, refused: false }
    }
}

impl Unasked {
    fn new(error: &WireError, throwaway: bool) -> Self {
        let refused = matches!(error, WireError::Credentials(_));
        let mut why = error.to_string();
        if refused && throwaway {
            why += ": this node was started with neither --keys nor --join-token, and so with throw-away keys of its own";
        }
        Self { why, refused }
    }
}

async fn ask(shared: &Shared, seed: &str, request: &ProbeRequest) -> Result<SeedAnswer, Unasked> {
    let address = shared.seeds.get(seed).map(|seed| seed.quic.clone());
    let address = address.ok_or_else(|| "it is not in this node's list of seeds".to_owned())?;
    let target = Target { node: None, address };
    let body = codec::encode(request);
    let asked = async {
        shared.net.link(&target).await?.request(Request::Probe { body }, PROBE_LIMIT).await
    };
    match asked.await.map_err(|error| Unasked::new(&error, shared.throwaway))? {
        Reply::Bytes { body } => codec::decode::<ProbeAnswer>(&body)
            .map(|answer| answer.answer)
            .map_err(|error| error.to_string().into()),
        Reply::Failed { message } => Err(message.into()),
        other => Err(format!("it gave an unexpected answer: {other:?}").into()),
    }
}

/// Which seed this node is: the one with its advertised address, else the one that resolves to an
/// address of this machine.
fn own_seed_of(options: &NodeOptions, seeds: &SeedList) -> Result<Option<String>> {
    let advertised = options.http_address().to_string();
    if seeds.contains(&advertised) {
        return Ok(own_seed(seeds, Some(&advertised), &[])?);
    }
    let port = options.listen.port();
    let local: Vec<String> =
        seeds.iter().filter(|seed| is_local(seed, port)).map(str::to_owned).collect();
    Ok(own_seed(seeds, None, &local)?)
}

/// Whether the seed names the port and resolves to an address of this machine: one that a socket
/// can be bound to.
fn is_local(seed: &str, port: u16) -> bool {
    use std::net::{ToSocketAddrs as _, UdpSocket};
    let Ok(addresses) = seed.to_socket_addrs() else { return false };
    addresses
        .filter(|address| address.port() == port)
        .any(|address| UdpSocket::bind((address.ip(), 0)).is_ok())
}

/// Used by the part that joins.
impl Formation {
    fn own(&self) -> &Voter {
        &self.shared.own
    }

    fn net(&self) -> &Net {
        &self.shared.net
    }

    fn raft(&self) -> &RaftGroup {
        &self.shared.raft
    }
}
