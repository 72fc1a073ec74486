//! One task on its agent.

use std::{sync::Arc, time::Duration};

use meshos_protocol::{
    ids::{FrameworkId, TaskId, UpdateId},
    task::{Reason, StatusUpdate, TaskReport, TaskState},
};

use super::{TaskRecord, WriteId, checks::found_by_checks};

/// Names a task on its agent: task ids are unique only within their framework.
pub(super) type TaskKey = (FrameworkId, TaskId);

/// Where a task is between the instruction to launch it and its last acknowledgement.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// The launch is being written; nothing has been started.
    Recording {
        /// Durable when the container may start.
        write: WriteId,
    },
    /// The launch is on disk; the task waits for its executor to be there.
    Queued,
    /// The container is being prepared and started.
    Starting,
    /// The container runs; or the task was handed to its executor, which may not have told of it yet.
    Running {
        /// Its first process.
        pid: Option<u32>,
    },
    /// The container has been told to end.
    Killing {
        /// Its first process, when it has one.
        pid: Option<u32>,
    },
    /// The task is over; nobody is told before that is on disk.
    Ending {
        /// Durable when the end may be told.
        write: WriteId,
        /// What will be told.
        terminal: Box<StatusUpdate>,
    },
    /// The task is over, on disk, and its framework has yet to acknowledge that.
    Ended,
    /// Nobody needs the task any more; its record is being removed.
    Forgetting {
        /// Durable when the task is forgotten.
        write: WriteId,
        /// Tells the leader that the resources are free, when nobody acknowledged an end.
        farewell: Option<TaskState>,
    },
}

/// Why nobody waits for a task's updates any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abandoned {
    /// Its framework has ended; the leader only needs to know when the resources are free.
    FrameworkClosed,
    /// It belongs to an agent id that has ended.
    AgentGone,
}

/// One task.
#[derive(Debug, Clone)]
pub(super) struct Task {
    /// What is or will be on disk; what may be told. Shared with views.
    pub(super) record: Arc<TaskRecord>,
    pub(super) phase: Phase,
    /// Set when nobody waits for its updates.
    pub(super) abandoned: Option<Abandoned>,
    /// Told in the update when it ends by a kill.
    pub(super) kill_reason: Option<Reason>,
    /// Whether a container was ever asked for, so that the launcher may have to forget it.
    pub(super) contained: bool,
    /// How long to wait for the next acknowledgement.
    pub(super) retry: Duration,
    /// The first update of its executor for which there was no room: those after it must wait for it.
    pub(super) put_off: Option<UpdateId>,
}

impl Task {
    pub(super) fn new(record: TaskRecord, phase: Phase, retry: Duration) -> Self {
        Self {
            record: Arc::new(record),
            phase,
            abandoned: None,
            kill_reason: None,
            contained: false,
            retry,
            put_off: None,
        }
    }

    pub(super) fn key(&self) -> TaskKey {
        (self.record.framework, self.record.launch.description.task_id.clone())
    }

    /// The record, to be changed; views that hold it keep what they saw.
    pub(super) fn record_mut(&mut self) -> &mut TaskRecord {
        Arc::make_mut(&mut self.record)
    }

    /// The oldest update that its framework has not acknowledged.
    pub(super) fn head(&self) -> Option<&StatusUpdate> {
        self.record.unacknowledged.first()
    }

    /// Whether it can still change its state: it is not over, as far as the agent knows.
    pub(super) fn is_live(&self) -> bool {
        match self.phase {
            Phase::Recording { .. }
            | Phase::Queued
            | Phase::Starting
            | Phase::Running { .. }
            | Phase::Killing { .. } => true,
            Phase::Ending { .. } | Phase::Ended | Phase::Forgetting { .. } => false,
        }
    }

    /// Whether its resources are still taken, as far as anyone was told.
    pub(super) fn holds_resources(&self) -> bool {
        self.is_live() || matches!(self.phase, Phase::Ending { .. })
    }

    /// The task as a registration tells it; nothing once it is being forgotten.
    pub(super) fn report(&self) -> Option<TaskReport> {
        if matches!(self.phase, Phase::Forgetting { .. }) {
            return None;
        }
        let (healthy, check_status) = found_by_checks(&self.record);
        Some(TaskReport {
            framework: self.record.framework,
            launch: self.record.launch.clone(),
            state: self.record.state,
            unacknowledged: self.record.unacknowledged.clone(),
            launched_at: Some(self.record.launched_at),
            started_at: self.record.started_at,
            healthy,
            check_status,
        })
    }
}
