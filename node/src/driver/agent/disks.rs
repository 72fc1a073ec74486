//! The disks that volumes lie on, besides the node's own.
//!
//! A disk that is not mounted is an empty directory on another disk: what tasks wrote there would fill that
//! one, and be hidden once the disk is there again. So it is looked at before every use.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use meshos_protocol::resources::{DiskKind, Resources};

/// What this process sees mounted, one mount a line (`proc_pid_mountinfo(5)`).
const MOUNTS: &str = "/proc/self/mountinfo";
/// The field with the place of the mount, counted from zero.
const MOUNT_POINT: usize = 4;

/// The disks of a node; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Disks(Arc<[(PathBuf, DiskKind)]>);

impl Disks {
    /// The disks among a node's resources.
    pub(super) fn of(resources: &Resources) -> Self {
        let sources =
            resources.iter().filter_map(|it| it.metadata().disk.as_ref()?.source.as_ref());
        sources.map(|source| (PathBuf::from(&source.root), source.kind)).collect()
    }

    /// Whether all of them can be used.
    ///
    /// # Errors
    /// A sentence that names the first that cannot.
    pub(super) fn check(&self) -> Result<(), String> {
        self.0.iter().try_for_each(|(root, kind)| check(root, *kind))
    }

    /// Whether the disk can be used that a volume's directory lies on.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub(super) fn check_of(&self, directory: &Path) -> Result<(), String> {
        let on_it = self.0.iter().filter(|(root, _)| directory.starts_with(root));
        // Of disks within one another the inner one.
        match on_it.max_by_key(|(root, _)| root.as_os_str().len()) {
            Some((root, kind)) => check(root, *kind),
            None => Ok(()),
        }
    }
}

impl FromIterator<(PathBuf, DiskKind)> for Disks {
    fn from_iter<I: IntoIterator<Item = (PathBuf, DiskKind)>>(disks: I) -> Self {
        Self(disks.into_iter().collect())
    }
}

fn check(root: &Path, kind: DiskKind) -> Result<(), String> {
    let told = |why: String| format!("the disk {root:?} cannot be used: {why}");
    let found = fs::symlink_metadata(root).map_err(|error| {
        told(format!("{error}; make the directory, or start without that disk"))
    })?;
    if !found.is_dir() {
        return Err(told("it is no directory; name one, not a file or a symlink".to_owned()));
    }
    match kind {
        DiskKind::Mount => {
            let mounted = is_mounted(root)
                .map_err(|error| told(format!("{MOUNTS} cannot be read ({error})")))?;
            let hint = "nothing is mounted there; mount it, or name the directory as a path:";
            if mounted { Ok(()) } else { Err(told(hint.to_owned())) }
        }
        DiskKind::Path => Ok(()),
        DiskKind::Block | DiskKind::Raw | DiskKind::Unknown => {
            Err(told("volumes need a directory (path) or a mounted file system (mount)".to_owned()))
        }
    }
}

fn is_mounted(root: &Path) -> io::Result<bool> {
    let mounts = fs::read(MOUNTS)?;
    let root = fs::canonicalize(root)?;
    Ok(is_among(&mounts, &root))
}

/// Whether a mount is at that place.
fn is_among(mounts: &[u8], root: &Path) -> bool {
    let lines = mounts.split(|byte| *byte == b'\n');
    let places = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(MOUNT_POINT));
    places.map(unescaped).any(|place| place == root)
}

/// White space and backslashes stand as `\` and three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, more)) = rest.split_first() {
        let code = more.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[3..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disks(root: &Path, kind: DiskKind) -> Disks {
        [(root.to_owned(), kind)].into_iter().collect()
    }

    #[test]
    fn a_disk_that_is_not_there_or_not_mounted_is_told_with_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let there = root.path().join("disk");
        let missing = disks(&there, DiskKind::Path).check().unwrap_err();
        assert!(missing.contains("make the directory"), "{missing}");
        fs::write(&there, "x").unwrap();
        let file = disks(&there, DiskKind::Path).check().unwrap_err();
        assert!(file.contains("it is no directory"), "{file}");
        fs::remove_file(&there).unwrap();
        fs::create_dir(&there).unwrap();
        assert_eq!(disks(&there, DiskKind::Path).check(), Ok(()));
        let mounted = disks(&there, DiskKind::Mount);
        let told = mounted.check().unwrap_err();
        assert!(told.contains("nothing is mounted there"), "{told}");
        assert_eq!(mounted.check_of(&there.join("meshos-volumes/v1-1-0")), Err(told));
        assert_eq!(mounted.check_of(&root.path().join("other")), Ok(()));
        assert_eq!(disks(Path::new("/proc"), DiskKind::Mount).check(), Ok(()));
        assert!(disks(&there, DiskKind::Raw).check().is_err());
    }

    #[test]
    fn mounts_are_found_whatever_their_names() {
        let mounts = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            36 22 98:0 / /mnt/a\\040b\\134c rw,noatime - ext4 /dev/sdb rw\n\n";
        assert!(is_among(mounts, Path::new("/mnt/a b\\c")));
        assert!(!is_among(mounts, Path::new("/mnt/a")));
        assert!(is_among(mounts, Path::new("/")));
    }
}
