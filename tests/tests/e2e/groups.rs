//! Groups of tasks in the executor in the box: real processes, which begin and end together.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use meshos_sdk::{
    TaskBuilder, TaskGroup,
    protocol::{
        framework::Offer,
        ids::OfferId,
        task::{Exit, Reason, Source, StatusUpdate, TaskState, Uri},
    },
};
use meshos_tests::{
    Cluster, ClusterOptions, Framework, FrameworkOptions, Handling, MesosFramework, Note, PATIENCE,
    kill_process, pid_alive, poll_until, wait_until,
};
use serde_json::{Value, json};

use crate::common::assert_updates_in_order;

/// A framework that launches groups on offers that it has kept.
struct Pods {
    framework: Framework,
    used: RefCell<BTreeSet<OfferId>>,
}

impl Pods {
    fn start(cluster: &Cluster, name: &str, gateway: usize) -> Self {
        let options = FrameworkOptions {
            handling: Handling::Keep,
            ..FrameworkOptions::new(name, &[gateway])
        };
        Self { framework: Framework::start(cluster, options), used: RefCell::default() }
    }

    fn offer_of(&self, node: &str) -> Offer {
        poll_until(PATIENCE, "there is an offer", || {
            let fresh = |offer: &Offer| {
                offer.agent.node.to_string() == node && !self.used.borrow().contains(&offer.id)
            };
            self.framework.open_offers().into_iter().find(fresh)
        })
    }

    fn launch(&self, node: &str, group: TaskGroup) {
        let offer = self.offer_of(node);
        self.used.borrow_mut().insert(offer.id);
        let refuse = Some(std::time::Duration::ZERO);
        self.framework.driver().launch_group(&[offer], group, refuse).unwrap();
    }

    fn wait(&self, task: &str, state: TaskState) -> StatusUpdate {
        self.framework.wait_for_state(task, state)
    }

    /// How the executor of a group ended.
    fn wait_for_loss(&self, executor: &str) -> Option<Exit> {
        self.framework.wait_for("the executor is lost", |notes| {
            notes.iter().find_map(|(_, note)| match note {
                Note::ExecutorLost(_, id, exit) if id.as_str() == executor => Some(exit.clone()),
                _ => None,
            })
        })
    }
}

/// A task that tells its process, goes on until the gate is there, and ends as the gate says.
fn gated(id: &str, directory: &Path) -> TaskBuilder {
    let (pid, gate) = (directory.join(format!("{id}.pid")), directory.join(format!("{id}.gate")));
    let (pid, gate) = (pid.display(), gate.display());
    let line = format!(
        "echo $$ >{pid}.new; mv {pid}.new {pid}; while ! test -e {gate}; do sleep 0.05; done; exit $(cat {gate})"
    );
    TaskBuilder::shell(id, line).cpus_mem("0.1", "32")
}

/// The same, which does not end when it is asked to.
fn stubborn(id: &str, directory: &Path) -> TaskBuilder {
    let pid = directory.join(format!("{id}.pid"));
    let pid = pid.display();
    let line = format!(
        "trap '' TERM; echo $$ >{pid}.new; mv {pid}.new {pid}; while :; do sleep 0.05; done"
    );
    TaskBuilder::shell(id, line).cpus_mem("0.1", "32").kill_grace_ms(300)
}

fn pid_of(id: &str, directory: &Path) -> u32 {
    poll_until(PATIENCE, "the task has told its process", || {
        fs::read_to_string(directory.join(format!("{id}.pid"))).ok()?.trim().parse().ok()
    })
}

/// Writes the file in one step: who waits for it reads all of it.
fn open(id: &str, directory: &Path, code: u32) {
    let gate: PathBuf = directory.join(format!("{id}.gate"));
    let aside = gate.with_extension("new");
    fs::write(&aside, code.to_string()).unwrap();
    fs::rename(aside, gate).unwrap();
}

fn nothing_is_held(cluster: &Cluster, asked: usize, node: &str) {
    wait_until("nothing is held", || {
        let rows = cluster.nodes[asked].json("/api/nodes");
        let row =
            rows.and_then(|rows| rows.as_array()?.iter().find(|row| row["id"] == node).cloned());
        row.is_some_and(|row| row["used"].as_object().is_some_and(|used| used.is_empty()))
    });
}

fn logs(cluster: &Cluster, arguments: &[&str]) -> String {
    let all: Vec<&str> = ["logs"].iter().chain(arguments).copied().collect();
    cluster.nodes[0].command(&all).run().success().stdout
}

