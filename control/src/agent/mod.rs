//! The agent: the half of a node that runs tasks, as a state machine.
//!
//! It owns the truth about the tasks of its machine. What the leader asks is written down before it
//! is acted on, what containers do is written down before it is told, and what frameworks must know
//! is told until they acknowledge it. So a crash at any point loses nothing that was promised, and
//! no task starts twice.
//!
//! | module | what it decides |
//! | --- | --- |
//! | `recover` | what became of the recorded tasks while the node was down |
//! | `fit` | whether a node with other resources than before may start |
//! | `register` | the stream to the leader: fence, registration, the end of an agent id |
//! | `launch` | from an instruction to a running container |
//! | `kill` | the way from SIGTERM to SIGKILL |
//! | `end` | how a task ends and is forgotten |
//! | `ends` | which ended tasks are remembered, for the next leader |
//! | `updates` | delivery of status updates: in order, at least once |
//! | `checks` | when tasks are asked whether they are well, and what the answers mean |
//! | `executors` | processes of frameworks that run many tasks: their start, socket and end |
//! | `groups` | tasks that are launched together or not at all |
//! | `operations` | what is reserved here, and which volumes there are |
//! | `storage` | what waits for the disk |

mod checks;
mod config;
mod deadlines;
mod effect;
mod end;
mod ends;
mod event;
mod executors;
mod fit;
mod groups;
mod invariants;
mod kill;
mod launch;
mod operations;
mod overdue;
mod recover;
mod register;
mod state;
mod storage;
mod task;
mod updates;
mod view;
mod volumes;

#[cfg(test)]
mod tests;

pub use checks::{CheckRecord, ProbeOutcome};
pub use config::AgentConfig;
pub use effect::{Change, Effect, RememberedEnd, TaskRecord};
pub use event::{Event, FoundContainer, WriteId};
pub use executors::ExecutorRecord;
pub use fit::Misfit;
pub use operations::{OperationsRecord, TaskVolume, VolumeRecord};
pub use recover::Recovered;
pub use state::Agent;
pub use view::{Counters, ExecutorView, TaskView, View};
pub(crate) use volumes::clashing_volume;
