//! Where a bench puts its data.

use std::path::{Path, PathBuf};

use crate::cmd;

/// A directory below `target/`, removed when dropped: after everything was measured, since ext4 does
/// not give out again the inodes that were freed in the last minutes, and whoever makes files searches
/// past them.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Named after the bench and this process. Not made yet.
    pub fn new(bench: &str) -> Self {
        let name = format!("target/bench-{bench}-{}", std::process::id());
        Self(cmd::workspace_root().join(name))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.0.exists()
            && let Err(error) = std::fs::remove_dir_all(&self.0)
        {
            cmd::complain(format_args!("cannot clean up {}: {error}", self.0.display()));
        }
    }
}
