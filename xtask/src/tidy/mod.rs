//! `cargo xtask tidy`: the house rules, executable.
//!
//! Every finding is one line, `file:line: rule: what is wrong; how to fix`. Each rule is a pure function over what was
//! read (text, tokens, `cargo metadata`), so each has tests with a snippet it must refuse and one it must let pass.
//! Exceptions stand in `xtask/tidy-allow.toml`, each with a reason; one that is no longer needed is itself a finding, and
//! a size that was allowed may only fall.

mod allow;
mod attributes;
mod clippy_config;
mod dashboards;
mod debts;
mod finding;
mod layering;
mod licences;
mod links;
mod members;
pub mod metadata;
mod policy;
mod run;
mod rust;
mod shape;
mod size;
mod source;
mod spdx;
mod test_habits;
mod unsafe_code;
mod vocabulary;

pub use finding::Finding;
pub use run::{check, command};
