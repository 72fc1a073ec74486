//! Which read is which.

use meshos_mesos::{
    codec::{Media, Refused},
    operator::{self as calls, AgentCalled, Called},
    reads::{ContainerQuery, Order, TaskQuery, agent_calls::AgentRead, operator},
};

use super::{
    super::{
        call::Failure,
        query::{Query, Target},
        route::Route,
    },
    change,
    events::Cursor,
    files::FilesRequest,
    word,
};
use crate::api::{
    Api,
    route::{Here, Leading},
};

/// How many tasks are told unless it is said how many.
const TASKS_USUAL: usize = 100;

/// What the leader answers from its picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum Reading {
    State,
    Summary,
    Agents(Option<String>),
    Frameworks(Option<String>),
    Tasks(TaskQuery),
    Roles,
    Weights,
    Quota,
    /// Which machines will be away.
    Schedule,
    /// What was said of them.
    Maintenance,
    /// A call of the operator API, to be answered in this encoding.
    Call(operator::Read, Media),
    /// What happened since a picture that was told, or all that there is.
    Events(Option<Cursor>, Media),
}

/// A call of the operator API on its way to the leader: under which path here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OperatorCall {
    /// The path says all.
    Read(String),
    /// With the body.
    Change(String),
    /// To be told what happens, in this encoding.
    Watch(Media),
}

/// What each node answers for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum Own {
    Flags,
    Metrics,
    Agent,
    AgentFlags,
    Statistics,
    Containers(ContainerQuery),
    /// The machine.
    System,
    /// By which paths sandboxes are read.
    Sandboxes,
    /// A call of the agent's operator API, to be answered in this encoding.
    Call(AgentRead, Media),
}

/// What Mesos's masters and agents both serve.
const BOTH: [(&str, &str); 2] = [("health", "/master/health"), ("version", "/version")];

/// What processes of their own serve at both. Of files those of the node, when it is asked as an agent, else those of any.
const BESIDE: [(&str, &str, &str); 4] = [
    ("files/browse", "/mesos/files/browse", "/mesos/agent/files/browse"),
    ("files/read", "/mesos/files/read", "/mesos/agent/files/read"),
    ("files/debug", "/mesos/files/debug", "/mesos/files/debug"),
    ("system/stats", "/mesos/system", "/mesos/system"),
];

/// What its masters serve: the name there, and the path here.
const OF_MASTER: [(&str, &str); 13] = [
    ("state", "/mesos/state"),
    ("state-summary", "/mesos/state-summary"),
    ("slaves", "/mesos/agents"),
    ("frameworks", "/mesos/frameworks"),
    ("tasks", "/mesos/tasks"),
    ("roles", "/mesos/roles"),
    ("weights", "/mesos/weights"),
    ("quota", "/mesos/quota"),
    ("flags", "/mesos/flags"),
    ("metrics/snapshot", "/mesos/metrics"),
    ("stats", "/mesos/metrics"),
    ("maintenance/schedule", "/mesos/schedule"),
    ("maintenance/status", "/mesos/maintenance"),
];

/// What its agents serve.
const OF_AGENT: [(&str, &str); 6] = [
    ("state", "/mesos/agent"),
    ("flags", "/mesos/agent/flags"),
    ("monitor/statistics", "/mesos/agent/statistics"),
    ("containers", "/mesos/agent/containers"),
    ("metrics/snapshot", "/mesos/metrics"),
    ("stats", "/mesos/metrics"),
];

