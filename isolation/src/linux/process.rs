//! Processes as `/proc` shows them: who they are, whose they are, and safe signals to them.
//!
//! A pid alone names nobody, because pids are used again; pid and start time together, within one boot, do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use nix::sys::signal::Signal;

use crate::sys;

/// The variable that marks every process of a container: `<tag>/<container>`. Unlike the session it survives
/// `setsid`, and unlike descent it survives the death of the parent. A process that has left its session, lost its parent
/// and was started without this variable is found by a control group alone.
pub const MARK_VARIABLE: &str = "MESHOS_CONTAINER";
/// How much of a process's environment is searched for the mark: the mark is put first.
const ENVIRON_BYTES_MAX: usize = 4096;
/// `USER_HZ`: the clock tick of `/proc/PID/stat`, fixed at 100 for user space.
const TICK_US: u64 = 10_000;

/// The mark of a container of the node whose tag is `tag`.
#[must_use]
pub fn mark(tag: &str, container: &str) -> String {
    format!("{MARK_VARIABLE}={tag}/{container}")
}

/// One process, from `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Its id.
    pub pid: u32,
    /// `R`, `S`, `D`, `Z`, `T`, ...
    pub state: u8,
    /// Its parent.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// Processor time in user mode, with that of children waited for, in microseconds.
    pub cpu_user_us: u64,
    /// Processor time in the kernel, with that of children waited for, in microseconds.
    pub cpu_system_us: u64,
    /// When it was started, in ticks since boot.
    pub start_time: u64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
}

impl Stat {
    /// Reads one process; none when there is no such process.
    pub fn read(pid: u32) -> io::Result<Option<Self>> {
        match fs::read(format!("/proc/{pid}/stat")) {
            Ok(bytes) => Ok(Self::parse(&bytes)),
            // ESRCH: it went away between open and read.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Parses the line. The command's name is in parentheses and may hold anything, parentheses too, so fields are
    /// counted from the last one.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(line);
        let pid = text.split(' ').next()?.parse().ok()?;
        let rest = &text[text.rfind(')')? + 1..];
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Field numbers of proc(5), of which `fields` begins with the third.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let id = |field: usize| fields.get(field - 3)?.parse::<u32>().ok();
        let ticks = |own: usize, waited: usize| Some((number(own)? + number(waited)?) * TICK_US);
        Some(Self {
            pid,
            state: *fields.first()?.as_bytes().first()?,
            parent: id(4)?,
            group: id(5)?,
            session: id(6)?,
            cpu_user_us: ticks(14, 16)?,
            cpu_system_us: ticks(15, 17)?,
            start_time: number(22)?,
            resident_bytes: number(24)?.saturating_mul(sys::page_bytes()),
        })
    }

    /// Whether it has ended and only waits for its parent.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// Sends `signal` to this process and never to one that came after it under the same pid.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let Some(pidfd) = sys::pidfd_open(self.pid)? else { return Ok(()) };
        match Self::read(self.pid)? {
            Some(now) if now.start_time == self.start_time => sys::pidfd_signal(&pidfd, signal),
            _ => Ok(()),
        }
    }
}

/// All processes at one moment.
#[derive(Debug)]
pub struct Processes {
    by_pid: BTreeMap<u32, Stat>,
    children: BTreeMap<u32, Vec<u32>>,
}

impl Processes {
    /// Reads every process. Those that end meanwhile are left out.
    pub fn read() -> io::Result<Self> {
        let mut all = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let pid = name.to_str().and_then(|name| name.parse::<u32>().ok());
            if let Some(pid) = pid
                && let Ok(Some(stat)) = Stat::read(pid)
            {
                all.push(stat);
            }
        }
        Ok(Self::new(all))
    }

    fn new(all: Vec<Stat>) -> Self {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for stat in &all {
            children.entry(stat.parent).or_default().push(stat.pid);
        }
        Self { by_pid: all.into_iter().map(|stat| (stat.pid, stat)).collect(), children }
    }

    /// The living processes of a container whose first process is or was `pid`: those in its session or group, those
    /// that carry its mark and lost their parent, and all that descend from these.
    ///
    /// `reaper` is the process that orphans of the container fall to: the launcher. Process 1 is always looked at,
    /// since they fall to it when the launcher was killed.
    #[must_use]
    pub fn of_container(&self, mark: &str, pid: u32, reaper: Option<u32>) -> Vec<Stat> {
        let parent_of_first = self.by_pid.get(&pid).map(|stat| stat.parent);
        let reapers = [Some(1), reaper, parent_of_first];
        let is_member = |stat: &&Stat| {
            stat.pid == pid
                || stat.session == pid
                || stat.group == pid
                || (reapers.contains(&Some(stat.parent)) && carries(stat.pid, mark))
        };
        let mut open: Vec<u32> =
            self.by_pid.values().filter(is_member).map(|stat| stat.pid).collect();
        let mut members: BTreeSet<u32> = open.iter().copied().collect();
        while let Some(parent) = open.pop() {
            for child in self.children.get(&parent).into_iter().flatten() {
                if members.insert(*child) {
                    open.push(*child);
                }
            }
        }
        let stats = members.iter().filter_map(|member| self.by_pid.get(member));
        stats.filter(|stat| !stat.is_zombie()).copied().collect()
    }
}

