//! Why a task is in its state.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a task is in its state, by name; stable, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
            /// A reason that this build does not know.
            #[serde(other)]
            Unknown,
        }

        impl Reason {
            /// Every named reason, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The name as printed and as in JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Unknown => "unknown",
                }
            }
        }
    };
}

reasons! {
    /// The process exited with a status other than 0, or a signal ended it.
    CommandFailed = "command_failed",
    /// The command could not be started: not found, not executable, no such user.
    ContainerLaunchFailed = "container_launch_failed",
    /// A URI could not be fetched.
    FetchFailed = "fetch_failed",
    /// The container used more memory than its limit.
    MemoryLimit = "memory_limit",
    /// The process is over and its exit status could not be read.
    ExitStatusUnreadable = "exit_status_unreadable",
    /// The machine was restarted.
    AgentRebooted = "agent_rebooted",
    /// The agent stopped between writing the launch and starting it.
    LaunchInterrupted = "launch_interrupted",
    /// A kill arrived before the task was started.
    KilledDuringLaunch = "killed_during_launch",
    /// The task's framework ended.
    FrameworkRemoved = "framework_removed",
    /// The description breaks a rule.
    TaskInvalid = "task_invalid",
    /// The offer is not open any more, or belongs to someone else.
    InvalidOffers = "invalid_offers",
    /// Somebody else was faster: offers are optimistic, and another accepted the same resources.
    OfferTaken = "offer_taken",
    /// The task needs more than its offers hold.
    ResourcesExceeded = "resources_exceeded",
    /// The agent went away before the launch reached it.
    AgentDisconnected = "agent_disconnected",
    /// The agent has not been heard of for too long.
    AgentUnreachable = "agent_unreachable",
    /// The agent came back.
    AgentReregistered = "agent_reregistered",
    /// The agent came back and does not know the task.
    AgentForgot = "agent_forgot",
    /// An operator declared the agent gone.
    AgentGone = "agent_gone",
    /// The agent's disk refuses writes, so that it cannot take on tasks.
    StorageFailed = "storage_failed",
    /// The agent keeps as many tasks as it may.
    TooManyTasks = "too_many_tasks",
    /// The agent's node was stopped with its tasks.
    AgentStopped = "agent_stopped",
    /// An operator drains the agent's node.
    AgentDraining = "agent_draining",
    /// The task ran for longer than its description allows.
    MaxCompletionTimeReached = "max_completion_time_reached",
    /// The task's health check has found something else than before.
    HealthCheckStatusUpdated = "health_check_status_updated",
    /// The task's health check has failed too often in a row, so the task was killed.
    HealthCheckFailed = "health_check_failed",
    /// The task's check has found something else than before.
    CheckStatusUpdated = "check_status_updated",
    /// The leader changed before the launch was passed on.
    LeaderChanged = "leader_changed",
    /// The task's executor is over.
    ExecutorTerminated = "executor_terminated",
    /// The task's executor did not register in time.
    ExecutorRegistrationTimeout = "executor_registration_timeout",
    /// The task's executor did not come back in time after its agent was lost to it.
    ExecutorReregistrationTimeout = "executor_reregistration_timeout",
    /// The task's group breaks a rule, or one of its tasks does.
    TaskGroupInvalid = "task_group_invalid",
    /// Another task of its group failed or was killed.
    TaskGroupEnded = "task_group_ended",
    /// The agent's release does not know what the task needs.
    AgentTooOld = "agent_too_old",
    /// An answer to a reconciliation.
    Reconciliation = "reconciliation",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
