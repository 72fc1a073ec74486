//! Registration, and the end of an agent id.

use meshos_protocol::{
    ids::AgentId,
    messages::agent::{TASKS_PER_REPORT_MAX, ToAgent, ToAgentFrame, ToLeader},
    task::{Exit, TaskState},
};

use super::rig::{AGENT, CODE_0, F1, NODE, Rig, fence, launch_of, task};
use crate::agent::Event;

#[test]
fn the_first_registration_has_no_agent_id_and_the_answer_is_kept() {
    let mut rig = Rig::fresh();
    rig.connect(1);
    let registration = rig.registration();
    assert_eq!((registration.agent, registration.fence), (None, fence(1)));
    assert!(!registration.more);
    rig.tell(ToAgent::Registered { agent: AGENT, draining: false });
    rig.flush();
    assert_eq!(rig.disk.agent, Some(AGENT));
    assert!(rig.agent.view().registered);
    rig.crash();
    assert_eq!(rig.register_again(2).agent, Some(AGENT));
    assert!(rig.pending.is_empty(), "known already");
}

#[test]
fn nothing_is_said_to_a_leader_that_is_not_confirmed() {
    let mut rig = Rig::fresh();
    rig.event(Event::Connected);
    assert!(rig.said.is_empty());
}

#[test]
fn a_registration_is_cut_into_frames_by_number_and_by_size() {
    let mut rig = Rig::registered();
    let count = 2 * TASKS_PER_REPORT_MAX + 1;
    for index in 0..count {
        let mut launch = task(&format!("t{index}"));
        launch.description.resources = "cpus:0.001".parse().unwrap();
        let message = launch_of(F1, vec![launch]);
        rig.agent.handle(
            rig.now,
            Event::Message(ToAgentFrame { fence: fence(1), message }),
            &mut Vec::new(),
        );
    }
    rig.connect(2);
    let first = rig.registration();
    assert_eq!((first.tasks.len(), first.more), (TASKS_PER_REPORT_MAX, true));
    let rest: Vec<_> = rig
        .said
        .iter()
        .map(|message| {
            let ToLeader::Report { tasks, more } = message else {
                panic!("no report: {message:?}")
            };
            (tasks.len(), *more)
        })
        .collect();
    assert_eq!(rest, [(TASKS_PER_REPORT_MAX, true), (1, false)]);
}

#[test]
fn large_tasks_share_no_frame() {
    let mut rig = Rig::registered();
    for name in ["a", "b"] {
        let mut launch = task(name);
        let text = "x".repeat(6 << 20);
        launch.description.labels.insert("large".to_owned(), text);
        rig.tell(launch_of(F1, vec![launch]));
    }
    rig.connect(2);
    let first = rig.registration();
    assert_eq!((first.tasks.len(), first.more), (1, true));
    assert!(matches!(&rig.said[..], [ToLeader::Report { tasks, more: false }] if tasks.len() == 1));
}

#[test]
fn an_agent_id_that_ended_takes_its_tasks_along_before_the_node_registers_anew() {
    let mut rig = Rig::registered();
    let runs = rig.run("runs");
    let over = rig.run("over");
    rig.exits(&over, CODE_0);
    rig.flush();
    rig.launch("starts");
    rig.flush();
    let starts = rig.preparing.pop().unwrap();
    rig.launch("waits");
    rig.connect(2);
    rig.said.clear();
    rig.tell(ToAgent::Gone { message: "declared gone".to_owned(), leave: false });
    rig.flush();
    assert_eq!(rig.disk.agent, None);
    assert_eq!(rig.destroyed, [runs.clone(), starts.clone()]);
    assert!(rig.said.is_empty(), "what runs still uses what would be declared free");
    rig.comes_up(&starts);
    rig.exits(&starts, Exit::Signal { signal: 9 });
    rig.flush();
    assert!(rig.said.is_empty());
    rig.exits(&runs, Exit::Signal { signal: 9 });
    rig.flush();
    let registration = rig.registration();
    assert_eq!(registration.agent, None);
    assert!(registration.tasks.is_empty() && rig.said.is_empty());
    assert!(rig.disk.records.is_empty() && rig.containers.is_empty());
    assert_eq!(rig.starts.len(), 3, "the one that waited never started");
    rig.tell(ToAgent::Registered { agent: AgentId::new(NODE, 2), draining: false });
    rig.flush();
    assert_eq!(rig.disk.agent, Some(AgentId::new(NODE, 2)));
}

#[test]
fn a_refused_agent_ends_its_node_and_says_why() {
    let mut rig = Rig::fresh();
    rig.connect(1);
    rig.said.clear();
    rig.tell(ToAgent::Refused { message: "the cluster is full".to_owned() });
    assert_eq!(rig.halted.as_deref(), Some("the cluster is full"));
    assert!(rig.said.is_empty());
    // One that takes part is not sent away by such a word.
    let mut rig = Rig::registered();
    rig.tell(ToAgent::Refused { message: "too late".to_owned() });
    assert_eq!(rig.halted, None);
}

#[test]
fn an_agent_shows_whether_it_drains() {
    let mut rig = Rig::registered();
    assert!(!rig.agent.view().draining);
    rig.tell(ToAgent::Drain { draining: true });
    assert!(rig.agent.view().draining);
    rig.launch("a");
    rig.flush();
    assert_eq!(rig.preparing.len(), 1, "what was on its way is still launched");
    rig.connect(2);
    rig.tell(ToAgent::Registered { agent: AGENT, draining: false });
    assert!(!rig.agent.view().draining, "the newest leader's word holds");
}

#[test]
fn what_an_ended_agent_id_left_is_cleared_after_a_crash_too() {
    let mut rig = Rig::registered();
    let runs = rig.run("runs");
    let over = rig.run("over");
    rig.exits(&over, CODE_0);
    rig.flush();
    rig.tell(ToAgent::Gone { message: String::new(), leave: false });
    rig.flush_some(1);
    rig.crash();
    rig.connect(2);
    assert!(rig.said.is_empty());
    rig.exits(&runs, Exit::Signal { signal: 9 });
    rig.flush();
    assert_eq!(rig.registration().agent, None);
    assert!(rig.disk.records.is_empty() && rig.containers.is_empty());
}

#[test]
fn a_new_leader_makes_the_old_stream_void() {
    let mut rig = Rig::registered();
    rig.run("a");
    rig.said.clear();
    rig.event(Event::LeaderConfirmed { fence: fence(2) });
    rig.wait(60_000);
    assert!(rig.said.is_empty());
    rig.event(Event::Connected);
    let registration = rig.registration();
    assert_eq!(registration.fence, fence(2));
    assert_eq!(registration.tasks[0].state, TaskState::Running);
}

#[test]
fn the_word_of_a_leader_of_an_older_release_is_understood() {
    let old = serde_json::json!({ "t": "registered", "agent": AGENT });
    let message: ToAgent = serde_json::from_value(old).unwrap();
    assert_eq!(message, ToAgent::Registered { agent: AGENT, draining: false });
}
