//! The API of one node.

use std::sync::Arc;

use meshos_membership::{gossip, raft::RaftGroup, view::NodeFacts};
use meshos_mesos::codec::EXECUTOR_CALL_MEMORY_MAX;
use meshos_protocol::ids::NodeId;
use serde::Serialize;
use tokio::sync::watch;

use super::{
    call::{Answer, Call, Failure},
    mesos::{ANSWER_BYTES_MAX, MESSAGES_BYTES_MAX, Started, Statistics, Watched},
    pages::Pages,
    route::{Here, Route},
};
use crate::{
    budget::Budget,
    cluster::{HintStore, LeaderTracker, RegistryHost},
    config::NodeOptions,
    driver::{agent, master},
    gateway::Streams,
    metrics::{self, Metrics},
    net::Net,
    runtime::{Formation, Missing},
};

/// Long answers that are made for other nodes at once.
const ANSWERS_AT_ONCE: usize = 2;
/// Calls of executors that are read at a time, if they are as large as any may be.
const EXECUTOR_CALLS_AT_ONCE: usize = 4;

/// The parts of the node that answer calls.
pub(crate) struct Options {
    pub node: NodeId,
    /// Names this node's raft log.
    pub raft_id: u64,
    pub options: NodeOptions,
    pub net: Net,
    pub tracker: LeaderTracker,
    pub master: master::Handle,
    pub agent: agent::Handle,
    pub raft: Arc<RaftGroup>,
    pub gossip: gossip::Handle,
    pub formation: Formation,
    pub registry: RegistryHost,
    /// What leaders told of tasks.
    pub hints: HintStore,
    /// What this node says of itself by gossip, which does not tell it back.
    pub facts: watch::Receiver<NodeFacts>,
    /// What this node lacks.
    pub missing: watch::Receiver<Missing>,
    /// The streams of Mesos's scheduler API that this node holds.
    pub streams: Streams,
}

/// Answers calls.
pub(crate) struct Api {
    pub(super) options: Options,
    metrics: Metrics,
    pub(super) pages: Arc<Pages>,
    /// When and how this process was started.
    pub(super) started: Arc<Started>,
    /// What the containers used when somebody last asked.
    pub(super) statistics: Statistics,
    /// What readers of events have seen, of this node as the leader.
    pub(super) watched: Watched,
    /// Memory for long answers that other nodes ask for.
    pub(super) answers: Budget,
    /// Memory for messages that are made as a whole.
    pub(super) messages: Budget,
    /// Memory for calls of executors while they are read.
    pub(super) executor_calls: Budget,
}

#[derive(Serialize)]
struct Version {
    name: &'static str,
    meshos_version: &'static str,
    /// The release of Mesos whose API is served, for its clients, which look here for what they may use.
    version: &'static str,
    /// Nothing is known of the build.
    build_date: &'static str,
    build_time: f64,
    build_user: &'static str,
    /// The newest wire version that this build speaks, and the oldest that it understands.
    wire_version: u32,
    wire_version_min: u32,
}

impl Api {
    /// Answers from these parts.
    pub(crate) fn new(options: Options) -> Self {
        let metrics = Metrics::new(metrics::Sources {
            node: options.node,
            tracker: options.tracker.clone(),
            master: options.master.clone(),
            agent: options.agent.clone(),
            raft: Arc::clone(&options.raft),
            gossip: options.gossip.clone(),
            facts: options.facts.clone(),
            hints: options.hints.clone(),
        });
        Self {
            started: Arc::new(Started::now(&options.options)),
            options,
            metrics,
            pages: Arc::default(),
            statistics: Statistics::default(),
            watched: Watched::default(),
            answers: Budget::new(ANSWERS_AT_ONCE * ANSWER_BYTES_MAX),
            messages: Budget::new(MESSAGES_BYTES_MAX),
            executor_calls: Budget::new(EXECUTOR_CALLS_AT_ONCE * EXECUTOR_CALL_MEMORY_MAX),
        }
    }

    /// What this node measures.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Answers a call; every failure is an answer too.
    pub(crate) async fn answer(&self, call: Call) -> Answer {
        if call.forwarded
            && let Some(answer) = self.answer_for_stream(&call).await
        {
            return answer;
        }
        let answered = match Route::of(&call.method, &call.path) {
            Ok(Route::Here(route)) => self.answer_here(route, &call).await,
            Ok(Route::Leader(route)) => self.answer_by_leader(&route, &call).await,
            Ok(Route::Log(request)) => self.answer_log(&request, &call).await,
            Ok(Route::Files(request)) => self.answer_files(&request, &call).await,
            Err(failure) => Err(failure),
        };
        answered.unwrap_or_else(Answer::from)
    }

    async fn answer_here(&self, route: Here, call: &Call) -> Result<Answer, Failure> {
        match route {
            Here::Health => self.health(),
            Here::MesosHealth => Ok(Answer::empty(self.health()?.status)),
            Here::Redirect => Ok(self.redirect()),
            Here::Version => {
                use meshos_protocol::codec::{WIRE_VERSION, WIRE_VERSION_MIN};
                Answer::json(&Version {
                    name: "meshos",
                    meshos_version: env!("CARGO_PKG_VERSION"),
                    version: meshos_mesos::convert::event::MESOS_VERSION,
                    build_date: "",
                    build_time: 0.0,
                    build_user: "",
                    wire_version: WIRE_VERSION,
                    wire_version_min: WIRE_VERSION_MIN,
                })
            }
            Here::Metrics => Ok(Answer::metrics(self.metrics.render().await)),
            Here::Agent => self.agent_state(),
            Here::Mesos(own) => self.own_for_mesos(own).await,
            Here::Credentials => self.framework_credentials(call).await,
            Here::AdmitLeader => self.admit_leader(call),
        }
    }
}
