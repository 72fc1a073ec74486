//! Bad surroundings: a clear error or a clean recovery, never a panic, and nothing lost that was acknowledged.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
};

use meshos_sdk::{
    TaskBuilder,
    protocol::task::{Exit, TaskState},
};
use meshos_tests::{
    Cluster, ClusterOptions, Command, Finished, Framework, FrameworkOptions, Journal, Node,
    NodeArguments, PATIENCE, free_ports, poll_until, wait_until,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::common::{assert_alive, gated, ids, shell, wait_for_running};

/// A node alone, without seeds, that is not started.
fn lone(directory: &Path) -> Node {
    let mut arguments =
        NodeArguments::on_loopback(directory.join("data"), directory.to_owned(), free_ports(2));
    arguments.flags = vec!["--open-http".to_owned()];
    Node::new(arguments)
}

/// What it was told cannot be used.
fn assert_misled(ended: &Finished, because: &[&str]) {
    assert_ended(ended, 2, because);
}

/// It could not do its work.
fn assert_refused(ended: &Finished, because: &[&str]) {
    assert_ended(ended, 1, because);
}

fn assert_ended(ended: &Finished, code: i32, because: &[&str]) {
    assert_eq!(ended.code(), code, "{ended:?}");
    let said = format!("{}{}", ended.stdout, ended.stderr);
    for words in because {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_configuration_that_cannot_be_used_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let mut node = lone(directory.path());
    let file = directory.path().join("meshos.toml");
    let shown = file.display().to_string();
    node.arguments().flags.extend(["--config".to_owned(), shown.clone()]);
    assert_misled(&node.run_to_end(), &[&shown, "No such file"]);

    fs::write(&file, "hostname = \"a\"\ngossip_intervall = \"1s\"\n").unwrap();
    assert_misled(
        &node.run_to_end(),
        &[&format!("{shown}:2"), "gossip_intervall", "`gossip_interval`"],
    );
    fs::write(&file, "hostname = \n").unwrap();
    assert_misled(&node.run_to_end(), &[&format!("{shown}:1")]);
    fs::write(&file, "gossip_interval = \"soon\"\ntiming_factor = -1\n").unwrap();
    assert_misled(&node.run_to_end(), &["timing_factor"]);
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_misled(&node.run_to_end(), &[&shown]);
}

#[test]
fn without_keys_nothing_but_loopback_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["node", "--listen", "0.0.0.0:6050", "--data-dir", "data"];
    let ended = Command::new(directory.path(), arguments).run();
    assert_misled(&ended, &["meshos keygen"]);
}

#[test]
fn a_port_or_a_data_directory_that_is_taken_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let node = lone(directory.path());
    {
        let _taken = TcpListener::bind(node.http()).unwrap();
        assert_refused(&node.run_to_end(), &[&node.http().to_string()]);
    }
    {
        let _taken = UdpSocket::bind(node.quic()).unwrap();
        assert_refused(&node.run_to_end(), &[&node.quic().to_string()]);
    }

    let cluster = Cluster::start(1);
    let home = directory.path().to_owned();
    let mut second =
        NodeArguments::on_loopback(cluster.nodes[0].data_dir().to_owned(), home, free_ports(2));
    second.flags = vec!["--open-http".to_owned()];
    let second = second.command().run();
    let holder = cluster.nodes[0].pid().to_string();
    assert_refused(&second, &["in use", &holder, "--data-dir"]);
    assert_eq!(cluster.nodes[0].get("/health").unwrap().status, 200);
}

/// What a damaged file may lead to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The node ended with code 1 and a sentence that names the file.
    Refused,
    /// The node runs.
    Recovered,
}

