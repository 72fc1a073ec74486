//! The file and its tables.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use meshos_control::agent::{Change, TaskRecord};
use meshos_protocol::{
    codec,
    ids::{AgentId, FrameworkId, TaskId},
};
use redb::{Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

/// (framework number, task id) to the record as MessagePack.
const TASKS: TableDefinition<'_, (u64, &str), &[u8]> = TableDefinition::new("tasks");
/// Single values by name.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const AGENT_ID: &str = "agent_id";
/// Names the format of this file, for later releases.
const FORMAT: &str = "format";
const FORMAT_NOW: &[u8] = b"1";
const FILE: &str = "agent.redb";
/// What redb keeps in memory of the file; by itself it would take up to a gigabyte. It is read at the start only, and the
/// records of some thousand tasks fit.
const CACHE_BYTES: usize = 4 << 20;

/// Why the agent's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The file cannot be opened or written.
    #[error("cannot use {path:?}: {why}")]
    Storage {
        /// The file.
        path: PathBuf,
        /// What redb said.
        why: String,
    },
    /// The file was written by a newer release.
    #[error(
        "{path:?} is in format {found:?}, which this release does not know: start the newer release"
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
}

/// The agent's file, open.
pub(crate) struct AgentStore {
    path: PathBuf,
    database: Database,
}

/// What was found in the file.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The id under which the agent is admitted.
    pub agent: Option<AgentId>,
    /// The tasks, in order of framework and id.
    pub tasks: Vec<TaskRecord>,
    /// Records that could not be read, in words: their tasks are unknown to this release.
    pub unreadable: Vec<String>,
}

impl AgentStore {
    /// Opens or makes the file in the data directory.
    ///
    /// redb repairs a file whose last write was torn; what was durable is there.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(FILE);
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let failed = |why: String| StoreError::Storage { path: path.clone(), why };
        let database = builder.create(&path).map_err(|error| failed(error.to_string()))?;
        // redb makes it as the umask says; the environment of tasks is in it.
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))
            .map_err(|error| failed(error.to_string()))?;
        let store = Self { path, database };
        store.check_format()?;
        Ok(store)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let found = self.run(|database| {
            let write = database.begin_write()?;
            let found = {
                let mut meta = write.open_table(META)?;
                let found = meta.get(FORMAT)?.map(|value| value.value().to_vec());
                if found.is_none() {
                    meta.insert(FORMAT, FORMAT_NOW)?;
                }
                write.open_table(TASKS)?;
                found
            };
            write.commit()?;
            Ok(found)
        })?;
        match found {
            Some(found) if found != FORMAT_NOW => Err(StoreError::Format {
                path: self.path.clone(),
                found: String::from_utf8_lossy(&found).into_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Reads everything.
    pub(crate) fn load(&self) -> Result<Loaded, StoreError> {
        self.run(|database| {
            let read = database.begin_read()?;
            let mut loaded = Loaded::default();
            if let Some(bytes) = read.open_table(META)?.get(AGENT_ID)? {
                match codec::decode::<AgentId>(bytes.value()) {
                    Ok(agent) => loaded.agent = Some(agent),
                    Err(error) => loaded.unreadable.push(format!("agent id: {error}")),
                }
            }
            for entry in read.open_table(TASKS)?.iter()? {
                let (key, value) = entry?;
                match codec::decode::<TaskRecord>(value.value()) {
                    Ok(record) => loaded.tasks.push(record),
                    Err(error) => {
                        let (framework, task) = key.value();
                        let framework = FrameworkId(framework);
                        loaded.unreadable.push(format!("task {task} of {framework}: {error}"));
                    }
                }
            }
            Ok(loaded)
        })
    }

    /// Writes changes in order, durably, in one transaction.
    pub(crate) fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.run(|database| {
            let write = database.begin_write()?;
            {
                let mut tasks = write.open_table(TASKS)?;
                let mut meta = write.open_table(META)?;
                for change in changes {
                    match change {
                        Change::Agent(Some(agent)) => {
                            meta.insert(AGENT_ID, codec::encode(agent).as_slice())?;
                        }
                        Change::Agent(None) => {
                            meta.remove(AGENT_ID)?;
                        }
                        Change::Task(record) => {
                            let key = key(record.framework, &record.launch.description.task_id);
                            tasks.insert(key, codec::encode(record.as_ref()).as_slice())?;
                        }
                        Change::Forget { framework, task } => {
                            tasks.remove(key(*framework, task))?;
                        }
                    }
                }
            }
            write.commit()?;
            Ok(())
        })
    }

    fn run<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        work(&self.database).map_err(|error| StoreError::Storage {
            path: self.path.clone(),
            why: error.to_string(),
        })
    }
}

fn key(framework: FrameworkId, task: &TaskId) -> (u64, &str) {
    (framework.0, task.as_str())
}
