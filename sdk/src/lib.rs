//! What the author of a framework links: a [`Scheduler`] to implement and a [`SchedulerDriver`]
//! that runs it against any node of a cluster.

pub mod wire;
