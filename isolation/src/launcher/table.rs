//! The containers that the launcher holds: their births, their ends, and what is taken over from a launcher before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use super::protocol::{Answer, FailureKind, Known, Launch};
use super::record::{BIRTH_AT, Body, Record, Records};
use super::tree::{Remains, Tracker};
use super::unreadable;
use crate::container::{Command, ContainerId};
use crate::containerizer::ExitStatus;
use crate::linux::process::{self, Stat};
use crate::linux::spawn::{Birth, BirthError, Ids, Spawner, Step};
use crate::sys::{self, PidfdExit};

/// How many containers one launcher holds, running or not released.
pub(crate) const CONTAINERS_MAX: usize = 16_384;
/// Where a command without a slash is looked for when its environment has no `PATH`.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// A container.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) pid: u32,
    pub(crate) tracker: Tracker,
    pub(crate) state: State,
    /// Its first process has ended, but others may be left.
    pub(crate) leftovers: bool,
    /// The container with which it ends.
    pub(crate) inside: Option<ContainerId>,
}

/// What is known of a container's first process.
#[derive(Debug)]
pub(crate) enum State {
    /// It is our child: its status will be ours to read.
    Child,
    /// It was the child of a launcher before us.
    Adopted {
        /// Becomes readable when it ends.
        pidfd: OwnedFd,
        /// When it was seen to have ended; its status may still come, when its new parent has waited for it.
        ended_at: Option<Instant>,
    },
    /// It has ended.
    Exited(ExitStatus),
}

/// All containers.
#[derive(Debug)]
pub(crate) struct Table {
    records: Records,
    boot_id: String,
    spawner: Spawner,
    null: File,
    containers: BTreeMap<ContainerId, Container>,
    by_pid: BTreeMap<u32, ContainerId>,
    /// What runs inside each container.
    insiders: BTreeMap<ContainerId, BTreeSet<ContainerId>>,
}

impl Table {
    /// Takes over what the records tell of. `log` hears what could not be taken over.
    pub(crate) fn open(directory: &Path, mut log: impl FnMut(&str)) -> io::Result<Self> {
        let mut table = Self {
            records: Records::open(directory.join("records"))?,
            boot_id: process::boot_id()?,
            spawner: Spawner::new(),
            null: File::options().read(true).write(true).open("/dev/null")?,
            containers: BTreeMap::new(),
            by_pid: BTreeMap::new(),
            insiders: BTreeMap::new(),
        };
        let records = table.records.read_all(|path, reason| {
            log(&format!("removed the record {path:?}: {reason}"));
        })?;
        for record in records {
            let container = record.body.container.clone();
            if let Err(error) = table.adopt(record) {
                log(&format!("could not take over container {container}: {error}"));
            }
        }
        Ok(table)
    }

    fn adopt(&mut self, record: Record) -> io::Result<()> {
        let container = record.body.container.clone();
        let Some((pid, start_time)) = record.birth else {
            // We hold the lock that its child would still hold: it never came to be, and nobody was told of it.
            return self.records.remove(&container);
        };
        let same_boot = record.body.boot_id == self.boot_id;
        let state = match record.status {
            Some(status) => State::Exited(status),
            None if !same_boot => {
                State::Exited(unreadable("the machine was restarted while it ran"))
            }
            None => find(pid, start_time)?,
        };
        if let State::Exited(status) = &state {
            self.records.write_status(&container, status)?;
        }
        let tracker = Tracker::new(record.body.tracking.as_deref(), &record.body.mark);
        let leftovers = same_boot && matches!(state, State::Exited(_));
        let inside = record.body.inside;
        self.insert(container, Container { pid, tracker, state, leftovers, inside });
        Ok(())
    }

    fn insert(&mut self, id: ContainerId, container: Container) {
        if !matches!(container.state, State::Exited(_)) {
            self.by_pid.insert(container.pid, id.clone());
        }
        if let Some(outer) = container.inside.clone() {
            self.insiders.entry(outer).or_default().insert(id.clone());
        }
        self.containers.insert(id, container);
    }

