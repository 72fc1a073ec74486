//! What operators change of nodes and roles. Each change is committed before it is answered.

use meshos_control::master::{
    AgentView, NodeState, OperatorCall, RoleView, View, WEIGHT_MILLIS_MAX,
};
use meshos_protocol::{ids::NodeId, resources::Amount, role::Role, task::KILL_GRACE_MAX_MS};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Api,
    bodies::{self, NodeBody},
    call::{Answer, Call, Failure},
    names, nodes,
};

/// The weight is text, so that what is written is what is meant: no binary fractions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WeightBody {
    role: Role,
    weight: String,
}

/// Names a node, and how its tasks are ended, if they are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DrainBody {
    node_id: String,
    /// The longest time between SIGTERM and SIGKILL; absent: the tasks go on.
    #[serde(default)]
    grace_ms: Option<u64>,
    /// Whether the node is declared gone once it is empty.
    #[serde(default)]
    mark_gone: bool,
}

/// A role and its weight.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct WeightRow<'a> {
    role: &'a Role,
    weight: String,
    /// Frameworks in it or below it that wait for offers.
    waiting: usize,
}

/// The roles that the leader knows, with their weights; who waits may be a quarter of a second old.
pub(super) fn weights(view: &View) -> Vec<WeightRow<'_>> {
    view.roles.iter().map(weight_row).collect()
}

fn weight_row(role: &RoleView) -> WeightRow<'_> {
    let weight = weight_text(role.weight_millis);
    WeightRow { role: &role.role, weight, waiting: role.waiting }
}

impl Api {
    pub(super) async fn node_gone(&self, call: &Call, view: &View) -> Result<Answer, Failure> {
        let AgentView { id: node_id, agent_id: agent, .. } = self.node_of_body(call, view)?;
        tracing::info!(node = %node_id, principal = %call.principal, "an operator declares a node gone");
        self.operate(OperatorCall::MarkAgentGone { agent }).await?;
        Answer::json(&json!({ "node_id": node_id, "agent_id": agent, "gone": true }))
    }

    pub(super) async fn drain_node(&self, call: &Call, view: &View) -> Result<Answer, Failure> {
        let DrainBody { node_id: name, grace_ms, mark_gone } = bodies::read(&call.body)?;
        let AgentView { id: node_id, agent_id: agent, .. } = self.node_to_change(&name, view)?;
        tracing::info!(node = %node_id, grace_ms, mark_gone, principal = %call.principal, "an operator drains a node");
        let Some(grace_max_ms) = grace_ms else {
            if mark_gone {
                return Err(Failure::invalid(
                    "mark_gone stands beside grace_ms: without it, nothing says when the node is empty",
                ));
            }
            self.operate(OperatorCall::SetDraining { agent, draining: true }).await?;
            return Answer::json(
                &json!({ "node_id": node_id, "agent_id": agent, "draining": true }),
            );
        };
        if grace_max_ms > KILL_GRACE_MAX_MS {
            return Err(Failure::invalid(format!(
                "grace_ms is {grace_max_ms}: no task has longer than a day, {KILL_GRACE_MAX_MS}"
            )));
        }
        self.operate(OperatorCall::Drain { agent, grace_max_ms, mark_gone }).await?;
        Answer::json(&json!({
            "node_id": node_id,
            "agent_id": agent,
            "draining": true,
            "grace_ms": grace_max_ms,
            "mark_gone": mark_gone,
        }))
    }

    pub(super) async fn undrain_node(&self, call: &Call, view: &View) -> Result<Answer, Failure> {
        let AgentView { id: node_id, agent_id: agent, .. } = self.node_of_body(call, view)?;
        tracing::info!(node = %node_id, principal = %call.principal, "an operator ends a drain");
        self.operate(OperatorCall::SetDraining { agent, draining: false }).await?;
        Answer::json(&json!({ "node_id": node_id, "agent_id": agent, "draining": false }))
    }

    pub(super) async fn deactivate_node(
        &self,
        call: &Call,
        view: &View,
        deactivated: bool,
    ) -> Result<Answer, Failure> {
        let AgentView { id: node_id, agent_id: agent, .. } = self.node_of_body(call, view)?;
        tracing::info!(node = %node_id, deactivated, principal = %call.principal, "an operator deactivates or reactivates a node");
        self.operate(match deactivated {
            true => OperatorCall::Deactivate { agent },
            false => OperatorCall::Reactivate { agent },
        })
        .await?;
        Answer::json(&json!({ "node_id": node_id, "agent_id": agent, "deactivated": deactivated }))
    }

