//! The nodes as processes: started, watched, ended.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, OpenOptions},
    os::unix::{
        fs::{DirBuilderExt as _, OpenOptionsExt as _},
        process::CommandExt as _,
    },
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use meshos_isolation::linux::process::Stat;
use meshos_membership::identity::DataDir;
use nix::{sys::signal::Signal, unistd::Pid};
use tokio::{
    signal::unix::{Signal as Listener, SignalKind, signal},
    time::Instant,
};

use super::{
    layout::{DIRECTORY_MODE, Layout, NodePlace},
    ready,
};
use crate::cli::{output, process, run::run_in_shell};

/// How long the cluster may take to get ready; a few seconds are usual.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// How long nodes may take to end their tasks and themselves.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Between two looks at nodes that are not our children.
const POLL_PAUSE: Duration = Duration::from_millis(20);
const TAIL_LINES: usize = 15;

/// A node that runs.
#[derive(Debug)]
struct Running {
    place: NodePlace,
    pid: Pid,
}

struct Cluster {
    running: Vec<Running>,
    /// The nodes that ended while the cluster was in use: somebody may have started them again.
    fell: BTreeSet<usize>,
    /// Processes of others that were told to end.
    told: BTreeSet<u32>,
    children: Listener,
    stop: Stop,
}

/// The signals that end the cluster.
struct Stop {
    interrupt: Listener,
    terminate: Listener,
    hang_up: Listener,
}

impl Stop {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// Why the cluster is over.
enum Over {
    Asked,
    /// The command that it was started for has ended.
    Done(Result<ExitCode>),
    Failed(anyhow::Error),
}

/// Runs the cluster until a signal ends it or, if there is one, until the command that is run in it has
/// ended, whose exit code is given then.
pub(super) async fn run(layout: Layout, command: Option<&str>) -> Result<ExitCode> {
    // Whoever loses its parent, such as a launcher whose node was killed, falls to us.
    nix::sys::prctl::set_child_subreaper(true).context("cannot look after orphaned processes")?;
    let mut cluster = Cluster {
        running: Vec::new(),
        fell: BTreeSet::new(),
        told: BTreeSet::new(),
        children: signal(SignalKind::child()).context("cannot listen to SIGCHLD")?,
        stop: Stop::new()?,
    };
    let over = cluster.live(&layout, command).await;
    // All of them at once: those that are left over would look for a leader until they have ended.
    let others_told = cluster.tell_others(&layout);
    cluster.end().await;
    let others = cluster.end_others(&layout).await;
    let swept = process::sweep().await.context("the cluster's processes were not all ended");
    let swept = others_told.and(others).and(swept);
    let code = match over {
        Over::Asked => ExitCode::SUCCESS,
        Over::Done(Ok(code)) => code,
        // The logs are left to be read.
        Over::Done(Err(error)) | Over::Failed(error) => return Err(error),
    };
    if layout.temporary
        && let Err(error) = fs::remove_dir_all(&layout.dir)
    {
        output::note(&format!("{} cannot be removed: {error}", layout.dir.display()));
    }
    swept.map(|()| code)
}

impl Cluster {
    async fn live(&mut self, layout: &Layout, command: Option<&str>) -> Over {
        if let Err(error) = self.start(layout) {
            return Over::Failed(error);
        }
        if let Some(over) = self.get_ready(layout).await {
            return over;
        }
        // Whoever waits for it may have gone; the cluster runs all the same.
        drop(output::line("ready"));
        let first = layout.nodes.first().map(NodePlace::address).unwrap_or_default();
        let work = async {
            match command {
                Some(command) => run_in_shell(command, &first).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = self.stop.asked() => return Over::Asked,
                _ = self.children.recv() => self.tell_ended(),
                done = &mut work => return Over::Done(done),
            }
        }
    }

    /// Waits until the cluster can be used; why that is not to be, otherwise.
    async fn get_ready(&mut self, layout: &Layout) -> Option<Over> {
        let give_up = tokio::time::sleep(READY_LIMIT);
        tokio::pin!(give_up);
        let ready = ready::ready(layout);
        tokio::pin!(ready);
        loop {
            tokio::select! {
                biased;
                () = self.stop.asked() => return Some(Over::Asked),
                _ = self.children.recv() => {
                    if let Some(error) = self.died_early() {
                        return Some(Over::Failed(error));
                    }
                }
                done = &mut ready => return done.err().map(Over::Failed),
                () = &mut give_up => {
                    let limit = READY_LIMIT.as_secs();
                    return Some(Over::Failed(anyhow!(
                        "the cluster was not ready within {limit} seconds; the nodes' logs are left in {}",
                        layout.dir.display()
                    )));
                }
            }
        }
    }

