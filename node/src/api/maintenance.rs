//! Maintenance windows: which nodes will be away, what frameworks said of it, and what operators begin and end. Each change
//! is committed before it is answered.

use std::collections::{BTreeMap, BTreeSet};

use meshos_control::{
    master::{AskedView, MaintenanceView, NodeState, OperatorCall, View},
    registry::{PLANNED_NODES_MAX, Planned},
};
use meshos_mesos::convert::offer::Place;
use meshos_protocol::{
    ids::{AgentId, NodeId},
    maintenance::Unavailability,
    task::KILL_GRACE_MAX_MS,
    time::Wall,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Api, bodies,
    call::{Answer, Call, Failure},
    nodes::state_and_hold,
};

/// Nodes, and when they will be away: in milliseconds since 1970, and for so many.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetBody {
    nodes: Vec<String>,
    start: u64,
    #[serde(default)]
    duration_ms: Option<u64>,
}

/// Nodes, or all that are in windows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClearBody {
    #[serde(default)]
    nodes: Vec<String>,
    #[serde(default)]
    all: bool,
}

/// Nodes, and how their tasks are ended, if they are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartBody {
    nodes: Vec<String>,
    /// The longest time between SIGTERM and SIGKILL; absent: the tasks go on.
    #[serde(default)]
    grace_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StopBody {
    nodes: Vec<String>,
}

/// What operators change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nodes are put into a window.
    Set,
    /// Nodes are taken out of theirs.
    Clear,
    /// Maintenance begins.
    Start,
    /// It ends.
    Stop,
}

impl Change {
    /// As the path names it.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "set" => Self::Set,
            "clear" => Self::Clear,
            "start" => Self::Start,
            "stop" => Self::Stop,
            _ => return None,
        })
    }
}

/// A node in a window, as it is shown.
#[derive(Debug, Serialize)]
struct Row<'a> {
    node_id: NodeId,
    agent_id: Option<AgentId>,
    hostname: &'a str,
    ip: &'a str,
    /// In milliseconds since 1970, as `begun` and `answered_at`.
    start: Wall,
    duration_ms: Option<u64>,
    begun: Option<Wall>,
    /// As `nodes` has them; null for a node that is not on record.
    state: Option<&'static str>,
    hold: Option<&'static str>,
    /// How many tasks it has that have not ended.
    tasks: usize,
    asked: Vec<AskedRow<'a>>,
}

/// What a framework was asked, and what it said.
#[derive(Debug, Serialize)]
struct AskedRow<'a> {
    framework_id: String,
    framework: &'a str,
    /// The inverse offer that it has not answered.
    open: Option<String>,
    /// `accepted` or `declined`: its newest answer.
    answer: Option<&'static str>,
    answered_at: Option<Wall>,
}

/// The nodes in windows, those first that will be away first.
pub(super) fn rows(view: &View) -> Result<Answer, Failure> {
    let mut rows: Vec<&MaintenanceView> = view.maintenance.iter().map(AsRef::as_ref).collect();
    rows.sort_unstable_by_key(|row| (row.start, row.node_id));
    let names: BTreeMap<_, &str> =
        view.frameworks.iter().map(|it| (it.id, it.name.as_str())).collect();
    let asked = |asked: &AskedView| AskedRow {
        framework_id: asked.framework_id.to_string(),
        framework: names.get(&asked.framework_id).copied().unwrap_or_default(),
        open: asked.open.map(|offer| offer.to_string()),
        answer: asked.answer(),
        answered_at: asked.answered_at,
    };
    let shown = |row: &'_ MaintenanceView| -> Result<Value, Failure> {
        let agent = view.agents.iter().find(|agent| agent.id == row.node_id);
        let (state, hold) = agent.map(|agent| state_and_hold(agent.state)).unzip();
        let row = Row {
            node_id: row.node_id,
            agent_id: row.agent_id,
            hostname: &row.hostname,
            ip: &row.ip,
            start: row.start,
            duration_ms: row.duration_ms,
            begun: row.begun,
            state,
            hold: hold.flatten(),
            tasks: agent.map_or(0, |agent| agent.tasks),
            asked: row.asked.iter().map(asked).collect(),
        };
        serde_json::to_value(row)
            .map_err(|error| Failure::unavailable(format!("a node cannot be shown: {error}")))
    };
    let rows: Vec<Value> = rows.into_iter().map(shown).collect::<Result<_, _>>()?;
    Answer::json(&rows)
}

