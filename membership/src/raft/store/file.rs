//! `raft.redb`: opening it with distrust, and one transaction for a batch of writes.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use meshos_protocol::codec;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError,
    TableDefinition,
};

use crate::identity::{make_whole, sync_directory};

use super::super::{
    OpenError,
    config::{Entry, LogId, Vote},
    record::{EntryRecord, LogIdRecord, VoteRecord},
};

/// The file's name in the data directory.
pub(crate) const LOG_FILE: &str = "raft.redb";
/// Says that a log existed here, so that its loss is noticed.
const MARK_FILE: &str = "raft.id";
/// Rises when an older release would misread the file.
const FORMAT: u64 = 1;
/// Pages that redb keeps in memory; the newest entries are in ours anyway.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const KEY_FORMAT: &str = "format";
const KEY_RAFT_ID: &str = "raft_id";
const KEY_VOTE: &str = "vote";
const KEY_COMMITTED: &str = "committed";
const KEY_PURGED: &str = "purged";

/// What the file held when it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) last: Option<LogId>,
}

impl Stored {
    /// Whether this log has neither entries nor a vote: it has promised nothing to anybody.
    pub(crate) const fn is_pristine(&self) -> bool {
        self.vote.is_none() && self.last.is_none()
    }
}

/// One write; a batch of them is one transaction.
#[derive(Debug)]
pub(super) enum Write<'a> {
    Append(&'a [std::sync::Arc<Entry>]),
    /// Removes this index and all after it.
    TruncateFrom(u64),
    PurgeUpto(LogId),
    Vote(Vote),
    Committed(Option<LogId>),
}

/// The open file. Only one process can hold it.
#[derive(Debug)]
pub(crate) struct LogFile {
    database: Database,
    path: PathBuf,
}

impl LogFile {
    /// Opens or makes the log of `raft_id` in `dir`, checking every page of it.
    pub(crate) fn open(dir: &Path, raft_id: u64) -> Result<(Self, Stored), OpenError> {
        fs::create_dir_all(dir).map_err(|source| io_error(dir, source))?;
        let path = dir.join(LOG_FILE);
        let mark = dir.join(MARK_FILE);
        let bytes = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(io_error(&path, error)),
        };
        let marked = mark.try_exists().map_err(|source| io_error(&mark, source))?;
        if bytes == 0 && marked {
            return Err(damaged(&path, "the log was here before and is now missing or empty"));
        }
        let database = if bytes == 0 { create(&path, raft_id)? } else { reopen(&path)? };
        // redb makes it as the umask says.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(|source| io_error(&path, source))?;
        let file = Self { database, path };
        let stored = file.load(raft_id)?;
        if !marked {
            write_durably(&mark, format!("{raft_id:016x}\n").as_bytes())
                .map_err(|source| io_error(&mark, source))?;
        }
        Ok((file, stored))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The entries of these indexes that are in the file.
    pub(super) fn read(&self, from: u64, to: u64) -> io::Result<Vec<Entry>> {
        let read = || -> Result<Vec<Entry>, String> {
            let transaction = self.database.begin_read().map_err(|e| e.to_string())?;
            let log = transaction.open_table(LOG).map_err(|e| e.to_string())?;
            let mut entries = Vec::new();
            for item in log.range(from..to).map_err(|e| e.to_string())? {
                let (_, bytes) = item.map_err(|e| e.to_string())?;
                entries.push(decode_entry(bytes.value())?);
            }
            Ok(entries)
        };
        read().map_err(|reason| io::Error::other(format!("{}: {reason}", self.path.display())))
    }

