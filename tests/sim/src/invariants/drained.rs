//! A drained node has nothing left, and its drain comes to an end: each of its tasks was told exactly
//! one terminal state, whoever led meanwhile.

use std::collections::BTreeSet;

use meshos_control::master::NodeState;
use meshos_protocol::ids::AgentId;

use crate::world::World;

/// What holds of each node that is shown as drained.
pub(super) fn check(world: &mut World) {
    let Some(view) = world.master_view() else { return };
    let drained = view.agents.iter().filter(|agent| agent.state == NodeState::Drained);
    let drained: BTreeSet<AgentId> = drained.map(|agent| agent.agent_id).collect();
    for agent in &drained {
        nothing_runs(world, *agent);
    }
    for agent in drained.difference(&world.oracle.drained) {
        all_were_told(world, *agent);
    }
    world.oracle.drained = drained;
}

fn nothing_runs(world: &World, agent: AgentId) {
    for (index, node) in world.nodes.iter().enumerate().filter(|(_, node)| node.id == agent.node) {
        let running: Vec<_> = node.launcher.running().collect();
        assert!(running.is_empty(), "n{index} is shown as drained and runs {running:?}");
    }
}

/// Of what started there its frameworks know one end.
fn all_were_told(world: &World, agent: AgentId) {
    for driver in world.drivers.iter().filter(|driver| !driver.ended && !driver.torn_down) {
        let framework = driver.framework;
        // One that has ended by the clock may not have heard of that.
        let lives = |framework| world.raft.registry().framework(framework).is_some();
        let Some(framework) = framework.filter(|framework| lives(*framework)) else { continue };
        let there = driver.beliefs.iter().filter(|(_, belief)| belief.agent == agent);
        for (task, _) in there {
            let Some(life) = world.oracle.lives.get(&(framework, task.clone())) else { continue };
            let ends = life.told.iter().filter(|(_, state)| state.is_terminal()).count();
            assert!(
                life.starts.is_empty() || ends == 1,
                "{agent} is shown as drained, and of {task} was told {:?}",
                life.told
            );
        }
    }
}

/// Whether the node that is drained on purpose is empty, and its frameworks know how all ended.
pub(super) fn not_yet(world: &World) -> Option<String> {
    let Some(agent) = world.emptied.map(|emptied| emptied.agent) else {
        return Some("no node was drained".to_owned());
    };
    let Some(view) = world.master_view() else { return Some("nobody leads".to_owned()) };
    let row = view.agents.iter().find(|row| row.agent_id == agent);
    if let Some(row) = row.filter(|row| !matches!(row.state, NodeState::Drained | NodeState::Gone))
    {
        return Some(format!("{agent} is {:?}: {:?}", row.state, row.drain));
    }
    for driver in world.drivers.iter().filter(|driver| !driver.ended) {
        let mut there = driver.beliefs.iter().filter(|(_, belief)| belief.agent == agent);
        if let Some((task, belief)) = there.find(|(_, belief)| !belief.is_over()) {
            return Some(format!("{task} of {agent} is {:?} to its framework", belief.state));
        }
    }
    None
}
