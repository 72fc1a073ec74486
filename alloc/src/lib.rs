//! The allocator: who is offered which resources.
//!
//! Two-level scheduling splits a decision in two. The allocator decides *how much* each framework
//! is offered, by a [`Policy`] over roles and frameworks; the framework decides *what* it takes.
//! This crate is the first half, with the ledger that makes it safe: per agent, what is offered,
//! allocated and free, which always adds up to what the agent has.
//!
//! The crate is pure: no clock, no I/O, no threads, no floats; all chance comes from a seed. The
//! master calls it as things happen and asks [`Allocator::needs_run`] and
//! [`Allocator::next_deadline`] when to call [`Allocator::allocate`].
//!
//! What makes it fast at ten thousand agents: a run covers only what has changed
//! (`allocator/run.rs`), the order of service is kept sorted and moves one party at a time
//! (`tree.rs`), and filters lie with their agents and are never searched for (`filters.rs`).

#![deny(clippy::float_arithmetic, clippy::wildcard_enum_match_arm, clippy::iter_over_hash_type)]

mod agent;
mod allocator;
mod arena;
pub mod conformance;
mod constraints;
mod decay;
mod demand;
mod explain;
mod filters;
mod membership;
mod min_allocatable;
mod mix;
mod options;
pub mod policy;
mod profile;
mod quota;
mod share;
mod split;
mod tree;

pub use allocator::{
    AgentState, Allocator, ConversionError, Grant, Rescind, RescindCause, RoleState,
    validate_wishes,
};
pub use constraints::WishError;
pub use explain::{
    AgentExplanation, AgentName, Explanation, Figures, Fit, Holder, LimitReached, NearMiss,
    RequestExplanation, RoleExplanation, RoleMember, RoleShare, Shares, SkipRule, TaskExplanation,
    TaskMiss, WholeRole,
};
pub use min_allocatable::{MinAllocatable, MinAllocatableError};
pub use options::{FILTER_MAX, OfferMode, Options};
pub use policy::{ClonePolicy, Measure, Policy, PolicyChoice, PolicyChoiceError};
pub use profile::AgentProfile;
pub use quota::{Quota, QuotaAmounts, QuotaError, QuotaTextError};
pub use share::Share;
pub use split::PartMin;
pub use tree::PastUse;
