//! What a node measures, by Mesos's names.

use std::collections::BTreeMap;

use meshos_control::{
    agent,
    master::{FrameworkState, FrameworkView, NodeState, View},
};
use meshos_protocol::{
    ids::{ClusterId, Fence, Term},
    resources::{Amount, ResourceName, Resources},
    task::TaskState,
    time::Wall,
};

use super::picture::Picture;
use crate::convert::number;

/// The resources that are measured.
const MEASURED: [ResourceName; 4] =
    [ResourceName::Cpus, ResourceName::Gpus, ResourceName::Mem, ResourceName::Disk];

/// What is measured beside the master and the agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Machine {
    /// The time.
    pub now: Wall,
    /// When the node's process started.
    pub started_at: Wall,
    /// How many voters the registry has, as far as this node knows.
    pub voters: usize,
    /// Whether the registry has been read.
    pub recovered: bool,
    /// Processors.
    pub cpus: usize,
    /// Load averages of one, five and fifteen minutes.
    pub load: [Amount; 3],
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Memory that nobody uses, in bytes.
    pub memory_free_bytes: u64,
    /// Sandboxes removed.
    pub sandboxes_removed: u64,
    /// Sandboxes that could not be removed.
    pub sandbox_failures: u64,
    /// How old the sandbox of an ended task may grow, in milliseconds.
    pub sandbox_age_ms: u64,
}

/// Numbers by name.
#[derive(Debug, Default)]
struct Sheet(BTreeMap<String, f64>);

impl Sheet {
    fn amount(&mut self, name: impl Into<String>, amount: Amount) {
        self.0.insert(name.into(), number::double(amount));
    }

    fn count(&mut self, name: impl Into<String>, count: u64) {
        let units = i64::try_from(count).unwrap_or(i64::MAX);
        // Counts beyond that are not told apart any more.
        self.amount(name, Amount::whole(units.min(i64::MAX / 1_000)));
    }

    fn many(&mut self, name: impl Into<String>, count: usize) {
        self.count(name, u64::try_from(count).unwrap_or(u64::MAX));
    }

    fn flag(&mut self, name: &str, set: bool) {
        self.count(name, u64::from(set));
    }

    /// `AREA/cpus_total`, `_used` and `_percent`, which is a share of one; what is revocable counts only in
    /// `AREA/cpus_revocable_total` and so on.
    fn shares(&mut self, area: &str, total: &Resources, used: &Resources) {
        self.shares_of(area, "", &total.non_revocable(), &used.non_revocable());
        self.shares_of(area, "_revocable", &total.revocable(), &used.revocable());
    }

    fn shares_of(&mut self, area: &str, kind: &str, total: &Resources, used: &Resources) {
        for name in MEASURED {
            let (all, taken) = (total.amount_of(&name), used.amount_of(&name));
            let thousandths =
                taken.millis().saturating_mul(1_000).checked_div(all.millis()).unwrap_or(0);
            let name = format!("{area}/{}{kind}", name.as_str());
            self.amount(format!("{name}_total"), all);
            self.amount(format!("{name}_used"), taken);
            self.amount(format!("{name}_percent"), Amount::from_millis(thousandths));
        }
    }
}

/// `/metrics/snapshot` of a node; `led` is the picture when it leads. One that does not has zeros of the master's.
#[must_use]
pub fn metrics(
    led: Option<&View>,
    agent: &agent::View,
    machine: &Machine,
) -> BTreeMap<String, f64> {
    let mut sheet = Sheet::default();
    let uptime = machine.now.since(machine.started_at);
    let uptime = Amount::from_millis(i64::try_from(uptime.as_millis()).unwrap_or(i64::MAX));
    sheet.amount("master/uptime_secs", uptime);
    sheet.amount("slave/uptime_secs", uptime);
    sheet.flag("master/elected", led.is_some());
    let nothing;
    let view = match led {
        Some(view) => view,
        None => {
            let fence = Fence { cluster: ClusterId::from_u128(0), term: Term(0) };
            nothing = View::deposed(fence, agent.node);
            &nothing
        }
    };
    let picture = Picture::new(view);
    of_agents(&mut sheet, &picture);
    of_frameworks(&mut sheet, &picture);
    of_tasks(&mut sheet, view);
    of_messages(&mut sheet, view);
    of_roles(&mut sheet, view);
    of_agent(&mut sheet, agent);
    of_machine(&mut sheet, machine);
    sheet.0
}

