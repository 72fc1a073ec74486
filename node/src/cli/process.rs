//! Children of this process, and whatever they leave behind.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// How long a child may take to end by itself once it was asked to, in the end.
const SWEEP_GRACE: Duration = Duration::from_millis(500);
/// How long the kernel may take to end what was killed.
const SWEEP_LIMIT: Duration = Duration::from_secs(10);
const SWEEP_PAUSE: Duration = Duration::from_millis(5);

/// How a child ended, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub pid: Pid,
    pub how: String,
}

/// Takes note of the children that have ended, orphans that fell to this process among them.
pub(super) fn reap() -> Vec<Ended> {
    let mut ended = Vec::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => {
                ended.push(Ended { pid, how: format!("exited with code {code}") });
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                ended.push(Ended { pid, how: format!("was ended by {signal}") });
            }
            Err(Errno::EINTR) | Ok(WaitStatus::Stopped(..) | WaitStatus::Continued(_)) => {}
            Ok(_) | Err(_) => return ended,
        }
    }
}

/// Sends a signal to a child that has not been reaped; one that is over by itself is no error.
pub(super) fn send(pid: Pid, signal: Signal) {
    if let Err(error) = kill(pid, signal)
        && error != Errno::ESRCH
    {
        tracing::warn!(%pid, %signal, %error, "a process cannot be signalled");
    }
}

/// Ends everything that descends from this process, which must be a subreaper: whoever loses its
/// parent becomes our child. Only children are signalled, since the pid of a child that was not
/// reaped is nobody else's.
///
/// # Errors
/// When something cannot be ended.
pub(super) async fn sweep() -> io::Result<()> {
    let start = tokio::time::Instant::now();
    loop {
        reap();
        let children = children()?;
        if children.is_empty() {
            return Ok(());
        }
        let elapsed = start.elapsed();
        if elapsed > SWEEP_LIMIT {
            let pids = children.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(io::Error::other(format!("these processes do not end: {pids}")));
        }
        let signal = if elapsed < SWEEP_GRACE { Signal::SIGTERM } else { Signal::SIGKILL };
        children.into_iter().for_each(|pid| send(pid, signal));
        tokio::time::sleep(SWEEP_PAUSE).await;
    }
}

/// The children of this process.
fn children() -> io::Result<Vec<Pid>> {
    let own = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // A process may end while it is looked at.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if parent(&stat) == Some(own) {
            found.push(Pid::from_raw(pid));
        }
    }
    Ok(found)
}

/// The parent in a line of `/proc/PID/stat`: the fourth field, counted from behind the command's
/// name, which may hold anything.
fn parent(stat: &str) -> Option<i32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The last lines of a log.
pub(super) fn tail(log: &Path, lines_max: usize) -> String {
    const BYTES_MAX: u64 = 16 * 1024;
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match read() {
        Ok(text) => {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(lines_max)..].join("\n")
        }
        Err(error) => format!("(it cannot be read: {error})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_stands_behind_the_name_whatever_the_name_is() {
        assert_eq!(parent("7 (sh) S 4711 7 7 0"), Some(4711));
        assert_eq!(parent("7 (a) R 1) S 4711 7 7 0"), Some(4711));
        assert_eq!(parent("7 sh S"), None);
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        assert_eq!(parent(&own), i32::try_from(std::os::unix::process::parent_id()).ok());
    }

    #[test]
    fn the_last_lines_of_a_log_are_shown() {
        let file = std::env::temp_dir().join(format!("meshos-tail-{}", std::process::id()));
        let lines: Vec<String> = (0..5_000).map(|n| format!("line {n}")).collect();
        std::fs::write(&file, lines.join("\n")).unwrap();
        assert_eq!(tail(&file, 2), "line 4998\nline 4999");
        std::fs::remove_file(&file).unwrap();
        assert!(tail(&file, 2).starts_with("(it cannot be read: "));
    }
}
