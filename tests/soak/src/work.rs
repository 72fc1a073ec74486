//! What the tasks of the storm do: they write down that they were born, wait, and end.

use std::path::{Path, PathBuf};

use meshos_tests::Journal;
use serde::{Deserialize, Serialize};

/// The work of one task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Work {
    /// The task's id.
    pub id: String,
    /// Where births are written down.
    pub journal: PathBuf,
    /// How long it takes, in milliseconds.
    pub ms: u64,
    /// Its exit code.
    pub code: u8,
}

impl Work {
    /// The same for a shell.
    pub(crate) fn line(&self) -> String {
        let birth = Journal::birth_line_in(&self.journal, &self.id);
        format!("{birth}; sleep {}.{:03}; exit {}", self.ms / 1_000, self.ms % 1_000, self.code)
    }
}

/// Where executors write down that they were born, beside the births of tasks.
pub(crate) fn executors_journal(journal: &Path) -> PathBuf {
    journal.join("executors")
}
