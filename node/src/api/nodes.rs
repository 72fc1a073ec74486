//! Nodes, frameworks and offers as rows of JSON.

use std::sync::Arc;

use meshos_control::master::{AgentView, FrameworkView, NodeState, OfferView, View};
use meshos_membership::view::{ClusterView, Health, NodeFacts};
use serde_json::{Value, json};

use super::call::Failure;
use crate::config::NodeOptions;

/// All nodes, in the order of their ids: each the agent as the leader has it, and beside the maps
/// the text forms. `own` are the options of this node and what it says of itself, which gossip does
/// not tell it.
pub(super) fn rows<'a>(
    agents: impl Iterator<Item = &'a Arc<AgentView>>,
    gossip: &ClusterView,
    own: (&NodeOptions, &NodeFacts),
) -> Result<Vec<Value>, Failure> {
    let mut agents: Vec<&Arc<AgentView>> = agents.collect();
    agents.sort_unstable_by_key(|agent| agent.id);
    agents.into_iter().map(|agent| row(agent, gossip, own)).collect()
}

/// The agent as it is shown: until it registers with this leader, with what gossip has heard of it.
pub(super) fn shown(agent: &AgentView, gossip: &ClusterView, own: &NodeOptions) -> AgentView {
    let mut agent = agent.clone();
    let registered = !agent.address.is_empty();
    if !registered && agent.leader {
        fill_in_own(&mut agent, own);
    } else if !registered && let Some(peer) = gossip.peers.get(&agent.id) {
        fill_in(&mut agent, &peer.facts);
    }
    agent
}

fn row(
    agent: &AgentView,
    gossip: &ClusterView,
    (own, own_facts): (&NodeOptions, &NodeFacts),
) -> Result<Value, Failure> {
    let peer = gossip.peers.get(&agent.id);
    let agent = shown(agent, gossip, own);
    let facts = if agent.leader { Some(own_facts) } else { peer.map(|peer| &peer.facts) };
    let gossip_alive = if agent.leader { Some(true) } else { peer.map(|peer| peer.alive) };
    let mut row = serde_json::to_value(&agent)
        .map_err(|error| Failure::unavailable(format!("a node cannot be shown: {error}")))?;
    let (state, hold) = state_and_hold(agent.state);
    (row["state"], row["hold"]) = (json!(state), json!(hold));
    row["resources_text"] = agent.resources.to_string().into();
    row["attributes_text"] = agent.attributes.to_string().into();
    // What gossip says of the node, a hint; null when it has not heard of it.
    row["gossip_alive"] = gossip_alive.into();
    row["roles"] = facts.map_or_else(Vec::new, |facts| roles(&facts.roles)).into();
    row["health"] = facts.map_or(Value::Null, |facts| health(facts.health));
    if agent.pid == 0 {
        // Not a number that somebody might send a signal to.
        row["pid"] = Value::Null;
    }
    Ok(row)
}

/// The state in one of the four words that scripts know, and what an operator did to the node where that says more: one that
/// was emptied or is deactivated takes no new tasks, as one that drains.
pub(super) const fn state_and_hold(state: NodeState) -> (&'static str, Option<&'static str>) {
    match state {
        NodeState::Active => ("active", None),
        NodeState::Draining => ("draining", None),
        NodeState::Drained => ("draining", Some("drained")),
        NodeState::Deactivated => ("draining", Some("deactivated")),
        NodeState::Unreachable => ("unreachable", None),
        NodeState::Gone => ("gone", None),
    }
}

fn roles(text: &str) -> Vec<&str> {
    text.split(',').filter(|role| !role.is_empty()).collect()
}

fn health(health: Health) -> Value {
    let share = |thousandths: u16| f64::from(thousandths) / 1_000.0;
    json!({
        "load": f64::from(health.load_thousandths) / 1_000.0,
        "memory_pressure": share(health.memory_pressure_thousandths),
        "disk_pressure": share(health.disk_pressure_thousandths),
        "draining": health.draining,
    })
}

fn fill_in(agent: &mut AgentView, facts: &NodeFacts) {
    agent.hostname.clone_from(&facts.hostname);
    agent.address = facts.address_http.to_string();
    agent.agent_address = facts.address_agent_http.to_string();
    agent.version.clone_from(&facts.version);
    agent.resources = facts.resources.parse().unwrap_or_default();
    agent.attributes = facts.attributes.parse().unwrap_or_default();
}

