//! Reads what a task wrote, on the node that ran it.
//!
//! The directories down to a task's sandbox are the node's own. What is in the sandbox is the
//! task's, who may put a symlink or a pipe in the place of any file, so that is opened by
//! [`open_beneath`] alone.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use meshos_isolation::sandbox::open_beneath;
use meshos_mesos::reads::files::FileEntry;
use meshos_protocol::ids::{ContainerId, FrameworkId, TaskId};
use nix::{
    dir::Dir,
    fcntl::AtFlags,
    sys::stat::fstatat,
    unistd::{Gid, Group, Uid, User},
};

use crate::group_executor;

/// The most runs of one task, or frameworks of one node, that are looked through.
const ENTRIES_MAX: usize = 100_000;
/// The most entries of a directory that are listed.
const LISTED_MAX: usize = 10_000;
/// The most names of users that are looked up for one listing.
const NAMES_MAX: usize = 64;

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
    part(sandbox, file, offset, length).map(|part| part.bytes)
}

/// A part of a file, and how many bytes the file had when it was opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub bytes: Vec<u8>,
    pub size: u64,
}

/// The same as [`read`], and the size of the file; `IsADirectory` for a directory.
pub(super) fn part(sandbox: &Path, file: &Path, offset: u64, length: usize) -> io::Result<Part> {
    let file = open_beneath(sandbox, file)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is not a regular file"));
    }
    let size = metadata.len();
    let there = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
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
    Ok(Part { bytes, size })
}

