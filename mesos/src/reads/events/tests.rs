use std::sync::LazyLock;

use meshos_control::master::{FrameworkState, NodeState};
use meshos_protocol::time::Wall;
use serde_json::{Value, json};

use super::*;
use crate::{
    codec::{self, Media},
    reads::tests::{agent, framework, task, view},
};

/// What is told, as clients read it; each event twice, in both encodings, means the same.
fn told(before: &View, after: &View) -> Vec<Value> {
    let read = |event: &MasterEvent| {
        let json = codec::write(Media::Json, event);
        let bytes = codec::write(Media::Protobuf, event);
        assert_eq!(<MasterEvent as prost::Message>::decode(bytes.as_slice()), Ok(event.clone()));
        serde_json::from_slice(&json).expect("an event is JSON")
    };
    all(before, after).iter().map(read).collect()
}

fn all(before: &View, after: &View) -> Vec<MasterEvent> {
    let mut events = Vec::new();
    let Ok(()) = between(before, after, &mut |event| {
        events.push(event);
        Ok::<(), std::convert::Infallible>(())
    });
    events
}

/// The types, and of events of tasks the task and its state.
fn short(events: &[Value]) -> Vec<String> {
    let one = |event: &Value| {
        let kind = event["type"].as_str().unwrap();
        let task = match kind {
            "TASK_ADDED" => &event["task_added"]["task"],
            "TASK_UPDATED" => &event["task_updated"]["status"],
            _ => return kind.to_owned(),
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        format!("{kind} {} {}", text(&task["task_id"]["value"]), text(&task["state"]))
    };
    events.iter().map(one).collect()
}

/// One picture, whose rows later ones share.
fn base() -> View {
    static BASE: LazyLock<View> = LazyLock::new(view);
    BASE.clone()
}

fn with_tasks(rows: &[TaskView], ended: &[&Arc<TaskView>]) -> View {
    let tasks_ended = Arc::new(ended.iter().map(|row| Arc::clone(row)).collect());
    View { tasks: rows.iter().cloned().collect(), tasks_ended, ..base() }
}

#[test]
fn nothing_is_told_of_the_same_picture() {
    assert_eq!(told(&base(), &base()), Vec::<Value>::new());
    // Nor of rows that were written anew and say the same.
    let again = View { frameworks: view().frameworks, tasks: view().tasks, ..base() };
    assert_eq!(told(&base(), &again), Vec::<Value>::new());
}

#[test]
fn no_more_events_are_made_than_are_taken() {
    let tasks: Vec<TaskView> =
        (0..50).map(|at| task(7, &format!("t-{at}"), TaskState::Staging, None)).collect();
    let failed = TaskView { launched_here: true, ..task(7, "b", TaskState::Failed, Some(5_000)) };
    let full = with_tasks(&tasks, &[&Arc::new(failed)]);
    let nothing = View::deposed(base().fence, base().leader);
    let empty =
        View { frameworks: nothing.frameworks, agents: nothing.agents, ..with_tasks(&[], &[]) };
    for (before, after) in [(&empty, &full), (&full, &empty)] {
        let every = all(before, after);
        assert!(every.len() > 50, "{}", every.len());
        // Wherever it has had enough, nothing is made behind it.
        for enough in 1..=every.len() {
            let mut told = Vec::new();
            let ended = between(before, after, &mut |event| {
                told.push(event);
                if told.len() < enough { Ok(()) } else { Err(told.len()) }
            });
            assert_eq!((ended, told.as_slice()), (Err(enough), &every[..enough]));
        }
    }
}

#[test]
fn the_first_event_has_all_that_there_is() {
    let view = view();
    let event = subscribed(&Picture::new(&view));
    let event: Value = serde_json::from_slice(&codec::write(Media::Json, &event)).unwrap();
    assert_eq!(event["type"], "SUBSCRIBED");
    let subscribed = &event["subscribed"];
    assert_eq!(subscribed["heartbeat_interval_seconds"], 15.0);
    for part in ["get_tasks", "get_executors", "get_frameworks", "get_agents"] {
        assert!(subscribed["get_state"][part].is_object(), "{part}");
    }
    assert_eq!(serde_json::to_value(heartbeat()).unwrap(), json!({"type": "HEARTBEAT"}));
}

#[test]
fn a_task_is_told_from_its_launch_to_its_end() {
    let staging = task(7, "a", TaskState::Staging, None);
    let running = task(7, "a", TaskState::Running, Some(5_000));
    let ended = Arc::new(task(7, "a", TaskState::Failed, Some(5_000)));
    let nothing = with_tasks(&[], &[]);
    let launched = with_tasks(std::slice::from_ref(&staging), &[]);
    let runs = with_tasks(std::slice::from_ref(&running), &[]);
    let over = with_tasks(&[], &[&ended]);

    let events = told(&nothing, &launched);
    assert_eq!(short(&events), ["TASK_ADDED a TASK_STAGING"]);
    assert_eq!(events[0]["task_added"]["task"]["name"], "name of a");
    let events = told(&launched, &runs);
    assert_eq!(short(&events), ["TASK_UPDATED a TASK_RUNNING"]);
    let updated = &events[0]["task_updated"];
    assert_eq!(
        (&updated["state"], &updated["status"]["timestamp"]),
        (&json!("TASK_RUNNING"), &json!(5.0))
    );
    assert_eq!(updated["framework_id"]["value"], "00000000-0000-0000-0000-0000000000ab-0007");
    assert_eq!(short(&told(&runs, &over)), ["TASK_UPDATED a TASK_FAILED"]);
    // Who was late is told that it ran, too.
    let all = ["TASK_UPDATED a TASK_RUNNING", "TASK_UPDATED a TASK_FAILED"];
    assert_eq!(short(&told(&launched, &over)), all);
    assert_eq!(told(&over, &over.clone()), Vec::<Value>::new());
}

#[test]
fn a_task_that_came_and_went_between_two_pictures_is_told_as_one_that_did() {
    let brief = TaskView { launched_here: true, ..task(7, "b", TaskState::Failed, Some(5_000)) };
    let reported = TaskView { launched_here: false, ..brief.clone() };
    let nothing = with_tasks(&[], &[]);
    let all =
        ["TASK_ADDED b TASK_STAGING", "TASK_UPDATED b TASK_RUNNING", "TASK_UPDATED b TASK_FAILED"];
    let brief = Arc::new(brief);
    assert_eq!(short(&told(&nothing, &with_tasks(&[], &[&brief]))), all);
    // The same id was used again at once.
    let next =
        TaskView { launched_at: Some(Wall(6_000)), ..task(7, "b", TaskState::Staging, None) };
    let again = with_tasks(std::slice::from_ref(&next), &[&brief]);
    let runs = with_tasks(&[task(7, "b", TaskState::Running, Some(5_000))], &[]);
    let expected = ["TASK_UPDATED b TASK_FAILED", "TASK_ADDED b TASK_STAGING"];
    assert_eq!(short(&told(&runs, &again)), expected);
    // An agent told of what ended under an earlier leader.
    let reported = Arc::new(reported);
    assert_eq!(told(&nothing, &with_tasks(&[], &[&reported])), Vec::<Value>::new());
}

#[test]
fn a_task_of_which_no_end_is_known_is_told_as_unknown() {
    let runs = with_tasks(&[task(7, "a", TaskState::Running, Some(5_000))], &[]);
    let events = short(&told(&runs, &with_tasks(&[], &[])));
    assert_eq!(events, ["TASK_UPDATED a TASK_UNKNOWN"]);
    // In another place of the table it is the same.
    let (a, b) =
        (task(7, "a", TaskState::Running, Some(5_000)), task(7, "b", TaskState::Staging, None));
    let moved = with_tasks(&[b, a], &[]);
    assert_eq!(short(&told(&runs, &moved)), ["TASK_ADDED b TASK_STAGING"]);
}

#[test]
fn frameworks_and_agents_come_before_their_tasks_and_go_after_them() {
    let empty = View {
        agents: [].into_iter().collect(),
        frameworks: [].into_iter().collect(),
        frameworks_closed: Arc::default(),
        ..with_tasks(&[], &[])
    };
    let row = framework(7, FrameworkState::Subscribed);
    let full = View {
        agents: [agent(1, NodeState::Active)].into_iter().collect(),
        frameworks: [row.clone()].into_iter().collect(),
        frameworks_closed: Arc::default(),
        ..with_tasks(&[task(7, "a", TaskState::Running, Some(5_000))], &[])
    };
    let come = [
        "FRAMEWORK_ADDED",
        "AGENT_ADDED",
        "TASK_ADDED a TASK_STAGING",
        "TASK_UPDATED a TASK_RUNNING",
    ];
    assert_eq!(short(&told(&empty, &full)), come);
    let closed = Arc::new(framework(7, FrameworkState::Closed));
    let over = View { frameworks_closed: Arc::new([closed].into()), ..empty.clone() };
    let gone = told(&full, &over);
    assert_eq!(short(&gone), ["TASK_UPDATED a TASK_UNKNOWN", "AGENT_REMOVED", "FRAMEWORK_REMOVED"]);
    assert_eq!(gone[2]["framework_removed"]["framework_info"]["name"], "f7");
    assert!(gone[1]["agent_removed"]["agent_id"]["value"].is_string());

    // It is away, or says something else of itself; what it holds is no news.
    let with =
        |row: FrameworkView| View { frameworks: [row].into_iter().collect(), ..full.clone() };
    let away = framework(7, FrameworkState::Disconnected);
    assert_eq!(short(&told(&full, &with(away))), ["FRAMEWORK_UPDATED"]);
    let named = FrameworkView { name: "other".into(), ..row.clone() };
    let events = told(&full, &with(named));
    assert_eq!(short(&events), ["FRAMEWORK_UPDATED"]);
    let info = &events[0]["framework_updated"]["framework"]["framework_info"];
    assert_eq!(info["name"], "other");
    let holding = FrameworkView { tasks: 9, offers: 3, ..row };
    assert_eq!(told(&full, &with(holding)), Vec::<Value>::new());

    // One that came and went.
    let brief = Arc::new(framework(9, FrameworkState::Closed));
    let closed = View { frameworks_closed: Arc::new([brief].into()), ..empty.clone() };
    assert_eq!(short(&told(&empty, &closed)), ["FRAMEWORK_ADDED", "FRAMEWORK_REMOVED"]);
    // Out of reach, as Mesos tells it.
    let lost =
        View { agents: [agent(1, NodeState::Unreachable)].into_iter().collect(), ..full.clone() };
    assert_eq!(short(&told(&full, &lost)), ["AGENT_REMOVED"]);
}
