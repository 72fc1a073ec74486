//! Where volumes lie, and how their directories are made and removed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use meshos_control::agent::{Event, TaskVolume};
use meshos_isolation::{VolumeMount, garbage, volume};
use meshos_protocol::ids::OperationUuid;
use tokio::sync::{Semaphore, mpsc};

use super::{Input, disks::Disks};

/// Volumes that are removed at a time: a large one keeps the disk busy, and they share a bin.
const REMOVALS_MAX: usize = 1;

/// The volumes of this node; cheap to clone.
#[derive(Clone)]
pub(super) struct Volumes {
    root: PathBuf,
    disks: Disks,
    removals: Arc<Semaphore>,
    mailbox: mpsc::Sender<Input>,
}

impl Volumes {
    /// Those on no other disk lie in `root`.
    pub(super) fn new(root: PathBuf, disks: Disks, mailbox: mpsc::Sender<Input>) -> Self {
        Self { root, disks, removals: Arc::new(Semaphore::new(REMOVALS_MAX)), mailbox }
    }

    /// A volume as its task's container gets it. Looks at the disk that it lies on.
    ///
    /// # Errors
    /// When that cannot be used.
    pub(super) fn mount(&self, volume: &TaskVolume) -> Result<VolumeMount, String> {
        let TaskVolume { directory, container_path } = volume;
        let source = place_of(&self.root, directory);
        self.disks.check_of(&source)?;
        Ok(VolumeMount { source, container_path: container_path.clone() })
    }

    pub(super) fn make(&self, operation: OperationUuid, directories: Vec<String>) {
        let (root, disks, mailbox) = (self.root.clone(), self.disks.clone(), self.mailbox.clone());
        tokio::spawn(async move {
            let made = move || {
                directories.iter().try_for_each(|directory| {
                    let place = place_of(&root, directory);
                    disks.check_of(&place)?;
                    volume::make(&place).map_err(|error| error.to_string())
                })
            };
            let failure = match tokio::task::spawn_blocking(made).await {
                Ok(made) => made.err(),
                // The runtime shuts down; the next start makes them.
                Err(_) => return,
            };
            if let Some(why) = &failure {
                tracing::error!(%operation, why, "cannot make the directory of a volume");
            }
            // The loop is gone only when the node stops.
            let _listening =
                mailbox.send(Input::Core(Event::VolumesMade { operation, failure })).await;
        });
    }

    /// What cannot be removed is tried again at the next start.
    pub(super) fn remove(&self, directory: String) {
        let place = place_of(&self.root, &directory);
        let (disks, mailbox) = (self.disks.clone(), self.mailbox.clone());
        let removals = Arc::clone(&self.removals);
        tokio::spawn(async move {
            let Ok(_slot) = removals.acquire().await else { return };
            let removed = move || {
                // What is not mounted is not gone.
                disks.check_of(&place)?;
                let beside = place.parent().zip(place.file_name().and_then(|name| name.to_str()));
                let (root, name) = beside.ok_or("it has no name")?;
                garbage::remove_directory(root, name).map_err(|error| error.to_string())
            };
            let removed: Result<Result<(), String>, _> = tokio::task::spawn_blocking(removed).await;
            match removed {
                Ok(Ok(())) => {
                    tracing::info!(directory, "removed a destroyed volume");
                    let event = Event::VolumeRemoved { directory };
                    let _listening = mailbox.send(Input::Core(event)).await;
                }
                Ok(Err(error)) => {
                    tracing::error!(directory, %error, "cannot remove a destroyed volume");
                }
                Err(_) => {}
            }
        });
    }
}

/// Where a volume's directory is: those on other disks have their whole path.
fn place_of(root: &Path, directory: &str) -> PathBuf {
    root.join(directory)
}
