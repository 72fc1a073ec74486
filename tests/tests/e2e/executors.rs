//! Executors: real processes that run many tasks, over the deaths of everybody around them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use meshos_sdk::{
    ExecutorBuilder, TaskBuilder,
    protocol::{
        executor::ExecutorInfo,
        ids::AgentId,
        task::{Exit, Reason, Source, StatusUpdate, TaskDescription, TaskState},
    },
};
use meshos_tests::{
    Cluster, ClusterOptions, Framework, FrameworkOptions, Note, PATIENCE, example_binary,
    kill_process, pid_alive, wait_until,
};

use crate::common::assert_updates_in_order;

/// The executor of the example `pool`.
fn pool() -> ExecutorInfo {
    let program = example_binary("pool").display().to_string();
    ExecutorBuilder::exec("pool", program, Vec::<String>::new())
        .cpus_mem("0.5", "64")
        .data("hello")
        .build()
        .unwrap()
}

fn task(id: &str, work: &str) -> TaskDescription {
    let task = TaskBuilder::for_executor(id, pool()).cpus_mem("0.1", "32").data(work);
    task.build().unwrap()
}

/// A task that ends when the gate is opened.
fn gated(id: &str, gate: &Path) -> TaskDescription {
    task(id, &format!("until {}", gate.display()))
}

/// Writes the file in one step: who waits for it reads all of it.
fn open(gate: &Path, text: &str) {
    let aside = gate.with_extension("new");
    fs::write(&aside, text).unwrap();
    fs::rename(aside, gate).unwrap();
}

/// The process of the executor, as it tells with the start of each task.
fn pid_of(running: &StatusUpdate) -> u32 {
    assert_eq!(running.source, Source::Executor, "{running:?}");
    assert_eq!(running.executor.as_ref().map(|id| id.as_str()), Some("pool"));
    String::from_utf8(running.data.clone()).unwrap().parse().unwrap()
}

fn wait_for_message(framework: &Framework, text: &str) -> AgentId {
    framework.wait_for(&format!("the executor says {text:?}"), |notes| {
        notes.iter().find_map(|(_, note)| match note {
            Note::Message(agent, _, data) if data == text.as_bytes() => Some(*agent),
            _ => None,
        })
    })
}

fn wait_for_loss(framework: &Framework) -> Option<Exit> {
    framework.wait_for("the executor is lost", |notes| {
        notes.iter().find_map(|(_, note)| match note {
            Note::ExecutorLost(_, executor, exit) if executor.as_str() == "pool" => {
                Some(exit.clone())
            }
            _ => None,
        })
    })
}

fn cpus_used(cluster: &Cluster, asked: usize, node: &str) -> Option<f64> {
    let rows = cluster.nodes[asked].json("/api/nodes")?;
    let row = rows.as_array()?.iter().find(|row| row["id"] == node)?.clone();
    row["used"]["cpus"].as_f64().or_else(|| row["used"].as_object().map(|_| 0.0))
}

