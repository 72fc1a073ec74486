//! What a framework knows of its tasks, on disk before it acts on it: it outlives its process.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use meshos_sdk::protocol::{
    ids::{AgentId, FrameworkId},
    task::{StatusUpdate, TaskState},
};
use serde::{Deserialize, Serialize};

/// One line of the book.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entry {
    /// The framework is registered.
    Framework(FrameworkId),
    /// A task is about to be launched.
    Launch { task: String, agent: AgentId, in_executor: bool },
    /// A step of a task.
    Update { task: String, state: TaskState, update: Option<String>, reason: String },
    /// The framework asked for the end of a task.
    Kill { task: String },
}

/// The life of one task as its framework knows it.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub agent: AgentId,
    pub in_executor: bool,
    pub killed: bool,
    /// Each step, with its id if it has one.
    pub steps: Vec<(Option<String>, TaskState, String)>,
}

impl Life {
    /// Whether nothing more is to be heard of it: it ended, or is unknown to the cluster.
    pub(crate) fn is_over(&self) -> bool {
        self.steps.iter().any(|(_, state, _)| state.is_terminal() || *state == TaskState::Unknown)
    }
}

/// The book, open for writing.
pub(crate) struct Book {
    file: File,
    pub framework: Option<FrameworkId>,
    pub lives: BTreeMap<String, Life>,
}

fn path(dir: &Path) -> PathBuf {
    dir.join("book")
}

/// The entries of a book. A last line that is torn was never acted on.
fn entries(text: &str) -> Result<Vec<Entry>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let read =
        |line: &str| serde_json::from_str(line).with_context(|| format!("no entry: {line:?}"));
    whole.lines().map(read).collect()
}

impl Book {
    /// Opens the book of an earlier run, or a new one.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let text = fs::read_to_string(path(dir)).unwrap_or_default();
        let mut file = File::options().create(true).append(true).open(path(dir))?;
        if !text.is_empty() && !text.ends_with('\n') {
            let end = text.rfind('\n').map_or(0, |end| end + 1);
            file.set_len(u64::try_from(end)?)?;
            file.flush()?;
        }
        let mut book = Self { file, framework: None, lives: BTreeMap::new() };
        for entry in entries(&text)? {
            book.take(entry);
        }
        Ok(book)
    }

    /// Writes entries down; they are on disk when this returns.
    pub(crate) fn write(&mut self, entries: Vec<Entry>) -> Result<()> {
        let mut lines = Vec::new();
        for entry in &entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        self.file.write_all(&lines)?;
        self.file.sync_data()?;
        entries.into_iter().for_each(|entry| self.take(entry));
        Ok(())
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Framework(framework) => self.framework = Some(framework),
            Entry::Launch { task, agent, in_executor } => {
                let life = Life { agent, in_executor, killed: false, steps: Vec::new() };
                self.lives.insert(task, life);
            }
            Entry::Update { task, state, update, reason } => {
                if let Some(life) = self.lives.get_mut(&task) {
                    life.steps.push((update, state, reason));
                }
            }
            Entry::Kill { task } => {
                if let Some(life) = self.lives.get_mut(&task) {
                    life.killed = true;
                }
            }
        }
    }

    /// The tasks of which something is still to be heard.
    pub(crate) fn open_tasks(&self) -> impl Iterator<Item = (&String, &Life)> {
        self.lives.iter().filter(|(_, life)| !life.is_over())
    }
}

impl Entry {
    /// A step of a task.
    pub(crate) fn of(status: &StatusUpdate) -> Self {
        Self::Update {
            task: status.task.to_string(),
            state: status.state,
            update: status.update.map(|update| format!("{update:?}")),
            reason: format!("{:?} {}", status.reason, status.message),
        }
    }
}
