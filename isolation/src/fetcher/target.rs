//! Writing beneath the sandbox: every step of a path is opened without following a symlink, so that nothing that was
//! fetched before can lead a later file elsewhere.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use crate::sandbox::{STDERR, STDOUT, is_plain, open_at};

/// The mode of directories that are made on the way.
const DIRECTORY_MODE: u32 = 0o755;

/// Makes a new file for reading and writing. The names of the container's own output are taken.
pub(super) fn create(root: &File, path: &Path, mode: u32) -> io::Result<File> {
    if path == Path::new(STDOUT) || path == Path::new(STDERR) {
        let what = "the container's own output goes there; choose another name with output_file";
        return Err(io::Error::new(ErrorKind::InvalidInput, what));
    }
    let (parent, name) = open_parent(root, path)?;
    create_in(&parent, &name, mode)
}

fn create_in(parent: &File, name: &OsString, mode: u32) -> io::Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
    let mode = Mode::from_bits_truncate(mode & 0o777);
    let file = open_at(parent, Path::new(name), flags, mode)?;
    // Whatever the umask says.
    fchmod(&file, mode)?;
    Ok(file)
}

/// Makes a file of an archive, in the place of what has that name.
pub(super) fn replace(root: &File, path: &Path, mode: u32) -> io::Result<File> {
    let (parent, name) = open_parent(root, path)?;
    remove(&parent, &name)?;
    create_in(&parent, &name, mode)
}

/// Makes a directory and those above it.
pub(super) fn make_directory(root: &File, path: &Path, mode: u32) -> io::Result<()> {
    let directory = walk(root, path)?;
    // Its owner must be able to go on writing into it.
    fchmod(&directory, Mode::from_bits_truncate(mode & 0o777 | 0o700))?;
    Ok(())
}

/// Makes a symlink that stays inside the sandbox.
pub(super) fn make_symlink(root: &File, path: &Path, to: &Path) -> io::Result<()> {
    let depth = path.components().count().saturating_sub(1);
    if !stays_inside(depth, to) {
        let what = format!("the symlink {path:?} leads out of the sandbox, to {to:?}");
        return Err(io::Error::new(ErrorKind::InvalidData, what));
    }
    let (parent, name) = open_parent(root, path)?;
    remove(&parent, &name)?;
    symlinkat(to, &parent, name.as_os_str())?;
    Ok(())
}

/// Makes a hard link to a file of the sandbox; not to what a symlink there names, nor to the symlink, which would lead
/// elsewhere from another directory.
pub(super) fn make_link(root: &File, path: &Path, to: &Path) -> io::Result<()> {
    let (to_parent, to_name) = open_parent(root, to)?;
    let kind = fstatat(&to_parent, to_name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?.st_mode;
    if kind & libc::S_IFMT != libc::S_IFREG {
        let what = format!("it is a hard link to {to:?}, which is no regular file");
        return Err(io::Error::new(ErrorKind::InvalidData, what));
    }
    let (parent, name) = open_parent(root, path)?;
    remove(&parent, &name)?;
    linkat(&to_parent, to_name.as_os_str(), &parent, name.as_os_str(), AtFlags::empty())?;
    Ok(())
}

/// Whether a symlink in a directory that deep leads to a place inside. A `..` behind a name would count from wherever that
/// name leads, which may be a symlink too, so it is allowed in front only: there it counts from real directories.
fn stays_inside(depth: usize, to: &Path) -> bool {
    use std::path::Component;
    let mut up = 0;
    let mut named = false;
    for part in to.components() {
        match part {
            Component::Normal(_) => named = true,
            Component::CurDir => {}
            Component::ParentDir if !named => up += 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    up <= depth
}

fn remove(parent: &File, name: &OsString) -> io::Result<()> {
    match unlinkat(parent, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens the directory that `path` is in, making it when it is missing, and gives the last name.
fn open_parent(root: &File, path: &Path) -> io::Result<(File, OsString)> {
    let wrong =
        || io::Error::new(ErrorKind::InvalidInput, "it must be a relative path without '..'");
    if !is_plain(path) {
        return Err(wrong());
    }
    let name = path.file_name().ok_or_else(wrong)?.to_owned();
    let parent = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok((walk(root, &parent)?, name))
}

/// Opens a directory step by step, making those that are missing.
fn walk(root: &File, path: &Path) -> io::Result<File> {
    if !is_plain(path) {
        let what = "it must be a relative path without '..'";
        return Err(io::Error::new(ErrorKind::InvalidInput, what));
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let mut directory = root.try_clone()?;
    for part in path.components() {
        let part = PathBuf::from(part.as_os_str());
        match mkdirat(directory.as_fd(), &part, Mode::from_bits_truncate(DIRECTORY_MODE)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        directory = open_at(&directory, &part, flags, Mode::empty())?;
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symlinks_are_judged_by_where_they_lead() {
        for (depth, to, inside) in [
            (0, "a/b", true),
            (0, "..", false),
            (1, "../b", true),
            (1, "../../b", false),
            (2, "../../y", true),
            (2, "../../../y", false),
            // With `x` a symlink to `../..` this would lead out.
            (2, "x/..", false),
            (2, "../x/../../y", false),
            (0, "/etc/passwd", false),
            (0, "a/../..", false),
        ] {
            assert_eq!(stays_inside(depth, Path::new(to)), inside, "{depth} {to}");
        }
    }

    #[test]
    fn nothing_is_written_through_a_symlink_or_outside() {
        let sandbox = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), sandbox.path().join("out")).unwrap();
        let root = File::open(sandbox.path()).unwrap();
        for path in
            ["out/file", "../file", "/tmp/file", "a/../../file", "stdout", "stderr", "", ".."]
        {
            assert!(create(&root, Path::new(path), 0o644).is_err(), "{path}");
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        create(&root, Path::new("a/b/file"), 0o4755).unwrap();
        let metadata = std::fs::metadata(sandbox.path().join("a/b/file")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&metadata) & 0o7777, 0o755);
        assert!(create(&root, Path::new("a/b/file"), 0o644).is_err(), "it exists already");
    }
}
