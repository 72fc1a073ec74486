//! The file and its tables.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use meshos_control::agent::{Change, ExecutorRecord, OperationsRecord, TaskRecord};
use meshos_membership::identity::{make_whole, write_atomic};
use meshos_protocol::{
    codec,
    ids::{AgentId, FrameworkId, TaskId},
    task::TaskEnd,
};
use redb::{Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use tracing::warn;

/// (framework number, task id) to the record as MessagePack.
const TASKS: TableDefinition<'_, (u64, &str), &[u8]> = TableDefinition::new("tasks");
/// (framework number, executor id) to the record as MessagePack. Earlier releases leave it as it is.
const EXECUTORS: TableDefinition<'_, (u64, &str), &[u8]> = TableDefinition::new("executors");
/// Number to an ended task that is remembered, as MessagePack.
const ENDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("ends");
/// Single values by name.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const AGENT_ID: &str = "agent_id";
/// Reservations and volumes; earlier releases leave it as it is, and offer what is configured.
const OPERATIONS: &str = "operations";
/// Names the format of this file, for later releases.
const FORMAT: &str = "format";
const FORMAT_NOW: &[u8] = b"1";
const FILE: &str = "agent.redb";
/// Beside the file from its first use on, so that a lost file is not taken for a new node.
const MARK: &str = "agent.mark";
/// Unreadable records that an error names.
const NAMED_MAX: usize = 5;
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
    /// The file was there before: without it the tasks that still run would be nobody's.
    #[error(
        "{path:?} was here before and is now missing or empty, and tasks that it recorded may still run: put it back \
         from a copy; or, to give up those tasks and their last updates, remove {mark:?} and start again"
    )]
    Lost {
        /// The file.
        path: PathBuf,
        /// What says that it was there.
        mark: PathBuf,
    },
    /// Records that this release cannot read; their tasks may run, and must not be forgotten.
    #[error(
        "{path:?} holds records that this release cannot read, whose tasks may still run: start the release that wrote \
         them, or put the file back from a copy ({what})"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The first of them, each with what is wrong.
        what: String,
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
    /// The executors, in order of framework and id.
    pub executors: Vec<ExecutorRecord>,
    /// The ended tasks that are remembered, by number.
    pub ends: Vec<(u64, TaskEnd)>,
    /// What operations have made of the node's resources.
    pub operations: OperationsRecord,
}

