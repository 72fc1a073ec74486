//! Becoming a launcher, for the first time or again by exec in place.

use std::ffi::{CString, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::server::Server;
use super::table::Table;
use crate::sys;

/// The socket's name in the launcher's directory.
pub(crate) const SOCKET_FILE: &str = "socket";
/// Where the launcher's own messages go.
pub(crate) const LOG_FILE: &str = "log";
/// What is written to standard output once the socket can be connected to.
pub(crate) const READY: &[u8] = b"ready\n";
const LOCK_FILE: &str = "lock";

/// How long the lock is waited for: a child of a killed launcher holds it until it has executed its command.
const LOCK_TIME_MAX: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// How long a launcher stays that holds nothing and has no node.
const IDLE_EXIT: Duration = Duration::from_secs(60);

/// What a launcher is told by its arguments.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Its own directory, an absolute path.
    pub(super) directory: PathBuf,
    pub(super) idle_exit: Duration,
    /// How often this process has replaced itself.
    pub(super) incarnation: u32,
    /// The lock and the listening socket, from an earlier incarnation.
    inherited: Option<(RawFd, RawFd)>,
}

/// The entry point of `meshos launcher`: does the launcher's work in this process and returns when it is done. Must be
/// called before a thread is started.
///
/// Arguments, without the program and the subcommand: `--dir DIRECTORY` and, from the launcher to itself,
/// `--idle-exit-ms`, `--incarnation`, `--lock-fd` and `--listener-fd`.
pub fn launcher_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let result = Settings::parse(arguments).and_then(|settings| run(&settings));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&format!("cannot go on: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A line of the launcher's log, on standard error.
pub(super) fn log(text: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Nothing can be done about a log that cannot be written.
    drop(writeln!(io::stderr(), "{} launcher[{}]: {text}", now.as_secs(), std::process::id()));
}

impl Settings {
    fn parse(arguments: impl IntoIterator<Item = OsString>) -> io::Result<Self> {
        let wrong = |what: String| io::Error::new(ErrorKind::InvalidInput, what);
        let mut directory = None;
        let mut numbers = [None::<u64>; 4];
        let names = ["--idle-exit-ms", "--incarnation", "--lock-fd", "--listener-fd"];
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| wrong(format!("{name:?} needs a value")))?;
            if name == "--dir" {
                directory = Some(PathBuf::from(value));
                continue;
            }
            let index = names.iter().position(|known| name == *known);
            let index = index.ok_or_else(|| wrong(format!("unknown argument {name:?}")))?;
            let number = value.to_str().and_then(|value| value.parse().ok());
            let number = number.ok_or_else(|| wrong(format!("{name:?} needs a number")))?;
            numbers[index] = Some(number);
        }
        let directory = directory.filter(|directory| directory.is_absolute());
        let directory =
            directory.ok_or_else(|| wrong("--dir needs an absolute path".to_owned()))?;
        let fd = |number: Option<u64>| number.and_then(|number| RawFd::try_from(number).ok());
        Ok(Self {
            directory,
            idle_exit: numbers[0].map_or(IDLE_EXIT, Duration::from_millis),
            incarnation: numbers[1].and_then(|number| u32::try_from(number).ok()).unwrap_or(0),
            inherited: fd(numbers[2]).zip(fd(numbers[3])),
        })
    }
}

fn run(settings: &Settings) -> io::Result<()> {
    let keep = settings.inherited.map_or([-1, -1], |(lock, listener)| [lock, listener]);
    sys::close_all_but(&keep)?;
    sys::reset_signal_handlers();
    let signals = listen_to_signals()?;
    // Fails when we lead a session already, after an exec in place.
    nix::unistd::setsid().ok();
    nix::sys::prctl::set_child_subreaper(true)?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    std::env::set_current_dir("/")?;
    let (lock, listener) = match settings.inherited {
        Some((lock, listener)) => inherit(lock, listener)?,
        None => match begin(&settings.directory)? {
            Some(begun) => begun,
            None => {
                log("another launcher runs for this directory");
                return Ok(());
            }
        },
    };
    let table = Table::open(&settings.directory, log)?;
    if settings.inherited.is_none() {
        announce_ready()?;
    }
    Server::new(settings.clone(), lock, listener, signals, table).run()
}