#[test]
fn a_group_runs_to_its_end_and_each_task_writes_into_a_directory_of_its_own() {
    let cluster = Cluster::start(1);
    let pods = Pods::start(&cluster, "whole", 0);
    let node = cluster.nodes[0].id();
    let file = cluster.path().join("note");
    fs::write(&file, "fetched\n").unwrap();
    let value = file.display().to_string();
    let uri = Uri { value, executable: false, extract: false, output_file: None };
    let first = TaskBuilder::shell(
        "first",
        "cat note; echo $MESHOS_TASK_ID $COLOUR; echo oh >&2; exit $((COLOUR != 7))",
    );
    let second =
        TaskBuilder::exec("second", "/bin/sh", ["-c", "test $PWD = $MESHOS_SANDBOX && echo $HOME"]);
    let group = TaskGroup::new("pod").task(first.uri(uri).env("COLOUR", "7")).task(second);
    pods.launch(&node, group);
    for task in ["first", "second"] {
        let end = pods.wait(task, TaskState::Finished);
        assert_eq!(end.source, Source::Executor, "{end:?}");
        assert_eq!(end.executor.as_ref().map(|id| id.as_str()), Some("pod"));
        let states: Vec<TaskState> =
            pods.framework.updates_of(task).iter().map(|update| update.state).collect();
        assert_eq!(states, [TaskState::Starting, TaskState::Running, TaskState::Finished]);
    }
    // It ends with its last task.
    assert_eq!(pods.wait_for_loss("pod"), Some(Exit::Code { code: 0 }));
    nothing_is_held(&cluster, 0, &node);
    assert_eq!(logs(&cluster, &["first"]), "fetched\nfirst 7\n");
    assert_eq!(logs(&cluster, &["--stderr", "first"]), "oh\n");
    assert!(logs(&cluster, &["second"]).ends_with("/tasks/second\n"));
    assert_updates_in_order(&pods.framework);
}

#[test]
fn when_one_task_fails_the_others_are_killed_and_told_why() {
    let cluster = Cluster::start(1);
    let directory = cluster.path();
    let pods = Pods::start(&cluster, "failing", 0);
    let node = cluster.nodes[0].id();
    // What a task leaves behind goes with it.
    let (left, line) = (directory.join("left.pid"), "sleep 1000 & echo $! >");
    let parent = TaskBuilder::shell("parent", format!("{line}{}; wait", left.display()));
    let group = TaskGroup::new("pod")
        .task(gated("a", directory))
        .task(stubborn("b", directory))
        .task(parent.cpus_mem("0.1", "32"));
    pods.launch(&node, group);
    let (a, b) = (pid_of("a", directory), pid_of("b", directory));
    let left = pid_of("left", directory);
    assert_eq!(logs(&cluster, &["a"]), "", "there is nothing to read yet");
    open("a", directory, 3);
    let end = pods.wait("a", TaskState::Failed);
    assert_eq!(end.reason, Some(Reason::CommandFailed), "{end:?}");
    assert!(end.message.contains("status 3"), "{end:?}");
    for task in ["b", "parent"] {
        let end = pods.wait(task, TaskState::Killed);
        assert_eq!(end.reason, Some(Reason::TaskGroupEnded), "{end:?}");
        assert!(end.message.contains("task a of its group is failed"), "{end:?}");
    }
    for pid in [a, b, left] {
        wait_until("its process is gone", || !pid_alive(pid));
    }
    assert_eq!(pods.wait_for_loss("pod"), Some(Exit::Code { code: 0 }));
    nothing_is_held(&cluster, 0, &node);
    assert_updates_in_order(&pods.framework);
}

#[test]
fn the_kill_of_one_task_ends_its_group_unless_its_tasks_part() {
    let cluster = Cluster::start(1);
    let directory = cluster.path();
    let pods = Pods::start(&cluster, "killed", 0);
    let node = cluster.nodes[0].id();
    pods.launch(
        &node,
        TaskGroup::new("one").task(gated("a", directory)).task(gated("b", directory)),
    );
    let group = TaskGroup::new("two").task(gated("c", directory)).task(gated("d", directory));
    pods.launch(&node, group.apart());
    for task in ["a", "b", "c", "d"] {
        pods.wait(task, TaskState::Running);
    }
    pods.framework.kill("a");
    assert_eq!(pods.wait("a", TaskState::Killed).reason, None);
    assert_eq!(pods.wait("b", TaskState::Killed).reason, Some(Reason::TaskGroupEnded));
    pods.framework.kill("c");
    pods.wait("c", TaskState::Killed);
    pods.wait_for_loss("one");
    assert!(pid_alive(pid_of("d", directory)), "it goes on");
    open("d", directory, 0);
    pods.wait("d", TaskState::Finished);
    pods.wait_for_loss("two");
    // One that may run for a limited time only takes the others with it.
    let limited = gated("e", directory).max_completion_ms(200);
    pods.launch(&node, TaskGroup::new("three").task(limited).task(gated("f", directory)));
    let end = pods.wait("e", TaskState::Failed);
    assert_eq!(end.reason, Some(Reason::MaxCompletionTimeReached), "{end:?}");
    pods.wait("f", TaskState::Killed);
    nothing_is_held(&cluster, 0, &node);
    assert_updates_in_order(&pods.framework);
}

