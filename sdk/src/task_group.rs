//! Groups of tasks without ceremony.

use meshos_protocol::{
    executor::{ExecutorInfo, ExecutorKind},
    ids::TaskId,
    task::{GroupEnds, GroupMember, TaskDescription},
};

use crate::{
    ExecutorBuilder,
    task_builder::{TaskBuilder, TaskBuilderError},
};

/// Tasks that are launched together or not at all ([`crate::SchedulerDriver::launch_group`]). What is wrong is told by
/// [`TaskGroup::build`].
///
/// ```
/// # use meshos_sdk::{TaskBuilder, TaskGroup};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tasks = TaskGroup::new("web-1")
///     .task(TaskBuilder::shell("web-1.server", "exec ./serve").cpus_mem("1", "256"))
///     .task(TaskBuilder::shell("web-1.logs", "exec ./ship-logs").cpus_mem("0.1", "32"))
///     .build()?;
/// assert_eq!(tasks.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TaskGroup {
    executor: ExecutorBuilder,
    custom: Option<ExecutorInfo>,
    tasks: Vec<TaskBuilder>,
    ends: GroupEnds,
}

impl TaskGroup {
    /// A group that the executor in the box runs, under this id; each group should have one of its own. Its tasks
    /// are processes in one sandbox and under one limit, each with a directory of its own.
    pub fn new(executor: impl Into<String>) -> Self {
        Self {
            executor: ExecutorBuilder::in_the_box(executor),
            custom: None,
            tasks: Vec::new(),
            ends: GroupEnds::Together,
        }
    }

    /// A group for an executor of the framework's own, which is told of it by
    /// [`crate::Executor::launch_group`].
    pub fn for_executor(executor: ExecutorInfo) -> Self {
        Self { custom: Some(executor), ..Self::new(String::new()) }
    }

    /// Processors and MB of memory that the executor in the box takes for itself.
    #[must_use]
    pub fn cpus_mem(mut self, cpus: &str, mem_mb: &str) -> Self {
        self.executor = self.executor.cpus_mem(cpus, mem_mb);
        self
    }

    /// Runs the executor in the box, and with it all tasks, as this user.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.executor = self.executor.user(user);
        self
    }

    /// How long the executor in the box may take to end its tasks when it is told to end.
    #[must_use]
    pub fn shutdown_grace(mut self, grace: std::time::Duration) -> Self {
        self.executor = self.executor.shutdown_grace(grace);
        self
    }

    /// Adds a task; at most [`meshos_protocol::task::GROUP_TASKS_MAX`].
    #[must_use]
    pub fn task(mut self, task: TaskBuilder) -> Self {
        self.tasks.push(task);
        self
    }

    /// When one task fails or is killed, the others go on; unless this is said they are killed then.
    #[must_use]
    pub const fn apart(mut self) -> Self {
        self.ends = GroupEnds::Apart;
        self
    }

    /// The tasks, in the order in which they must stand in an accept.
    ///
    /// # Errors
    /// When there is none, or one of them or the executor breaks a rule.
    pub fn build(self) -> Result<Vec<TaskDescription>, TaskBuilderError> {
        let built: Result<Vec<TaskDescription>, TaskBuilderError> =
            self.tasks.into_iter().map(TaskBuilder::build).collect();
        let mut tasks = built?;
        let first: TaskId = tasks.first().ok_or(TaskBuilderError::NoTasks)?.task_id.clone();
        let executor = self.custom.map_or_else(|| self.executor.build(), Ok)?;
        let executor = with_user(executor, &tasks);
        let size = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        for task in &mut tasks {
            let first = first.clone();
            task.group = Some(Box::new(GroupMember { first, size, ends: self.ends }));
            task.executor = Some(Box::new(executor.clone()));
        }
        Ok(tasks)
    }
}

/// The executor in the box as the user whom its tasks name, if they all name one.
fn with_user(mut executor: ExecutorInfo, tasks: &[TaskDescription]) -> ExecutorInfo {
    let user = tasks.first().and_then(|task| task.command.user.clone());
    let agreed = tasks.iter().all(|task| task.command.user == user);
    if executor.kind == ExecutorKind::Group && executor.command.user.is_none() && agreed {
        executor.command.user = user;
    }
    executor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str) -> TaskBuilder {
        TaskBuilder::shell(id, "true")
    }

    #[test]
    fn all_tasks_say_the_same_of_their_group_and_executor() {
        let group = TaskGroup::new("pod").task(task("a")).task(task("b")).apart();
        let tasks = group.build().unwrap();
        let member = tasks[0].group.clone().unwrap();
        assert_eq!((member.first.as_str(), member.size, member.ends), ("a", 2, GroupEnds::Apart));
        assert_eq!((&tasks[1].group, &tasks[1].executor), (&tasks[0].group, &tasks[0].executor));
        let executor = tasks[0].executor.clone().unwrap();
        assert_eq!((executor.kind, executor.id.as_str()), (ExecutorKind::Group, "pod"));
        assert!(executor.command.is_none());
        assert!(TaskGroup::new("pod").build().is_err());
        assert!(TaskGroup::new("a/b").task(task("a")).build().is_err());
    }

    #[test]
    fn the_user_of_all_tasks_becomes_that_of_their_executor() {
        let user_of =
            |group: TaskGroup| group.build().unwrap()[0].executor.clone().unwrap().command.user;
        let two = |a: TaskBuilder, b: TaskBuilder| TaskGroup::new("pod").task(a).task(b);
        let named = |id: &str| task(id).user("nobody");
        assert_eq!(user_of(two(named("a"), named("b"))).as_deref(), Some("nobody"));
        // The leader refuses these, and says why.
        assert_eq!(user_of(two(named("a"), task("b"))), None);
        assert_eq!(user_of(two(task("a"), task("b")).user("daemon")).as_deref(), Some("daemon"));
    }
}