impl Api {
    /// The path here of one that tools made for Mesos read, on the agent's port or the cluster's; nothing when it is none of
    /// them. With or without the process's name in front, slashes or `.json` at the end.
    pub(crate) fn mesos_path(path: &str, agent_port: bool) -> Option<&'static str> {
        let path = path.strip_prefix('/')?.trim_end_matches('/');
        let (agent, named, name) = match path.split_once('/') {
            Some(("master", rest)) if !agent_port => (false, true, rest),
            Some(("slave(1)" | "slave%281%29", rest)) => (true, true, rest),
            // Its metrics have a process of their own.
            _ => (agent_port, false, path),
        };
        let name = name.strip_suffix(".json").unwrap_or(name);
        if !named && let Some((_, any, own)) = BESIDE.iter().find(|(known, ..)| *known == name) {
            return Some(if agent { own } else { any });
        }
        let own: &[(&str, &str)] = if agent { &OF_AGENT } else { &OF_MASTER };
        let both = BOTH.iter().filter(|_| named);
        both.chain(own).find(|(known, _)| *known == name).map(|(_, here)| *here)
    }

    /// Whose operator API is at a path of the agent's port or the cluster's; nothing when it is none.
    pub(crate) fn operator_path(path: &str, agent_port: bool) -> Option<OperatorApi> {
        let mut of_agent = ["/slave(1)", "/slave%281%29"].into_iter();
        let (api, path) = match of_agent.find_map(|process| path.strip_prefix(process)) {
            Some(path) => (OperatorApi::Agent, path),
            None if agent_port => (OperatorApi::Agent, path),
            None => (OperatorApi::Cluster, path.strip_prefix("/master").unwrap_or(path)),
        };
        let rest = path.strip_prefix("/api/v1")?;
        // Whoever takes an agent for a master is told so.
        if api == OperatorApi::Agent && rest.trim_end_matches('/') == "/scheduler" {
            return None;
        }
        (rest.is_empty() || rest.starts_with('/')).then_some(api)
    }

    /// Whether a path hands out files. They come from a process of their own, at both ports.
    pub(crate) fn is_download_path(path: &str) -> bool {
        let path = path.trim_end_matches('/');
        matches!(path.strip_suffix(".json").unwrap_or(path), "/files/download")
    }

    /// Whether what is at one of those paths grows with the tasks of the cluster, or of the node.
    pub(crate) fn may_be_long(path: &str) -> bool {
        const SHORT: [&str; 14] = [
            "/mesos/roles",
            "/mesos/weights",
            "/mesos/quota",
            "/mesos/flags",
            "/mesos/agent/flags",
            "/mesos/metrics",
            "/mesos/schedule",
            "/mesos/maintenance",
            "/mesos/files/read",
            "/mesos/files/slice",
            "/mesos/agent/files/read",
            "/mesos/agent/files/slice",
            "/mesos/system",
            "/version",
        ];
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let named = query.split('&').find_map(|pair| pair.strip_prefix("type="));
        match path {
            "/mesos/call" => {
                return named.and_then(operator::Read::named).is_none_or(operator::Read::is_long);
            }
            "/mesos/agent/call" => {
                return named.and_then(AgentRead::named).is_none_or(AgentRead::is_long);
            }
            _ => {}
        }
        path != "/master/health" && !SHORT.contains(&path)
    }

    /// Whether a path is one of the nodes' own names for what has others outside.
    pub(crate) fn is_inner(path: &str) -> bool {
        // As it is routed: a part of it may be encoded.
        Target::parse(path)
            .is_ok_and(|target| target.segments.first().is_some_and(|part| part == "mesos"))
    }

    /// What a call of the operator API is here.
    ///
    /// # Errors
    /// When it is no call that is answered here.
    pub(crate) fn operator_call(
        content_type: Option<&str>,
        accept: Option<&str>,
        body: &[u8],
    ) -> Result<OperatorCall, Refused> {
        let media = Media::of_content(content_type)?;
        let (called, _) = calls::read(media, body)?;
        let wanted = Media::acceptable(accept)?;
        let encoding = word(wanted);
        Ok(match called {
            Called::Read(read) => {
                OperatorCall::Read(format!("/mesos/call?type={}&as={encoding}", read.name()))
            }
            Called::Files(files) => OperatorCall::Read(Self::files_path(false, &files, wanted)),
            Called::Watch => OperatorCall::Watch(wanted),
            Called::Change(_) => OperatorCall::Change(change::path(media)),
        })
    }

    /// The path here of a call of the agent's operator API.
    ///
    /// # Errors
    /// When it is no call that is answered here.
    pub(crate) fn agent_call(
        content_type: Option<&str>,
        accept: Option<&str>,
        body: &[u8],
    ) -> Result<OperatorCall, Refused> {
        let called = calls::read_agent(calls::agent_media(content_type)?, body)?;
        let wanted = Media::acceptable(accept)?;
        Ok(OperatorCall::Read(match called {
            AgentCalled::Read(read) => {
                format!("/mesos/agent/call?type={}&as={}", read.name(), word(wanted))
            }
            AgentCalled::Files(files) => Self::files_path(true, &files, wanted),
        }))
    }
}

/// Whose operator API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OperatorApi {
    /// The leader's, through any node.
    Cluster,
    /// That of this node's agent.
    Agent,
}

