//! Which call is which.

use meshos_mesos::codec::Media;
use meshos_protocol::{
    ids::{FrameworkId, NodeId, TaskId},
    task::TaskState,
};

use super::{
    call::Failure,
    explain::Asked,
    maintenance,
    mesos::{self, FilesRequest, Own, Reading},
    query::{Query, Target},
};

/// The most bytes of a file in one answer.
pub(super) const LOG_BYTES_MAX: usize = 1 << 20;

const READ: &str = "GET, HEAD";
const CHANGE: &str = "POST";

/// All that may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Of this node.
    Here(Here),
    /// Of the leader.
    Leader(Leading),
    /// Of the node that has a task's sandbox.
    Log(LogRequest),
    /// Of the same, as Mesos tells it.
    Files(FilesRequest),
}

/// What every node answers for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Here {
    Health,
    /// Mesos's form of it: no body.
    MesosHealth,
    Version,
    /// To the leader, as Mesos's masters do.
    Redirect,
    Metrics,
    Agent,
    /// Of this node, as Mesos tells it.
    Mesos(Own),
    Credentials,
    /// The leader asks this node to take its log.
    AdmitLeader,
}

/// What the leader answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leading {
    Leader,
    Nodes(Option<Page>),
    Frameworks(Option<Page>),
    Tasks(TaskFilter),
    Task(TaskName),
    Offers(Option<Page>),
    /// As Mesos tells it.
    Mesos(Reading),
    /// A call of Mesos's operator API that changes something, in this encoding.
    MesosChange(Media),
    Explain(Asked),
    Voters,
    Weights,
    Roles,
    Policy,
    Reservations(Option<Page>),
    Volumes(Option<Page>),
    Maintenance,
    KillTask,
    Teardown,
    NodeGone,
    DrainNode,
    UndrainNode,
    DeactivateNode,
    ReactivateNode,
    ChangeMaintenance(maintenance::Change),
    SetWeight,
    SetPriority,
    SetQuota,
    SetPolicy,
    Reserve,
    Unreserve,
    CreateVolume,
    DestroyVolume,
    AddVoter,
    RemoveVoter,
    TransferLeader,
}

impl Leading {
    /// Whether it lists, or is held against, what frameworks and operators do, of whom callers may just have heard. Nodes are
    /// listed by all who look for a way to the leader, and those are in a hurry.
    pub(super) const fn lists_work(&self) -> bool {
        matches!(
            self,
            Self::Frameworks(_)
                | Self::Tasks(_)
                | Self::Offers(_)
                | Self::Mesos(_)
                | Self::MesosChange(_)
                | Self::Reservations(_)
                | Self::Volumes(_)
                | Self::Maintenance
                | Self::ChangeMaintenance(_)
        )
    }

    /// Whether it may be asked again when the answer is lost: it changes nothing, or nothing more.
    pub(super) const fn may_repeat(&self) -> bool {
        match self {
            Self::Leader
            | Self::Nodes(_)
            | Self::Frameworks(_)
            | Self::Tasks(_)
            | Self::Task(_)
            | Self::Offers(_)
            | Self::Mesos(_)
            | Self::Explain(_)
            | Self::Voters
            | Self::Weights
            | Self::Roles
            | Self::Policy
            | Self::Reservations(_)
            | Self::Volumes(_)
            | Self::Maintenance
            | Self::KillTask => true,
            Self::MesosChange(_)
            | Self::Teardown
            | Self::NodeGone
            | Self::DrainNode
            | Self::UndrainNode
            | Self::DeactivateNode
            | Self::ReactivateNode
            | Self::ChangeMaintenance(_)
            | Self::SetWeight
            | Self::SetPriority
            | Self::SetQuota
            | Self::SetPolicy
            | Self::Reserve
            | Self::Unreserve
            | Self::CreateVolume
            | Self::DestroyVolume
            | Self::AddVoter
            | Self::RemoveVoter
            | Self::TransferLeader => false,
        }
    }
}

/// A page of a list: see `pages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    /// The reader's number for the rows as they are when it begins.
    pub picture: u64,
    /// The first row of the page.
    pub offset: usize,
}