    /// Starts a container.
    pub(crate) fn launch(&mut self, launch: &Launch) -> Answer {
        let failed = |kind, reason| Answer::Failed { kind, reason };
        if self.containers.contains_key(&launch.container) {
            return failed(FailureKind::Exists, "it exists already".to_owned());
        }
        if self.containers.len() >= CONTAINERS_MAX {
            let reason = format!("the launcher holds {CONTAINERS_MAX} containers, its limit");
            return failed(FailureKind::Other, reason);
        }
        if let Some(outer) = launch.inside.as_ref().filter(|outer| !self.is_running(outer)) {
            return failed(FailureKind::Other, format!("the container {outer} does not run"));
        }
        let body = Body {
            container: launch.container.clone(),
            boot_id: self.boot_id.clone(),
            sandbox: launch.sandbox.clone(),
            mark: launch.mark.clone(),
            cgroups: launch.cgroups.clone(),
            tracking: launch.tracking.clone(),
            inside: launch.inside.clone(),
        };
        let record = match self.records.create(&body) {
            Ok(record) => record,
            Err(error) => {
                let reason = format!("could not write its record: {error}");
                return failed(FailureKind::Other, reason);
            }
        };
        match self.spawn(launch, &record) {
            Ok(pid) => {
                let tracker = Tracker::new(launch.tracking.as_deref(), &launch.mark);
                let state = State::Child;
                let inside = launch.inside.clone();
                let container = Container { pid, tracker, state, leftovers: false, inside };
                self.insert(launch.container.clone(), container);
                Answer::Started { pid }
            }
            Err(error) => {
                let mut answer = describe(&error, launch);
                if let Err(error) = self.records.remove(&launch.container)
                    && let Answer::Failed { reason, .. } = &mut answer
                {
                    reason.push_str(&format!("; its record could not be removed: {error}"));
                }
                answer
            }
        }
    }

    fn spawn(&mut self, launch: &Launch, record: &File) -> Result<u32, BirthError> {
        let (candidates, argv) = command_line(&launch.command, &launch.environment);
        let ids = launch.ids.as_ref();
        let ids = ids.map(|ids| Ids { uid: ids.uid, gid: ids.gid, groups: ids.groups.clone() });
        self.spawner.spawn(&Birth {
            record: (record.as_fd(), BIRTH_AT),
            cgroups: &launch.cgroups,
            sandbox: Path::new(&launch.sandbox),
            stdin: self.null.as_fd(),
            output: launch.inside.is_some().then(|| self.null.as_fd()),
            ids: ids.as_ref(),
            candidates,
            argv,
            environment: &launch.environment,
        })
    }

    /// A child has ended: writes its status down before it is waited for, so that whoever kills us in between leaves
    /// either the child or its status. None when it is no container's first process, but an orphan that fell to us.
    pub(crate) fn child_ended(&mut self, pid: u32, status: ExitStatus) -> Option<ContainerId> {
        let id = self.by_pid.remove(&pid)?;
        let container = self.containers.get_mut(&id)?;
        container.state = State::Exited(status.clone());
        // An error here means that something may be left: it is looked for again when the container is released.
        let remains = container.tracker.kill_leftovers(pid).unwrap_or(Remains::Unknown);
        container.leftovers = remains != Remains::Nothing;
        // A full disk cannot fail this: the bytes are there. Were it to fail, the status would only not outlive us.
        drop(self.records.write_status(&id, &status));
        Some(id)
    }

    /// The adopted containers and what tells of their end.
    pub(crate) fn adopted(
        &self,
    ) -> impl Iterator<Item = (&ContainerId, BorrowedFd<'_>, Option<Instant>)> {
        self.containers.iter().filter_map(|(id, container)| match &container.state {
            State::Adopted { pidfd, ended_at } => Some((id, pidfd.as_fd(), *ended_at)),
            _ => None,
        })
    }

    /// An adopted process has ended. Its status is read from the kernel where that tells it, which it does once the
    /// process was waited for by its new parent: none until then, but not for longer than `patience`.
    pub(crate) fn adopted_ended(
        &mut self,
        id: &ContainerId,
        patience: Duration,
    ) -> Option<ExitStatus> {
        let container = self.containers.get_mut(id)?;
        let State::Adopted { pidfd, ended_at } = &mut container.state else { return None };
        let since = *ended_at.get_or_insert_with(Instant::now);
        let status = match sys::pidfd_exit_status(pidfd) {
            PidfdExit::Status(status) => from_wait_status(status),
            PidfdExit::NotYet if since.elapsed() < patience => return None,
            PidfdExit::NotYet | PidfdExit::Unsupported => unreadable(
                "nobody could read its exit status: the launcher that was its parent was killed while it ran",
            ),
        };
        container.state = State::Exited(status.clone());
        container.leftovers = true;
        self.by_pid.remove(&container.pid);
        // As in `child_ended`.
        drop(self.records.write_status(id, &status));
        Some(status)
    }

