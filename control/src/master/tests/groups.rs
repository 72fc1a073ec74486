//! Groups: all of their tasks are launched, or none.

use meshos_protocol::{
    executor::{ExecutorInfo, ExecutorKind},
    ids::ExecutorId,
    messages::agent::ToLeader,
    task::{Command, GROUP_TASKS_MAX, GroupEnds, GroupMember, Reason, TaskDescription},
};

use super::{
    executors::in_pool,
    world::{World, task, task_id},
};

fn pod() -> ExecutorInfo {
    ExecutorInfo {
        id: ExecutorId::new("pod").unwrap(),
        name: String::new(),
        kind: ExecutorKind::Group,
        source: String::new(),
        resources: "cpus:0.5;mem:32".parse().unwrap(),
        command: Command::none(),
        data: Vec::new(),
        shutdown_grace_ms: None,
        labels: Default::default(),
    }
}

/// Tasks of one cpu.
pub(super) fn group(names: &[&str]) -> Vec<TaskDescription> {
    let member = GroupMember {
        first: task_id(names[0]),
        size: u32::try_from(names.len()).unwrap(),
        ends: GroupEnds::Together,
    };
    let in_group = |name: &&str| TaskDescription {
        executor: Some(Box::new(pod())),
        group: Some(Box::new(member.clone())),
        ..task(name, "cpus:1;mem:64")
    };
    names.iter().map(in_group).collect()
}

fn offered(resources: &str) -> (World, meshos_protocol::ids::SessionId) {
    let mut world = World::new();
    world.register(1, resources, vec![]);
    let s1 = world.framework("one");
    world.pass(10);
    world.told();
    (world, s1)
}

#[test]
fn a_group_is_sent_in_one_message_and_its_executor_is_paid_once() {
    let (mut world, s1) = offered("cpus:4;mem:4096");
    let mut launch = vec![task("alone", "cpus:0.5;mem:32")];
    launch.extend(group(&["a", "b"]));
    world.accept(s1, &[1], launch);
    world.expect(&[
        "n1 launch group F1 a cpus:1;mem:64 starting cpus:0.5;mem:32, b cpus:1;mem:64",
        "n1 launch F1 alone cpus:0.5;mem:32",
        "s1 ok",
    ]);
    let used = world.master.view().agents.iter().next().unwrap().used.clone();
    assert_eq!(used, "cpus:3;mem:192".parse().unwrap());
}

/// The agent must know the executor when it hears of the single task.
#[test]
fn a_task_of_an_executor_that_a_group_starts_is_sent_after_the_group() {
    let (mut world, s1) = offered("cpus:4;mem:4096");
    let mut launch = group(&["a", "b"]);
    let custom = |task: &mut TaskDescription| {
        task.executor = in_pool("x").executor;
    };
    launch.iter_mut().for_each(custom);
    launch.push(in_pool("c"));
    world.accept(s1, &[1], launch);
    let told = world.told();
    let place = |what: &str| told.iter().position(|line| line.starts_with(what));
    let (group, single) = (place("n1 launch group F1 a"), place("n1 launch F1 c"));
    assert!(group.is_some() && group < single, "{told:?}");
}

#[test]
fn a_group_that_does_not_fit_whole_leaves_what_it_would_have_taken_to_others() {
    let (mut world, s1) = offered("cpus:2;mem:4096");
    let mut launch = group(&["a", "b"]);
    launch.push(task("alone", "cpus:2;mem:32"));
    world.accept(s1, &[1], launch);
    world.expect(&[
        "s1 update a error on n1.1 (task_group_invalid)",
        "s1 update b error on n1.1 (task_group_invalid)",
        "n1 launch F1 alone cpus:2;mem:32",
        "s1 ok",
    ]);
}

/// What is told of each task of a group that is not launched.
fn refused(world: &mut World) -> Vec<String> {
    let told = world.told();
    assert!(!told.iter().any(|line| line.contains(" launch")), "{told:?}");
    told.into_iter().filter(|line| line.contains(" update ")).collect()
}

