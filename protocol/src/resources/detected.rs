//! What a node offers of its machine when its configuration does not say.

use super::{AMOUNT_MAX, Amount, Metadata, Ranges, Resource, ResourceName, Resources, Value};

/// Memory kept back for the machine itself, in MB, as in Mesos.
const MEM_MARGIN_MB: u64 = 1_024;

/// Disk space kept back for the machine itself, in MB, as in Mesos.
const DISK_MARGIN_MB: u64 = 5 * 1_024;

/// The ports that are offered, as in Mesos.
const PORTS: (u64, u64) = (31_000, 32_000);

/// The resources of a machine with so many cores, and so much memory and disk space in MB: all
/// cores; memory less 1 GB, or half of it when there are less than 2 GB; disk less 5 GB, or half
/// of it when there are less than 10 GB; ports 31000-32000.
#[must_use]
pub fn detected(cpus: u64, mem_total_mb: u64, disk_total_mb: u64) -> Resources {
    [
        (ResourceName::Cpus, amount(cpus)),
        (ResourceName::Mem, amount(less_margin(mem_total_mb, MEM_MARGIN_MB))),
        (ResourceName::Disk, amount(less_margin(disk_total_mb, DISK_MARGIN_MB))),
        (ResourceName::Ports, Value::Ranges(Ranges::single(PORTS.0, PORTS.1).unwrap_or_default())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Resource::new(name, Metadata::UNRESERVED, value).ok())
    .collect()
}

/// `total` less `margin`, or half of it when that is more than the margin would leave.
fn less_margin(total: u64, margin: u64) -> u64 {
    if total < 2 * margin { total / 2 } else { total - margin }
}

/// So many units, cut to what a resource may hold.
fn amount(units: u64) -> Value {
    Value::Scalar(Amount::whole(i64::try_from(units).unwrap_or(i64::MAX)).min(AMOUNT_MAX))
}