    pub(crate) fn get(&self, id: &ContainerId) -> Option<&Container> {
        self.containers.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &ContainerId) -> Option<&mut Container> {
        self.containers.get_mut(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ContainerId, &Container)> {
        self.containers.iter()
    }

    /// The container whose first process is `pid`.
    pub(crate) fn is_first(&self, pid: u32) -> bool {
        self.by_pid.contains_key(&pid)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// Whether that container's first process runs.
    fn is_running(&self, id: &ContainerId) -> bool {
        self.get(id).is_some_and(|container| !matches!(container.state, State::Exited(_)))
    }

    /// What was started inside a container.
    pub(crate) fn insiders(&self, outer: &ContainerId) -> Vec<ContainerId> {
        self.insiders.get(outer).into_iter().flatten().cloned().collect()
    }

    /// What was started inside containers that do not run any more.
    pub(crate) fn orphans(&self) -> Vec<ContainerId> {
        let over = self.insiders.iter().filter(|(outer, _)| !self.is_running(outer));
        over.flat_map(|(_, insiders)| insiders).cloned().collect()
    }

    /// Whether a container's first process runs.
    pub(crate) fn any_running(&self) -> bool {
        !self.by_pid.is_empty()
    }

    /// Forgets a container that has ended.
    pub(crate) fn remove(&mut self, id: &ContainerId) -> io::Result<()> {
        self.records.remove(id)?;
        if let Some(container) = self.containers.remove(id) {
            self.by_pid.remove(&container.pid);
            if let Some(outer) = container.inside
                && let Some(insiders) = self.insiders.get_mut(&outer)
            {
                insiders.remove(id);
                if insiders.is_empty() {
                    self.insiders.remove(&outer);
                }
            }
        }
        Ok(())
    }

    /// What a welcome lists.
    pub(crate) fn known(&self) -> Vec<Known> {
        let known = |(id, container): (&ContainerId, &Container)| Known {
            container: id.clone(),
            pid: container.pid,
            status: match &container.state {
                State::Exited(status) => Some(status.clone()),
                _ => None,
            },
        };
        self.containers.iter().map(known).collect()
    }
}

/// Looks for the process of a record: it may be our own child (we have replaced ourselves), somebody else's now (the
/// launcher before us was killed), or over.
fn find(pid: u32, start_time: u64) -> io::Result<State> {
    let over = || {
        State::Exited(unreadable(
            "nobody could read its exit status: it ended while no launcher was there to read it",
        ))
    };
    // The pidfd first: what is read after it is about the process that it pins.
    let Some(pidfd) = sys::pidfd_open(pid)? else { return Ok(over()) };
    match Stat::read(pid)? {
        Some(stat) if stat.start_time != start_time => Ok(over()),
        Some(stat) if stat.parent == std::process::id() => Ok(State::Child),
        Some(_) => Ok(State::Adopted { pidfd, ended_at: None }),
        None => Ok(over()),
    }
}

/// The status in the form that `wait` and the kernel's process information share.
pub(crate) fn from_wait_status(status: i32) -> ExitStatus {
    if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(libc::WTERMSIG(status))
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(status))
    }
}

/// The files to try and the arguments.
fn command_line(command: &Command, environment: &[String]) -> (Vec<String>, Vec<String>) {
    match command {
        Command::Shell(line) => {
            let argv = vec!["sh".to_owned(), "-c".to_owned(), line.clone()];
            (vec!["/bin/sh".to_owned()], argv)
        }
        Command::Exec { path, args } => {
            let argv = std::iter::once(path).chain(args).cloned().collect();
            if path.contains('/') {
                return (vec![path.clone()], argv);
            }
            let in_directory = |directory: &str| match directory {
                "" => format!("./{path}"),
                directory => format!("{directory}/{path}"),
            };
            (search_path(environment).split(':').map(in_directory).collect(), argv)
        }
    }
}

/// The container's own `PATH`; of several the last counts, as the environment's rule is.
fn search_path(environment: &[String]) -> &str {
    let path = environment.iter().rev().find_map(|variable| variable.strip_prefix("PATH="));
    path.unwrap_or(PATH_DEFAULT)
}

