//! All streams that this node holds.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use meshos_control::master::judge_wishes;
use meshos_membership::{gossip, view::NodeFacts};
use meshos_mesos::{
    codec::{self, Media, Refused},
    convert::{event, framework, ids},
    schema,
    session::{Session, not_subscribed},
    validate,
};
use meshos_protocol::{
    ids::{ClusterId, FrameworkId, NodeId, Principal},
    messages::StreamClass,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    carrier::{Called, Carrier},
    outbox::{self, Records},
    places::NodePlaces,
    read_call::{self, CALLS_MEMORY_MAX, ReadCall, SHARE_MAX},
    stream_id::StreamId,
};
use crate::{
    budget::Budget,
    clock::Clock,
    cluster::{Leader, LeaderStream},
    http::speaks_for_all,
    net::Net,
};

/// Streams that one node holds.
const STREAMS_MAX: usize = 1_000;
/// Calls of one stream that may wait for it.
const CALLS_MAX: usize = 1_024;
/// How long a subscribe waits for a leader.
const LEADER_LIMIT: Duration = Duration::from_secs(10);
/// How long a call may take that is answered by the leader.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// What streams need.
pub(crate) struct StreamsOptions {
    pub net: Net,
    pub leader: watch::Receiver<Option<Leader>>,
    pub gossip: gossip::Handle,
    pub facts: watch::Receiver<NodeFacts>,
    pub clock: Clock,
    pub shutdown: CancellationToken,
}

/// The streams of a node.
#[derive(Clone)]
pub(crate) struct Streams(Arc<Inner>);

struct Inner {
    options: StreamsOptions,
    /// For calls, from when they are read until they are passed on or answered.
    budget: Budget,
    /// The share of calls that belong to no stream of this node.
    other_calls: Budget,
    open: Mutex<BTreeMap<StreamId, Open>>,
}

#[derive(Clone)]
struct Open {
    /// Who subscribed, and alone may call.
    caller: String,
    cluster: ClusterId,
    framework: watch::Receiver<Option<FrameworkId>>,
    calls: mpsc::Sender<Called>,
    /// Its share of the memory for calls.
    share: Budget,
}

/// A description that is taken on.
struct Taken {
    framework: Option<FrameworkId>,
    description: framework::Description,
    principal: Principal,
}

impl Streams {
    pub(crate) fn new(options: StreamsOptions) -> Self {
        let budget = Budget::new(CALLS_MEMORY_MAX);
        let other_calls = budget.share(SHARE_MAX);
        Self(Arc::new(Inner { options, budget, other_calls, open: Mutex::default() }))
    }

    /// This node.
    pub(crate) fn node(&self) -> NodeId {
        self.0.options.net.node()
    }

    /// Reads a call on a stream, when there is memory for it.
    ///
    /// # Errors
    /// When it is none, is too large, or there is no memory.
    pub(crate) async fn read_call(
        &self,
        stream: Option<StreamId>,
        media: Media,
        body: &[u8],
    ) -> Result<ReadCall, Refused> {
        let share = stream.and_then(|id| Some(self.open().get(&id)?.share.clone()));
        read_call::read(share.as_ref().unwrap_or(&self.0.other_calls), media, body).await
    }

    /// Opens a stream. A description that cannot be taken on is refused by an event on it, as in Mesos.
    ///
    /// # Errors
    /// When there is no leader, or there are too many streams.
    pub(crate) async fn subscribe(
        &self,
        caller: &str,
        subscribe: &schema::CallSubscribe,
        media: Media,
    ) -> Result<(StreamId, Records), Refused> {
        let cluster = self.cluster().await?;
        let id = StreamId::random(self.node());
        let (outbox, records) = outbox::pair();
        let taken = match take(cluster, caller, subscribe) {
            Ok(taken) => taken,
            Err(why) => {
                // The one record of a stream that is over.
                outbox.push(codec::record(media, &event::error(why)));
                return Ok((id, records));
            }
        };
        let Taken { framework, description, principal } = taken;
        let options = &self.0.options;
        let (calls, called) = mpsc::channel(CALLS_MAX);
        let (told, known) = watch::channel(framework);
        let share = self.0.budget.share(SHARE_MAX);
        let open = Open { caller: caller.to_owned(), cluster, framework: known, calls, share };
        {
            let mut all = self.open();
            if all.len() >= STREAMS_MAX {
                let why = format!("This node holds {STREAMS_MAX} streams already: ask another one");
                return Err(Refused::new(503, why));
            }
            all.insert(id, open);
        }
        let (net, leader) = (options.net.clone(), options.leader.clone());
        let carrier = Carrier {
            session: Session::new(cluster, framework, description, id.to_string()),
            leader: LeaderStream::new(net, StreamClass::Relay { principal }, leader),
            calls: called,
            outbox,
            media,
            places: NodePlaces {
                node: self.node(),
                gossip: options.gossip.clone(),
                facts: options.facts.clone(),
                leader: options.leader.clone(),
            },
            clock: options.clock,
            framework: told,
        };
        let (streams, shutdown) = (self.clone(), options.shutdown.clone());
        tokio::spawn(async move {
            shutdown.run_until_cancelled(carrier.run()).await;
            streams.open().remove(&id);
        });
        Ok((id, records))
    }

