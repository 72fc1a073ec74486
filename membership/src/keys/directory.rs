//! Key files: made all at once or not at all, and read only when nobody else can.

use std::{
    fs::{DirBuilder, File},
    io::{self, ErrorKind, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::KeyError;
use crate::identity::{sync_directory, write_new};

/// A key file is a few hundred bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// PEM of one section.
pub(super) fn to_pem(kind: &str, der: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new(kind, der),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}

/// Reads a secret that belongs to this user, or root, alone.
pub(super) fn read_secret(path: &Path) -> Result<String, KeyError> {
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => KeyError::Missing { path: path.to_owned() },
        _ => KeyError::io("open", path)(error),
    })?;
    let metadata = file.metadata().map_err(KeyError::io("read", path))?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Permissive { path: path.to_owned(), mode });
    }
    let user = effective_user().map_err(KeyError::io("read", "/proc/self"))?;
    if metadata.uid() != user && metadata.uid() != 0 {
        return Err(KeyError::ForeignOwner { path: path.to_owned(), owner: metadata.uid() });
    }
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    let malformed =
        |reason: &str| KeyError::Malformed { path: path.to_owned(), reason: reason.to_owned() };
    match read {
        Ok(length) if u64::try_from(length).is_ok_and(|length| length > FILE_BYTES_MAX) => {
            Err(malformed("it is too large"))
        }
        Ok(_) => Ok(text),
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(malformed("it is not text")),
        Err(error) => Err(KeyError::io("read", path)(error)),
    }
}

/// The user that new files of this process belong to.
fn effective_user() -> io::Result<u32> {
    std::fs::metadata("/proc/self").map(|metadata| metadata.uid())
}

/// Makes a directory with these files, of which either all are seen or none, whatever crashes and
/// whoever else tries the same.
///
/// # Errors
/// [`KeyError::Exists`] when `directory` is there and not empty.
pub(super) fn create(directory: &Path, files: &[(&str, String)]) -> Result<(), KeyError> {
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    make_directory(&parent, true)?;
    // Whoever else makes keys here waits, so that the directory aside is ours alone.
    let lock = File::open(&parent).map_err(KeyError::io("open", &parent))?;
    lock.lock().map_err(KeyError::io("lock", &parent))?;
    refuse_existing(directory)?;
    let aside = aside(directory);
    remove(&aside)?;
    let made = fill(&aside, files).and_then(|()| take_name(&aside, directory));
    if made.is_err() {
        // What went wrong is the error to tell; the next attempt removes the rest in any case.
        drop(std::fs::remove_dir_all(&aside));
    }
    made?;
    sync_directory(Some(&parent)).map_err(KeyError::io("sync", &parent))
}

fn aside(directory: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(directory.file_name().unwrap_or_default());
    name.push(".new");
    directory.with_file_name(name)
}

fn refuse_existing(directory: &Path) -> Result<(), KeyError> {
    let exists = || KeyError::Exists { path: directory.to_owned() };
    match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().map_or(Ok(()), |_| Err(exists())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Err(exists()),
        Err(error) => Err(KeyError::io("read", directory)(error)),
    }
}

fn fill(aside: &Path, files: &[(&str, String)]) -> Result<(), KeyError> {
    make_directory(aside, false)?;
    for (name, content) in files {
        let path = aside.join(name);
        write_new(&path, content.as_bytes()).map_err(KeyError::io("write", &path))?;
    }
    sync_directory(Some(aside)).map_err(KeyError::io("sync", aside))
}

/// Renaming onto an empty directory replaces it; onto any other fails.
fn take_name(aside: &Path, directory: &Path) -> Result<(), KeyError> {
    std::fs::rename(aside, directory).map_err(|error| match error.kind() {
        ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => {
            KeyError::Exists { path: directory.to_owned() }
        }
        _ => KeyError::io("make", directory)(error),
    })
}

fn make_directory(path: &Path, recursive: bool) -> Result<(), KeyError> {
    DirBuilder::new()
        .recursive(recursive)
        .mode(0o700)
        .create(path)
        .map_err(KeyError::io("create directory", path))
}

/// Removes what a crash left.
fn remove(aside: &Path) -> Result<(), KeyError> {
    match std::fs::remove_dir_all(aside) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(KeyError::io("remove", aside)(error))
        }
        _ => Ok(()),
    }
}