/// What is in a directory of a sandbox, by name; nothing for a file. Of a symlink that itself is told.
pub(super) fn list(sandbox: &Path, directory: &Path) -> io::Result<Vec<FileEntry>> {
    let opened = open_beneath(sandbox, directory)?;
    if !opened.metadata()?.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Names::default();
    let (mut found, mut looked_at) = (Vec::new(), 0);
    for entry in Dir::from_fd(opened.try_clone()?.into())?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        // Also those that are gone by now, of which a task may make as many as it wants meanwhile.
        if looked_at == LISTED_MAX {
            let what =
                format!("it has more than {LISTED_MAX} entries, which is the most that are listed");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        looked_at += 1;
        let stat = match fstatat(&opened, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // The task has removed it meanwhile.
            Err(nix::errno::Errno::ENOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        let modified_ns =
            stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(stat.st_mtime_nsec);
        found.push(FileEntry {
            name: name.to_string_lossy().into_owned(),
            links: stat.st_nlink,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified_ns,
            mode: stat.st_mode,
            user: names.user(stat.st_uid),
            group: names.group(stat.st_gid),
        });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Names of users and groups, each looked up once for a listing: a task's files are those of a few.
#[derive(Default)]
struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Names {
    fn user(&mut self, id: u32) -> String {
        let find = || User::from_uid(Uid::from_raw(id)).ok().flatten().map(|user| user.name);
        Self::name(&mut self.users, id, find)
    }

    fn group(&mut self, id: u32) -> String {
        let find = || Group::from_gid(Gid::from_raw(id)).ok().flatten().map(|group| group.name);
        Self::name(&mut self.groups, id, find)
    }

    /// A number stays what it is where it has no name, or so many others had to be looked up.
    fn name(
        known: &mut BTreeMap<u32, String>,
        id: u32,
        find: impl FnOnce() -> Option<String>,
    ) -> String {
        if let Some(name) = known.get(&id) {
            return name.clone();
        }
        if known.len() == NAMES_MAX {
            return id.to_string();
        }
        let name = find().unwrap_or_else(|| id.to_string());
        known.entry(id).or_insert(name).clone()
    }
}

/// A sandbox on this node, of a container that runs or has run.
pub(super) struct Found {
    pub framework: FrameworkId,
    pub name: TaskId,
    pub container: ContainerId,
    pub path: PathBuf,
    /// When something in it was made or removed last, or its container ended.
    pub changed: SystemTime,
}

/// The sandboxes of this node, so many at most, the newest first.
pub(super) fn all(sandboxes: &Path, max: usize) -> io::Result<Vec<Found>> {
    let mut found = every(sandboxes)?;
    found.sort_by_key(|one| Reverse(one.changed));
    found.truncate(max);
    Ok(found)
}

fn every(sandboxes: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let name_of = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    for of in entries(sandboxes)? {
        let framework = name_of(&of).and_then(|name| name.parse::<FrameworkId>().ok());
        let Some(framework) = framework else { continue };
        for runs in entries(&of)? {
            let Some(name) = name_of(&runs).and_then(|name| TaskId::new(&name).ok()) else {
                continue;
            };
            for path in entries(&runs)? {
                let container = name_of(&path).and_then(|name| ContainerId::new(&name).ok());
                let Some(container) = container else { continue };
                // It may have been removed meanwhile.
                let Ok(changed) = path.symlink_metadata().and_then(|it| it.modified()) else {
                    continue;
                };
                if found.len() == ENTRIES_MAX {
                    return Ok(found);
                }
                found.push(Found { framework, name: name.clone(), container, path, changed });
            }
        }
    }
    Ok(found)
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
            io::ErrorKind::IsADirectory
        );
    }

    #[test]
    fn a_directory_is_listed_as_it_is_and_nothing_outside() {
        let (root, task) = sandboxes();
        let sandbox = run(&root, "c1", "0123");
        std::fs::create_dir_all(sandbox.join("logs/old")).unwrap();
        std::os::unix::fs::symlink("/etc", sandbox.join("etc")).unwrap();
        let listed = list(&sandbox, Path::new("")).unwrap();
        let names: Vec<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["etc", "logs", "stdout"]);
        let kinds: Vec<u32> = listed.iter().map(|entry| entry.mode & 0o170_000).collect();
        assert_eq!(kinds, [0o120_000, 0o040_000, 0o100_000], "a link is told as a link");
        let stdout = &listed[2];
        let me = nix::unistd::geteuid();
        let name = User::from_uid(me).unwrap().map_or_else(|| me.to_string(), |user| user.name);
        assert_eq!((stdout.size, stdout.links, &stdout.user), (4, 1, &name));
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let age =
            since.as_secs().abs_diff(u64::try_from(stdout.modified_ns).unwrap() / 1_000_000_000);
        assert!(age < 3_600, "{stdout:?}");
        assert_eq!(list(&sandbox, Path::new("logs")).unwrap()[0].name, "old");
        assert_eq!(list(&sandbox, Path::new("stdout")).unwrap(), [], "as Mesos tells of a file");
        for path in ["etc", "etc/ssh"] {
            let error = list(&sandbox, Path::new(path)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(nix::errno::Errno::ELOOP as i32), "{path}");
        }
        for (path, kind) in [
            ("..", io::ErrorKind::InvalidInput),
            ("/etc", io::ErrorKind::InvalidInput),
            ("none", io::ErrorKind::NotFound),
            ("stdout/x", io::ErrorKind::NotADirectory),
        ] {
            assert_eq!(list(&sandbox, Path::new(path)).unwrap_err().kind(), kind, "{path}");
        }
        let all = all(root.path(), 10).unwrap();
        assert_eq!((all.len(), &all[0].name, all[0].container.as_str()), (1, &task, "c1"));
        assert_eq!(all[0].path, sandbox);
        // The newest first, and no more than are asked for.
        let old = run(&root, "c0", "");
        std::fs::File::open(old).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        let newest = super::all(root.path(), 1).unwrap();
        assert_eq!(newest[0].container.as_str(), "c1");
        assert_eq!(super::all(root.path(), 10).unwrap()[1].container.as_str(), "c0");
    }

    #[test]
    fn not_everything_is_listed_of_a_directory_without_end() {
        let (root, _) = sandboxes();
        let sandbox = run(&root, "c1", "");
        for number in 0..LISTED_MAX {
            std::fs::File::create(sandbox.join(format!("f{number}"))).unwrap();
        }
        let error = list(&sandbox, Path::new("")).unwrap_err();
        assert!(error.to_string().contains("more than 10000 entries"), "{error}");
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
