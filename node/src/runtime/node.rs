//! The parts of a node, in the order in which they need each other.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use meshos_control::{agent::AgentConfig, master::MasterConfig, registry::LEVEL};
use meshos_isolation::{ContainerEvent, NativeContainerizer};
use meshos_membership::{
    gossip,
    identity::{FenceStore, NodeIdentity},
    raft::{self, RaftGroup, Timing},
    recovery::RecoveryStore,
    replacement::Rules,
    view::{Health, NodeFacts},
};
use meshos_protocol::ids::{ClusterId, Fence};
use meshos_sdk::wire::Idle;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    announce::Announcer,
    formation::Formation,
    handler::NodeHandler,
    health::{HealthWatch, Missing},
    identity::Identity,
    replace::Replacer,
};
use crate::{
    api::{self, Api},
    clock::Clock,
    cluster::{HintStore, LeaderTracker, QuicRaftNetwork, RegistryHost, TrackerOptions},
    config::NodeOptions,
    driver::{agent, master},
    gateway::{Streams, StreamsOptions},
    http,
    net::{self, Net},
    zookeeper,
};

/// Exits of containers that may wait for the agent.
const CONTAINER_EVENTS_MAX: usize = 4_096;

/// A node, put together and not yet running.
struct Node {
    options: NodeOptions,
    identity: Identity,
    clock: Clock,
    registry: RegistryHost,
    hints: HintStore,
    net: Net,
    gossip: gossip::Handle,
    raft: Arc<RaftGroup>,
    /// What this node says of itself.
    facts: watch::Sender<NodeFacts>,
    /// What this node lacks.
    missing: watch::Sender<Missing>,
}

/// Runs a node until `shutdown`. Its tasks live on, unless the options say otherwise.
pub(crate) async fn run(options: NodeOptions, shutdown: CancellationToken) -> Result<()> {
    // A node that waits for its certificate can be stopped too.
    let assembled = shutdown.run_until_cancelled(Node::assemble(options)).await;
    let Some(assembled) = assembled else { return Ok(()) };
    let (node, gossip) = assembled?;
    node.run(gossip, shutdown).await
}

impl Node {
    /// Takes the ports and opens the files: whatever is wrong with them is found here.
    async fn assemble(options: NodeOptions) -> Result<(Self, gossip::Service)> {
        let identity = Identity::establish(&options).await?;
        let registry = RegistryHost::new(identity.node.cluster_id);
        let net = Net::bind(net::Options {
            node: identity.node.node_id,
            listen: options.agent_listen,
            credentials: identity.wire_credentials(),
            idle: idle(options.times.factor),
            cluster: registry.cluster(),
            limits: net::Limits::default(),
            reset_secret: identity.reset_secret(),
        })?;
        let facts = facts(&options);
        let gossip_options = gossip_options(&options, &identity);
        let (service, gossip) = gossip::Service::bind(gossip_options, facts.clone()).await?;
        let raft = RaftGroup::open(
            raft_options(&options, &identity),
            registry.clone(),
            Arc::new(QuicRaftNetwork::new(net.clone())),
        )
        .await?;
        let node = Self {
            options,
            identity,
            clock: Clock::start(),
            registry,
            hints: HintStore::default(),
            net,
            gossip,
            raft: Arc::new(raft),
            facts: watch::channel(facts).0,
            missing: watch::channel(Missing::default()).0,
        };
        Ok((node, service))
    }

