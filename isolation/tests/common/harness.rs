//! A node's containerizer in a directory of its own, and the certainty that nothing of it is left when a test ends,
//! however it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use meshos_isolation::{
    Command, ContainerEvent, ContainerId, ContainerSpec, Containerizer, ExitStatus, IsolatorName,
    Limitation, Limits, NativeContainerizer, Options,
};
use tokio::sync::mpsc;

/// How long anything may take on a busy machine before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary with the subcommands `launcher` and `fetch`.
pub(crate) fn runtime() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_meshos-isolation-runtime"))
}

/// Says what is wrong when a test that needs root was not left out by its name.
#[track_caller]
pub(crate) fn demand_root() {
    let is_root = nix::unistd::geteuid().is_root();
    assert!(is_root, "needs root: run it as root, or leave it out with `-- --skip root_`");
}

pub(crate) struct Node {
    pub(crate) containerizer: NativeContainerizer,
    pub(crate) events: mpsc::Receiver<ContainerEvent>,
    pub(crate) place: Place,
}

/// The directory; its end is the end of everything in it.
pub(crate) struct Place {
    directory: Option<tempfile::TempDir>,
    pub(crate) data_dir: PathBuf,
    pub(crate) options: Options,
    tag: String,
}

impl Place {
    pub(crate) fn new(isolation: &[IsolatorName]) -> Self {
        Self::below("data", isolation)
    }

    /// With a data directory of that relative path.
    pub(crate) fn below(path: &str, isolation: &[IsolatorName]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let data_dir = directory.path().join(path);
        let mut options = Options::new(&data_dir, runtime());
        options.isolation = isolation.to_vec();
        options.allow_root = true;
        Self { directory: Some(directory), data_dir, options, tag: String::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.as_ref().unwrap().path()
    }

    pub(crate) fn sandbox(&self, id: &str) -> PathBuf {
        self.data_dir.join("sandboxes").join(id)
    }

    pub(crate) async fn start(self) -> Node {
        self.start_with_room_for(1024).await
    }

    pub(crate) async fn start_with_room_for(mut self, events_max: usize) -> Node {
        let (sender, events) = mpsc::channel(events_max);
        let containerizer = NativeContainerizer::start(self.options.clone(), sender).await.unwrap();
        self.tag = containerizer.tag().to_owned();
        Node { containerizer, events, place: self }
    }
}

impl Node {
    pub(crate) async fn posix() -> Self {
        Place::new(&IsolatorName::POSIX).start().await
    }

    pub(crate) async fn cgroups() -> Self {
        let mut place = Place::new(&IsolatorName::CGROUPS);
        place.options.cpu_quota = true;
        place.start().await
    }

    pub(crate) fn spec(&self, name: &str, command: Command) -> ContainerSpec {
        ContainerSpec {
            container: id(name),
            command,
            environment: Vec::new(),
            user: None,
            allow_root: true,
            sandbox: self.place.sandbox(name),
            limits: Limits { cpus_millis: 1000, ..Limits::default() },
            uris: Vec::new(),
            volumes: Vec::new(),
            inside: None,
        }
    }

    pub(crate) fn shell(&self, name: &str, line: &str) -> ContainerSpec {
        self.spec(name, Command::Shell(line.to_owned()))
    }

    pub(crate) async fn launch_shell(&self, name: &str, line: &str) -> u32 {
        self.containerizer.launch(self.shell(name, line)).await.unwrap().pid
    }

    /// Waits for the end of a container; passes over other events.
    pub(crate) async fn exited(&mut self, name: &str) -> (ExitStatus, Option<Limitation>) {
        loop {
            if let ContainerEvent::Exited { container, status, limitation } = self.event().await
                && container == id(name)
            {
                return (status, limitation);
            }
        }
    }

    pub(crate) async fn event(&mut self) -> ContainerEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("an event was expected").expect("the containerizer lives")
    }

    /// Waits until the launcher was lost and is back.
    pub(crate) async fn relaunched(&mut self) -> u32 {
        loop {
            if let ContainerEvent::LauncherBack { pid } = self.event().await {
                return pid;
            }
        }
    }

    pub(crate) fn output(&self, name: &str, file: &str) -> String {
        fs::read_to_string(self.place.sandbox(name).join(file)).unwrap()
    }

    /// The node process is gone, the launcher and the containers are not.
    pub(crate) fn abandon(self) -> Place {
        self.place
    }

    /// Ends everything and holds that nothing is left.
    pub(crate) async fn stop(self) {
        self.containerizer.stop_launcher(true).await.unwrap();
        let launcher = self.containerizer.launcher_pid();
        eventually("the launcher is gone", || !is_alive(launcher)).await;
        let left = marked(&self.place.tag);
        assert!(left.is_empty(), "processes are left: {left:?}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for pid in launchers(&self.data_dir).into_iter().chain(marked(&self.tag)) {
            kill(pid);
        }
        for directory in cgroups(&self.tag) {
            for child in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let is_empty = || fs::remove_dir(child.path()).is_ok() || !child.path().exists();
                if child.path().is_dir() {
                    wait_until(is_empty);
                }
            }
            fs::remove_dir(&directory).ok();
        }
    }
}

/// The directories of a node in every cgroup tree.
pub(crate) fn cgroups(tag: &str) -> Vec<PathBuf> {
    let trees = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let trees = trees.map(|tree| tree.path()).chain([PathBuf::from("/sys/fs/cgroup")]);
    let own = trees.map(|tree| tree.join("meshos").join(tag));
    own.filter(|path| !tag.is_empty() && path.is_dir()).collect()
}

pub(crate) fn id(name: &str) -> ContainerId {
    ContainerId::new(name).unwrap()
}

pub(crate) fn kill(pid: u32) {
    use nix::sys::signal::{Signal, kill};
    kill(nix::unistd::Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).ok();
}

/// Whether there is a process of that pid that has not ended.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = meshos_isolation::linux::process::Stat::read(pid).unwrap();
    stat.is_some_and(|stat| !stat.is_zombie())
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Launchers of a data directory.
fn launchers(data_dir: &Path) -> Vec<u32> {
    let directory = data_dir.join("launcher").into_os_string().into_encoded_bytes();
    let is_one = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == directory)
    };
    pids().filter(is_one).collect()
}

/// Living processes of a node's containers.
pub(crate) fn marked(tag: &str) -> Vec<u32> {
    let mark = format!("MESHOS_CONTAINER={tag}/").into_bytes();
    let is_one = |pid: &u32| {
        let variables = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        !tag.is_empty() && variables.split(|byte| *byte == 0).any(|word| word.starts_with(&mark))
    };
    pids().filter(is_one).filter(|pid| is_alive(*pid)).collect()
}

/// For a guard that may be dropped anywhere.
fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Looks until a condition holds; nothing tells of the end of a process that is not ours.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "did not come true: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Reads a file once it has a whole line in it.
pub(crate) async fn line_of(path: &Path) -> String {
    let has_line = || fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n'));
    eventually(&format!("{path:?} has a line"), has_line).await;
    fs::read_to_string(path).unwrap().trim().to_owned()
}

pub(crate) async fn pid_of(path: &Path) -> u32 {
    line_of(path).await.parse().unwrap()
}
