//! Snapshots on disk: whole or absent, and never the only one removed.
//!
//! One file each, `raft-snapshot-<term>-<index>`: a magic number, a header with what it covers,
//! the registry's bytes, and the SHA-256 of all that.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use meshos_protocol::codec;
use ring::digest;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    OpenError, SNAPSHOT_BYTES_MAX,
    config::{LogId, SnapshotMeta},
    record::SnapshotMetaRecord,
    store::{Failure, write_durably},
};
use crate::identity::sync_directory;

const NAME_PREFIX: &str = "raft-snapshot-";
const MAGIC: &[u8; 8] = b"meshsnp1";
const DIGEST_BYTES: usize = 32;
/// A header holds a membership of at most 64; this is far more.
const HEADER_BYTES_MAX: usize = 64 * 1024;

#[derive(Serialize, Deserialize)]
struct Header {
    meta: SnapshotMetaRecord,
    data_bytes: u64,
}

/// The registry's bytes as of `meta`.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) meta: SnapshotMeta,
    pub(super) data: Arc<Vec<u8>>,
}

/// Keeps the newest snapshot, and the one before it until the newest is durable.
#[derive(Debug)]
pub(super) struct SnapshotStore {
    dir: PathBuf,
    /// The newest snapshot's file and what it covers. Held while files change.
    current: Mutex<Option<(PathBuf, SnapshotMeta)>>,
    failure: watch::Sender<Option<Failure>>,
}

impl SnapshotStore {
    /// Finds the newest whole snapshot in `dir`.
    pub(super) fn open(
        dir: &Path,
        failure: watch::Sender<Option<Failure>>,
    ) -> Result<Self, OpenError> {
        let mut found =
            list(dir).map_err(|source| OpenError::Io { file: dir.to_owned(), source })?;
        found.sort_by_key(|(log_id, _)| std::cmp::Reverse(*log_id));
        let mut damage = None;
        let mut current = None;
        for (_, path) in found {
            match read(&path) {
                Ok(snapshot) => {
                    current = Some((path, snapshot.meta));
                    break;
                }
                Err(error) => {
                    tracing::error!(file = %path.display(), %error, "raft snapshot cannot be read");
                    damage.get_or_insert((path, error));
                }
            }
        }
        match (current, damage) {
            (None, Some((file, error))) => {
                Err(OpenError::Damaged { file, reason: error.to_string() })
            }
            (current, _) => Ok(Self { dir: dir.to_owned(), current: Mutex::new(current), failure }),
        }
    }

    /// What the newest snapshot covers.
    pub(super) fn meta(&self) -> Option<SnapshotMeta> {
        self.current().as_ref().map(|(_, meta)| meta.clone())
    }

    /// Reads the newest snapshot.
    pub(super) async fn load(self: &Arc<Self>) -> io::Result<Option<Snapshot>> {
        let store = Arc::clone(self);
        blocking(move || {
            let current = store.current();
            let Some((path, _)) = current.as_ref() else { return Ok(None) };
            read(path).map(Some)
        })
        .await
    }

    /// Makes `snapshot` the newest, durably, unless a newer one is there already.
    pub(super) async fn save(self: &Arc<Self>, snapshot: Snapshot) -> io::Result<()> {
        let store = Arc::clone(self);
        blocking(move || store.save_blocking(&snapshot)).await
    }

    fn save_blocking(&self, snapshot: &Snapshot) -> io::Result<()> {
        let mut current = self.current();
        let newest = current.as_ref().and_then(|(_, meta)| meta.last_log_id);
        if current.is_some() && snapshot.meta.last_log_id <= newest {
            return Ok(());
        }
        let path = self.dir.join(file_name(snapshot.meta.last_log_id));
        encode(snapshot)
            .and_then(|bytes| write_durably(&path, &bytes))
            .inspect_err(|error| self.report(&path, error))?;
        if let Some((previous, _)) = current.replace((path, snapshot.meta.clone())) {
            // Left behind, it costs space until the next start or snapshot, and nothing else.
            if let Err(error) =
                fs::remove_file(&previous).and_then(|()| sync_directory(Some(&self.dir)))
            {
                tracing::warn!(file = %previous.display(), %error, "old raft snapshot is not removed");
            }
        }
        Ok(())
    }

