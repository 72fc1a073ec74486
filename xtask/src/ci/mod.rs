//! `cargo xtask ci`: every check a change must pass, in a fixed order, stopping at the first that fails.

mod report;
mod steps;

pub use steps::run;
