//! Tests of the master: scenarios told step by step, and random histories.

mod agents;
mod checks;
mod draining;
mod ends;
mod executors;
mod framework_updates;
mod frameworks;
mod groups;
mod hints;
mod history;
mod holds;
mod leaders;
mod maintenance;
mod operations;
mod past;
mod pictures;
mod random;
mod recordings;
mod releases;
mod sharing;
mod tasks;
mod world;
