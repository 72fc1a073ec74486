//! What an agent wrote is there after whatever happened to the file.

use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use meshos_control::agent::{Change, OperationsRecord, RememberedEnd, TaskRecord, WriteId};
use meshos_protocol::{
    ids::{AgentId, ContainerId, FrameworkId, Generation, NodeId, TaskId, UpdateId},
    role::Role,
    task::{
        Command, CommandLine, Exit, Source, StatusUpdate, TaskDescription, TaskEnd, TaskLaunch,
        TaskState,
    },
    time::Wall,
};

mod power;

use super::{AgentStore, Written, start_writer};

const FILE: &str = "agent.redb";

fn task_id(name: &str) -> TaskId {
    TaskId::new(name).unwrap()
}

fn agent() -> AgentId {
    AgentId::new(NodeId::from_bits(5), 2)
}

fn record(framework: u64, name: &str, state: TaskState) -> TaskRecord {
    let line = CommandLine::Shell { line: "true".into() };
    let command = Command { line, environment: [].into(), user: None, uris: Vec::new() };
    let description = TaskDescription {
        task_id: task_id(name),
        name: name.into(),
        resources: "cpus:1;mem:64;ports:[1-5]".parse().unwrap(),
        command,
        executor: None,
        group: None,
        data: Vec::new(),
        kill_grace_ms: Some(5),
        max_completion_ms: None,
        health_check: None,
        check: None,
        labels: [("a".to_owned(), "b".to_owned())].into(),
    };
    let update = StatusUpdate {
        framework: FrameworkId(framework),
        task: task_id(name),
        agent: Some(agent()),
        state,
        reason: None,
        message: "because".into(),
        update: Some(UpdateId::mint(NodeId::from_bits(5), Generation(1), 3)),
        at: Wall(9),
        source: Source::Agent,
        executor: None,
        data: Vec::new(),
        exit: Some(Exit::Code { code: 3 }),
        healthy: None,
        check_status: None,
    };
    TaskRecord {
        framework: FrameworkId(framework),
        user: "nobody".into(),
        launch: TaskLaunch { description, role: Role::default(), executor_resources: None },
        container: ContainerId::new("c-1").unwrap(),
        state,
        launched_at: Wall(8),
        started_at: Some(Wall(9)),
        unacknowledged: vec![update],
        exit: Some(Exit::Code { code: 3 }),
        kill_asked: true,
        drain: None,
        overdue: false,
        checks: None,
        updates_taken: Vec::new(),
    }
}

fn task(framework: u64, name: &str, state: TaskState) -> Change {
    Change::Task(Box::new(record(framework, name, state)))
}

fn forget(framework: u64, name: &str) -> Change {
    Change::Forget { framework: FrameworkId(framework), task: task_id(name), end: None }
}

/// What is on disk: the agent's id, and each task with its state.
fn found(directory: &Path) -> (Option<AgentId>, Vec<TaskRecord>) {
    let loaded = AgentStore::open(directory).unwrap().load().unwrap();
    (loaded.agent, loaded.tasks)
}

#[test]
fn what_was_written_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(found(directory.path()), (None, Vec::new()), "a new file is empty");
    let store = AgentStore::open(directory.path()).unwrap();
    let first = [
        Change::Agent(Some(agent())),
        task(2, "b", TaskState::Staging),
        task(2, "a", TaskState::Staging),
        task(1, "z", TaskState::Staging),
    ];
    store.write(&first).unwrap();
    store.write(&[task(2, "b", TaskState::Running), forget(2, "a"), forget(9, "never")]).unwrap();
    drop(store);
    let expected = vec![record(1, "z", TaskState::Staging), record(2, "b", TaskState::Running)];
    assert_eq!(found(directory.path()), (Some(agent()), expected));

    let store = AgentStore::open(directory.path()).unwrap();
    store.write(&[Change::Agent(None), forget(1, "z"), forget(2, "b")]).unwrap();
    drop(store);
    assert_eq!(found(directory.path()), (None, Vec::new()));
}

