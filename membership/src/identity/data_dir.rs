//! The data directory, held by one process, and the identity in it.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use meshos_protocol::ids::{ClusterId, Generation, NodeId};
use ring::rand::SecureRandom;

use super::{IdentityError, record::Record};

const LOCK_FILE: &str = "lock";
const IDENTITY_FILE: &str = "identity";
const IDENTITY_HEADER: &str = "meshos-identity 1";

/// Raft ids stay below 2^53, so that readers of JSON which know only doubles show them right.
const RAFT_ID_MASK: u64 = (1 << 53) - 1;

/// May be passed through and not listed: the sandboxes of other users' tasks are in it. What is nobody else's business
/// has a mode of its own.
const MODE: u32 = 0o711;

/// Who a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Random, made once.
    pub node_id: NodeId,
    /// The node's id in the raft group: random, made once, never 0.
    pub raft_id: u64,
    /// How often the node has started; 0 before its first start.
    pub generation: Generation,
    /// The cluster that the node belongs to; never changes once it is known.
    pub cluster_id: Option<ClusterId>,
}

/// A data directory that this process alone works in, until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock; the system frees it when the process ends, however it ends.
    _lock: File,
}

/// A process that works in a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its id; absent in the moment before it is written down, in which the id may also be that of the holder before.
    pub pid: Option<u32>,
}

impl DataDir {
    /// Makes the directory when it is missing and locks it.
    ///
    /// # Errors
    /// [`IdentityError::Held`] when another process works in it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let path = path.as_ref();
        DirBuilder::new()
            .recursive(true)
            .mode(MODE)
            .create(path)
            .map_err(IdentityError::io("create data directory", path))?;
        let lock = lock(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Whether some process works in a directory now, and which, once it has said so.
    pub fn holder(path: impl AsRef<Path>) -> Option<Holder> {
        let mut file = File::open(path.as_ref().join(LOCK_FILE)).ok()?;
        // Shared, so that two who look do not take each other for the holder.
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(Holder { pid: pid_in(&mut file) }),
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the identity; a directory without one gets a new identity first.
    ///
    /// # Errors
    /// [`IdentityError::Damaged`] when there is one that cannot be read: a node never takes new ids
    /// while the old ones may still stand in the cluster.
    pub fn load_or_create(&self, rng: &dyn SecureRandom) -> Result<NodeIdentity, IdentityError> {
        if let Some(identity) = self.load()? {
            return Ok(identity);
        }
        let identity = NodeIdentity {
            node_id: NodeId::from_bits(random_u64(rng)?),
            raft_id: (random_u64(rng)? & RAFT_ID_MASK).max(1),
            generation: Generation(0),
            cluster_id: None,
        };
        self.store(&identity)?;
        Ok(identity)
    }

    /// Reads the identity; `None` in a new or wiped directory.
    ///
    /// # Errors
    /// [`IdentityError::Damaged`] when there is one that cannot be read.
    pub fn load(&self) -> Result<Option<NodeIdentity>, IdentityError> {
        let Some(record) = Record::load(&self.file(IDENTITY_FILE), IDENTITY_HEADER)? else {
            return Ok(None);
        };
        Ok(Some(NodeIdentity {
            node_id: record.field("node_id")?,
            raft_id: record.field("raft_id")?,
            generation: Generation(record.field("generation")?),
            cluster_id: record.optional("cluster_id")?,
        }))
    }

    /// Counts a start: to be called once, before anything is sent under the identity.
    ///
    /// # Errors
    /// When the disk refuses; `identity` is then unchanged and must not be used to send.
    pub fn raise_generation(&self, identity: &mut NodeIdentity) -> Result<(), IdentityError> {
        let raised = NodeIdentity { generation: identity.generation.next(), ..*identity };
        self.store(&raised)?;
        *identity = raised;
        Ok(())
    }

    /// Binds the node to a cluster, for ever.
    ///
    /// # Errors
    /// [`IdentityError::OtherCluster`] when it is bound to another one.
    pub fn set_cluster_id(
        &self,
        identity: &mut NodeIdentity,
        cluster_id: ClusterId,
    ) -> Result<(), IdentityError> {
        match identity.cluster_id {
            Some(ours) if ours == cluster_id => return Ok(()),
            Some(ours) => return Err(IdentityError::OtherCluster { ours, theirs: cluster_id }),
            None => {}
        }
        let bound = NodeIdentity { cluster_id: Some(cluster_id), ..*identity };
        self.store(&bound)?;
        *identity = bound;
        Ok(())
    }

    fn store(&self, identity: &NodeIdentity) -> Result<(), IdentityError> {
        self.record(identity).store()
    }

    pub(super) fn record(&self, identity: &NodeIdentity) -> Record {
        let record = Record::new(&self.file(IDENTITY_FILE), IDENTITY_HEADER)
            .with("node_id", identity.node_id)
            .with("raft_id", identity.raft_id)
            .with("generation", identity.generation);
        match identity.cluster_id {
            Some(cluster_id) => record.with("cluster_id", cluster_id),
            None => record,
        }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Takes the lock and leaves the process id in its file for whoever fails to.
fn lock(directory: &Path) -> Result<File, IdentityError> {
    let path = directory.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(IdentityError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = holder(&mut file);
            return Err(IdentityError::Held { path: directory.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(IdentityError::io("lock", &path)(error)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(IdentityError::io("write", &path))?;
    Ok(file)
}

fn holder(lock: &mut File) -> String {
    pid_in(lock).map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

fn pid_in(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn random_u64(rng: &dyn SecureRandom) -> Result<u64, IdentityError> {
    let mut bytes = [0; 8];
    rng.fill(&mut bytes).map_err(|_| IdentityError::NoRandomness)?;
    Ok(u64::from_be_bytes(bytes))
}
