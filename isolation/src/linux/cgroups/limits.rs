//! The limits of version 1, set through cgroups-rs. Its controllers are made for one directory each: a whole `Cgroup`
//! owns a list of all hierarchies of the machine.
//!
//! cgroups-rs opens a file so that it is made when it is missing. The kernel allows that in no control group, but where the
//! hierarchy is not mounted any more it would look as if a limit were set, so that the first file of each must be there.

use std::{error::Error as _, fs, io, path::Path};

use cgroups_rs::fs::{
    MaxValue, cpu::CpuController, error::Error, memory::MemController, pid::PidController,
};

use super::CFS_PERIOD_US;
use crate::isolator::IsolatorError;

/// Not the tree of version 2.
const V2: bool = false;

/// Sets the weight, and with a quota the microseconds in each period.
pub(super) fn set_cpu(
    directory: &Path,
    shares: u64,
    quota_us: Option<u64>,
) -> Result<(), IsolatorError> {
    demand(directory, "cpu.shares")?;
    let cpu = CpuController::new(directory.to_owned(), directory.to_owned(), V2);
    let written = cpu.set_shares(shares);
    written.map_err(|error| failed(directory, "cpu.shares", error))?;
    if let Some(quota_us) = quota_us {
        let written = cpu.set_cfs_period(CFS_PERIOD_US);
        written.map_err(|error| failed(directory, "cpu.cfs_period_us", error))?;
        let written = cpu.set_cfs_quota(signed(quota_us));
        written.map_err(|error| failed(directory, "cpu.cfs_quota_us", error))?;
    }
    Ok(())
}

/// Sets the most bytes of memory, and of memory and swap together where the kernel counts that.
pub(super) fn set_memory(
    directory: &Path,
    bytes: u64,
    swap_too: bool,
) -> Result<(), IsolatorError> {
    change_memory(directory, bytes, swap_too, false)
}

/// The same for a container that has limits, which are raised or lowered: that of memory and swap together must never be
/// below that of memory alone.
pub(super) fn change_memory(
    directory: &Path,
    bytes: u64,
    swap_too: bool,
    raise: bool,
) -> Result<(), IsolatorError> {
    demand(directory, "memory.limit_in_bytes")?;
    let memory = MemController::new(directory.to_owned(), directory.to_owned(), V2);
    let alone = || {
        let written = memory.set_limit(signed(bytes));
        written.map_err(|error| failed(directory, "memory.limit_in_bytes", error))
    };
    let together = || {
        let written = memory.set_memswap_limit(signed(bytes));
        written.map_err(|error| failed(directory, "memory.memsw.limit_in_bytes", error))
    };
    match (swap_too, raise) {
        (false, _) => alone(),
        (true, false) => alone().and_then(|()| together()),
        (true, true) => together().and_then(|()| alone()),
    }
}

/// Sets the most processes and threads.
pub(super) fn set_pids(directory: &Path, max: u32) -> Result<(), IsolatorError> {
    demand(directory, "pids.max")?;
    let pids = PidController::new(directory.to_owned(), directory.to_owned(), V2);
    let written = pids.set_pid_max(MaxValue::Value(i64::from(max)));
    written.map_err(|error| failed(directory, "pids.max", error))
}

fn demand(directory: &Path, file: &str) -> Result<(), IsolatorError> {
    let path = directory.join(file);
    let found = fs::metadata(&path).map(drop);
    found.map_err(IsolatorError::new("write", path))
}

/// cgroups-rs counts in signed numbers, of which -1 means no limit.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The kernel's own error, when cgroups-rs has kept it.
fn failed(directory: &Path, file: &str, error: Error) -> IsolatorError {
    let kernel = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let cause = match kernel.and_then(io::Error::raw_os_error) {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::other(error.to_string()),
    };
    IsolatorError::new("write", directory.join(file))(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_not_set_where_there_is_no_control_group() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = directory.path();
        for (file, error) in [
            ("cpu.shares", set_cpu(nowhere, 2, None)),
            ("memory.limit_in_bytes", set_memory(nowhere, 1 << 20, true)),
            ("pids.max", set_pids(nowhere, 3)),
        ] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains(&format!("{}/{file}", nowhere.display())), "{error}");
            assert!(error.contains("No such file or directory"), "{error}");
        }
        assert_eq!(fs::read_dir(nowhere).unwrap().count(), 0, "and nothing is made");
    }
}
