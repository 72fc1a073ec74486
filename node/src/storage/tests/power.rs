//! The agent's file after power cuts: at any moment, with any of what was not yet synced on the disk.

use meshos_disk::{Dice, Disk, Progress};

use super::{super::agent_store::builder, *};

/// How many files live, and how often the power fails for each; the file goes on from what is left.
const FILES: u64 = 6;
const LIVES: usize = 6;
/// Power cuts looked at in each life, besides the one that ends it.
const CUTS: usize = 20;
const TRANSACTIONS: usize = 12;

/// What the file holds, written down by hand.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    agent: Option<AgentId>,
    tasks: Vec<TaskRecord>,
    ends: Vec<(u64, TaskEnd)>,
    operations: OperationsRecord,
}

impl Model {
    fn read(store: &AgentStore) -> Self {
        let loaded = store.load().unwrap();
        let (agent, tasks) = (loaded.agent, loaded.tasks);
        Self { agent, tasks, ends: loaded.ends, operations: loaded.operations }
    }

    /// Makes a change of some kind, and makes it here too.
    fn change(&mut self, dice: &mut Dice) -> Change {
        match dice.below(6) {
            0 => {
                self.agent = (dice.below(2) == 0).then(agent);
                Change::Agent(self.agent)
            }
            1 => {
                let cpus = 1 + dice.below(9);
                self.operations.consumed = format!("cpus:{cpus}").parse().unwrap();
                Change::Operations(Box::new(self.operations.clone()))
            }
            2 if !self.tasks.is_empty() => {
                let gone = self.tasks.remove(dice.below(self.tasks.len()));
                let task = gone.launch.description.task_id;
                let number = self.ends.last().map_or(1, |last| last.0 + 1);
                let oldest = number.saturating_sub(3);
                self.ends.retain(|end| end.0 >= oldest);
                self.ends.push((number, end(task.as_str())));
                let kept = RememberedEnd { number, end: Arc::new(end(task.as_str())), oldest };
                Change::Forget { framework: gone.framework, task, end: Some(Box::new(kept)) }
            }
            _ => {
                let state = [TaskState::Staging, TaskState::Running][dice.below(2)];
                let mut new = record(1, &format!("t-{:02}", dice.below(30)), state);
                new.unacknowledged[0].message = "x".repeat(dice.below(9_000));
                let id = |one: &TaskRecord| one.launch.description.task_id.clone();
                self.tasks.retain(|task| id(task) != id(&new));
                self.tasks.push(new.clone());
                self.tasks.sort_by_key(id);
                Change::Task(Box::new(new))
            }
        }
    }
}

fn open_on(disk: &Disk) -> AgentStore {
    let database = builder().create_with_backend(disk.clone()).unwrap();
    AgentStore::on(Path::new(FILE), database).unwrap()
}

/// Opens a file, writes to it and closes it; returns all states it went through.
fn live(disk: &Disk, dice: &mut Dice) -> Vec<Model> {
    let store = open_on(disk);
    let mut states = vec![Model::read(&store)];
    disk.note(Progress::Asked(0));
    disk.note(Progress::Acknowledged(0));
    for _ in 0..TRANSACTIONS {
        let mut next = states.last().unwrap().clone();
        let changes: Vec<Change> = (0..=dice.below(4)).map(|_| next.change(dice)).collect();
        states.push(next);
        disk.note(Progress::Asked(states.len() - 1));
        store.write(&changes).unwrap();
        disk.note(Progress::Acknowledged(states.len() - 1));
    }
    states
}

/// Opens what is left as a node does at its start, in a file.
fn open_file(bytes: &[u8]) -> Model {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(FILE), bytes).unwrap();
    std::fs::write(directory.path().join("agent.mark"), b"").unwrap();
    Model::read(&AgentStore::open(directory.path()).unwrap())
}

#[test]
fn after_any_power_cut_all_that_was_acknowledged_is_there() {
    for seed in 0..FILES {
        let mut dice = Dice::new(seed);
        let disk = Disk::default();
        drop(open_on(&disk));
        let made = disk.history();
        let mut bytes = made.after_power_cut(made.moments() - 1, &mut dice);
        for life in 0..LIVES {
            let disk = Disk::new(bytes.clone());
            let states = live(&disk, &mut dice);
            let history = disk.history();
            for cut in 0..CUTS {
                let moment = dice.below(history.moments());
                let what = format!("file {seed}, life {life}, power cut at {moment}");
                bytes = history.after_power_cut(moment, &mut dice);
                let found = Model::read(&open_on(&Disk::new(bytes.clone())));
                history.check(moment, &found, &states, &what);
                if cut == 0 {
                    assert_eq!(open_file(&bytes), found, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_power_cut_while_the_file_is_made_keeps_no_node_from_starting() {
    let disk = Disk::default();
    drop(open_on(&disk));
    let history = disk.history();
    let mut dice = Dice::new(0);
    for moment in 0..history.moments() {
        let directory = tempfile::tempdir().unwrap();
        let bytes = history.after_power_cut(moment, &mut dice);
        let making = directory.path().join("agent.redb.new");
        std::fs::write(&making, bytes).unwrap();
        assert_eq!(found(directory.path()), (None, Vec::new()));
        assert!(!making.exists(), "it is made under this name, and then renamed");
    }
}