    /// Starts the nodes. It has to be the main thread that does: nodes end with the thread that
    /// started them.
    fn start(&mut self, layout: &Layout) -> Result<()> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        output::note(&format!("data in {}", layout.dir.display()));
        if !nix::unistd::geteuid().is_root() {
            output::sentence(
                "without root tasks are not held to their memory and processors: what they use is only reported",
            );
        }
        for place in &layout.nodes {
            let data_dir = &place.data_dir;
            DirBuilder::new()
                .recursive(true)
                .mode(DIRECTORY_MODE)
                .create(data_dir)
                .with_context(|| format!("cannot make {}", data_dir.display()))?;
            let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&place.log);
            let log = log.with_context(|| format!("cannot write {}", place.log.display()))?;
            let mut command = Command::new(&program);
            command
                .args(&place.arguments)
                .arg(format!("--end-with={}", std::process::id()))
                .env_remove("MESHOS_CONFIG")
                .stdin(Stdio::null())
                .stdout(log.try_clone().context("cannot share a log")?)
                .stderr(log)
                // Ctrl-C is for us alone: we tell the nodes.
                .process_group(0);
            let child = command.spawn().context("cannot start a node")?;
            let pid = Pid::from_raw(i32::try_from(child.id())?);
            output::note(&format!(
                "node {} at {} (agent {}), process {pid}, log {}",
                place.index,
                place.address(),
                place.agent_address(),
                place.log.display()
            ));
            // It is waited for with everybody else, see `process::reap`.
            self.running.push(Running { place: place.clone(), pid });
        }
        Ok(())
    }

    /// The nodes that have ended, and how.
    fn ended(&mut self) -> Vec<(NodePlace, String)> {
        let mut found = Vec::new();
        for ended in process::reap() {
            if let Some(index) = self.running.iter().position(|node| node.pid == ended.pid) {
                found.push((self.running.swap_remove(index).place, ended.how));
            }
        }
        found
    }

    fn died_early(&mut self) -> Option<anyhow::Error> {
        let (place, how) = self.ended().into_iter().next()?;
        let tail = process::tail(&place.log, TAIL_LINES);
        Some(anyhow!(
            "node {} {how} before the cluster was ready; its log, {}, ends with:\n{tail}",
            place.index,
            place.log.display()
        ))
    }

    fn tell_ended(&mut self) {
        for (place, how) in self.ended() {
            self.fell.insert(place.index);
            output::note(&format!(
                "node {} {how}; its log is {}; to start it again, in another terminal:\n  {}",
                place.index,
                place.log.display(),
                place.command()
            ));
        }
    }

    /// Has the nodes end their tasks and themselves; a second signal cuts it short.
    async fn end(&mut self) {
        self.ended();
        if self.running.is_empty() {
            return;
        }
        output::note("ending the nodes and their tasks; once more ends them at once");
        self.running.iter().for_each(|node| process::send(node.pid, Signal::SIGTERM));
        if let Err(error) = self.wait_for_end().await {
            output::note(&format!("{error}; they are killed"));
            self.running.iter().for_each(|node| process::send(node.pid, Signal::SIGKILL));
        }
    }

    /// Tells the nodes to end that somebody has started again by hand: they are not our children. The
    /// index of one that has not ended.
    fn tell_others(&mut self, layout: &Layout) -> Result<Option<usize>> {
        self.ended();
        let held = self.fell.iter().filter_map(|index| layout.nodes.get(*index));
        let held: Vec<&NodePlace> =
            held.filter(|place| DataDir::holder(&place.data_dir).is_some()).collect();
        for place in &held {
            if let Some(other) = stranger(place)
                && self.told.insert(other.pid)
            {
                output::note(&format!(
                    "ending node {}, which was started again as process {}",
                    place.index, other.pid
                ));
                other.signal(Signal::SIGTERM).context("it cannot be ended")?;
            }
        }
        Ok(held.first().map(|place| place.index))
    }

    /// Waits until they have ended.
    async fn end_others(&mut self, layout: &Layout) -> Result<()> {
        let give_up = Instant::now() + STOP_LIMIT;
        loop {
            let Some(index) = self.tell_others(layout)? else { return Ok(()) };
            tokio::select! {
                biased;
                () = self.stop.asked() => bail!("node {index}, which was started again by hand, still runs"),
                () = tokio::time::sleep_until(give_up) => {
                    bail!("node {index}, which was started again by hand, has not ended within {} seconds", STOP_LIMIT.as_secs());
                }
                () = tokio::time::sleep(POLL_PAUSE) => {}
            }
        }
    }

    async fn wait_for_end(&mut self) -> Result<()> {
        let give_up = Instant::now() + STOP_LIMIT;
        loop {
            self.ended();
            if self.running.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = self.stop.asked() => bail!("{} nodes have not ended yet", self.running.len()),
                _ = self.children.recv() => {}
                () = tokio::time::sleep_until(give_up) => {
                    bail!("{} nodes have not ended within {} seconds", self.running.len(), STOP_LIMIT.as_secs());
                }
            }
        }
    }
}

/// The process that works in a node's directory, if that can be told.
fn stranger(place: &NodePlace) -> Option<Stat> {
    let held = || DataDir::holder(&place.data_dir).map(|held| held.pid);
    let pid = held()??;
    let process = Stat::read(pid).ok()??;
    // Looked at once more: the first look may have shown the holder before, whose id is somebody else's now.
    (held() == Some(Some(pid))).then_some(process)
}
