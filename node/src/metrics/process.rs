//! What the node's own process uses.

use std::time::Duration;

use nix::{
    sys::{
        resource::{UsageWho, getrusage},
        time::TimeVal,
    },
    unistd::{SysconfVar, sysconf},
};

use super::{
    canvas::{Canvas, long, number},
    catalogue as all,
};

/// What the kernel says of this process; what it does not say is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Usage {
    resident_bytes: Option<u64>,
    cpu: Option<Duration>,
    open_files: Option<usize>,
}

/// Draws this process.
pub(super) fn draw(canvas: &Canvas) {
    let usage = usage();
    if let Some(bytes) = usage.resident_bytes {
        canvas.gauge(&all::PROCESS_MEMORY, &[], long(bytes));
    }
    if let Some(cpu) = usage.cpu {
        canvas.counter(&all::PROCESS_CPU, &[], meshos_protocol::time::millis(cpu));
    }
    if let Some(files) = usage.open_files {
        canvas.gauge(&all::PROCESS_FILES, &[], number(files));
    }
}

fn usage() -> Usage {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let page_bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    let page_bytes = page_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    let cpu = getrusage(UsageWho::RUSAGE_SELF).ok();
    Usage {
        resident_bytes: pages.zip(page_bytes).map(|(pages, bytes)| pages.saturating_mul(bytes)),
        cpu: cpu.map(|usage| duration(usage.user_time()) + duration(usage.system_time())),
        // The listing itself holds one open.
        open_files: std::fs::read_dir("/proc/self/fd")
            .ok()
            .map(|all| all.count().saturating_sub(1)),
    }
}

fn duration(time: TimeVal) -> Duration {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_what_this_process_uses() {
        let _open = std::fs::File::open("/proc/self/statm").unwrap();
        let usage = usage();
        assert!(usage.resident_bytes.unwrap() > 1 << 20);
        assert!(usage.open_files.unwrap() >= 4);
        assert!(usage.cpu.is_some());
    }
}
