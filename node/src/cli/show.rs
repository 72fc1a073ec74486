//! Commands that show what the cluster knows, and `kill`.

use std::{collections::BTreeMap, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    api::Api,
    common::{Common, patiently},
    output,
    table::Table,
    text::{ago, count, now_ms, plain},
};

const DONE: Result<ExitCode> = Ok(ExitCode::SUCCESS);

/// Show the nodes: what they have, what of it is used, and who leads
#[derive(Debug, Args)]
pub(super) struct Nodes {
    #[command(flatten)]
    common: Common,
}

/// Show the frameworks
#[derive(Debug, Args)]
pub(super) struct Frameworks {
    #[command(flatten)]
    common: Common,
    /// Show those that have ended, too
    #[arg(long)]
    all: bool,
}

/// Show the tasks: those that live, and the newest 1,000 that have ended
#[derive(Debug, Args)]
pub(super) struct Tasks {
    #[command(flatten)]
    common: Common,
}

/// Show the open offers
#[derive(Debug, Args)]
pub(super) struct Offers {
    #[command(flatten)]
    common: Common,
}

/// Show which node leads, and in which term
#[derive(Debug, Args)]
pub(super) struct Leader {
    #[command(flatten)]
    common: Common,
}

/// End a task: SIGTERM, and SIGKILL when its grace period is over
#[derive(Debug, Args)]
pub(super) struct Kill {
    /// The task's id, or FRAMEWORK/TASK when several frameworks have one of that id
    #[arg(value_name = "TASK")]
    task: String,
    #[command(flatten)]
    common: Common,
}

type Amounts = BTreeMap<String, Value>;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NodeRow {
    id: String,
    address: String,
    hostname: String,
    state: String,
    /// What an operator did to it, where that says more than the state.
    hold: Option<String>,
    leader: bool,
    connected: bool,
    resources: Amounts,
    used: Amounts,
    attributes: Amounts,
    domain: Option<Domain>,
    tasks: usize,
    drain: Option<DrainCell>,
}

/// How far a node is with a drain that ends its tasks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DrainCell {
    tasks_left: usize,
    ends_left: usize,
    executors_left: usize,
}

impl DrainCell {
    /// What is waited for.
    fn left(&self) -> Option<String> {
        let Self { tasks_left, ends_left, executors_left } = *self;
        match (tasks_left, executors_left, ends_left) {
            (0, 0, 0) => None,
            (0, 0, ends) => Some(format!("{} not acknowledged", count(ends, "end"))),
            (0, executors, _) => Some(format!("{} left", count(executors, "executor"))),
            (tasks, _, _) => Some(format!("{} left", count(tasks, "task"))),
        }
    }
}

impl NodeRow {
    fn state(&self) -> String {
        // A drain that leaves the tasks alone tells no more of them than their number.
        let alone = DrainCell { tasks_left: self.tasks, ..DrainCell::default() };
        let left = self.drain.as_ref().unwrap_or(&alone).left();
        let left = left.filter(|_| self.state == "draining" && self.hold.is_none());
        let state = match (self.hold.as_deref().unwrap_or(&self.state), self.connected) {
            // It is taken to be alive for a while, and offered to nobody.
            ("active", false) => return "not connected".to_owned(),
            (state @ ("draining" | "drained" | "deactivated"), false) => {
                format!("{state}, not connected")
            }
            (state, _) => state.to_owned(),
        };
        left.map_or_else(|| state.clone(), |left| format!("{state}, {left}"))
    }
}

/// Where a node stands.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Domain {
    region: String,
    zone: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FrameworkRow {
    id: String,
    name: String,
    state: String,
    roles: Vec<String>,
    principal: String,
    tasks: usize,
    offers: usize,
    used: Amounts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TaskRow {
    id: String,
    framework_id: String,
    node_id: String,
    state: String,
    reason: Option<String>,
    message: String,
    changed_at: u64,
    healthy: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OfferRow {
    id: String,
    framework_id: String,
    node_id: String,
    role: String,
    resources: Amounts,
    made_at: u64,
}

/// A task as the leader knows it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Task {
    pub id: String,
    pub framework_id: String,
    pub node_id: String,
    pub state: String,
    pub reason: Option<String>,
    pub message: String,
    pub started_at: Option<u64>,
}

impl Nodes {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        let answer = self.common.list("/api/nodes").await?;
        let Some(rows) = self.common.rows(answer)? else { return DONE };
        print(&nodes_table(rows), "node")?;
        DONE
    }
}

