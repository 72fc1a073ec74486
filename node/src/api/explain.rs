//! Why somebody is not offered what it wants.

use meshos_control::master::{Explanation, NotExplained, Question, TaskView, View};
use meshos_protocol::{ids::FrameworkId, resources::Resources, role::Role, shown::Wanted};
use serde::Serialize;

use super::{
    Api,
    call::{Answer, Failure},
    names,
    query::Query,
    route::{self, TaskName},
    tasks,
};
use crate::driver::master::Unexplained;

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Framework(FrameworkId),
    Role(Role),
    /// As somebody calls the node, or its agent's id.
    Node(String),
    /// A task that was launched.
    Task(TaskName),
    /// A task that a framework would like to launch.
    Waiting {
        framework: FrameworkId,
        role: Option<Role>,
        resources: Resources,
    },
}

/// A task that was launched, and what its node does.
#[derive(Serialize)]
struct Launched<'a> {
    #[serde(flatten)]
    task: tasks::Located<'a>,
    /// The node's host name.
    hostname: Option<String>,
    /// Whether it has ended.
    ended: bool,
}

impl Asked {
    /// What the path behind `explain` asks for; nothing when it is no such path.
    pub(super) fn of(path: &[&str], query: Query) -> Option<Result<Self, Failure>> {
        Some(match path {
            ["framework", id] => {
                query.only(&[]).and_then(|_| Ok(Self::Framework(names::framework(id)?)))
            }
            // Roles have slashes in them, which need not be encoded.
            ["role", role @ ..] if !role.is_empty() => query.only(&[]).and_then(|_| {
                let role = Role::new(&role.join("/"))
                    .map_err(|error| Failure::invalid(error.to_string()))?;
                Ok(Self::Role(role))
            }),
            ["agent" | "node", name] => query.only(&[]).map(|_| Self::Node((*name).to_owned())),
            ["task", framework] => Self::waiting(framework, query),
            ["task", framework, task] => {
                query.only(&[]).and_then(|_| Ok(Self::Task(route::task_name(framework, task)?)))
            }
            _ => return None,
        })
    }

    fn waiting(framework: &str, query: Query) -> Result<Self, Failure> {
        let query = query.only(&["role", "resources"])?;
        let resources: Option<Wanted> = query.get("resources")?;
        let Some(resources) =
            resources.map(|wanted| wanted.0).filter(|resources| !resources.is_empty())
        else {
            return Err(Failure::invalid(
                "say what the task would use, as in resources=cpus:1;mem:128, or name a task that was launched",
            ));
        };
        let (framework, role) = (names::framework(framework)?, query.get("role")?);
        Ok(Self::Waiting { framework, role, resources })
    }
}

impl Api {
    /// Explains what the leader's picture shows, or has its master explain it.
    pub(super) async fn explain(&self, asked: &Asked, view: &View) -> Result<Answer, Failure> {
        let question = match asked {
            Asked::Framework(framework) => Question::Framework(*framework),
            Asked::Role(role) => Question::Role(role.clone()),
            Asked::Node(name) => Question::Node(self.node_id_of(view, name)?),
            Asked::Task(name) => {
                let task = tasks::find(view.tasks.iter(), view.tasks_ended.iter(), name)?;
                return Answer::json(&launched(task, view));
            }
            Asked::Waiting { framework, role, resources } => Question::Task {
                framework: *framework,
                role: role.clone(),
                resources: resources.clone(),
            },
        };
        let told: Result<Explanation, Unexplained> = self.options.master.explain(question).await;
        match told {
            Ok(explanation) => Answer::json(&explanation),
            Err(Unexplained::Nothing(why)) => Err(match why {
                NotExplained::NotInRole { .. }
                | NotExplained::WhichRole { .. }
                | NotExplained::ReservedForOther { .. } => Failure::invalid(why.to_string()),
                _ => Failure::not_found(why.to_string()),
            }),
            Err(Unexplained::NotLeading) => Err(Failure::no_leader(&[])),
            Err(Unexplained::Busy) => Err(Failure::unavailable(
                "too many explanations are asked for at once: they are made one at a time, so that offers do not wait for them; try again",
            )),
        }
    }
}

fn launched<'a>(task: &'a TaskView, view: &'a View) -> Launched<'a> {
    let agent = view.agents.iter().find(|agent| agent.id == task.node_id);
    let hostname = agent.map(|agent| agent.hostname.clone()).filter(|name| !name.is_empty());
    let ended = task.state.is_terminal();
    Launched { task: tasks::located(task, agent.map(AsRef::as_ref)), hostname, ended }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::route::{Leading, Route};

    fn asked(path: &str) -> Result<Asked, u16> {
        match Route::of("GET", path) {
            Ok(Route::Leader(Leading::Explain(asked))) => Ok(asked),
            Ok(other) => panic!("{path} is {other:?}"),
            Err(failure) => Err(Answer::from(failure).status),
        }
    }

    #[test]
    fn everything_that_can_be_explained_has_its_path() {
        let role = |name: &str| Role::new(name).unwrap();
        assert_eq!(asked("/explain/role/a%2Fb"), Ok(Asked::Role(role("a/b"))));
        assert_eq!(asked("/explain/role/a/b"), Ok(Asked::Role(role("a/b"))));
        assert_eq!(asked("/explain/role/a/b%2Fc/d"), Ok(Asked::Role(role("a/b/c/d"))));
        assert_eq!(asked("/api/explain/role/*"), Ok(Asked::Role(role("*"))));
        let of_mesos = "/api/explain/framework/c0ffee00-1234-4321-8888-123456789abc-0007";
        assert_eq!(asked(of_mesos), Ok(Asked::Framework(FrameworkId(7))));
        assert_eq!(asked("/explain/node/lab"), Ok(Asked::Node("lab".to_owned())));
        let Ok(Asked::Task(name)) = asked("/explain/task/-/web.1") else { panic!("not a task") };
        assert_eq!((name.framework, name.task.as_str()), (None, "web.1"));
        let waiting = Asked::Waiting {
            framework: FrameworkId(7),
            role: Some(role("web")),
            resources: "cpus:2;mem:64".parse().unwrap(),
        };
        let path = "/api/explain/task/F7?role=web&resources=cpus%3A2%3Bmem%3A64";
        assert_eq!(asked(path), Ok(waiting));
    }

    #[test]
    fn what_cannot_be_explained_is_refused() {
        for (path, status) in [
            ("/explain/task/F7", 400),
            ("/explain/task/F7?resources=", 400),
            ("/explain/task/F7?resources=cpus", 400),
            ("/explain/task/F7?role=a%20b&resources=cpus:1", 400),
            ("/explain/task/7?resources=cpus:1", 400),
            ("/explain/framework/F7?role=a", 400),
            ("/explain/role/%2F", 400),
            ("/explain/role/a//b", 400),
            ("/explain/task/F7?resources=disk%5Bv%5D:5", 400),
            ("/explain/agent", 404),
            ("/explain/quota/a", 404),
        ] {
            assert_eq!(asked(path), Err(status), "{path}");
        }
    }
}
