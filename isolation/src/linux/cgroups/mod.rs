//! Control groups behind one small trait, so that the isolators do not know which version the machine has, and so
//! that cgroups-rs stays inside this folder.
//!
//! cgroups-rs finds the hierarchies and sets the limits of version 1. Directories, OOM reports and usage are ours on
//! both versions, and all of version 2 is (docs/adr/010-cgroups-rs.md).

mod backend;
mod detect;
mod limits;
mod tree;
mod v1;
mod v2;

use backend::{CFS_PERIOD_US, cfs_quota_us, cpu_shares, cpu_weight, keyed};
pub use backend::{CgroupBackend, Controller, CpuUsage, MemoryUsage, OomReport};
pub(crate) use backend::{kill, kill_all};
pub use detect::{Unusable, detect};
pub use tree::{CgroupTree, FakeTree, KernelTree};
pub use v1::{V1Backend, V1Mounts};
pub use v2::V2Backend;
