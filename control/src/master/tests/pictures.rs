//! What pictures hold for readers alone.

use std::sync::Arc;

use meshos_protocol::{
    task::{TaskDescription, TaskState},
    time::Wall,
};

use super::world::{START, World, report, status, subscribe, subscribe_as, task};
use crate::master::{AgentView, Event, FrameworkView, TaskView, View};

fn agent(view: &View) -> AgentView {
    AgentView::clone(view.agents.iter().next().unwrap())
}

fn framework(view: &View) -> Arc<FrameworkView> {
    Arc::clone(view.frameworks.iter().next().unwrap())
}

fn tasks(view: &View) -> Vec<&Arc<TaskView>> {
    let mut tasks: Vec<_> = view.tasks.iter().collect();
    tasks.sort_unstable_by_key(|task| &task.id);
    tasks
}

fn after(ms: u64) -> Option<Wall> {
    Some(Wall(START.wall.0 + ms))
}

#[test]
fn who_came_when_is_told_for_each_term_anew() {
    let mut world = World::new();
    assert_eq!(world.master.view().led_since, START.wall);
    world.pass(1_000);
    world.register(1, "cpus:4;mem:4096", vec![]);
    let first = agent(&world.master.view());
    assert_eq!((first.registered_at, first.reregistered_at), (after(1_000), None));
    world.pass(500);
    let s1 = world.framework("one");
    world.pass(500);
    world.register(1, "cpus:4;mem:4096", vec![]);
    let again = agent(&world.master.view());
    assert_eq!((again.registered_at, again.reregistered_at), (after(1_000), after(2_000)));
    let one = framework(&world.master.view());
    assert_eq!((one.registered_at, one.reregistered_at), (after(1_500), None));
    world.event(Event::SessionClosed { session: s1 });
    let s2 = world.open("p");
    world.subscribe(s2, subscribe_as(1, Some(1)));
    let back = framework(&world.master.view());
    assert_eq!((back.registered_at, back.reregistered_at), (after(1_500), after(2_000)));

    let next = world.next_leader();
    let view = next.master.view();
    assert_eq!(view.led_since, next.now.wall);
    assert_eq!((agent(&view).registered_at, framework(&view).registered_at), (None, None));
}

#[test]
fn what_a_framework_says_of_itself_is_shared_by_its_rows_until_it_changes() {
    let mut world = World::new();
    world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.open("p");
    let mut said = subscribe("one");
    said.info.labels = [("team".to_owned(), "a".to_owned())].into();
    world.subscribe(s1, said.clone());
    let before = framework(&world.master.view());
    assert_eq!(before.details.labels, said.info.labels);
    world.pass(10);
    let offered = framework(&world.master.view());
    assert!(!Arc::ptr_eq(&before, &offered), "it has an offer now");
    assert!(Arc::ptr_eq(&before.details, &offered.details));
    let s2 = world.open("p");
    world.subscribe(s2, subscribe_as(1, None));
    let renamed = framework(&world.master.view());
    assert!(renamed.details.labels.is_empty());
}

#[test]
fn labels_of_a_task_are_kept_over_its_end_and_told_to_the_next_leader() {
    let mut world = World::new();
    let n1 = world.register(1, "cpus:4;mem:4096", vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    let mut described: TaskDescription = task("a", "cpus:1;mem:128");
    described.labels = [("k".to_owned(), "v".to_owned())].into();
    described.command.user = Some("daemon".to_owned());
    world.accept(s1, &[1], vec![described.clone(), task("b", "cpus:1;mem:128")]);
    let view = world.master.view();
    let extras = tasks(&view)[0].extras.clone().unwrap();
    assert_eq!((&extras.labels, extras.user.as_deref()), (&described.labels, Some("daemon")));
    assert_eq!(tasks(&view)[1].extras, None, "it has none, which costs nothing");
    world.update(n1, "a", TaskState::Running, 1);
    let running = world.master.view();
    assert!(Arc::ptr_eq(&extras, tasks(&running)[0].extras.as_ref().unwrap()));

    let mut next = world.next_leader();
    let mut told = report("a", TaskState::Running, &[]);
    told.launch.description = described;
    let n1 = next.register(1, "cpus:4;mem:4096", vec![told]);
    let view = next.master.view();
    assert_eq!(tasks(&view)[0].extras.as_deref(), Some(&*extras));
    let ended = status(1, "a", TaskState::Failed, Some(2));
    next.say(n1, meshos_protocol::messages::agent::ToLeader::Update { status: ended });
    let view = next.master.view();
    let row = view.tasks_ended.back().unwrap();
    assert_eq!((row.state, row.extras.as_deref()), (TaskState::Failed, Some(&*extras)));
}
