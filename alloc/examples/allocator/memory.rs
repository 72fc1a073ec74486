//! What the process takes.

use crate::cases::{cluster, run};

/// The memory that agents with their tasks and the first offers take.
pub(crate) fn memory(agents: u64, frameworks: u64) -> u128 {
    let before = resident_bytes();
    let mut allocator = cluster(agents, frameworks);
    let (grants, _) = run(&mut allocator);
    let after = resident_bytes();
    assert_eq!(u64::try_from(grants.len()), Ok(agents), "one offer for each agent");
    after - before
}

fn resident_bytes() -> u128 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux machine");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u128>().ok()).expect("VmRSS in kB") * 1024
}
