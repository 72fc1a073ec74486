//! Commands with which operators change nodes and roles.

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use meshos_protocol::{ids::NodeId, role::Role};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{api::Common, output, table::Table, text::plain};

const WEIGHTS_HELP: &str = "\
Examples:
  meshos weights                  show the roles and their weights
  meshos weights set batch 2      let role batch have twice the share of a role of weight 1

A role that is not listed has the weight 1.";

/// Declare a node gone for good: its tasks are over, and its place in the cluster is free
#[derive(Debug, Args)]
pub(super) struct Gone {
    /// The node's id, as `meshos nodes` shows it
    #[arg(id = "gone", value_name = "NODE")]
    node: NodeId,
    /// Do it: every task of the node counts as ended, and if the node comes back it ends them
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

/// Offer nothing more of a node; its tasks go on
#[derive(Debug, Args)]
pub(super) struct Drain {
    /// The node's id, as `meshos nodes` shows it
    #[arg(id = "drained", value_name = "NODE")]
    node: NodeId,
    #[command(flatten)]
    common: Common,
}

/// Offer a node again that was drained
#[derive(Debug, Args)]
pub(super) struct Undrain {
    /// The node's id, as `meshos nodes` shows it
    #[arg(id = "undrained", value_name = "NODE")]
    node: NodeId,
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
        #[arg(value_name = "WEIGHT")]
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
        let node = self.node;
        ensure!(
            self.yes,
            "declaring node {node} gone ends all its tasks and cannot be taken back: add --yes if that is meant"
        );
        let sentence = format!("node {node} is gone: its tasks are over");
        change(&self.common, "/api/nodes/gone", &json!({ "node_id": node }), &sentence).await
    }
}

impl Drain {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        let node = self.node;
        let sentence = format!("node {node} drains: it is offered no more, its tasks go on");
        change(&self.common, "/api/nodes/drain", &json!({ "node_id": node }), &sentence).await
    }
}

impl Undrain {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        let node = self.node;
        let sentence = format!("node {node} is offered again");
        change(&self.common, "/api/nodes/undrain", &json!({ "node_id": node }), &sentence).await
    }
}

impl Weights {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        match self.change {
            None => {
                show_weights(&self.common).await?;
                Ok(ExitCode::SUCCESS)
            }
            Some(Change::Set { role, weight, common }) => {
                let sentence = format!("role {role} has the weight {}", plain(&weight));
                let body = json!({ "role": role, "weight": weight });
                change(&common, "/api/weights/set", &body, &sentence).await
            }
        }
    }
}

async fn change(common: &Common, path: &str, body: &Value, sentence: &str) -> Result<ExitCode> {
    let answer = common.post(path, body).await?;
    if common.json {
        output::json(&answer)?;
    } else {
        output::line(sentence)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn show_weights(common: &Common) -> Result<()> {
    let value = common.get("/api/weights").await?;
    if common.json {
        return output::json(&value);
    }
    let rows: Vec<WeightRow> = serde_json::from_value(value)
        .context("the node's answer is not of the form that this release expects")?;
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
