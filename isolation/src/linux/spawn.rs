//! The birth of a container's first process.
//!
//! The child is made with `CLONE_VM | CLONE_VFORK`: it borrows the launcher's memory, and the launcher stands still, until
//! the child has become the command or has given up. That costs a fraction of a fork, and brings two properties that
//! the launcher builds on:
//!
//! * a failure is told through memory: no pipe, and no moment at which it is unknown whether the command was executed;
//! * the launcher's locked file stays open in the child until it executes. So whoever gets the lock after the launcher was
//!   killed knows that no half-born child is about: each has written its pid into its record, or is gone.
//!
//! The price: a launcher stands still while the kernel loads a command from a dead network disk.
//!
//! The child runs only what is in [`child_main`] and below: system calls on data that the parent has prepared, no
//! allocation, no panic, nothing that takes a lock.

use std::ffi::{CString, OsStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::clone::{clone, clone_into};
use super::entrance::{Entrances, NoEntrance};

/// The child's own stack while it borrows our memory.
const STACK_BYTES: usize = 128 * 1024;
/// Where the pid and the start time go in the record: two little-endian numbers of 8 bytes.
pub(crate) type RecordSlot<'fd> = (BorrowedFd<'fd>, u64);

/// Whom the child becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// What the child does, in the order in which it does it.
#[derive(Debug)]
pub(crate) struct Birth<'a> {
    /// Where it writes who it is, first of all.
    pub(crate) record: RecordSlot<'a>,
    /// Cgroup directories that it enters.
    pub(crate) cgroups: &'a [String],
    /// Its working directory, in which `stdout` and `stderr` are opened.
    pub(crate) sandbox: &'a Path,
    /// What it reads: a descriptor of `/dev/null`.
    pub(crate) stdin: BorrowedFd<'a>,
    /// Where it writes to, instead of `stdout` and `stderr` in the sandbox.
    pub(crate) output: Option<BorrowedFd<'a>>,
    /// Whom it becomes; none leaves it as it is.
    pub(crate) ids: Option<&'a Ids>,
    /// The files to try to execute, in order.
    pub(crate) candidates: Vec<String>,
    /// The arguments, with the program's own name first.
    pub(crate) argv: Vec<String>,
    /// The environment, `NAME=value` each.
    pub(crate) environment: &'a [String],
}

/// The step at which a child gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The record could not be written.
    Record,
    /// The cgroup of this index could not be entered.
    Cgroup(usize),
    /// The sandbox could not be entered, or `stdout` or `stderr` not be opened in it.
    Sandbox(&'static str),
    /// The user could not be changed.
    User,
    /// The command could not be executed.
    Exec,
}

/// Why no process was started.
#[derive(Debug)]
pub(crate) enum BirthError {
    /// No child could be made, or a text holds a NUL byte.
    Clone(io::Error),
    /// The child gave up.
    Child {
        /// When.
        step: Step,
        /// Why.
        error: io::Error,
    },
}

/// Makes children, one after the other, on one stack.
#[derive(Debug)]
pub(crate) struct Spawner {
    stack: Vec<u8>,
}

/// What parent and child share: pointers into data that the parent keeps alive until the child is done with it.
struct Shared<'a> {
    record_fd: RawFd,
    record_offset: libc::off_t,
    /// What is written to, each with the index of its cgroup.
    cgroup_files: Vec<(usize, &'a CString)>,
    sandbox: CString,
    stdin: RawFd,
    output: Option<RawFd>,
    ids: Option<&'a Ids>,
    candidates: Vec<CString>,
    argv: Vec<*const c_char>,
    /// `/bin/sh <candidate> <arguments>`, for a script without a `#!` line; the second is filled in by the child.
    shell_argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    failure: Option<(Step, c_int)>,
}

impl Spawner {
    pub(crate) fn new() -> Self {
        Self { stack: vec![0; STACK_BYTES] }
    }

    /// Starts a process and returns its pid once it executes the command. The caller must be single-threaded.
    pub(crate) fn spawn(&mut self, birth: &Birth<'_>) -> Result<u32, BirthError> {
        let argv = c_strings(&birth.argv)?;
        let environment = c_strings(birth.environment)?;
        let entrances = Entrances::of(birth.cgroups).map_err(|NoEntrance { index, error }| {
            BirthError::Child { step: Step::Cgroup(index), error }
        })?;
        let mut shell_argv = pointers(&argv);
        shell_argv.insert(0, c"/bin/sh".as_ptr());
        let mut shared = Shared {
            record_fd: birth.record.0.as_raw_fd(),
            record_offset: libc::off_t::try_from(birth.record.1).unwrap_or(0),
            cgroup_files: Vec::new(),
            sandbox: c_string(birth.sandbox.as_os_str())?,
            stdin: birth.stdin.as_raw_fd(),
            output: birth.output.map(|output| output.as_raw_fd()),
            ids: birth.ids,
            candidates: c_strings(&birth.candidates)?,
            argv: pointers(&argv),
            shell_argv,
            envp: pointers(&environment),
            failure: None,
        };
        let pid = self.clone(&mut shared, &entrances).map_err(BirthError::Clone)?;
        match shared.failure {
            None => Ok(pid),
            Some((step, errno)) => {
                reap(pid);
                Err(BirthError::Child { step, error: io::Error::from_raw_os_error(errno) })
            }
        }
    }