/// Blocks every signal and gives those that matter as a descriptor. A stop of the terminal, of the node's process
/// group or of a broken pipe is none of our business.
fn listen_to_signals() -> io::Result<SignalFd> {
    SigSet::all().thread_set_mask()?;
    let mut heard = SigSet::empty();
    heard.add(Signal::SIGCHLD);
    heard.add(Signal::SIGTERM);
    Ok(SignalFd::with_flags(&heard, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

fn inherit(lock: RawFd, listener: RawFd) -> io::Result<(File, UnixListener)> {
    let lock = sys::inherited(lock)?;
    let listener = UnixListener::from(std::os::fd::OwnedFd::from(sys::inherited(listener)?));
    keep_over_exec(&lock, false)?;
    keep_over_exec(&listener, false)?;
    Ok((lock, listener))
}

/// Whether the directory is still the one that the lock was taken in, and not gone or made anew.
pub(super) fn holds(directory: &Path, lock: &File) -> bool {
    match (fs::metadata(directory.join(LOCK_FILE)), lock.metadata()) {
        (Ok(there), Ok(own)) => (there.dev(), there.ino()) == (own.dev(), own.ino()),
        (Err(error), _) => error.kind() != ErrorKind::NotFound,
        (Ok(_), Err(_)) => true,
    }
}

/// Takes the lock and opens the socket; none when another launcher has the lock.
fn begin(directory: &Path) -> io::Result<Option<(File, UnixListener)>> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let lock = options.open(directory.join(LOCK_FILE))?;
    let start = std::time::Instant::now();
    // Not a blocking lock: one that another launcher holds for good is to be given up.
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(fs::TryLockError::WouldBlock) if start.elapsed() < LOCK_TIME_MAX => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(Some((lock, bind(directory)?)))
}

/// Binds the socket beside its place and moves it there, so that whoever connects finds the old one or the new one.
fn bind(directory: &Path) -> io::Result<UnixListener> {
    let opened = File::open(directory)?;
    let temporary = directory.join("socket.new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(through_descriptor(&opened, "socket.new"))?;
    listener.set_nonblocking(true)?;
    fs::rename(&temporary, directory.join(SOCKET_FILE))?;
    Ok(listener)
}

/// A short path to a file of an open directory: the address of a unix socket has room for 107 bytes.
pub(crate) fn through_descriptor(directory: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()))
}

/// Tells whoever started us, and lets go of the pipe: from here on standard output is the log too.
fn announce_ready() -> io::Result<()> {
    let mut stdout = io::stdout();
    // The one who waits may be gone already; that changes nothing.
    drop(stdout.write_all(READY));
    drop(stdout.flush());
    nix::unistd::dup2_stdout(io::stderr().as_fd())?;
    Ok(())
}

fn keep_over_exec(fd: impl AsFd, keep: bool) -> io::Result<()> {
    let flag = if keep { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
    fcntl(fd, FcntlArg::F_SETFD(flag))?;
    Ok(())
}

/// Executes `runtime launcher` in this process. Returns only the error.
pub(super) fn become_runtime(
    runtime: &Path,
    settings: &Settings,
    lock: &File,
    listener: &UnixListener,
) -> io::Error {
    let result = execute(runtime, settings, lock, listener);
    // Children must not inherit them.
    drop(keep_over_exec(lock, false));
    drop(keep_over_exec(listener, false));
    result.err().unwrap_or_else(|| io::Error::other("the command returned"))
}

fn execute(
    runtime: &Path,
    settings: &Settings,
    lock: &File,
    listener: &UnixListener,
) -> io::Result<()> {
    let text = |text: String| CString::new(text).map_err(io::Error::from);
    let path = CString::new(runtime.as_os_str().as_bytes())?;
    let directory = CString::new(settings.directory.as_os_str().as_bytes())?;
    let idle_exit_ms = settings.idle_exit.as_millis().to_string();
    let arguments = [
        path.clone(),
        text("launcher".to_owned())?,
        text("--dir".to_owned())?,
        directory,
        text("--idle-exit-ms".to_owned())?,
        text(idle_exit_ms)?,
        text("--incarnation".to_owned())?,
        text(settings.incarnation.wrapping_add(1).to_string())?,
        text("--lock-fd".to_owned())?,
        text(lock.as_raw_fd().to_string())?,
        text("--listener-fd".to_owned())?,
        text(listener.as_raw_fd().to_string())?,
    ];
    keep_over_exec(lock, true)?;
    keep_over_exec(listener, true)?;
    // Not through `std::process`, which would unblock our signals before the new binary can block them again.
    nix::unistd::execv(&path, &arguments)?;
    Ok(())
}
