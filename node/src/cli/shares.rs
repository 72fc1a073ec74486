//! Commands with which operators see and change how the cluster is shared.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand};
use meshos_alloc::{PolicyChoice, QuotaAmounts};
use meshos_protocol::role::Role;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Usage,
    common::{Common, readable},
    output,
    table::Table,
};

const QUOTA_HELP: &str = "\
Examples:
  meshos quota set batch --guarantee 'cpus:8;mem:16384'
  meshos quota set batch --guarantee 'cpus:8' --limit 'cpus:32'
  meshos quota set batch --limit 'gpus:0'                no GPU at all
  meshos quota clear batch

A role, with all roles below it, is served first until it has what it is guaranteed; what it does not \
use of that is lent to others. It never gets more than its limit. Quota ends no task.";

const PRIORITY_HELP: &str = "\
Example:
  meshos priority set services 10

A higher number is more urgent, unset it is 0. Only the policy `priority` looks at it: see `meshos \
policy`.";

const POLICY_HELP: &str = "\
Examples:
  meshos policy                     show which one is in use
  meshos policy set priority        serve the more urgent roles first
  meshos policy set max-min:gpus    share one resource evenly

Policies: drf (the default), max-min:RESOURCE, priority, fair-decay:HALF-LIFE, random. No offer and no \
task is lost when it changes.";

/// List the roles with their weights, priorities, quotas and what they use
#[derive(Debug, Args)]
pub(super) struct Roles {
    #[command(flatten)]
    common: Common,
}

/// Set or clear what roles are guaranteed and may not exceed
#[derive(Debug, Args)]
#[command(after_help = QUOTA_HELP, args_conflicts_with_subcommands = true)]
pub(super) struct Quota {
    #[command(subcommand)]
    change: Option<QuotaChange>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum QuotaChange {
    /// Set a role's quota, in the place of the one it had
    Set {
        /// The role
        #[arg(value_name = "ROLE")]
        role: Role,
        /// What it is served first up to, such as cpus:8;mem:16384
        #[arg(
            long,
            value_name = "AMOUNTS",
            value_parser = readable::<QuotaAmounts>
        )]
        guarantee: Option<String>,
        /// What it never gets more than; of what is limited to 0 it gets nothing
        #[arg(long, value_name = "AMOUNTS", value_parser = readable::<QuotaAmounts>)]
        limit: Option<String>,
        /// Do it although it cannot be kept as the cluster is
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        common: Common,
    },
    /// End a role's quota
    Clear {
        /// The role
        #[arg(value_name = "ROLE")]
        role: Role,
        #[command(flatten)]
        common: Common,
    },
}

