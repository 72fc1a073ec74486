//! What several of these tests do.

use std::collections::BTreeMap;

use meshos_sdk::{
    TaskBuilder,
    protocol::task::{TaskDescription, TaskState},
};
use meshos_tests::{Framework, Journal};

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