fn socket_below(directory: &Path) -> Option<PathBuf> {
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_name() == ".executor.sock" {
                return Some(entry.path());
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
    None
}

#[test]
fn tasks_share_an_executor_and_data_and_messages_go_both_ways() {
    let cluster = Cluster::start(1);
    let gate = cluster.path().join("gate");
    let framework = Framework::start(&cluster, FrameworkOptions::new("pool", &[0]));
    framework.submit([gated("a", &gate), gated("b", &gate), task("primes", "primes 1000")]);
    let pids =
        ["a", "b", "primes"].map(|id| pid_of(&framework.wait_for_state(id, TaskState::Running)));
    assert!(pids.iter().all(|pid| *pid == pids[0]), "one process: {pids:?}");
    assert_eq!(framework.wait_for_state("primes", TaskState::Finished).data, b"168");
    let agent = wait_for_message(&framework, "hello, ready");
    framework.driver().send_framework_message(agent, &pool().id, "how are you");
    wait_for_message(&framework, "heard: how are you");
    framework.submit([gated("c", &gate), task("odd", "dance")]);
    assert_eq!(pid_of(&framework.wait_for_state("c", TaskState::Running)), pids[0]);
    assert_eq!(framework.wait_for_state("odd", TaskState::Failed).source, Source::Executor);
    framework.kill("c");
    framework.wait_for_state("c", TaskState::Killed);
    // It holds half a cpu, each of the two tasks a tenth.
    let node = cluster.nodes[0].id();
    wait_until("the executor and its tasks are counted", || {
        cpus_used(&cluster, 0, &node).is_some_and(|cpus| (cpus - 0.7).abs() < 0.001)
    });
    open(&gate, "well done");
    for id in ["a", "b"] {
        assert_eq!(framework.wait_for_state(id, TaskState::Finished).data, b"well done");
    }
    framework.driver().shutdown_executor(agent, &pool().id);
    assert_eq!(wait_for_loss(&framework), Some(Exit::Code { code: 0 }));
    wait_until("nothing is held", || cpus_used(&cluster, 0, &node) == Some(0.0));
    assert_updates_in_order(&framework);
}

#[test]
fn an_executor_that_is_killed_takes_its_tasks_with_it_and_another_can_be_started() {
    let cluster = Cluster::start(1);
    let gate = cluster.path().join("gate");
    let framework = Framework::start(&cluster, FrameworkOptions::new("killed", &[0]));
    framework.submit([gated("a", &gate), gated("b", &gate)]);
    let pid = pid_of(&framework.wait_for_state("a", TaskState::Running));
    framework.wait_for_state("b", TaskState::Running);
    kill_process(pid);
    for id in ["a", "b"] {
        let end = framework.wait_for_state(id, TaskState::Failed);
        assert_eq!(end.reason, Some(Reason::ExecutorTerminated), "{end:?}");
    }
    assert_eq!(wait_for_loss(&framework), Some(Exit::Signal { signal: 9 }));
    framework.submit([gated("c", &gate)]);
    assert_ne!(pid_of(&framework.wait_for_state("c", TaskState::Running)), pid);
    open(&gate, "");
    framework.wait_for_state("c", TaskState::Finished);
    assert_updates_in_order(&framework);
}

#[test]
fn an_executor_outlives_its_killed_node_and_what_it_told_in_the_gap_arrives_once() {
    let mut cluster = Cluster::start(3);
    let (victim, gateway) = (cluster.follower(), cluster.leader().index);
    let [first, second] = ["first", "second"].map(|name| cluster.path().join(name));
    let framework = Framework::start(&cluster, FrameworkOptions::new("gap", &[gateway]));
    let node = cluster.nodes[victim].id();
    framework.submit_on(&node, [gated("a", &first), gated("b", &second)]);
    let pid = pid_of(&framework.wait_for_state("a", TaskState::Running));
    framework.wait_for_state("b", TaskState::Running);
    cluster.nodes[victim].kill();
    // The task ends while nobody is there to hear of it.
    open(&first, "in the gap");
    assert!(pid_alive(pid));
    cluster.nodes[victim].start();
    let end = framework.wait_for_state("a", TaskState::Finished);
    assert_eq!(end.data, b"in the gap");
    framework.submit_on(&node, [gated("c", &second)]);
    assert_eq!(pid_of(&framework.wait_for_state("c", TaskState::Running)), pid, "the same one");
    open(&second, "");
    framework.wait_for_state("b", TaskState::Finished);
    framework.wait_for_state("c", TaskState::Finished);
    assert!(pid_alive(pid), "an executor lives until somebody ends it");
    let ends = framework.updates_of("a").into_iter().filter(|it| it.state.is_terminal());
    assert_eq!(ends.count(), 1);
    assert_updates_in_order(&framework);
}

#[test]
fn a_new_leader_knows_executors_and_their_end_frees_what_they_held() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader().index;
    let follower = cluster.follower();
    let gateway = (0..3).find(|index| ![leader, follower].contains(index)).unwrap();
    let gate = cluster.path().join("gate");
    let framework = Framework::start(&cluster, FrameworkOptions::new("led", &[gateway, follower]));
    let node = cluster.nodes[follower].id();
    framework.submit_on(&node, [gated("a", &gate)]);
    let pid = pid_of(&framework.wait_for_state("a", TaskState::Running));
    cluster.nodes[leader].kill();
    wait_until("the next leader counts the executor and its task", || {
        cpus_used(&cluster, gateway, &node).is_some_and(|cpus| (cpus - 0.6).abs() < 0.001)
    });
    framework.submit_on(&node, [gated("b", &gate)]);
    assert_eq!(pid_of(&framework.wait_for_state("b", TaskState::Running)), pid);
    let agent = framework.wait_for_state("b", TaskState::Running).agent.unwrap();
    framework.driver().send_framework_message(agent, &pool().id, "still there");
    wait_for_message(&framework, "heard: still there");
    open(&gate, "");
    framework.wait_for_state("a", TaskState::Finished);
    framework.wait_for_state("b", TaskState::Finished);
    framework.driver().shutdown_executor(agent, &pool().id);
    wait_for_loss(&framework);
    wait_until("nothing is held", || cpus_used(&cluster, gateway, &node) == Some(0.0));
    assert_updates_in_order(&framework);
}

