//! One run, from the certificate to the exit code.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use meshos_membership::keys::NodeKey;
use meshos_protocol::{attributes::Attributes, resources::Resources, wishes::FaultDomain};
use meshos_sdk::{Credentials, DriverError, DriverOptions, SchedulerDriver, Status};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::Instant,
};

use super::{
    constraint::{self, Constraint, Place},
    plan::{NO_EXIT_CODE, Note, Plan},
    progress::{Progress, say, waiting},
    request::Request,
    scheduler::{Launcher, Shared, requests},
    shortfall,
    streams::Streams,
};
use crate::{
    cli::{
        api::{Api, Choice},
        common::what_is_waited_for,
        explain,
        output::Closed,
        text::{complain, count, plain},
    },
    config::print_duration,
    detect::{Machine as _, ThisMachine},
};

/// How long nothing may be launched before it is said why.
const SILENCE: Duration = Duration::from_secs(2);
/// How often it is said again.
const REPEAT: Duration = Duration::from_secs(5);
/// How long is waited for the list of nodes: when there is no leader, the run begins without it.
const LEARN_LIMIT: Duration = Duration::from_millis(500);
/// The most nodes that the driver tries.
const NODES_MAX: usize = 32;
/// How long it may take to say why it is given up.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);
/// How long a run that is being ended waits for a cluster that cannot be reached: the cluster ends
/// what such a run leaves behind after this time.
const SILENT_LIMIT: Duration = Duration::from_secs(60);
/// How long the good-bye may take.
const FAREWELL_LIMIT: Duration = Duration::from_secs(3);
const EXIT_INTERRUPTED: u8 = 130;
const EXIT_TERMINATED: u8 = 143;
/// What shells say when nobody reads the output any more: 128 and SIGPIPE.
const EXIT_OUTPUT_CLOSED: u8 = 141;

/// How the run goes about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// Tell only what went wrong.
    pub quiet: bool,
    /// How long instances may wait to be launched.
    pub start_within: Option<Duration>,
}

/// Runs what was asked for and gives its exit code.
pub(super) async fn run(request: Request, node: &Choice, manner: Manner) -> Result<ExitCode> {
    let api = Arc::new(Api::new(node)?);
    let options = options(&api, &request).await?;
    let instances = request.instances;
    let shared = Shared::new(Plan::new(request));
    let (driver, ended) = SchedulerDriver::start(Launcher(shared.clone()), options)?;
    let session = Session {
        shared,
        driver,
        streams: Streams::new(Arc::clone(&api), instances),
        api,
        progress: Progress::new(manner.quiet, instances),
        interrupt: signal(SignalKind::interrupt()).context("cannot listen to SIGINT")?,
        terminate: signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?,
        stopped: None,
        give_up: manner.start_within.map(|limit| (limit, Instant::now() + limit)),
        explain_at: Instant::now() + SILENCE,
        waiting_before: instances,
        cut_off: None,
    };
    session.run(ended).await.map(ExitCode::from)
}

struct Session {
    shared: Shared,
    driver: SchedulerDriver,
    api: Arc<Api>,
    streams: Streams,
    progress: Progress,
    interrupt: Signal,
    terminate: Signal,
    /// The exit code of the first signal, or of whatever else ended the run before its tasks did.
    stopped: Option<u8>,
    /// How long instances may wait to be launched, and until when those do that wait now.
    give_up: Option<(Duration, Instant)>,
    explain_at: Instant,
    /// How many instances waited when it was last looked.
    waiting_before: usize,
    /// Since when the cluster cannot be reached.
    cut_off: Option<Instant>,
}

type Ended = JoinHandle<Result<Status, DriverError>>;

impl Session {
    async fn run(mut self, mut ended: Ended) -> Result<u8> {
        loop {
            let (over, waits) = self.look();
            if over {
                break;
            }
            let silence = self.silence();
            tokio::select! {
                biased;
                done = &mut ended => return Err(ended_early(done)),
                code = stop_asked(&mut self.interrupt, &mut self.terminate) => {
                    if self.stopped.is_some() {
                        return Ok(self.leave(ended, code).await);
                    }
                    self.stop(code);
                }
                () = self.shared.changed() => {}
                () = until(silence), if self.stopped.is_some() => {
                    say("the cluster cannot be reached; when it can be again, it ends what is left");
                    let code = self.stopped.unwrap_or(NO_EXIT_CODE);
                    return Ok(self.leave(ended, code).await);
                }
                // Nothing, when no stream is open.
                Some(streamed) = self.streams.next() => self.streamed(streamed),
                () = until(self.give_up), if waits && self.stopped.is_none() => self.give_up().await,
                () = tokio::time::sleep_until(self.explain_at), if waits => self.explain().await,
            }
        }
        // Everything has ended; what the tasks have written is still on its way.
        loop {
            tokio::select! {
                biased;
                code = stop_asked(&mut self.interrupt, &mut self.terminate) => {
                    return Ok(self.leave(ended, code).await);
                }
                streamed = self.streams.next() => match streamed {
                    Some(streamed) => self.streamed(streamed),
                    None => break,
                },
            }
        }
        let counts = self.shared.plan().counts();
        self.progress.numbers(counts, Instant::now(), true);
        let code = self.stopped.unwrap_or_else(|| self.shared.plan().code());
        Ok(self.leave(ended, code).await)
    }

