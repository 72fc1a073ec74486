//! The few system calls that nix does not wrap, each as a safe function.
#![expect(
    unsafe_code,
    reason = "raw system calls: pidfd, close_range, descriptors handed over by exec"
)]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use nix::sys::signal::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The size of a page, in bytes.
pub(crate) fn page_bytes() -> u64 {
    static PAGE_BYTES: OnceLock<u64> = OnceLock::new();
    *PAGE_BYTES.get_or_init(|| {
        let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
        size.and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
    })
}

/// Converts the result of a raw system call.
fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A descriptor for the process `pid`; none when there is no such process. It becomes readable when the process ends.
pub(crate) fn pidfd_open(pid: u32) -> io::Result<Option<OwnedFd>> {
    // SAFETY: takes two numbers and touches no memory of ours.
    match checked(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }) {
        Ok(fd) => {
            let fd =
                RawFd::try_from(fd).map_err(|_| io::Error::other("descriptor out of range"))?;
            // SAFETY: the kernel has just made this descriptor for us alone.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
        }
        // EINVAL: the pid is a thread's, so the process of that pid is gone.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Signals the process behind a pidfd; one that has ended is left alone.
pub(crate) fn pidfd_signal(pidfd: &OwnedFd, signal: Signal) -> io::Result<()> {
    // SAFETY: the descriptor is open for the whole call; the null pointer asks for default signal information.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal as libc::c_int,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    match checked(result) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// `struct pidfd_info` of linux/pidfd.h in its first published form (64 bytes).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    credentials: [u32; 8],
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT` of linux/pidfd.h, since Linux 6.15.
const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `PIDFD_GET_INFO`: `_IOWR(0xFF, 11, struct pidfd_info)` with a size of 64 bytes.
const PIDFD_GET_INFO: libc::Ioctl = 0xC040_FF0B;

/// What the kernel tells about the end of a process that is not our child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PidfdExit {
    /// The wait status.
    Status(i32),
    /// It runs, or its parent has not waited for it.
    NotYet,
    /// The kernel is older than 6.15 and tells nobody but the parent.
    Unsupported,
}

/// The wait status of a process that is not our child, from a pidfd opened while it ran.
pub(crate) fn pidfd_exit_status(pidfd: &OwnedFd) -> PidfdExit {
    const { assert!(size_of::<PidfdInfo>() == 64, "the size is part of the ioctl's number") };
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the kernel writes at most the 64 bytes that the request's number names, which `info` has.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    if result != 0 {
        PidfdExit::Unsupported
    } else if info.mask & PIDFD_INFO_EXIT == 0 {
        PidfdExit::NotYet
    } else {
        PidfdExit::Status(info.exit_code)
    }
}

/// Closes every descriptor from 3 on that is not in `keep`.
pub(crate) fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    keep.sort_unstable();
    let mut first: u32 = 3;
    for kept in keep.into_iter().chain([u32::MAX]) {
        if kept > first {
            // SAFETY: called once, at the start of the launcher, before it has opened anything: no object of this
            // program owns one of these descriptors.
            let result = unsafe { libc::syscall(libc::SYS_close_range, first, kept - 1, 0) };
            checked(result)?;
        }
        first = kept.saturating_add(1).max(first);
    }
    Ok(())
}

/// Takes over a descriptor whose number an earlier incarnation of this process passed on.
///
/// Fails when nothing is open under that number.
pub(crate) fn inherited(fd: RawFd) -> io::Result<File> {
    // SAFETY: only asks for the flags of a number.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and the incarnation that owned it is gone: exec has replaced it with us.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// The last signal of Linux, real-time signals included.
const SIGNAL_MAX: libc::c_int = 64;

/// Sets every signal to its default, so that the mask alone decides, and so that a child only has to clear its mask.
///
/// Not through libc, which keeps its hands on two of the real-time signals: whoever started us may have them ignored.
pub(crate) fn reset_signal_handlers() {
    /// The kernel's `struct sigaction`; all zeros is the default action.
    #[repr(C)]
    #[derive(Default)]
    struct Action {
        handler: usize,
        flags: libc::c_ulong,
        restorer: usize,
        mask: u64,
    }
    let default = Action::default();
    for signal in 1..=SIGNAL_MAX {
        // SAFETY: the kernel reads `default`, whose layout is its own, and writes nothing. No code of ours runs at a default
        // action; the only handlers that are replaced are those of the runtime, which are for a better message at a stack
        // overflow. It fails for SIGKILL and SIGSTOP alone, which have no other action.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                &raw const default,
                std::ptr::null_mut::<Action>(),
                size_of::<u64>(),
            );
        }
    }
}

/// The processor time that this process has used, and that the children it waited for have used, in microseconds.
#[must_use]
pub fn own_cpu_us() -> [u64; 2] {
    use nix::sys::resource::{UsageWho, getrusage};
    let microseconds = |time: nix::sys::time::TimeVal| {
        u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0)
    };
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].map(|who| {
        let usage = getrusage(who).ok();
        usage.map_or(0, |usage| microseconds(usage.user_time()) + microseconds(usage.system_time()))
    })
}

/// The status of a child that has ended, without taking it: the pid stays its own until it is waited for.
/// None when no child has ended; `ECHILD` means that there is none at all.
pub(crate) fn peek_ended_child() -> io::Result<Option<(u32, libc::c_int, i32)>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` has room for what the kernel writes.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was zeroed, and all-zero is valid; waitid fills the fields that are read for a child that ended.
    let (pid, code, status) = unsafe {
        let info = info.assume_init();
        (info.si_pid(), info.si_code, info.si_status())
    };
    Ok(u32::try_from(pid).ok().filter(|pid| *pid != 0).map(|pid| (pid, code, status)))
}

/// Makes the async runtime wait for a descriptor to become readable.
pub(crate) fn watch_readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is registered, stays the same and stays open until it is deregistered.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    registered.map_err(io::Error::from)
}