/// Why a birth failed, in words that a framework's author understands.
fn describe(error: &BirthError, launch: &Launch) -> Answer {
    let failed = |kind, reason| Answer::Failed { kind, reason };
    match error {
        BirthError::Clone(error) => {
            failed(FailureKind::Isolation, format!("no process could be made: {error}"))
        }
        BirthError::Child { step: Step::Record, error } => {
            let reason = format!("the process could not write itself into its record: {error}");
            failed(FailureKind::Isolation, reason)
        }
        BirthError::Child { step: Step::Cgroup(index), error } => {
            let directory = launch.cgroups.get(*index).map_or("", String::as_str);
            let reason = format!("the process could not enter the cgroup {directory:?}: {error}");
            failed(FailureKind::Isolation, reason)
        }
        BirthError::Child { step: Step::Sandbox(what), error } => {
            failed(FailureKind::Sandbox, format!("could not {what}: {error}"))
        }
        BirthError::Child { step: Step::User, error } => {
            failed(FailureKind::User, format!("the process could not become its user: {error}"))
        }
        BirthError::Child { step: Step::Exec, error } => {
            failed(FailureKind::Exec, exec_reason(error, launch))
        }
    }
}

fn exec_reason(error: &io::Error, launch: &Launch) -> String {
    let without_slash = match &launch.command {
        Command::Exec { path, .. } => !path.contains('/'),
        Command::Shell(_) => false,
    };
    match error.raw_os_error() {
        Some(libc::ENOENT) if without_slash => {
            format!("command not found in PATH {:?}", search_path(&launch.environment))
        }
        Some(libc::ENOENT) => "there is no such file, or its interpreter is missing".to_owned(),
        Some(libc::EACCES) => "it is not executable for the task's user".to_owned(),
        Some(libc::E2BIG) => "its arguments and environment are too long".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_looked_for_in_the_containers_path() {
        let exec = |path: &str| Command::Exec { path: path.to_owned(), args: vec!["a".to_owned()] };
        let environment = ["PATH=/x".to_owned(), "PATH=/a::/b".to_owned()];
        let (candidates, argv) = command_line(&exec("true"), &environment);
        assert_eq!(candidates, ["/a/true", "./true", "/b/true"]);
        assert_eq!(argv, ["true", "a"]);
        assert_eq!(command_line(&exec("./run"), &environment).0, ["./run"]);
        assert_eq!(command_line(&exec("x"), &[]).0[0], "/usr/local/bin/x");
        let shell = command_line(&Command::Shell("exit 1".to_owned()), &environment);
        assert_eq!(shell.1, ["sh", "-c", "exit 1"]);
    }

    /// A table over one record whose process is this test's own, which is alive.
    fn table_with(boot_id: &str, born: bool) -> (tempfile::TempDir, Table) {
        let directory = tempfile::tempdir().unwrap();
        let mut records = Records::open(directory.path().join("records")).unwrap();
        let file = records.create(&Body {
            container: ContainerId::new("c1").unwrap(),
            boot_id: boot_id.to_owned(),
            sandbox: "/s".to_owned(),
            mark: "m".to_owned(),
            cgroups: Vec::new(),
            tracking: None,
            inside: None,
        });
        if born {
            let own = Stat::read(std::process::id()).unwrap().unwrap();
            let slot = [u64::from(own.pid).to_le_bytes(), own.start_time.to_le_bytes()].concat();
            std::os::unix::fs::FileExt::write_all_at(&file.unwrap(), &slot, BIRTH_AT).unwrap();
        }
        let table = Table::open(directory.path(), |line| panic!("{line}")).unwrap();
        (directory, table)
    }

    #[test]
    fn after_a_restart_of_the_machine_every_container_is_over() {
        let (_directory, table) = table_with("another boot", true);
        let known = table.known();
        let status = known[0].status.as_ref().expect("it is over, although the pid is in use");
        assert!(status.to_string().contains("the machine was restarted"), "{status}");
    }

    #[test]
    fn a_process_of_this_boot_is_adopted_and_one_that_never_came_to_be_is_forgotten() {
        let boot_id = process::boot_id().unwrap();
        let (_directory, table) = table_with(&boot_id, true);
        assert_eq!(table.adopted().count(), 1);
        assert_eq!(table.known()[0].status, None);
        let (_directory, table) = table_with(&boot_id, false);
        assert!(table.is_empty());
    }

    #[test]
    fn wait_statuses_are_told_apart() {
        assert_eq!(from_wait_status(7 << 8), ExitStatus::Code(7));
        assert_eq!(from_wait_status(9), ExitStatus::Signal(9));
        assert_eq!(from_wait_status(0x80 | 11), ExitStatus::Signal(11));
    }
}
