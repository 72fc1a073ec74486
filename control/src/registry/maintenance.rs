//! Which nodes operators plan to take away, and when.

use std::collections::BTreeMap;

use meshos_protocol::{ids::NodeId, maintenance::Unavailability, time::Wall};
use serde::{Deserialize, Serialize};

use super::{Outcome, Registry};

/// The most nodes in windows: as many as a cluster takes in at most.
pub const PLANNED_NODES_MAX: usize = 1_000;
/// The longest host name that is kept: as long as DNS has them.
const HOSTNAME_BYTES_MAX: usize = 255;
/// The longest address that is kept: an IPv6 address with an IPv4 one in it.
const IP_BYTES_MAX: usize = 45;

/// What is planned for a node. A node is in one window at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// When it will be away.
    pub unavailability: Unavailability,
    /// Its host name, so that it can be told while the node is away.
    pub hostname: String,
    /// Its address, for the same reason.
    pub ip: String,
    /// When an operator began the maintenance; absent: it is only planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Wall>,
}

impl Registry {
    /// The nodes in windows, and what is planned for each.
    pub fn maintenance(&self) -> impl ExactSizeIterator<Item = (NodeId, &Planned)> {
        self.maintenance.iter().map(|(node, planned)| (*node, planned))
    }

    /// What is planned for a node.
    pub fn planned(&self, node: NodeId) -> Option<&Planned> {
        self.maintenance.get(&node)
    }

    /// What is planned once this is said, if it can be kept.
    ///
    /// # Errors
    /// A sentence, when it is too much or too long.
    pub fn planned_with(
        &self,
        nodes: &BTreeMap<NodeId, Option<Planned>>,
        replace: bool,
    ) -> Result<BTreeMap<NodeId, Planned>, String> {
        let mut all = if replace { BTreeMap::new() } else { self.maintenance.clone() };
        for (node, planned) in nodes {
            let Some(planned) = planned else {
                all.remove(node);
                continue;
            };
            let Planned { hostname, ip, .. } = planned;
            if hostname.len() > HOSTNAME_BYTES_MAX || ip.len() > IP_BYTES_MAX {
                return Err(format!(
                    "the host name or the address of node {node} is longer than {HOSTNAME_BYTES_MAX} and {IP_BYTES_MAX} bytes"
                ));
            }
            all.insert(*node, planned.clone());
        }
        if all.len() > PLANNED_NODES_MAX {
            return Err(format!(
                "{} nodes would be in maintenance windows, at most {PLANNED_NODES_MAX} can be: clear some first",
                all.len()
            ));
        }
        Ok(all)
    }

    pub(super) fn set_maintenance(
        &mut self,
        nodes: &BTreeMap<NodeId, Option<Planned>>,
        replace: bool,
    ) -> Result<Outcome, String> {
        self.maintenance = self.planned_with(nodes, replace)?;
        Ok(Outcome::Done)
    }

    /// Nothing is planned for a node any more that was given up, or forgotten.
    pub(super) fn forget_plan(&mut self, node: NodeId) {
        self.maintenance.remove(&node);
    }
}

#[cfg(test)]
mod tests {
    use meshos_protocol::ids::{AgentId, ProposalId, Term};

    use super::*;
    use crate::registry::{AgentState, Command, Entry};

    fn applied(registry: &mut Registry, command: Command) -> Outcome {
        let proposal = ProposalId(registry.newest_entry().1.0 + 1);
        registry.apply(&Entry { term: Term(1), proposal, command })
    }

    fn node(number: usize) -> NodeId {
        NodeId::from_bits(u64::try_from(number).unwrap())
    }

    fn at(start: u64) -> Planned {
        let unavailability = Unavailability { start: Wall(start), duration_ms: None };
        Planned { unavailability, hostname: "h".to_owned(), ip: "10.0.0.1".to_owned(), begun: None }
    }

    fn set(
        registry: &mut Registry,
        nodes: impl IntoIterator<Item = (usize, Option<Planned>)>,
        replace: bool,
    ) -> Outcome {
        let nodes = nodes.into_iter().map(|(number, planned)| (node(number), planned)).collect();
        applied(registry, Command::SetMaintenance { nodes, replace })
    }

    fn starts(registry: &Registry) -> Vec<(u64, u64)> {
        let row =
            |(node, planned): (NodeId, &Planned)| (node.bits(), planned.unavailability.start.0);
        registry.maintenance().map(row).collect()
    }

    #[test]
    fn windows_are_set_for_some_nodes_or_for_all_and_outlive_a_snapshot() {
        let mut registry = Registry::new();
        assert_eq!(set(&mut registry, [(1, Some(at(5))), (2, Some(at(6)))], false), Outcome::Done);
        assert_eq!(set(&mut registry, [(2, Some(at(7))), (3, None)], false), Outcome::Done);
        assert_eq!(starts(&registry), [(1, 5), (2, 7)]);
        assert_eq!(set(&mut registry, [(3, Some(at(9)))], true), Outcome::Done);
        assert_eq!(starts(&registry), [(3, 9)]);
        assert_eq!(Registry::from_snapshot(&registry.to_snapshot()).unwrap(), registry);
        assert_eq!(set(&mut registry, [], true), Outcome::Done);
        assert_eq!(starts(&registry), []);
    }

    #[test]
    fn what_is_too_much_changes_nothing() {
        let mut registry = Registry::new();
        let all = || (0..PLANNED_NODES_MAX).map(|number| (number, Some(at(1))));
        assert_eq!(set(&mut registry, all(), false), Outcome::Done);
        let full = registry.maintenance.clone();
        let one_more = set(&mut registry, [(PLANNED_NODES_MAX, Some(at(1)))], false);
        let Outcome::Refused { why } = one_more else { panic!("{one_more:?}") };
        assert_eq!(
            why,
            "1001 nodes would be in maintenance windows, at most 1000 can be: clear some first"
        );
        let long = Planned { hostname: "h".repeat(256), ..at(1) };
        assert!(matches!(set(&mut registry, [(1, Some(long))], true), Outcome::Refused { .. }));
        assert_eq!(registry.maintenance, full);
        // A whole schedule in place of another one counts alone.
        assert_eq!(set(&mut registry, all(), true), Outcome::Done);
    }

    #[test]
    fn a_node_that_is_given_up_is_in_no_window_any_more() {
        let mut registry = Registry::new();
        applied(&mut registry, Command::AdmitAgent { node: node(1) });
        set(&mut registry, [(1, Some(at(5))), (2, Some(at(5)))], false);
        let agent = AgentId::new(node(1), 1);
        applied(
            &mut registry,
            Command::SetAgentState { agent, state: AgentState::Gone { at: Wall(9) } },
        );
        assert_eq!(starts(&registry), [(2, 5)]);
    }
}
