//! `cargo xtask bench`: measurements, each in a file of its own, next to a bare yardstick taken in the same run.
//!
//! Figures are CPU time and ratios where possible: wall-clock time on a busy machine says little. To add a bench, write
//! `bench/NAME.rs` with a `pub const BENCH: Bench` and add it to the list in `index.rs`. A bench of the product
//! gets what it runs from `release`.

pub mod allocator;
pub mod bare;
pub mod cluster;
pub mod cpu;
pub mod dev;
pub mod disk;
pub mod example;
pub mod failover;
pub mod figures;
pub mod folder;
pub mod idle;
mod index;
pub mod instructions;
pub mod launch;
pub mod offers;
pub mod rebuild;
pub mod registry;
pub mod release;
pub mod run;
pub mod writers;

pub use index::{BENCHES, Bench, command};