impl AgentStore {
    /// Opens or makes the file in the data directory.
    ///
    /// redb repairs a file whose last write was torn; what was durable is there.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(FILE);
        let failed = |why: String| StoreError::Storage { path: path.clone(), why };
        let mark = data_dir.join(MARK);
        let is_marked = mark.try_exists().map_err(|error| failed(error.to_string()))?;
        let is_empty = std::fs::metadata(&path).map_or(true, |metadata| metadata.len() == 0);
        if is_marked && is_empty {
            return Err(StoreError::Lost { path, mark });
        }
        let store = if is_empty {
            make(&path)?
        } else {
            Self::on(&path, builder().open(&path).map_err(|error| failed(error.to_string()))?)?
        };
        // redb makes it as the umask says; the environment of tasks is in it.
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))
            .map_err(|error| failed(error.to_string()))?;
        if !is_marked {
            write_atomic(&mark, b"agent.redb belongs here\n")
                .map_err(|error| failed(format!("its mark cannot be written: {error}")))?;
        }
        Ok(store)
    }

    /// Checks, or begins, what this database holds.
    pub(super) fn on(path: &Path, database: Database) -> Result<Self, StoreError> {
        let store = Self { path: path.to_owned(), database };
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
                write.open_table(ENDS)?;
                write.open_table(EXECUTORS)?;
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
    ///
    /// # Errors
    /// Also when some of it makes no sense: whoever went on without a record would end its task.
    pub(crate) fn load(&self) -> Result<Loaded, StoreError> {
        let (loaded, unreadable) = self.read()?;
        if unreadable.is_empty() {
            return Ok(loaded);
        }
        let mut what = unreadable[..unreadable.len().min(NAMED_MAX)].join("; ");
        if unreadable.len() > NAMED_MAX {
            what += &format!("; and {} more", unreadable.len() - NAMED_MAX);
        }
        Err(StoreError::Unreadable { path: self.path.clone(), what })
    }

    /// What can be read, and in words what cannot.
    fn read(&self) -> Result<(Loaded, Vec<String>), StoreError> {
        self.run(|database| {
            let read = database.begin_read()?;
            let (mut loaded, mut unreadable) = (Loaded::default(), Vec::new());
            if let Some(bytes) = read.open_table(META)?.get(AGENT_ID)? {
                match codec::decode::<AgentId>(bytes.value()) {
                    Ok(agent) => loaded.agent = Some(agent),
                    Err(error) => unreadable.push(format!("agent id: {error}")),
                }
            }
            if let Some(bytes) = read.open_table(META)?.get(OPERATIONS)? {
                match codec::decode::<OperationsRecord>(bytes.value()) {
                    Ok(record) => loaded.operations = record,
                    Err(error) => unreadable.push(format!("reservations and volumes: {error}")),
                }
            }
            for entry in read.open_table(TASKS)?.iter()? {
                let (key, value) = entry?;
                match codec::decode::<TaskRecord>(value.value()) {
                    Ok(record) => loaded.tasks.push(record),
                    Err(error) => {
                        let (framework, task) = key.value();
                        let framework = FrameworkId(framework);
                        unreadable.push(format!("task {task} of {framework}: {error}"));
                    }
                }
            }
            for entry in read.open_table(EXECUTORS)?.iter()? {
                let (key, value) = entry?;
                match codec::decode::<ExecutorRecord>(value.value()) {
                    Ok(record) => loaded.executors.push(record),
                    Err(error) => {
                        let (framework, executor) = key.value();
                        let framework = FrameworkId(framework);
                        unreadable.push(format!("executor {executor} of {framework}: {error}"));
                    }
                }
            }
            for entry in read.open_table(ENDS)?.iter()? {
                let (number, value) = entry?;
                // Only history: nobody's task is lost with one that cannot be read.
                match codec::decode::<TaskEnd>(value.value()) {
                    Ok(end) => loaded.ends.push((number.value(), end)),
                    Err(error) => warn!(%error, "an ended task in {:?} is unreadable", self.path),
                }
            }
            Ok((loaded, unreadable))
        })
    }

    /// Writes changes in order, durably, in one transaction.
    pub(crate) fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.run(|database| {
            let write = database.begin_write()?;
            {
                let mut tasks = write.open_table(TASKS)?;
                let mut meta = write.open_table(META)?;
                let mut ends = write.open_table(ENDS)?;
                let mut executors = write.open_table(EXECUTORS)?;
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
                        Change::Group(records) => {
                            for record in records {
                                let key = key(record.framework, &record.launch.description.task_id);
                                tasks.insert(key, codec::encode(record).as_slice())?;
                            }
                        }
                        Change::Executor(record) => {
                            let key = (record.framework.0, record.info.id.as_str());
                            executors.insert(key, codec::encode(record.as_ref()).as_slice())?;
                        }
                        Change::ForgetExecutor { framework, executor } => {
                            executors.remove((framework.0, executor.as_str()))?;
                        }
                        Change::Operations(record) => {
                            meta.insert(OPERATIONS, codec::encode(record.as_ref()).as_slice())?;
                        }
                        Change::Forget { framework, task, end } => {
                            tasks.remove(key(*framework, task))?;
                            if let Some(kept) = end {
                                ends.insert(
                                    kept.number,
                                    codec::encode(kept.end.as_ref()).as_slice(),
                                )?;
                                ends.retain_in(..kept.oldest, |_, _| false)?;
                            }
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

pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Makes the file under another name first: of one that was half made when the power failed nothing can be read, and the
/// node would never start again.
fn make(path: &Path) -> Result<AgentStore, StoreError> {
    let failed = |why: String| StoreError::Storage { path: path.to_owned(), why };
    make_whole(
        path,
        |_, error| failed(error.to_string()),
        |making| {
            let database = builder().create(making).map_err(|error| failed(error.to_string()))?;
            AgentStore::on(path, database)
        },
    )
}

fn key(framework: FrameworkId, task: &TaskId) -> (u64, &str) {
    (framework.0, task.as_str())
}
