//! End to end: the built binary, real processes, sockets and containers on this machine.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

mod clock;
mod common;
mod containers;
mod disks;
mod draining;
mod election;
mod executors;
mod explain;
mod forming;
mod gateways;
mod groups;
mod history;
mod launchers;
mod leader_kills;
mod lost_machine;
mod mesos;
mod mesos_operator;
mod mesos_reads;
mod mesos_streams;
mod mesos_wants;
mod metrics;
mod operators;
mod partition;
mod peers;
mod pypi_clients;
mod pypi_operator;
mod pypi_zookeeper;
mod rebuilding;
mod recordings;
mod restarts;
mod revocable;
mod run_command;
mod sandboxes;
mod sharing;
mod snapshots;
mod surroundings;
mod told;
mod updates;
mod volumes;
mod voting;
mod wants;
mod wordcount;
