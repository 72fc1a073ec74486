//! Reads what a task wrote, on the node that ran it.
//!
//! The directories down to a task's sandbox are the node's own. What is in the sandbox is the
//! task's, who may put a symlink or a pipe in the place of any file, so that is opened by
//! [`open_beneath`] alone.

use std::{
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use meshos_isolation::sandbox::open_beneath;
use meshos_protocol::ids::{ContainerId, FrameworkId, TaskId};

use crate::group_executor;

/// The most runs of one task, or frameworks of one node, that are looked through.
const ENTRIES_MAX: usize = 100_000;

/// Where the sandboxes of a task are, one for each container that it ran in.
fn runs(sandboxes: &Path, framework: FrameworkId, task: &TaskId) -> PathBuf {
    sandboxes.join(framework.to_string()).join(task.as_str())
}

/// The sandbox of a known container, else of the task's newest run.
pub(super) fn of_task(
    sandboxes: &Path,
    framework: FrameworkId,
    task: &TaskId,
    container: Option<&ContainerId>,
) -> io::Result<Option<PathBuf>> {
    let runs = runs(sandboxes, framework, task);
    match container {
        Some(container) => Ok(Some(runs.join(container.as_str()))),
        None => newest_directory(&runs),
    }
}

/// The newest sandbox of an executor of groups that has run a task of this id, for tasks that the agent has forgotten.
pub(super) fn of_member(
    sandboxes: &Path,
    framework: FrameworkId,
    task: &TaskId,
) -> io::Result<Option<PathBuf>> {
    let directory = group_executor::directory_of(task);
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    let mut looked_at = 0;
    for executor in entries(&sandboxes.join(framework.to_string()))? {
        for container in entries(&executor)? {
            looked_at += 1;
            if looked_at > ENTRIES_MAX {
                return Ok(newest.map(|(_, path)| path));
            }
            // The way there is the executor's: no link is followed.
            let Ok(found) = open_beneath(&container, &directory) else { continue };
            let metadata = found.metadata()?;
            let made = metadata.created().or_else(|_| metadata.modified())?;
            if newest.as_ref().is_none_or(|(when, _)| *when <= made) {
                newest = Some((made, container));
            }
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// The directories in a directory; none when it is not there.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let directories = entries.take(ENTRIES_MAX).flatten();
    let directories = directories.filter(|it| it.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(directories.map(|entry| entry.path()).collect())
}

/// The one framework that has ever run a task of this id here, for callers that know the id alone.
pub(super) fn framework_of(sandboxes: &Path, task: &TaskId) -> io::Result<Vec<FrameworkId>> {
    let entries = match std::fs::read_dir(sandboxes) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries.take(ENTRIES_MAX) {
        let name = entry?.file_name();
        let framework = name.to_str().and_then(|name| name.parse::<FrameworkId>().ok());
        found.extend(framework.filter(|framework| runs(sandboxes, *framework, task).is_dir()));
    }
    Ok(found)
}

fn newest_directory(path: &Path) -> io::Result<Option<PathBuf>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for entry in entries.take(ENTRIES_MAX) {
        let entry = entry?;
        // Not through a symlink: this is the entry itself.
        let metadata = entry.metadata()?;
        if !metadata.is_dir() {
            continue;
        }
        let made = metadata.created().or_else(|_| metadata.modified())?;
        if newest.as_ref().is_none_or(|(when, _)| *when <= made) {
            newest = Some((made, entry.path()));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// Up to `length` bytes of a file in a sandbox, from `offset` on; none beyond its end.
pub(super) fn read(sandbox: &Path, file: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let file = open_beneath(sandbox, file)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let there = usize::try_from(metadata.len().saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length.min(there)];
    let mut filled = 0;
    while filled < bytes.len() {
        let place = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
        match file.read_at(&mut bytes[filled..], place) {
            // The task may cut its file short while it is read.
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMEWORK: FrameworkId = FrameworkId(4);

    fn sandboxes() -> (tempfile::TempDir, TaskId) {
        (tempfile::tempdir().unwrap(), TaskId::new("task").unwrap())
    }

    fn run(root: &tempfile::TempDir, container: &str, stdout: &str) -> PathBuf {
        let sandbox = root.path().join("F4").join("task").join(container);
        std::fs::create_dir_all(&sandbox).unwrap();
        std::fs::write(sandbox.join("stdout"), stdout).unwrap();
        sandbox
    }

    #[test]
    fn a_file_is_read_in_parts() {
        let (root, _) = sandboxes();
        let sandbox = run(&root, "c1", "0123456789");
        assert_eq!(read(&sandbox, Path::new("stdout"), 0, 100).unwrap(), b"0123456789");
        assert_eq!(read(&sandbox, Path::new("stdout"), 3, 4).unwrap(), b"3456");
        assert_eq!(read(&sandbox, Path::new("stdout"), 10, 4).unwrap(), b"");
        assert_eq!(read(&sandbox, Path::new("stdout"), u64::MAX, 4).unwrap(), b"");
        assert_eq!(
            read(&sandbox, Path::new("stderr"), 0, 4).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn a_task_cannot_have_another_file_read() {
        let (root, _) = sandboxes();
        let sandbox = run(&root, "c1", "");
        std::fs::remove_file(sandbox.join("stdout")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", sandbox.join("stdout")).unwrap();
        assert!(read(&sandbox, Path::new("stdout"), 0, 4).is_err());
        std::fs::create_dir(sandbox.join("stderr")).unwrap();
        assert_eq!(
            read(&sandbox, Path::new("stderr"), 0, 4).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }

    #[test]
    fn the_newest_run_is_taken_unless_the_container_is_known() {
        let (root, task) = sandboxes();
        assert_eq!(of_task(root.path(), FRAMEWORK, &task, None).unwrap(), None);
        let first = run(&root, "z-first", "");
        let made = |path: &Path| path.metadata().unwrap().created().unwrap();
        // Until the file system's clock has moved on, both would be equally new.
        let second = loop {
            let second = run(&root, "a-second", "");
            if made(&second) > made(&first) {
                break second;
            }
            std::fs::remove_dir_all(second).unwrap();
        };
        assert_eq!(of_task(root.path(), FRAMEWORK, &task, None).unwrap(), Some(second));
        let known = ContainerId::new("z-first").unwrap();
        assert_eq!(of_task(root.path(), FRAMEWORK, &task, Some(&known)).unwrap(), Some(first));
    }

    #[test]
    fn a_task_is_found_without_its_framework() {
        let (root, task) = sandboxes();
        assert!(framework_of(&root.path().join("absent"), &task).unwrap().is_empty());
        run(&root, "c1", "");
        std::fs::create_dir_all(root.path().join("F9").join("other")).unwrap();
        std::fs::create_dir_all(root.path().join("stray").join("task")).unwrap();
        assert_eq!(framework_of(root.path(), &task).unwrap(), [FRAMEWORK]);
    }
}