/// Set how urgent a role is, for the policy that looks at it
#[derive(Debug, Args)]
#[command(after_help = PRIORITY_HELP, args_conflicts_with_subcommands = true)]
pub(super) struct Priority {
    #[command(subcommand)]
    change: Option<PriorityChange>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum PriorityChange {
    /// Set a role's priority
    Set {
        /// The role
        #[arg(value_name = "ROLE")]
        role: Role,
        /// A whole number; higher is more urgent
        #[arg(value_name = "PRIORITY", allow_hyphen_values = true, value_parser = priority)]
        priority: i32,
        #[command(flatten)]
        common: Common,
    },
}

/// Show or choose the allocation policy
#[derive(Debug, Args)]
#[command(after_help = POLICY_HELP, args_conflicts_with_subcommands = true)]
pub(super) struct Policy {
    #[command(subcommand)]
    change: Option<PolicyChange>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum PolicyChange {
    /// Choose the policy for the whole cluster, from now on
    Set {
        /// Which
        #[arg(value_name = "POLICY", value_parser = readable::<PolicyChoice>)]
        policy: String,
        #[command(flatten)]
        common: Common,
    },
}

/// A priority, when it is one.
fn priority(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| {
        format!("expected a whole number from {} to {}, for example 10 or -5", i32::MIN, i32::MAX)
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row {
    role: String,
    weight: String,
    priority: i32,
    guarantee: BTreeMap<String, Value>,
    limit: BTreeMap<String, Value>,
    consumed: BTreeMap<String, Value>,
    waiting: usize,
}

impl Roles {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        show_roles(&self.common).await
    }
}

impl Quota {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        match self.change {
            None => show_roles(&self.common).await,
            Some(QuotaChange::Set { guarantee: None, limit: None, .. }) => {
                let text = "name what the role is to have: --guarantee, --limit or both";
                Err(Usage(text.to_owned()).into())
            }
            Some(QuotaChange::Set { role, guarantee, limit, force, common }) => {
                let (guarantee, limit) = (guarantee.unwrap_or_default(), limit.unwrap_or_default());
                let body =
                    json!({ "role": role, "guarantee": guarantee, "limit": limit, "force": force });
                let shown = |text: &str| if text.is_empty() { "nothing" } else { text }.to_owned();
                let sentence = |_: &_| {
                    let (guarantee, limit) = (shown(&guarantee), shown(&limit));
                    format!("role {role} is guaranteed {guarantee} and limited in {limit}")
                };
                common.change("/api/quotas/set", &body, sentence).await
            }
            Some(QuotaChange::Clear { role, common }) => {
                let sentence = |_: &_| format!("role {role} has no quota");
                common.change("/api/quotas/set", &json!({ "role": role }), sentence).await
            }
        }
    }
}

impl Priority {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        match self.change {
            None => show_roles(&self.common).await,
            Some(PriorityChange::Set { role, priority, common }) => {
                let body = json!({ "role": role, "priority": priority });
                let sentence = |_: &_| format!("role {role} has the priority {priority}");
                common.change("/api/priorities/set", &body, sentence).await
            }
        }
    }
}

impl Policy {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        match self.change {
            None => {
                let answer = self.common.get("/api/policy").await?;
                if self.common.json {
                    output::json(&answer)?;
                } else {
                    output::line(answer["policy"].as_str().unwrap_or_default())?;
                    if let Some(unknown) = answer["unknown"].as_str() {
                        output::note(&format!(
                            "{unknown} was chosen, which the leader's release does not know"
                        ));
                    }
                }
                Ok(ExitCode::SUCCESS)
            }
            Some(PolicyChange::Set { policy, common }) => {
                let sentence = |answer: &Value| {
                    let policy = answer["policy"].as_str().unwrap_or(&policy);
                    format!("the policy is {policy}")
                };
                common.change("/api/policy/set", &json!({ "policy": policy }), sentence).await
            }
        }
    }
}

async fn show_roles(common: &Common) -> Result<ExitCode> {
    let answer = common.get("/api/roles").await?;
    let Some(rows) = common.rows::<Row>(answer)? else { return Ok(ExitCode::SUCCESS) };
    if rows.is_empty() {
        output::note("no role has a framework, a reservation or a setting of its own");
        return Ok(ExitCode::SUCCESS);
    }
    let mut table =
        Table::new(&["ROLE", "WEIGHT", "PRIORITY", "GUARANTEE", "LIMIT", "CONSUMED", "WAITING"]);
    for row in rows {
        table.row([
            row.role,
            row.weight,
            row.priority.to_string(),
            amounts(&row.guarantee),
            amounts(&row.limit),
            amounts(&row.consumed),
            row.waiting.to_string(),
        ]);
    }
    table.print()?;
    Ok(ExitCode::SUCCESS)
}

fn amounts(amounts: &BTreeMap<String, Value>) -> String {
    if amounts.is_empty() {
        return "-".to_owned();
    }
    let one = |(name, amount): (&String, &Value)| format!("{name}:{amount}");
    amounts.iter().map(one).collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_refused_with_the_range() {
        assert_eq!(priority("-5"), Ok(-5));
        for text in ["99999999999", "ten", ""] {
            let error = priority(text).unwrap_err();
            assert!(error.contains("from -2147483648 to 2147483647"), "{error}");
        }
    }
}
