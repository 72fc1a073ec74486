//! Executors that leave out, when they come back, the tasks of which something was acknowledged: those of Mesos.

use meshos_protocol::{
    framework::{Capabilities, FrameworkInfo},
    ids::{ContainerId, UpdateId},
    messages::{
        agent::ToAgent,
        executor::{Call, Event as ExecutorEvent, ExecutorStatus, Subscribe},
    },
    task::{Reason, TaskState},
};

use super::rig::{F1, Rig, executor_task, launch_of, task_id};
use crate::agent::{
    Event,
    tests::executors::{heard, says, subscription, told, update},
};

/// What an executor says that does not know which program it is, nor whether it was subscribed before.
fn subscribes(
    rig: &mut Rig,
    container: &ContainerId,
    tasks: &[&str],
    updates: Vec<ExecutorStatus>,
) {
    let subscribe = Subscribe {
        again: true,
        acknowledged_left_out: true,
        tasks: tasks.iter().map(|task| task_id(task)).collect(),
        updates,
        ..subscription(container, 0)
    };
    says(rig, container, Call::Subscribe(subscribe));
}

/// An executor that has these tasks, of which nothing was told yet.
fn running(rig: &mut Rig, tasks: [&str; 3]) -> ContainerId {
    let launches = tasks.iter().enumerate().map(|(n, task)| executor_task(task, n == 0));
    rig.tell(launch_of(F1, launches.collect()));
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    rig.comes_up(&container);
    subscribes(rig, &container, &[], vec![]);
    rig.flush();
    let launched = tasks.map(|task| format!("launch {task}"));
    assert_eq!(heard(rig), [&["subscribed".to_owned()][..], &launched].concat());
    container
}

#[test]
fn those_that_it_was_acknowledged_go_on_and_those_that_it_never_had_are_dropped() {
    let mut rig = Rig::registered();
    let container = running(&mut rig, ["a", "b", "c"]);
    update(&mut rig, &container, told("a", TaskState::Running, 1));
    rig.flush();
    assert_eq!(heard(&mut rig), ["acknowledged a 1"]);
    rig.acknowledge_id(&task_id("a"), UpdateId::from_bytes([1; 16]));
    rig.flush();
    rig.said.clear();
    rig.event(Event::ExecutorDisconnected { container: container.clone() });
    // It has `b`, and `c` was lost on its way.
    subscribes(&mut rig, &container, &["b"], vec![]);
    rig.flush();
    assert_eq!(heard(&mut rig), ["subscribed"]);
    let dropped = rig.update();
    assert_eq!((dropped.task, dropped.state), (task_id("c"), TaskState::Dropped));
    assert_eq!(dropped.reason, Some(Reason::LaunchInterrupted));
    let states = |rig: &Rig| {
        let view = rig.agent.view();
        view.tasks.iter().map(|task| task.record.state).collect::<Vec<_>>()
    };
    assert_eq!(states(&rig), [TaskState::Running, TaskState::Staging, TaskState::Dropped]);
    // A kill that was asked meanwhile reaches a task that it leaves out.
    rig.event(Event::ExecutorDisconnected { container: container.clone() });
    rig.tell(ToAgent::Kill { framework: F1, task: task_id("a"), grace_ms: None, drain: None });
    subscribes(&mut rig, &container, &["b"], vec![told("b", TaskState::Gone, 2)]);
    rig.flush();
    assert_eq!(heard(&mut rig), ["subscribed", "kill a", "acknowledged b 2"]);
    assert_eq!(states(&rig)[1], TaskState::Gone, "executors may say that they lost a task");
}

#[test]
fn what_its_framework_says_of_itself_is_on_disk_with_it_and_told_to_it() {
    let info = FrameworkInfo {
        name: "mine".to_owned(),
        user: "me".to_owned(),
        roles: [meshos_protocol::role::Role::default()].into(),
        failover_timeout_ms: 7,
        capabilities: Capabilities::default(),
        hostname: String::new(),
        webui_url: String::new(),
        labels: [].into(),
    };
    let mut rig = Rig::registered();
    let ToAgent::Launch { framework, user, tasks, .. } =
        launch_of(F1, vec![executor_task("a", true)])
    else {
        unreachable!()
    };
    rig.tell(ToAgent::Launch { framework, user, info: Some(Box::new(info.clone())), tasks });
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    rig.comes_up(&container);
    subscribes(&mut rig, &container, &[], vec![]);
    let Some((_, ExecutorEvent::Subscribed(subscribed))) = rig.told.first() else {
        panic!("{:?}", rig.told);
    };
    assert_eq!(subscribed.framework_info.as_deref(), Some(&info));
    rig.flush();
    let kept = rig.disk.executors.values().next().unwrap();
    assert_eq!(kept.framework_info.as_deref(), Some(&info));
}
