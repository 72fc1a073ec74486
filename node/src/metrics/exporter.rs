//! Keeps what must be kept between scrapes, and draws the rest when asked.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use meshos_control::master::View;
use meshos_membership::{gossip, raft::RaftGroup, view::NodeFacts};
use meshos_protocol::{ids::NodeId, time::Wall};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    canvas::{self, Canvas, long},
    catalogue::{self as all, Kind},
    latency::Launches,
    master::Totals,
    parts, process,
};
use crate::{
    cluster::{HintStore, LeaderTracker},
    driver::{agent, master},
};

/// How often launches are looked for.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// After so many looks the recorder sorts what it was given, or its samples pile up.
const LOOKS_PER_UPKEEP: u32 = 5;
/// Upper ends of the durations that are told apart, in seconds: a launch takes some milliseconds,
/// with a large fetch minutes.
const SECONDS_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];
/// Upper ends of the sizes that are told apart, in bytes.
const BYTES_BUCKETS: &[f64] = &[
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// The parts of the node that are measured.
pub(crate) struct Sources {
    pub node: NodeId,
    pub tracker: LeaderTracker,
    pub master: master::Handle,
    pub agent: agent::Handle,
    pub raft: Arc<RaftGroup>,
    pub gossip: gossip::Handle,
    pub facts: watch::Receiver<NodeFacts>,
    pub hints: HintStore,
}

/// What this node measures; cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    sources: Sources,
    kept: Kept,
    http: HttpCounts,
}

impl Metrics {
    /// Measures these parts. Other code of the process may use the macros of the crate `metrics`:
    /// what it says is shown too.
    pub(crate) fn new(sources: Sources) -> Self {
        let kept = Kept::new();
        // In a process with several nodes, as in tests, the first shows what the macros say.
        if metrics::set_global_recorder(Arc::clone(&kept.recorder)).is_err() {
            tracing::debug!("another recorder of metrics is there already");
        }
        Self { inner: Arc::new(Inner { sources, kept, http: HttpCounts::default() }) }
    }

    /// What the HTTP ports count.
    pub(crate) fn http(&self) -> &HttpCounts {
        &self.inner.http
    }

    /// Gathers what must be seen as it happens, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut until_upkeep = LOOKS_PER_UPKEEP;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            if let Some(view) = self.inner.sources.master.view() {
                self.inner.kept.look(&view, now());
            }
            until_upkeep -= 1;
            if until_upkeep == 0 {
                self.inner.kept.handle.run_upkeep();
                until_upkeep = LOOKS_PER_UPKEEP;
            }
        }
    }

    /// Everything, in the text format of Prometheus.
    pub(crate) async fn render(&self) -> String {
        let metrics = self.clone();
        // Of ten thousand agents it takes milliseconds.
        match tokio::task::spawn_blocking(move || metrics.inner.draw()).await {
            Ok(text) => text,
            Err(error) => format!("# not drawn: {error}\n"),
        }
    }
}

impl Inner {
    fn draw(&self) -> String {
        let Sources { node, tracker, master, agent, raft, gossip, facts, hints } = &self.sources;
        let canvas = Canvas::new();
        let led = master.view().filter(|view| !view.deposed && raft.lease_valid());
        if let Some(view) = &led {
            self.kept.look(view, now());
            parts::cluster(&canvas, view);
        }
        self.kept.lock().totals.draw(&canvas);
        parts::agent(&canvas, &agent.view(), agent.store_writes());
        parts::sandboxes(&canvas, agent.sandboxes().status());
        parts::leader(&canvas, tracker.leader().borrow().as_ref(), led.is_some());
        // What a node that was taken out has in its log is the group before that.
        let members = if tracker.is_left_out() { Vec::new() } else { raft.voters() };
        parts::raft(&canvas, raft.status(), &members, &raft.health().borrow());
        parts::hints(&canvas, hints.live());
        parts::gossip(&canvas, &gossip.view(), gossip.counters());
        parts::node(&canvas, *node);
        parts::health(&canvas, facts.borrow().health);
        self.http.draw(&canvas);
        process::draw(&canvas);
        let drawn = all::ALL.iter().copied().filter(|metric| metric.kind != Kind::Histogram);
        let mut text = canvas.render(drawn);
        text.push_str(&self.kept.handle.render());
        text
    }
}

/// What is kept between scrapes.
pub(super) struct Kept {
    pub(super) recorder: Arc<PrometheusRecorder>,
    pub(super) handle: PrometheusHandle,
    launch_duration: metrics::Histogram,
    gathered: Mutex<Gathered>,
}

#[derive(Default)]
pub(super) struct Gathered {
    pub(super) totals: Totals,
    launches: Launches,
}

impl Kept {
    pub(super) fn new() -> Self {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BYTES_BUCKETS)
            })
            .expect("the lists of buckets are not empty");
        let recorder = Arc::new(builder.build_recorder());
        let kept = all::ALL.iter().copied().filter(|metric| metric.kind == Kind::Histogram);
        kept.for_each(|metric| canvas::describe(&recorder, metric));
        let launch_duration = canvas::histogram(&recorder, &all::MASTER_LAUNCH_DURATION);
        let handle = recorder.handle();
        Self { recorder, handle, launch_duration, gathered: Mutex::default() }
    }

    pub(super) fn look(&self, view: &View, now: Wall) {
        if view.deposed {
            return;
        }
        let tasks = view.tasks.iter().chain(view.tasks_ended.iter());
        let mut gathered = self.lock();
        gathered.totals.note(view.fence.term, &view.counters);
        for duration in gathered.launches.fresh(view.fence.term, now, tasks) {
            self.launch_duration.record(duration.as_secs_f64());
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> Wall {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Wall(meshos_protocol::time::millis(since.unwrap_or_default()))
}

/// What the HTTP ports count.
#[derive(Debug, Default)]
pub(crate) struct HttpCounts {
    open: AtomicU64,
    refused: AtomicU64,
    made_room: AtomicU64,
    answered: Mutex<BTreeMap<u16, u64>>,
}

impl HttpCounts {
    /// A connection was accepted.
    pub(crate) fn opened(&self) {
        // Nothing is ordered by these numbers.
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// It is closed.
    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// A connection was closed at once, because too many are open.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was closed for another one.
    pub(crate) fn made_room(&self) {
        self.made_room.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was answered with this status.
    pub(crate) fn answered(&self, status: u16) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        *answered.entry(status).or_default() += 1;
    }

    pub(super) fn draw(&self, canvas: &Canvas) {
        canvas.gauge(&all::HTTP_CONNECTIONS, &[], long(self.open.load(Ordering::Relaxed)));
        let refused = self.refused.load(Ordering::Relaxed);
        canvas.counter(&all::HTTP_CONNECTIONS_REFUSED, &[], refused);
        let made_room = self.made_room.load(Ordering::Relaxed);
        canvas.counter(&all::HTTP_CONNECTIONS_MADE_ROOM, &[], made_room);
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A row is there before the first request.
        let answered = BTreeMap::from([(200, 0)]).into_iter().chain(answered);
        for (status, count) in answered {
            canvas.counter(&all::HTTP_REQUESTS, &[&status.to_string()], count);
        }
    }
}
