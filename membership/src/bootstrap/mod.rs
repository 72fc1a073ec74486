//! How the group of voters forms, without a special command, and never twice.
//!
//! [`Bootstrap`] is a state machine without I/O and without a clock. Every node has one. It asks
//! the seeds what they hold, answers them what this node holds, and decides whether this node
//! begins the group, waits for its log, joins one that exists, or must not start.
//!
//! # Why no second, empty cluster can form
//!
//! The *first* is the first address of the sorted seed list; the list is the same on all seeds or
//! nothing forms. A seed is *empty* while its raft log has neither an entry nor a vote and it
//! knows no cluster id. The rules:
//!
//! 1. Only the first begins a group, only while it is empty, and only when every other seed has
//!    answered, to a probe that this process of the first sent within [`ANSWER_FRESH`], that it is
//!    empty and has the same list. The group's members are the ids in these answers.
//! 2. A seed that answers the first "empty" thereby promises to take raft requests from that node
//!    alone ([`Effect::Admit`]) for the time of [`PROMISE`], which is longer. It makes no other
//!    promise in that time, and a restarted seed makes none until an earlier one has run out.
//!    Later it takes the log from whom a member of a group names.
//! 3. Raft takes entries only for the raft id they were sent to, and a node that lost its data
//!    comes back with another raft id and another node id.
//! 4. Once this process has heard of a group, or this node knows a cluster id, it never begins one.
//!
//! Say a first `F` began the group `G`, and later another first `F'` begins `G'` at the moment
//! `t`. Both have the same address, so the data of `F` is gone. Every other seed said that it was
//! empty shortly before `t`, and by rule 2 it still was at `t`: at that moment nobody had the log
//! of `G`, and what still gives it to a seed after `t` can only be late packets of nodes that are
//! no more. So whoever votes in `G` from `t` on is a voter of `G'` under the same raft id, and has
//! one log only. Two majorities share a voter; hence of `G` and `G'` only one is ever led. If `G`
//! was led before `t`, then all who had its log were wiped before `t`.
//!
//! So while a single seed holds the log of a group that was ever led, no other is: a seed that is
//! dead or late does not answer, and without its answer nothing forms. A cluster's id is the first
//! command that the first leader commits, so a group that is never led has none.
//!
//! What is left: all seeds wiped at once, or all that had the log wiped while those that never had
//! it wait. No seed can then tell the cluster from one that never was. Other nodes can: whoever
//! knows a cluster id spreads it by gossip, and [`Event::ClusterSeen`] stops the forming: a seed that
//! has heard of a cluster begins none, and does not call itself empty to whoever would.

mod machine;
mod seeds;
mod types;
mod wire;

pub use machine::{ANSWER_FRESH, Bootstrap, PROBE_EVERY, PROMISE};
pub use seeds::{SEEDS_MAX, SeedList, SeedListError, own_seed};
pub use types::{Decision, Effect, Event, Own, Refusal, Waiting};
pub use wire::{ProbeAnswer, ProbeRequest, SeedAnswer, SeedVoter};

#[cfg(test)]
mod tests;