/// Whether a process was started with `mark` in its environment.
fn carries(pid: u32, mark: &str) -> bool {
    let Ok(file) = fs::File::open(format!("/proc/{pid}/environ")) else { return false };
    let mut bytes = Vec::new();
    let mut limited = io::Read::take(file, ENVIRON_BYTES_MAX as u64);
    io::Read::read_to_end(&mut limited, &mut bytes).is_ok()
        && bytes.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

/// The pids of the children of this process's only thread; none when the kernel does not list them.
pub fn own_children() -> Option<Vec<u32>> {
    let pid = std::process::id();
    let text = fs::read_to_string(format!("/proc/self/task/{pid}/children")).ok()?;
    Some(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// The processes in a cgroup; none when it is gone.
pub fn in_cgroup(directory: &Path) -> io::Result<Vec<u32>> {
    match fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(text) => Ok(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Signals every process in a cgroup and tells how many there were. A process is signalled only while it is still
/// listed after it was pinned by a pidfd, so a pid that was used again is never hit.
pub fn signal_cgroup(directory: &Path, signal: Signal) -> io::Result<usize> {
    let mut pinned = BTreeMap::new();
    for pid in in_cgroup(directory)? {
        // 0 is a process of a pid namespace that we do not see.
        if pid != 0
            && let Some(pidfd) = sys::pidfd_open(pid)?
        {
            pinned.insert(pid, pidfd);
        }
    }
    if pinned.is_empty() {
        return Ok(0);
    }
    let mut count = 0;
    for pid in in_cgroup(directory)? {
        if let Some(pidfd) = pinned.get(&pid) {
            sys::pidfd_signal(pidfd, signal)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Names this boot of the machine. Pids and start times of another boot mean nothing.
pub fn boot_id() -> io::Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(pid: u32, parent: u32, session: u32) -> Stat {
        Stat {
            pid,
            state: b'S',
            parent,
            group: session,
            session,
            cpu_user_us: 0,
            cpu_system_us: 0,
            start_time: 1,
            resident_bytes: 0,
        }
    }

    #[test]
    fn names_with_spaces_and_parentheses_do_not_shift_the_fields() {
        let line = b"42 (a) b) (c) S 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 999 1000 3 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.pid, stat.parent, stat.group, stat.session), (42, 7, 42, 41));
        assert_eq!((stat.cpu_user_us, stat.cpu_system_us), (120_000, 140_000));
        assert_eq!(stat.start_time, 999);
        assert_eq!(stat.resident_bytes, 3 * sys::page_bytes());
        assert_eq!(Stat::parse(b"42 (a"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let own = Stat::read(std::process::id()).unwrap().unwrap();
        assert_eq!(own.pid, std::process::id());
        assert!(own.resident_bytes > 0);
    }

    #[test]
    fn a_container_is_its_session_and_all_descendants() {
        // 10 is the first process; 11 made a session of its own, 12 descends from it; 20 is somebody else's.
        let all = vec![stat(10, 5, 10), stat(11, 10, 11), stat(12, 11, 11), stat(20, 5, 20)];
        let members = Processes::new(all).of_container("X=none", 10, Some(5));
        assert_eq!(members.iter().map(|stat| stat.pid).collect::<Vec<_>>(), [10, 11, 12]);
    }

    #[test]
    fn a_signal_does_not_reach_a_successor_of_the_pid() {
        let mut own = Stat::read(std::process::id()).unwrap().unwrap();
        own.start_time += 1;
        // Would end this test process if it were delivered.
        own.signal(Signal::SIGKILL).unwrap();
    }
}
