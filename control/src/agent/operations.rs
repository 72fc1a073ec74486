//! Operations on the agent's own resources: what was reserved here and which volumes there are.
//!
//! The agent is the authority: its record says what its resources have become, and a registration
//! tells it. An operation takes effect in memory when its write is asked for, so that what follows it
//! finds its result, and it is answered when it is on disk: writes become durable in order, so no
//! task starts on something that a crash could undo. What a volume holds is removed only when its
//! destruction is on disk.

use std::collections::BTreeMap;

use meshos_protocol::{
    ids::{FrameworkId, OperationId, OperationUuid},
    messages::agent::{OPERATIONS_UNSETTLED_MAX, ToLeader},
    operation::{Conversion, Operation, OperationReport, OperationState, check_growth},
    resources::{Resource, Resources},
    role::Role,
};
use serde::{Deserialize, Serialize};

use super::{
    Agent, Change, Effect, WriteId,
    register::Link,
    volumes::{clashing_volume, directories_of, directory_of, is_of, misplaced, volume_name},
};

/// What an agent keeps on disk of operations. Kept readable by all later builds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OperationsRecord {
    /// What of the configured resources has become something else.
    pub consumed: Resources,
    /// What it has become.
    pub converted: Resources,
    /// Where the volumes lie.
    pub volumes: Vec<VolumeRecord>,
    /// Directories of destroyed volumes, to be removed.
    pub removing: Vec<String>,
    /// What is not settled, oldest first.
    pub unsettled: Vec<OperationReport>,
}

/// Where one volume lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// The role for which it is reserved.
    pub role: Role,
    /// Its id, unique in the role on this agent.
    pub id: String,
    /// The name of its directory among those of the node's own disk, or the whole path of one on another
    /// disk; no other volume ever has the same name.
    pub directory: String,
}

/// A volume as a task gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskVolume {
    /// Its directory, as in [`VolumeRecord::directory`].
    pub directory: String,
    /// Where the task sees it, inside its sandbox.
    pub container_path: String,
}

/// The agent's operations.
#[derive(Debug, Clone, Default)]
pub(super) struct Operations {
    /// What is on disk, or asked to be.
    pub(super) record: OperationsRecord,
    /// All that the agent has.
    pub(super) total: Resources,
    /// What is not on disk yet, oldest first.
    writing: BTreeMap<WriteId, Step>,
    /// The newest operation that was judged since the node started: what it and those before it did is
    /// in the total.
    judged: Option<OperationUuid>,
    /// Directories of destroyed volumes that are being made: they are removed once that is over, or
    /// they would be made behind their removal.
    making: Vec<String>,
}

/// An operation whose write is not durable yet. When the disk refuses writes it may be there or not:
/// nothing is told of it until a restart has found out.
#[derive(Debug, Clone)]
struct Step {
    uuid: OperationUuid,
    /// The directories of the volumes that it ended.
    destroyed: Vec<String>,
}

impl OperationsRecord {
    /// What a node of these configured resources has.
    pub(super) fn total(&self, configured: &Resources) -> Resources {
        configured.saturating_sub(&self.consumed) + &self.converted
    }

    /// What operations have made something else of and the node has no more.
    pub(super) fn lacking(&self, configured: &Resources) -> Resources {
        self.consumed.saturating_sub(configured)
    }

    fn volume(&self, resource: &Resource) -> Option<&VolumeRecord> {
        let (role, id) = volume_name(resource)?;
        self.volumes.iter().find(|volume| volume.role == *role && volume.id == id)
    }

    fn report_mut(&mut self, uuid: OperationUuid) -> Option<&mut OperationReport> {
        self.unsettled.iter_mut().find(|report| report.uuid == uuid)
    }

    /// Notes a conversion; what it undoes of earlier ones cancels out.
    fn convert(&mut self, conversion: &Conversion) {
        let undone = conversion.consumed.intersection(&self.converted);
        self.converted = self.converted.saturating_sub(&undone) + &conversion.converted;
        self.consumed += &conversion.consumed.saturating_sub(&undone);
        let same = self.consumed.intersection(&self.converted);
        self.consumed = self.consumed.saturating_sub(&same);
        self.converted = self.converted.saturating_sub(&same);
    }