    pub(super) async fn set_weight(&self, call: &Call) -> Result<Answer, Failure> {
        let WeightBody { role, weight } = bodies::read(&call.body)?;
        let weight_millis = weight_millis(&weight).map_err(Failure::invalid)?;
        tracing::info!(%role, weight_millis, principal = %call.principal, "an operator sets a weight");
        self.operate(OperatorCall::SetWeight { role: role.clone(), weight_millis }).await?;
        Answer::json(&json!({ "role": role, "weight": weight_text(weight_millis) }))
    }

    /// The node that a call names and nothing beside it, if it may be operated on.
    fn node_of_body(&self, call: &Call, view: &View) -> Result<AgentView, Failure> {
        let NodeBody { node_id: name } = bodies::read(&call.body)?;
        self.node_to_change(&name, view)
    }

    /// The node that is called so, if it may be operated on.
    fn node_to_change(&self, name: &str, view: &View) -> Result<AgentView, Failure> {
        let node = self.node_named(view, name)?;
        if node.state == NodeState::Gone {
            return Err(Failure::invalid(format!("node {} is gone already", node.id)));
        }
        Ok(node)
    }

    /// The node that is called so, as it is shown.
    pub(super) fn node_named(&self, view: &View, name: &str) -> Result<AgentView, Failure> {
        let gossip = self.options.gossip.view();
        let shown = |agent| nodes::shown(agent, &gossip, &self.options.options);
        let shown: Vec<AgentView> = view.agents.iter().map(|agent| shown(agent)).collect();
        names::find(&shown, name).cloned()
    }

    /// The id of the node that is called so; an id stands for itself, also when the leader knows
    /// no such node.
    pub(super) fn node_id_of(&self, view: &View, name: &str) -> Result<NodeId, Failure> {
        let named = self.node_named(view, name).map(|node| node.id);
        named.or_else(|failure| name.parse().map_err(|_| failure))
    }
}

/// A weight in thousandths, when it is one.
///
/// # Errors
/// What is expected.
pub(crate) fn weight_millis(text: &str) -> Result<u64, String> {
    let amount = text.parse::<Amount>().ok().and_then(|it| u64::try_from(it.millis()).ok());
    amount.filter(|millis| (1..=WEIGHT_MILLIS_MAX).contains(millis)).ok_or_else(|| {
        format!(
            "the weight is {text:?}: expected a number from 0.001 to {} with at most three places, for example 2 \
             or 0.5",
            WEIGHT_MILLIS_MAX / 1_000
        )
    })
}

pub(super) fn weight_text(millis: u64) -> String {
    Amount::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_decimal_numbers_and_exact() {
        for (text, millis, shown) in [
            ("2", 2_000, "2"),
            ("0.001", 1, "0.001"),
            ("1.50", 1_500, "1.5"),
            ("1000000", WEIGHT_MILLIS_MAX, "1000000"),
        ] {
            assert_eq!(weight_millis(text).unwrap(), millis, "{text}");
            assert_eq!(weight_text(millis), shown);
        }
        for text in ["", "0", "-1", "x", "1e3", "1e300", "0.0001", "1000000.001"] {
            let told = weight_millis(text).unwrap_err();
            assert!(told.contains("expected a number from 0.001 to 1000000"), "{text}: {told}");
        }
    }

    #[test]
    fn bodies_are_read_strictly() {
        let node = NodeId::from_bits(7);
        let body = json!({ "node_id": node }).to_string();
        let read: NodeBody = bodies::read(body.as_bytes()).unwrap();
        assert_eq!(read.node_id, node.to_string());
        let weight: WeightBody = bodies::read(br#"{"role":"a/b","weight":"1.5"}"#).unwrap();
        assert_eq!((weight.role.as_str(), weight.weight.as_str()), ("a/b", "1.5"));
        for body in [&b"{}"[..], br#"{"role":"/","weight":"1"}"#, br#"{"role":"a","weight":1}"#] {
            assert!(bodies::read::<WeightBody>(body).is_err());
        }
        assert!(bodies::read::<NodeBody>(br#"{"node_id":7}"#).is_err());
        let drain: DrainBody = bodies::read(br#"{"node_id":"lab","grace_ms":5000}"#).unwrap();
        assert_eq!((drain.grace_ms, drain.mark_gone), (Some(5_000), false));
        for body in [&br#"{"grace_ms":5}"#[..], br#"{"node_id":"a","grace":"5s"}"#] {
            assert!(bodies::read::<DrainBody>(body).is_err());
        }
    }
}
