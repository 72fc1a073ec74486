//! A child on a stack of its own in borrowed memory, born in a cgroup where the kernel can (`clone3` with
//! `CLONE_INTO_CGROUP`, since Linux 5.7).
//!
//! glibc has no function for `clone3`, so the system call is made here, by hand, for the processors that are known; on
//! others, and on older kernels, `clone` is called and the child enters the cgroup by itself.

use std::ffi::{c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// The child: gets the argument, and must never return.
pub(super) type Entry = extern "C" fn(*mut c_void) -> c_int;

/// The child borrows our memory, and we stand still until it has executed or exited.
const FLAGS: c_int = libc::CLONE_VM | libc::CLONE_VFORK;
/// What the ABIs ask of a stack.
const STACK_ALIGNMENT: usize = 16;

/// The part of a stack that is aligned at both ends.
struct Stack {
    bottom: *mut u8,
    bytes: usize,
}

impl Stack {
    fn within(memory: &mut [u8]) -> Self {
        let start = memory.as_mut_ptr();
        let skipped = start.align_offset(STACK_ALIGNMENT).min(memory.len());
        let bytes = (memory.len() - skipped) / STACK_ALIGNMENT * STACK_ALIGNMENT;
        Self { bottom: start.wrapping_add(skipped), bytes }
    }

    fn top(&self) -> *mut u8 {
        self.bottom.wrapping_add(self.bytes)
    }
}

/// Makes a child that runs `entry(argument)` on `stack`, and returns its pid. All signals must be blocked, and the
/// caller single-threaded.
///
/// # Safety
/// `entry` must never return, must not unwind, and must do nothing that needs the memory for itself: until it has
/// executed or exited it shares ours, `argument` included.
pub(super) unsafe fn clone(
    stack: &mut [u8],
    entry: Entry,
    argument: *mut c_void,
) -> io::Result<u32> {
    let top = Stack::within(stack).top();
    // SAFETY: CLONE_VFORK keeps us here until the child is done with the stack and the argument; the rest is promised
    // by the caller.
    let pid = unsafe { libc::clone(entry, top.cast(), FLAGS | libc::SIGCHLD, argument) };
    u32::try_from(pid).map_err(|_| io::Error::last_os_error())
}

/// The same, with the child in the version 2 cgroup of this directory from its first moment on.
///
/// # Errors
/// What the kernel said; among others when it does not know this way.
///
/// # Safety
/// As for [`clone`].
pub(super) unsafe fn clone_into(
    cgroup: BorrowedFd<'_>,
    stack: &mut [u8],
    entry: Entry,
    argument: *mut c_void,
) -> io::Result<u32> {
    let stack = Stack::within(stack);
    // SAFETY: numbers only, for which zero is a value: "not given".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(FLAGS.cast_unsigned()) | INTO_CGROUP;
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    arguments.stack = stack.bottom.expose_provenance() as u64;
    arguments.stack_size = stack.bytes as u64;
    arguments.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    // SAFETY: the structure is of the kernel's layout and lives through the call; the rest as in `clone`.
    let result = unsafe { clone3(&arguments, entry, argument) };
    u32::try_from(result)
        .map_err(|_| io::Error::from_raw_os_error(c_int::try_from(-result).unwrap_or(libc::EINVAL)))
}

/// `CLONE_INTO_CGROUP` of `linux/sched.h`: beyond the 32 bits of `clone`'s flags.
const INTO_CGROUP: u64 = 1 << 33;

/// The bare system call: the pid, or the negated error.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(arguments: &libc::clone_args, entry: Entry, argument: *mut c_void) -> c_long {
    let result: c_long;
    // SAFETY: the child has registers of its own and its own stack, and never comes back from `entry`; for us the
    // call changes what it says it does.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") ptr::from_ref(arguments),
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") argument,
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// The bare system call: the pid, or the negated error.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(arguments: &libc::clone_args, entry: Entry, argument: *mut c_void) -> c_long {
    let result: c_long;
    // SAFETY: as for x86_64.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk 1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") ptr::from_ref(arguments) => result,
            in("x1") size_of::<libc::clone_args>(),
            in("x20") argument,
            in("x21") entry,
        );
    }
    result
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn clone3(_: &libc::clone_args, _: Entry, _: *mut c_void) -> c_long {
    -c_long::from(libc::ENOSYS)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::path::PathBuf;

    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::Pid;

    use super::*;

    extern "C" fn leave(argument: *mut c_void) -> c_int {
        // SAFETY: the number that the test shares with us; then this process ends at once.
        unsafe { libc::_exit(*argument.cast::<c_int>()) }
    }

    fn mount_of_version_2() -> Option<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let found = mounts.find(|fields| fields.get(2) == Some(&"cgroup2"))?;
        Some(PathBuf::from(found.get(1)?))
    }

    #[test]
    fn root_a_child_is_born_in_a_cgroup_of_version_2_with_our_memory() {
        // On a machine without one there is nothing to be born in.
        let Some(mount) = mount_of_version_2() else { return };
        let name = format!("meshos-born-{}", std::process::id());
        let path = mount.join(&name);
        fs::create_dir(&path).unwrap();
        let flags = libc::O_PATH | libc::O_DIRECTORY;
        let cgroup = OpenOptions::new().read(true).custom_flags(flags).open(&path).unwrap();
        let (mut stack, mut code) = (vec![0; 64 * 1024], 7);
        let argument = ptr::from_mut(&mut code).cast();
        // SAFETY: `leave` makes one system call, and needs nothing of this process but the number.
        let pid = unsafe { clone_into(cgroup.as_fd(), &mut stack, leave, argument) };
        let pid = Pid::from_raw(pid.unwrap().cast_signed());
        let born = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 7));
        fs::remove_dir(&path).unwrap();
        assert!(born.lines().any(|line| line.ends_with(&format!("/{name}"))), "{born}");
    }
}