fn fill_in_own(agent: &mut AgentView, own: &NodeOptions) {
    agent.hostname.clone_from(&own.hostname);
    agent.address = own.http_address().to_string();
    agent.agent_address = own.agent_address().to_string();
    agent.pid = std::process::id();
    env!("CARGO_PKG_VERSION").clone_into(&mut agent.version);
    agent.resources = own.resources.clone();
    agent.attributes = own.attributes.clone();
    agent.domain.clone_from(&own.domain);
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
pub(super) mod tests {
    use std::{net::SocketAddr, time::Duration};

    use meshos_membership::view::Peer;
    use meshos_protocol::{
        attributes::Attributes,
        ids::{AgentId, Generation, NodeId},
    };

    use super::*;
    use crate::config::{KeySource, Times};

    pub(in crate::api) fn agent(bits: u64, address: &str) -> Arc<AgentView> {
        let id = NodeId::from_bits(bits);
        Arc::new(AgentView {
            id,
            agent_id: AgentId::new(id, 1),
            hostname: String::new(),
            address: address.to_owned(),
            agent_address: String::new(),
            pid: if address.is_empty() { 0 } else { 7 },
            version: String::new(),
            resources: "cpus:2;mem:1024;ports:[1-5]".parse().unwrap(),
            used: "cpus:0.5".parse().unwrap(),
            offered: Default::default(),
            attributes: "rack:abc".parse().unwrap(),
            domain: Some("eu/a".parse().unwrap()),
            state: NodeState::Active,
            since: None,
            registered_at: None,
            reregistered_at: None,
            connected: true,
            leader: bits == 1,
            tasks: 0,
            drain: None,
        })
    }

    pub(in crate::api) fn own() -> NodeOptions {
        let second = Duration::from_secs(1);
        NodeOptions {
            data_dir: "/d".into(),
            keys: KeySource::JoinToken(String::new()),
            listen: "0.0.0.0:5050".parse().unwrap(),
            agent_listen: "0.0.0.0:5051".parse().unwrap(),
            zk_listen: None,
            advertise: "10.0.0.7".parse().unwrap(),
            hostname: "own".to_owned(),
            seeds: Vec::new(),
            resources: "cpus:1;mem:32".parse().unwrap(),
            attributes: Attributes::default(),
            domain: None,
            isolation: Vec::new(),
            cpu_quota: false,
            task_pids_max: None,
            allow_root_tasks: false,
            open_http: false,
            http_principals: None,
            stop_tasks: false,
            replace_voters_after: None,
            snapshot_every_entries: 5_000,
            record_events: 0,
            nodes_max: 250,
            times: Times {
                factor: 1,
                gossip: second,
                agent_timeout: second,
                agent_timeout_when_dead: second,
                reconnect_grace: second,
                offer_timeout: second,
            },
            executor_times: crate::config::ExecutorTimes {
                registration: second,
                recovery: second,
                shutdown: second,
            },
            sandbox_rule: meshos_isolation::garbage::Rule { delay: second, headroom: 0 },
            sharing: crate::config::Sharing::default(),
        }
    }

    fn facts(roles: &str, load_thousandths: u32) -> NodeFacts {
        let address: SocketAddr = "127.0.0.1:6000".parse().unwrap();
        NodeFacts {
            address_http: address,
            address_agent_http: address,
            address_quic: address,
            hostname: "lab".to_owned(),
            resources: "cpus:8;mem:64".to_owned(),
            attributes: String::new(),
            version: "9.9.9".to_owned(),
            registry_level: 1,
            roles: roles.to_owned(),
            health: Health { load_thousandths, disk_pressure_thousandths: 20, ..Health::default() },
            cluster: None,
        }
    }

    fn gossip_of(bits: u64) -> ClusterView {
        let node_id = NodeId::from_bits(bits);
        let peer = Peer {
            node_id,
            generation: Generation(1),
            address_gossip: "127.0.0.1:6000".parse().unwrap(),
            facts: facts("agent", 500),
            alive: false,
            leader_claim: None,
        };
        ClusterView { peers: [(node_id, peer)].into(), ..ClusterView::default() }
    }

    #[test]
    fn a_node_is_one_flat_object_with_what_scripts_rely_on() {
        let agents = [agent(2, "h:2"), agent(1, "h:1")];
        let rows =
            rows(agents.iter(), &ClusterView::default(), (&own(), &facts("agent,voter", 2_250)))
                .unwrap();
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
        assert_eq!(first["domain"], json!({"region": "eu", "zone": "a"}));
        assert_eq!(rows[1]["id"], NodeId::from_bits(2).to_string());
        assert_eq!(rows[1]["gossip_alive"], Value::Null);
        assert_eq!(first["roles"], json!(["agent", "voter"]), "the leader's own");
        assert_eq!(first["health"]["load"], 2.25);
        assert_eq!(first["health"]["disk_pressure"], 0.02);
        assert_eq!(first["health"]["draining"], false);
        assert_eq!((&rows[1]["roles"], &rows[1]["health"]), (&json!([]), &Value::Null));
    }

    #[test]
    fn a_state_is_one_of_the_four_words_that_scripts_know() {
        let states = [
            (NodeState::Active, "active", Value::Null),
            (NodeState::Draining, "draining", Value::Null),
            (NodeState::Drained, "draining", json!("drained")),
            (NodeState::Deactivated, "draining", json!("deactivated")),
            (NodeState::Unreachable, "unreachable", Value::Null),
            (NodeState::Gone, "gone", Value::Null),
        ];
        for (state, told, hold) in states {
            let node = Arc::new(AgentView { state, ..agent(2, "h:2").as_ref().clone() });
            let own = (&own(), &facts("agent", 0));
            let rows = rows([node].iter(), &ClusterView::default(), own).unwrap();
            assert_eq!((&rows[0]["state"], &rows[0]["hold"]), (&json!(told), &hold));
        }
    }

    #[test]
    fn gossip_fills_in_what_an_agent_has_not_yet_registered() {
        let rows = rows(
            [agent(3, ""), agent(1, "")].iter(),
            &gossip_of(3),
            (&own(), &facts("agent,voter", 0)),
        )
        .unwrap();
        assert_eq!(rows[1]["address"], "127.0.0.1:6000");
        assert_eq!(rows[1]["hostname"], "lab");
        assert_eq!(rows[1]["version"], "9.9.9");
        assert_eq!(rows[1]["resources_text"], "cpus:8;mem:64");
        assert_eq!(rows[1]["pid"], Value::Null);
        assert_eq!(rows[1]["gossip_alive"], false);
        assert_eq!(
            (&rows[1]["roles"], &rows[1]["health"]["load"]),
            (&json!(["agent"]), &json!(0.5))
        );
        assert_eq!(rows[0]["address"], "10.0.0.7:5050");
        assert_eq!(rows[0]["agent_address"], "10.0.0.7:5051");
        assert_eq!(rows[0]["pid"], std::process::id());
    }
}