#[test]
fn executors_end_with_their_framework() {
    let cluster = Cluster::start(1);
    let gate = cluster.path().join("gate");
    let framework = Framework::start(&cluster, FrameworkOptions::new("ended", &[0]));
    framework.submit([gated("a", &gate)]);
    let pid = pid_of(&framework.wait_for_state("a", TaskState::Running));
    let data_dir = cluster.nodes[0].data_dir().to_owned();
    let token_below = || fs::read_dir(data_dir.join("executors")).unwrap().next().is_some();
    assert!(token_below() && socket_below(&data_dir).is_some());
    framework.driver().stop(false);
    wait_until("the executor has ended", || !pid_alive(pid));
    wait_until("its token is gone", || !token_below());
    let node = cluster.nodes[0].id();
    wait_until("nothing is held", || cpus_used(&cluster, 0, &node) == Some(0.0));
}

#[test]
fn an_executor_that_never_registers_is_ended() {
    let flags = vec!["--executor-registration-timeout".to_owned(), "1s".to_owned()];
    let cluster =
        Cluster::start_with(ClusterOptions { seeds: 1, flags, ..ClusterOptions::default() });
    let framework = Framework::start(&cluster, FrameworkOptions::new("silent", &[0]));
    let silent = ExecutorBuilder::shell("pool", "echo $$ >pid; exec sleep 1000").build().unwrap();
    let task = TaskBuilder::for_executor("a", silent).build().unwrap();
    framework.submit([task]);
    let end = framework.wait_for_state("a", TaskState::Failed);
    assert_eq!(end.reason, Some(Reason::ExecutorRegistrationTimeout), "{end:?}");
    assert_eq!(wait_for_loss(&framework), Some(Exit::Signal { signal: 9 }));
}

#[test]
fn nobody_speaks_for_an_executor_without_its_token() {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream,
    };

    use meshos_sdk::{
        protocol::{
            ids::{ContainerId, FrameworkId},
            messages::executor::{Call, Event, ExecutorStatus, Subscribe},
        },
        wire::{frame, short_path},
    };

    let cluster = Cluster::start(1);
    let gate = cluster.path().join("gate");
    let framework = Framework::start(&cluster, FrameworkOptions::new("liar", &[0]));
    framework.submit([gated("a", &gate)]);
    framework.wait_for_state("a", TaskState::Running);
    let socket = socket_below(cluster.nodes[0].data_dir()).unwrap();
    let (_directory, short) = short_path(&socket).unwrap();
    let container = socket.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let status = ExecutorStatus {
        task: "a".parse().unwrap(),
        state: TaskState::Failed,
        update: meshos_sdk::protocol::ids::UpdateId::from_bytes([7; 16]),
        reason: None,
        message: String::new(),
        data: Vec::new(),
        at: None,
        healthy: None,
        check_status: None,
    };
    let FrameworkId(number) = framework.id();
    let subscribe = Subscribe {
        version: 1,
        version_min: 1,
        token: "0".repeat(64),
        framework: FrameworkId(number),
        executor: pool().id,
        container: ContainerId::new(&container).unwrap(),
        program: 1,
        again: true,
        acknowledged_left_out: false,
        groups: true,
        tasks: Vec::new(),
        updates: vec![status],
    };
    let mut stream = UnixStream::connect(short).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&frame(&Call::Subscribe(subscribe)).unwrap()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let event = meshos_sdk::protocol::codec::decode::<Event>(&answer[4..]).unwrap();
    assert!(matches!(event, Event::Error { .. }), "{event:?}");
    open(&gate, "");
    framework.wait_for_state("a", TaskState::Finished);
    assert_updates_in_order(&framework);
}

#[test]
fn root_the_limits_of_an_executor_follow_its_tasks() {
    let cluster = Cluster::start(1);
    let gate = cluster.path().join("gate");
    let framework = Framework::start(&cluster, FrameworkOptions::new("limits", &[0]));
    framework.submit([gated("a", &gate)]);
    framework.wait_for_state("a", TaskState::Running);
    let limit = || {
        let parents = meshos_tests::cgroups_below(cluster.nodes[0].data_dir());
        let children = parents.iter().flat_map(|parent| fs::read_dir(parent).into_iter().flatten());
        let groups: Vec<PathBuf> = children.flatten().map(|child| child.path()).collect();
        let files = groups
            .iter()
            .flat_map(|group| ["memory.limit_in_bytes", "memory.max"].map(|file| group.join(file)));
        files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()).next()
    };
    let is = |mb: u64| limit() == Some(mb << 20);
    wait_until("the executor and one task", || is(64 + 32));
    framework.submit([gated("b", &gate), gated("c", &gate)]);
    framework.wait_for_state("b", TaskState::Running);
    framework.wait_for_state("c", TaskState::Running);
    wait_until("the executor and three tasks", || is(64 + 3 * 32));
    framework.kill("b");
    framework.wait_for_state("b", TaskState::Killed);
    wait_until("the executor and two tasks", || is(64 + 2 * 32));
    open(&gate, "");
    framework.wait_for_state("a", TaskState::Finished);
}
