//! Which machines will be away: a machine stands for the nodes that have its host name and address.

use std::collections::{BTreeMap, BTreeSet};

use meshos_control::{
    master::{NodeState, OperatorCall, View},
    registry::Planned,
};
use meshos_protocol::{ids::NodeId, task::KILL_GRACE_MAX_MS};

use super::change::{body, invalid};
use crate::{
    codec::Refused,
    convert::{maintenance, offer::Place},
    schema,
};

/// The most machines that a call may name.
const MACHINES_MAX: usize = 1_000;

/// Where a node is.
struct Known {
    node: NodeId,
    hostname: String,
    ip: String,
}

/// The nodes in windows, and those that are there.
fn known(view: &View) -> Vec<Known> {
    let planned = view.maintenance.iter().map(|row| Known {
        node: row.node_id,
        hostname: row.hostname.clone(),
        ip: row.ip.clone(),
    });
    let mut known: Vec<Known> = planned.collect();
    let in_windows: BTreeSet<NodeId> = known.iter().map(|it| it.node).collect();
    let agents = view.agents.iter().filter(|agent| agent.state != NodeState::Gone);
    for agent in agents.filter(|agent| !in_windows.contains(&agent.id)) {
        let place = Place::read(&agent.address);
        let ip = place.and_then(|place| place.ip).map(|ip| ip.to_string());
        let hostname = agent.hostname.clone();
        known.push(Known { node: agent.id, hostname, ip: ip.unwrap_or_default() });
    }
    known
}

/// The machine in words.
fn named(machine: &schema::MachineId) -> String {
    format!("'{} ({})'", machine.hostname(), machine.ip())
}

/// The nodes of a machine.
fn nodes_of<'a>(
    machine: &schema::MachineId,
    known: &'a [Known],
) -> Result<Vec<&'a Known>, Refused> {
    let (hostname, ip) = (machine.hostname(), machine.ip());
    if hostname.is_empty() && ip.is_empty() {
        return Err(invalid("Both 'hostname' and 'ip' for a machine are empty"));
    }
    let is = |it: &&Known| {
        let same_name = hostname.is_empty() || it.hostname.eq_ignore_ascii_case(hostname);
        same_name && (ip.is_empty() || it.ip == ip)
    };
    Ok(known.iter().filter(is).collect())
}

fn check_count(machines: usize) -> Result<(), Refused> {
    if machines <= MACHINES_MAX {
        return Ok(());
    }
    Err(invalid(format!("{machines} machines are named, at most {MACHINES_MAX} may be")))
}

/// `UPDATE_MAINTENANCE_SCHEDULE`: what is planned is this, and nothing else.
pub(super) fn schedule(
    update: &schema::MasterCallUpdateMaintenanceSchedule,
    view: &View,
) -> Result<Option<OperatorCall>, Refused> {
    let schedule = body(update.schedule.as_ref())?;
    check_count(schedule.windows.iter().map(|window| window.machine_ids.len()).sum())?;
    let known = known(view);
    let mut nodes: BTreeMap<NodeId, Option<Planned>> = BTreeMap::new();
    for window in &schedule.windows {
        if window.machine_ids.is_empty() {
            return Err(invalid("List of machines in the maintenance window is empty"));
        }
        let away = maintenance::read(body(window.unavailability.as_ref())?);
        let unavailability =
            away.map_err(|why| invalid(format!("Invalid maintenance window: {why}")))?;
        for machine in &window.machine_ids {
            let of = nodes_of(machine, &known)?;
            if of.is_empty() {
                return Err(invalid(format!(
                    "Machine {} is none of this cluster's: name it as GET_AGENTS and the agent's address do",
                    named(machine)
                )));
            }
            for Known { node, hostname, ip } in of {
                let (hostname, ip) = (hostname.clone(), ip.clone());
                let planned = Planned { unavailability, hostname, ip, begun: None };
                if nodes.insert(*node, Some(planned)).is_some() {
                    return Err(invalid(format!(
                        "Machine {} appears more than once in the schedule",
                        named(machine)
                    )));
                }
            }
        }
    }
    Ok(Some(OperatorCall::PlanMaintenance { nodes, replace: true }))
}

/// The nodes of machines that are in windows, as long as their maintenance has begun, or has not.
fn planned_nodes(
    machines: &[schema::MachineId],
    view: &View,
    begun: bool,
) -> Result<BTreeSet<NodeId>, Refused> {
    check_count(machines.len())?;
    if machines.is_empty() {
        return Err(invalid("List of machines is empty"));
    }
    let known = known(view);
    let mut all = BTreeSet::new();
    for machine in machines {
        let of: BTreeSet<NodeId> = nodes_of(machine, &known)?.iter().map(|it| it.node).collect();
        let planned = || view.maintenance.iter().filter(|row| of.contains(&row.node_id));
        if planned().next().is_none() {
            return Err(invalid(format!(
                "Machine {} is not part of a maintenance schedule",
                named(machine)
            )));
        }
        let nodes: BTreeSet<NodeId> =
            planned().filter(|row| row.begun.is_some() == begun).map(|row| row.node_id).collect();
        if nodes.is_empty() {
            let (mode, way) = if begun { ("DOWN", "up") } else { ("DRAINING", "down") };
            return Err(invalid(format!(
                "Machine {} is not in {mode} mode and cannot be brought {way}",
                named(machine)
            )));
        }
        if nodes.iter().any(|node| !all.insert(*node)) {
            return Err(invalid(format!("Machine {} is named twice", named(machine))));
        }
    }
    Ok(all)
}

/// `START_MAINTENANCE`: what runs there ends, each task with its own grace period.
pub(super) fn start(
    start: &schema::MasterCallStartMaintenance,
    view: &View,
) -> Result<Option<OperatorCall>, Refused> {
    let nodes = planned_nodes(&start.machines, view, false)?;
    let nodes = nodes.into_iter().map(|node| (node, Some(KILL_GRACE_MAX_MS))).collect();
    Ok(Some(OperatorCall::StartMaintenance { nodes }))
}

/// `STOP_MAINTENANCE`.
pub(super) fn stop(
    stop: &schema::MasterCallStopMaintenance,
    view: &View,
) -> Result<Option<OperatorCall>, Refused> {
    let nodes = planned_nodes(&stop.machines, view, true)?;
    Ok(Some(OperatorCall::StopMaintenance { nodes }))
}

#[cfg(test)]
mod tests;