#[test]
fn one_task_that_breaks_a_rule_fails_the_whole_group() {
    let change = |at: usize, change: &dyn Fn(&mut TaskDescription)| {
        let mut tasks = group(&["a", "b"]);
        change(&mut tasks[at]);
        tasks
    };
    let name_user = |task: &mut TaskDescription| task.command.user = Some("somebody".to_owned());
    let broken = [
        change(1, &|task| task.command = Command::none()),
        change(1, &|task| task.resources = "".parse().unwrap()),
        change(1, &|task| task.task_id = task_id("a")),
        change(1, &|task| task.executor.as_mut().unwrap().data = vec![1]),
        change(1, &|task| task.executor = None),
        change(0, &name_user),
        group(&["a", "b"]).into_iter().rev().collect(),
        group(&["a", "b", "c"]).into_iter().take(2).collect(),
    ];
    for tasks in broken {
        let (mut world, s1) = offered("cpus:4;mem:4096");
        world.accept(s1, &[1], tasks.clone());
        let told = refused(&mut world);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|line| line.contains("error on n1.1 (task_group_invalid)")));
    }
    let (mut world, s1) = offered("cpus:400;mem:40960");
    let names: Vec<String> = (0..=GROUP_TASKS_MAX).map(|number| format!("t{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    world.accept(s1, &[1], group(&names));
    assert_eq!(refused(&mut world).len(), GROUP_TASKS_MAX + 1);
}

#[test]
fn a_group_of_which_an_id_is_in_use_is_refused_whole() {
    let (mut world, s1) = offered("cpus:8;mem:4096");
    let mut launch = vec![task("b", "cpus:1;mem:64")];
    launch.extend(group(&["a", "b"]));
    world.accept(s1, &[1], launch);
    let told = world.told();
    let invalid = "error on n1.1 (task_group_invalid)";
    assert!(told.contains(&format!("s1 update a {invalid}")), "{told:?}");
    assert!(told.contains(&"n1 launch F1 b cpus:1;mem:64".to_owned()), "{told:?}");
}

#[test]
fn the_executor_in_the_box_has_no_command_and_runs_nothing_but_groups() {
    let with_command = |command: Command| {
        let mut tasks = group(&["a"]);
        tasks[0].executor.as_mut().unwrap().command = command;
        tasks
    };
    let command = task("any", "cpus:1").command;
    let user = Command { user: Some("somebody".to_owned()), ..Command::none() };
    let (mut world, s1) = offered("cpus:4;mem:4096");
    let mut launch = with_command(command);
    let mut alone = group(&["alone"]);
    alone[0].group = None;
    launch.extend(alone);
    world.accept(s1, &[1], launch);
    world.expect(&[
        "s1 update a error on n1.1 (task_group_invalid)",
        "s1 update alone error on n1.1 (task_invalid)",
        "s1 ok",
    ]);
    let (mut world, s1) = offered("cpus:4;mem:4096");
    world.accept(s1, &[1], with_command(user));
    world.expect(&["n1 launch group F1 a cpus:1;mem:64 starting cpus:0.5;mem:32", "s1 ok"]);
}

#[test]
fn a_group_may_be_for_an_executor_of_the_frameworks_own() {
    let (mut world, s1) = offered("cpus:4;mem:4096");
    let mut tasks = group(&["a", "b"]);
    for task in &mut tasks {
        let own = in_pool(task.task_id.as_str());
        (task.executor, task.command) = (own.executor, own.command);
    }
    world.accept(s1, &[1], tasks);
    world.expect(&[
        "n1 launch group F1 a cpus:1;mem:64 starting cpus:1;mem:64, b cpus:1;mem:64",
        "s1 ok",
    ]);
}

#[test]
fn an_agent_that_knows_no_groups_is_sent_none() {
    let mut world = World::new();
    let connection = world.connect(1);
    let mut registration = world.registration(1, "cpus:4;mem:4096");
    registration.groups = false;
    world.say(connection, ToLeader::Register(registration));
    let s1 = world.framework("one");
    world.pass(10);
    world.told();
    world.accept(s1, &[1], group(&["a", "b"]));
    world.expect(&[
        "s1 update a dropped on n1.1 (agent_too_old)",
        "s1 update b dropped on n1.1 (agent_too_old)",
        "s1 ok",
    ]);
}

#[test]
fn a_group_that_was_lost_on_its_way_is_dropped_whole() {
    let (mut world, s1) = offered("cpus:4;mem:4096");
    world.accept(s1, &[1], group(&["a", "b"]));
    world.told();
    let connection = world.connect(1);
    let registration = world.registration(1, "cpus:4;mem:4096");
    world.say(connection, ToLeader::Register(registration));
    let told = refused(&mut world);
    let dropped = format!("dropped on n1.1 ({})", Reason::AgentDisconnected);
    assert_eq!(told, ["a", "b"].map(|task| format!("s1 update {task} {dropped}")));
}