/// Names a task; its id is enough when no other framework uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TaskName {
    pub framework: Option<FrameworkId>,
    pub task: TaskId,
}

/// Which tasks, and how many of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TaskFilter {
    pub framework: Option<FrameworkId>,
    pub node: Option<NodeId>,
    pub state: Option<TaskState>,
    pub offset: usize,
    pub limit: Option<usize>,
    /// Set, the rest is for the whole list, and the answer is a page of it.
    pub page: Option<Page>,
}

/// A part of what a task wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogRequest {
    pub name: TaskName,
    /// `stdout` or `stderr`.
    pub file: &'static str,
    /// Where to begin, in bytes.
    pub offset: u64,
    /// How many bytes at most.
    pub length: usize,
    /// Where the task ran, when the caller knows.
    pub node: Option<NodeId>,
}

impl Route {
    /// The route of a method and a path with its query.
    ///
    /// # Errors
    /// 404 for a path that does not exist, 405 for another method than it takes, 400 for
    /// parameters that cannot be read.
    pub(super) fn of(method: &str, path: &str) -> Result<Self, Failure> {
        let Target { segments, query } = Target::parse(path)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let read =
            || if matches!(method, "GET" | "HEAD") { Ok(()) } else { Err(Failure::method(READ)) };
        let change = || if method == "POST" { Ok(()) } else { Err(Failure::method(CHANGE)) };
        if let Some(route) = fixed_read(&segments) {
            read()?;
            query.only(&[])?;
            return Ok(route);
        }
        if let Some(route) = fixed_change(&segments) {
            change()?;
            query.only(&[])?;
            return Ok(route);
        }
        if let ["mesos", "change"] = segments.as_slice() {
            change()?;
            return mesos::change_route(&query);
        }
        if let ["mesos", rest @ ..] = segments.as_slice() {
            read()?;
            return mesos::route(rest, &query).unwrap_or_else(|| Err(unknown(path)));
        }
        match segments.as_slice() {
            ["api", list @ ("nodes" | "frameworks" | "offers" | "reservations" | "volumes")] => {
                read()?;
                let page = page(&query.only(&["picture", "offset"])?)?;
                Ok(Self::Leader(match *list {
                    "nodes" => Leading::Nodes(page),
                    "frameworks" => Leading::Frameworks(page),
                    "reservations" => Leading::Reservations(page),
                    "volumes" => Leading::Volumes(page),
                    _ => Leading::Offers(page),
                }))
            }
            ["api", "tasks"] => {
                read()?;
                Ok(Self::Leader(Leading::Tasks(task_filter(query)?)))
            }
            ["api", "explain", rest @ ..] | ["explain", rest @ ..] if !rest.is_empty() => {
                let asked = Asked::of(rest, query).unwrap_or_else(|| Err(unknown(path)))?;
                read()?;
                Ok(Self::Leader(Leading::Explain(asked)))
            }
            ["api", "tasks", framework, task] => {
                read()?;
                query.only(&[])?;
                Ok(Self::Leader(Leading::Task(task_name(framework, task)?)))
            }
            ["api", "tasks", framework, task, "logs", file @ ("stdout" | "stderr")] => {
                read()?;
                let file = if *file == "stdout" { "stdout" } else { "stderr" };
                Ok(Self::Log(log_request(task_name(framework, task)?, file, query)?))
            }
            _ => Err(unknown(path)),
        }
    }
}

fn fixed_read(segments: &[&str]) -> Option<Route> {
    Some(match segments {
        ["health"] => Route::Here(Here::Health),
        ["master", "health"] => Route::Here(Here::MesosHealth),
        ["version"] | ["master", "version"] => Route::Here(Here::Version),
        ["redirect"] | ["master", "redirect"] => Route::Here(Here::Redirect),
        ["metrics"] => Route::Here(Here::Metrics),
        ["api", "agent"] => Route::Here(Here::Agent),
        ["api", "leader"] => Route::Leader(Leading::Leader),
        ["api", "voters"] => Route::Leader(Leading::Voters),
        ["api", "weights"] => Route::Leader(Leading::Weights),
        ["api", "roles"] => Route::Leader(Leading::Roles),
        ["api", "policy"] => Route::Leader(Leading::Policy),
        ["api", "maintenance"] => Route::Leader(Leading::Maintenance),
        _ => return None,
    })
}

