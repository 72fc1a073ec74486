//! Removing a directory that tasks have filled, in the way of sandboxes.

use std::io;
use std::path::Path;

use super::bin::Bin;

/// How much is removed before it is looked whether there is more.
const ENTRIES_MAX: usize = 10_000;

/// Removes a directory below `root`, with what earlier removals there have left over. One that is gone already is fine.
/// Its calls are file operations that may take long: not for async workers.
///
/// # Errors
/// The first of what could not be removed; the rest is gone.
pub fn remove_directory(root: &Path, name: &str) -> io::Result<()> {
    let mut bin = Bin::open(root)?;
    bin.take_beside(name)?;
    loop {
        let emptied = bin.empty(ENTRIES_MAX)?;
        if !emptied.more {
            return emptied.failures.into_iter().next().map_or(Ok(()), |(_, error)| Err(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_goes_with_all_that_is_in_it_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let (gone, kept) = (root.path().join("v1-1-0"), root.path().join("v1-2-0"));
        std::fs::create_dir_all(gone.join("a/b/c")).unwrap();
        std::fs::write(gone.join("a/b/file"), "x").unwrap();
        std::fs::create_dir(&kept).unwrap();
        std::fs::write(kept.join("file"), "kept").unwrap();
        symlink(&kept, gone.join("a/link")).unwrap();
        for _ in 0..2 {
            remove_directory(root.path(), "v1-1-0").unwrap();
            assert!(!gone.exists());
            assert!(kept.join("file").exists());
        }
    }
}