    /// Takes in what happened: whether everything has ended, and whether something waits.
    fn look(&mut self) -> (bool, bool) {
        let (notes, counts, over) = {
            let mut plan = self.shared.plan();
            (plan.take_notes(), plan.counts(), plan.is_over())
        };
        for note in notes {
            match &note {
                Note::Registered(framework) => {
                    self.cut_off = None;
                    self.streams.registered(*framework);
                }
                Note::Step(step) => self.streams.step(step),
                Note::Disconnected | Note::Unreachable(_) => {
                    self.cut_off.get_or_insert_with(Instant::now);
                }
                Note::Reconnected => self.cut_off = None,
                Note::Launched { .. } => {}
            }
            self.progress.note(&note);
        }
        self.progress.numbers(counts, Instant::now(), false);
        if self.waiting_before == 0 && counts.waiting > 0 {
            // One that was launched in time has come back.
            self.give_up = self.give_up.map(|(limit, _)| (limit, Instant::now() + limit));
        }
        if counts.waiting < self.waiting_before {
            self.explain_at = self.explain_at.max(Instant::now() + SILENCE);
        }
        self.waiting_before = counts.waiting;
        (over, counts.waiting > 0)
    }

    /// How long the cluster may be out of reach, and until when.
    fn silence(&self) -> Option<(Duration, Instant)> {
        self.cut_off.map(|since| (SILENT_LIMIT, since + SILENT_LIMIT))
    }

    fn stop(&mut self, code: u8) {
        self.stopped = Some(code);
        self.progress.stops();
        let tasks = self.shared.stop(&self.driver);
        if tasks > 0 {
            say(&format!("ending {}; once more leaves at once", count(tasks, "task")));
        }
    }

    /// Nothing more is launched, and what runs is of no use without the rest.
    async fn give_up(&mut self) {
        let reasons = tokio::time::timeout(LAST_WORDS_LIMIT, self.reasons()).await;
        let reasons = reasons.unwrap_or_default();
        let waiting = self.shared.plan().counts().waiting;
        if waiting == 0 {
            // Launched while it was asked why not.
            return;
        }
        reasons.iter().for_each(|reason| say(reason));
        let waiting = count(waiting, "instance");
        let limit = self.give_up.map(|(limit, _)| print_duration(limit)).unwrap_or_default();
        say(&format!("{waiting} could not be launched within {limit} (--start-within)"));
        self.stop(NO_EXIT_CODE);
    }

    fn streamed(&mut self, streamed: Result<()>) {
        match streamed {
            Ok(()) => {}
            // `meshos run ... | head` has seen enough: what runs is of no use any more.
            Err(error) if error.is::<Closed>() => {
                if self.stopped.is_none() {
                    self.stop(EXIT_OUTPUT_CLOSED);
                }
            }
            Err(error) => complain(&error),
        }
    }

    /// Says why nothing is launched.
    async fn explain(&mut self) {
        self.explain_at = Instant::now() + REPEAT;
        // Nobody waits for the reasons when it is time to give up.
        tokio::select! {
            biased;
            () = until(self.give_up) => {}
            reasons = self.reasons() => self.progress.waiting(&reasons),
        }
    }

    /// Why nothing is launched: what the plan saw, and what the leader says.
    async fn reasons(&self) -> Vec<String> {
        let (mut sentences, framework, request) = {
            let plan = self.shared.plan();
            (waiting(&plan), plan.framework(), plan.request().clone())
        };
        let Request { need, role, constraints, .. } = &request;
        if framework.is_some() {
            let nodes = nodes(&self.api).await;
            sentences.extend(constraint::misses(constraints, nodes.iter().map(NodeRow::place)));
            let usable = |node: &NodeRow| {
                let (name, total) = node.total();
                Some((name, shortfall::usable(&total, role)?))
            };
            let totals = nodes.iter().filter_map(usable).collect::<Vec<_>>();
            sentences.extend(shortfall::of_all_nodes(need, &totals));
        }
        if let Some(framework) = framework {
            // A leader that cannot be asked is told by the connection's own loss.
            let (framework, need) = (framework.to_string(), need.to_string());
            let path = explain::waiting_path(&framework, Some(role.as_str()), &need);
            let told = tokio::time::timeout(SILENCE, self.api.get(&path)).await;
            if let Ok(Ok(value)) = told {
                sentences.extend(explain::waiting_sentences(value).unwrap_or_default());
            }
        }
        if framework.is_none() {
            sentences.push(what_is_waited_for(&self.api).await);
        }
        sentences
    }

