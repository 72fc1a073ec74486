use meshos_protocol::{
    ids::TaskId,
    resources::Resources,
    task::{Command, CommandLine, Exit, GroupEnds, GroupMember, Reason, TaskDescription},
    time::Mono,
};

use super::*;

const CODE_0: Exit = Exit::Code { code: 0 };
const CODE_1: Exit = Exit::Code { code: 1 };

fn id(name: &str) -> TaskId {
    TaskId::new(name).unwrap()
}

fn group(names: &[&str], ends: GroupEnds) -> Vec<TaskDescription> {
    let size = u32::try_from(names.len()).unwrap();
    let description = |name: &&str| TaskDescription {
        task_id: id(name),
        name: String::new(),
        resources: Resources::new(),
        command: Command { line: CommandLine::shell("true"), ..Command::none() },
        executor: None,
        group: Some(Box::new(GroupMember { first: id(names[0]), size, ends })),
        data: Vec::new(),
        kill_grace_ms: Some(2_000),
        max_completion_ms: None,
        health_check: None,
        check: None,
        labels: Default::default(),
    };
    names.iter().map(description).collect()
}

#[derive(Default)]
struct World {
    executor: GroupExecutor,
    now: u64,
}

impl World {
    /// A group whose processes all run.
    fn running(names: &[&str], ends: GroupEnds) -> Self {
        let mut world = Self::default();
        world.does(Event::Launch(group(names, ends)));
        for name in names {
            assert_eq!(world.does(Event::Started { task: id(name) }), [format!("{name} running")]);
        }
        world
    }

    fn does(&mut self, event: Event) -> Vec<String> {
        let mut effects = Vec::new();
        self.executor.handle(Mono(self.now), event, &mut effects);
        let words = effects.into_iter().map(|effect| match effect {
            Effect::Start(task) => format!("start {}", task.task_id),
            Effect::Terminate(task) => format!("terminate {task}"),
            Effect::Destroy(task) => format!("destroy {task}"),
            Effect::Tell { task, state, reason: None, .. } => format!("{task} {state}"),
            Effect::Tell { task, state, reason: Some(reason), .. } => {
                format!("{task} {state} ({reason})")
            }
            Effect::Stop => "stop".to_owned(),
        });
        words.collect()
    }

    fn exits(&mut self, name: &str, exit: Exit) -> Vec<String> {
        self.does(Event::Exited { task: id(name), exit })
    }

    fn kill(&mut self, name: &str, grace_ms: Option<u64>) -> Vec<String> {
        self.does(Event::Kill { task: id(name), grace_ms })
    }

    /// Lets time pass to the next deadline.
    fn wait(&mut self) -> Vec<String> {
        self.now = self.executor.next_deadline().unwrap().0;
        self.does(Event::Tick)
    }
}

#[test]
fn all_tasks_of_a_group_are_started_and_end_by_themselves() {
    let mut world = World::default();
    let told = world.does(Event::Launch(group(&["a", "b"], GroupEnds::Together)));
    assert_eq!(told, ["a starting", "start a", "b starting", "start b"]);
    world.does(Event::Started { task: id("a") });
    world.does(Event::Started { task: id("b") });
    assert_eq!(world.exits("a", CODE_0), ["a finished"]);
    assert!(world.executor.next_deadline().is_none(), "the other goes on");
    assert_eq!(world.exits("b", CODE_0), ["b finished"]);
    assert!(world.executor.is_idle());
    assert_eq!(world.does(Event::Shutdown { grace_ms: 5_000 }), ["stop"]);
}

