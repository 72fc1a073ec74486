//! The processes of the tasks: their directories, what is fetched for them, their start, their end.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::{
        fs::{DirBuilderExt as _, OpenOptionsExt as _},
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
};

use meshos_control::group_executor::Event;
use meshos_isolation::{FetchOptions, Fetcher, linux::process::MARK_VARIABLE, sandbox};
use meshos_protocol::{
    ids::TaskId,
    messages::executor::{CONTAINER_VARIABLE, EXECUTOR_VARIABLE, FRAMEWORK_VARIABLE},
    task::{CommandLine, Exit, Reason, TaskDescription, Uri},
};
use meshos_sdk::ExecutorOptions;
use nix::{
    sys::{
        signal::{Signal, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use tokio::{sync::mpsc, task::JoinHandle};

/// Where a process finds its own program, whatever became of the file.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Its owner's alone, as the sandbox.
const DIRECTORY_MODE: u32 = 0o750;
/// Of the executor's own environment, what its tasks get too: the agent has put these there.
const PASSED_ON: [&str; 5] = ["PATH", "USER", "LOGNAME", MARK_VARIABLE, CONTAINER_VARIABLE];
/// All of them are the task's own directory.
const PLACES: [&str; 3] = ["MESHOS_SANDBOX", "MESOS_SANDBOX", "MESOS_DIRECTORY"];

pub(super) struct Processes {
    sandbox: PathBuf,
    /// For every task.
    environment: BTreeMap<String, OsString>,
    fetcher: Arc<Fetcher>,
    running: BTreeMap<TaskId, Child>,
    preparing: BTreeMap<TaskId, JoinHandle<()>>,
    /// What was fetched for these tasks is there.
    fetched: mpsc::Receiver<Fetched>,
    fetches: mpsc::Sender<Fetched>,
    wake: mpsc::Sender<Event>,
}

/// The end of a fetch.
struct Fetched {
    task: TaskDescription,
    result: Result<(), String>,
}

impl Processes {
    pub(super) fn new(options: &ExecutorOptions, wake: mpsc::Sender<Event>) -> io::Result<Self> {
        let mut environment: BTreeMap<String, OsString> = BTreeMap::new();
        for name in PASSED_ON {
            environment.extend(std::env::var_os(name).map(|value| (name.to_owned(), value)));
        }
        environment.insert(FRAMEWORK_VARIABLE.to_owned(), options.framework.to_string().into());
        environment.insert(EXECUTOR_VARIABLE.to_owned(), options.executor.to_string().into());
        let (fetches, fetched) = mpsc::channel(super::HEARD_MAX);
        let fetcher = Fetcher::new(OWN_PROGRAM.into(), FetchOptions::default());
        Ok(Self {
            sandbox: std::env::current_dir()?,
            environment,
            fetcher: Arc::new(fetcher),
            running: BTreeMap::new(),
            preparing: BTreeMap::new(),
            fetched,
            fetches,
            wake,
        })
    }

    /// Starts a task, or what is to be fetched for it first.
    pub(super) fn start(&mut self, task: TaskDescription) -> Option<Event> {
        let directory = self.directory_of(&task.task_id);
        let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&directory);
        if let Err(error) = made {
            let why = format!("the task's directory cannot be made: {error}");
            return Some(not_started(task.task_id, Reason::ContainerLaunchFailed, why));
        }
        if task.command.uris.is_empty() {
            return Some(self.spawn(&task, &directory));
        }
        self.fetch(task, directory);
        None
    }

    fn directory_of(&self, task: &TaskId) -> PathBuf {
        self.sandbox.join(super::directory_of(task))
    }

    fn fetch(&mut self, task: TaskDescription, directory: PathBuf) {
        let uris: Vec<meshos_isolation::Uri> =
            task.command.uris.iter().cloned().map(as_isolated).collect();
        let (fetcher, fetches) = (Arc::clone(&self.fetcher), self.fetches.clone());
        let wake = self.wake.clone();
        let id = task.task_id.clone();
        let work = async move {
            let result = fetcher.fetch_as_is(&directory, &uris).await;
            let result = result.map_err(|error| error.to_string());
            // The loop is gone only when the process ends.
            let _listening = fetches.send(Fetched { task, result }).await;
            let _woken = wake.send(Event::Tick).await;
        };
        self.preparing.insert(id, tokio::spawn(work));
    }

    /// What has come to its end since the last look: fetches and processes.
    pub(super) fn ended(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Ok(Fetched { task, result }) = self.fetched.try_recv() {
            // One that was called off is over already.
            if self.preparing.remove(&task.task_id).is_none() {
                continue;
            }
            let directory = self.directory_of(&task.task_id);
            events.push(match result {
                Ok(()) => self.spawn(&task, &directory),
                Err(why) => not_started(task.task_id, Reason::FetchFailed, why),
            });
        }
        let over: Vec<(TaskId, Exit)> = self
            .running
            .iter_mut()
            .filter_map(|(task, child)| Some((task.clone(), reap(child)?)))
            .collect();
        for (task, exit) in over {
            self.running.remove(&task);
            events.push(Event::Exited { task, exit });
        }
        events
    }

    fn spawn(&mut self, task: &TaskDescription, directory: &Path) -> Event {
        let id = task.task_id.clone();
        match self.try_spawn(task, directory) {
            Ok(child) => {
                self.running.insert(id.clone(), child);
                Event::Started { task: id }
            }
            Err(why) => not_started(id, Reason::ContainerLaunchFailed, why),
        }
    }

    fn try_spawn(&self, task: &TaskDescription, directory: &Path) -> Result<Child, String> {
        let open = |name: &str| {
            open_output(directory, name)
                .map_err(|error| format!("the task's {name} cannot be opened: {error}"))
        };
        let mut command = match &task.command.line {
            CommandLine::Shell { line } => {
                let mut shell = Command::new("/bin/sh");
                shell.arg("-c").arg(line);
                shell
            }
            CommandLine::Exec { program, arguments } => {
                let mut command = Command::new(program);
                command.args(arguments);
                command
            }
            CommandLine::Unknown => {
                return Err("this release does not know the form of the command".to_owned());
            }
        };
        command.env_clear().envs(&self.environment).env("HOME", directory);
        command.env("MESHOS_TASK_ID", task.task_id.as_str()).envs(&task.command.environment);
        for name in PLACES {
            command.env(name, directory);
        }
        for name in [MARK_VARIABLE, CONTAINER_VARIABLE] {
            match self.environment.get(name) {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null()).stdout(open(sandbox::STDOUT)?).stderr(open(sandbox::STDERR)?);
        command.current_dir(directory).process_group(0);
        command.spawn().map_err(|error| format!("the command cannot be executed: {error}"))
    }

    /// SIGTERM to the task's processes.
    pub(super) fn terminate(&self, task: &TaskId) {
        self.signal(task, Signal::SIGTERM);
    }

    /// SIGKILL to the task's processes; what is being fetched for it is called off.
    pub(super) fn destroy(&mut self, task: &TaskId) -> Option<Event> {
        if let Some(fetch) = self.preparing.remove(task) {
            fetch.abort();
            let why = "the task was called off while it was being prepared".to_owned();
            return Some(not_started(task.clone(), Reason::KilledDuringLaunch, why));
        }
        self.signal(task, Signal::SIGKILL);
        None
    }

    fn signal(&self, task: &TaskId, signal: Signal) {
        // It is not reaped yet, so its number is that of its group and of nobody else's.
        if let Some(child) = self.running.get(task)
            && let Err(error) = killpg(pid_of(child), signal)
        {
            tracing::warn!(%task, %signal, %error, "cannot signal the processes of a task");
        }
    }
}

fn not_started(task: TaskId, reason: Reason, message: String) -> Event {
    Event::NotStarted { task, reason, message }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// How a process ended, if it has: what is left of its group is killed before its number can be another's.
fn reap(child: &mut Child) -> Option<Exit> {
    let pid = pid_of(child);
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::Pid(pid), flags) {
        Ok(WaitStatus::StillAlive) => return None,
        Ok(_) => {}
        Err(error) => tracing::warn!(%pid, %error, "cannot look whether a process has ended"),
    }
    // There may be nobody left.
    let _gone = killpg(pid, Signal::SIGKILL);
    match child.try_wait() {
        Ok(None) => None,
        Ok(Some(status)) => Some(as_exit(status)),
        Err(error) => Some(Exit::Unreadable { why: format!("the exit status is lost: {error}") }),
    }
}

fn as_exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code { code },
        (None, Some(signal)) => Exit::Signal { signal },
        (None, None) => Exit::Unreadable { why: status.to_string() },
    }
}

/// Opens what a task writes to, behind what an earlier task of its id has written there. A pipe or a link that was put in
/// its place is not opened.
fn open_output(directory: &Path, name: &str) -> io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(flags)
        .open(directory.join(name))?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "something else is in its place"))
}

fn as_isolated(uri: Uri) -> meshos_isolation::Uri {
    meshos_isolation::Uri {
        value: uri.value,
        executable: uri.executable,
        extract: uri.extract,
        output_file: uri.output_file,
        cache: false,
    }
}