fn of_agents(sheet: &mut Sheet, picture: &Picture<'_>) {
    let (mut total, mut used, mut taken) = (Resources::new(), Resources::new(), Resources::new());
    let [mut active, mut inactive, mut connected, mut disconnected] = [0; 4];
    let amounts = |of: &Resources| of.filter(|resource| resource.amount().is_some()).as_request();
    for agent in picture.registered() {
        *(if agent.state == NodeState::Active { &mut active } else { &mut inactive }) += 1;
        *(if agent.connected { &mut connected } else { &mut disconnected }) += 1;
        total += &amounts(&agent.resources);
        used += &amounts(&agent.used);
        taken += &amounts(&agent.used);
        taken += &amounts(&agent.offered);
    }
    sheet.shares("master", &total, &used);
    // As in Mesos, the allocator's are of all that it gives out, revocable or not.
    for name in MEASURED {
        let area = format!("allocator/mesos/resources/{}", name.as_str());
        sheet.amount(format!("{area}/total"), total.amount_of(&name));
        sheet.amount(format!("{area}/offered_or_allocated"), taken.amount_of(&name));
    }
    sheet.count("master/slaves_active", active);
    sheet.count("master/slaves_inactive", inactive);
    sheet.count("master/slaves_connected", connected);
    sheet.count("master/slaves_disconnected", disconnected);
    sheet.many("master/slaves_unreachable", picture.unreachable());
}

fn of_frameworks(sheet: &mut Sheet, picture: &Picture<'_>) {
    let all = picture.frameworks.values();
    let connected = all.filter(|it| it.state == FrameworkState::Subscribed).count();
    let away = picture.frameworks.len().saturating_sub(connected);
    sheet.many("master/frameworks_active", connected);
    sheet.many("master/frameworks_inactive", away);
    sheet.many("master/frameworks_connected", connected);
    sheet.many("master/frameworks_disconnected", away);
    sheet.many("master/outstanding_offers", picture.view.offers.len());
    picture.frameworks.values().for_each(|framework| of_framework(sheet, picture, framework));
}

fn of_framework(sheet: &mut Sheet, picture: &Picture<'_>, framework: &FrameworkView) {
    let id = picture.framework_text(framework.id);
    let area = format!("master/frameworks/{}/{id}", encoded(&framework.name));
    sheet.flag(&format!("{area}/subscribed"), framework.state == FrameworkState::Subscribed);
    let of = picture.of(framework.id);
    let tasks = || of.live.iter().chain(&of.unreachable);
    for (state, name) in LIVE {
        let count = tasks().filter(|task| task.state == state).count();
        sheet.many(format!("{area}/tasks/active/task_{name}"), count);
    }
    for role in &framework.roles {
        let suppressed = framework.suppressed_roles.contains(role);
        sheet.flag(&format!("{area}/roles/{role}/suppressed"), suppressed);
    }
}

/// A framework's name as part of a metric's, in which slashes part the others.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The states that a task can be in and go on.
const LIVE: [(TaskState, &str); 5] = [
    (TaskState::Staging, "staging"),
    (TaskState::Starting, "starting"),
    (TaskState::Running, "running"),
    (TaskState::Killing, "killing"),
    (TaskState::Unreachable, "unreachable"),
];

/// The states in which a task ends.
const ENDED: [(TaskState, &str); 8] = [
    (TaskState::Finished, "finished"),
    (TaskState::Failed, "failed"),
    (TaskState::Killed, "killed"),
    (TaskState::Error, "error"),
    (TaskState::Dropped, "dropped"),
    (TaskState::Gone, "gone"),
    (TaskState::GoneByOperator, "gone_by_operator"),
    (TaskState::Lost, "lost"),
];

