//! Unpacking archives that strangers have written.
//!
//! Every entry is judged before it is made: names must be relative and without `..`, symlinks must stay inside, devices and
//! pipes are refused, and of the mode only the nine permission bits are kept, so that no setuid bit arrives. Number and
//! size of what is unpacked are bounded, because a small archive can unpack to any size.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use super::target;

/// How many entries an archive may have.
const ENTRIES_MAX: u32 = 1_000_000;

/// The kinds of archive that can be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Tar,
    TarGz,
    /// One file, compressed.
    Gz,
}

impl Format {
    /// The format that a file name promises; none when it promises no archive, as Mesos has it: then the file stays as
    /// it is.
    pub(super) fn of(name: &str) -> Result<Option<Self>, String> {
        let name = name.to_ascii_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if ends(&[".tar.gz", ".tgz"]) {
            Ok(Some(Self::TarGz))
        } else if ends(&[".tar"]) {
            Ok(Some(Self::Tar))
        } else if ends(&[".gz"]) {
            Ok(Some(Self::Gz))
        } else if ends(&[".zip", ".bz2", ".tbz2", ".xz", ".txz", ".zst"]) {
            Err(format!(
                "{name:?} cannot be extracted: supported are tar, tar.gz, tgz and gz; set extract to false to keep \
                 it as it is"
            ))
        } else {
            Ok(None)
        }
    }

    /// Unpacks `file`, which was fetched under `name`, beneath `root`.
    pub(super) fn extract(
        self,
        root: &File,
        name: &str,
        file: &mut File,
        bytes_max: u64,
    ) -> io::Result<()> {
        file.rewind()?;
        let mut budget = Budget { bytes: bytes_max, entries: ENTRIES_MAX };
        match self {
            Self::Tar => unpack(root, file, &mut budget),
            Self::TarGz => unpack(root, MultiGzDecoder::new(file), &mut budget),
            Self::Gz => {
                // Cannot be cut off a name that does not end so; `of` has looked.
                let path = Path::new(&name[..name.len().saturating_sub(3)]);
                let mut output = target::create(root, path, 0o644)?;
                budget.copy(&mut MultiGzDecoder::new(file), &mut output)
            }
        }
    }
}

/// What may still be unpacked.
struct Budget {
    bytes: u64,
    entries: u32,
}

impl Budget {
    fn copy(&mut self, from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
        let copied = io::copy(&mut from.take(self.bytes.saturating_add(1)), to)?;
        self.bytes = self.bytes.checked_sub(copied).ok_or_else(|| {
            io::Error::new(ErrorKind::InvalidData, "it unpacks to more bytes than are allowed")
        })?;
        Ok(())
    }

    fn count(&mut self) -> io::Result<()> {
        self.entries = self.entries.checked_sub(1).ok_or_else(|| {
            io::Error::new(ErrorKind::InvalidData, "it has more entries than are allowed")
        })?;
        Ok(())
    }
}

fn unpack(root: &File, from: impl Read, budget: &mut Budget) -> io::Result<()> {
    let mut archive = Archive::new(from);
    for entry in archive.entries()? {
        budget.count()?;
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        unpack_entry(root, &path, &mut entry, budget)
            .map_err(|error| io::Error::new(error.kind(), format!("entry {path:?}: {error}")))?;
    }
    Ok(())
}

fn unpack_entry(
    root: &File,
    path: &Path,
    entry: &mut Entry<'_, impl Read>,
    budget: &mut Budget,
) -> io::Result<()> {
    let mode = entry.header().mode()?;
    let link = |entry: &Entry<'_, _>| {
        let to = entry.link_name()?.map(std::borrow::Cow::into_owned);
        to.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "it is a link to nothing"))
    };
    match entry.header().entry_type() {
        EntryType::Directory => target::make_directory(root, path, mode),
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let mut file = target::replace(root, path, mode)?;
            budget.copy(entry, &mut file)
        }
        EntryType::Symlink => target::make_symlink(root, path, &link(entry)?),
        EntryType::Link => target::make_link(root, path, &link(entry)?),
        // Comments of the archiver, not files.
        EntryType::XGlobalHeader | EntryType::XHeader => Ok(()),
        other => {
            let what = format!("it is of the kind {other:?}, which is not unpacked");
            Err(io::Error::new(ErrorKind::InvalidData, what))
        }
    }
}

#[cfg(test)]
mod tests;
