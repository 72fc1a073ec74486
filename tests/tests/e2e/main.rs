//! End to end: the built binary, real processes, sockets and containers on this machine.

mod common;
mod election;
mod gateways;
mod launchers;
mod lost_machine;
mod restarts;
mod run_command;
mod sharing;
