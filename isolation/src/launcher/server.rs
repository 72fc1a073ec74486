//! The launcher's loop: waits for its sockets, for the end of its children and for the end of adopted processes, and
//! answers.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::connection::Connection;
use super::entry::{self, Settings, log};
use super::protocol::{Answer, Call, FailureKind, Message, Request, VERSIONS, Welcome};
use super::table::{State, Table};
use super::tree::{Remains, Tracker};
use crate::container::ContainerId;
use crate::containerizer::ExitStatus;
use crate::linux::process;
use crate::sys;

mod kills;

use kills::{KILL_PAUSE, Kill, Then};

/// How many connections may be open at once: one is welcomed, the others have not said hello or are being closed.
const CONNECTIONS_MAX: usize = 8;
/// How long the status of an adopted process is waited for after its end.
const STATUS_TIME_MAX: Duration = Duration::from_secs(2);
/// How often a launcher without a node looks whether its directory is still there.
const ABANDONED_CHECK: Duration = Duration::from_secs(30);

/// The launcher.
pub(super) struct Server {
    settings: Settings,
    lock: File,
    listener: UnixListener,
    signals: SignalFd,
    table: Table,
    connections: Vec<Connection>,
    next_number: u64,
    kills: Vec<Kill>,
    alone_since: Instant,
    upgrade: Option<(u64, u64, PathBuf)>,
    stop: bool,
}

impl Server {
    pub(super) fn new(
        settings: Settings,
        lock: File,
        listener: UnixListener,
        signals: SignalFd,
        table: Table,
    ) -> Self {
        Self {
            settings,
            lock,
            listener,
            signals,
            table,
            connections: Vec::new(),
            next_number: 0,
            kills: Vec::new(),
            alone_since: Instant::now(),
            upgrade: None,
            stop: false,
        }
    }

