//! A whole cluster inside one thread, under simulated time and a simulated network.
//!
//! The real master, registry, allocator and agents run here; around them everything is a model that
//! deals out faults by the dice: the raft group and gossip, disks, launchers, streams, gateways and
//! frameworks. One seed decides everything, so a run that breaks an invariant is replayed from its
//! seed: `meshos-sim --seed N`.
//!
//! | module | what it models |
//! | --- | --- |
//! | [`world`] | everything that exists, and what happens next |
//! | [`node`], [`disk`], [`launcher`] | a machine: what a crash loses and what it does not |
//! | [`raft`], [`leader`] | elections, leases, commits, the master's surroundings |
//! | [`net`], `echoes` | streams and partitions, and what is said twice |
//! | [`gateway`], [`driver`] | a framework's way to the leader, and the framework |
//! | [`reservations`] | what frameworks reserve, and what is sure of it |
//! | [`volumes`] | the directories of volumes |
//! | [`wishes`] | what frameworks say of the offers they want |
//! | `probes` | which tasks have checks, and what these find |
//! | [`places`], [`releases`] | where machines stand, and what voters run |
//! | [`faults`], [`operators`] | what goes wrong, and what operators change |
//! | [`oracle`], [`invariants`] | what really happened, and the rules it is held against |
//! | [`run`] | the phases of a run |
//! | [`week`] | the allocator alone, in days of synthetic life |

pub mod agenda;
mod answers;
mod choices;
pub mod dice;
pub mod disk;
pub mod driver;
mod echoes;
mod executors;
pub mod faults;
pub mod gateway;
mod groups;
pub mod invariants;
pub mod launcher;
pub mod leader;
pub mod maintenance;
pub mod net;
pub mod node;
pub mod operators;
pub mod oracle;
pub mod places;
mod probes;
pub mod raft;
pub mod releases;
pub mod reservations;
pub mod run;
pub mod setup;
pub mod trace;
pub mod volumes;
pub mod week;
pub mod wishes;
pub mod world;
