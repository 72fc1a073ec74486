//! What a driver is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use meshos_protocol::{
    demand::StatedDemand,
    framework::{Capabilities, FrameworkInfo},
    ids::FrameworkId,
    messages::scheduler::CallError,
    role::Role,
    time::millis,
    wishes::OfferWishes,
};

use crate::{Credentials, wire::WireError};

/// How long a framework's tasks outlive its disconnection, unless it says otherwise.
pub(super) const FAILOVER_TIMEOUT: Duration = Duration::from_secs(60);

/// What a driver is told.
#[derive(Debug)]
#[non_exhaustive]
pub struct DriverOptions {
    /// What the framework says of itself: its name, its roles, and what it understands.
    ///
    /// Some resources are offered only to those who say that they can use them:
    ///
    /// ```
    /// # use meshos_sdk::{Credentials, DriverOptions};
    /// # fn example(credentials: Credentials) {
    /// let mut options = DriverOptions::new("trainer", vec!["127.0.0.1:5051".into()], credentials);
    /// let capabilities = &mut options.info.capabilities;
    /// capabilities.gpu_resources = true; // agents with GPUs, which nobody else is offered
    /// capabilities.revocable_resources = true; // what may be taken back at any time
    /// capabilities.shared_resources = true; // volumes that others use at the same time
    /// capabilities.region_aware = true; // agents in other regions than the leader's
    /// capabilities.gang_offers = true; // `SchedulerDriver::request_together`
    /// # }
    /// ```
    pub info: FrameworkInfo,
    /// The id of an earlier run that is to be taken over.
    pub framework: Option<FrameworkId>,
    /// Roles that start without offers.
    pub suppressed_roles: BTreeSet<Role>,
    /// What the framework wishes of all offers, by role: see [`crate::SchedulerDriver::wish`]. It is on record
    /// before the first offer is made in those roles. Without any, earlier wishes stand.
    pub wishes: BTreeMap<Role, OfferWishes>,
    /// What the framework wants from the start, by role, so that its first offers follow it already:
    /// requests as in [`crate::SchedulerDriver::request_resources`], or several things together or not at
    /// all as in [`crate::SchedulerDriver::request_together`], which says that the framework has the
    /// capability `gang_offers`.
    ///
    /// ```
    /// # use meshos_sdk::DriverOptions;
    /// use std::time::Duration;
    /// use meshos_sdk::protocol::{demand::StatedDemand, role::Role, wishes::ResourceRequest};
    ///
    /// # fn example(options: &mut DriverOptions) -> Result<(), Box<dyn std::error::Error>> {
    /// let worker = ResourceRequest::new("cpus:2;mem:1024".parse()?, 10);
    /// options.demand.insert(Role::new("batch")?, vec![worker].into());
    /// let ranks = ResourceRequest::new("cpus:8;mem:4096".parse()?, 16);
    /// let together = StatedDemand::together(vec![ranks], Duration::from_secs(600));
    /// options.demand.insert(Role::new("train")?, together);
    /// # Ok(())
    /// # }
    /// ```
    pub demand: BTreeMap<Role, StatedDemand>,
    /// `host:port` of the QUIC ports of nodes; any will do, and others are tried when one dies.
    pub nodes: Vec<String>,
    /// Who the framework is.
    pub credentials: Credentials,
    /// Updates are acknowledged by the scheduler's own call, not when its callback returns.
    pub explicit_acknowledgements: bool,
}

impl DriverOptions {
    /// A framework of this name in the role `*`, with a fail-over timeout of one minute.
    pub fn new(name: impl Into<String>, nodes: Vec<String>, credentials: Credentials) -> Self {
        let info = FrameworkInfo {
            name: name.into(),
            user: String::new(),
            roles: [Role::default()].into(),
            failover_timeout_ms: millis(FAILOVER_TIMEOUT),
            capabilities: Capabilities::default(),
            hostname: String::new(),
            webui_url: String::new(),
            labels: BTreeMap::new(),
        };
        Self {
            info,
            framework: None,
            suppressed_roles: BTreeSet::new(),
            wishes: BTreeMap::new(),
            demand: BTreeMap::new(),
            nodes,
            credentials,
            explicit_acknowledgements: false,
        }
    }
}

/// Why a driver could not run, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The credentials or the socket cannot be used.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// No node is named.
    #[error("no node is named: give the host:port of the QUIC port of at least one node")]
    NoNodes,
    /// The cluster turned the framework away; trying again unchanged cannot help.
    #[error("the cluster turned the framework away: {}", .0.message)]
    Refused(CallError),
    /// The system refused a socket.
    #[error("cannot open a socket: {0}")]
    Socket(#[from] std::io::Error),
}
