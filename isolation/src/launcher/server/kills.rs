//! Emptying containers: for a node that asks for it, or because what they run inside is over.

use std::time::{Duration, Instant};

use super::{Server, refusal};
use crate::container::ContainerId;
use crate::launcher::protocol::Answer;
use crate::launcher::table::State;
use crate::launcher::tree::{Remains, Tracker};

/// How soon a container that is being killed is looked at again. The kernel tells of the end of the first process, but
/// nobody tells of the others'.
pub(super) const KILL_PAUSE: Duration = Duration::from_millis(10);
/// How long everything in a container may take to die before the node is told that it does not.
const KILL_TIME_MAX: Duration = Duration::from_secs(30);
/// Stands for no connection: these are numbered from 1.
const NOBODY: u64 = 0;

/// A container that is being emptied for a node.
pub(super) struct Kill {
    connection: u64,
    request: u64,
    container: ContainerId,
    then: Then,
    deadline: Instant,
    /// It had to be killed, and was not found empty since.
    dying: bool,
}

/// What follows when a container is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Answer,
    Forget,
    Stop,
}

impl Server {
    pub(super) fn kill(
        &mut self,
        connection: u64,
        request: u64,
        container: ContainerId,
        then: Then,
    ) {
        let deadline = Instant::now() + KILL_TIME_MAX;
        self.kills.push(Kill { connection, request, container, then, deadline, dying: false });
    }

    /// Ends containers for nobody who waits for it: those that were started inside one that is over.
    pub(super) fn end_all(&mut self, containers: Vec<ContainerId>) {
        for container in containers {
            self.kill(NOBODY, 0, container, Then::Answer);
        }
    }

    pub(super) fn stop(&mut self, number: u64, id: u64, kill: bool) {
        if self.table.is_empty() {
            self.reply(number, id, Answer::Done);
            self.stop = true;
        } else if kill || !self.table.any_running() {
            // Containers that have ended may have left something that is still dying.
            let all: Vec<_> = self.table.iter().map(|(container, _)| container.clone()).collect();
            for container in all {
                self.kill(number, id, container, Then::Stop);
            }
        } else {
            self.reply(number, id, refusal("stop while containers run"));
        }
    }

    pub(super) fn progress_kills(&mut self) {
        for mut kill in std::mem::take(&mut self.kills) {
            match self.try_kill(&mut kill) {
                None => self.kills.push(kill),
                Some(answer) if kill.then == Then::Stop => self.stopped(&kill, answer),
                Some(answer) => self.reply(kill.connection, kill.request, answer),
            }
        }
    }

    /// One container of those that a stop waits for is empty. The last one answers.
    fn stopped(&mut self, kill: &Kill, answer: Answer) {
        let others = self.kills.iter().any(|other| other.then == Then::Stop);
        if answer != Answer::Done {
            self.kills.retain(|other| other.then != Then::Stop);
            self.reply(kill.connection, kill.request, answer);
        } else if !others && !self.table.any_running() {
            self.reply(kill.connection, kill.request, Answer::Done);
            self.stop = true;
        }
    }

    /// Kills once more; none while something is left.
    fn try_kill(&mut self, kill: &mut Kill) -> Option<Answer> {
        let Some(container) = self.table.get(&kill.container) else { return Some(Answer::Done) };
        let exited = matches!(container.state, State::Exited(_));
        let by_marks = matches!(container.tracker, Tracker::Session { .. });
        let remains = if exited && !container.leftovers {
            Ok(Remains::Nothing)
        } else {
            container.tracker.kill(container.pid)
        };
        match remains {
            // What executes another program at this moment cannot be told by its environment: a second look sees it.
            Ok(Remains::Nothing)
                if by_marks && exited && kill.dying && Instant::now() < kill.deadline =>
            {
                kill.dying = false;
                None
            }
            Ok(Remains::Nothing) if exited => {
                if let Some(container) = self.table.get_mut(&kill.container) {
                    container.leftovers = false;
                }
                Some(self.emptied(kill))
            }
            Err(error) => Some(refusal(&format!("kill everything in the container: {error}"))),
            Ok(_) if Instant::now() >= kill.deadline => Some(refusal(&format!(
                "kill everything in the container within {} s: some of its processes do not end",
                KILL_TIME_MAX.as_secs()
            ))),
            Ok(_) => {
                kill.dying = true;
                None
            }
        }
    }

    fn emptied(&mut self, kill: &Kill) -> Answer {
        if kill.then != Then::Forget {
            return Answer::Done;
        }
        match self.table.remove(&kill.container) {
            Ok(()) => Answer::Done,
            Err(error) => refusal(&format!("remove the record: {error}")),
        }
    }
}