    async fn run(self, gossip: gossip::Service, shutdown: CancellationToken) -> Result<()> {
        let node = self.identity.node;
        tracing::info!(
            node = %node.node_id, generation = %node.generation,
            http = %self.options.http_address(), agent = %self.options.agent_address(),
            "node starts"
        );
        // Everything runs until this token; with `stop_tasks` the tasks' end comes before it.
        let stop = CancellationToken::new();
        let fence = FenceStore::load(&self.identity.data_dir)?;
        let fence_now = fence.current();
        let authority = &self.identity.credentials.authority;
        let recovery = RecoveryStore::load(&self.identity.data_dir, authority)?;
        let tracking = self.tracker_options(fence, recovery);
        let tracker = LeaderTracker::start(tracking, stop.clone()).await?;
        let (master_service, master) = master::Service::new(self.master_options());
        let (events, container_events) = mpsc::channel(CONTAINER_EVENTS_MAX);
        let containerizer = start_containerizer(&self.options, events).await?;
        let containers = (Arc::clone(&containerizer), container_events);
        let (agent_service, agent) =
            agent::start(self.agent_options(fence_now, &tracker, containers, &stop)).await?;
        let formation = self.formation()?;
        let api = self.api(&tracker, &master, &agent, &formation, &stop);
        let health = self.health_watch(&tracker, &master, &agent);
        let replacing = (master.clone(), Arc::clone(&api));
        let handler = self.handler(&tracker, master, &api, &formation, &stop);
        let http = http::Service::bind(&self.options, api).await?;
        let zookeeper = match self.options.zk_listen {
            Some(address) => Some(zookeeper::Service::bind(address, tracker.leader()).await?),
            None => None,
        };
        let announcer = Announcer {
            net: self.net.clone(),
            raft: Arc::clone(&self.raft),
            gossip: self.gossip.clone(),
            tracker,
        };
        let mut services = JoinSet::new();
        if let Some(replacer) = self.replacer(&replacing) {
            services.spawn(replacer.run(stop.clone()));
        }
        services.spawn(gossip.run(stop.clone()));
        services.spawn(master_service.run(stop.clone()));
        services.spawn(agent_service.run(stop.clone()));
        services.spawn(http.run(stop.clone()));
        if let Some(zookeeper) = zookeeper {
            services.spawn(zookeeper.run(stop.clone()));
        }
        services.spawn(announcer.run(stop.clone()));
        services.spawn(health.run(stop.clone()));
        services.spawn(serve(self.net.clone(), handler, stop.clone()));
        let ended = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = formation.run(&self.identity.data_dir, node, &self.gossip) => ended,
            failed = raft_failed(&self.raft) => Err(failed),
            halt = agent.halted() => self.conclude(halt, &containerizer).await,
        };
        if self.options.stop_tasks {
            agent.stop_tasks().await;
            stop_launcher(&containerizer).await;
        }
        stop.cancel();
        while services.join_next().await.is_some() {}
        self.raft.shutdown().await;
        tracing::info!("node stopped");
        ended
    }

    fn health_watch(
        &self,
        tracker: &LeaderTracker,
        master: &master::Handle,
        agent: &agent::Handle,
    ) -> HealthWatch {
        HealthWatch {
            node: self.identity.node.node_id,
            gossip: self.gossip.clone(),
            raft: Arc::clone(&self.raft),
            agent: agent.clone(),
            facts: self.facts.clone(),
            leader: tracker.leader(),
            master: master.clone(),
            missing: self.missing.clone(),
            gossip_address: self.options.http_address().to_string(),
        }
    }

    /// How a node ends that is told to: as a failure, unless somebody wanted it.
    async fn conclude(&self, halt: agent::Halt, containerizer: &NativeContainerizer) -> Result<()> {
        let agent::Halt { why, wanted } = halt;
        if !wanted {
            return Err(anyhow::Error::msg(why));
        }
        tracing::info!(why, "the node ends");
        // Nothing runs there any more, and there is nothing to come back to.
        if !self.options.stop_tasks {
            stop_launcher(containerizer).await;
        }
        Ok(())
    }

    fn tracker_options(&self, fence: FenceStore, recovery: RecoveryStore) -> TrackerOptions {
        TrackerOptions {
            net: self.net.clone(),
            raft: Arc::clone(&self.raft),
            gossip: self.gossip.clone(),
            cluster: self.registry.cluster(),
            fence,
            recovery,
            authority: self.identity.credentials.authority.clone(),
            data_dir: self.options.data_dir.clone(),
            seeds: self.options.seeds.iter().map(|seed| seed.quic.clone()).collect(),
            agent_address: self.options.agent_address().to_string(),
            http_address: self.options.http_address().to_string(),
        }
    }

    fn master_options(&self) -> master::Options {
        master::Options {
            config: master_config(&self.options),
            raft: Arc::clone(&self.raft),
            registry: self.registry.clone(),
            hints: self.hints.clone(),
            gossip: self.gossip.clone(),
            net: self.net.clone(),
            clock: self.clock,
            new_cluster_id: random_cluster_id,
            recordings: self.options.data_dir.join("recordings"),
            record_bytes: self.options.record_events,
        }
    }

    fn agent_options(
        &self,
        fence: Option<Fence>,
        tracker: &LeaderTracker,
        containers: (Arc<NativeContainerizer>, mpsc::Receiver<ContainerEvent>),
        stop: &CancellationToken,
    ) -> agent::Options {
        let (containerizer, container_events) = containers;
        agent::Options {
            config: agent_config(&self.options, &self.identity.node),
            data_dir: self.options.data_dir.clone(),
            fence,
            allow_root_tasks: self.options.allow_root_tasks,
            task_pids_max: self.options.task_pids_max,
            sandbox_rule: self.options.sandbox_rule,
            containerizer,
            container_events,
            leader: tracker.leader(),
            reach: tracker.reach(),
            net: self.net.clone(),
            clock: self.clock,
            doors: agent::DoorsOptions::of(&self.options, self.registry.cluster(), stop.clone()),
        }
    }

    fn formation(&self) -> Result<Formation> {
        Formation::new(
            &self.options,
            self.identity.node,
            Arc::clone(&self.raft),
            self.net.clone(),
            self.registry.clone(),
            self.clock,
        )
    }

    fn api(
        &self,
        tracker: &LeaderTracker,
        master: &master::Handle,
        agent: &agent::Handle,
        formation: &Formation,
        stop: &CancellationToken,
    ) -> Arc<Api> {
        let streams = Streams::new(StreamsOptions {
            net: self.net.clone(),
            leader: tracker.leader(),
            gossip: self.gossip.clone(),
            facts: self.facts.subscribe(),
            clock: self.clock,
            shutdown: stop.clone(),
        });
        Arc::new(Api::new(api::Options {
            node: self.identity.node.node_id,
            raft_id: self.identity.node.raft_id,
            options: self.options.clone(),
            net: self.net.clone(),
            tracker: tracker.clone(),
            master: master.clone(),
            agent: agent.clone(),
            raft: Arc::clone(&self.raft),
            gossip: self.gossip.clone(),
            formation: formation.clone(),
            registry: self.registry.clone(),
            hints: self.hints.clone(),
            facts: self.facts.subscribe(),
            missing: self.missing.subscribe(),
            streams,
        }))
    }

    /// Replaces voters that are gone, unless the operator wants to do it.
    fn replacer(&self, (master, api): &(master::Handle, Arc<Api>)) -> Option<Replacer> {
        let gone_after = self.options.replace_voters_after?;
        let seeds = &self.options.seeds;
        Some(Replacer {
            rules: Rules { gone_after, voters: seeds.len() },
            seeds: seeds.iter().map(|seed| seed.quic.clone()).collect(),
            raft: Arc::clone(&self.raft),
            gossip: self.gossip.clone(),
            master: master.clone(),
            api: Arc::clone(api),
        })
    }

    fn handler(
        &self,
        tracker: &LeaderTracker,
        master: master::Handle,
        api: &Arc<Api>,
        formation: &Formation,
        stop: &CancellationToken,
    ) -> Arc<NodeHandler> {
        Arc::new(NodeHandler {
            net: self.net.clone(),
            raft: Arc::clone(&self.raft),
            formation: formation.clone(),
            tracker: tracker.clone(),
            gossip: self.gossip.clone(),
            registry: self.registry.clone(),
            hints: self.hints.clone(),
            master,
            api: Arc::clone(api),
            cluster_keys: self.identity.cluster_keys.clone(),
            shutdown: stop.clone(),
        })
    }
}

