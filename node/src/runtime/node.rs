//! The parts of a node, in the order in which they need each other.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use meshos_control::{agent::AgentConfig, master::MasterConfig};
use meshos_isolation::{ContainerEvent, NativeContainerizer};
use meshos_membership::{
    gossip,
    identity::FenceStore,
    raft::{self, RaftGroup, Timing},
    view::{Health, NodeFacts},
};
use meshos_protocol::ids::ClusterId;
use meshos_sdk::wire::Idle;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    announce::Announcer, formation::Formation, handler::NodeHandler, identity::Identity,
};
use crate::{
    api::{self, Api},
    clock::Clock,
    cluster::{HintStore, LeaderTracker, QuicRaftNetwork, RegistryHost, TrackerOptions},
    config::NodeOptions,
    driver::{agent, master},
    http,
    net::{self, Net},
};

/// Exits of containers that may wait for the agent.
const CONTAINER_EVENTS_MAX: usize = 4_096;

/// A node, put together and not yet running.
pub(crate) struct Node {
    options: NodeOptions,
    identity: Identity,
    clock: Clock,
    registry: RegistryHost,
    net: Net,
    gossip: gossip::Handle,
    gossip_service: gossip::Service,
    raft: Arc<RaftGroup>,
}

/// Runs a node until `shutdown`. Its tasks live on, unless the options say otherwise.
pub(crate) async fn run(options: NodeOptions, shutdown: CancellationToken) -> Result<()> {
    Node::assemble(options).await?.run(shutdown).await
}

impl Node {
    /// Takes the ports and opens the files: whatever is wrong with them is found here.
    async fn assemble(options: NodeOptions) -> Result<Self> {
        let identity = Identity::establish(&options).await?;
        let registry = RegistryHost::new(identity.node.cluster_id);
        let net = Net::bind(net::Options {
            node: identity.node.node_id,
            listen: options.agent_listen,
            credentials: identity.wire_credentials(),
            idle: idle(options.times.factor),
            cluster: registry.cluster(),
            reset_secret: identity.reset_secret(),
        })?;
        let (gossip_service, gossip) =
            gossip::Service::bind(gossip_options(&options, &identity), facts(&options)).await?;
        let raft = RaftGroup::open(
            raft::Options {
                data_dir: options.data_dir.clone(),
                raft_id: identity.node.raft_id,
                node_id: identity.node.node_id,
                address: options.agent_address().to_string(),
                timing: Timing::default().scaled(options.times.factor.into()),
            },
            registry.clone(),
            QuicRaftNetwork::new(net.clone()),
        )
        .await?;
        let clock = Clock::start();
        let raft = Arc::new(raft);
        Ok(Self { options, identity, clock, registry, net, gossip, gossip_service, raft })
    }