fn of_tasks(sheet: &mut Sheet, view: &View) {
    for (state, name) in LIVE {
        sheet.count(format!("master/tasks_{name}"), view.tasks_by_state.get(state));
    }
    for (state, name) in ENDED {
        sheet.count(format!("master/tasks_{name}"), view.counters.tasks_ended.get(state));
    }
}

fn of_messages(sheet: &mut Sheet, view: &View) {
    let counters = &view.counters;
    let again = counters.agents_registered.saturating_sub(counters.agents_admitted);
    let dropped = counters.dropped.iter().map(|(_, count)| count).sum();
    let counts = [
        ("master/slave_registrations", counters.agents_admitted),
        ("master/slave_reregistrations", again),
        ("master/slave_unreachable_completed", counters.agents_unreachable),
        ("master/messages_status_update", counters.updates_received),
        ("master/messages_status_update_acknowledgement", counters.acknowledgements),
        ("master/messages_reconcile_tasks", counters.reconciliations),
        ("master/messages_kill_task", counters.kills),
        ("master/valid_status_updates", counters.updates_received),
        ("master/dropped_messages", dropped),
        ("allocator/mesos/allocation_runs", counters.allocation_runs),
    ];
    counts.into_iter().for_each(|(name, count)| sheet.count(name, count));
}

fn of_roles(sheet: &mut Sheet, view: &View) {
    for role in view.roles.iter() {
        let area = format!("allocator/mesos/quota/roles/{}/resources", role.role);
        for (name, amount) in role.guarantee.iter() {
            sheet.amount(format!("{area}/{}/guarantee", name.as_str()), amount);
        }
        for (name, amount) in &role.limit {
            sheet.amount(format!("{area}/{}/limit", name.as_str()), *amount);
            let consumed = role.consumed.get(name);
            sheet.amount(format!("{area}/{}/offered_or_allocated", name.as_str()), consumed);
        }
    }
}

fn of_agent(sheet: &mut Sheet, view: &agent::View) {
    sheet.flag("slave/registered", view.registered);
    sheet.shares("slave", &view.resources, &view.used);
    let frameworks: std::collections::BTreeSet<_> =
        view.tasks.iter().map(|task| task.record.framework).collect();
    sheet.many("slave/frameworks_active", frameworks.len());
    // A task without an executor has Mesos's own.
    let own = view.tasks.iter().filter(|task| task.record.launch.description.executor.is_none());
    let running = own.filter(|task| task.pid.is_some()).count();
    sheet.many("slave/executors_running", running.saturating_add(view.executors.len()));
    for (state, name) in LIVE.into_iter().filter(|(state, _)| *state != TaskState::Unreachable) {
        let count = view.tasks.iter().filter(|task| task.record.state == state).count();
        sheet.many(format!("slave/tasks_{name}"), count);
    }
    let counters = &view.counters;
    let counts = [
        ("slave/tasks_finished", counters.tasks_finished),
        ("slave/tasks_failed", counters.tasks_failed),
        ("slave/tasks_killed", counters.tasks_killed),
        ("slave/tasks_lost", counters.tasks_dropped),
        ("slave/valid_status_updates", counters.updates_sent),
    ];
    counts.into_iter().for_each(|(name, count)| sheet.count(name, count));
}

fn of_machine(sheet: &mut Sheet, machine: &Machine) {
    sheet.flag("registrar/log/recovered", machine.recovered);
    sheet.many("registrar/log/ensemble_size", machine.voters);
    sheet.many("system/cpus_total", machine.cpus);
    for (minutes, load) in ["1", "5", "15"].iter().zip(machine.load) {
        sheet.amount(format!("system/load_{minutes}min"), load);
    }
    sheet.count("system/mem_total_bytes", machine.memory_bytes);
    sheet.count("system/mem_free_bytes", machine.memory_free_bytes);
    sheet.count("gc/path_removals_succeeded", machine.sandboxes_removed);
    sheet.count("gc/path_removals_failed", machine.sandbox_failures);
    let age = Amount::from_millis(i64::try_from(machine.sandbox_age_ms).unwrap_or(i64::MAX));
    sheet.amount("slave/executor_directory_max_allowed_age_secs", age);
}

#[cfg(test)]
mod tests;
