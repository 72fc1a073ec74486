//! Checks of tasks: which tasks have them, and what their probes find.

use meshos_control::agent::{self, ProbeOutcome, TaskRecord};
use meshos_protocol::{
    check::{Check, CheckTimes, HealthCheck, Probe},
    ids::ContainerId,
    task::TaskDescription,
};

use crate::world::{Happening, World};

/// After so many failures in a row a task is killed.
pub(crate) const FAILURES: u32 = 3;
const HEALTH: Probe = Probe::Tcp { port: 80 };
const OTHER: Probe = Probe::Tcp { port: 81 };
const TIMES: CheckTimes = CheckTimes { delay_ms: 50, interval_ms: 200, timeout_ms: 400 };

impl World {
    /// Gives a task checks, now and then.
    pub(crate) fn draw_checks(&mut self, driver: usize, task: &mut TaskDescription) {
        if !self.drivers[driver].setup.checked || !self.faults || task.executor.is_some() {
            return;
        }
        if self.probes.chance(500) {
            let health = HealthCheck {
                times: TIMES,
                grace_ms: self.probes.number(0..=1_000),
                consecutive_failures: FAILURES,
                ..HealthCheck::new(HEALTH)
            };
            task.health_check = Some(Box::new(health));
        }
        if self.probes.chance(300) {
            task.check = Some(Box::new(Check { times: TIMES, ..Check::new(OTHER) }));
        }
    }

    /// A probe finds something after a while, or hangs.
    pub(crate) fn ask_task(
        &mut self,
        node: usize,
        probe: ContainerId,
        how: &Probe,
        task: &TaskRecord,
    ) {
        let known = self.nodes[node].launcher.containers.get(&task.container);
        assert!(known.is_some(), "n{node} asks {}, which never ran", task.container);
        // What the other check finds has nothing to do with health.
        if *how == HEALTH {
            let asked = (task.framework, task.launch.description.task_id.clone(), false);
            self.nodes[node].launcher.probes.insert(probe.clone(), asked);
        }
        let delay = self.probes.skewed(1..=600);
        let outcome = match self.probes.number(0..=99) {
            0..=59 => ProbeOutcome::Connected,
            60..=89 => ProbeOutcome::Failed { why: "refused".to_owned() },
            90..=94 => ProbeOutcome::NotAsked { why: "the launcher is lost".to_owned() },
            _ => return,
        };
        let generation = self.nodes[node].generation;
        self.plan(delay, Happening::ProbeEnds { node, generation, probe, outcome });
    }

    /// A probe is called off.
    pub(crate) fn end_probe(&mut self, node: usize, probe: ContainerId) {
        let outcome = ProbeOutcome::NotAsked { why: "it was called off".to_owned() };
        let delay = self.probes.skewed(1..=800);
        let generation = self.nodes[node].generation;
        self.probe_found(node, &probe, None);
        self.plan(delay, Happening::ProbeEnds { node, generation, probe, outcome });
    }

    /// A probe is over, unless it was before.
    pub(crate) fn probe_ends(
        &mut self,
        node: usize,
        generation: u64,
        probe: ContainerId,
        outcome: ProbeOutcome,
    ) {
        if !self.is_running(node, generation) {
            return;
        }
        self.probe_found(node, &probe, Some(&outcome));
        self.nodes[node].launcher.probes.remove(&probe);
        self.agent_event(node, agent::Event::ProbeEnded { probe, outcome });
    }

    fn probe_found(&mut self, node: usize, probe: &ContainerId, outcome: Option<&ProbeOutcome>) {
        let Some(asked) = self.nodes[node].launcher.probes.get_mut(probe) else { return };
        let late = asked.2;
        asked.2 |= outcome.is_none();
        let (framework, task, _) = asked.clone();
        match outcome {
            Some(_) if late => {}
            Some(ProbeOutcome::Connected) => self.oracle.probed(framework, &task, true),
            Some(ProbeOutcome::NotAsked { .. }) => {}
            Some(
                ProbeOutcome::Failed { .. } | ProbeOutcome::Exited(_) | ProbeOutcome::Status(_),
            )
            | None => self.oracle.probed(framework, &task, false),
        }
    }
}