    /// Runs until there is nothing left to do for anybody.
    pub(super) fn run(&mut self) -> io::Result<()> {
        // Children may have ended before signals were listened to: while an earlier incarnation replaced itself.
        self.reap();
        let orphans = self.table.orphans();
        self.end_all(orphans);
        while !self.stop {
            let ready = self.wait()?;
            if ready.signals {
                self.take_signals()?;
            }
            for container in ready.ended {
                self.adopted_ended(&container);
            }
            if ready.listener {
                self.accept();
            }
            for number in ready.connections {
                self.serve(number);
            }
            self.progress_kills();
            self.connections.retain(|connection| !connection.closed);
            self.try_upgrade();
            self.check_alone();
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<Ready> {
        let input = PollFlags::POLLIN;
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), input),
            PollFd::new(self.listener.as_fd(), input),
        ];
        for connection in &self.connections {
            let output =
                if connection.has_output() { PollFlags::POLLOUT } else { PollFlags::empty() };
            fds.push(PollFd::new(connection.as_fd(), input | output));
        }
        let adopted: Vec<_> = self.table.adopted().collect();
        for (_, pidfd, ended_at) in &adopted {
            // One that has ended stays readable; what is new of it is the hang-up when it was waited for.
            let events = if ended_at.is_some() { PollFlags::empty() } else { input };
            fds.push(PollFd::new(*pidfd, events));
        }
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        let (served, ends) = fds[2..].split_at(self.connections.len());
        let connections = self.connections.iter().zip(served);
        let now = Instant::now();
        let ended = adopted.iter().zip(ends).filter(|((_, _, ended_at), fd)| {
            is_ready(fd) || ended_at.is_some_and(|at| now >= at + STATUS_TIME_MAX)
        });
        Ok(Ready {
            signals: is_ready(&fds[0]),
            listener: is_ready(&fds[1]),
            connections: connections
                .filter(|(_, fd)| is_ready(fd))
                .map(|(c, _)| c.number)
                .collect(),
            ended: ended.map(|((container, _, _), _)| (*container).clone()).collect(),
        })
    }

    fn timeout(&self) -> PollTimeout {
        let now = Instant::now();
        let status = self.table.adopted().filter_map(|(_, _, ended_at)| ended_at);
        let status = status.map(|at| (at + STATUS_TIME_MAX).saturating_duration_since(now)).min();
        let kill = (!self.kills.is_empty()).then_some(KILL_PAUSE);
        let alone = self.is_alone().then(|| {
            let idle = (self.alone_since + self.settings.idle_exit).saturating_duration_since(now);
            if self.table.is_empty() { idle.min(ABANDONED_CHECK) } else { ABANDONED_CHECK }
        });
        match [status, kill, alone].into_iter().flatten().min() {
            // One more millisecond, because a time that is cut off would make the loop turn until it is over.
            Some(time) => {
                let millis = time.as_millis().saturating_add(1);
                PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        }
    }

    fn is_alone(&self) -> bool {
        !self.connections.iter().any(|connection| connection.welcomed)
    }

    /// Ends a launcher that nobody needs: nothing to hold and nobody connected for a while, or its directory is not
    /// there any more and nothing runs.
    fn check_alone(&mut self) {
        if !self.is_alone() {
            self.alone_since = Instant::now();
            return;
        }
        let alone = self.alone_since.elapsed();
        let nothing_held = self.table.is_empty() && alone >= self.settings.idle_exit;
        let abandoned = !self.table.any_running()
            && alone >= ABANDONED_CHECK.min(self.settings.idle_exit)
            && !entry::holds(&self.settings.directory, &self.lock);
        self.stop |= nothing_held || abandoned;
    }

    fn take_signals(&mut self) -> io::Result<()> {
        while let Some(info) = self.signals.read_signal()? {
            let signal = i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok());
            if signal == Some(Signal::SIGTERM) {
                if self.table.any_running() {
                    log("SIGTERM is ignored while containers run; end them through the node");
                } else {
                    self.stop = true;
                }
            }
        }
        self.reap();
        Ok(())
    }

    /// Takes the status of every child that has ended. Others' orphans fall to us too: they are only waited for.
    fn reap(&mut self) {
        let mut exited = Vec::new();
        while let Ok(Some((pid, code, status))) = sys::peek_ended_child() {
            let status = match code {
                libc::CLD_EXITED => ExitStatus::Code(status),
                _ => ExitStatus::Signal(status),
            };
            if let Some(container) = self.table.child_ended(pid, status.clone()) {
                exited.push((container, status));
            }
            // It has ended, so this returns at once; its status is known already.
            waitpid(Pid::from_raw(pid.cast_signed()), Some(WaitPidFlag::WNOHANG)).ok();
        }
        if exited.is_empty() {
            return;
        }
        for (container, status) in &exited {
            self.announce(container, status);
            let insiders = self.table.insiders(container);
            self.end_all(insiders);
        }
        self.sweep(exited.iter().map(|(container, _)| container));
    }

    fn adopted_ended(&mut self, container: &ContainerId) {
        if let Some(status) = self.table.adopted_ended(container, STATUS_TIME_MAX) {
            self.announce(container, &status);
            if let Some(entry) = self.table.get(container) {
                // An error leaves it to the release, which kills again and tells.
                drop(entry.tracker.kill(entry.pid));
            }
            let insiders = self.table.insiders(container);
            self.end_all(insiders);
        }
    }

    /// Kills what containers that have just ended left behind outside their process group, and learns of most that they
    /// left nothing, without looking at every process of the machine: whatever a container leaves is our child now, or
    /// a child's child.
    fn sweep<'a>(&mut self, exited: impl Iterator<Item = &'a ContainerId>) {
        let mut strangers = None;
        for id in exited {
            let Some(container) = self.table.get(id) else { continue };
            if !container.leftovers || matches!(container.tracker, Tracker::Cgroup(_)) {
                continue;
            }
            let pid = container.pid;
            let table = &self.table;
            let strangers = *strangers.get_or_insert_with(|| {
                process::own_children()
                    .is_none_or(|pids| pids.iter().any(|pid| !table.is_first(*pid)))
            });
            let group = killpg(Pid::from_raw(pid.cast_signed()), None);
            let left = if strangers || group != Err(nix::errno::Errno::ESRCH) {
                container.tracker.kill(pid).unwrap_or(Remains::Unknown)
            } else {
                Remains::Nothing
            };
            if let Some(container) = self.table.get_mut(id) {
                container.leftovers = left != Remains::Nothing;
            }
        }
    }

    fn announce(&mut self, container: &ContainerId, status: &ExitStatus) {
        let message = Message::Exited { container: container.clone(), status: status.clone() };
        for connection in self.connections.iter_mut().filter(|connection| connection.welcomed) {
            connection.send(&message);
        }
    }

    fn accept(&mut self) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return log(&format!("could not accept a connection: {error}")),
            };
            if self.connections.len() >= CONNECTIONS_MAX {
                // The oldest that has not said hello makes room; the welcomed one stays.
                if let Some(oldest) = self.connections.iter().position(|c| !c.welcomed) {
                    self.connections.remove(oldest);
                }
            }
            self.next_number += 1;
            match Connection::accept(self.next_number, stream) {
                Ok(connection) => self.connections.push(connection),
                Err(error) => log(&format!("refused a connection: {error}")),
            }
        }
    }

    fn connection(&mut self, number: u64) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.number == number)
    }

    fn serve(&mut self, number: u64) {
        let Some(connection) = self.connection(number) else { return };
        connection.flush();
        for request in connection.receive() {
            self.handle(number, request);
        }
    }

    fn reply(&mut self, number: u64, id: u64, answer: Answer) {
        if let Some(connection) = self.connection(number) {
            connection.send(&Message::Reply { id, answer });
        }
    }

    fn handle(&mut self, number: u64, Request { id, call }: Request) {
        let welcomed = self.connection(number).is_some_and(|connection| connection.welcomed);
        if !welcomed {
            return self.hello(number, &call);
        }
        let answer = match call {
            Call::Launch(launch) => self.table.launch(&launch),
            Call::Terminate { container } => self.terminate(&container),
            Call::Destroy { container } => return self.kill(number, id, container, Then::Answer),
            Call::Release { container } => return self.release(number, id, container),
            Call::Upgrade { runtime } => {
                self.upgrade = Some((number, id, PathBuf::from(runtime)));
                return;
            }
            Call::Stop { kill } => return self.stop(number, id, kill),
            Call::Hello { .. } => refusal("say hello twice on one connection"),
            Call::Unknown => refusal("do what it does not know; upgrade the launcher"),
        };
        self.reply(number, id, answer);
    }

    fn hello(&mut self, number: u64, call: &Call) {
        let spoken = match call {
            Call::Hello { versions } => VERSIONS.iter().find(|version| versions.contains(version)),
            _ => None,
        };
        let Some(version) = spoken else {
            let reason = format!(
                "this launcher (release {}) speaks the versions {VERSIONS:?}",
                env!("CARGO_PKG_VERSION")
            );
            if let Some(connection) = self.connection(number) {
                connection.closing = true;
                connection.send(&Message::Refused { reason });
            }
            return;
        };
        // The newest connection is the node that is alive: an older one is of a node that was killed or has lost it.
        for other in self.connections.iter_mut().filter(|connection| connection.welcomed) {
            other.closing = true;
            other.send(&Message::Replaced);
        }
        let welcome = Message::Welcome(Welcome {
            version: *version,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            incarnation: self.settings.incarnation,
            containers: self.table.known(),
        });
        if let Some(connection) = self.connection(number) {
            connection.welcomed = true;
            connection.send(&welcome);
        }
    }

    fn terminate(&mut self, container: &ContainerId) -> Answer {
        match self.table.get(container) {
            Some(entry) => match entry.tracker.terminate(entry.pid) {
                Ok(()) => Answer::Done,
                Err(error) => refusal(&format!("signal the container: {error}")),
            },
            None => Answer::Done,
        }
    }

    fn release(&mut self, number: u64, id: u64, container: ContainerId) {
        let answer = match self.table.get(&container) {
            None => Answer::Done,
            Some(entry) if !matches!(entry.state, State::Exited(_)) => {
                refusal("forget a container whose first process runs")
            }
            Some(_) => return self.kill(number, id, container, Then::Forget),
        };
        self.reply(number, id, answer);
    }

    /// Becomes another binary in place: same pid, same children, same lock, same socket. The records on disk are the state
    /// that is handed over; what they do not hold is asked for again by the node when it reconnects.
    fn try_upgrade(&mut self) {
        let Some((number, id, runtime)) = self.upgrade.take() else { return };
        log(&format!("becoming {runtime:?}"));
        let error = entry::become_runtime(&runtime, &self.settings, &self.lock, &self.listener);
        let answer = refusal(&format!("execute {runtime:?}: {error}"));
        self.reply(number, id, answer);
    }
}

/// What there is to do.
struct Ready {
    signals: bool,
    listener: bool,
    connections: Vec<u64>,
    ended: Vec<ContainerId>,
}

fn refusal(reason: &str) -> Answer {
    Answer::Failed { kind: FailureKind::Other, reason: format!("could not {reason}") }
}
