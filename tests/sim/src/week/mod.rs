//! Synthetic cluster life: services, batch work and short interactive tasks of many frameworks on a
//! tenth of a real GPU cluster, shared by the allocator alone. `meshos-sim --days N` plays it under
//! each policy.
//!
//! The numbers are those that have been published of such clusters: machines, sizes of tasks and
//! how they spread from Alibaba's GPU cluster of 2023 (cluster-trace-gpu-v2023), arrivals and run
//! times of work without a deadline from Google in 2019, short tasks from Azure Functions.
//! Distributions are tables of quantiles, so that the same seed gives the same life on every machine.

mod cluster;
mod framework;
mod report;
mod workload;

pub use cluster::{Cluster, DAY_S};
pub use report::{Report, Waits};