fn fixed_change(segments: &[&str]) -> Option<Route> {
    Some(match segments {
        ["api", "tasks", "kill"] => Route::Leader(Leading::KillTask),
        ["api", "frameworks", "teardown"] => Route::Leader(Leading::Teardown),
        ["api", "frameworks", "credentials"] => Route::Here(Here::Credentials),
        ["api", "nodes", "gone"] => Route::Leader(Leading::NodeGone),
        ["api", "nodes", "drain"] => Route::Leader(Leading::DrainNode),
        ["api", "nodes", "undrain"] => Route::Leader(Leading::UndrainNode),
        ["api", "nodes", "deactivate"] => Route::Leader(Leading::DeactivateNode),
        ["api", "nodes", "reactivate"] => Route::Leader(Leading::ReactivateNode),
        ["api", "maintenance", change] => {
            Route::Leader(Leading::ChangeMaintenance(maintenance::Change::named(change)?))
        }
        ["api", "weights", "set"] => Route::Leader(Leading::SetWeight),
        ["api", "priorities", "set"] => Route::Leader(Leading::SetPriority),
        ["api", "quotas", "set"] => Route::Leader(Leading::SetQuota),
        ["api", "policy", "set"] => Route::Leader(Leading::SetPolicy),
        ["api", "reservations", "reserve"] => Route::Leader(Leading::Reserve),
        ["api", "reservations", "unreserve"] => Route::Leader(Leading::Unreserve),
        ["api", "volumes", "create"] => Route::Leader(Leading::CreateVolume),
        ["api", "volumes", "destroy"] => Route::Leader(Leading::DestroyVolume),
        ["api", "voters", "add"] => Route::Leader(Leading::AddVoter),
        ["api", "voters", "remove"] => Route::Leader(Leading::RemoveVoter),
        ["api", "voters", "transfer"] => Route::Leader(Leading::TransferLeader),
        ["api", "voters", "admit-leader"] => Route::Here(Here::AdmitLeader),
        _ => return None,
    })
}

fn unknown(path: &str) -> Failure {
    let path = path.split('?').next().unwrap_or(path);
    Failure::not_found(format!("there is nothing at {path:?}"))
}

pub(super) fn framework(text: &str) -> Result<FrameworkId, Failure> {
    text.parse().map_err(|error: meshos_protocol::ids::IdError| Failure::invalid(error.to_string()))
}

/// `-` stands for whichever framework has the task.
pub(super) fn task_name(of: &str, task: &str) -> Result<TaskName, Failure> {
    let framework = if of == "-" { None } else { Some(framework(of)?) };
    let task = TaskId::new(task).map_err(|error| Failure::invalid(error.to_string()))?;
    Ok(TaskName { framework, task })
}

fn page(query: &Query) -> Result<Option<Page>, Failure> {
    let offset = query.get("offset")?;
    match query.get("picture")? {
        Some(picture) => Ok(Some(Page { picture, offset: offset.unwrap_or(0) })),
        None if offset.is_some() => Err(Failure::invalid(
            "parameter offset is for pages: name their picture with picture= and any number",
        )),
        None => Ok(None),
    }
}

fn task_filter(query: Query) -> Result<TaskFilter, Failure> {
    let query = query.only(&["framework", "node", "state", "limit", "offset", "picture"])?;
    let limit = query.get("limit")?;
    let picture: Option<u64> = query.get("picture")?;
    if picture.is_some() && limit.is_some() {
        return Err(Failure::invalid(
            "parameters picture and limit exclude each other: pages are as long as fits",
        ));
    }
    let page = if picture.is_some() { page(&query)? } else { None };
    let offset = if page.is_some() { 0 } else { query.get("offset")?.unwrap_or(0) };
    let state = query.get::<String>("state")?.map(|name| task_state(&name)).transpose()?;
    Ok(TaskFilter {
        framework: query.get("framework")?,
        node: query.get("node")?,
        state,
        offset,
        limit,
        page,
    })
}