#[test]
fn when_one_fails_the_others_of_its_group_are_killed_and_those_of_another_are_not() {
    let mut world = World::running(&["a", "b"], GroupEnds::Together);
    world.does(Event::Launch(group(&["other"], GroupEnds::Together)));
    world.does(Event::Started { task: id("other") });
    let told = world.exits("a", CODE_1);
    assert_eq!(told, ["a failed (command_failed)", "b killing (task_group_ended)", "terminate b"]);
    // It has its own time before it is made to end, again and again.
    assert_eq!((world.wait(), world.now), (vec!["destroy b".to_owned()], 2_000));
    assert_eq!((world.wait(), world.now), (vec!["destroy b".to_owned()], 3_000));
    assert_eq!(world.exits("b", Exit::Signal { signal: 9 }), ["b killed (task_group_ended)"]);
    assert!(!world.executor.is_idle() && world.executor.next_deadline().is_none());
}

#[test]
fn a_kill_ends_the_task_in_time_and_then_the_others() {
    let mut world = World::running(&["a", "b"], GroupEnds::Together);
    assert_eq!(world.kill("a", Some(500)), ["a killing", "terminate a"]);
    assert_eq!((world.wait(), world.now), (vec!["destroy a".to_owned()], 500));
    // However it ends, it was killed.
    assert_eq!(
        world.exits("a", CODE_0),
        ["a killed", "b killing (task_group_ended)", "terminate b"]
    );
    // Asked again, it can only end earlier.
    assert!(world.kill("b", Some(60_000)).is_empty());
    assert_eq!(world.kill("b", Some(0)), ["destroy b"]);
}

#[test]
fn tasks_that_part_leave_each_other_alone() {
    let mut world = World::running(&["a", "b", "c"], GroupEnds::Apart);
    assert_eq!(world.exits("a", CODE_1), ["a failed (command_failed)"]);
    world.kill("b", None);
    assert_eq!(world.exits("b", CODE_1), ["b killed"]);
    assert!(world.executor.next_deadline().is_none());
    assert_eq!(world.exits("c", CODE_0), ["c finished"]);
}

#[test]
fn what_cannot_be_started_fails_and_calls_the_others_off() {
    let mut world = World::default();
    world.does(Event::Launch(group(&["a", "b", "c"], GroupEnds::Together)));
    world.does(Event::Started { task: id("c") });
    let (reason, message) = (Reason::FetchFailed, "no such file".to_owned());
    assert_eq!(
        world.does(Event::NotStarted { task: id("a"), reason, message }),
        [
            "a failed (fetch_failed)",
            "b killing (task_group_ended)",
            "c killing (task_group_ended)",
            "terminate c",
            "destroy b",
        ]
    );
    // One that comes up all the same is not told to run.
    assert_eq!(world.does(Event::Started { task: id("b") }), ["destroy b"]);
    assert_eq!(world.exits("b", Exit::Signal { signal: 9 }), ["b killed (task_group_ended)"]);
}

#[test]
fn a_shutdown_ends_everything_before_the_executor_is_ended() {
    let mut world = World::running(&["a", "b"], GroupEnds::Apart);
    let killing = "killing (executor_terminated)";
    assert_eq!(
        world.does(Event::Shutdown { grace_ms: 1_000 }),
        [
            format!("a {killing}"),
            "terminate a".into(),
            format!("b {killing}"),
            "terminate b".into()
        ]
    );
    assert_eq!((world.wait(), world.now), (vec!["destroy a".into(), "destroy b".into()], 750));
    let late = world.does(Event::Launch(group(&["late"], GroupEnds::Together)));
    assert_eq!(late, ["late killed (executor_terminated)"]);
    assert_eq!(world.exits("a", CODE_0), ["a killed (executor_terminated)"]);
    assert_eq!(world.exits("b", CODE_0), ["b killed (executor_terminated)", "stop"]);
}

#[test]
fn what_is_not_there_is_left_alone() {
    let mut world = World::running(&["a"], GroupEnds::Together);
    assert_eq!(world.exits("a", Exit::Signal { signal: 11 }), ["a failed (command_failed)"]);
    assert!(world.exits("a", CODE_0).is_empty());
    assert!(world.kill("a", None).is_empty());
    assert!(world.does(Event::Started { task: id("b") }).is_empty());
}
