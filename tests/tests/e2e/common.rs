//! What several of these tests do.

use std::{collections::BTreeMap, fs};

use meshos_sdk::{
    TaskBuilder,
    protocol::task::{TaskDescription, TaskState},
};
use meshos_tests::{Cluster, Framework, Journal, Note, sweep};
use serde_json::Value;

/// A task of a small size that runs a line of shell.
pub(crate) fn shell(id: &str, line: impl Into<String>) -> TaskDescription {
    TaskBuilder::shell(id, line)
        .cpus_mem("0.1", "32")
        .kill_grace_ms(1_000)
        .build()
        .expect("a good task")
}

/// The ids `<prefix>-0` and so on.
pub(crate) fn ids(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{prefix}-{index}")).collect()
}

/// Tasks of these ids that write down their start, wait for the gate and exit with `code`.
pub(crate) fn gated(
    journal: &Journal,
    ids: &[String],
    gate: &str,
    code: u8,
) -> Vec<TaskDescription> {
    ids.iter().map(|id| shell(id, journal.gated_line(id, gate, code))).collect()
}

/// Demands that no task was started twice, by its own words.
#[track_caller]
pub(crate) fn assert_started_at_most_once(journal: &Journal) {
    let twice: BTreeMap<_, _> =
        journal.births().into_iter().filter(|(_, births)| births.len() > 1).collect();
    assert!(twice.is_empty(), "tasks were started more than once: {twice:?}");
}

/// Demands that each of these tasks was started once and still runs, as the same process.
#[track_caller]
pub(crate) fn assert_alive(journal: &Journal, ids: &[String]) {
    let births = journal.births();
    for id in ids {
        let births = births.get(id).map(Vec::as_slice).unwrap_or_default();
        assert!(
            births.len() == 1 && births[0].is_alive(),
            "{id} does not run as it did: {births:?}"
        );
    }
}

/// Waits until each of these tasks has written down its start, which it does a moment after it is called running.
#[track_caller]
pub(crate) fn wait_for_births(journal: &Journal, ids: &[String]) {
    meshos_tests::wait_until("the tasks have written down their start", || {
        let births = journal.births();
        ids.iter().all(|id| births.contains_key(id))
    });
}

/// Waits until each of these tasks runs and has said so itself.
#[track_caller]
pub(crate) fn wait_for_running(framework: &Framework, journal: &Journal, ids: &[String]) {
    framework.wait_for_all("the tasks run", ids, |state| state == TaskState::Running);
    wait_for_births(journal, ids);
}

/// Waits until the agents' own words of each of these tasks have arrived, that it runs and that it ended; the leader's
/// answers to questions do not count. An agent that was killed may say once more that a task runs, under another id: it tells
/// that before it is on disk.
#[track_caller]
pub(crate) fn wait_for_every_update(framework: &Framework, ids: &[String]) {
    framework.wait_for("each update of the agents has arrived", |notes| {
        let mut told: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
        for (_, note) in notes {
            if let Note::Update(update) = note
                && update.update.is_some()
            {
                let (running, ended) = told.entry(update.task.as_str()).or_default();
                *running += u32::from(update.state == TaskState::Running);
                *ended += u32::from(update.state.is_terminal());
            }
        }
        let all = ids.iter().all(|id| matches!(told.get(id.as_str()), Some((1.., 1))));
        all.then_some(())
    });
}

/// Demands that the file of the framework holds each update once, and that nothing follows a task's end.
#[track_caller]
pub(crate) fn assert_updates_in_order(framework: &Framework) {
    let mut seen = BTreeMap::new();
    let mut ended: BTreeMap<String, TaskState> = BTreeMap::new();
    for written in framework.written() {
        if let Some(update) = &written.update {
            let before = seen.insert(update.clone(), written.clone());
            assert!(before.is_none(), "an update came twice: {written:?}");
        }
        if let Some(state) = ended.get(&written.task) {
            // An answer to a reconciliation may tell the end once more, or run ahead of its agent.
            assert!(
                written.state == *state,
                "{} went on after it was {state}: {written:?}",
                written.task
            );
        } else if written.state.is_terminal() {
            ended.insert(written.task, written.state);
        }
    }
}

/// Ends a node with its launcher and tasks and removes its data, as when its machine is lost.
pub(crate) fn wipe(cluster: &mut Cluster, index: usize) {
    cluster.nodes[index].kill();
    let data_dir = cluster.nodes[index].data_dir().to_owned();
    sweep(&data_dir);
    fs::remove_dir_all(&data_dir).unwrap();
}

/// The voters as a node tells them: node and raft id.
pub(crate) fn voters(cluster: &Cluster, asked: usize) -> Vec<(String, u64)> {
    let rows = cluster.nodes[asked].json("/api/voters").unwrap_or(Value::Array(Vec::new()));
    let rows = rows.as_array().expect("a list").iter().filter(|row| row["role"] == "voter");
    let voter = |row: &Value| Some((row["node_id"].as_str()?.to_owned(), row["raft_id"].as_u64()?));
    rows.filter_map(voter).collect()
}

/// Makes a node that does not run the only voter, as an operator does, and its only seed.
#[track_caller]
pub(crate) fn recover(cluster: &mut Cluster, survivor: usize, term_above: u64) {
    let node = &mut cluster.nodes[survivor];
    let data_dir = node.data_dir().display().to_string();
    let (address, above) = (node.quic().to_string(), term_above.to_string());
    let command = ["voters", "recover", "--data-dir", &data_dir, "--address", &address];
    let command = [&command[..], &["--term-above", &above, "--yes"]].concat();
    let recovered = node.command(&command).run();
    assert_eq!(recovered.code(), 0, "{recovered:?}");
    let seed = node.http().to_string();
    node.arguments().name_seeds(&[seed]);
}
