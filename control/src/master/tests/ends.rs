//! What a new leader learns of tasks that ended before.

use meshos_protocol::{
    ids::FrameworkId,
    messages::agent::ToLeader,
    task::{TaskEnd, TaskState},
    time::Wall,
};

use super::world::{World, report, task, task_id};
use crate::master::{ConnectionId, Event, MasterConfig};

/// A task as its agent remembers it.
pub(super) fn end(name: &str, at: u64) -> TaskEnd {
    TaskEnd {
        framework: FrameworkId(9),
        task: task_id(name),
        agent: None,
        name: name.to_owned(),
        role: Default::default(),
        resources: "cpus:1".parse().unwrap(),
        state: TaskState::Finished,
        reason: None,
        message: String::new(),
        exit: None,
        launched_at: Wall(1),
        started_at: None,
        ended_at: Wall(at),
    }
}

/// A node registers whose agent remembers ended tasks.
fn register_with_history(world: &mut World, number: u64) -> ConnectionId {
    let connection = world.connect(number);
    let mut registration = world.registration(number, "cpus:4;mem:4096");
    registration.ends = 5;
    world.say(connection, ToLeader::Register(registration));
    connection
}

fn shown(world: &World) -> Vec<String> {
    world.master.view().tasks_ended.iter().map(|row| row.id.to_string()).collect()
}

#[test]
fn a_new_leader_asks_one_agent_after_the_other_how_tasks_ended() {
    let config = MasterConfig { ended_tasks_max: 3, ..MasterConfig::default() };
    let mut world = World::with(config);
    let n1 = register_with_history(&mut world, 1);
    let n2 = register_with_history(&mut world, 2);
    let n3 = register_with_history(&mut world, 3);
    let told = world.told();
    let asked: Vec<_> = told.iter().filter(|line| line.contains("ends")).collect();
    assert_eq!(asked, ["n1 tell 3 ends"], "{told:?}");
    world.say(n2, ToLeader::Ends { ends: vec![end("early", 5)], more: false });
    assert!(shown(&world).is_empty(), "it was not asked");

    world.say(n1, ToLeader::Ends { ends: vec![end("c", 30), end("b", 20)], more: true });
    world.expect(&[]);
    world.say(n1, ToLeader::Ends { ends: vec![end("a", 10)], more: false });
    world.expect(&["n2 tell 3 ends after 10"]);
    assert_eq!(shown(&world), ["a", "b", "c"]);
    // Who goes is not waited for, and neither is who does not answer.
    world.event(Event::AgentDisconnected { connection: n2 });
    let told = world.told();
    assert!(told.contains(&"n3 tell 3 ends after 10".to_owned()), "{told:?}");
    world.pass(10_001);
    world.say(n3, ToLeader::Ends { ends: vec![end("late", 90)], more: false });
    assert_eq!(shown(&world), ["a", "b", "c"], "too late");
    register_with_history(&mut world, 2);
    assert!(world.told().iter().any(|line| line == "n2 tell 3 ends after 10"));
}

#[test]
fn what_a_leader_saw_end_its_successor_shows_without_any_agent() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    let tasks = ["done", "lost", "runs"].map(|name| task(name, "cpus:1;mem:128"));
    world.accept(s1, &[1], tasks.to_vec());
    world.update(n1, "done", TaskState::Finished, 1);
    world.pass(1_000);
    // The agent comes back and knows one of them only.
    world.event(Event::AgentDisconnected { connection: n1 });
    let reports = vec![report("runs", TaskState::Running, &[])];
    world.register(1, "cpus:4;mem:4096", reports);
    let seen = world.master.view().tasks_ended;
    assert_eq!(shown(&world), ["done", "lost"]);

    let mut next = world.next_leader();
    assert_eq!(shown(&next), ["done", "lost"]);
    for (row, seen) in next.master.view().tasks_ended.iter().zip(seen.iter()) {
        let (state, why) = (row.state, (row.reason, &row.message));
        assert_eq!((state, why), (seen.state, (seen.reason, &seen.message)));
    }
    assert_eq!(next.master.view().tasks.iter().count(), 1, "they are not live");
    // The agent tells of what it saw itself; it is not shown twice.
    let connection = register_with_history(&mut next, 1);
    let remembered = next.master.view().tasks_ended[0].changed_at.0;
    let done = TaskEnd { framework: FrameworkId(1), ..end("done", remembered) };
    next.say(connection, ToLeader::Ends { ends: vec![done], more: false });
    assert_eq!(shown(&next), ["done", "lost"]);
}