/// Starts a node over a damaged file and watches what comes of it.
fn start_over_damage(cluster: &mut Cluster, file: &str) -> Outcome {
    let before = cluster.nodes[0].log().len();
    cluster.nodes[0].start();
    let outcome = poll_until(PATIENCE, "a node over a damaged file refuses or recovers", || {
        if !cluster.nodes[0].is_running() {
            return Some(Outcome::Refused);
        }
        cluster.leader_told_by(0).map(|_| Outcome::Recovered)
    });
    let log = cluster.nodes[0].log().split_off(before);
    assert!(!log.contains("panicked"), "{log}");
    if outcome == Outcome::Refused {
        assert_eq!(cluster.nodes[0].wait_for_end(), 1, "{log}");
        assert!(log.contains(file), "{file} is not named: {log}");
    }
    outcome
}

#[test]
fn a_damaged_file_is_refused_by_name_and_tasks_live() {
    let mut cluster = Cluster::start(1);
    let mut journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("careful", &[0]));
    let tasks = ids("task", 3);
    framework.submit(gated(&journal, &tasks, "gate", 0));
    wait_for_running(&framework, &journal, &tasks);
    for file in ["agent.redb", "raft.redb"] {
        cluster.nodes[0].terminate();
        let path = cluster.nodes[0].data_dir().join(file);
        let good = fs::read(&path).unwrap();
        let garbage: Vec<u8> =
            (0..good.len()).map(|index| u8::try_from((index * 7 + 13) % 251).unwrap()).collect();
        let mut flipped = good.clone();
        let header = flipped.len().min(200);
        flipped[..header].iter_mut().for_each(|byte| *byte ^= 0x55);
        for (what, bytes) in [
            ("emptied", &[][..]),
            ("cut in half", &good[..good.len() / 2]),
            ("cut short", &good[..100]),
            ("empty of sense", &garbage[..]),
            ("wrong at the head", &flipped[..]),
        ] {
            fs::write(&path, bytes).unwrap();
            let outcome = start_over_damage(&mut cluster, file);
            assert_eq!(
                outcome,
                Outcome::Refused,
                "{file} {what}: what was acknowledged would be lost"
            );
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(start_over_damage(&mut cluster, file), Outcome::Refused, "{file} removed");
        fs::write(&path, &good).unwrap();
        assert_alive(&journal, &tasks);
        cluster.nodes[0].start();
        cluster.wait_until_ready();
    }
    journal.open_gate("gate");
    framework.wait_for_all("the tasks finish", &tasks, |state| state == TaskState::Finished);
}

#[test]
fn a_write_that_was_torn_off_at_the_end_is_survived() {
    let mut cluster = Cluster::start(1);
    let mut journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("torn", &[0]));
    let tasks = ids("task", 3);
    framework.submit(gated(&journal, &tasks, "gate", 0));
    wait_for_running(&framework, &journal, &tasks);
    for file in ["agent.redb", "raft.redb"] {
        cluster.nodes[0].kill();
        // Space that was added to the file, and never used, when the power went.
        let path = cluster.nodes[0].data_dir().join(file);
        File::options().append(true).open(path).unwrap().write_all(&[0; 4_096]).unwrap();
        assert_eq!(start_over_damage(&mut cluster, file), Outcome::Recovered, "{file}");
        cluster.wait_until_ready();
        assert_alive(&journal, &tasks);
    }
    journal.open_gate("gate");
    framework.wait_for_all("the tasks finish", &tasks, |state| state == TaskState::Finished);
}

fn keygen(directory: &Path, name: &str) -> PathBuf {
    let keys = directory.join(name);
    let shown = keys.display().to_string();
    let made = Command::new(directory, ["keygen", "--dir", shown.as_str()]).run();
    assert_eq!(made.code(), 0, "{made:?}");
    keys
}

