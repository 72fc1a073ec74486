//! Volumes: directories that outlive containers, seen in sandboxes through a symlink.
//!
//! As in Mesos's POSIX file system isolator there is no mount: the symlink in the sandbox leads to the volume, which
//! belongs to whom the container runs as from then on. What is in it keeps its owner.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, fchown, symlinkat};

use crate::container::VolumeMount;
use crate::error::LaunchError;
use crate::sandbox::{PARENT_MODE, is_plain, open_directory, open_directory_at};
use crate::user::Identity;

/// Mode of a volume and of the directories that lead to it in a sandbox: their owner's alone.
const VOLUME_MODE: u32 = 0o750;

/// Makes the directory of a volume, with those above it. One that is there stays as it is.
///
/// # Errors
/// When it cannot be made, or something else than a directory is in its place.
pub fn make(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(PARENT_MODE).create(parent)?;
    }
    match DirBuilder::new().mode(VOLUME_MODE).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => open_directory(path).map(|_| ()),
        other => other,
    }
}

/// Shows a volume in a sandbox, to whom the sandbox belongs.
pub(crate) fn show(
    sandbox: &Path,
    volume: &VolumeMount,
    identity: &Identity,
) -> Result<(), LaunchError> {
    let VolumeMount { source, container_path } = volume;
    let failed = |reason: String| LaunchError::Volume { path: container_path.clone(), reason };
    let given = || {
        make(source)?;
        give(open_directory(source)?, identity)
    };
    given().map_err(|error| failed(format!("the directory {source:?} cannot be used: {error}")))?;
    let relative = Path::new(container_path);
    let name = relative.file_name().filter(|_| is_plain(relative) && relative.is_relative());
    let name = name.ok_or_else(|| failed("the path must be relative and without '..'".into()))?;
    let parent = directories(sandbox, relative, identity)
        .map_err(|error| failed(format!("the directories above it cannot be made: {error}")))?;
    match symlinkat(source, &parent, name) {
        Ok(()) => Ok(()),
        Err(Errno::EEXIST) => Err(failed(
            "something is there already: fetch the task's URIs to other names, or give the volume another path".into(),
        )),
        Err(errno) => Err(failed(io::Error::from(errno).to_string())),
    }
}

/// Makes the directories above a path in a sandbox, never through a symlink: a fetched archive may have brought some.
fn directories(sandbox: &Path, relative: &Path, identity: &Identity) -> io::Result<std::fs::File> {
    let mut directory = open_directory(sandbox)?;
    for part in relative.parent().into_iter().flatten() {
        let mode = Mode::from_bits_truncate(VOLUME_MODE);
        let made = match mkdirat(&directory, part, mode) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(errno) => return Err(errno.into()),
        };
        directory = open_directory_at(&directory, Path::new(part))?;
        if made {
            give(&directory, identity)?;
        }
    }
    Ok(directory)
}

fn give(directory: impl AsFd, identity: &Identity) -> io::Result<()> {
    let Some(ids) = &identity.switch_to else { return Ok(()) };
    Ok(fchown(directory, Some(Uid::from_raw(ids.uid)), Some(Gid::from_raw(ids.gid)))?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn me() -> Identity {
        Identity::unchanged("me".to_owned())
    }

    fn volume(root: &Path, path: &str) -> VolumeMount {
        VolumeMount { source: root.join("volumes/v1-1-0"), container_path: path.to_owned() }
    }

    #[test]
    fn what_is_written_through_one_sandbox_is_read_through_another() {
        let root = tempfile::tempdir().unwrap();
        for (sandbox, path) in [("first", "data"), ("second", "deep/down/data")] {
            let sandbox = root.path().join(sandbox);
            std::fs::create_dir(&sandbox).unwrap();
            show(&sandbox, &volume(root.path(), path), &me()).unwrap();
        }
        std::fs::write(root.path().join("first/data/file"), "kept").unwrap();
        let read = std::fs::read_to_string(root.path().join("second/deep/down/data/file"));
        assert_eq!(read.unwrap(), "kept");
    }

    #[test]
    fn no_path_leads_out_of_the_sandbox_and_nothing_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let (sandbox, outside) = (root.path().join("sandbox"), root.path().join("outside"));
        std::fs::create_dir(&sandbox).unwrap();
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, sandbox.join("out")).unwrap();
        std::fs::write(sandbox.join("taken"), "x").unwrap();
        for path in ["out/data", "../outside/data", "/tmp/data", "taken", "taken/data", "", "out"] {
            let error = show(&sandbox, &volume(root.path(), path), &me()).unwrap_err();
            assert!(matches!(error, LaunchError::Volume { .. }), "{path}: {error}");
        }
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn the_directory_of_a_volume_is_no_file_and_no_symlink() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("volumes/v1-1-0");
        make(&path).unwrap();
        std::fs::write(path.join("file"), "kept").unwrap();
        make(&path).unwrap();
        assert!(path.join("file").exists());
        std::fs::write(root.path().join("volumes/file"), "x").unwrap();
        make(&root.path().join("volumes/file")).unwrap_err();
        symlink(&path, root.path().join("volumes/link")).unwrap();
        make(&root.path().join("volumes/link")).unwrap_err();
    }
}