impl Api {
    pub(super) async fn maintain(
        &self,
        change: Change,
        call: &Call,
        view: &View,
    ) -> Result<Answer, Failure> {
        match change {
            Change::Set => self.set_maintenance(call, view).await,
            Change::Clear => self.clear_maintenance(call, view).await,
            Change::Start => self.start_maintenance(call, view).await,
            Change::Stop => self.stop_maintenance(call, view).await,
        }
    }

    async fn set_maintenance(&self, call: &Call, view: &View) -> Result<Answer, Failure> {
        let SetBody { nodes: names, start, duration_ms } = bodies::read(&call.body)?;
        let unavailability = Unavailability { start: Wall(start), duration_ms };
        let mut nodes = BTreeMap::new();
        for name in check(&names)? {
            let node = self.planned_node(view, name)?;
            nodes.insert(node, Some(self.planned(view, node, unavailability)?));
        }
        let ids: Vec<NodeId> = nodes.keys().copied().collect();
        tracing::info!(nodes = ?ids, start, principal = %call.principal, "an operator plans maintenance");
        self.operate(OperatorCall::PlanMaintenance { nodes, replace: false }).await?;
        Answer::json(&json!({ "nodes": ids, "start": start, "duration_ms": duration_ms }))
    }

    async fn clear_maintenance(&self, call: &Call, view: &View) -> Result<Answer, Failure> {
        let ClearBody { nodes: names, all } = bodies::read(&call.body)?;
        if all != names.is_empty() {
            let why = "either nodes are named or all is true, and not both";
            return Err(Failure::invalid(why));
        }
        if !all {
            check(&names)?;
        }
        let mut nodes = BTreeMap::new();
        for name in &names {
            nodes.insert(self.planned_node(view, name)?, None);
        }
        let ids: Vec<NodeId> = match all {
            true => view.maintenance.iter().map(|row| row.node_id).collect(),
            false => nodes.keys().copied().collect(),
        };
        tracing::info!(nodes = ?ids, principal = %call.principal, "an operator plans no maintenance any more");
        self.operate(OperatorCall::PlanMaintenance { nodes, replace: all }).await?;
        Answer::json(&json!({ "nodes": ids }))
    }

    async fn start_maintenance(&self, call: &Call, view: &View) -> Result<Answer, Failure> {
        let StartBody { nodes: names, grace_ms } = bodies::read(&call.body)?;
        if let Some(grace_ms) = grace_ms.filter(|grace_ms| *grace_ms > KILL_GRACE_MAX_MS) {
            return Err(Failure::invalid(format!(
                "grace_ms is {grace_ms}: no task has longer than a day, {KILL_GRACE_MAX_MS}"
            )));
        }
        let nodes = self.planned_nodes(view, &names)?;
        tracing::info!(?nodes, grace_ms, principal = %call.principal, "an operator begins maintenance");
        let begun = nodes.iter().map(|node| (*node, grace_ms)).collect();
        self.operate(OperatorCall::StartMaintenance { nodes: begun }).await?;
        Answer::json(&json!({ "nodes": nodes, "grace_ms": grace_ms }))
    }

    async fn stop_maintenance(&self, call: &Call, view: &View) -> Result<Answer, Failure> {
        let StopBody { nodes: names } = bodies::read(&call.body)?;
        let nodes = self.planned_nodes(view, &names)?;
        tracing::info!(?nodes, principal = %call.principal, "an operator ends maintenance");
        self.operate(OperatorCall::StopMaintenance { nodes: nodes.clone() }).await?;
        Answer::json(&json!({ "nodes": nodes }))
    }

    fn planned_nodes(&self, view: &View, names: &[String]) -> Result<BTreeSet<NodeId>, Failure> {
        check(names)?.iter().map(|name| self.planned_node(view, name)).collect()
    }

