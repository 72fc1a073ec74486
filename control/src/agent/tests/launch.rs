//! From an instruction to a running container.

use meshos_protocol::{
    messages::agent::{ToAgent, ToAgentFrame},
    resources::Resources,
    task::{Exit, Reason, TaskState},
};

use super::rig::{CODE_0, F1, Rig, fence, fetching, launch_of, task};
use crate::agent::Event;

#[test]
fn a_task_is_started_only_when_its_launch_is_on_disk() {
    let mut rig = Rig::registered();
    rig.launch("a");
    assert!(rig.starts.is_empty());
    assert_eq!(rig.pending.len(), 1);
    rig.flush();
    assert_eq!(rig.starts.len(), 1);
    assert!(rig.updates().is_empty(), "nothing is worth telling before the container runs");
}

#[test]
fn a_container_that_comes_up_is_told_before_it_is_written() {
    let mut rig = Rig::registered();
    rig.launch("a");
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    rig.comes_up(&container);
    assert_eq!(rig.pending.len(), 1);
    assert_eq!(rig.states(), [TaskState::Running]);
    let view = rig.agent.view();
    assert_eq!(view.tasks[0].pid, Some(100));
    assert_eq!(view.used, "cpus:1;mem:64".parse().unwrap());
}

#[test]
fn a_task_that_fetches_is_told_to_be_starting_first() {
    let mut rig = Rig::registered();
    rig.tell(launch_of(F1, vec![fetching("a")]));
    rig.flush();
    assert_eq!(rig.states(), [TaskState::Starting]);
}

#[test]
fn a_launch_of_a_known_task_is_answered_with_its_state() {
    let mut rig = Rig::registered();
    rig.launch("a");
    rig.launch("a");
    assert_eq!(rig.update().state, TaskState::Staging);
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    rig.comes_up(&container);
    let running = rig.update();
    rig.launch("a");
    assert_eq!(rig.update(), running, "the update that waits is sent again");
    rig.acknowledge(&running);
    rig.launch("a");
    let answer = rig.update();
    assert_eq!((answer.state, answer.update), (TaskState::Running, None));
    rig.flush();
    assert_eq!(rig.starts.len(), 1);
    assert_eq!(rig.agent.view().counters.launches_repeated, 3);
}

#[test]
fn a_launch_of_a_task_that_ended_starts_nothing() {
    let mut rig = Rig::registered();
    let container = rig.run_acknowledged("a");
    rig.exits(&container, CODE_0);
    rig.launch("a");
    assert_eq!(rig.update().state, TaskState::Running, "the end is not on disk yet");
    rig.flush();
    let finished = rig.update();
    rig.launch("a");
    assert_eq!(rig.update(), finished);
    rig.acknowledge(&finished);
    rig.launch("a");
    let early = rig.update();
    assert_eq!((early.state, early.reason), (TaskState::Dropped, Some(Reason::TaskInvalid)));
    assert_eq!(rig.starts.len(), 1);
}

#[test]
fn a_container_that_cannot_be_started_fails_the_task() {
    let mut rig = Rig::registered();
    rig.launch("a");
    rig.flush();
    let container = rig.preparing.pop().unwrap();
    let message = "no such user: nobody7".to_owned();
    let reason = Reason::ContainerLaunchFailed;
    rig.event(Event::ContainerFailed { container, reason, message: message.clone() });
    assert!(rig.updates().is_empty(), "not before it is on disk");
    rig.flush();
    let update = rig.update();
    assert_eq!(update.state, TaskState::Failed);
    assert_eq!((update.reason, update.message), (Some(reason), message));
    assert!(rig.agent.view().used.is_empty());
}

#[test]
fn ends_are_told_by_exit_code_signal_and_limit() {
    let cases = [
        (CODE_0, None, TaskState::Finished, None),
        (Exit::Code { code: 3 }, None, TaskState::Failed, Some(Reason::CommandFailed)),
        (Exit::Signal { signal: 11 }, None, TaskState::Failed, Some(Reason::CommandFailed)),
        (
            Exit::Signal { signal: 9 },
            Some((Reason::MemoryLimit, "used 70 of 64 MB".to_owned())),
            TaskState::Failed,
            Some(Reason::MemoryLimit),
        ),
        (
            Exit::Unreadable { why: "the launcher was killed".to_owned() },
            None,
            TaskState::Failed,
            Some(Reason::ExitStatusUnreadable),
        ),
        (Exit::Unknown, None, TaskState::Failed, Some(Reason::ExitStatusUnreadable)),
    ];
    for (exit, limitation, state, reason) in cases {
        let mut rig = Rig::registered();
        let container = rig.run_acknowledged("a");
        rig.exits_unseen(&container, exit.clone());
        rig.event(Event::ContainerExited { container, exit: exit.clone(), limitation });
        rig.flush();
        let update = rig.update();
        assert_eq!((update.state, update.reason), (state, reason), "{exit:?}");
        assert_eq!(update.exit, Some(exit));
    }
}

#[test]
fn instructions_under_another_fence_are_dropped() {
    let mut rig = Rig::registered();
    rig.connect(5);
    rig.tell(ToAgent::Registered { agent: super::rig::AGENT, draining: false });
    for term in [4, 6] {
        let message = launch_of(F1, vec![task("a")]);
        rig.event(Event::Message(ToAgentFrame { fence: fence(term), message }));
    }
    assert!(rig.agent.view().tasks.is_empty());
    let counters = rig.agent.view().counters;
    assert_eq!((counters.stale_frames, counters.unconfirmed_frames), (1, 1));
}

#[test]
fn a_leader_of_a_lower_term_is_not_followed() {
    let mut rig = Rig::registered();
    rig.connect(5);
    rig.event(Event::LeaderConfirmed { fence: fence(3) });
    assert_eq!(rig.agent.view().fence, Some(fence(5)));
}

#[test]
fn launches_before_the_registration_is_through_are_refused() {
    let mut rig = Rig::fresh();
    rig.connect(1);
    rig.launch("a");
    rig.said.clear();
    rig.tell(ToAgent::Registered { agent: super::rig::AGENT, draining: false });
    let update = rig.update();
    assert_eq!(
        (update.state, update.reason),
        (TaskState::Dropped, Some(Reason::AgentDisconnected))
    );
    assert!(rig.agent.view().tasks.is_empty());
}

#[test]
fn an_agent_that_is_full_drops_what_does_not_fit() {
    let mut rig = Rig::registered();
    let mut big = task("big");
    big.description.resources = "cpus:4.001".parse().unwrap();
    rig.tell(launch_of(F1, vec![big]));
    let update = rig.update();
    assert_eq!(
        (update.state, update.reason),
        (TaskState::Dropped, Some(Reason::ResourcesExceeded))
    );
    assert!(update.message.contains("cpus:4.001"), "{}", update.message);
    assert!(rig.pending.is_empty());
}

#[test]
fn the_number_of_tasks_is_bounded() {
    let mut rig = Rig::registered();
    for index in 0..20_001 {
        let mut small = task(&format!("t{index}"));
        small.description.resources = Resources::new();
        rig.agent.handle(
            rig.now,
            Event::Message(ToAgentFrame { fence: fence(1), message: launch_of(F1, vec![small]) }),
            &mut Vec::new(),
        );
    }
    let view = rig.agent.view();
    assert_eq!(view.tasks.len(), 20_000);
    assert_eq!(view.counters.launches_refused, 1);
    rig.agent.check_invariants();
}
