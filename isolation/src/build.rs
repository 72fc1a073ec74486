//! Whether a process executes the same build as a file holds.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const CHUNK_BYTES: usize = 64 * 1024;

/// Whether the process `pid`, which says that it is of this release, executes another build than `binary` holds.
pub(crate) async fn is_other(binary: &Path, pid: u32, release: String) -> bool {
    let binary = binary.to_owned();
    match tokio::task::spawn_blocking(move || is_executed_by(&binary, pid)).await {
        Ok(Ok(same)) => !same,
        // What it says of itself must do: another user's process cannot be looked at.
        Ok(Err(_)) | Err(_) => release != env!("CARGO_PKG_VERSION"),
    }
}

/// Whether the process `pid` executes what `binary` holds.
///
/// Two builds of one release differ in nothing but their bytes, so these are compared; a file that a process executes cannot
/// be written, and stays readable below `/proc` when its name is given to another one. Reading both takes a moment, and only
/// when they are two files.
///
/// # Errors
/// When one of them cannot be read.
pub(crate) fn is_executed_by(binary: &Path, pid: u32) -> io::Result<bool> {
    same_content(binary, Path::new(&format!("/proc/{pid}/exe")))
}

fn same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let (left, right) = (fs::metadata(one)?, fs::metadata(other)?);
    if (left.dev(), left.ino()) == (right.dev(), right.ino()) {
        return Ok(true);
    }
    if left.len() != right.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut left, mut right) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    loop {
        let count = one.read(&mut left)?;
        if count == 0 {
            return Ok(other.read(&mut right)? == 0);
        }
        match other.read_exact(&mut right[..count]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read?,
        }
        if left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_the_same_by_what_they_hold() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let long = vec![7; 3 * CHUNK_BYTES + 5];
        let mut changed = long.clone();
        changed[2 * CHUNK_BYTES] = 8;
        let one = file("one", &long);
        assert!(same_content(&one, &one).unwrap());
        assert!(same_content(&one, &file("copy", &long)).unwrap());
        assert!(!same_content(&one, &file("changed", &changed)).unwrap());
        assert!(!same_content(&one, &file("shorter", &long[1..])).unwrap());
        same_content(&one, Path::new("/no/such/file")).unwrap_err();
        assert!(!is_executed_by(&one, std::process::id()).unwrap());
        let own = std::env::current_exe().unwrap();
        assert!(is_executed_by(&own, std::process::id()).unwrap());
    }
}