    /// The node that is called so; one that is away may be known by what was planned for it alone.
    fn planned_node(&self, view: &View, name: &str) -> Result<NodeId, Failure> {
        self.node_named(view, name).map(|node| node.id).or_else(|failure| {
            let mut known = view.maintenance.iter().filter(|row| {
                row.hostname.eq_ignore_ascii_case(name) || row.node_id.to_string() == name
            });
            match (known.next(), known.next()) {
                (Some(row), None) if failure.is_not_found() => Ok(row.node_id),
                _ => Err(failure),
            }
        })
    }

    fn planned(
        &self,
        view: &View,
        node: NodeId,
        unavailability: Unavailability,
    ) -> Result<Planned, Failure> {
        let before = view.maintenance.iter().find(|row| row.node_id == node);
        let (mut hostname, mut ip) =
            before.map(|row| (row.hostname.clone(), row.ip.clone())).unwrap_or_default();
        if let Ok(shown) = self.node_named(view, &node.to_string()) {
            if shown.state == NodeState::Gone {
                return Err(Failure::invalid(format!("node {node} is gone")));
            }
            if !shown.hostname.is_empty() {
                hostname = shown.hostname;
            }
            if let Some(known) = Place::read(&shown.address).and_then(|place| place.ip) {
                ip = known.to_string();
            }
        }
        Ok(Planned { unavailability, hostname, ip, begun: None })
    }
}

/// At least one name, and not too many.
fn check(names: &[String]) -> Result<&[String], Failure> {
    match names.len() {
        0 => Err(Failure::invalid("no node is named: nodes is an empty list")),
        1..=PLANNED_NODES_MAX => Ok(names),
        many => Err(Failure::invalid(format!(
            "{many} nodes are named, at most {PLANNED_NODES_MAX} can be in maintenance windows"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use meshos_control::master::{AgentView, View};
    use meshos_protocol::ids::{ClusterId, Fence, FrameworkId, OfferId, Term};

    use super::*;
    use crate::api::nodes::tests::agent;

    #[test]
    fn a_node_in_a_window_is_one_flat_object_with_what_was_said() {
        let row = |bits: u64, start: u64| MaintenanceView {
            node_id: NodeId::from_bits(bits),
            agent_id: None,
            hostname: format!("lab{bits}"),
            ip: "10.0.0.1".to_owned(),
            start: Wall(start),
            duration_ms: None,
            begun: None,
            asked: vec![AskedView {
                framework_id: FrameworkId(3),
                open: Some(OfferId { term: Term(1), number: 2 }),
                accepted: Some(true),
                answered_at: Some(Wall(9)),
            }],
        };
        let fence = Fence { cluster: ClusterId::from_u128(1), term: Term(1) };
        let node = AgentView { state: NodeState::Drained, ..agent(1, "h:1").as_ref().clone() };
        let view = View {
            maintenance: [row(2, 8), row(1, 7)].into_iter().collect(),
            agents: [node].into_iter().collect(),
            ..View::deposed(fence, NodeId::from_bits(1))
        };
        let rows: Value = serde_json::from_slice(&rows(&view).unwrap().body).unwrap();
        assert_eq!((&rows[0]["hostname"], &rows[1]["start"]), (&json!("lab1"), &json!(8)));
        assert_eq!((&rows[0]["state"], &rows[0]["hold"]), (&json!("draining"), &json!("drained")));
        assert_eq!(rows[1]["state"], Value::Null);
        let asked = json!([{"framework_id": "F3", "framework": "", "open": "O1.2", "answer": "accepted", "answered_at": 9}]);
        assert_eq!(rows[0]["asked"], asked);
    }

    #[test]
    fn bodies_are_read_strictly() {
        let set: SetBody = bodies::read(br#"{"nodes":["a"],"start":5}"#).unwrap();
        assert_eq!((set.start, set.duration_ms), (5, None));
        assert!(bodies::read::<SetBody>(br#"{"nodes":["a"]}"#).is_err());
        assert!(bodies::read::<StartBody>(br#"{"nodes":["a"],"grace":5}"#).is_err());
        assert!(check(&[]).is_err());
        assert!(check(&vec!["a".to_owned(); PLANNED_NODES_MAX + 1]).is_err());
    }
}