/// The route of a path below `/mesos/`. What a query names beside what is looked for is ignored, as Mesos ignores it.
pub(in crate::api) fn route(segments: &[&str], query: &Query) -> Option<Result<Route, Failure>> {
    let own = |own| Some(Ok(Route::Here(Here::Mesos(own))));
    let of_leader = |reading| Some(Ok(Route::Leader(Leading::Mesos(reading))));
    let text = |name| query.get::<String>(name);
    match segments {
        ["state"] => of_leader(Reading::State),
        ["state-summary"] => of_leader(Reading::Summary),
        ["roles"] => of_leader(Reading::Roles),
        ["weights"] => of_leader(Reading::Weights),
        ["quota"] => of_leader(Reading::Quota),
        ["flags"] => own(Own::Flags),
        ["metrics"] => own(Own::Metrics),
        ["schedule"] => of_leader(Reading::Schedule),
        ["maintenance"] => of_leader(Reading::Maintenance),
        ["agent"] => own(Own::Agent),
        ["agent", "flags"] => own(Own::AgentFlags),
        ["agent", "statistics"] => own(Own::Statistics),
        ["agent", "containers"] => Some(containers(query)),
        ["agent", "call"] => Some(agent_call(query)),
        ["system"] => own(Own::System),
        ["files", "debug"] => own(Own::Sandboxes),
        ["files", name] => Some(FilesRequest::route(name, false, query)),
        ["agent", "files", name] => Some(FilesRequest::route(name, true, query)),
        ["agents"] => Some(text("slave_id").map(|only| leading(Reading::Agents(only)))),
        ["frameworks"] => Some(text("framework_id").map(|only| leading(Reading::Frameworks(only)))),
        ["tasks"] => Some(tasks(query).map(|wanted| leading(Reading::Tasks(wanted)))),
        ["call"] => Some(call(query).map(leading)),
        ["events"] => Some(events(query).map(leading)),
        _ => None,
    }
}

fn leading(reading: Reading) -> Route {
    Route::Leader(Leading::Mesos(reading))
}

fn tasks(query: &Query) -> Result<TaskQuery, Failure> {
    let limit = query.get::<i64>("limit")?;
    let offset = query.get::<usize>("offset")?.unwrap_or(0);
    let order = match query.get::<String>("order")?.as_deref() {
        Some("asc") => Order::Ascending,
        Some(_) | None => Order::Descending,
    };
    Ok(TaskQuery {
        framework: query.get("framework_id")?,
        task: query.get("task_id")?,
        // A negative one is none.
        limit: limit.map_or(Some(TASKS_USUAL), |limit| usize::try_from(limit).ok()),
        offset,
        order,
    })
}

fn call(query: &Query) -> Result<Reading, Failure> {
    let named = query.get::<String>("type")?.and_then(|name| operator::Read::named(&name));
    let read = named.ok_or_else(|| Failure::invalid("this release does not know that call"))?;
    Ok(Reading::Call(read, wanted_media(query)?))
}

fn containers(query: &Query) -> Result<Route, Failure> {
    let only = ContainerQuery {
        container: query.get("container_id")?,
        framework: query.get("framework_id")?,
        executor: query.get("executor_id")?,
    };
    Ok(Route::Here(Here::Mesos(Own::Containers(only))))
}

fn agent_call(query: &Query) -> Result<Route, Failure> {
    let named = query.get::<String>("type")?.and_then(|name| AgentRead::named(&name));
    let read = named.ok_or_else(|| Failure::invalid("this release does not know that call"))?;
    Ok(Route::Here(Here::Mesos(Own::Call(read, wanted_media(query)?))))
}

fn events(query: &Query) -> Result<Reading, Failure> {
    let seen = query.get::<String>("after")?.map(|seen| seen.parse::<Cursor>());
    let seen = seen.transpose().map_err(|()| Failure::invalid("that was told to nobody"))?;
    Ok(Reading::Events(seen, wanted_media(query)?))
}

