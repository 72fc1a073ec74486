//! The sandbox: a container's own directory, and the only safe ways to open what a task may have put there.
//!
//! A task owns its sandbox and can put a symlink or a pipe in the place of any file at any moment. So nothing in it is
//! ever opened by a path that the kernel may follow out of it: every open goes through `openat2` with
//! `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`, which holds for every part of the path, and does not block on a pipe.

use std::fs::{DirBuilder, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchown};

use crate::error::LaunchError;
use crate::user::Identity;

/// The file that a container's standard output goes to.
pub const STDOUT: &str = "stdout";
/// The file that a container's standard error goes to.
pub const STDERR: &str = "stderr";

/// Mode of a sandbox: its owner's alone. Operators read it through the node.
const SANDBOX_MODE: u32 = 0o750;
/// Mode of the directories above it that have to be made: may be passed through, not listed.
pub(crate) const PARENT_MODE: u32 = 0o711;
/// How often the directories above a sandbox are made again that were removed, being empty, at the same moment.
const PARENT_TRIES_MAX: u32 = 16;

/// Opens a regular file or a directory inside `root` for reading.
///
/// # Errors
/// `InvalidInput` when `relative` is absolute, has `..` in it, or names something else than a regular file or a directory;
/// the kernel's error when there is a symlink anywhere below `root` (`ELOOP`) or nothing of that name.
pub fn open_beneath(root: &Path, relative: &Path) -> io::Result<File> {
    let root = open_directory(root)?;
    let file = open_at(&root, relative, OFlag::O_RDONLY, Mode::empty())?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_dir() {
        Ok(file)
    } else {
        let what = "neither a regular file nor a directory";
        Err(io::Error::new(ErrorKind::InvalidInput, what))
    }
}

/// Opens `relative` beneath an open directory, never through a symlink and never waiting for a pipe's other end.
pub(crate) fn open_at(
    root: impl AsFd,
    relative: &Path,
    flags: OFlag,
    mode: Mode,
) -> io::Result<File> {
    open_resolved(root, relative, flags, mode, ResolveFlag::empty())
}

/// Opens a directory beneath an open directory, through no symlink and on the same mount: what is mounted in a sandbox
/// is not the sandbox's.
pub(crate) fn open_directory_at(root: impl AsFd, relative: &Path) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    open_resolved(root, relative, flags, Mode::empty(), ResolveFlag::RESOLVE_NO_XDEV)
}

fn open_resolved(
    root: impl AsFd,
    relative: &Path,
    flags: OFlag,
    mode: Mode,
    resolve: ResolveFlag,
) -> io::Result<File> {
    if !is_plain(relative) {
        let what = "the path must be relative and without '..'";
        return Err(io::Error::new(ErrorKind::InvalidInput, what));
    }
    let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let resolve = resolve
        | ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(flags).mode(mode).resolve(resolve);
    let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    loop {
        match openat2(root.as_fd(), relative, how) {
            // The kernel saw a rename while it walked and could not be sure: it asks to try again.
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
            other => return Ok(File::from(other?)),
        }
    }
}

/// Whether a path has only plain names in it.
pub(crate) fn is_plain(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Opens a directory that is not a symlink itself; the path to it is the node's own and trusted.
pub(crate) fn open_directory(path: &Path) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Makes the sandbox, with the directories above it that are missing, and gives it to `identity`.
pub(crate) fn create(path: &Path, identity: &Identity) -> Result<(), LaunchError> {
    let failed = |reason: String| LaunchError::Sandbox { path: path.to_owned(), reason };
    if !path.is_absolute() {
        return Err(failed("the path is not absolute".to_owned()));
    }
    match DirBuilder::new().mode(SANDBOX_MODE).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => make_with_parents(path)
            .map_err(|error| failed(format!("could not make it: {error}")))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(format!("could not make it: {error}"))),
    }
    let directory = open_directory(path).map_err(|error| failed(format!("open: {error}")))?;
    let Some(ids) = &identity.switch_to else { return Ok(()) };
    give(OwnedFd::from(directory), ids.uid, ids.gid)
        .map_err(|error| failed(format!("could not give it to {}: {error}", identity.name)))?;
    check_passage(path, identity, ids.uid).map_err(failed)
}

