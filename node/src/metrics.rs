//! What a node tells Prometheus.
//!
//! Most of it is drawn from pictures that the node has anyway, at the moment it is asked for: the
//! master's and the agent's loops do nothing for it, and what is gone leaves no row behind. What
//! must be gathered as it happens (durations, requests) is kept between the scrapes.

mod canvas;
mod catalogue;
mod exporter;
mod latency;
mod master;
mod parts;
mod process;

pub(crate) use exporter::{Metrics, Sources};

#[cfg(test)]
mod tests;