pub(super) fn wanted_media(query: &Query) -> Result<Media, Failure> {
    let encoding = query.get::<String>("as")?;
    Ok(if encoding.as_deref() == Some("protobuf") { Media::Protobuf } else { Media::Json })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_known_with_and_without_the_process_and_what_old_tools_put_behind() {
        let on = |agent: bool| move |path: &str| Api::mesos_path(path, agent);
        let (master, agent) = (on(false), on(true));
        for path in ["/state", "/master/state", "/state.json", "/master/state.json", "/state///"] {
            assert_eq!(master(path), Some("/mesos/state"), "{path}");
        }
        for path in ["/state", "/slave(1)/state", "/slave%281%29/state.json", "/state/"] {
            assert_eq!(agent(path), Some("/mesos/agent"), "{path}");
        }
        assert_eq!(master("/slave(1)/state"), Some("/mesos/agent"));
        assert_eq!(agent("/monitor/statistics.json"), Some("/mesos/agent/statistics"));
        assert_eq!(agent("/metrics/snapshot"), Some("/mesos/metrics"));
        assert_eq!(master("/metrics/snapshot/"), Some("/mesos/metrics"));
        assert_eq!(master("/master/slaves.json"), Some("/mesos/agents"));
        assert_eq!(master("/master/version"), Some("/version"));
        assert_eq!(agent("/slave(1)/health"), Some("/master/health"));
        // These have forms of meshos's own.
        for path in ["/health", "/version", "/metrics", "/", "", "/api/nodes", "/master", "/states"]
        {
            assert_eq!(master(path), None, "{path}");
        }
        assert_eq!(agent("/master/state"), None);
        assert_eq!(agent("/tasks"), None);
        // Files are those of the agent at its port, and of any node at the other.
        for path in ["/files/read", "/files/read.json", "/files/read/"] {
            assert_eq!(agent(path), Some("/mesos/agent/files/read"), "{path}");
            assert_eq!(master(path), Some("/mesos/files/read"), "{path}");
        }
        assert_eq!(master("/files/browse.json"), Some("/mesos/files/browse"));
        assert_eq!(agent("/files/debug"), Some("/mesos/files/debug"));
        assert_eq!(agent("/system/stats.json"), Some("/mesos/system"));
        for path in ["/files", "/files/", "/files/stat", "/files/bytes", "/master/files/read"] {
            assert_eq!(master(path), None, "{path}");
        }
        for path in ["/files/download", "/files/download.json", "/files/download/"] {
            assert!(Api::is_download_path(path), "{path}");
        }
        assert!(!Api::is_download_path("/files/downloads"));
    }

    #[test]
    fn the_operator_api_takes_whatever_stands_behind_it() {
        let (cluster, agent) = (Some(OperatorApi::Cluster), Some(OperatorApi::Agent));
        for path in ["/api/v1", "/api/v1/", "/master/api/v1", "/api/v1/operator"] {
            assert_eq!(Api::operator_path(path, false), cluster, "{path}");
        }
        for path in ["/slave(1)/api/v1", "/slave%281%29/api/v1/"] {
            assert_eq!(Api::operator_path(path, false), agent, "{path}");
            assert_eq!(Api::operator_path(path, true), agent, "{path}");
        }
        assert_eq!(Api::operator_path("/api/v1", true), agent);
        assert_eq!(Api::operator_path("/master/api/v1", true), None);
        assert_eq!(Api::operator_path("/api/v1/scheduler", true), None);
        for path in ["/api", "/api/v10", "/api/nodes", "/master", "/state", "/slave(1)"] {
            assert_eq!(Api::operator_path(path, false), None, "{path}");
            assert_eq!(Api::operator_path(path, true), None, "{path}");
        }
    }

    fn reading(path: &str) -> Reading {
        match Route::of("GET", path).unwrap() {
            Route::Leader(Leading::Mesos(reading)) => reading,
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn calls_of_an_agent_take_the_memory_of_what_they_answer() {
        let may = |name: &str| Api::may_be_long(&format!("/mesos/agent/call?type={name}&as=json"));
        for short in ["GET_HEALTH", "GET_VERSION", "GET_FLAGS", "GET_METRICS", "GET_AGENT"] {
            assert!(!may(short), "{short}");
        }
        for long in ["GET_STATE", "GET_TASKS", "GET_CONTAINERS", "GET_EXECUTORS", "GET_MORE"] {
            assert!(may(long), "{long}");
        }
        assert!(Api::may_be_long("/mesos/agent/call"));
    }

    #[test]
    fn tasks_are_asked_for_as_mesos_has_it() {
        let usual = TaskQuery { limit: Some(100), ..TaskQuery::default() };
        assert_eq!(reading("/mesos/tasks"), Reading::Tasks(usual.clone()));
        let all = TaskQuery { limit: None, ..usual.clone() };
        assert_eq!(reading("/mesos/tasks?limit=-1&_=1234"), Reading::Tasks(all));
        let some = TaskQuery {
            framework: Some("f".into()),
            task: Some("t".into()),
            limit: Some(5),
            offset: 7,
            order: Order::Ascending,
        };
        let path = "/mesos/tasks?framework_id=f&task_id=t&limit=5&offset=7&order=asc";
        assert_eq!(reading(path), Reading::Tasks(some));
        assert!(Route::of("GET", "/mesos/tasks?limit=many").is_err());
    }

    #[test]
    fn a_call_is_read_where_it_comes_in_and_passed_on_by_name() {
        let json = Some("application/json");
        let protobuf = Some("application/x-protobuf");
        let called = Api::operator_call(json, protobuf, br#"{"type":"GET_TASKS"}"#);
        let Ok(OperatorCall::Read(path)) = called else { panic!("it is {called:?}") };
        assert_eq!(path, "/mesos/call?type=GET_TASKS&as=protobuf");
        assert_eq!(reading(&path), Reading::Call(operator::Read::Tasks, Media::Protobuf));
        let teardown = br#"{"type":"TEARDOWN","teardown":{"framework_id":{"value":"f"}}}"#;
        let path = "/mesos/change?in=json";
        let called = Api::operator_call(json, None, teardown);
        assert_eq!(called, Ok(OperatorCall::Change(path.to_owned())));
        let route = Route::of("POST", path).unwrap();
        assert_eq!(route, Route::Leader(Leading::MesosChange(Media::Json)));
        for (method, path) in [("GET", path), ("POST", "/mesos/change")] {
            assert!(Route::of(method, path).is_err(), "{method} {path}");
        }
        let watch = Api::operator_call(json, protobuf, br#"{"type":"SUBSCRIBE"}"#);
        assert_eq!(watch, Ok(OperatorCall::Watch(Media::Protobuf)));
        let seen = "3-7".parse().unwrap();
        let path = "/mesos/events?as=protobuf&after=3-7";
        assert_eq!(reading(path), Reading::Events(Some(seen), Media::Protobuf));
        assert_eq!(reading("/mesos/events"), Reading::Events(None, Media::Json));
        assert!(Route::of("GET", "/mesos/events?after=x").is_err());
        let status = |body: &[u8]| Api::operator_call(json, None, body).unwrap_err().status;
        assert_eq!(status(br#"{"type":"TEARDOWN"}"#), 400);
        assert_eq!(status(br#"{"type":"GET_OPERATIONS"}"#), 501);
        assert_eq!(status(br#"{"type":"LIST_FILES"}"#), 400);
        let list = br#"{"type":"LIST_FILES","list_files":{"path":"/a b"}}"#;
        let path = "/mesos/files/list?path=%2Fa%20b&as=protobuf";
        let called = Api::operator_call(json, protobuf, list);
        assert_eq!(called, Ok(OperatorCall::Read(path.to_owned())));
        assert_eq!(status(br#"{"type":"GET_METRICS"}"#), 400);
        assert_eq!(status(b"{}"), 400);
        assert_eq!(status(b"x"), 400);
        let no_type = Api::operator_call(None, None, b"{}").unwrap_err();
        assert_eq!(no_type, Refused::new(400, "Expecting 'Content-Type' to be present"));
        assert_eq!(Api::operator_call(Some("text/plain"), None, b"{}").unwrap_err().status, 415);
        // The same of an agent, which has calls of its own.
        let path = "/mesos/agent/call?type=GET_CONTAINERS&as=protobuf";
        let called = Api::agent_call(json, protobuf, br#"{"type":"GET_CONTAINERS"}"#);
        assert_eq!(called, Ok(OperatorCall::Read(path.to_owned())));
        let route = Route::of("GET", path).unwrap();
        let own = Own::Call(AgentRead::Containers, Media::Protobuf);
        assert_eq!(route, Route::Here(Here::Mesos(own)));
        let path = "/mesos/agent/files/slice?path=%2Fs&offset=1&length=65536&as=json";
        let read = br#"{"type":"READ_FILE","read_file":{"path":"/s","offset":1}}"#;
        assert_eq!(Api::agent_call(json, None, read), Ok(OperatorCall::Read(path.to_owned())));
        let nested = br#"{"type":"LAUNCH_NESTED_CONTAINER"}"#;
        assert_eq!(Api::agent_call(json, None, nested).unwrap_err().status, 501);
        let html = Some("text/html");
        let body = br#"{"type":"GET_TASKS"}"#;
        assert_eq!(Api::operator_call(json, html, body).unwrap_err().status, 406);
    }
}
