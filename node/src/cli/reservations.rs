//! Commands with which operators see and change what is reserved on nodes, and their volumes.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use meshos_protocol::{resources::Resources, role::Role};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    common::{Common, Subject, node_changed, readable},
    output,
    table::Table,
};

const RESERVE_HELP: &str = "\
Examples:
  meshos reserve lab 'cpus:4;mem:8192;disk:10000' --role db
  meshos reserve lab 'ports:[31000-31009]' --role db --label team=storage

What is reserved is offered to the role, and to roles below it, alone. Offers that hold it are taken \
back; what tasks use cannot be reserved.";

const VOLUMES_HELP: &str = "\
Examples:
  meshos volumes                                             list them
  meshos volumes create lab tables --role db --size 5000 --path data
  meshos volumes destroy lab tables --role db --yes

A volume is made of disk that is reserved for its role (see `meshos reserve`). It outlives the tasks \
that use it; a task that holds it sees it at its path in its sandbox.";

/// List what is reserved on which nodes
#[derive(Debug, Args)]
pub(super) struct Reservations {
    #[command(flatten)]
    common: Common,
}

/// Reserve resources of a node for a role
#[derive(Debug, Args)]
#[command(after_help = RESERVE_HELP)]
pub(super) struct Reserve {
    #[command(flatten)]
    subject: Subject,
    /// What, such as cpus:4;mem:8192
    #[arg(value_name = "RESOURCES", value_parser = readable::<Resources>)]
    resources: String,
    /// For whom
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// A note on the reservation; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    common: Common,
}

/// Undo a reservation, or a part of it
#[derive(Debug, Args)]
pub(super) struct Unreserve {
    #[command(flatten)]
    subject: Subject,
    /// What, such as cpus:4;mem:8192
    #[arg(value_name = "RESOURCES", value_parser = readable::<Resources>)]
    resources: String,
    /// For whom it is reserved
    #[arg(long, value_name = "ROLE")]
    role: Role,
    #[command(flatten)]
    common: Common,
}

/// List, create and destroy persistent volumes
#[derive(Debug, Args)]
#[command(after_help = VOLUMES_HELP, args_conflicts_with_subcommands = true)]
pub(super) struct Volumes {
    #[command(subcommand)]
    change: Option<Change>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Make a volume of disk that is reserved for its role
    Create {
        #[command(flatten)]
        subject: Subject,
        /// Its name, unique in its role on the node
        #[arg(value_name = "VOLUME")]
        volume: String,
        /// Whose it is
        #[arg(long, value_name = "ROLE")]
        role: Role,
        /// How large it is, in MB
        #[arg(long, value_name = "MB")]
        size: String,
        /// Where tasks see it, inside their sandbox
        #[arg(long, value_name = "PATH")]
        path: String,
        /// Let several tasks use it at once
        #[arg(long)]
        shared: bool,
        #[command(flatten)]
        common: Common,
    },
    /// End a volume and remove what is in it
    Destroy {
        #[command(flatten)]
        subject: Subject,
        /// Its name
        #[arg(value_name = "VOLUME")]
        volume: String,
        /// Whose it is
        #[arg(long, value_name = "ROLE")]
        role: Role,
        /// Do it: what is in the volume is lost
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReservationRow {
    node_id: String,
    role: String,
    kind: String,
    principal: String,
    resources: String,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct VolumeRow {
    node_id: String,
    role: String,
    volume_id: String,
    size: String,
    path: String,
    shared: bool,
    used: bool,
}

impl Reservations {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        let answer = self.common.list("/api/reservations").await?;
        let Some(rows) = self.common.rows::<ReservationRow>(answer)? else {
            return Ok(ExitCode::SUCCESS);
        };
        if rows.is_empty() {
            output::note("nothing is reserved");
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new(&["NODE", "ROLE", "KIND", "RESERVED BY", "RESOURCES", "LABELS"]);
        for row in rows {
            let labels = row.labels.iter().map(|(key, value)| format!("{key}={value}"));
            let labels = labels.collect::<Vec<_>>().join(" ");
            table.row([row.node_id, row.role, row.kind, row.principal, row.resources, labels]);
        }
        table.print()?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Reserve {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        let Self { subject: Subject { node }, resources, role, labels, common } = self;
        let labels: Map<String, Value> =
            labels.into_iter().map(|(key, value)| (key, value.into())).collect();
        let body =
            json!({ "node_id": node, "role": role, "resources": resources, "labels": labels });
        let sentence = |answer: &Value| {
            let reserved = answer["reserved"].as_str().unwrap_or(&resources);
            format!(
                "{reserved} of node {} is reserved for role {role}",
                node_changed(&node, answer)
            )
        };
        common.change("/api/reservations/reserve", &body, sentence).await
    }
}

impl Unreserve {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        let Self { subject: Subject { node }, resources, role, common } = self;
        let body = json!({ "node_id": node, "role": role, "resources": resources });
        let sentence = |answer: &Value| {
            let freed = answer["unreserved"].as_str().unwrap_or(&resources);
            let node = node_changed(&node, answer);
            format!("{freed} of node {node} is not reserved for role {role} any more")
        };
        common.change("/api/reservations/unreserve", &body, sentence).await
    }
}

impl Volumes {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        match self.change {
            None => {
                list_volumes(&self.common).await?;
                Ok(ExitCode::SUCCESS)
            }
            Some(Change::Create {
                subject: Subject { node },
                volume,
                role,
                size,
                path,
                shared,
                common,
            }) => {
                let body = json!({
                    "node_id": node,
                    "role": role,
                    "volume_id": volume,
                    "size": size,
                    "path": path,
                    "shared": shared,
                });
                let sentence = |answer: &Value| {
                    format!(
                        "node {} has volume {volume} of role {role}",
                        node_changed(&node, answer)
                    )
                };
                common.change("/api/volumes/create", &body, sentence).await
            }
            Some(Change::Destroy { subject: Subject { node }, volume, role, yes, common }) => {
                ensure!(
                    yes,
                    "destroying volume {volume} removes what is in it and cannot be taken back: add --yes if that is meant"
                );
                let body = json!({ "node_id": node, "role": role, "volume_id": volume });
                let sentence = |answer: &Value| {
                    let node = node_changed(&node, answer);
                    format!(
                        "volume {volume} of role {role} is gone from node {node}; its disk stays reserved"
                    )
                };
                common.change("/api/volumes/destroy", &body, sentence).await
            }
        }
    }
}

async fn list_volumes(common: &Common) -> Result<()> {
    let answer = common.list("/api/volumes").await?;
    let Some(rows) = common.rows::<VolumeRow>(answer)? else { return Ok(()) };
    if rows.is_empty() {
        output::note("there is no volume");
        return Ok(());
    }
    let mut table = Table::new(&["NODE", "ROLE", "VOLUME", "MB", "PATH", "SHARED", "USED"]);
    let yes = |flag| if flag { "yes" } else { "no" }.to_owned();
    for row in rows {
        let (shared, used) = (yes(row.shared), yes(row.used));
        table.row([row.node_id, row.role, row.volume_id, row.size, row.path, shared, used]);
    }
    table.print()
}

/// A label as it was written.
fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, for example team=storage".to_owned()),
    }
}
