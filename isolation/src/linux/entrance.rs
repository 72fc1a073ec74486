//! How a child gets into a cgroup without waiting for the whole machine.
//!
//! Writing `0` to `cgroup.procs` makes the kernel keep every process from forking and exiting, and it waits for all
//! processors first: a dozen milliseconds where that has not just been done (`cgroup_procs_write_start` in
//! `kernel/cgroup/cgroup.c`). There are two ways round that. A single thread moves *itself* through `tasks` of version 1
//! without the wait (since Linux 5.6); on version 2 a child can be born in a cgroup.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, fstatfs};

/// What a child writes `0` to, for each of its cgroups; and the one that it may be born in.
#[derive(Debug)]
pub(super) struct Entrances {
    born_in: Option<(usize, File)>,
    files: Vec<CString>,
}

/// A cgroup's directory that could not be opened.
#[derive(Debug)]
pub(super) struct NoEntrance {
    /// Which of them.
    pub(super) index: usize,
    /// Why.
    pub(super) error: io::Error,
}

impl Entrances {
    pub(super) fn of(directories: &[String]) -> Result<Self, NoEntrance> {
        let mut entrances = Self { born_in: None, files: Vec::with_capacity(directories.len()) };
        for (index, directory) in directories.iter().enumerate() {
            entrances.add(index, directory).map_err(|error| NoEntrance { index, error })?;
        }
        Ok(entrances)
    }

    fn add(&mut self, index: usize, path: &str) -> io::Result<()> {
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let directory = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let kind: FsType = fstatfs(&directory)?.filesystem_type();
        let name = if kind == CGROUP_SUPER_MAGIC { "tasks" } else { "cgroup.procs" };
        self.files.push(CString::new(format!("{path}/{name}"))?);
        if kind == CGROUP2_SUPER_MAGIC && self.born_in.is_none() {
            self.born_in = Some((index, directory));
        }
        Ok(())
    }

    /// The cgroup that the child may be born in.
    pub(super) fn born_in(&self) -> Option<BorrowedFd<'_>> {
        self.born_in.as_ref().map(|(_, directory)| directory.as_fd())
    }

    /// What is left to write to, each with the index of its cgroup, for a child that was `born` in its cgroup or not.
    pub(super) fn files(&self, born: bool) -> impl Iterator<Item = (usize, &CString)> {
        let skipped = self.born_in.as_ref().filter(|_| born).map(|(index, _)| *index);
        self.files.iter().enumerate().filter(move |(index, _)| Some(*index) != skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(entrances: &Entrances, born: bool) -> Vec<(usize, String)> {
        entrances
            .files(born)
            .map(|(index, file)| (index, file.to_str().unwrap().to_owned()))
            .collect()
    }

    #[test]
    fn a_directory_that_is_no_cgroup_is_entered_through_its_processes() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().to_str().unwrap().to_owned();
        let entrances = Entrances::of(std::slice::from_ref(&path)).unwrap();
        assert!(entrances.born_in().is_none());
        assert_eq!(names(&entrances, true), [(0, format!("{path}/cgroup.procs"))]);
        let missing = Entrances::of(&[path.clone(), format!("{path}/missing")]).unwrap_err();
        assert_eq!((missing.index, missing.error.kind()), (1, io::ErrorKind::NotFound));
    }

    #[test]
    fn the_first_cgroup_of_version_2_is_born_in_and_those_of_version_1_are_entered_by_thread() {
        let (v1, v2) = ("/sys/fs/cgroup/memory".to_owned(), "/sys/fs/cgroup/unified".to_owned());
        let Ok(both) = Entrances::of(&[v1.clone(), v2.clone()]) else {
            // A machine with one version: its only tree is at the mount point.
            let Ok(only) = Entrances::of(&["/sys/fs/cgroup".to_owned()]) else { return };
            assert_eq!(names(&only, false), [(0, "/sys/fs/cgroup/cgroup.procs".to_owned())]);
            return;
        };
        assert!(both.born_in().is_some());
        assert_eq!(names(&both, true), [(0, format!("{v1}/tasks"))]);
        let all = [(0, format!("{v1}/tasks")), (1, format!("{v2}/cgroup.procs"))];
        assert_eq!(names(&both, false), all);
    }
}
