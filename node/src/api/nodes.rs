//! Nodes, frameworks and offers as rows of JSON.

use std::sync::Arc;

use meshos_control::master::{AgentView, FrameworkView, OfferView, View};
use meshos_membership::view::ClusterView;
use serde::Serialize;

/// A node: the agent as the leader has it, and beside the maps the text forms.
#[derive(Debug, Serialize)]
pub(super) struct NodeRow {
    #[serde(flatten)]
    agent: AgentView,
    resources_text: String,
    attributes_text: String,
    /// What gossip says of the node, a hint; absent when it has not heard of it.
    gossip_alive: Option<bool>,
}

/// All nodes, in the order of their ids.
pub(super) fn rows<'a>(
    agents: impl Iterator<Item = &'a Arc<AgentView>>,
    gossip: &ClusterView,
) -> Vec<NodeRow> {
    let mut rows: Vec<NodeRow> = agents.map(|agent| row(agent, gossip)).collect();
    rows.sort_unstable_by_key(|row| row.agent.id);
    rows
}

fn row(agent: &AgentView, gossip: &ClusterView) -> NodeRow {
    let mut agent = agent.clone();
    let peer = gossip.peers.get(&agent.id);
    // Until it registers with this leader, an agent's facts are only what gossip has heard.
    if agent.address.is_empty()
        && let Some(facts) = peer.map(|peer| &peer.facts)
    {
        agent.address = facts.address_http.to_string();
        agent.agent_address = facts.address_agent_http.to_string();
        agent.version.clone_from(&facts.version);
        agent.resources = facts.resources.parse().unwrap_or_default();
        agent.attributes = facts.attributes.parse().unwrap_or_default();
    }
    let gossip_alive = if agent.leader { Some(true) } else { peer.map(|peer| peer.alive) };
    NodeRow {
        resources_text: agent.resources.to_string(),
        attributes_text: agent.attributes.to_string(),
        agent,
        gossip_alive,
    }
}

/// All frameworks in the order of their ids, those that have ended too.
pub(super) fn frameworks(view: &View) -> Vec<Arc<FrameworkView>> {
    let all = view.frameworks.iter().chain(view.frameworks_closed.iter());
    let mut rows: Vec<Arc<FrameworkView>> = all.cloned().collect();
    rows.sort_unstable_by_key(|row| row.id);
    rows
}

/// The open offers in the order of their ids.
pub(super) fn offers(view: &View) -> Vec<Arc<OfferView>> {
    let mut rows: Vec<Arc<OfferView>> = view.offers.iter().cloned().collect();
    rows.sort_unstable_by_key(|row| row.id);
    rows
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use meshos_control::master::NodeState;
    use meshos_membership::view::{Health, NodeFacts, Peer};
    use meshos_protocol::ids::{AgentId, Generation, NodeId};

    use super::*;

    fn agent(bits: u64, address: &str) -> Arc<AgentView> {
        let id = NodeId::from_bits(bits);
        Arc::new(AgentView {
            id,
            agent_id: AgentId::new(id, 1),
            hostname: String::new(),
            address: address.to_owned(),
            agent_address: String::new(),
            pid: 7,
            version: String::new(),
            resources: "cpus:2;mem:1024;ports:[1-5]".parse().unwrap(),
            used: "cpus:0.5".parse().unwrap(),
            offered: Default::default(),
            attributes: "rack:abc".parse().unwrap(),
            state: NodeState::Active,
            since: None,
            connected: true,
            leader: bits == 1,
            tasks: 0,
        })
    }

    fn gossip_of(bits: u64) -> ClusterView {
        let address: SocketAddr = "127.0.0.1:6000".parse().unwrap();
        let facts = NodeFacts {
            address_http: address,
            address_agent_http: address,
            address_quic: address,
            resources: "cpus:8;mem:64".to_owned(),
            attributes: String::new(),
            version: "9.9.9".to_owned(),
            roles: String::new(),
            health: Health::default(),
        };
        let node_id = NodeId::from_bits(bits);
        let peer = Peer {
            node_id,
            generation: Generation(1),
            address_gossip: address,
            facts,
            alive: false,
            leader_claim: None,
        };
        ClusterView { peers: [(node_id, peer)].into(), ..ClusterView::default() }
    }

    #[test]
    fn a_node_is_one_flat_object_with_what_scripts_rely_on() {
        let rows = rows([agent(2, "h:2"), agent(1, "h:1")].iter(), &ClusterView::default());
        let rows = serde_json::to_value(rows).unwrap();
        let first = &rows[0];
        assert_eq!(first["id"], NodeId::from_bits(1).to_string());
        assert_eq!(first["address"], "h:1");
        assert_eq!(first["state"], "active");
        assert_eq!(first["leader"], true);
        assert_eq!(first["pid"], 7);
        assert_eq!(first["resources"]["cpus"], 2);
        assert_eq!(first["resources"]["ports"], "[1-5]");
        assert_eq!(first["resources_text"], "cpus:2;mem:1024;ports:[1-5]");
        assert_eq!(first["used"]["cpus"], 0.5);
        assert_eq!(first["attributes"]["rack"], "abc");
        assert_eq!(rows[1]["id"], NodeId::from_bits(2).to_string());
        assert_eq!(rows[1]["gossip_alive"], serde_json::Value::Null);
    }

    #[test]
    fn gossip_fills_in_what_an_agent_has_not_yet_registered() {
        let rows = rows([agent(3, "")].iter(), &gossip_of(3));
        assert_eq!(rows[0].agent.address, "127.0.0.1:6000");
        assert_eq!(rows[0].agent.version, "9.9.9");
        assert_eq!(rows[0].resources_text, "cpus:8;mem:64");
        assert_eq!(rows[0].gossip_alive, Some(false));
    }
}
