//! The operator API as it is called: which calls there are, what those that change something ask of the master,
//! and the older endpoints that stand for some of them. What its reading calls are answered with is in [`crate::reads`].

mod agent;
mod call;
mod change;
mod forms;
mod maintenance;
mod operation;
mod shares;
#[cfg(test)]
mod tests;

pub use agent::{AgentCalled, agent_media, read_agent};
pub use call::{Called, Changing, Operating, read};
pub use change::{Caller, Change};
pub use forms::Older;
