//! Which machines will be away, and what frameworks said of it.

use std::collections::{BTreeMap, BTreeSet};

use meshos_control::master::{MaintenanceView, View};
use meshos_protocol::maintenance::{InverseOffer, Unavailability};
use serde::Serialize;

use super::Picture;
use crate::{
    convert::{ids, maintenance, status},
    schema,
};

/// A machine: those who have the same host name and address are one.
type Machine = (String, String);

fn machine((hostname, ip): &Machine) -> schema::MachineId {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    schema::MachineId { hostname: text(hostname), ip: text(ip) }
}

fn machine_of(row: &MaintenanceView) -> Machine {
    (row.hostname.clone(), row.ip.clone())
}

/// The windows, in the order of their beginnings; nodes that will be away at the same time are in one.
pub(super) fn schedule(view: &View) -> schema::Schedule {
    let mut windows: BTreeMap<Unavailability, BTreeSet<Machine>> = BTreeMap::new();
    for row in view.maintenance.iter() {
        let away = Unavailability { start: row.start, duration_ms: row.duration_ms };
        windows.entry(away).or_default().insert(machine_of(row));
    }
    let window = |(away, machines): (Unavailability, BTreeSet<Machine>)| schema::Window {
        machine_ids: machines.iter().map(machine).collect(),
        unavailability: Some(maintenance::unavailability(away)),
    };
    schema::Schedule { windows: windows.into_iter().map(window).collect() }
}

/// The machines in windows: what was said of those whose maintenance has not begun, and the others.
pub(super) fn status(view: &View) -> schema::ClusterStatus {
    let cluster = view.fence.cluster;
    let mut draining: BTreeMap<Machine, Vec<schema::InverseOfferStatus>> = BTreeMap::new();
    let mut down = BTreeSet::new();
    for row in view.maintenance.iter() {
        if row.begun.is_some() {
            down.insert(machine_of(row));
            continue;
        }
        let answers = row.asked.iter().filter_map(|asked| {
            let kind = match asked.accepted? {
                true => schema::InverseOfferStatusStatus::Accept,
                false => schema::InverseOfferStatusStatus::Decline,
            };
            Some(schema::InverseOfferStatus {
                status: Some(kind.into()),
                framework_id: Some(ids::framework(cluster, asked.framework_id)),
                timestamp: asked.answered_at.map(status::time),
            })
        });
        draining.entry(machine_of(row)).or_default().extend(answers);
    }
    let draining = draining
        .into_iter()
        .map(|(of, statuses)| schema::DrainingMachine { id: Some(machine(&of)), statuses });
    schema::ClusterStatus {
        draining_machines: draining.collect(),
        down_machines: down.iter().map(machine).collect(),
    }
}

/// The older endpoint's form of the schedule: lists are there when they are empty, too.
#[derive(Debug, Serialize)]
pub struct OlderSchedule {
    windows: Vec<serde_json::Value>,
}

/// The same of the status.
#[derive(Debug, Serialize)]
pub struct OlderStatus {
    draining_machines: Vec<serde_json::Value>,
    down_machines: Vec<serde_json::Value>,
}

/// Of `/maintenance/schedule`.
#[must_use]
pub fn older_schedule(picture: &Picture<'_>) -> OlderSchedule {
    OlderSchedule { windows: values(&schedule(picture.view).windows) }
}

/// Of `/maintenance/status`.
#[must_use]
pub fn older_status(picture: &Picture<'_>) -> OlderStatus {
    let status = status(picture.view);
    OlderStatus {
        draining_machines: values(&status.draining_machines),
        down_machines: values(&status.down_machines),
    }
}

fn values<T: Serialize>(all: &[T]) -> Vec<serde_json::Value> {
    all.iter().filter_map(|one| serde_json::to_value(one).ok()).collect()
}

/// The inverse offers that a framework has not answered.
pub(super) fn open_of(
    picture: &Picture<'_>,
    framework: meshos_protocol::ids::FrameworkId,
) -> Vec<schema::InverseOffer> {
    let mut open = Vec::new();
    for row in picture.view.maintenance.iter() {
        let asked = row.asked.iter().filter(|asked| asked.framework_id == framework);
        let Some((id, agent)) = asked.filter_map(|asked| asked.open).next().zip(row.agent_id)
        else {
            continue;
        };
        let offer = InverseOffer {
            id,
            framework,
            agent,
            hostname: row.hostname.clone(),
            unavailability: Unavailability { start: row.start, duration_ms: row.duration_ms },
        };
        let place = picture.place_of(agent);
        open.push(maintenance::inverse_offer(picture.cluster(), &offer, place.as_ref()));
    }
    open
}
