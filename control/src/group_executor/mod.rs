//! The executor in the box: it runs the tasks of groups as processes, as a state machine.
//!
//! It decides what is started, told and ended. It is handed groups whole; when a task of one has failed or was
//! killed, the others are killed, each with its own time, unless the group says otherwise, as Mesos's default executor
//! does. A task that finishes leaves the others alone. When the executor ends is its agent's to say.

mod effect;
mod event;
mod state;

#[cfg(test)]
mod tests;

pub use effect::Effect;
pub use event::Event;
pub use state::GroupExecutor;