    /// Makes a call on a stream; nothing when there is no such stream of that framework here.
    pub(crate) async fn call(
        &self,
        id: StreamId,
        caller: &str,
        read: ReadCall,
    ) -> Option<Result<(), Refused>> {
        let open = self.open().get(&id).cloned()?;
        let framework = *open.framework.borrow();
        let named = validate::id_text(read.call.framework_id.as_ref())?;
        if ids::read_framework(open.cluster, named) != Some(framework?) {
            return None;
        }
        if open.caller != caller {
            let why = format!("The framework was subscribed by another principal than {caller:?}");
            return Some(Err(Refused::new(400, why)));
        }
        Some(answer_in_time(&open.calls, read, ANSWER_LIMIT).await)
    }

    /// The cluster, as the leader has it.
    async fn cluster(&self) -> Result<ClusterId, Refused> {
        let mut leader = self.0.options.leader.clone();
        let known = tokio::time::timeout(LEADER_LIMIT, leader.wait_for(Option::is_some)).await;
        let fence = known.ok().and_then(|known| Some(known.ok()?.as_ref()?.fence));
        fence.map(|fence| fence.cluster).ok_or_else(|| Refused::new(503, "No leader elected"))
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<StreamId, Open>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a call made and waits for the answer: a while for both together.
pub(super) async fn answer_in_time(
    calls: &mpsc::Sender<Called>,
    ReadCall { call, kind, permit }: ReadCall,
    limit: Duration,
) -> Result<(), Refused> {
    let answered = async {
        let (answer, answered) = oneshot::channel();
        let called = Called { call, kind, permit, answer };
        calls.send(called).await.map_err(|_| not_subscribed())?;
        answered.await.unwrap_or_else(|_| Err(not_subscribed()))
    };
    let answered = tokio::time::timeout(limit, answered).await;
    answered.unwrap_or_else(|_| Err(Refused::new(503, "No leader has answered in time")))
}

fn take(
    cluster: ClusterId,
    caller: &str,
    subscribe: &schema::CallSubscribe,
) -> Result<Taken, String> {
    let empty = schema::FrameworkInfo::default();
    let info = subscribe.framework_info.as_ref().unwrap_or(&empty);
    let named = validate::id_text(info.id.as_ref());
    let framework = named.map(|text| {
        ids::read_framework(cluster, text)
            .ok_or_else(|| format!("Framework {text} is not one of cluster {cluster}"))
    });
    let constraints = subscribe.offer_constraints.as_ref();
    let description = framework::read(info, &subscribe.suppressed_roles, constraints)?;
    // Before anything is asked of the leader: a running instance must not be failed over by one that
    // cannot be taken on.
    judge_wishes(&description.info.roles, &description.wishes)
        .map_err(|why| format!("What is wished of offers is not valid: {why}"))?;
    Ok(Taken {
        framework: framework.transpose()?,
        description,
        principal: principal(caller, info.principal.as_deref())?,
    })
}

/// Whoever shows the token alone, or calls a node that asks for none, speaks for whom it says.
fn principal(caller: &str, named: Option<&str>) -> Result<Principal, String> {
    let named = named.filter(|named| !named.is_empty());
    let principal = match named {
        Some(named) if named == caller || speaks_for_all(caller) => named,
        Some(named) => {
            return Err(format!(
                "Authenticated principal {caller:?} differs from principal {named:?} in 'framework_info'"
            ));
        }
        None => caller,
    };
    Principal::new(principal).map_err(|error| error.to_string())
}
