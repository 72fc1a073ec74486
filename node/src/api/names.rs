//! Which node somebody means: by its id, its hostname or its address.

use meshos_control::master::{AgentView, NodeState};
use meshos_protocol::ids::{AgentId, FrameworkId, NodeId};

use super::{call::Failure, route};

/// Nodes that are named when a name stands for several.
const NAMED_MAX: usize = 4;

/// The framework of that id, also when it is written as Mesos's API does.
///
/// # Errors
/// When it is no id.
pub(super) fn framework(text: &str) -> Result<FrameworkId, Failure> {
    framework_of_mesos(text).map_or_else(|| route::framework(text), Ok)
}

/// The framework of an id that Mesos's API gave it: `<cluster>-0002` is F2.
pub(crate) fn framework_of_mesos(text: &str) -> Option<FrameworkId> {
    let is_number =
        |digits: &&str| digits.len() >= 4 && digits.bytes().all(|it| it.is_ascii_digit());
    let of_mesos = text.rsplit_once('-').filter(|(cluster, _)| !cluster.is_empty());
    let number = of_mesos.map(|(_, digits)| digits).filter(is_number)?;
    number.parse().ok().map(FrameworkId)
}

/// The id of an agent, also when it is written as Mesos's API does: `<cluster>-S<agent id>`.
fn agent(name: &str) -> Option<AgentId> {
    let of_mesos = name.rsplit_once("-S").filter(|(cluster, _)| !cluster.is_empty());
    of_mesos.map_or(name, |(_, id)| id).parse().ok()
}

/// The node of that id or of that id of its agent, else the only one, not counting those that are gone, of that hostname or
/// address (`host:port` of either of its ports).
///
/// # Errors
/// When there is no such node, or the name stands for several.
pub(super) fn find<'a>(nodes: &'a [AgentView], name: &str) -> Result<&'a AgentView, Failure> {
    if name.is_empty() {
        // A node of which only its record is known has no hostname either.
        return Err(Failure::invalid("no node is named: the name is empty"));
    }
    let (id, agent) = (name.parse::<NodeId>().ok(), agent(name));
    let by_id = |node: &&AgentView| Some(node.id) == id || Some(node.agent_id) == agent;
    if let Some(node) = nodes.iter().find(by_id) {
        return Ok(node);
    }
    let is_meant = |node: &&AgentView| {
        node.state != NodeState::Gone
            && (node.hostname.eq_ignore_ascii_case(name)
                || node.address == name
                || node.agent_address == name)
    };
    let found: Vec<&AgentView> = nodes.iter().filter(is_meant).collect();
    match found[..] {
        [node] => Ok(node),
        [] => Err(Failure::not_found(format!(
            "no node has the id, the hostname or the address {name:?}; `meshos nodes` shows what there is"
        ))),
        _ => {
            let named = found.iter().take(NAMED_MAX);
            let named: Vec<String> =
                named.map(|node| format!("{} at {}", node.id, node.address)).collect();
            let more = if found.len() > NAMED_MAX { ", ..." } else { "" };
            Err(Failure::invalid(format!(
                "{} nodes are called {name:?}: name one by its id or address ({}{more})",
                found.len(),
                named.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Answer, nodes::tests::agent};

    fn node(bits: u64, hostname: &str, state: NodeState) -> AgentView {
        let mut node = AgentView::clone(&agent(bits, &format!("10.0.0.{bits}:5050")));
        node.hostname = hostname.to_owned();
        node.agent_address = format!("10.0.0.{bits}:5051");
        node.state = state;
        node
    }

    #[test]
    fn a_node_is_named_by_what_the_table_shows() {
        let nodes = [
            node(1, "lab", NodeState::Active),
            node(2, "shop", NodeState::Active),
            node(3, "shop", NodeState::Gone),
        ];
        let bits = |name: &str| find(&nodes, name).map(|node| node.id);
        let id = NodeId::from_bits;
        for name in [id(1).to_string().as_str(), "lab", "LAB", "10.0.0.1:5050", "10.0.0.1:5051"] {
            assert_eq!(bits(name).unwrap(), id(1), "{name}");
        }
        // And by the ids of its agent.
        let agent = nodes[0].agent_id;
        let of_mesos = |agent| format!("c0ffee00-1234-4321-8888-123456789abc-S{agent}");
        for name in [agent.to_string(), of_mesos(agent)] {
            assert_eq!(bits(&name).unwrap(), id(1), "{name}");
        }
        // Not by one that it had before.
        let earlier = AgentId::new(agent.node, agent.registration + 1);
        for name in [format!("-S{agent}"), of_mesos(earlier)] {
            assert_eq!(Answer::from(find(&nodes, &name).unwrap_err()).status, 404, "{name}");
        }
        // One that is gone is found by its id alone.
        assert_eq!(bits("shop").unwrap(), id(2));
        assert_eq!(bits(&id(3).to_string()).unwrap(), id(3));
    }

    #[test]
    fn what_is_not_found_and_what_is_not_clear_is_told() {
        let nodes: Vec<AgentView> =
            (1..=6).map(|bits| node(bits, "lab", NodeState::Active)).collect();
        let unknown = find(&nodes, "lob").unwrap_err();
        assert!(unknown.to_string().contains("the address \"lob\"; `meshos nodes`"), "{unknown}");
        assert_eq!(Answer::from(unknown).status, 404);
        let several = find(&nodes, "lab").unwrap_err();
        let told = several.to_string();
        assert!(told.starts_with("6 nodes are called \"lab\": name one by its id"), "{told}");
        assert!(told.ends_with("at 10.0.0.4:5050, ...)"), "{told}");
        assert_eq!(Answer::from(several).status, 400);
        assert_eq!(Answer::from(find(&[], "x").unwrap_err()).status, 404);
    }

    #[test]
    fn nothing_names_a_node_of_which_nothing_is_known() {
        let mut blank = node(1, "", NodeState::Active);
        (blank.address, blank.agent_address) = (String::new(), String::new());
        let refused = find(&[blank], "").unwrap_err();
        assert_eq!(Answer::from(refused).status, 400);
    }
}