async fn serve(net: Net, handler: Arc<NodeHandler>, stop: CancellationToken) {
    net.serve(handler, stop).await;
}

fn raft_options(options: &NodeOptions, identity: &Identity) -> raft::Options {
    raft::Options {
        data_dir: options.data_dir.clone(),
        raft_id: identity.node.raft_id,
        node_id: identity.node.node_id,
        address: options.agent_address().to_string(),
        timing: Timing::default().scaled(options.times.factor.into()),
        release: raft::Release { name: env!("CARGO_PKG_VERSION").to_owned(), level: LEVEL },
        snapshot_every_entries: options.snapshot_every_entries,
    }
}

/// Ends when the raft group can never go on in this process: its disk fails, so nothing is
/// acknowledged any more, or this release does not know what is in the log.
async fn raft_failed(raft: &RaftGroup) -> anyhow::Error {
    let mut health = raft.health();
    loop {
        match health.borrow_and_update().clone() {
            raft::Health::StorageFailed { file, error } => {
                return anyhow::anyhow!(
                    "{} cannot be written: {error}; free or mend the disk and start the node again",
                    file.display()
                );
            }
            raft::Health::NotTaken(why) => return anyhow::anyhow!(why),
            raft::Health::Running | raft::Health::Stopped(_) => {}
        }
        if health.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn start_containerizer(
    options: &NodeOptions,
    events: mpsc::Sender<ContainerEvent>,
) -> Result<Arc<NativeContainerizer>> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let containerizer = NativeContainerizer::start(
        meshos_isolation::Options {
            isolation: options.isolation.clone(),
            allow_root: options.allow_root_tasks,
            cpu_quota: options.cpu_quota,
            ..meshos_isolation::Options::new(&options.data_dir, program)
        },
        events,
    )
    .await?;
    Ok(Arc::new(containerizer))
}

fn idle(factor: u32) -> Idle {
    let usual = Idle::default();
    Idle { keep_alive: usual.keep_alive, timeout: usual.timeout * factor.max(1) }
}

fn gossip_options(options: &NodeOptions, identity: &Identity) -> gossip::Options {
    let mut gossip = gossip::Options::new(
        identity.node.node_id,
        identity.node.generation,
        options.listen,
        options.http_address(),
        identity.gossip_key.clone(),
    );
    let own = options.http_address().to_string();
    let others = options.seeds.iter().map(|seed| &seed.gossip).filter(|seed| **seed != own);
    gossip.seeds = others.cloned().collect();
    gossip.interval = options.times.gossip;
    gossip.nodes_max = options.nodes_max;
    gossip
}

fn facts(options: &NodeOptions) -> NodeFacts {
    NodeFacts {
        address_http: options.http_address(),
        address_agent_http: options.agent_address(),
        address_quic: options.agent_address(),
        hostname: options.hostname.clone(),
        resources: options.resources.to_string(),
        attributes: options.attributes.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        registry_level: LEVEL,
        roles: "agent".to_owned(),
        health: Health::default(),
        cluster: None,
    }
}

async fn stop_launcher(containerizer: &NativeContainerizer) {
    if let Err(error) = containerizer.stop_launcher(true).await {
        tracing::warn!(%error, "the launcher could not be ended");
    }
}

fn agent_config(options: &NodeOptions, node: &NodeIdentity) -> AgentConfig {
    AgentConfig {
        hostname: options.hostname.clone(),
        http_address: options.http_address().to_string(),
        agent_address: options.agent_address().to_string(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        attributes: options.attributes.clone(),
        domain: options.domain.clone(),
        executor_registration_timeout: options.executor_times.registration,
        executor_recovery_timeout: options.executor_times.recovery,
        executor_shutdown_grace: options.executor_times.shutdown,
        ..AgentConfig::new(node.node_id, node.generation, options.resources.clone())
    }
}

fn master_config(options: &NodeOptions) -> MasterConfig {
    MasterConfig {
        agent_timeout: options.times.agent_timeout,
        agent_timeout_dead: options.times.agent_timeout_when_dead,
        reconnect_grace: options.times.reconnect_grace,
        offer_timeout: options.times.offer_timeout,
        nodes_max: options.nodes_max,
        policy: options.sharing.policy.clone(),
        offers: options.sharing.offers,
        min_allocatable: options.sharing.min_allocatable.clone(),
        shares_exclude: options.sharing.shares_exclude.clone(),
        region: options.domain.as_ref().map(|domain| domain.region.clone()),
        ..MasterConfig::default()
    }
}

fn random_cluster_id() -> ClusterId {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 16];
    // Without randomness nothing else of the node works either; a fixed id would be worse.
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .expect("the system's random number generator works: keys were made with it");
    ClusterId::from_u128(u128::from_be_bytes(bytes))
}
