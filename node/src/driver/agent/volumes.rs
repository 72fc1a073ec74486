//! Where volumes lie, and how their directories are made and removed.

use std::{path::PathBuf, sync::Arc};

use meshos_control::agent::{Event, TaskVolume};
use meshos_isolation::{VolumeMount, garbage, volume};
use meshos_protocol::ids::OperationUuid;
use tokio::sync::{Semaphore, mpsc};

use super::Input;

/// Volumes that are removed at a time: a large one keeps the disk busy, and they share a bin.
const REMOVALS_MAX: usize = 1;

/// The volumes of this node; cheap to clone.
#[derive(Clone)]
pub(super) struct Volumes {
    root: PathBuf,
    removals: Arc<Semaphore>,
    mailbox: mpsc::Sender<Input>,
}

impl Volumes {
    pub(super) fn new(root: PathBuf, mailbox: mpsc::Sender<Input>) -> Self {
        Self { root, removals: Arc::new(Semaphore::new(REMOVALS_MAX)), mailbox }
    }

    /// A volume as its task's container gets it.
    pub(super) fn mount(&self, volume: &TaskVolume) -> VolumeMount {
        let TaskVolume { directory, container_path } = volume;
        VolumeMount { source: self.root.join(directory), container_path: container_path.clone() }
    }

    pub(super) fn make(&self, operation: OperationUuid, directories: Vec<String>) {
        let (root, mailbox) = (self.root.clone(), self.mailbox.clone());
        tokio::spawn(async move {
            let made = move || {
                directories.iter().try_for_each(|directory| volume::make(&root.join(directory)))
            };
            let failure = match tokio::task::spawn_blocking(made).await {
                Ok(made) => made.err().map(|error| error.to_string()),
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
        let (root, mailbox) = (self.root.clone(), self.mailbox.clone());
        let removals = Arc::clone(&self.removals);
        tokio::spawn(async move {
            let Ok(_slot) = removals.acquire().await else { return };
            let name = directory.clone();
            let removed =
                tokio::task::spawn_blocking(move || garbage::remove_directory(&root, &name));
            match removed.await {
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
