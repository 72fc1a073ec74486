//! Runs the tests of the example's delay scheduling: those of examples are not run by themselves.

#[path = "../examples/wordcount/placement.rs"]
mod placement;