impl Frameworks {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        let mut answer = self.common.list("/api/frameworks").await?;
        if let Value::Array(rows) = &mut answer {
            rows.retain(|row| self.all || row["state"] != "closed");
        }
        let Some(rows) = self.common.rows::<FrameworkRow>(answer)? else { return DONE };
        let mut table =
            Table::new(&["ID", "NAME", "STATE", "ROLES", "TASKS", "OFFERS", "USED", "PRINCIPAL"]);
        for row in rows {
            let (tasks, offers) = (row.tasks.to_string(), row.offers.to_string());
            let (roles, used) = (row.roles.join(","), amounts(&row.used));
            table.row([row.id, row.name, row.state, roles, tasks, offers, used, row.principal]);
        }
        print(&table, "framework")?;
        DONE
    }
}

impl Tasks {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        let answer = self.common.list("/api/tasks").await?;
        let Some(rows) = self.common.rows::<TaskRow>(answer)? else { return DONE };
        let mut table = Table::new(&[
            "ID",
            "FRAMEWORK",
            "NODE",
            "STATE",
            "HEALTHY",
            "SINCE",
            "REASON",
            "MESSAGE",
        ]);
        let now = now_ms();
        for row in rows {
            let (since, reason) = (ago(row.changed_at, now), row.reason.unwrap_or_default());
            table.row([
                row.id,
                row.framework_id,
                row.node_id,
                row.state,
                row.healthy
                    .map(|healthy| if healthy { "yes" } else { "no" })
                    .unwrap_or_default()
                    .to_owned(),
                since,
                reason,
                row.message,
            ]);
        }
        print(&table, "task")?;
        DONE
    }
}

impl Offers {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        let answer = self.common.list("/api/offers").await?;
        let Some(rows) = self.common.rows::<OfferRow>(answer)? else { return DONE };
        let mut table = Table::new(&["ID", "FRAMEWORK", "NODE", "ROLE", "AGE", "RESOURCES"]);
        let now = now_ms();
        for row in rows {
            let (age, resources) = (ago(row.made_at, now), amounts(&row.resources));
            table.row([row.id, row.framework_id, row.node_id, row.role, age, resources]);
        }
        print(&table, "open offer")?;
        DONE
    }
}

impl Leader {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        let value = self.common.get("/api/leader").await?;
        if self.common.json {
            output::json(&value)?;
            return DONE;
        }
        let text = |key: &str| match value.get(key) {
            Some(Value::String(text)) => plain(text),
            Some(other) => other.to_string(),
            None => "?".to_owned(),
        };
        let (node, address, term) = (text("node_id"), text("address"), text("term"));
        output::line(&format!("node {node} at {address} leads in term {term}"))?;
        DONE
    }
}

impl Kill {
    pub(super) async fn execute(self) -> Result<ExitCode> {
        let api = self.common.api()?;
        let task = patiently(&api, find_task(&api, &self.task)).await?;
        let body = json!({ "framework_id": task.framework_id, "task_id": task.id });
        let sentence = |answer: &Value| {
            let (framework, id) = (&task.framework_id, &task.id);
            // A node of an earlier release does not say whether the task's node is connected.
            if answer["node_connected"] == false {
                return format!(
                    "task {id} of framework {framework} will be told to end when its node {} is connected again",
                    task.node_id
                );
            }
            format!("task {id} of framework {framework} is told to end")
        };
        self.common.change("/api/tasks/kill", &body, sentence).await
    }
}

/// The task that somebody means by `TASK` or `FRAMEWORK/TASK`.
pub(super) async fn find_task(api: &Api, name: &str) -> Result<Task> {
    let path = task_path(name);
    let found = match api.get(&path).await {
        // The leader says that there is none, in a whole sentence.
        Err(error) if error.is_not_found() => return Err(error.into()),
        found => found.with_context(|| format!("nothing can be said of task {name:?} now"))?,
    };
    serde_json::from_value(found).context("the node's answer is not that of a task")
}

/// The path of a task in the API. A task's id has no slash.
fn task_path(name: &str) -> String {
    let (framework, task) = name.split_once('/').unwrap_or(("-", name));
    format!("/api/tasks/{}/{}", super::text::encode(framework), super::text::encode(task))
}

fn print(table: &Table, what: &str) -> Result<()> {
    if table.is_empty() {
        output::note(&count(0, what));
        return Ok(());
    }
    table.print()
}

