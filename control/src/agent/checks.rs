//! Checks of tasks that run: when a probe is next, and that one is under way at a time.
//!
//! A check rests until its deadline, waits for a place when too many probes are under way, and then probes. Its next probe is an
//! interval behind the end of the one before. A probe that takes too long is called off and has failed; should it not end,
//! it fails again after each interval, so that what hangs in the kernel does not make a task look well. Frameworks share the
//! places (`places`).
//!
//! Nothing of this is on disk but what was found (`verdict`): after a restart of the agent checks go on, and the probes
//! that were under way are strays to be ended, as their containers belong to no record. Tasks of executors are checked by
//! these.

mod places;
mod verdict;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use meshos_protocol::{
    check::{CHECK_INTERVAL_MIN_MS, CHECK_TIME_MAX_MS, CheckTimes, Probe},
    ids::ContainerId,
    task::{Exit, TaskDescription},
    time::{Mono, Now},
};

use places::Places;
pub use verdict::CheckRecord;
pub(super) use verdict::{found_by_checks, tell_of_health};

use super::{
    Agent, Effect,
    deadlines::Deadline,
    task::{Phase, TaskKey},
};

/// Which of a task's two checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CheckKind {
    /// The one that tells whether it is healthy.
    Health,
    /// The one whose result is told and nothing more.
    Plain,
}

impl CheckKind {
    const ALL: [Self; 2] = [Self::Health, Self::Plain];

    /// What a task's description says of it, if anything.
    fn of(self, task: &TaskDescription) -> Option<(&Probe, CheckTimes)> {
        match self {
            Self::Health => task.health_check.as_ref().map(|check| (&check.probe, check.times)),
            Self::Plain => task.check.as_ref().map(|check| (&check.probe, check.times)),
        }
    }
}

/// Names a check on its agent.
pub(super) type CheckKey = (TaskKey, CheckKind);

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The command has ended.
    Exited(Exit),
    /// The answer to a `GET` has this status.
    Status(u16),
    /// The connection was taken.
    Connected,
    /// The task did not answer: the command cannot be executed, nobody listens.
    Failed {
        /// Why, for people; no whole sentence.
        why: String,
    },
    /// The task could not be asked, through no fault of its own: nothing is known.
    NotAsked {
        /// Why, for people.
        why: String,
    },
}

/// One check of a task that runs.
#[derive(Debug, Clone)]
struct Watch {
    stage: Stage,
    /// Failures before that count only once a probe has succeeded.
    grace_until: Mono,
}

/// Where a check is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Until its deadline.
    Resting,
    /// Due since then, and there was no place.
    Waiting(Mono),
    /// A probe is under way, until its deadline.
    Probing(ContainerId),
    /// A probe was called off and has not ended; at the deadline it has failed once more.
    Late(ContainerId),
}

impl Stage {
    fn probe(&self) -> Option<&ContainerId> {
        match self {
            Self::Probing(probe) | Self::Late(probe) => Some(probe),
            Self::Resting | Self::Waiting(_) => None,
        }
    }
}

/// All checks of tasks that run.
#[derive(Debug, Clone, Default)]
pub(super) struct Checks {
    watches: BTreeMap<CheckKey, Watch>,
    places: Places,
    /// Probes that nobody waits for any more.
    called_off: Vec<ContainerId>,
}

impl Checks {
    /// Forgets a check.
    fn stop(&mut self, check: &CheckKey) {
        let Some(watch) = self.watches.remove(check) else { return };
        if let Stage::Waiting(since) = watch.stage {
            self.places.leave(since, check);
        } else if let Some(probe) = watch.stage.probe() {
            self.places.give_back(probe);
            self.called_off.push(probe.clone());
        }
    }

    /// Whether the container is that of a probe that is under way.
    pub(super) fn is_probe(&self, container: &ContainerId) -> bool {
        self.places.check_of(container).is_some()
    }
}

impl Agent {
    /// A task runs: its checks begin, unless they have.
    ///
    /// While the agent lives its own clock counts; what passed before it was started again only the wall clock tells.
    pub(super) fn watch_checks(&mut self, now: Now, key: &TaskKey) {
        let Some(task) = self.tasks.get(key) else { return };
        let record = &task.record;
        let runs = matches!(task.phase, Phase::Running { .. }) && !record.kill_asked;
        let Some(started) = record.started_at.filter(|_| runs && task.executor_key().is_none())
        else {
            return;
        };
        let description = &record.launch.description;
        let ran = now.wall.since(started);
        let left = |ms: u64| now.mono.after(bounded(ms).saturating_sub(ran));
        let grace_ms = description.health_check.as_ref().map_or(0, |check| check.grace_ms);
        let watch = Watch { stage: Stage::Resting, grace_until: left(grace_ms) };
        for kind in CheckKind::ALL {
            let check = (key.clone(), kind);
            if let Some((_, times)) = kind.of(description)
                && !self.checks.watches.contains_key(&check)
            {
                self.checks.watches.insert(check.clone(), watch.clone());
                self.deadlines.set(Deadline::Probe(check), left(times.delay_ms));
            }
        }
    }

    /// A task does not run any more, or is to end.
    pub(super) fn stop_checks(&mut self, key: &TaskKey) {
        for kind in CheckKind::ALL {
            let check = (key.clone(), kind);
            self.checks.stop(&check);
            self.deadlines.clear(&Deadline::Probe(check));
        }
    }

