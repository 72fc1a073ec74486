//! `meshos explain`: why somebody is not offered what it wants.

mod framework;
mod node;
mod role;
mod task;
mod words;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use meshos_protocol::{ids::FrameworkId, role::Role, shown::Wanted};
use serde_json::Value;

use super::{
    Usage,
    common::{Common, readable},
    output,
    text::{encode, wrap},
};
use crate::api::framework_of_mesos;

const HELP: &str = "\
Examples:
  meshos explain framework F3                why F3 is not offered what it wants
  meshos explain role batch                  how batch stands among the roles, and who waits in it
  meshos explain agent lab                   who has something of node lab, and why others get none
  meshos explain task F3/web-1               what became of a task
  meshos explain task --framework F3 --resources 'cpus:2;mem:512'
                                             where a task of F3 would fit that waits

Each rule that keeps a node from somebody has a name, in brackets, and is told with the number of nodes \
that it costs.";

const TASK_HELP: &str = "\
Examples:
  meshos explain task F3/web-1
  meshos explain task --framework F3 --resources 'cpus:2;mem:512;ports:[8080-8080]'

The cluster knows a task only once it was launched. Of one that still waits its framework alone knows, \
so say whose it is and what it would use.";

/// Say why somebody is not offered what it wants
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say why nothing is offered to a framework
    Framework {
        /// The framework's id, as `meshos frameworks` shows it
        #[arg(value_parser = framework_id)]
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Say how a role stands among the others, and who waits in it
    Role {
        /// The role
        #[arg(value_name = "ROLE", value_parser = readable::<Role>)]
        role: String,
        #[command(flatten)]
        common: Common,
    },
    /// Say who has something of a node, and why others are not offered it
    #[command(visible_alias = "node")]
    Agent {
        /// The node's id, hostname or address
        #[arg(value_name = "NODE")]
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Say what became of a task, or where one would fit that waits
    #[command(after_help = TASK_HELP)]
    Task {
        /// The task's id, or FRAMEWORK/TASK when several frameworks have one of that id
        #[arg(value_name = "TASK")]
        task: Option<String>,
        /// Whose task it is that waits
        #[arg(long, value_name = "ID", requires = "resources", conflicts_with = "task", value_parser = framework_id)]
        framework: Option<String>,
        #[arg(long, value_name = "AMOUNTS", requires = "framework", conflicts_with = "task", value_parser = readable::<Wanted>, help = RESOURCES_HELP)]
        resources: Option<String>,
        /// The role that it is to be launched in, when its framework has several
        #[arg(long, value_name = "ROLE", requires = "resources", value_parser = readable::<Role>)]
        role: Option<String>,
        #[command(flatten)]
        common: Common,
    },
}

const RESOURCES_HELP: &str = "What the task that waits would use, such as cpus:2;mem:512, cpus(db):1 of what is reserved \
                              for db or disk(db)[v]:500 for its volume v";

/// Prints the explanation.
pub(super) async fn execute(arguments: Arguments) -> Result<ExitCode> {
    type Tell = fn(Value) -> Result<Vec<String>>;
    let (path, common, tell): (String, Common, Tell) = match arguments.what {
        What::Framework { id, common } => (framework_path(&id), common, framework::sentences),
        What::Role { role, common } => {
            (format!("/api/explain/role/{}", encode(&role)), common, role::sentences)
        }
        What::Agent { name, common } => {
            (format!("/api/explain/agent/{}", encode(&name)), common, node::sentences)
        }
        What::Task { task: Some(task), common, .. } => {
            let (framework, task) = task.split_once('/').unwrap_or(("-", &task));
            let framework = framework_id(framework).unwrap_or_else(|_| framework.to_owned());
            let path = format!("/api/explain/task/{}/{}", encode(&framework), encode(task));
            (path, common, task::launched)
        }
        What::Task {
            task: None,
            framework: Some(framework),
            resources: Some(resources),
            role,
            common,
        } => (waiting_path(&framework, role.as_deref(), &resources), common, task::waiting),
        What::Task { task: None, .. } => {
            let text = "name a task that was launched, as in `meshos explain task F3/web-1`, or what one \
                        that waits would use: --framework F3 --resources 'cpus:2;mem:512'";
            return Err(Usage(text.to_owned()).into());
        }
    };
    let value = common.get(&path).await?;
    if common.json {
        output::json(&value)?;
    } else {
        let lines: Vec<String> = tell(value)?.iter().map(|line| wrap(line, 2)).collect();
        output::line(&lines.join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The id of a framework, also when it is given as Mesos's API writes it.
fn framework_id(text: &str) -> Result<String, String> {
    framework_of_mesos(text).map_or_else(|| readable::<FrameworkId>(text), |id| Ok(id.to_string()))
}

/// Where the API explains a framework.
fn framework_path(framework: &str) -> String {
    format!("/api/explain/framework/{}", encode(framework))
}

/// Where the API explains a task that waits.
pub(super) fn waiting_path(framework: &str, role: Option<&str>, resources: &str) -> String {
    let role = role.map(|role| format!("&role={}", encode(role))).unwrap_or_default();
    format!("/api/explain/task/{}?resources={}{role}", encode(framework), encode(resources))
}

/// What the API says of a task that waits, in sentences, the weightiest first.
///
/// # Errors
/// When the value is no such explanation.
pub(super) fn waiting_sentences(value: Value) -> Result<Vec<String>> {
    task::waiting(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_waits_is_asked_for_by_what_it_would_use() {
        assert_eq!(
            waiting_path("F7", Some("a/b"), "cpus:2;mem:64"),
            "/api/explain/task/F7?resources=cpus%3A2%3Bmem%3A64&role=a%2Fb"
        );
        assert_eq!(waiting_path("F7", None, "mem:1"), "/api/explain/task/F7?resources=mem%3A1");
    }

    #[test]
    fn frameworks_are_known_by_the_ids_of_both_apis() {
        let cluster = "c0ffee00-1234-4321-8888-123456789abc";
        for (text, id) in [("F2", "F2"), ("F10000", "F10000")] {
            assert_eq!(framework_id(text).as_deref(), Ok(id));
        }
        assert_eq!(framework_id(&format!("{cluster}-0002")).as_deref(), Ok("F2"));
        assert_eq!(framework_id(&format!("{cluster}-10000")).as_deref(), Ok("F10000"));
        for text in ["2", "-0002", "x-2", "F", "c-99999999999999999999999"] {
            let error = framework_id(text).unwrap_err();
            assert!(error.contains("expected F<number>"), "{error}");
        }
    }
}