    async fn run(self, shutdown: CancellationToken) -> Result<()> {
        let Self { options, identity, clock, registry, net, gossip, gossip_service, raft } = self;
        let Identity { data_dir, node, cluster_keys, .. } = identity;
        tracing::info!(
            node = %node.node_id, generation = %node.generation,
            http = %options.http_address(), agent = %options.agent_address(), "node starts"
        );
        let fence = FenceStore::load(&data_dir)?;
        let fence_now = fence.current();
        let tracker = LeaderTracker::start(
            TrackerOptions {
                net: net.clone(),
                raft: Arc::clone(&raft),
                gossip: gossip.clone(),
                cluster: registry.cluster(),
                fence,
                data_dir: options.data_dir.clone(),
                seeds: options.seeds.iter().map(|seed| seed.quic.clone()).collect(),
                agent_address: options.agent_address().to_string(),
                http_address: options.http_address().to_string(),
            },
            shutdown.clone(),
        )
        .await?;
        let hints = HintStore::default();
        let (master_service, master) = master::Service::new(master::Options {
            config: master_config(&options),
            raft: Arc::clone(&raft),
            registry: registry.clone(),
            hints: hints.clone(),
            gossip: gossip.clone(),
            net: net.clone(),
            clock,
            new_cluster_id: random_cluster_id,
        });
        let (events, container_events) = mpsc::channel(CONTAINER_EVENTS_MAX);
        let containerizer = start_containerizer(&options, events).await?;
        let (agent_service, agent) = agent::start(agent::Options {
            config: agent_config(&options, node.node_id, node.generation),
            data_dir: options.data_dir.clone(),
            fence: fence_now,
            allow_root_tasks: options.allow_root_tasks,
            containerizer,
            container_events,
            leader: tracker.leader(),
            net: net.clone(),
            clock,
        })
        .await?;
        let formation = Formation::new(
            &options,
            node,
            Arc::clone(&raft),
            net.clone(),
            registry.clone(),
            clock,
        )?;
        let api = Arc::new(Api::new(api::Options {
            node: node.node_id,
            options: options.clone(),
            net: net.clone(),
            tracker: tracker.clone(),
            master: master.clone(),
            agent: agent.clone(),
            raft: Arc::clone(&raft),
            gossip: gossip.clone(),
            formation: formation.clone(),
            registry: registry.clone(),
        }));
        let handler = Arc::new(NodeHandler {
            net: net.clone(),
            raft: Arc::clone(&raft),
            formation: formation.clone(),
            tracker: tracker.clone(),
            hints,
            master,
            api: Arc::clone(&api),
            cluster_keys,
            shutdown: shutdown.clone(),
        });
        let http = http::Service::bind(&options, Arc::clone(&api)).await?;

        // Everything below runs until this token; the agent's stop may come before it.
        let stop = CancellationToken::new();
        let mut services = JoinSet::new();
        services.spawn(gossip_service.run(stop.clone()));
        services.spawn(master_service.run(stop.clone()));
        services.spawn(agent_service.run(stop.clone()));
        services.spawn(http.run(stop.clone()));
        let announcer =
            Announcer { net: net.clone(), raft: Arc::clone(&raft), gossip, tracker };
        services.spawn(announcer.run(stop.clone()));
        let serving = net.clone();
        let serve_stop = stop.clone();
        services.spawn(async move { serving.serve(handler, serve_stop).await });
        let ended = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            ended = formation.run(&data_dir, node) => ended,
            failed = storage_failed(&raft) => Err(failed),
        };
        if options.stop_tasks {
            agent.stop_tasks().await;
        }
        stop.cancel();
        while services.join_next().await.is_some() {}
        raft.shutdown().await;
        tracing::info!("node stopped");
        ended
    }
}

/// Ends when the raft group's disk fails: nothing is acknowledged any more.
async fn storage_failed(raft: &RaftGroup) -> anyhow::Error {
    let mut health = raft.health();
    loop {
        if let raft::Health::StorageFailed { file, error } = health.borrow_and_update().clone() {
            return anyhow::anyhow!(
                "{} cannot be written: {error}; free or mend the disk and start the node again",
                file.display()
            );
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
    gossip.seeds = options.seeds.iter().map(|seed| seed.gossip.clone()).collect();
    gossip.interval = options.times.gossip;
    gossip
}

fn facts(options: &NodeOptions) -> NodeFacts {
    NodeFacts {
        address_http: options.http_address(),
        address_agent_http: options.agent_address(),
        address_quic: options.agent_address(),
        resources: options.resources.to_string(),
        attributes: options.attributes.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        roles: "agent".to_owned(),
        health: Health::default(),
    }
}

fn agent_config(
    options: &NodeOptions,
    node: meshos_protocol::ids::NodeId,
    generation: meshos_protocol::ids::Generation,
) -> AgentConfig {
    AgentConfig {
        hostname: options.hostname.clone(),
        http_address: options.http_address().to_string(),
        agent_address: options.agent_address().to_string(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        attributes: options.attributes.clone(),
        ..AgentConfig::new(node, generation, options.resources.clone())
    }
}

fn master_config(options: &NodeOptions) -> MasterConfig {
    MasterConfig {
        agent_timeout: options.times.agent_timeout,
        agent_timeout_dead: options.times.agent_timeout_when_dead,
        reconnect_grace: options.times.reconnect_grace,
        offer_timeout: options.times.offer_timeout,
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
