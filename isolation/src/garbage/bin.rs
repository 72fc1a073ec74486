//! Removing what a task has left, whatever that is.
//!
//! A sandbox belongs to its task's user, who may have filled it with anything: a million files, directories nested
//! deeper than any stack, symlinks to other places, directories without permissions; and other processes of that user
//! may change it meanwhile. So it is first moved into the bin, a directory that nobody but the node can enter. There a
//! directory is emptied entry by entry, and what is a directory and not empty is moved up into the bin itself instead of
//! being descended into: depth costs neither stack nor descriptors, and the work can stop after every entry.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2, renameat};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::inventory::{SandboxName, is_self_or_parent, remove_empty};
use crate::sandbox::{PARENT_MODE, open_directory, open_directory_at};

/// The bin's name in the directory of all sandboxes. No framework is called so: it is on the same file system, so that
/// moving there is one step.
const BIN: &str = ".removed";
/// How many names of the bin are listed at a time.
const LISTED_MAX: usize = 1_024;
/// How often another free name in the bin is tried.
const NAMES_TRIED_MAX: u32 = 64;

/// What could not be removed.
pub(super) type Failure = (PathBuf, io::Error);

/// Where sandboxes go.
#[derive(Debug)]
pub(super) struct Bin {
    sandboxes: File,
    bin: File,
    /// Makes names that an earlier process has not made.
    started: u128,
    named: u64,
}

/// How far the bin was emptied.
#[derive(Debug, Default)]
pub(super) struct Emptied {
    /// There is more, and the allowance is spent.
    pub(super) more: bool,
    pub(super) failures: Vec<Failure>,
}

/// One pass over a directory.
#[derive(Default)]
struct Pass {
    removed: usize,
    spent: bool,
    failure: Option<io::Error>,
}

impl Bin {
    /// Opens the bin in the directory of all sandboxes, making both when they are missing.
    pub(super) fn open(sandboxes: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(PARENT_MODE).create(sandboxes)?;
        let root = open_directory(sandboxes)?;
        let path = sandboxes.join(BIN);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let bin = open_directory_at(&root, Path::new(BIN))?;
        fchmod(&bin, Mode::S_IRWXU)?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Ok(Self { sandboxes: root, bin, started, named: 0 })
    }

    /// The directory of all sandboxes.
    pub(super) fn sandboxes(&self) -> &File {
        &self.sandboxes
    }