#[test]
fn what_is_reserved_is_read_back_as_it_was_written_last() {
    let directory = tempfile::tempdir().unwrap();
    let write = |text: &str| {
        let record = OperationsRecord {
            consumed: text.parse().unwrap(),
            converted: format!("cpus(db):{}", &text[5..]).parse().unwrap(),
            removing: vec!["v1-2-0".to_owned()],
            ..OperationsRecord::default()
        };
        let store = AgentStore::open(directory.path()).unwrap();
        store.write(&[Change::Operations(Box::new(record.clone()))]).unwrap();
        record
    };
    write("cpus:1");
    let newest = write("cpus:2");
    let loaded = AgentStore::open(directory.path()).unwrap().load().unwrap();
    assert_eq!(loaded.operations, newest);
}

#[test]
fn changes_of_one_task_hold_in_the_order_in_which_they_were_made() {
    let directory = tempfile::tempdir().unwrap();
    let store = AgentStore::open(directory.path()).unwrap();
    let again = task(1, "a", TaskState::Starting);
    store.write(&[task(1, "a", TaskState::Staging), forget(1, "a"), again]).unwrap();
    drop(store);
    assert_eq!(found(directory.path()).1, [record(1, "a", TaskState::Starting)]);
}

fn end(task: &str) -> TaskEnd {
    TaskEnd {
        framework: FrameworkId(1),
        task: task_id(task),
        agent: Some(agent()),
        name: task.to_owned(),
        role: Role::default(),
        resources: "cpus:1;mem:64".parse().unwrap(),
        state: TaskState::Finished,
        reason: None,
        message: String::new(),
        exit: Some(Exit::Code { code: 0 }),
        launched_at: Wall(8),
        started_at: Some(Wall(9)),
        ended_at: Wall(10),
    }
}

#[test]
fn ended_tasks_are_kept_by_number_and_one_that_is_unreadable_harms_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let store = AgentStore::open(directory.path()).unwrap();
    let remember = |number, name: &str, oldest| {
        let (framework, task) = (FrameworkId(1), task_id(name));
        let end = Some(Box::new(RememberedEnd { number, end: Arc::new(end(name)), oldest }));
        Change::Forget { framework, task, end }
    };
    let first = [task(1, "a", TaskState::Running), remember(1, "a", 1), remember(2, "b", 1)];
    store.write(&first).unwrap();
    store.write(&[remember(10, "c", 2)]).unwrap();
    drop(store);
    {
        let database = redb::Database::open(directory.path().join(FILE)).unwrap();
        let ends = redb::TableDefinition::<u64, &[u8]>::new("ends");
        let write = database.begin_write().unwrap();
        write.open_table(ends).unwrap().insert(3, b"rubbish".as_slice()).unwrap();
        write.commit().unwrap();
    }
    let store = AgentStore::open(directory.path()).unwrap();
    let loaded = store.load().unwrap();
    assert_eq!(loaded.ends, [(2, end("b")), (10, end("c"))]);
    assert!(loaded.tasks.is_empty());
    store.write(&[remember(11, "d", 10)]).unwrap();
    assert_eq!(store.load().unwrap().ends, [(10, end("c")), (11, end("d"))]);
}

#[test]
fn a_file_of_a_newer_release_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(AgentStore::open(directory.path()).unwrap());
    {
        let database = redb::Database::open(directory.path().join(FILE)).unwrap();
        let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
        let write = database.begin_write().unwrap();
        write.open_table(meta).unwrap().insert("format", b"2".as_slice()).unwrap();
        write.commit().unwrap();
    }
    let error = AgentStore::open(directory.path()).err().unwrap().to_string();
    assert!(error.contains("format \"2\"") && error.contains("newer release"), "{error}");
}

#[test]
fn a_record_that_cannot_be_read_is_named_and_nothing_begins_without_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = AgentStore::open(directory.path()).unwrap();
    store.write(&[task(1, "good", TaskState::Running)]).unwrap();
    drop(store);
    {
        let database = redb::Database::open(directory.path().join(FILE)).unwrap();
        let tasks = redb::TableDefinition::<(u64, &str), &[u8]>::new("tasks");
        let write = database.begin_write().unwrap();
        write.open_table(tasks).unwrap().insert((1, "bad"), b"\xc1".as_slice()).unwrap();
        write.commit().unwrap();
    }
    let error = AgentStore::open(directory.path()).unwrap().load().unwrap_err().to_string();
    assert!(error.contains(FILE) && error.contains("task bad of F1: "), "{error}");
    assert!(error.contains("start the release that wrote them"), "{error}");
}

