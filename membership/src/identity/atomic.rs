//! Replacing a small file so that a crash at any point leaves the old content or the new one.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The points between which a crash can fall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The file aside exists and is empty.
    Created,
    /// Its first half is written.
    HalfWritten,
    /// All is written and synced.
    Synced,
    /// The new file has taken the name; the directory is not synced.
    Renamed,
}

/// Replaces `path` by a file with `content`, readable by its owner only, and returns once it would
/// survive a power cut.
///
/// # Errors
/// What the system said; the old content is still there then.
pub fn write_atomic(path: &Path, content: &[u8]) -> io::Result<()> {
    let written = write_steps(path, content, |_| Ok(()));
    if written.is_err() {
        // Gives the space back when the disk is full. The next write starts over in any case, so
        // nothing depends on this.
        drop(std::fs::remove_file(aside(path)));
    }
    written
}

/// Makes the file `path`, which `make` writes and closes or keeps under the name that it is given, and
/// returns once it would survive a power cut. Under its own name it is never seen half made.
///
/// # Errors
/// Those of `make`, and with the file that it was about what the system said, as `failed` has it.
pub fn make_whole<T, E>(
    path: &Path,
    failed: impl Fn(&Path, io::Error) -> E,
    make: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    let mut making = path.as_os_str().to_owned();
    making.push(".new");
    let making = PathBuf::from(making);
    match std::fs::remove_file(&making) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(&making, error));
        }
        Ok(()) | Err(_) => {}
    }
    let made = make(&making)?;
    let renamed = std::fs::rename(&making, path).and_then(|()| sync_directory(path.parent()));
    renamed.map_err(|error| failed(path, error))?;
    Ok(made)
}

/// Where the new content of `path` is made.
pub(super) fn aside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// The steps of [`write_atomic`], with `reached` called between them; its error stops there and
/// leaves everything as it is, as a crash does.
pub(super) fn write_steps(
    path: &Path,
    content: &[u8],
    mut reached: impl FnMut(Step) -> io::Result<()>,
) -> io::Result<()> {
    let aside = aside(path);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    reached(Step::Created)?;
    let (first, second) = content.split_at(content.len() / 2);
    file.write_all(first)?;
    reached(Step::HalfWritten)?;
    file.write_all(second)?;
    file.sync_all()?;
    reached(Step::Synced)?;
    std::fs::rename(&aside, path)?;
    reached(Step::Renamed)?;
    sync_directory(path.parent())
}

/// Makes the file `path` with `content`, readable by its owner only; refuses an existing one.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes what was created or renamed in `directory` survive a power cut.
pub(crate) fn sync_directory(directory: Option<&Path>) -> io::Result<()> {
    let directory = match directory {
        Some(path) if !path.as_os_str().is_empty() => path,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}