fn task_state(name: &str) -> Result<TaskState, Failure> {
    TaskState::ALL.into_iter().find(|state| state.name() == name).ok_or_else(|| {
        let known = TaskState::ALL.map(TaskState::name).join(", ");
        Failure::invalid(format!(
            "parameter state={name:?} is not a task state: expected one of {known}"
        ))
    })
}

fn log_request(name: TaskName, file: &'static str, query: Query) -> Result<LogRequest, Failure> {
    let query = query.only(&["offset", "length", "node"])?;
    let length = query.get("length")?.unwrap_or(LOG_BYTES_MAX);
    if length > LOG_BYTES_MAX {
        let what =
            format!("parameter length={length}: at most {LOG_BYTES_MAX} bytes are sent at a time");
        return Err(Failure::invalid(what));
    }
    let offset = query.get("offset")?.unwrap_or(0);
    Ok(LogRequest { name, file, offset, length, node: query.get("node")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Answer;

    fn status(method: &str, path: &str) -> u16 {
        Answer::from(Route::of(method, path).unwrap_err()).status
    }

    #[test]
    fn every_path_has_its_route() {
        let explain = |asked| Route::Leader(Leading::Explain(asked));
        let maintain = |change| Route::Leader(Leading::ChangeMaintenance(change));
        let cases = [
            ("GET", "/health", Route::Here(Here::Health)),
            ("HEAD", "/metrics", Route::Here(Here::Metrics)),
            ("GET", "/master/health", Route::Here(Here::MesosHealth)),
            ("GET", "/master/version", Route::Here(Here::Version)),
            ("GET", "/redirect", Route::Here(Here::Redirect)),
            ("HEAD", "/master/redirect", Route::Here(Here::Redirect)),
            ("GET", "/api/leader", Route::Leader(Leading::Leader)),
            ("GET", "/explain/framework/F7", explain(Asked::Framework(FrameworkId(7)))),
            ("GET", "/api/explain/framework/F7", explain(Asked::Framework(FrameworkId(7)))),
            ("GET", "/explain/agent/lab%3A5050", explain(Asked::Node("lab:5050".into()))),
            ("POST", "/api/tasks/kill", Route::Leader(Leading::KillTask)),
            ("POST", "/api/frameworks/credentials", Route::Here(Here::Credentials)),
            ("POST", "/api/voters/transfer", Route::Leader(Leading::TransferLeader)),
            ("POST", "/api/nodes/gone", Route::Leader(Leading::NodeGone)),
            ("POST", "/api/nodes/drain", Route::Leader(Leading::DrainNode)),
            ("POST", "/api/nodes/undrain", Route::Leader(Leading::UndrainNode)),
            ("POST", "/api/nodes/deactivate", Route::Leader(Leading::DeactivateNode)),
            ("POST", "/api/nodes/reactivate", Route::Leader(Leading::ReactivateNode)),
            ("GET", "/api/maintenance", Route::Leader(Leading::Maintenance)),
            ("POST", "/api/maintenance/set", maintain(maintenance::Change::Set)),
            ("POST", "/api/maintenance/clear", maintain(maintenance::Change::Clear)),
            ("POST", "/api/maintenance/start", maintain(maintenance::Change::Start)),
            ("POST", "/api/maintenance/stop", maintain(maintenance::Change::Stop)),
            ("GET", "/api/weights", Route::Leader(Leading::Weights)),
            ("POST", "/api/weights/set", Route::Leader(Leading::SetWeight)),
            ("GET", "/api/roles", Route::Leader(Leading::Roles)),
            ("POST", "/api/priorities/set", Route::Leader(Leading::SetPriority)),
            ("POST", "/api/quotas/set", Route::Leader(Leading::SetQuota)),
            ("GET", "/api/reservations", Route::Leader(Leading::Reservations(None))),
            ("POST", "/api/reservations/reserve", Route::Leader(Leading::Reserve)),
            ("POST", "/api/reservations/unreserve", Route::Leader(Leading::Unreserve)),
            ("GET", "/api/volumes", Route::Leader(Leading::Volumes(None))),
            ("POST", "/api/volumes/create", Route::Leader(Leading::CreateVolume)),
            ("POST", "/api/volumes/destroy", Route::Leader(Leading::DestroyVolume)),
            ("GET", "/api/policy", Route::Leader(Leading::Policy)),
            ("POST", "/api/policy/set", Route::Leader(Leading::SetPolicy)),
        ];
        for (method, path, route) in cases {
            assert_eq!(Route::of(method, path).unwrap(), route, "{method} {path}");
        }
    }

    #[test]
    fn tasks_are_filtered_by_their_query() {
        let route =
            Route::of("GET", "/api/tasks?framework=F2&state=gone_by_operator&limit=5&offset=10");
        let filter = TaskFilter {
            framework: Some(FrameworkId(2)),
            node: None,
            state: Some(TaskState::GoneByOperator),
            offset: 10,
            limit: Some(5),
            page: None,
        };
        assert_eq!(route.unwrap(), Route::Leader(Leading::Tasks(filter)));
        for query in ["framework=2", "state=Running", "limit=-1", "status=running", "node=x"] {
            assert_eq!(status("GET", &format!("/api/tasks?{query}")), 400, "{query}");
        }
    }

    #[test]
    fn lists_are_read_whole_or_in_pages() {
        let page = Some(Page { picture: 7, offset: 12 });
        let paged = |list: &str| Route::of("GET", &format!("/api/{list}?picture=7&offset=12"));
        assert_eq!(paged("nodes").unwrap(), Route::Leader(Leading::Nodes(page)));
        assert_eq!(paged("frameworks").unwrap(), Route::Leader(Leading::Frameworks(page)));
        assert_eq!(paged("offers").unwrap(), Route::Leader(Leading::Offers(page)));
        let filter = TaskFilter { page, ..TaskFilter::default() };
        assert_eq!(paged("tasks").unwrap(), Route::Leader(Leading::Tasks(filter)));
        let whole = Route::of("GET", "/api/nodes").unwrap();
        assert_eq!(whole, Route::Leader(Leading::Nodes(None)));
        for query in
            ["nodes?offset=1", "nodes?limit=1", "nodes?picture=x", "tasks?picture=1&limit=1"]
        {
            assert_eq!(status("GET", &format!("/api/{query}")), 400, "{query}");
        }
    }

    #[test]
    fn a_log_is_asked_for_by_task_file_and_place() {
        let Route::Log(request) =
            Route::of("GET", "/api/tasks/F1/web%201/logs/stderr?offset=12&length=34").unwrap()
        else {
            panic!("not a log");
        };
        assert_eq!(request.name.framework, Some(FrameworkId(1)));
        assert_eq!(request.name.task.as_str(), "web 1");
        assert_eq!((request.file, request.offset, request.length), ("stderr", 12, 34));
        let Route::Log(any) = Route::of("GET", "/api/tasks/-/t/logs/stdout").unwrap() else {
            panic!("not a log");
        };
        assert_eq!((any.name.framework, any.length), (None, LOG_BYTES_MAX));
        assert_eq!(status("GET", "/api/tasks/F1/t/logs/stdout?length=1048577"), 400);
        assert_eq!(status("GET", "/api/tasks/F1/..%2F..%2Fetc/logs/stdout"), 400);
        assert_eq!(status("GET", "/api/tasks/F1/%2e%2e/logs/stdout"), 400);
        assert_eq!(status("GET", "/api/tasks/F1/t/logs/passwd"), 404);
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        for path in [
            "/",
            "/redirect/state",
            "/api",
            "/api/",
            "/api/nodes/",
            "/api/tasks/F1",
            "/explain",
            "//health",
        ] {
            assert_eq!(status("GET", path), 404, "{path}");
        }
        assert_eq!(status("POST", "/api/nodes"), 405);
        assert_eq!(status("GET", "/api/tasks/kill"), 405);
        assert_eq!(status("GET", "/api/nodes/gone"), 405);
        assert_eq!(status("POST", "/api/weights"), 405);
        assert_eq!(status("DELETE", "/api/tasks"), 405);
        assert_eq!(status("GET", "/health?verbose"), 400);
        let allow = Answer::from(Route::of("GET", "/api/voters/add").unwrap_err()).allow;
        assert_eq!(allow, Some("POST"));
    }
}
