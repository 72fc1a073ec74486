//! A node's launcher and its containers, which outlive the node's process.

use std::collections::BTreeMap;

use meshos_control::agent::FoundContainer;
use meshos_protocol::{
    ids::{ContainerId, FrameworkId, TaskId},
    resources::Resources,
    task::Exit,
};

use crate::executors::Program;

/// One container.
#[derive(Debug)]
pub struct Container {
    /// Whose task it runs.
    pub framework: FrameworkId,
    /// The task, unless it is an executor.
    pub task: Option<TaskId>,
    /// The executor that runs in it, if it is one.
    pub program: Option<Program>,
    /// What it uses while it runs.
    pub resources: Resources,
    /// Its first process.
    pub pid: u32,
    /// How it ended.
    pub ended: Option<Exit>,
}

/// The launcher.
#[derive(Debug, Default)]
pub struct Launcher {
    /// Whether its process lives; its containers do not need it.
    pub dead: bool,
    /// What it knows: what runs, and what ended and was not released.
    pub containers: BTreeMap<ContainerId, Container>,
    /// What is being prepared for a living node process.
    pub preparing: BTreeMap<ContainerId, Container>,
    /// Probes of health checks that are under way, whom they ask, and whether they were called off: then it does not matter what they find.
    pub probes: BTreeMap<ContainerId, (FrameworkId, TaskId, bool)>,
    pids: u32,
}

impl Launcher {
    /// A container that was being prepared comes up. None when it was given up in between.
    pub fn comes_up(&mut self, id: &ContainerId) -> Option<&Container> {
        let mut container = self.preparing.remove(id)?;
        self.pids += 1;
        container.pid = self.pids;
        self.containers.insert(id.clone(), container);
        self.containers.get(id)
    }

    /// A running container ends; tells how that will be known. None when it does not run.
    pub fn ends(&mut self, id: &ContainerId, exit: Exit) -> Option<Exit> {
        let dead = self.dead;
        let container =
            self.containers.get_mut(id).filter(|container| container.ended.is_none())?;
        let exit = if dead {
            Exit::Unreadable { why: "the launcher was not there to see it".to_owned() }
        } else {
            exit
        };
        container.ended = Some(exit.clone());
        Some(exit)
    }

    /// What runs.
    pub fn running(&self) -> impl Iterator<Item = (&ContainerId, &Container)> {
        self.containers.iter().filter(|(_, container)| container.ended.is_none())
    }

    /// What a node's process that starts is told.
    pub fn found(&self) -> Vec<FoundContainer> {
        self.containers
            .iter()
            .map(|(id, container)| FoundContainer {
                container: id.clone(),
                ended: container.ended.clone().map(|exit| (exit, None)),
                pid: container.ended.is_none().then_some(container.pid),
            })
            .collect()
    }
}
