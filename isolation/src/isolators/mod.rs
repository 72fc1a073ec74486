//! The isolators in the box: one set over a small cgroup trait, whatever the cgroup version, and the posix ones that
//! only report.

mod cgroups;
mod posix;
mod selection;

pub use cgroups::{CpuIsolator, MemIsolator, PidsIsolator};
pub use posix::{PosixCpuIsolator, PosixMemIsolator};
pub use selection::{Isolation, IsolationOptions};
