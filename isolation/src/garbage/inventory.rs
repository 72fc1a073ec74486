//! Which sandboxes there are: `<framework>/<task>/<container>` below one directory.

use std::collections::BinaryHeap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::dir::{Dir, Type};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::sandbox::{open_directory, open_directory_at};

/// How many ended sandboxes are remembered, the oldest; when they are gone, the next are looked for.
const REMEMBERED_MAX: usize = 1_024;
/// How many sandboxes are looked at; a node that has more is told of.
const LOOKED_AT_MAX: usize = 1_000_000;
/// A sandbox whose end lies further ahead than this has a wrong time: the clock was set back, or a task has set it.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// Where a sandbox is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SandboxName {
    /// Its framework's id.
    pub framework: String,
    /// Its task's id.
    pub task: String,
    /// Its container.
    pub container: String,
}

impl SandboxName {
    /// Below the directory of all sandboxes.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        [&self.framework, &self.task, &self.container].iter().collect()
    }
}

/// A sandbox whose container is over. They are ordered by their ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ended {
    pub(super) at: SystemTime,
    pub(super) name: SandboxName,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The oldest of those whose containers are over.
    pub(super) oldest: BinaryHeap<Ended>,
    looked_at: usize,
    /// Directories that could not be read.
    pub(super) failures: Vec<(PathBuf, io::Error)>,
}

/// Writes down that the container of a sandbox is over, in the sandbox's own time of modification.
///
/// # Errors
/// When it cannot be opened, or does not belong to this user.
pub fn note_end(sandbox: &Path) -> io::Result<()> {
    open_directory(sandbox)?.set_modified(SystemTime::now())
}

/// The sandbox of a container, for one of which nothing else is known.
///
/// # Errors
/// When the sandboxes cannot be read.
pub fn locate(sandboxes: &Path, container: &str) -> io::Result<Option<PathBuf>> {
    let mut found = None;
    let mut failures = Vec::new();
    each_sandbox(&open_directory(sandboxes)?, &mut failures, &mut |_, name| {
        if name.container == container {
            found = Some(sandboxes.join(name.path()));
        }
        found.is_none()
    })?;
    Ok(found)
}

/// Looks for the sandboxes that have ended longest. `is_held` is asked of each container after its sandbox was seen, and
/// the time of its end is read after that: so a container that is launched or that ends meanwhile is not taken for an
/// old one.
pub(super) fn find(
    root: &File,
    is_held: &dyn Fn(&str) -> bool,
    now: SystemTime,
) -> io::Result<Found> {
    let mut found = Found::default();
    let mut failures = Vec::new();
    each_sandbox(root, &mut failures, &mut |task, name| {
        found.looked_at += 1;
        if !is_held(&name.container)
            && let Ok(at) = ended_at(task, &name.container, now)
        {
            found.oldest.push(Ended { at, name });
            if found.oldest.len() > REMEMBERED_MAX {
                found.oldest.pop();
            }
        }
        found.looked_at < LOOKED_AT_MAX
    })?;
    if found.looked_at == LOOKED_AT_MAX {
        let what =
            format!("it has more than {LOOKED_AT_MAX} sandboxes, which is all that is looked at");
        failures.push((PathBuf::new(), io::Error::other(what)));
    }
    found.failures = failures;
    Ok(found)
}

/// When a container ended, by its sandbox. A time that lies ahead would keep it for ever, so it is set anew.
fn ended_at(task: &File, container: &str, now: SystemTime) -> io::Result<SystemTime> {
    let sandbox = open_directory_at(task, Path::new(container))?;
    let at = sandbox.metadata()?.modified()?;
    if at > now + AHEAD_MAX {
        sandbox.set_modified(now)?;
        return Ok(now);
    }
    Ok(at)
}

/// Calls `each` with every sandbox and the open directory of its task, until it says false.
fn each_sandbox(
    root: &File,
    failures: &mut Vec<(PathBuf, io::Error)>,
    each: &mut dyn FnMut(&File, SandboxName) -> bool,
) -> io::Result<()> {
    for framework in directories(root)?.names {
        // Directories of ours begin with a dot.
        if framework.starts_with('.') {
            continue;
        }
        let go_on = each_of_framework(root, &framework, failures, each);
        match go_on {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // It went away, or it is not ours.
            Err(error) if is_gone(&error) => {}
            Err(error) => failures.push((PathBuf::from(framework), error)),
        }
    }
    Ok(())
}

