//! What tools made for Mesos read, written from the leader's picture: the older JSON endpoints.
//!
//! Everything is written row by row while it is sent: of a hundred thousand tasks only the one that is
//! being written has a form of its own.

pub mod agent_calls;
mod agents;
mod amounts;
pub mod events;
pub mod files;
mod frameworks;
mod maintenance;
mod master;
mod metrics;
mod node;
pub mod operator;
mod picture;
mod roles;
mod rows;
mod tasks;
#[cfg(test)]
pub(crate) mod tests;

pub use agents::agents;
pub(crate) use agents::is_deactivated;
pub(crate) use frameworks::capabilities;
pub use frameworks::frameworks;
pub use maintenance::{OlderSchedule, OlderStatus, older_schedule, older_status};
pub use master::{Build, Master, state, summary};
pub use metrics::{Machine, metrics};
pub use node::{ContainerQuery, Node, Sandbox, Usage, running};
pub use picture::Picture;
pub(crate) use roles::has_quota;
pub use roles::{quota, roles, weights};
pub(crate) use rows::name_of;
pub use tasks::{Order, TaskQuery, tasks};