    fn clone<'a>(&mut self, shared: &mut Shared<'a>, entrances: &'a Entrances) -> io::Result<u32> {
        if let Some(cgroup) = entrances.born_in() {
            shared.cgroup_files = entrances.files(true).collect();
            let argument = ptr::from_mut(shared).cast::<c_void>();
            // SAFETY: `child_entry` ends in execution or exit. `shared` and all it points to outlive the child's use of
            // them, nobody else uses them meanwhile, and all signals are blocked in the launcher.
            let born = unsafe { clone_into(cgroup, &mut self.stack, child_entry, argument) };
            if born.is_ok() {
                return born;
            }
            // An older kernel, or a cgroup that takes nobody in this way: the child may say why when it enters.
        }
        shared.cgroup_files = entrances.files(false).collect();
        let argument = ptr::from_mut(shared).cast::<c_void>();
        // SAFETY: as above.
        unsafe { clone(&mut self.stack, child_entry, argument) }
    }
}

/// Waits for a child that has given up, so that it is not taken for a container's end.
fn reap(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    while nix::sys::wait::waitpid(pid, None) == Err(nix::errno::Errno::EINTR) {}
}

fn c_string(text: &OsStr) -> Result<CString, BirthError> {
    CString::new(text.as_bytes()).map_err(|error| BirthError::Clone(io::Error::from(error)))
}

fn c_strings(texts: &[String]) -> Result<Vec<CString>, BirthError> {
    texts.iter().map(|text| c_string(OsStr::new(text))).collect()
}

/// Pointers to the strings and the null that ends the list.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