    /// Takes the volumes that an operation ends and makes off and on the books, in that order.
    /// Tells the directories of those that end.
    fn follow_volumes(&mut self, conversion: &Conversion, uuid: OperationUuid) -> Vec<String> {
        let names = |resources: &Resources| -> Vec<(Role, String)> {
            let names = resources.iter().filter_map(volume_name);
            names.map(|(role, id)| (role.clone(), id.to_owned())).collect()
        };
        let (before, after) = (names(&conversion.consumed), names(&conversion.converted));
        let mut ended = Vec::new();
        self.volumes.retain(|volume| {
            let is_it = |(role, id): &(Role, String)| *role == volume.role && *id == volume.id;
            let ends = before.iter().any(is_it) && !after.iter().any(is_it);
            if ends {
                ended.push(volume.directory.clone());
            }
            !ends
        });
        let is_new = |(role, id): (&Role, &str)| !before.iter().any(|(r, i)| r == role && i == id);
        let made = conversion.converted.iter();
        let made = made.filter(|volume| volume_name(volume).is_some_and(is_new));
        for (number, volume) in made.enumerate() {
            let Some((role, id)) = volume_name(volume) else { continue };
            let (role, id) = (role.clone(), id.to_owned());
            let directory = directory_of(volume, &format!("{}{number}", directories_of(uuid)));
            self.volumes.push(VolumeRecord { role, id, directory });
        }
        ended
    }
}

impl Operations {
    pub(super) fn recovered(record: OperationsRecord, configured: &Resources) -> Self {
        let total = record.total(configured);
        Self { record, total, writing: BTreeMap::new(), judged: None, making: Vec::new() }
    }

    /// What is not settled, as a registration tells it.
    pub(super) fn reports(&self) -> Vec<OperationReport> {
        let is_written = |uuid| !self.writing.values().any(|step| step.uuid == uuid);
        let reports = self.record.unsettled.iter().cloned().map(|mut report| {
            if !is_written(report.uuid) {
                report.state = OperationState::Pending;
            }
            report
        });
        reports.collect()
    }

    pub(super) fn check_invariants(&self, configured: &Resources) {
        assert!(self.record.lacking(configured).is_empty(), "{:?}", self.record.consumed);
        assert_eq!(self.record.total(configured), self.total, "the total and its record");
        let volumes = self.total.iter().filter(|it| it.metadata().is_volume());
        let mut count = 0;
        for volume in volumes {
            assert!(self.record.volume(volume).is_some(), "{volume} lies nowhere");
            count += 1;
        }
        assert_eq!(count, self.record.volumes.len(), "each directory has its volume");
        assert!(self.record.unsettled.len() <= OPERATIONS_UNSETTLED_MAX);
    }
}

impl Agent {
    /// What is neither used nor asked for.
    pub(super) fn free(&self) -> Resources {
        // What is shared may be used by several.
        self.operations.total.saturating_sub(&self.used.exclusive())
    }

    /// The volumes that a task holds.
    pub(super) fn volumes_of(&self, resources: &Resources) -> Vec<TaskVolume> {
        let volumes = resources.iter().filter_map(|resource| {
            let volume = resource.metadata().disk.as_ref()?.volume.as_ref()?;
            let record = self.operations.record.volume(resource)?;
            let (directory, container_path) =
                (record.directory.clone(), volume.container_path.clone());
            Some(TaskVolume { directory, container_path })
        });
        volumes.collect()
    }

    /// Takes an operation on, or answers one that is known again.
    pub(super) fn operate(
        &mut self,
        uuid: OperationUuid,
        asker: (Option<FrameworkId>, Option<OperationId>),
        operation: &Operation,
        effects: &mut Vec<Effect>,
    ) {
        if self.operations.record.report_mut(uuid).is_some() {
            self.answer_operation(uuid, effects);
            return;
        }
        self.operations.judged = self.operations.judged.max(Some(uuid));
        let (framework, id) = asker;
        let state = OperationState::Finished;
        let mut report = OperationReport { uuid, framework, id, state, message: String::new() };
        match self.judge_operation(operation) {
            Err(why) => {
                // Nothing is written of it: when the answer gets lost, no registration lists it.
                (report.state, report.message) = (OperationState::Failed, why);
                self.tell_operation(report, effects);
            }
            Ok((conversion, total)) => self.convert(report, conversion, total, effects),
        }
    }

    /// Whether nobody uses what an operation takes.
    fn check_unused(&self, consumed: &Resources) -> Result<(), String> {
        let free = self.free();
        if !free.contains(consumed) {
            return Err(format!("the operation takes {consumed}, the agent has {free} free"));
        }
        if !self.used.intersection(&consumed.shared()).is_empty() {
            return Err("a task uses the shared volume".to_owned());
        }
        Ok(())
    }