#[test]
fn a_group_outlives_its_killed_node_and_what_ended_meanwhile_is_told() {
    let mut cluster = Cluster::start(3);
    let directory = cluster.path().to_owned();
    let (victim, gateway) = (cluster.follower(), cluster.leader().index);
    let pods = Pods::start(&cluster, "survivor", gateway);
    let node = cluster.nodes[victim].id();
    let group = TaskGroup::new("pod")
        .task(gated("a", &directory))
        .task(gated("b", &directory))
        .task(gated("c", &directory));
    pods.launch(&node, group);
    for task in ["a", "b", "c"] {
        pods.wait(task, TaskState::Running);
    }
    let pids = ["a", "b", "c"].map(|task| pid_of(task, &directory));
    cluster.nodes[victim].kill();
    open("a", &directory, 0);
    wait_until("it ends while nobody is there to hear of it", || !pid_alive(pids[0]));
    assert!(pids[1..].iter().all(|pid| pid_alive(*pid)));
    cluster.nodes[victim].start();
    pods.wait("a", TaskState::Finished);
    assert!(pids[1..].iter().all(|pid| pid_alive(*pid)));
    // Of the rest one fails while the node is away again.
    cluster.nodes[victim].kill();
    open("b", &directory, 1);
    wait_until("the others are killed all the same", || !pid_alive(pids[2]));
    cluster.nodes[victim].start();
    pods.wait("b", TaskState::Failed);
    assert_eq!(pods.wait("c", TaskState::Killed).reason, Some(Reason::TaskGroupEnded));
    assert_eq!(pods.wait_for_loss("pod"), Some(Exit::Code { code: 0 }));
    nothing_is_held(&cluster, gateway, &node);
    assert_updates_in_order(&pods.framework);
}

#[test]
fn a_group_whose_agent_stays_away_ends_by_itself() {
    let flags = vec!["--executor-recovery-timeout".to_owned(), "1s".to_owned()];
    let mut cluster =
        Cluster::start_with(ClusterOptions { seeds: 1, flags, ..ClusterOptions::default() });
    let directory = cluster.path().to_owned();
    let pods = Pods::start(&cluster, "left", 0);
    let node = cluster.nodes[0].id();
    pods.launch(
        &node,
        TaskGroup::new("pod").task(gated("a", &directory)).task(stubborn("b", &directory)),
    );
    let pids = ["a", "b"].map(|task| pid_of(task, &directory));
    pods.wait("b", TaskState::Running);
    cluster.nodes[0].kill();
    wait_until("its processes are gone", || pids.iter().all(|pid| !pid_alive(*pid)));
    cluster.nodes[0].start();
    for task in ["a", "b"] {
        let end = pods.wait(task, TaskState::Failed);
        assert_eq!(end.reason, Some(Reason::ExecutorTerminated), "{end:?}");
    }
}

#[test]
fn the_death_of_its_executor_ends_all_of_a_group() {
    let cluster = Cluster::start(1);
    let directory = cluster.path();
    let pods = Pods::start(&cluster, "dying", 0);
    let node = cluster.nodes[0].id();
    pods.launch(
        &node,
        TaskGroup::new("pod").task(gated("a", directory)).task(stubborn("b", directory)),
    );
    let pids = ["a", "b"].map(|task| pid_of(task, directory));
    pods.wait("b", TaskState::Running);
    let status = fs::read_to_string(format!("/proc/{}/status", pids[0])).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    kill_process(parent.trim().parse().unwrap());
    for task in ["a", "b"] {
        let end = pods.wait(task, TaskState::Failed);
        assert_eq!(end.reason, Some(Reason::ExecutorTerminated), "{end:?}");
    }
    wait_until("its processes are gone", || pids.iter().all(|pid| !pid_alive(*pid)));
    assert_eq!(pods.wait_for_loss("pod"), Some(Exit::Signal { signal: 9 }));
    nothing_is_held(&cluster, 0, &node);
}

