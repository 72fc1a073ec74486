//! The file operations that control groups are driven by, as a trait, so that the version 2 code runs in tests on
//! machines whose controllers are all bound to version 1.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often and how long the removal of a directory is tried again: the kernel lets go of a cgroup a moment after
/// its last process was seen to end, and tells nobody on version 1.
const REMOVE_TRIES_MAX: u32 = 200;
const REMOVE_PAUSE: Duration = Duration::from_millis(5);

/// A cgroup file system.
pub trait CgroupTree: Send + Sync + fmt::Debug {
    /// Makes a directory; one that exists is fine.
    fn make(&self, directory: &Path) -> io::Result<()>;
    /// Removes a directory; one that does not exist is fine.
    fn remove(&self, directory: &Path) -> io::Result<()>;
    /// Writes a file that exists.
    fn write(&self, file: &Path, text: &str) -> io::Result<()>;
    /// Reads a file.
    fn read(&self, file: &Path) -> io::Result<String>;
    /// The names of the directories in a directory.
    fn children(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Whether a file or directory exists.
    fn exists(&self, path: &Path) -> bool;
}

/// The kernel's own tree.
#[derive(Debug, Default, Clone, Copy)]
pub struct KernelTree;

impl CgroupTree for KernelTree {
    fn make(&self, directory: &Path) -> io::Result<()> {
        match fs::create_dir(directory) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn remove(&self, directory: &Path) -> io::Result<()> {
        let mut tries = 0;
        loop {
            match fs::remove_dir(directory) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error)
                    if error.kind() == ErrorKind::ResourceBusy && tries < REMOVE_TRIES_MAX =>
                {
                    tries += 1;
                    std::thread::sleep(REMOVE_PAUSE);
                }
                other => return other,
            }
        }
    }

    fn write(&self, file: &Path, text: &str) -> io::Result<()> {
        fs::OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
    }

    fn read(&self, file: &Path) -> io::Result<String> {
        fs::read_to_string(file)
    }

    fn children(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

/// A tree in memory that behaves as the kernel's: a new directory has files in it, a write to a file that does not
/// exist fails, and a directory that has directories in it cannot be removed.
#[derive(Debug)]
pub struct FakeTree {
    /// The files that each new directory gets, with their content.
    template: Vec<(&'static str, &'static str)>,
    nodes: Mutex<BTreeMap<PathBuf, Option<String>>>,
    written: Mutex<Vec<(PathBuf, String)>>,
}

impl FakeTree {
    /// A tree of one directory, `root`, whose directories get the files of `template`.
    #[must_use]
    pub fn new(root: &Path, template: &[(&'static str, &'static str)]) -> Self {
        let tree = Self {
            template: template.to_vec(),
            nodes: Mutex::default(),
            written: Mutex::default(),
        };
        tree.add(root);
        tree
    }

    /// Sets a file's content, as the kernel does.
    pub fn set(&self, file: &Path, text: &str) {
        self.nodes().insert(file.to_owned(), Some(text.to_owned()));
    }

    /// All that was written, in order.
    #[must_use]
    pub fn written(&self) -> Vec<(PathBuf, String)> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Option<String>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, directory: &Path) {
        let mut nodes = self.nodes();
        nodes.insert(directory.to_owned(), None);
        for (name, text) in &self.template {
            nodes.insert(directory.join(name), Some((*text).to_owned()));
        }
    }
}

impl CgroupTree for FakeTree {
    fn make(&self, directory: &Path) -> io::Result<()> {
        let parent = directory.parent().unwrap_or(directory);
        if !self.exists(parent) {
            return Err(ErrorKind::NotFound.into());
        }
        if !self.exists(directory) {
            self.add(directory);
        }
        Ok(())
    }

    fn remove(&self, directory: &Path) -> io::Result<()> {
        if !self.children(directory)?.is_empty() {
            return Err(ErrorKind::ResourceBusy.into());
        }
        self.nodes().retain(|path, _| !path.starts_with(directory));
        Ok(())
    }

    fn write(&self, file: &Path, text: &str) -> io::Result<()> {
        match self.nodes().get_mut(file) {
            Some(Some(content)) => {
                text.clone_into(content);
                let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
                written.push((file.to_owned(), text.to_owned()));
                Ok(())
            }
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn read(&self, file: &Path) -> io::Result<String> {
        match self.nodes().get(file) {
            Some(Some(content)) => Ok(content.clone()),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn children(&self, directory: &Path) -> io::Result<Vec<String>> {
        let nodes = self.nodes();
        let inside = nodes
            .iter()
            .filter(|(path, content)| content.is_none() && path.parent() == Some(directory));
        Ok(inside.filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn exists(&self, path: &Path) -> bool {
        self.nodes().contains_key(path)
    }
}
