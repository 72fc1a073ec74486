//! Commands with which operators change nodes and roles.

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use meshos_protocol::{role::Role, task::KILL_GRACE_MAX_MS, time::millis};
use serde::Deserialize;
use serde_json::json;

use super::{
    common::{Common, Subject, node_changed},
    output,
    table::Table,
};
use crate::{
    api::weight_millis,
    config::{parse_duration, print_duration},
};

const WEIGHTS_HELP: &str = "\
Examples:
  meshos weights                  show the roles and their weights
  meshos weights set batch 2      let role batch have twice the share of a role of weight 1

A role that is not listed has the weight 1.";

const DRAIN_HELP: &str = "\
Examples:
  meshos drain lab7              offer nothing more of it, and let its tasks end by themselves
  meshos drain lab7 --grace 5m   end its tasks, each within five minutes
  meshos drain lab7 --grace 5m --mark-gone
                                 the same, and give the machine up once it is empty
  meshos nodes                   what is left; `drained` once all is over and acknowledged
  meshos undrain lab7            offer it again

It drains on when the leader changes, and when a node that is away comes back.";

const DEACTIVATE_HELP: &str = "\
Examples:
  meshos deactivate lab7      keep it from new tasks, for example while something on it is looked into
  meshos reactivate lab7      offer it again

To have its tasks ended as well: `meshos drain NODE --grace DURATION`.";

/// Declare a node gone for good that is not connected: its tasks are over, its place is free
#[derive(Debug, Args)]
pub(super) struct Gone {
    #[command(flatten)]
    subject: Subject,
    /// Do it: every task of the node counts as ended, and if the node comes back it ends them
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

/// Empty a node: it is offered no more; its tasks go on until they end, or end within --grace
#[derive(Debug, Args)]
#[command(after_help = DRAIN_HELP)]
pub(super) struct Drain {
    #[command(flatten)]
    subject: Subject,
    /// End its tasks: SIGTERM now, and SIGKILL when a task's own grace period is over, or this one if that is
    /// shorter (at most 1d; 0s: at once). Without it tasks go on until they end
    #[arg(long, value_name = "DURATION", value_parser = grace)]
    grace: Option<Duration>,
    /// Declare the node gone once it is empty: its tasks end as gone_by_operator, and its process ends
    #[arg(long, requires = "grace")]
    mark_gone: bool,
    #[command(flatten)]
    common: Common,
}

/// Offer a node again that drains or was drained; tasks that were asked to end still do
#[derive(Debug, Args)]
pub(super) struct Undrain {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    common: Common,
}

/// Offer nothing more of a node until it is reactivated; its tasks go on
#[derive(Debug, Args)]
#[command(after_help = DEACTIVATE_HELP)]
pub(super) struct Deactivate {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    common: Common,
}

/// Offer a node again that was deactivated, drains or was drained
#[derive(Debug, Args)]
pub(super) struct Reactivate {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    common: Common,
}

/// Show or set how much of the cluster each role is due, compared to the others
#[derive(Debug, Args)]
#[command(after_help = WEIGHTS_HELP, args_conflicts_with_subcommands = true)]
pub(super) struct Weights {
    #[command(subcommand)]
    change: Option<Change>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Set a role's weight
    Set {
        /// The role
        #[arg(value_name = "ROLE")]
        role: Role,
        /// Its weight, for example 2 or 0.5; 1 is the default
        #[arg(value_name = "WEIGHT", allow_hyphen_values = true, value_parser = weight)]
        weight: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WeightRow {
    role: String,
    weight: String,
    waiting: usize,
}

impl Gone {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        let node = self.subject.node;
        ensure!(
            self.yes,
            "declaring node {node} gone ends all its tasks and cannot be taken back: add --yes if that is meant"
        );
        let sentence = |node: &str| format!("node {node} is gone: its tasks are over");
        change_node(&self.common, &node, "gone", sentence).await
    }
}

impl Drain {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        let mut body = json!({ "node_id": self.subject.node });
        if let Some(grace) = self.grace {
            body["grace_ms"] = millis(grace).into();
            body["mark_gone"] = self.mark_gone.into();
        }
        let sentence = |answer: &_| {
            let node = node_changed(&self.subject.node, answer);
            let Some(grace) = self.grace else {
                return format!("node {node} drains: it is offered no more, its tasks go on");
            };
            let grace = print_duration(grace);
            let after = match self.mark_gone {
                true => "; once it is empty it is declared gone and its process ends",
                false => "",
            };
            format!(
                "node {node} drains: it is offered no more, its tasks are ended within {grace}{after}"
            )
        };
        self.common.change("/api/nodes/drain", &body, sentence).await
    }
}

impl Deactivate {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        let sentence = |node: &str| {
            format!("node {node} is deactivated: it is offered no more, its tasks go on")
        };
        change_node(&self.common, &self.subject.node, "deactivate", sentence).await
    }
}

impl Reactivate {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        change_node(&self.common, &self.subject.node, "reactivate", offered_again).await
    }
}

impl Undrain {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        change_node(&self.common, &self.subject.node, "undrain", offered_again).await
    }
}

fn offered_again(node: &str) -> String {
    format!("node {node} is offered again")
}

/// Changes a node in one way, and says so in a sentence.
async fn change_node(
    common: &Common,
    node: &str,
    change: &str,
    sentence: impl FnOnce(&str) -> String,
) -> Result<ExitCode> {
    let path = format!("/api/nodes/{change}");
    let sentence = |answer: &_| sentence(&node_changed(node, answer));
    common.change(&path, &json!({ "node_id": node }), sentence).await
}

impl Weights {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        match self.change {
            None => {
                show_weights(&self.common).await?;
                Ok(ExitCode::SUCCESS)
            }
            Some(Change::Set { role, weight, common }) => {
                let body = json!({ "role": role, "weight": weight });
                let sentence = |_: &_| format!("role {role} has the weight {weight}");
                common.change("/api/weights/set", &body, sentence).await
            }
        }
    }
}

/// A grace period, when it is one that tasks may have.
fn grace(text: &str) -> Result<Duration, String> {
    let grace = parse_duration(text)?;
    if grace <= Duration::from_millis(KILL_GRACE_MAX_MS) {
        return Ok(grace);
    }
    Err("it is longer than 1d, which is the longest that any task may have".to_owned())
}

/// A weight as it was written, when it is one.
fn weight(text: &str) -> Result<String, String> {
    weight_millis(text).map(|_| text.to_owned())
}

async fn show_weights(common: &Common) -> Result<()> {
    let answer = common.get("/api/weights").await?;
    let Some(rows) = common.rows::<WeightRow>(answer)? else { return Ok(()) };
    if rows.is_empty() {
        output::note("no role has a framework or a weight of its own");
        return Ok(());
    }
    let mut table = Table::new(&["ROLE", "WEIGHT", "WAITING"]);
    for row in rows {
        table.row([row.role, row.weight, row.waiting.to_string()]);
    }
    table.print()
}