    /// A check's deadline has come: it is due, or its probe has taken too long.
    pub(super) fn check_due(&mut self, now: Now, check: &CheckKey, effects: &mut Vec<Effect>) {
        let Some(watch) = self.checks.watches.get_mut(check) else { return };
        match &watch.stage {
            Stage::Resting => {
                watch.stage = Stage::Waiting(now.mono);
                self.checks.places.wait(now.mono, check.clone());
            }
            Stage::Waiting(_) => {}
            Stage::Probing(probe) => {
                let probe = probe.clone();
                effects.push(Effect::EndProbe { probe: probe.clone() });
                watch.stage = Stage::Late(probe);
                self.rest(now, check);
                self.judge(now, check, None, effects);
            }
            Stage::Late(probe) => {
                effects.push(Effect::EndProbe { probe: probe.clone() });
                self.rest(now, check);
                self.judge(now, check, None, effects);
            }
        }
    }

    /// Starts probes while there is room, and ends those that nobody waits for. Called after every step.
    pub(super) fn move_probes(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let called_off = std::mem::take(&mut self.checks.called_off);
        effects.extend(called_off.into_iter().map(|probe| Effect::EndProbe { probe }));
        while let Some(check) = self.checks.places.pop(self.config.probes_max) {
            self.start_probe(now, &check, effects);
        }
    }

    fn start_probe(&mut self, now: Now, check: &CheckKey, effects: &mut Vec<Effect>) {
        let Some(task) = self.tasks.get(&check.0) else { return };
        let record = Arc::clone(&task.record);
        let Some((how, times)) = check.1.of(&record.launch.description) else { return };
        let probe = self.mint_container('p');
        let Some(watch) = self.checks.watches.get_mut(check) else { return };
        watch.stage = Stage::Probing(probe.clone());
        self.checks.places.take(probe.clone(), check.clone());
        let timeout = bounded(times.timeout_ms).max(Duration::from_millis(1));
        self.deadlines.set(Deadline::Probe(check.clone()), now.mono.after(timeout));
        self.counters.probes += 1;
        effects.push(Effect::StartProbe { probe, how: Box::new(how.clone()), task: record });
    }

    /// A probe is over.
    pub(super) fn probe_ended(
        &mut self,
        now: Now,
        probe: &ContainerId,
        outcome: &ProbeOutcome,
        effects: &mut Vec<Effect>,
    ) {
        let Some(check) = self.checks.places.give_back(probe) else { return };
        let Some(watch) = self.checks.watches.get_mut(&check) else { return };
        let in_time = matches!(watch.stage, Stage::Probing(_));
        watch.stage = Stage::Resting;
        if in_time {
            self.rest(now, &check);
            self.judge(now, &check, Some(outcome), effects);
        }
    }

    /// Sets when a check is due next.
    fn rest(&mut self, now: Now, check: &CheckKey) {
        let Some(task) = self.tasks.get(&check.0) else { return };
        let Some((_, times)) = check.1.of(&task.record.launch.description) else { return };
        let interval = bounded(times.interval_ms.max(CHECK_INTERVAL_MIN_MS));
        self.deadlines.set(Deadline::Probe(check.clone()), now.mono.after(interval));
    }

    /// Asserts what must hold of checks after every step.
    pub(super) fn check_checks(&self) {
        let checks = &self.checks;
        assert!(checks.called_off.is_empty(), "a probe that nobody waits for goes on");
        checks.places.check(self.config.probes_max);
        let mut under_way = 0;
        for (check, watch) in &checks.watches {
            let runs = self.tasks.get(&check.0).is_some_and(|task| {
                let runs = matches!(task.phase, Phase::Running { .. }) && !task.record.kill_asked;
                runs && check.1.of(&task.record.launch.description).is_some()
            });
            assert!(runs, "{check:?} is carried out on what does not run");
            if let Some(probe) = watch.stage.probe() {
                under_way += 1;
                assert_eq!(
                    checks.places.check_of(probe),
                    Some(check),
                    "{probe} is of another check"
                );
            }
            let deadline = self.deadlines.get(&Deadline::Probe(check.clone())).is_some();
            let waits =
                matches!(&watch.stage, Stage::Waiting(since) if checks.places.waits(*since, check));
            assert!(deadline != waits, "{check:?} waits for nothing, or for two things");
        }
        assert_eq!(under_way, checks.places.taken(), "one probe at a time for each check");
        for (key, task) in &self.tasks {
            if matches!(task.phase, Phase::Running { .. })
                && !task.record.kill_asked
                && task.executor_key().is_none()
            {
                for kind in CheckKind::ALL {
                    let asked = kind.of(&task.record.launch.description).is_some();
                    let watched = checks.watches.contains_key(&(key.clone(), kind));
                    assert_eq!(asked, watched, "{key:?} runs: its {kind:?} check goes on");
                }
            }
        }
    }

    /// How many probes are under way, and how many checks wait for a place.
    pub(super) fn probes(&self) -> (usize, usize) {
        (self.checks.places.taken(), self.checks.places.waiting())
    }

    /// Whether a check is carried out.
    pub(super) fn is_watched(&self, check: &CheckKey) -> bool {
        self.checks.watches.contains_key(check)
    }
}

fn bounded(ms: u64) -> Duration {
    Duration::from_millis(ms.min(CHECK_TIME_MAX_MS))
}
