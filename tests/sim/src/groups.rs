//! Frameworks that launch groups of tasks.

use meshos_protocol::{
    executor::{ExecutorInfo, ExecutorKind},
    ids::{AgentId, ExecutorId},
    resources::Resources,
    task::{Command, GroupEnds, GroupMember, TaskDescription},
};

use crate::{choices, driver::Belief, executors, world::World};

/// One accept in so many has a group in it, of frameworks that run tasks in executors.
const ONE_IN: u64 = 3;

impl World {
    /// A group of two or three tasks for an executor of its own, if there is room for it. It draws no dice, so that
    /// what others draw stays as it was.
    pub(crate) fn add_group(
        &mut self,
        index: usize,
        agent: AgentId,
        free: &mut Resources,
        launch: &mut Vec<TaskDescription>,
    ) {
        let driver = &mut self.drivers[index];
        driver.accepts += 1;
        let size = 2 + driver.accepts % 2;
        // The calm begins with the end of all executors.
        let wants = self.faults
            && driver.setup.executors
            && driver.accepts.is_multiple_of(ONE_IN)
            && driver.demand >= size;
        let each: Resources = "cpus:0.1;mem:16".parse().expect("a resource text");
        let info = executor(driver.accepts);
        let all: Resources = (0..size).map(|_| &each).sum::<Resources>() + &info.resources;
        let Some(rest) = free.checked_sub(&all).filter(|_| wants) else { return };
        *free = rest;
        let names: Vec<_> = (0..size).map(|_| self.drivers[index].name_task()).collect();
        let driver = &mut self.drivers[index];
        driver.demand -= size;
        driver.executors.insert((agent, info.id.clone()));
        let member = GroupMember {
            first: names[0].clone(),
            size: u32::try_from(size).expect("a small number"),
            ends: GroupEnds::Together,
        };
        for task_id in &names {
            let belief = Belief { agent, executor: Some(info.id.clone()), state: None };
            self.drivers[index].beliefs.insert(task_id.clone(), belief);
            if let Some(framework) = self.drivers[index].framework {
                self.oracle.accepted(framework, task_id);
                self.oracle.grouped(framework, task_id, &names);
            }
            let mut task = choices::description(task_id.clone(), each.clone(), None);
            task.executor = Some(Box::new(info.clone()));
            task.group = Some(Box::new(member.clone()));
            launch.push(task);
        }
    }
}

fn executor(which: u64) -> ExecutorInfo {
    ExecutorInfo {
        id: ExecutorId::new(&format!("g{which}")).expect("a plain text"),
        kind: ExecutorKind::Group,
        command: Command::none(),
        ..executors::description(0)
    }
}