/// Again when the last sandbox beside this one was removed, and its empty parents with it, in between.
fn make_with_parents(path: &Path) -> io::Result<()> {
    let mut tries = 0;
    loop {
        let made = match path.parent() {
            Some(parent) => DirBuilder::new().recursive(true).mode(PARENT_MODE).create(parent),
            None => Ok(()),
        };
        match made.and_then(|()| DirBuilder::new().mode(SANDBOX_MODE).create(path)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::NotFound && tries < PARENT_TRIES_MAX => {
                tries += 1;
            }
            other => return other,
        }
    }
}

fn give(directory: OwnedFd, uid: u32, gid: u32) -> io::Result<()> {
    fchown(directory, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    Ok(())
}

/// A task that cannot pass through a directory above its sandbox fails in strange ways much later; say it now.
fn check_passage(path: &Path, identity: &Identity, uid: u32) -> Result<(), String> {
    if uid == 0 {
        return Ok(());
    }
    for parent in path.ancestors().skip(1) {
        let metadata = parent.metadata().map_err(|error| format!("{parent:?}: {error}"))?;
        if !may_pass(&metadata, identity) {
            return Err(format!(
                "user {} may not pass through {parent:?} (mode {:o}); run `chmod o+x {}`",
                identity.name,
                metadata.mode() & 0o7777,
                parent.display()
            ));
        }
    }
    Ok(())
}

fn may_pass(metadata: &Metadata, identity: &Identity) -> bool {
    let Some(ids) = &identity.switch_to else { return true };
    let bit = if metadata.uid() == ids.uid {
        0o100
    } else if metadata.gid() == ids.gid || ids.groups.contains(&metadata.gid()) {
        0o010
    } else {
        0o001
    };
    metadata.mode() & bit != 0
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn sandbox() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("in")).unwrap();
        std::fs::write(directory.path().join("in/file"), "inside").unwrap();
        directory
    }

    #[test]
    fn files_inside_are_opened() {
        let directory = sandbox();
        let mut text = String::new();
        let mut file = open_beneath(directory.path(), Path::new("in/./file")).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "inside");
        assert!(
            open_beneath(directory.path(), Path::new("in")).unwrap().metadata().unwrap().is_dir()
        );
        assert!(
            open_beneath(directory.path(), Path::new("")).unwrap().metadata().unwrap().is_dir()
        );
    }

    #[test]
    fn no_way_leads_out() {
        let directory = sandbox();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        symlink(outside.path(), directory.path().join("dir-link")).unwrap();
        symlink(outside.path().join("secret"), directory.path().join("file-link")).unwrap();
        symlink("in/file", directory.path().join("inner-link")).unwrap();
        for path in ["../x", "in/../../x", "/etc/passwd", "in/../in/file"] {
            let error = open_beneath(directory.path(), Path::new(path)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}");
        }
        for path in ["dir-link/secret", "dir-link", "file-link", "inner-link"] {
            let error = open_beneath(directory.path(), Path::new(path)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ELOOP), "{path}");
        }
    }

    #[test]
    fn a_pipe_neither_blocks_nor_opens() {
        let directory = sandbox();
        nix::unistd::mkfifo(&directory.path().join("stdout"), Mode::S_IRWXU).unwrap();
        let error = open_beneath(directory.path(), Path::new("stdout")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_symlink_in_the_sandboxs_place_is_refused() {
        let directory = sandbox();
        let link = directory.path().join("link");
        symlink(directory.path().join("in"), &link).unwrap();
        let identity = Identity::unchanged("me".to_owned());
        let error = create(&link, &identity).unwrap_err();
        assert!(matches!(error, LaunchError::Sandbox { .. }), "{error}");
        assert!(open_beneath(&link, Path::new("file")).is_err());
    }
}
