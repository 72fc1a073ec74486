//! Everything that can happen to an agent.

use meshos_protocol::{
    ids::{ContainerId, Fence, OperationUuid},
    messages::{agent::ToAgentFrame, executor::Call as ExecutorCall},
    task::{Exit, Reason},
};

use super::ProbeOutcome;

/// Numbers the agent's writes; a later one is durable only when all earlier ones are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u64);

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The node follows a (new) leader: a majority of the voters confirmed it and the fence is on
    /// disk. The stream to it is not open yet.
    LeaderConfirmed {
        /// Never lower than an earlier one.
        fence: Fence,
    },
    /// The agent stream to the confirmed leader is open: register.
    Connected,
    /// The agent stream is closed.
    Disconnected,
    /// The leader said something.
    Message(ToAgentFrame),
    /// A write is on disk, and all before it.
    Persisted(WriteId),
    /// The disk refuses writes: nothing that depends on later writes may happen.
    StorageFailed {
        /// Why, for people.
        why: String,
    },
    /// A container's process runs.
    ContainerStarted {
        /// Which.
        container: ContainerId,
        /// Its first process.
        pid: u32,
    },
    /// A container could not be started; nothing of it runs.
    ContainerFailed {
        /// Which.
        container: ContainerId,
        /// Why, by name.
        reason: Reason,
        /// Why, a sentence.
        message: String,
    },
    /// A container's first process is over, and everything else in it with it.
    ContainerExited {
        /// Which.
        container: ContainerId,
        /// How.
        exit: Exit,
        /// Set when a limit ended it: the reason and a sentence.
        limitation: Option<(Reason, String)>,
    },
    /// A probe is over, or was not begun. Of one that ran as a command [`Event::ContainerExited`] tells instead.
    ProbeEnded {
        /// Which.
        probe: ContainerId,
        /// What it found.
        outcome: ProbeOutcome,
    },
    /// An executor said something over its socket. The shell has checked that whoever said it holds the
    /// token of the container and runs as its user; the token is not passed on.
    ExecutorCalled {
        /// Its container.
        container: ContainerId,
        /// What.
        call: ExecutorCall,
    },
    /// The connection of an executor that spoke last is closed.
    ExecutorDisconnected {
        /// Its container.
        container: ContainerId,
    },
    /// The directories of the volumes that an operation made are there, or cannot be made.
    VolumesMade {
        /// Which operation.
        operation: OperationUuid,
        /// Why not, for people.
        failure: Option<String>,
    },
    /// A destroyed volume's directory is gone.
    VolumeRemoved {
        /// Its name.
        directory: String,
    },
    /// The node is being stopped together with its tasks.
    StopTasks,
    /// The deadline of `next_deadline` has come.
    Tick,
}

/// One container as the launcher knows it when the agent starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundContainer {
    /// Which.
    pub container: ContainerId,
    /// Absent while it runs.
    pub ended: Option<(Exit, Option<(Reason, String)>)>,
    /// Its first process, while it runs.
    pub pid: Option<u32>,
}