    /// Ends the framework, and with it whatever still runs.
    async fn leave(self, ended: Ended, code: u8) -> u8 {
        self.driver.stop(false);
        if tokio::time::timeout(FAREWELL_LIMIT, ended).await.is_err() {
            say("the cluster has not heard the good-bye; it ends what is left within a minute");
        }
        code
    }
}

/// Never, when there is no limit.
async fn until(limit: Option<(Duration, Instant)>) {
    match limit {
        Some((_, at)) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn stop_asked(interrupt: &mut Signal, terminate: &mut Signal) -> u8 {
    tokio::select! {
        _ = interrupt.recv() => EXIT_INTERRUPTED,
        _ = terminate.recv() => EXIT_TERMINATED,
    }
}

fn ended_early(done: Result<Result<Status, DriverError>, tokio::task::JoinError>) -> anyhow::Error {
    match done {
        Ok(Ok(_)) => anyhow!(
            "the connection to the cluster ended before the tasks did; they live on for a minute"
        ),
        Ok(Err(error)) => error.into(),
        Err(error) => anyhow!("the framework's scheduler broke: {error}"),
    }
}

/// What a node has, for whoever waits.
struct NodeRow {
    hostname: String,
    total: Resources,
    attributes: Attributes,
    domain: Option<FaultDomain>,
}

impl NodeRow {
    fn of(row: &Value) -> Option<Self> {
        let domain = serde_json::from_value(row["domain"].clone()).unwrap_or_default();
        Some(Self {
            hostname: row["hostname"].as_str()?.to_owned(),
            total: row["resources_text"].as_str()?.parse().ok()?,
            attributes: row["attributes_text"].as_str()?.parse().ok()?,
            domain,
        })
    }

    fn place(&self) -> Place<'_> {
        let Self { hostname, attributes, domain, .. } = self;
        Place { hostname, attributes, domain: domain.as_ref() }
    }

    fn total(&self) -> (String, Resources) {
        (plain(&self.hostname), self.total.clone())
    }
}

/// The connected nodes; none when they are not told in time.
async fn nodes(api: &Api) -> Vec<NodeRow> {
    let nodes = api.nodes_within(SILENCE).await;
    nodes.iter().filter(|node| node["connected"] == true).filter_map(NodeRow::of).collect()
}

/// The answer to a request for a certificate.
#[derive(Debug, Deserialize)]
struct Issued {
    certificate: String,
    authority: String,
    nodes: Vec<String>,
}

/// Gets a certificate for this run; its key never leaves this process.
async fn options(api: &Api, request: &Request) -> Result<DriverOptions> {
    let key = NodeKey::generate()?;
    let body = json!({ "request": BASE64.encode(key.request()?) });
    let signed = api.post("/api/frameworks/credentials", &body);
    let (answer, known) = tokio::join!(signed, learn_nodes(api));
    let answer = answer.context("cannot get a certificate for this run")?;
    let issued: Issued = serde_json::from_value(answer)
        .context("the node's answer is not of the form that this release expects")?;
    let certificate = |text: &str| -> Result<CertificateDer<'static>> {
        let der =
            BASE64.decode(text).context("the node has sent a certificate that cannot be read")?;
        Ok(CertificateDer::from(der))
    };
    if issued.nodes.is_empty() {
        bail!("the node names no address for frameworks to connect to");
    }
    let credentials = Credentials::from_parts(
        certificate(&issued.certificate)?,
        key.private_key(),
        certificate(&issued.authority)?,
    );
    let mut nodes = issued.nodes;
    for node in known {
        if !nodes.contains(&node) {
            nodes.push(node);
        }
    }
    let mut options = DriverOptions::new(&request.name, nodes, credentials);
    options.info.roles = [request.role.clone()].into();
    options.info.hostname = ThisMachine.hostname();
    // It is offered what its instances need, and no more.
    let demand = requests(&request.need, request.instances);
    options.demand = [(request.role.clone(), vec![demand].into())].into();
    if !request.constraints.is_empty()
        && let Some(wishes) = constraint::wishes(&request.constraints)
    {
        options.wishes = [(request.role.clone(), wishes)].into();
    }
    options.info.capabilities.revocable_resources = !request.need.revocable().is_empty();
    options.info.capabilities.region_aware =
        request.constraints.iter().any(Constraint::is_of_region);
    Ok(options)
}

/// The nodes that the leader knows. The output can be read from any of them; their QUIC addresses
/// are given, for the driver. A node that has just started may not have heard of them by gossip.
async fn learn_nodes(api: &Api) -> Vec<String> {
    let nodes = api.learn_nodes(LEARN_LIMIT).await;
    let reachable = nodes.iter().filter(|node| node["connected"] == true);
    let addresses = reachable.filter_map(|node| node["agent_address"].as_str());
    addresses.map(str::to_owned).take(NODES_MAX).collect()
}
