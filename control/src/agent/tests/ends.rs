//! Which ended tasks an agent remembers, and what it tells of them.

use meshos_protocol::{
    messages::agent::{ToAgent, ToLeader},
    task::{Exit, Reason, TaskEnd, TaskState},
    time::Wall,
};

use super::rig::{CODE_0, F1, Rig, config, task_id};
use crate::agent::{Agent, Recovered};

/// A task's whole life, up to the last acknowledgement on disk.
fn live_and_end(rig: &mut Rig, name: &str, exit: Exit) {
    let container = rig.run_acknowledged(name);
    rig.wait(1_000);
    rig.exits(&container, exit);
    rig.flush();
    let end = rig.update();
    rig.acknowledge(&end);
    rig.flush();
    rig.said.clear();
}

fn told(rig: &mut Rig, after: Option<Wall>, max: u32) -> Vec<TaskEnd> {
    rig.tell(ToAgent::TellEnds { after, max });
    let said = std::mem::take(&mut rig.said);
    let [ToLeader::Ends { ends, more: false }] = said.as_slice() else {
        panic!("one frame of ends: {said:?}")
    };
    ends.clone()
}

fn names(ends: &[TaskEnd]) -> Vec<&str> {
    ends.iter().map(|end| end.task.as_str()).collect()
}

#[test]
fn how_tasks_ended_is_remembered_over_a_restart_and_told_newest_first() {
    let mut rig = Rig::registered();
    live_and_end(&mut rig, "a", CODE_0);
    live_and_end(&mut rig, "b", Exit::Code { code: 3 });
    assert!(rig.disk.records.is_empty(), "both are forgotten");
    rig.crash();
    assert_eq!(rig.register_again(2).ends, 2);
    rig.said.clear();
    let ends = told(&mut rig, None, 10);
    assert_eq!(names(&ends), ["b", "a"]);
    let b = &ends[0];
    assert_eq!(
        (b.framework, b.state, b.reason),
        (F1, TaskState::Failed, Some(Reason::CommandFailed))
    );
    assert_eq!(b.exit, Some(Exit::Code { code: 3 }));
    assert!(b.message.contains("status 3"), "{}", b.message);
    assert!(Some(b.launched_at) <= b.started_at && b.started_at < Some(b.ended_at), "{b:?}");
    assert_eq!(names(&told(&mut rig, None, 1)), ["b"]);
    assert_eq!(names(&told(&mut rig, Some(ends[1].ended_at), 10)), ["b"], "what is newer");
    assert!(told(&mut rig, Some(b.ended_at), 10).is_empty());
}

#[test]
fn the_tasks_of_a_framework_that_has_ended_are_remembered_too() {
    let mut rig = Rig::registered();
    let running = rig.run_acknowledged("running");
    let ended = rig.run_acknowledged("ended");
    rig.exits(&ended, CODE_0);
    rig.flush();
    rig.tell(ToAgent::CloseFramework { framework: F1 });
    rig.exits(&running, Exit::Signal { signal: 15 });
    rig.flush();
    rig.said.clear();
    assert!(rig.disk.records.is_empty());
    let ends = told(&mut rig, None, 10);
    let states: Vec<_> = ends.iter().map(|end| (end.task.as_str(), end.state)).collect();
    assert_eq!(states, [("running", TaskState::Killed), ("ended", TaskState::Finished)]);
}

#[test]
fn only_so_many_are_remembered_and_each_frame_holds_so_much() {
    let mut rig = Rig::registered();
    live_and_end(&mut rig, "a", CODE_0);
    let (_, end) = rig.disk.ends.pop_first().unwrap();
    let many = (1..=3_000).map(|number: u64| {
        let task = task_id(&format!("t{number}"));
        (number, TaskEnd { task, ended_at: Wall(number), ..end.clone() })
    });
    let mut limited = config(2);
    limited.ends_max = 2_999;
    rig.disk.ends = many.collect();
    let ends = rig.disk.ends.clone().into_iter().collect();
    let found = Recovered { agent: rig.disk.agent, ends, ..Recovered::default() };
    rig.agent = Agent::recover(limited, found, rig.now, &mut Vec::new());
    rig.register_again(2);
    rig.said.clear();
    rig.tell(ToAgent::TellEnds { after: None, max: u32::MAX });
    let frames: Vec<(usize, bool)> = std::mem::take(&mut rig.said)
        .into_iter()
        .map(|said| {
            let ToLeader::Ends { ends, more } = said else { panic!("{said:?}") };
            (ends.len(), more)
        })
        .collect();
    assert_eq!(frames, [(1_000, true), (1_000, true), (999, false)]);
    live_and_end(&mut rig, "z", CODE_0);
    assert_eq!(rig.register_again(3).ends, 2_999);
    let numbers: Vec<u64> = rig.disk.ends.into_keys().collect();
    assert_eq!(numbers, (3..=3_001).collect::<Vec<_>>(), "the oldest two have made room");
}