    /// What an operation makes of what, and what the agent has then.
    fn judge_operation(&self, operation: &Operation) -> Result<(Conversion, Resources), String> {
        if let Some(why) = self.storage.failure() {
            return Err(format!("the agent's disk refuses writes: {why}"));
        }
        if self.id.is_none() || self.link != Link::Registered {
            return Err("the agent is not registered with this leader".to_owned());
        }
        let record = &self.operations.record;
        if record.unsettled.len() >= OPERATIONS_UNSETTLED_MAX {
            return Err(format!(
                "the agent keeps {OPERATIONS_UNSETTLED_MAX} operations that are not settled, and takes no more"
            ));
        }
        let conversion = operation.conversion().map_err(|error| error.to_string())?;
        self.check_unused(&conversion.consumed)?;
        let total = conversion.apply(&self.operations.total).ok_or("it is not there")?;
        if let Some((role, id)) = clashing_volume(&self.operations.total, &conversion) {
            return Err(format!("role {role} has a volume {id:?} on this agent already"));
        }
        if let Some(why) = misplaced(&conversion) {
            return Err(why);
        }
        check_growth(&self.operations.total, &total)?;
        Ok((conversion, total))
    }

    fn convert(
        &mut self,
        mut report: OperationReport,
        conversion: Conversion,
        total: Resources,
        effects: &mut Vec<Effect>,
    ) {
        let uuid = report.uuid;
        let operations = &mut self.operations;
        operations.record.convert(&conversion);
        operations.total = total;
        let before = operations.record.volumes.len();
        let destroyed = operations.record.follow_volumes(&conversion, uuid);
        if operations.record.volumes.len() + destroyed.len() > before {
            // Done when their directories are there.
            report.state = OperationState::Pending;
        }
        operations.record.removing.extend(destroyed.iter().cloned());
        operations.record.unsettled.push(report);
        let write = self.write_operations(effects);
        self.operations.writing.insert(write, Step { uuid, destroyed });
        self.counters.operations += 1;
    }

    fn write_operations(&mut self, effects: &mut Vec<Effect>) -> WriteId {
        let record = Box::new(self.operations.record.clone());
        self.write(Change::Operations(record), effects)
    }

    /// The disk has everything up to `write`.
    pub(super) fn operations_written(&mut self, write: WriteId, effects: &mut Vec<Effect>) {
        while let Some(entry) = self.operations.writing.first_entry() {
            if *entry.key() > write {
                break;
            }
            let Step { uuid, destroyed } = entry.remove();
            for directory in destroyed {
                if self.is_being_made(&directory) {
                    self.operations.making.push(directory);
                } else {
                    effects.push(Effect::RemoveVolume { directory });
                }
            }
            self.make_volumes(uuid, effects);
            self.answer_operation(uuid, effects);
        }
    }

    /// Whether a directory was asked for and is not known to be there. Its destruction is on disk, so the
    /// operation that made the volume is, and waits for nothing else.
    fn is_being_made(&self, directory: &str) -> bool {
        self.operations
            .record
            .unsettled
            .iter()
            .any(|report| report.state == OperationState::Pending && is_of(directory, report.uuid))
    }

    /// Has the directories made of the volumes that an operation made.
    fn make_volumes(&mut self, uuid: OperationUuid, effects: &mut Vec<Effect>) {
        let report = self.operations.record.report_mut(uuid);
        if report.is_none_or(|report| report.state != OperationState::Pending) {
            return;
        }
        let volumes = self.operations.record.volumes.iter();
        let mine = volumes.filter(|volume| is_of(&volume.directory, uuid));
        let directories: Vec<String> = mine.map(|volume| volume.directory.clone()).collect();
        if directories.is_empty() {
            // Destroyed again before it was there.
            self.finish_operation(uuid);
            return;
        }
        effects.push(Effect::MakeVolumes { operation: uuid, directories });
    }

    fn finish_operation(&mut self, uuid: OperationUuid) {
        if let Some(report) = self.operations.record.report_mut(uuid) {
            report.state = OperationState::Finished;
        }
    }

