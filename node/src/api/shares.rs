//! How the cluster is shared: the roles, and the quota, priority and policy that operators set. Each
//! change is committed before it is answered.

use std::collections::BTreeMap;

use meshos_alloc::{PolicyChoice, Quota, QuotaAmounts};
use meshos_control::master::{OperatorCall, RoleView, View};
use meshos_protocol::{
    resources::{Amount, ResourceName},
    role::Role,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Api, bodies,
    call::{Answer, Call, Failure},
    operations::weight_text,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriorityBody {
    role: Role,
    priority: i32,
}

/// Amounts as the text form of resources, such as `cpus:4;mem:1024`; nothing is guaranteed or
/// limited of what is not named, a limit of zero lets the role have nothing of that, and without any the
/// quota ends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaBody {
    role: Role,
    #[serde(default)]
    guarantee: String,
    #[serde(default)]
    limit: String,
    /// Also when it cannot be kept as the cluster is.
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyBody {
    policy: String,
}

/// A role as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct RoleRow<'a> {
    weight: String,
    #[serde(flatten)]
    role: &'a RoleView,
}

/// The roles that the leader knows; what they hold may be a quarter of a second old.
pub(super) fn roles(view: &View) -> Vec<RoleRow<'_>> {
    let weight = |role: &RoleView| weight_text(role.weight_millis);
    view.roles.iter().map(|role| RoleRow { weight: weight(role), role }).collect()
}

/// The policy in force, and the one that operators chose when the leader's release does not know it.
pub(super) fn policy(view: &View) -> Result<Answer, Failure> {
    let unknown = view.policy_on_record.as_ref().filter(|chosen| **chosen != view.policy);
    let mut answer = json!({ "policy": view.policy });
    if let Some(unknown) = unknown {
        answer["unknown"] = json!(unknown);
    }
    Answer::json(&answer)
}

impl Api {
    pub(super) async fn set_priority(&self, call: &Call) -> Result<Answer, Failure> {
        let PriorityBody { role, priority } = bodies::read(&call.body)?;
        tracing::info!(%role, priority, principal = %call.principal, "an operator sets a priority");
        self.operate(OperatorCall::SetPriority { role: role.clone(), priority }).await?;
        Answer::json(&json!({ "role": role, "priority": priority }))
    }

    pub(super) async fn set_quota(&self, call: &Call) -> Result<Answer, Failure> {
        let QuotaBody { role, guarantee, limit, force } = bodies::read(&call.body)?;
        let quota = Quota {
            guarantee: amounts("guarantee", &guarantee)?.into_iter().collect(),
            limit: amounts("limit", &limit)?,
        };
        tracing::info!(%role, %guarantee, %limit, force, principal = %call.principal, "an operator sets a quota");
        self.operate(OperatorCall::SetQuota { role: role.clone(), quota, force }).await?;
        Answer::json(&json!({ "role": role, "guarantee": guarantee, "limit": limit }))
    }

    pub(super) async fn set_policy(&self, call: &Call) -> Result<Answer, Failure> {
        let PolicyBody { policy } = bodies::read(&call.body)?;
        let policy: PolicyChoice = policy.parse().map_err(|error| {
            Failure::invalid(format!("the policy {policy:?} cannot be used: {error}"))
        })?;
        let shown = policy.to_string();
        tracing::info!(%policy, principal = %call.principal, "an operator chooses a policy");
        self.operate(OperatorCall::SetPolicy { policy }).await?;
        Answer::json(&json!({ "policy": shown }))
    }
}

/// The amounts in a text, each of which may be zero.
fn amounts(what: &str, text: &str) -> Result<BTreeMap<ResourceName, Amount>, Failure> {
    let amounts: Result<QuotaAmounts, _> = text.parse();
    amounts
        .map(|amounts| amounts.0)
        .map_err(|why| Failure::invalid(format!("the {what} is {text:?}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_amounts_are_guaranteed_or_limited() {
        let read = amounts("limit", "cpus:1.5;mem:64").unwrap();
        assert_eq!(read[&ResourceName::Cpus], Amount::from_millis(1_500));
        assert_eq!(read.len(), 2);
        let none = amounts("limit", "cpus:0;gpus:0").unwrap();
        assert_eq!(none.values().collect::<Vec<_>>(), [&Amount::ZERO, &Amount::ZERO]);
        assert!(amounts("limit", " ").unwrap().is_empty());
        for text in ["cpus", "ports:[1-9]", "cpus(a):1", "cpus:-1", "cpus:4;cpus:5"] {
            let refused = amounts("guarantee", text).unwrap_err();
            let sentence = refused.into_message();
            assert!(sentence.contains("the guarantee is") && sentence.contains(text), "{sentence}");
        }
    }
}
