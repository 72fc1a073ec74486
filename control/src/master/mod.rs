//! The master: the role of the elected node.
//!
//! It knows what every agent has free, offers it to frameworks, hands accepted tasks to agents and
//! passes their updates on. It is a state machine: events and the time go in through
//! [`Master::handle`], wishes come out as [`Effect`]s; the contract is in `docs/architecture.md`.
//!
//! What it holds is soft, except for its copy of the registry: a new leader's master starts from
//! the registry and the hints of its predecessor and learns the rest from the agents as they
//! register. Agents, frameworks, offers and tasks each have a file for their states and others for
//! what moves them: `registration`, `adoption` and `loss` for agents, `subscribe`, `presence`
//! and `framework_update` for frameworks, `accept` and `updates` for tasks. `holds` is about agents
//! that operators hold, `maintenance` about those that will be away. `convert` and `operations` are about
//! reservations and volumes.

mod accept;
mod adoption;
mod agents;
mod calls;
mod config;
mod convert;
mod counters;
mod effect;
mod ended;
mod event;
mod executors;
mod explain;
mod framework_update;
mod frameworks;
mod groups;
mod hints;
mod history;
mod holds;
mod invariants;
mod loss;
mod machine;
mod maintenance;
mod offers;
mod operations;
mod operator;
mod past;
mod presence;
mod proposals;
mod publish;
mod reconcile;
mod registration;
mod releases;
mod state;
mod subscribe;
mod suppression;
mod table;
mod tasks;
mod timers;
mod updates;
mod validate;
mod view;
mod wishes;

pub use config::{MasterConfig, MasterLimits};
pub use counters::{Counters, DropReason, Tally};
pub use effect::Effect;
pub use event::{ConnectionId, Event, OperatorCall};
pub use explain::{
    AgentCounts, AgentObstacle, Circumstances, Explainer, Explanation, FrameworkExplanation,
    NodeExplanation, NotExplained, Obstacle, Question, RoleExplanation, WaitingExplanation,
};
pub use hints::{Hints, HintsCursor, HintsPage, bytes_of};
pub use machine::Master;
pub use operations::{OperationEnd, OperationKind};
pub use operator::WEIGHT_MILLIS_MAX;
pub use releases::VoterRelease;
pub use table::Table;
pub use view::{
    AgentView, AskedView, DrainView, FrameworkDetails, FrameworkState, FrameworkView,
    MaintenanceView, NodeState, OfferView, RoleView, TaskExtras, TaskView, View,
};
pub use wishes::judge_wishes;

#[cfg(test)]
mod tests;