    /// The directories of an operation's volumes are there, or cannot be made.
    pub(super) fn volumes_made(
        &mut self,
        uuid: OperationUuid,
        failure: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        let report = self.operations.record.report_mut(uuid);
        if report.is_none_or(|report| report.state != OperationState::Pending) {
            return;
        }
        let over = self.operations.making.extract_if(.., |it| is_of(it, uuid));
        effects.extend(over.map(|directory| Effect::RemoveVolume { directory }));
        match failure {
            Some(why) if self.undo_create(uuid, &why, effects) => {}
            Some(_) | None => {
                // Also when a later operation stands on it: a task makes them when it needs them.
                // It is told once it is on disk: a restart must not have it done again, since what
                // fails then would undo what its framework builds on.
                self.finish_operation(uuid);
                let write = self.write_operations(effects);
                self.operations.writing.insert(write, Step { uuid, destroyed: Vec::new() });
            }
        }
    }

    /// Takes back volumes that could not be made. False when something stands on them by now.
    fn undo_create(&mut self, uuid: OperationUuid, why: &str, effects: &mut Vec<Effect>) -> bool {
        if self.storage.failure().is_some() {
            return false;
        }
        let record = &self.operations.record;
        let is_its =
            |it: &Resource| record.volume(it).is_some_and(|volume| is_of(&volume.directory, uuid));
        let volumes = self.operations.total.filter(is_its);
        let Ok(conversion) = (Operation::Destroy { volumes }).conversion() else { return false };
        let total = conversion.apply(&self.operations.total);
        let Some(total) = total.filter(|_| self.check_unused(&conversion.consumed).is_ok()) else {
            return false;
        };
        let operations = &mut self.operations;
        operations.total = total;
        operations.record.convert(&conversion);
        let destroyed = operations.record.follow_volumes(&conversion, uuid);
        operations.record.removing.extend(destroyed.iter().cloned());
        if let Some(report) = operations.record.report_mut(uuid) {
            report.state = OperationState::Failed;
            report.message = format!("the directory of a volume cannot be made: {why}");
        }
        let write = self.write_operations(effects);
        self.operations.writing.insert(write, Step { uuid, destroyed });
        true
    }

    /// A destroyed volume's directory is gone.
    pub(super) fn volume_removed(&mut self, directory: &str, effects: &mut Vec<Effect>) {
        let removing = &mut self.operations.record.removing;
        let before = removing.len();
        removing.retain(|removed| removed != directory);
        if removing.len() < before {
            self.write_operations(effects);
        }
    }

    /// Tells the leader what became of an operation, once that is sure.
    fn answer_operation(&mut self, uuid: OperationUuid, effects: &mut Vec<Effect>) {
        let written = !self.operations.writing.values().any(|step| step.uuid == uuid);
        let report = self.operations.record.report_mut(uuid).cloned();
        let Some(report) = report.filter(|it| written && it.state != OperationState::Pending)
        else {
            return;
        };
        self.tell_operation(report, effects);
    }

    /// What failed comes with all that the agent has, since the leader had taken it for done.
    fn tell_operation(&mut self, report: OperationReport, effects: &mut Vec<Effect>) {
        let failed = report.state == OperationState::Failed;
        let resources = if failed { self.operations.total.clone() } else { Resources::new() };
        let judged = self.operations.judged;
        self.tell(ToLeader::Operation { report, resources, judged }, effects);
    }

    /// Whoever asked for it knows what became of it.
    pub(super) fn settle_operation(&mut self, uuid: OperationUuid, effects: &mut Vec<Effect>) {
        let pending = self.operations.reports();
        let is_over = |report: &OperationReport| report.state != OperationState::Pending;
        if !pending.iter().any(|report| report.uuid == uuid && is_over(report)) {
            return;
        }
        self.operations.record.unsettled.retain(|report| report.uuid != uuid);
        self.write_operations(effects);
    }

    /// The agent id has ended: nobody waits for answers. What is reserved and what volumes hold stays
    /// with the node.
    pub(super) fn forget_operations(&mut self, effects: &mut Vec<Effect>) {
        if !self.operations.record.unsettled.is_empty() {
            self.operations.record.unsettled.clear();
            self.write_operations(effects);
        }
    }

    /// What was under way when the node went down goes on.
    pub(super) fn recover_operations(&mut self, effects: &mut Vec<Effect>) {
        for directory in &self.operations.record.removing {
            effects.push(Effect::RemoveVolume { directory: directory.clone() });
        }
        let unsettled = self.operations.record.unsettled.iter().map(|report| report.uuid);
        for uuid in unsettled.collect::<Vec<_>>() {
            self.make_volumes(uuid, effects);
        }
    }
}
