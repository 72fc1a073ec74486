//! API being filled in (signatures are stable; bodies follow within minutes):
//!
//! ```text
//! pub struct Options { pub policy: Box<dyn Policy>, pub filter_max: Duration }   // Default: weighted DRF, 365 days
//! pub struct Grant { pub framework: FrameworkId, pub role: Role, pub agent: AgentId, pub resources: Resources }
//! impl Allocator {
//!   pub fn new(options: Options, seed: u64) -> Self;
//!   pub fn add_agent(&mut self, agent: AgentId, total: Resources, attributes: Attributes, used: &[(FrameworkId, Role, Resources)]);
//!   pub fn update_agent(&mut self, agent: AgentId, total: Resources, attributes: Attributes);
//!   pub fn set_agent_active(&mut self, agent: AgentId, active: bool);      // starts active
//!   pub fn remove_agent(&mut self, agent: AgentId);                         // all it held is forgotten, later recovers are no-ops
//!   pub fn add_framework(&mut self, framework: FrameworkId, roles: &BTreeSet<Role>, suppressed: &BTreeSet<Role>, capabilities: Capabilities); // starts active
//!   pub fn update_framework(&mut self, framework, roles: &BTreeSet<Role>, suppressed: &BTreeSet<Role>, capabilities: Capabilities);
//!   pub fn set_framework_active(&mut self, framework: FrameworkId, active: bool); // inactive: no new offers; open ones stay until recovered
//!   pub fn remove_framework(&mut self, framework: FrameworkId);             // offers taken back; allocated stays until recover_allocated
//!   pub fn suppress(&mut self, framework: FrameworkId, roles: &BTreeSet<Role>);   // empty set = all its roles
//!   pub fn revive(&mut self, framework: FrameworkId, roles: &BTreeSet<Role>);     // also clears its filters; empty set = all its roles
//!   pub fn set_weight(&mut self, role: &Role, weight_millis: u64);          // 1000 = the default, 0 counts as 1
//!   pub fn allocate(&mut self, now: Mono, out: &mut Vec<Grant>);            // grants count as offered at once
//!   pub fn refuse_until(&self, now: Mono, refuse: Duration) -> Option<Mono>; // caps at filter_max; None for zero
//!   pub fn accept(&mut self, agent, framework, role: &Role, offered: &Resources, used: &Resources, refuse_until: Option<Mono>); // offered -> used allocated, rest free (+ filter)
//!   pub fn recover_offered(&mut self, agent, framework, role: &Role, resources: &Resources, refuse_until: Option<Mono>); // None: nothing refused, but others go first on this agent
//!   pub fn add_allocated(&mut self, agent, framework, role: &Role, resources: &Resources);     // adopted task
//!   pub fn recover_allocated(&mut self, agent, framework, role: &Role, resources: &Resources); // task ended
//!   pub fn needs_run(&self) -> bool;
//!   pub fn next_deadline(&self) -> Option<Mono>;
//!   pub fn agent(&self, agent: AgentId) -> Option<AgentState>;  // total, offered, allocated, free (cheap clones), active, offerable
//!   pub fn agents(&self) -> impl Iterator<Item = AgentState>;
//!   pub fn roles(&self) -> Vec<RoleState>;   // role, weight_millis, frameworks, held, offered: ScalarQuantities, share: Share
//!   pub fn total(&self) -> &ScalarQuantities;
//!   pub fn explain(&self, framework: FrameworkId) -> Option<Explanation>;   // serde::Serialize
//!   pub fn check_invariants(&self);
//! }
//! ```