fn each_of_framework(
    root: &File,
    framework: &str,
    failures: &mut Vec<(PathBuf, io::Error)>,
    each: &mut dyn FnMut(&File, SandboxName) -> bool,
) -> io::Result<bool> {
    let directory = open_directory_at(root, Path::new(framework))?;
    let tasks = directories(&directory)?;
    if tasks.is_empty {
        remove_empty(root, framework);
    }
    for task in tasks.names {
        let opened = open_directory_at(&directory, Path::new(&task))
            .and_then(|opened| Ok((directories(&opened)?, opened)));
        let (runs, opened) = match opened {
            Ok(opened) => opened,
            Err(error) if is_gone(&error) => continue,
            Err(error) => {
                failures.push((Path::new(framework).join(task), error));
                continue;
            }
        };
        if runs.is_empty {
            remove_empty(&directory, &task);
        }
        for container in runs.names {
            let name =
                SandboxName { framework: framework.to_owned(), task: task.clone(), container };
            if !each(&opened, name) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Whether an error says that there is no directory of ours of that name.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(libc::ELOOP)
}

/// Removes a directory if nothing is in it, such as an interrupted launch leaves. Nothing depends on it.
pub(super) fn remove_empty(parent: &File, name: &str) {
    unlinkat(parent, name, UnlinkatFlags::RemoveDir).ok();
}

struct Listed {
    /// The directories in it.
    names: Vec<String>,
    /// Nothing at all is in it.
    is_empty: bool,
}

fn directories(directory: &File) -> io::Result<Listed> {
    let mut listed = Listed { names: Vec::new(), is_empty: true };
    for entry in Dir::from_fd(directory.try_clone()?.into())?.iter() {
        let entry = entry?;
        if is_self_or_parent(entry.file_name()) {
            continue;
        }
        listed.is_empty = false;
        // Some file systems do not tell the kind: then opening it does.
        let is_directory = entry.file_type().is_none_or(|kind| kind == Type::Directory);
        if is_directory && let Ok(name) = entry.file_name().to_str() {
            listed.names.push(name.to_owned());
        }
    }
    Ok(listed)
}

pub(super) fn is_self_or_parent(name: &CStr) -> bool {
    name == c"." || name == c".."
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn make(root: &Path, name: &str, age: Duration) {
        let path = root.join(name);
        std::fs::create_dir_all(&path).unwrap();
        File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    fn names(root: &Path, held: &[&str]) -> Vec<String> {
        let file = open_directory(root).unwrap();
        let found = find(&file, &|name| held.contains(&name), SystemTime::now()).unwrap();
        assert!(found.failures.is_empty(), "{:?}", found.failures);
        let ended = found.oldest.into_sorted_vec();
        ended.iter().map(|ended| ended.name.path().display().to_string()).collect()
    }

    #[test]
    fn ended_sandboxes_are_found_the_oldest_first_and_strangers_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        make(root.path(), "F1/a/c1", DAY);
        make(root.path(), "F1/a/c2", DAY * 3);
        make(root.path(), "F2/b/c3", DAY * 2);
        make(root.path(), ".removed/x/y", DAY);
        let elsewhere = tempfile::tempdir().unwrap();
        make(elsewhere.path(), "a/c9", DAY);
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("F3")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("a"), root.path().join("F1/l")).unwrap();
        std::fs::write(root.path().join("F1/note"), "x").unwrap();
        assert_eq!(names(root.path(), &[]), ["F1/a/c2", "F2/b/c3", "F1/a/c1"]);
        assert_eq!(names(root.path(), &["c2", "c1"]), ["F2/b/c3"]);
        let found = locate(root.path(), "c3").unwrap();
        assert_eq!(found, Some(root.path().join("F2/b/c3")));
        assert_eq!(locate(root.path(), "c9").unwrap(), None);
    }

    #[test]
    fn empty_directories_above_sandboxes_are_removed() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("F1/empty")).unwrap();
        make(root.path(), "F2/b/c1", DAY);
        names(root.path(), &[]);
        names(root.path(), &[]);
        assert!(!root.path().join("F1").exists());
        assert!(root.path().join("F2/b/c1").exists());
    }

    #[test]
    fn an_end_is_noted_and_one_that_lies_ahead_is_set_anew() {
        let root = tempfile::tempdir().unwrap();
        make(root.path(), "F1/a/c1", DAY);
        let path = root.path().join("F1/a/c1");
        note_end(&path).unwrap();
        let modified = || path.metadata().unwrap().modified().unwrap();
        assert!(modified().elapsed().unwrap() < DAY / 2);
        File::open(&path).unwrap().set_modified(SystemTime::now() + DAY).unwrap();
        assert_eq!(names(root.path(), &[]), ["F1/a/c1"]);
        assert!(modified() <= SystemTime::now());
        let link = root.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(note_end(&link).is_err());
    }
}