#[test]
fn a_node_with_another_clusters_key_never_joins_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (keygen(directory.path(), "ours"), keygen(directory.path(), "theirs"));
    let mut cluster =
        Cluster::prepare(ClusterOptions { seeds: 1, others: 2, ..ClusterOptions::default() });
    // A node that is no seed needs no more than the token.
    let keys =
        [("--keys", ours.clone()), ("--join-token", ours.join("join.token")), ("--keys", theirs)];
    for (node, (flag, value)) in cluster.nodes.iter_mut().zip(keys) {
        node.arguments().flags.extend([flag.to_owned(), value.display().to_string()]);
    }
    let mut stranger = cluster.nodes.pop().expect("there are three");
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.wait_until_ready();
    let seed = cluster.nodes[0].http().to_string();
    let before = cluster.nodes[0].log().len();
    stranger.start();
    poll_until(PATIENCE, "the stranger says that it is not let in", || {
        let why = stranger.get("/api/leader").ok()?;
        assert_ne!(why.status, 200, "{}", why.text());
        let log = stranger.log();
        (why.text().contains(&seed) && log.contains("certificate")).then_some(())
    });
    assert!(!cluster.nodes[0].log().split_off(before).contains("panicked"));
    let nodes = cluster.nodes[0].json("/api/nodes").expect("the leader answers");
    assert_eq!(nodes.as_array().map(Vec::len), Some(2), "{nodes}");
    wait_until("the stranger is ill, and says that its keys must be changed", || {
        stranger.log().contains("do not accept each other's certificates")
            && stranger.get("/health").is_ok_and(|health| health.status == 503)
    });
    stranger.kill();
    meshos_tests::sweep(stranger.data_dir());
    // A token is tried against every seed once, and no further.
    let flags = &mut stranger.arguments().flags;
    flags.truncate(flags.len() - 2);
    let token = directory.path().join("theirs/join.token").display().to_string();
    flags.extend(["--join-token".to_owned(), token]);
    assert_refused(&stranger.run_to_end(), &["not of the cluster that the join token names"]);
}

/// Nobody hears it, and it hears nobody: all it has of the cluster is its voters.
#[test]
fn a_node_without_gossip_follows_the_next_leader_too_and_says_what_it_lacks() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (keygen(directory.path(), "ours"), keygen(directory.path(), "theirs"));
    let deaf = directory.path().join("deaf");
    fs::create_dir(&deaf).unwrap();
    for file in fs::read_dir(&ours).unwrap() {
        let name = file.unwrap().file_name();
        let from = if name == "gossip.key" { &theirs } else { &ours };
        fs::copy(from.join(&name), deaf.join(&name)).unwrap();
    }
    let mut cluster = Cluster::prepare(ClusterOptions { others: 1, ..ClusterOptions::default() });
    for (node, keys) in cluster.nodes.iter_mut().zip([&ours, &ours, &ours, &deaf]) {
        node.arguments().flags.extend(["--keys".to_owned(), keys.display().to_string()]);
    }
    cluster.nodes.iter_mut().for_each(Node::start);
    let before = cluster.wait_until_ready();
    let node = &cluster.nodes[3];
    wait_until("the node says that gossip hears nobody", || {
        let health = node.get("/health").expect("it answers");
        health.status == 503 && health.text().contains("gossip hears no other node")
    });
    node.wait_for_log("gossip.key is that of the cluster");
    cluster.nodes[before.index].kill();
    cluster.leader_after(before.term);
    cluster.wait_until_ready();
}

/// A small file system of its own.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn new(size: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=755");
        mount(
            Some("tmpfs"),
            directory.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .unwrap();
        Self(directory)
    }

    /// Takes all that is left.
    fn fill(&self) {
        let mut file = File::create(self.0.path().join("ballast")).unwrap();
        let block = [1; 4_096];
        while file.write_all(&block).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.path().join("ballast")).unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        umount2(self.0.path(), MntFlags::MNT_DETACH).ok();
    }
}

