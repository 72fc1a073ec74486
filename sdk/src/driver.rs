//! Runs a scheduler against any node of a cluster.

mod asked;
mod connection;
mod core;
mod edge;
mod handle;
mod options;
mod outage;
mod service;
mod wants;

#[cfg(test)]
mod tests;

pub use handle::{SchedulerDriver, Status};
pub use options::{DriverError, DriverOptions};