#[test]
fn a_file_that_is_lost_is_not_taken_for_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let (file, mark) = (directory.path().join(FILE), directory.path().join("agent.mark"));
    drop(AgentStore::open(directory.path()).unwrap());
    let refused = || AgentStore::open(directory.path()).err().map(|error| error.to_string());
    std::fs::write(&file, b"").unwrap();
    assert!(refused().unwrap().contains("missing or empty"));
    std::fs::remove_file(&file).unwrap();
    let sentence = refused().unwrap();
    assert!(sentence.contains(mark.to_str().unwrap()), "it says what to do: {sentence}");
    // The operator says that it may begin anew.
    std::fs::remove_file(&mark).unwrap();
    assert_eq!(refused(), None);
    assert!(mark.exists() && file.exists());
}

/// A copy of the file as a crash leaves it: never closed.
fn crashed(store: &AgentStore, from: &Path) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in [FILE, "agent.mark"] {
        std::fs::copy(from.join(file), directory.path().join(file)).unwrap();
    }
    // Held open until here.
    let _open = store;
    directory
}

#[test]
fn what_was_durable_survives_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let store = AgentStore::open(directory.path()).unwrap();
    store.write(&[Change::Agent(Some(agent())), task(1, "a", TaskState::Running)]).unwrap();
    let copy = crashed(&store, directory.path());
    let expected = (Some(agent()), vec![record(1, "a", TaskState::Running)]);
    assert_eq!(found(copy.path()), expected);
}

/// Opens and reads a file that may be damaged: all is there, or there is a sentence. No panic.
fn open_damaged(directory: &Path, expected: &[TaskRecord]) -> bool {
    match AgentStore::open(directory).and_then(|store| store.load()) {
        Ok(loaded) => {
            assert_eq!(loaded.tasks.len(), expected.len(), "nothing is lost or made up");
            assert!(loaded.tasks.iter().all(|task| expected.contains(task)), "{loaded:?}");
            true
        }
        Err(error) => {
            assert!(error.to_string().contains(FILE), "{error}");
            false
        }
    }
}

#[test]
fn a_torn_file_is_mended_or_refused_in_words() {
    let directory = tempfile::tempdir().unwrap();
    let store = AgentStore::open(directory.path()).unwrap();
    let names: Vec<String> = (0..50).map(|number| format!("task-{number}")).collect();
    let records: Vec<TaskRecord> =
        names.iter().map(|name| record(1, name, TaskState::Running)).collect();
    for name in &names {
        store.write(&[task(1, name, TaskState::Running)]).unwrap();
    }
    let copy = crashed(&store, directory.path());
    let file = copy.path().join(FILE);
    let whole = std::fs::read(&file).unwrap();
    assert!(open_damaged(copy.path(), &records), "the whole file is good");
    let step = whole.len() / 24;
    for cut in (0..whole.len()).step_by(step) {
        std::fs::write(&file, &whole[..cut]).unwrap();
        open_damaged(copy.path(), &records);
        // The length is there and the blocks behind it were never written.
        let mut zeroed = whole.clone();
        zeroed[cut..].fill(0);
        std::fs::write(&file, &zeroed).unwrap();
        open_damaged(copy.path(), &records);
    }
}

#[test]
fn the_writer_tells_what_is_on_disk_and_writes_all_before_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let store = AgentStore::open(directory.path()).unwrap();
    let (sender, written) = mpsc::channel();
    let (handle, thread) = start_writer(store, move |one| sender.send(one).unwrap()).unwrap();
    for number in 1..=100 {
        let change = task(number, "a", TaskState::Running);
        assert!(handle.write(WriteId(number), change));
    }
    drop(handle);
    thread.join().unwrap();
    let told: Vec<Written> = written.iter().collect();
    assert_eq!(told.last(), Some(&Written::Durable(WriteId(100))));
    assert_eq!(found(directory.path()).1.len(), 100);
}