#[test]
fn root_a_full_disk_is_told_and_loses_nothing_that_was_acknowledged() {
    let disk = Tmpfs::new("32m");
    let mut cluster = Cluster::prepare(ClusterOptions { seeds: 1, ..ClusterOptions::default() });
    cluster.nodes[0].arguments().data_dir = disk.0.path().join("data");
    cluster.nodes[0].start();
    cluster.wait_until_ready();
    let mut journal = Journal::new();
    let framework = Framework::start(&cluster, FrameworkOptions::new("full", &[0]));
    let (before, tasks) = (ids("before", 3), ids("task", 5));
    framework.submit(before.iter().map(|id| shell(id, "exit 0")));
    framework.wait_for_all("some tasks finish", &before, |state| state == TaskState::Finished);
    framework.submit(gated(&journal, &tasks, "gate", 4));
    wait_for_running(&framework, &journal, &tasks);

    disk.fill();
    journal.open_gate("gate");
    // Larger than what the files hold in reserve.
    let large = ids("large", 100);
    framework.submit(large.iter().map(|id| {
        let builder = TaskBuilder::shell(id, "exit 0").cpus_mem("0.1", "32");
        builder.env("LARGE", "x".repeat(60_000)).build().expect("a good task")
    }));
    // It says so as long as it runs, and in its last words when it cannot go on.
    poll_until(PATIENCE, "the node says that its disk is full", || {
        if !cluster.nodes[0].is_running() {
            return Some(());
        }
        let health = cluster.nodes[0].get("/health").ok()?;
        (health.status == 503 && !health.json()["problems"].as_array()?.is_empty()).then_some(())
    });
    let log = cluster.nodes[0].log();
    assert!(log.contains("No space left") || log.contains("os error 28"), "{log}");
    assert!(!log.contains("panicked"), "{log}");

    disk.free();
    if cluster.nodes[0].is_running() {
        cluster.nodes[0].kill();
    }
    cluster.nodes[0].start();
    cluster.wait_until_ready();
    framework.wait_for_all("each end is told", &tasks, |state| state == TaskState::Failed);
    for id in &tasks {
        let last = framework.updates_of(id).pop().expect("there are updates");
        assert_eq!(last.exit, Some(Exit::Code { code: 4 }), "{last:?}");
    }
    framework.wait_for_all("each large task is told to be over", &large, TaskState::is_terminal);
    framework.submit([shell("after", "exit 0")]);
    framework.wait_for_state("after", TaskState::Finished);
    let written = framework.written();
    let finished = |id: &String| {
        written.iter().filter(|line| line.task == *id && line.state == TaskState::Finished).count()
    };
    assert!(
        before.iter().all(|id| finished(id) == 1),
        "what was acknowledged is not told again: {written:?}"
    );
    wait_until("the node is well again", || {
        cluster.nodes[0].get("/health").is_ok_and(|health| health.status == 200)
    });
}

#[test]
fn a_node_that_waits_for_its_certificate_stops_when_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let token = keygen(directory.path(), "ours").join("join.token").display().to_string();
    let mut cluster =
        Cluster::prepare(ClusterOptions { seeds: 1, others: 1, ..ClusterOptions::default() });
    // Its seed does not run.
    let node = &mut cluster.nodes[1];
    node.arguments().flags.extend(["--join-token".to_owned(), token]);
    node.start();
    node.wait_for_log("the seeds are asked to sign this node's key");
    // Left alone it would give up after a minute, with exit code 1.
    node.terminate();
}

#[test]
fn a_node_that_joined_by_a_token_does_not_start_as_a_stranger_without_it() {
    let directory = tempfile::tempdir().unwrap();
    let keys = keygen(directory.path(), "ours");
    let mut cluster =
        Cluster::prepare(ClusterOptions { seeds: 1, others: 1, ..ClusterOptions::default() });
    let shown = keys.display().to_string();
    cluster.nodes[0].arguments().flags.extend(["--keys".to_owned(), shown]);
    let token = keys.join("join.token").display().to_string();
    cluster.nodes[1].arguments().flags.extend(["--join-token".to_owned(), token]);
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.wait_until_ready();
    cluster.nodes[1].kill();
    let flags = &mut cluster.nodes[1].arguments().flags;
    let token = flags.split_off(flags.len() - 2);
    assert_refused(&cluster.nodes[1].run_to_end(), &["give --join-token again"]);
    cluster.nodes[1].arguments().flags.extend(token);
    cluster.nodes[1].start();
    cluster.wait_until_ready();
}
