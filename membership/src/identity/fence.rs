//! The highest (cluster, term) that this node has obeyed, on disk before it acts.

use std::path::PathBuf;

use meshos_protocol::ids::{Fence, Term};

use super::{DataDir, IdentityError, record::Record};

const FENCE_FILE: &str = "fence";
const FENCE_HEADER: &str = "meshos-fence 1";

/// Keeps the fence: whatever the node does under a fence, it stored that fence first, so an
/// instruction of a lower term finds it after a restart too.
#[derive(Debug)]
pub struct FenceStore {
    path: PathBuf,
    current: Option<Fence>,
}

impl FenceStore {
    /// Reads what is stored. The directory must stay open as long as the store is used.
    ///
    /// # Errors
    /// [`IdentityError::Damaged`] when the file cannot be read: forgetting a fence would let a
    /// deposed leader give orders.
    pub fn load(data_dir: &DataDir) -> Result<Self, IdentityError> {
        let path = data_dir.file(FENCE_FILE);
        let record = Record::load(&path, FENCE_HEADER)?;
        let current = match record {
            Some(record) => Some(Fence {
                cluster: record.field("cluster_id")?,
                term: Term(record.field("term")?),
            }),
            None => None,
        };
        Ok(Self { path, current })
    }

    /// The highest fence seen.
    pub fn current(&self) -> Option<Fence> {
        self.current
    }

    /// Raises the fence; when this returns, it would survive a power cut.
    ///
    /// # Errors
    /// [`IdentityError::OtherCluster`] and [`IdentityError::StaleFence`] when it may not be obeyed.
    pub fn store(&mut self, fence: Fence) -> Result<(), IdentityError> {
        match self.current {
            Some(newest) if newest.cluster != fence.cluster => {
                return Err(IdentityError::OtherCluster {
                    ours: newest.cluster,
                    theirs: fence.cluster,
                });
            }
            Some(newest) if fence.is_stale(newest) => {
                return Err(IdentityError::StaleFence { offered: fence, newest });
            }
            Some(newest) if newest == fence => return Ok(()),
            _ => {}
        }
        Record::new(&self.path, FENCE_HEADER)
            .with("cluster_id", fence.cluster)
            .with("term", fence.term)
            .store()?;
        self.current = Some(fence);
        Ok(())
    }
}