extern "C" fn child_entry(argument: *mut c_void) -> c_int {
    // SAFETY: it is the `Shared` of `Spawner::clone`, which stands still and does not touch it while we run.
    let shared = unsafe { &mut *argument.cast::<Shared<'_>>() };
    let failure = child_main(shared);
    shared.failure = Some(failure);
    // SAFETY: ends this process at once; `exit` would run the parent's clean-up in our borrowed memory.
    unsafe { libc::_exit(127) }
}

/// Everything up to the command. Returns only when a step failed.
fn child_main(shared: &mut Shared<'_>) -> (Step, c_int) {
    // SAFETY: takes no argument and touches no memory.
    unsafe { libc::setsid() };
    if let Err(errno) = write_record(shared) {
        return (Step::Record, errno);
    }
    for (index, file) in &shared.cgroup_files {
        if let Err(errno) = enter_cgroup(file) {
            return (Step::Cgroup(*index), errno);
        }
    }
    // SAFETY: a number and a string that ends with NUL; neither call keeps the pointer.
    let entered = unsafe {
        libc::umask(0o022);
        libc::chdir(shared.sandbox.as_ptr())
    };
    if entered < 0 {
        return (Step::Sandbox("enter it"), errno());
    }
    if let Some(ids) = shared.ids
        && let Err(errno) = become_user(ids)
    {
        return (Step::User, errno);
    }
    // Opened after the user was changed: with the rights of the task, in a directory that belongs to it.
    if let Err(errno) = direct_output(shared.output, c"stdout", 1) {
        return (Step::Sandbox("open stdout in it"), errno);
    }
    if let Err(errno) = direct_output(shared.output, c"stderr", 2) {
        return (Step::Sandbox("open stderr in it"), errno);
    }
    // SAFETY: numbers only, and a signal set that is initialised before it is read. Each descriptor of the launcher
    // closes at exec by its own flag; the range sees to those that a library may have opened without it.
    unsafe {
        if libc::dup2(shared.stdin, 0) < 0 {
            return (Step::Sandbox("open stdin for it"), errno());
        }
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
    (Step::Exec, execute(shared))
}

fn errno() -> c_int {
    // SAFETY: glibc's pointer to the errno of this thread, which is the launcher's own and stands still.
    unsafe { *libc::__errno_location() }
}

/// Writes pid and start time into the record, so that a launcher after us finds us whatever happens next.
fn write_record(shared: &Shared<'_>) -> Result<(), c_int> {
    let mut slot = [0u8; 16];
    // SAFETY: no arguments.
    let pid = u64::from(unsafe { libc::getpid() }.cast_unsigned());
    let start_time = own_start_time()?;
    let (left, right) = slot.split_at_mut(8);
    left.copy_from_slice(&pid.to_le_bytes());
    right.copy_from_slice(&start_time.to_le_bytes());
    // SAFETY: writes from `slot`, with its length, to a descriptor that the parent holds open.
    let written = unsafe {
        libc::pwrite(shared.record_fd, slot.as_ptr().cast(), slot.len(), shared.record_offset)
    };
    if written == 16 { Ok(()) } else { Err(errno().max(1)) }
}

/// Field 22 of `/proc/self/stat`, read without allocating.
fn own_start_time() -> Result<u64, c_int> {
    let mut text = [0u8; 512];
    // SAFETY: a constant path, and a buffer with its length; the descriptor is ours to close.
    let length = unsafe {
        let fd = libc::open(c"/proc/self/stat".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return Err(errno());
        }
        let length = libc::read(fd, text.as_mut_ptr().cast(), text.len());
        libc::close(fd);
        length
    };
    let text =
        usize::try_from(length).ok().and_then(|length| text.get(..length)).ok_or(libc::EIO)?;
    start_time_of(text).ok_or(libc::EIO)
}

/// Field 22, counted from the last parenthesis: the 20th word after it.
fn start_time_of(text: &[u8]) -> Option<u64> {
    let after_name = text.iter().rposition(|byte| *byte == b')')?;
    let rest = text.get(after_name + 2..)?;
    let word = rest.split(|byte| *byte == b' ').nth(19)?;
    word.iter().try_fold(0u64, |sum, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

fn enter_cgroup(file: &CString) -> Result<(), c_int> {
    // SAFETY: a string that ends with NUL, a constant buffer of one byte, and a descriptor that is ours to close.
    unsafe {
        let fd = libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return Err(errno());
        }
        let written = libc::write(fd, c"0".as_ptr().cast(), 1);
        let result = if written == 1 { Ok(()) } else { Err(errno()) };
        libc::close(fd);
        result
    }
}

/// Raw system calls: those of glibc signal every thread to change with us, and our memory is the launcher's.
fn become_user(ids: &Ids) -> Result<(), c_int> {
    // SAFETY: the list is given with its length; the other arguments are numbers.
    unsafe {
        if libc::syscall(libc::SYS_setgroups, ids.groups.len(), ids.groups.as_ptr()) < 0
            || libc::syscall(libc::SYS_setresgid, ids.gid, ids.gid, ids.gid) < 0
            || libc::syscall(libc::SYS_setresuid, ids.uid, ids.uid, ids.uid) < 0
        {
            return Err(errno());
        }
    }
    Ok(())
}

/// Makes `output` the descriptor `target`, or else the file of that name in the sandbox.
fn direct_output(output: Option<RawFd>, name: &std::ffi::CStr, target: c_int) -> Result<(), c_int> {
    let Some(output) = output else { return open_output(name, target) };
    // SAFETY: numbers only.
    if unsafe { libc::dup2(output, target) } < 0 { Err(errno()) } else { Ok(()) }
}

/// Opens an output file of the sandbox as descriptor `target`. Not through a symlink, and not blocking on a pipe that
/// somebody put there: only a regular file will do.
fn open_output(name: &std::ffi::CStr, target: c_int) -> Result<(), c_int> {
    let flags = libc::O_WRONLY
        | libc::O_CREAT
        | libc::O_APPEND
        | libc::O_NOFOLLOW
        | libc::O_NONBLOCK
        | libc::O_NOCTTY
        | libc::O_CLOEXEC;
    // SAFETY: a constant string, and a structure that the kernel fills before it is read; the descriptors are ours.
    unsafe {
        let fd = libc::open(name.as_ptr(), flags, 0o644);
        if fd < 0 {
            return Err(errno());
        }
        let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
        if libc::fstat(fd, stat.as_mut_ptr()) < 0 {
            return Err(errno());
        }
        if stat.assume_init().st_mode & libc::S_IFMT != libc::S_IFREG {
            return Err(libc::EINVAL);
        }
        libc::fcntl(fd, libc::F_SETFL, libc::O_APPEND);
        if libc::dup2(fd, target) < 0 {
            return Err(errno());
        }
    }
    Ok(())
}

/// Tries the candidates as `execvp` does: one that is not there is passed over, one that may not be executed is
/// remembered, a script without a `#!` line goes to the shell.
fn execute(shared: &mut Shared<'_>) -> c_int {
    let mut result = libc::ENOENT;
    for candidate in &shared.candidates {
        let path = candidate.as_ptr();
        // SAFETY: strings that end with NUL, lists that end with null; the parent keeps them.
        unsafe { libc::execve(path, shared.argv.as_ptr(), shared.envp.as_ptr()) };
        match errno() {
            libc::ENOEXEC => {
                if let Some(script) = shared.shell_argv.get_mut(1) {
                    *script = path;
                }
                let shell = c"/bin/sh".as_ptr();
                // SAFETY: as above.
                unsafe { libc::execve(shell, shared.shell_argv.as_ptr(), shared.envp.as_ptr()) };
                return errno();
            }
            libc::EACCES => result = libc::EACCES,
            libc::ENOENT | libc::ENOTDIR => {}
            other => return other,
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_read_behind_any_name() {
        let line = b"42 (a) b) S 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 999 1000 3 0\n";
        assert_eq!(start_time_of(line), Some(999));
        assert_eq!(start_time_of(b"42 (a) S 1"), None);
        assert_eq!(start_time_of(b""), None);
        let own = crate::linux::process::Stat::read(std::process::id()).unwrap().unwrap();
        assert_eq!(own_start_time().unwrap(), own.start_time);
    }
}