    /// Carries out the writes in order; when this returns they are on the disk, all or none.
    pub(super) fn write<'a>(
        &self,
        writes: impl Iterator<Item = Write<'a>>,
    ) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut log = transaction.open_table(LOG)?;
            let mut meta = transaction.open_table(META)?;
            for write in writes {
                match write {
                    Write::Append(entries) => {
                        for entry in entries {
                            let record = EntryRecord::from((**entry).clone());
                            log.insert(record.index, codec::encode(&record).as_slice())?;
                        }
                    }
                    Write::TruncateFrom(index) => log.retain_in(index.., |_, _| false)?,
                    Write::PurgeUpto(log_id) => {
                        log.retain_in(..=log_id.index, |_, _| false)?;
                        let record = codec::encode(&LogIdRecord::from(log_id));
                        meta.insert(KEY_PURGED, record.as_slice())?;
                    }
                    Write::Vote(vote) => {
                        let record = codec::encode(&VoteRecord::from(vote));
                        meta.insert(KEY_VOTE, record.as_slice())?;
                    }
                    Write::Committed(Some(log_id)) => {
                        let record = codec::encode(&LogIdRecord::from(log_id));
                        meta.insert(KEY_COMMITTED, record.as_slice())?;
                    }
                    Write::Committed(None) => {
                        meta.remove(KEY_COMMITTED)?;
                    }
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Adds entries and sets the vote, for a log that no writer has.
    pub(crate) fn rewrite(
        &self,
        entries: &[std::sync::Arc<Entry>],
        vote: Vote,
    ) -> Result<(), OpenError> {
        self.write([Write::Append(entries), Write::Vote(vote)].into_iter())
            .map_err(|error| io_error(&self.path, io::Error::other(error.to_string())))
    }

    /// Reads everything once: what does not decode or leaves a gap must be found now, not when a
    /// follower needs it.
    fn load(&self, raft_id: u64) -> Result<Stored, OpenError> {
        let transaction = self.database.begin_read().map_err(|e| self.damaged(&e))?;
        let meta = transaction.open_table(META).map_err(|e| self.damaged(&e))?;
        let number = |key: &str| -> Result<u64, OpenError> {
            let value = meta.get(key).map_err(|e| self.damaged(&e))?;
            let value = value.ok_or_else(|| self.damaged(&format!("{key} is missing")))?;
            codec::decode(value.value()).map_err(|e| self.damaged(&e))
        };
        let format = number(KEY_FORMAT)?;
        if format > FORMAT {
            return Err(OpenError::NewerFormat {
                file: self.path.clone(),
                found: format,
                known: FORMAT,
            });
        }
        let found = number(KEY_RAFT_ID)?;
        if found != raft_id {
            return Err(OpenError::OtherLog { file: self.path.clone(), found, expected: raft_id });
        }
        let place = |key: &str| -> Result<Option<LogId>, OpenError> {
            let Some(value) = meta.get(key).map_err(|e| self.damaged(&e))? else {
                return Ok(None);
            };
            let record: LogIdRecord = codec::decode(value.value()).map_err(|e| self.damaged(&e))?;
            Ok(Some(record.into()))
        };
        let vote = match meta.get(KEY_VOTE).map_err(|e| self.damaged(&e))? {
            Some(value) => {
                let record: VoteRecord =
                    codec::decode(value.value()).map_err(|e| self.damaged(&e))?;
                Some(Vote::from(record))
            }
            None => None,
        };
        let purged = place(KEY_PURGED)?;
        let log = transaction.open_table(LOG).map_err(|e| self.damaged(&e))?;
        let mut last = purged;
        for item in log.iter().map_err(|e| self.damaged(&e))? {
            let (key, bytes) = item.map_err(|e| self.damaged(&e))?;
            let entry = decode_entry(bytes.value()).map_err(|e| self.damaged(&e))?;
            let follows = last.is_none_or(|last| {
                entry.log_id.index == last.index + 1 && entry.log_id.leader_id >= last.leader_id
            });
            if entry.log_id.index != key.value() || !follows {
                return Err(self.damaged(&format!("entry {} does not follow", key.value())));
            }
            last = Some(entry.log_id);
        }
        Ok(Stored { vote, committed: place(KEY_COMMITTED)?, purged, last })
    }

    fn damaged(&self, reason: &dyn std::fmt::Display) -> OpenError {
        damaged(&self.path, reason)
    }
}

#[cfg(test)]
impl LogFile {
    pub(super) fn read_for_test(&self, from: u64, to: u64) -> Vec<Entry> {
        self.read(from, to).unwrap()
    }

    /// The log on this disk, new or with whatever is there, in place of the file in `dir`.
    pub(crate) fn open_on(
        disk: &meshos_disk::Disk,
        dir: &Path,
        raft_id: u64,
    ) -> Result<(Self, Stored), OpenError> {
        use redb::StorageBackend as _;
        let path = dir.join(LOG_FILE);
        let is_new = disk.len().unwrap() == 0;
        let database = builder()
            .set_check_integrity_on_open(!is_new)
            .create_with_backend(disk.clone())
            .map_err(|error| open_error(&path, error))?;
        if is_new {
            initialise(&database, raft_id).unwrap();
        }
        let file = Self { database, path };
        let stored = file.load(raft_id)?;
        Ok((file, stored))
    }
}

/// Adds one entry to a log that no writer has.
#[cfg(test)]
pub(crate) fn write_entries_for_test(file: &LogFile, entry: Entry) {
    file.write(std::iter::once(Write::Append(&[std::sync::Arc::new(entry)]))).unwrap();
}

/// A half-made file must not be taken for a log.
fn create(path: &Path, raft_id: u64) -> Result<Database, OpenError> {
    make_whole(path, io_error, |making| {
        let database = builder().create(making).map_err(|error| open_error(making, error))?;
        initialise(&database, raft_id).map_err(|error| match error {
            redb::Error::Io(source) => io_error(making, source),
            other => io_error(making, io::Error::other(other.to_string())),
        })?;
        Ok(database)
    })
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn initialise(database: &Database, raft_id: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(LOG)?;
        let mut meta = transaction.open_table(META)?;
        meta.insert(KEY_FORMAT, codec::encode(&FORMAT).as_slice())?;
        meta.insert(KEY_RAFT_ID, codec::encode(&raft_id).as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}

fn reopen(path: &Path) -> Result<Database, OpenError> {
    builder().set_check_integrity_on_open(true).open(path).map_err(|error| open_error(path, error))
}

fn open_error(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { file: path.to_owned() },
        DatabaseError::Storage(StorageError::Io(source)) => match source.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => damaged(path, &source),
            _ => io_error(path, source),
        },
        other => damaged(path, &other),
    }
}

fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { file: path.to_owned(), source }
}

fn damaged(path: &Path, reason: &(impl std::fmt::Display + ?Sized)) -> OpenError {
    OpenError::Damaged { file: path.to_owned(), reason: reason.to_string() }
}

fn decode_entry(bytes: &[u8]) -> Result<Entry, String> {
    let record: EntryRecord = codec::decode(bytes).map_err(|error| error.to_string())?;
    record.into_entry().map_err(|error| error.to_string())
}

/// Replaces the file `path` so that after a crash it is either the old one or the new one.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    sync_directory(path.parent())
}
