//! Where the sandboxes are, which of them belong to containers that are not over, and the removal of the others.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use meshos_isolation::garbage::{self, Collector, Disk, Round, Rule};
use meshos_protocol::ids::{ContainerId, FrameworkId};
use tokio_util::sync::CancellationToken;

use crate::driver::Snapshot;

/// After a round that failed whole.
const FAILURE_PAUSE: Duration = Duration::from_secs(60);
/// How many failures of a round are logged one by one.
const LOGGED_MAX: usize = 4;

/// The sandboxes of this node; cheap to clone.
#[derive(Clone)]
pub(crate) struct Sandboxes {
    root: PathBuf,
    rule: Rule,
    /// Containers from before their launch until after their release, with their sandboxes as far as they are known.
    held: Arc<Mutex<BTreeMap<String, Option<PathBuf>>>>,
    status: Snapshot<Status>,
}

/// What the removal has come to, since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// Sandboxes removed.
    pub removed: u64,
    /// Directories that could not be read or removed, counted again in every round.
    pub failures: u64,
    /// The file system of the sandboxes, when it was looked at last.
    pub disk: Disk,
    /// How old the sandbox of an ended task may be now.
    pub allowed_age: Duration,
}

impl Sandboxes {
    /// Below this directory.
    pub(crate) fn new(root: PathBuf, rule: Rule) -> Self {
        let first = Status { allowed_age: rule.delay, ..Status::default() };
        Self { root, rule, held: Arc::default(), status: Snapshot::new(first) }
    }

    /// The directory of all of them.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// How long those of ended tasks are kept.
    pub(crate) fn rule(&self) -> Rule {
        self.rule
    }

    /// What the removal has come to.
    pub(crate) fn status(&self) -> Status {
        *self.status.get()
    }

    /// Where the sandbox of a task or executor is.
    pub(crate) fn path(
        &self,
        framework: FrameworkId,
        name: &str,
        container: &ContainerId,
    ) -> PathBuf {
        self.root.join(framework.to_string()).join(name).join(container.as_str())
    }

    /// From now on the container's sandbox is not removed.
    pub(super) fn hold(&self, container: &ContainerId, sandbox: Option<PathBuf>) {
        self.lock().insert(container.as_str().to_owned(), sandbox);
    }

    /// The sandbox of a container that is held, if it is known.
    pub(super) fn held(&self, container: &ContainerId) -> Option<PathBuf> {
        self.lock().get(container.as_str()).cloned().flatten()
    }

    /// The container is over: its sandbox ages from now on. File operations: not for async workers.
    pub(super) fn note_end(&self, container: &ContainerId) {
        let Some(known) = self.lock().get(container.as_str()).cloned() else { return };
        let found = match known {
            Some(path) => Ok(Some(path)),
            None => garbage::locate(&self.root, container.as_str()),
        };
        let noted = found.and_then(|found| found.map_or(Ok(()), |path| garbage::note_end(&path)));
        match noted {
            // A launch that failed early has made none.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%container, %error, "cannot note the end of a container in its sandbox");
            }
            Ok(()) => {}
        }
    }

    /// The container is released: its sandbox may be removed when it is old enough.
    pub(super) fn let_go(&self, container: &ContainerId) {
        self.lock().remove(container.as_str());
    }

    fn is_held(&self, container: &str) -> bool {
        self.lock().contains_key(container)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<PathBuf>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what has grown too old, until `shutdown`.
    pub(super) async fn collect(self, shutdown: CancellationToken) {
        let mut collector = Collector::new(&self.root, self.rule);
        loop {
            let sandboxes = self.clone();
            let round = tokio::task::spawn_blocking(move || {
                let is_held = |container: &str| sandboxes.is_held(container);
                let round = collector.round(SystemTime::now(), &is_held);
                (collector, round)
            });
            let pause = match round.await {
                Ok((back, Ok(round))) => {
                    collector = back;
                    self.note_round(&round);
                    round.pause
                }
                Ok((back, Err(error))) => {
                    collector = back;
                    let directory = self.root.display();
                    tracing::warn!(%directory, %error, "cannot remove the sandboxes of ended tasks");
                    FAILURE_PAUSE
                }
                // The runtime shuts down.
                Err(_) => return,
            };
            if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    fn note_round(&self, round: &Round) {
        for name in &round.removed {
            let (framework, task) = (&name.framework, &name.task);
            tracing::info!(%framework, %task, container = %name.container, "removed the sandbox of an ended task");
        }
        for (path, error) in round.failures.iter().take(LOGGED_MAX) {
            tracing::warn!(path = %path.display(), %error, "cannot remove the rest of a sandbox");
        }
        let mut status = self.status();
        let count = |items: usize| u64::try_from(items).unwrap_or(u64::MAX);
        status.removed = status.removed.saturating_add(count(round.removed.len()));
        status.failures = status.failures.saturating_add(count(round.failures.len()));
        status.disk = round.disk;
        status.allowed_age = round.allowed_age;
        self.status.set(status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandboxes(root: &Path) -> Sandboxes {
        Sandboxes::new(root.to_owned(), Rule { delay: Duration::from_secs(60), headroom: 0 })
    }

    #[test]
    fn the_end_of_a_container_is_noted_also_when_its_task_is_not_known() {
        let root = tempfile::tempdir().unwrap();
        let sandboxes = sandboxes(root.path());
        let (known, stray) = (ContainerId::new("t1-1").unwrap(), ContainerId::new("t1-2").unwrap());
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let paths = [&known, &stray].map(|id| sandboxes.path(FrameworkId(1), "task", id));
        for path in &paths {
            std::fs::create_dir_all(path).unwrap();
            std::fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
        }
        sandboxes.hold(&known, Some(paths[0].clone()));
        sandboxes.hold(&stray, None);
        for (id, path) in [&known, &stray].into_iter().zip(&paths) {
            sandboxes.note_end(id);
            assert!(path.metadata().unwrap().modified().unwrap() > long_ago, "{id}");
            assert!(sandboxes.is_held(id.as_str()));
            sandboxes.let_go(id);
            assert!(!sandboxes.is_held(id.as_str()));
        }
    }
}