#[test]
fn one_task_that_cannot_be_fails_the_whole_group() {
    let cluster = Cluster::start(1);
    let directory = cluster.path();
    let pods = Pods::start(&cluster, "invalid", 0);
    let node = cluster.nodes[0].id();
    let huge = TaskBuilder::shell("huge", "true").cpus_mem("9999", "32");
    pods.launch(&node, TaskGroup::new("one").task(gated("a", directory)).task(huge));
    pods.launch(
        &node,
        TaskGroup::new("two").task(gated("b", directory)).task(TaskBuilder::shell("none", "")),
    );
    for (task, word) in [("a", "9999"), ("huge", "9999"), ("b", "task none"), ("none", "task none")]
    {
        let end = pods.wait(task, TaskState::Error);
        assert_eq!(end.reason, Some(Reason::TaskGroupInvalid), "{end:?}");
        assert!(end.message.contains(word), "{end:?}");
    }
    // One that cannot be executed takes the others with it.
    let missing = TaskBuilder::exec("missing", "/no/such/program", Vec::<String>::new());
    pods.launch(&node, TaskGroup::new("three").task(gated("c", directory)).task(missing));
    let end = pods.wait("missing", TaskState::Failed);
    assert_eq!(end.reason, Some(Reason::ContainerLaunchFailed), "{end:?}");
    pods.wait("c", TaskState::Killed);
    nothing_is_held(&cluster, 0, &node);
    for task in ["a", "b"] {
        assert!(!directory.join(format!("{task}.pid")).exists(), "{task} was started");
    }
}

#[test]
fn root_a_group_runs_as_the_user_that_its_tasks_name() {
    let cluster = Cluster::start(1);
    let pods = Pods::start(&cluster, "users", 0);
    let node = cluster.nodes[0].id();
    let task = |id: &str| TaskBuilder::shell(id, "id -un; touch mine").user("nobody");
    pods.launch(&node, TaskGroup::new("pod").task(task("a")).task(task("b")));
    for task in ["a", "b"] {
        pods.wait(task, TaskState::Finished);
        assert_eq!(logs(&cluster, &[task]), "nobody\n");
    }
}

#[test]
fn a_framework_of_mesos_launches_groups() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    let info = json!({"user": "nobody", "name": "pods", "failover_timeout": 60.0});
    let mut framework = MesosFramework::subscribe(node, &info);
    let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let launch = |framework: &mut MesosFramework, executor: Value, lines: &[(&str, &str)]| {
        let offer = framework.stream.wait_for_offer();
        let task = |(id, line): &(&str, &str)| {
            json!({"name": id, "task_id": {"value": id}, "agent_id": offer["agent_id"],
                "resources": [scalar("cpus", 0.1), scalar("mem", 32.0)], "command": {"value": line}})
        };
        let tasks: Vec<Value> = lines.iter().map(task).collect();
        let group = json!({"executor": executor, "task_group": {"tasks": tasks}});
        let accept = json!({"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0.0},
            "operations": [{"type": "LAUNCH_GROUP", "launch_group": group}]});
        framework.call(node, "ACCEPT", &accept);
    };
    let executor = |id: &str, rest: Value| {
        let mut executor = json!({"type": "DEFAULT", "executor_id": {"value": id},
            "resources": [scalar("cpus", 0.1), scalar("mem", 32.0)]});
        executor.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        executor
    };
    let lines = [("t1", "exec sleep 1000"), ("t2", "exec sleep 1000")];
    launch(&mut framework, executor("pod", json!({})), &lines);
    let running = framework.wait_for_state(node, "t2", "TASK_RUNNING");
    assert_eq!(running["executor_id"]["value"], "pod", "{running}");
    assert_eq!(running["source"], "SOURCE_EXECUTOR", "{running}");
    framework.call(node, "KILL", &json!({"task_id": {"value": "t1"}}));
    framework.wait_for_state(node, "t1", "TASK_KILLED");
    let killed = framework.wait_for_state(node, "t2", "TASK_KILLED");
    assert!(killed["message"].as_str().unwrap().contains("t1"), "{killed}");
    // One with a command of its own is not the default one.
    let wrong = executor("wrong", json!({"command": {"value": "true"}}));
    launch(&mut framework, wrong, &[("t3", "true"), ("t4", "true")]);
    for task in ["t3", "t4"] {
        let refused = framework.wait_for_state(node, task, "TASK_ERROR");
        assert_eq!(refused["reason"], "REASON_TASK_GROUP_INVALID", "{refused}");
        assert!(
            refused["message"].as_str().unwrap().contains("'ExecutorInfo.command'"),
            "{refused}"
        );
    }
}
