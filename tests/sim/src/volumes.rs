//! The directories of volumes on the machines.

use std::collections::BTreeSet;

use meshos_control::agent;
use meshos_protocol::ids::OperationUuid;

use crate::world::{Happening, World};

/// What becomes of directories.
#[derive(Debug, Clone)]
pub enum Directories {
    /// Those of an operation's volumes are made.
    Made { operation: OperationUuid, directories: Vec<String> },
    /// That of a destroyed volume is gone.
    Removed { directory: String },
}

/// The directories of one machine; they outlive its processes.
#[derive(Debug, Default)]
pub struct Volumes {
    /// What is there.
    pub there: BTreeSet<String>,
}

impl World {
    /// Has directories made or removed on a machine, after a while.
    pub fn change_directories(&mut self, index: usize, change: Directories) {
        let generation = self.nodes[index].generation;
        let delay = self.dice.skewed(1..=200);
        self.plan(delay, Happening::Directories { node: index, generation, change });
    }

    /// The shell of a node has done it, unless the node's process is gone.
    pub fn directories_changed(&mut self, index: usize, generation: u64, change: Directories) {
        if !self.is_running(index, generation) {
            return;
        }
        let there = &mut self.nodes[index].volumes.there;
        let event = match change {
            Directories::Made { operation, directories } => {
                there.extend(directories);
                agent::Event::VolumesMade { operation, failure: None }
            }
            Directories::Removed { directory } => {
                there.remove(&directory);
                agent::Event::VolumeRemoved { directory }
            }
        };
        self.agent_event(index, event);
    }
}