    /// Moves a sandbox into the bin, and removes the directories of its task and framework if nothing else is in them.
    /// One that is gone already is fine.
    pub(super) fn take(&mut self, name: &SandboxName) -> io::Result<()> {
        let in_parents =
            open_directory_at(&self.sandboxes, Path::new(&name.framework)).and_then(|framework| {
                Ok((open_directory_at(&framework, Path::new(&name.task))?, framework))
            });
        let (task, framework) = match in_parents {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let container = CString::new(name.container.as_str())?;
        match self.move_in(&task, &container) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        remove_empty(&framework, &name.task);
        remove_empty(&self.sandboxes, &name.framework);
        Ok(())
    }

    /// Moves a directory that lies beside the bin into it. One that is gone already is fine.
    pub(super) fn take_beside(&mut self, name: &str) -> io::Result<()> {
        let root = self.sandboxes.try_clone()?;
        match self.move_in(&root, &CString::new(name)?) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Empties the bin, with at most `entries_max` entries removed or looked at.
    pub(super) fn empty(&mut self, entries_max: usize) -> io::Result<Emptied> {
        let mut allowance = entries_max;
        let mut stuck: BTreeSet<CString> = BTreeSet::new();
        let mut emptied = Emptied::default();
        loop {
            let names = self.names(&stuck)?;
            if names.is_empty() {
                return Ok(emptied);
            }
            for name in names {
                match self.empty_one(&name, &mut allowance) {
                    Ok(true) => {}
                    Ok(false) => {
                        emptied.more = true;
                        return Ok(emptied);
                    }
                    Err(error) => {
                        let shown = Path::new(BIN).join(name.to_string_lossy().as_ref());
                        emptied.failures.push((shown, error));
                        stuck.insert(name);
                    }
                }
            }
        }
    }

    /// Some of what is in the bin.
    fn names(&self, without: &BTreeSet<CString>) -> io::Result<Vec<CString>> {
        let mut names = Vec::new();
        for entry in Dir::from_fd(self.bin.try_clone()?.into())?.iter() {
            let entry = entry?;
            let name = entry.file_name();
            if !is_self_or_parent(name) && !without.contains(name) {
                names.push(name.to_owned());
            }
            if names.len() == LISTED_MAX {
                break;
            }
        }
        Ok(names)
    }

    /// Removes one directory of the bin; false when the allowance was spent before.
    fn empty_one(&mut self, name: &CStr, allowance: &mut usize) -> io::Result<bool> {
        let Some(left) = allowance.checked_sub(1) else { return Ok(false) };
        *allowance = left;
        let directory = match self.open_in_bin(name) {
            Ok(directory) => directory,
            // Nothing but directories is put here; whatever else it is, it goes.
            Err(error) if is_no_directory(&error) => {
                unlinkat(&self.bin, name, UnlinkatFlags::NoRemoveDir)?;
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        loop {
            let pass = self.pass(&directory, allowance)?;
            match unlinkat(&self.bin, name, UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(true),
                Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            if pass.spent {
                return Ok(false);
            }
            if pass.removed == 0 {
                let unseen = || io::Error::other("something in it is not shown");
                return Err(pass.failure.unwrap_or_else(unseen));
            }
        }
    }

    fn open_in_bin(&self, name: &CStr) -> io::Result<File> {
        let path = Path::new(OsStr::from_bytes(name.to_bytes()));
        match open_directory_at(&self.bin, path) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                give_permissions(&self.bin, name)?;
                open_directory_at(&self.bin, path)
            }
            other => other,
        }
    }

    fn pass(&mut self, directory: &File, allowance: &mut usize) -> io::Result<Pass> {
        let mut pass = Pass::default();
        for entry in Dir::from_fd(directory.try_clone()?.into())?.iter() {
            let entry = entry?;
            if is_self_or_parent(entry.file_name()) {
                continue;
            }
            let Some(left) = allowance.checked_sub(1) else {
                pass.spent = true;
                break;
            };
            *allowance = left;
            let is_directory = entry.file_type() == Some(Type::Directory);
            match self.remove_entry(directory, entry.file_name(), is_directory) {
                Ok(()) => pass.removed += 1,
                Err(error) => pass.failure = Some(error),
            }
        }
        Ok(pass)
    }

    /// Removes an entry, or moves it up when it is a directory with something in it.
    fn remove_entry(&mut self, parent: &File, name: &CStr, is_directory: bool) -> io::Result<()> {
        let remove = |as_directory: bool| {
            let kind =
                if as_directory { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
            unlinkat(parent, name, kind)
        };
        let mut removed = remove(is_directory);
        if removed == Err(Errno::EACCES) {
            fchmod(parent, Mode::S_IRWXU)?;
            removed = remove(is_directory);
        }
        match removed {
            // Not every file system tells what is a directory.
            Err(Errno::EISDIR | Errno::EPERM) if !is_directory => removed = remove(true),
            Err(Errno::ENOTDIR) if is_directory => removed = remove(false),
            _ => {}
        }
        match removed {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => self.move_in(parent, name),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Moves an entry of a directory into the bin, under a name of its own.
    fn move_in(&mut self, parent: &File, name: &CStr) -> io::Result<()> {
        let mut may_give = true;
        for _ in 0..NAMES_TRIED_MAX {
            self.named += 1;
            let new = format!("{:x}-{:x}", self.started, self.named);
            match renameat(parent, name, &self.bin, new.as_str()) {
                Ok(()) => return Ok(()),
                Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => {}
                // Moving a directory changes its `..`, for which its owner needs to be allowed to write it.
                Err(Errno::EACCES) if may_give => {
                    may_give = false;
                    give_permissions(parent, name)?;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::Error::other("no free name was found for it"))
    }
}

/// Whether an error of opening a directory says that it is something else.
fn is_no_directory(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotADirectory || error.raw_os_error() == Some(libc::ELOOP)
}

/// Gives a directory back to its owner, who took away his own permissions. Not through a symlink.
fn give_permissions(parent: impl AsFd, name: &CStr) -> io::Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    let directory: OwnedFd =
        openat2(parent.as_fd(), name, OpenHow::new().flags(flags).resolve(resolve))?;
    // The descriptor's own entry in /proc is the one way to change the mode of what cannot be opened for reading.
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
}