    fn report(&self, path: &Path, error: &io::Error) {
        tracing::error!(
            file = %path.display(), %error,
            "cannot write the raft snapshot; this node takes no part in raft any more"
        );
        let failure = Failure { file: path.to_owned(), error: error.to_string() };
        self.failure.send_replace(Some(failure));
    }

    fn current(&self) -> MutexGuard<'_, Option<(PathBuf, SnapshotMeta)>> {
        // Set as the last step of a change, so a panic cannot leave it half-way.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn file_name(last: Option<LogId>) -> String {
    let (term, index) = last.map_or((0, 0), |last| (last.leader_id.term, last.index));
    format!("{NAME_PREFIX}{term:016x}-{index:016x}")
}

fn list(dir: &Path) -> io::Result<Vec<((u64, u64), PathBuf)>> {
    let mut found = Vec::new();
    for item in fs::read_dir(dir)? {
        let path = item?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(rest) = name.strip_prefix(NAME_PREFIX) else { continue };
        if rest.ends_with(".tmp") {
            // Half-written when the node ended.
            fs::remove_file(&path)?;
            continue;
        }
        let place = rest.split_once('-').and_then(|(term, index)| {
            let number = |text| u64::from_str_radix(text, 16).ok();
            Some((number(term)?, number(index)?))
        });
        if let Some(place) = place {
            found.push((place, path));
        }
    }
    Ok(found)
}

fn encode(snapshot: &Snapshot) -> io::Result<Vec<u8>> {
    if snapshot.data.len() > SNAPSHOT_BYTES_MAX {
        let text = format!("{} bytes, the most is {SNAPSHOT_BYTES_MAX}", snapshot.data.len());
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    let data_bytes = u64::try_from(snapshot.data.len()).expect("a length fits in 64 bits");
    let header =
        codec::encode(&Header { meta: SnapshotMetaRecord::from(&snapshot.meta), data_bytes });
    let header_bytes = u32::try_from(header.len()).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(MAGIC.len() + 4 + header.len() + snapshot.data.len() + 32);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&header_bytes.to_le_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&snapshot.data);
    let sum = digest::digest(&digest::SHA256, &bytes);
    bytes.extend_from_slice(sum.as_ref());
    Ok(bytes)
}

fn read(path: &Path) -> io::Result<Snapshot> {
    let bytes = fs::read(path)?;
    decode(bytes).map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))
}

fn decode(mut bytes: Vec<u8>) -> Result<Snapshot, String> {
    let fixed = MAGIC.len() + 4;
    if bytes.len() < fixed + DIGEST_BYTES || !bytes.starts_with(MAGIC) {
        return Err("not a snapshot, or cut short".to_owned());
    }
    let sum = bytes.split_off(bytes.len() - DIGEST_BYTES);
    if digest::digest(&digest::SHA256, &bytes).as_ref() != sum {
        return Err("its checksum is wrong".to_owned());
    }
    let header_bytes: [u8; 4] = bytes[MAGIC.len()..fixed].try_into().expect("four bytes");
    let header_bytes = usize::try_from(u32::from_le_bytes(header_bytes)).unwrap_or(usize::MAX);
    if header_bytes > HEADER_BYTES_MAX.min(bytes.len() - fixed) {
        return Err("its header is too long".to_owned());
    }
    let data = bytes.split_off(fixed + header_bytes);
    let header: Header =
        codec::decode(&bytes[fixed..]).map_err(|error| format!("its header: {error}"))?;
    if u64::try_from(data.len()).ok() != Some(header.data_bytes) {
        return Err("its length is wrong".to_owned());
    }
    let meta = SnapshotMeta::try_from(header.meta).map_err(|error| error.to_string())?;
    Ok(Snapshot { meta, data: Arc::new(data) })
}