fn nodes_table(rows: Vec<NodeRow>) -> Table {
    let mut table = Table::new(&[
        "ID",
        "ADDRESS",
        "STATE",
        "LEADER",
        "TASKS",
        "CPUS",
        "MEM",
        "DISK",
        "DOMAIN",
        "HOSTNAME",
        "ATTRIBUTES",
        "OTHER",
    ])
    // Half a number says something else.
    .keeping(8);
    for row in rows {
        let share = |name: &str| {
            let of = |amounts: &Amounts| amounts.get(name).map(amount);
            let total = of(&row.resources);
            total
                .map(|total| format!("{}/{total}", of(&row.used).unwrap_or_else(|| "0".to_owned())))
        };
        let (cpus, mem, disk) = (share("cpus"), share("mem"), share("disk"));
        let known = ["cpus", "mem", "disk"];
        let other = row.resources.iter().filter(|(name, _)| !known.contains(&name.as_str()));
        let other = other.map(|(name, value)| format!("{name}:{}", amount(value)));
        let other = other.collect::<Vec<_>>().join(";");
        let state = row.state();
        let leader = if row.leader { "yes" } else { "" }.to_owned();
        let attributes = amounts(&row.attributes);
        let domain = row.domain.unwrap_or_default();
        let zone = if domain.zone.is_empty() { "" } else { "/" };
        let [cpus, mem, disk] = [cpus, mem, disk].map(Option::unwrap_or_default);
        table.row([
            row.id,
            row.address,
            state,
            leader,
            row.tasks.to_string(),
            cpus,
            mem,
            disk,
            format!("{}{zone}{}", domain.region, domain.zone),
            row.hostname,
            attributes,
            other,
        ]);
    }
    table
}

/// `cpus:2;mem:1024`.
fn amounts(amounts: &Amounts) -> String {
    let parts = amounts.iter().map(|(name, value)| format!("{name}:{}", amount(value)));
    parts.collect::<Vec<_>>().join(";")
}

fn amount(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_show_what_is_used_of_what_they_have() {
        let value = json!([
            {
                "id": "aaaaaaaaaaaa", "address": "127.0.0.1:5050", "hostname": "lab", "pid": 7,
                "state": "active", "leader": true, "connected": true, "tasks": 2,
                "resources": {"cpus": 4, "mem": 4096, "ports": "[31000-32000]"},
                "used": {"cpus": 0.5}, "attributes": {"rack": "abc", "level": 10}
            },
            {
                "id": "bbbbbbbbbbbb", "address": "127.0.0.1:5060", "hostname": "lab",
                "state": "active", "leader": false, "connected": false,
                "resources": {"cpus": 1, "mem": 64}
            }
        ]);
        let text = nodes_table(crate::cli::common::rows(value).unwrap()).render(None);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(
            lines[0],
            [
                "ID",
                "ADDRESS",
                "STATE",
                "LEADER",
                "TASKS",
                "CPUS",
                "MEM",
                "HOSTNAME",
                "ATTRIBUTES",
                "OTHER"
            ]
        );
        assert_eq!(
            lines[1],
            [
                "aaaaaaaaaaaa",
                "127.0.0.1:5050",
                "active",
                "yes",
                "2",
                "0.5/4",
                "0/4096",
                "lab",
                "level:10;rack:abc",
                "ports:[31000-32000]"
            ]
        );
        assert_eq!(
            lines[2],
            ["bbbbbbbbbbbb", "127.0.0.1:5060", "not connected", "0", "0/1", "0/64", "lab"]
        );
    }

    #[test]
    fn a_drain_shows_what_it_waits_for() {
        let state = |state: &str, connected: bool, drain: Value| {
            let (state, hold) = match state {
                "drained" | "deactivated" => ("draining", json!(state)),
                state => (state, Value::Null),
            };
            let row =
                json!({ "state": state, "hold": hold, "connected": connected, "drain": drain });
            serde_json::from_value::<NodeRow>(row).unwrap().state()
        };
        let left = |tasks: u64, executors: u64, ends: u64| {
            json!({ "tasks_left": tasks, "executors_left": executors, "ends_left": ends,
                "grace_ms": 5_000, "mark_gone": false, "since": 1 })
        };
        assert_eq!(state("draining", true, left(2, 1, 1)), "draining, 2 tasks left");
        assert_eq!(state("draining", true, left(0, 1, 1)), "draining, 1 executor left");
        assert_eq!(state("draining", true, left(0, 0, 1)), "draining, 1 end not acknowledged");
        assert_eq!(state("draining", false, left(1, 0, 0)), "draining, not connected, 1 task left");
        assert_eq!(state("draining", true, Value::Null), "draining");
        assert_eq!(state("drained", true, left(0, 0, 0)), "drained");
        assert_eq!(state("deactivated", false, Value::Null), "deactivated, not connected");
        assert_eq!(state("unreachable", false, left(3, 0, 0)), "unreachable");
    }

    #[test]
    fn a_task_is_named_alone_or_with_its_framework() {
        assert_eq!(task_path("web 1"), "/api/tasks/-/web%201");
        assert_eq!(task_path("F7/web"), "/api/tasks/F7/web");
        assert_eq!(task_path("F7/../nodes"), "/api/tasks/F7/..%2Fnodes");
    }
}
