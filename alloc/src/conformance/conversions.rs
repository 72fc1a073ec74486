//! What is done with offers: which operation, and what a task uses, is decided before it is known what
//! is offered.

use std::collections::BTreeMap;

use meshos_protocol::{
    operation::Operation,
    resources::{
        Amount, Disk, Metadata, Reservation, ReservationKind, Resource, Resources, Value, Volume,
    },
    role::Role,
};

/// What is to be done to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reserve,
    Unreserve,
    Create { shared: bool },
    Destroy,
    Grow,
    Shrink,
}

/// All of them, those that come first in a chain more often.
const KINDS: [Kind; 9] = [
    Kind::Reserve,
    Kind::Create { shared: true },
    Kind::Reserve,
    Kind::Grow,
    Kind::Destroy,
    Kind::Create { shared: false },
    Kind::Shrink,
    Kind::Reserve,
    Kind::Unreserve,
];

/// An operation that is to be done to something of what there is.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The first kind that is tried.
    first: usize,
    /// For whom, if it reserves and not for the role that is offered it.
    role: Option<Role>,
    /// Chooses of what, and how much of it.
    number: usize,
}

impl Wanted {
    /// The operation that a number stands for, sometimes for another role.
    pub(crate) fn numbered(number: usize, other: Role) -> Self {
        let role = (number / KINDS.len()).is_multiple_of(3).then_some(other);
        Self { first: number % KINDS.len(), role, number: number / (3 * KINDS.len()) }
    }

    /// An operation on something of `resources`, which `role` is offered: of the first kind for which
    /// some of them will do.
    pub(crate) fn operation(&self, resources: &Resources, role: &Role) -> Option<Operation> {
        let role = self.role.as_ref().unwrap_or(role);
        let kinds = KINDS.iter().cycle().skip(self.first).take(KINDS.len());
        kinds.copied().find_map(|kind| self.of_kind(kind, resources, role))
    }

    fn of_kind(&self, kind: Kind, resources: &Resources, role: &Role) -> Option<Operation> {
        let suits = |resource: &&Resource| suits(kind, resource, role);
        let suited: Vec<&Resource> = resources.iter().filter(suits).collect();
        let chosen = suited.get(self.number.checked_rem(suited.len())?)?;
        let metadata = chosen.metadata().clone();
        let one = |metadata: Metadata| {
            let part = self.part_of(chosen);
            Resource::new(part.name().clone(), metadata, part.value().clone()).ok()
        };
        Some(match kind {
            Kind::Reserve => {
                let outer = metadata.reservation.clone();
                let by = Reservation::dynamic(role.clone(), "p", BTreeMap::new(), outer).ok()?;
                let reserved = one(Metadata { reservation: Some(by), ..metadata })?;
                Operation::Reserve { resources: reserved.into() }
            }
            Kind::Unreserve => Operation::Unreserve { resources: one(metadata)?.into() },
            Kind::Create { shared } => {
                let source = metadata.disk.as_ref().and_then(|disk| disk.source.clone());
                let id = format!("v{}", self.number);
                let path = "data".to_owned();
                let volume = Volume { id, container_path: path, principal: String::new() };
                let disk = Some(Disk { source, volume: Some(volume) }.into());
                let volume = one(Metadata { disk, shared, ..metadata })?;
                Operation::Create { volumes: volume.into() }
            }
            Kind::Destroy => Operation::Destroy { volumes: one(metadata)?.into() },
            Kind::Grow => {
                let mut plain = metadata.clone();
                let source = plain.disk.as_ref().and_then(|disk| disk.source.clone());
                plain.disk =
                    source.map(|source| Disk { source: Some(source), volume: None }.into());
                let addition = resources.iter().find(|it| *it.metadata() == plain)?.clone();
                let addition = (addition.name() == chosen.name()).then_some(addition)?;
                Operation::Grow { volume: (*chosen).clone(), addition }
            }
            Kind::Shrink => {
                Operation::Shrink { volume: (*chosen).clone(), subtract: half(chosen.amount()?) }
            }
        })
    }

    /// All of a resource, or half of it: of what cannot be divided now and then, which is to be refused.
    fn part_of(&self, resource: &Resource) -> Resource {
        let divisible = resource.metadata().is_divisible();
        let all = self.number.is_multiple_of(3) || !(divisible || self.number % 5 == 1);
        let part = match resource.value() {
            _ if all => None,
            Value::Scalar(amount) => resource.with_amount(half(*amount)),
            Value::Ranges(ranges) => {
                ranges.take_first(ranges.count().div_ceil(2)).and_then(|first| {
                    Resource::new(resource.name().clone(), resource.metadata().clone(), first).ok()
                })
            }
            Value::Set(_) => None,
        };
        part.unwrap_or_else(|| resource.clone())
    }
}

/// Whether the operation can be done to a resource.
fn suits(kind: Kind, resource: &Resource, role: &Role) -> bool {
    let metadata = resource.metadata();
    match kind {
        Kind::Reserve => {
            let below = metadata.reserved_role().is_none_or(|above| above.is_ancestor_of(role));
            below && !role.is_default() && !metadata.revocable && !metadata.is_volume()
        }
        Kind::Unreserve => {
            let by = metadata.reservation.as_ref().map(Reservation::kind);
            by == Some(ReservationKind::Dynamic) && !metadata.is_volume()
        }
        Kind::Create { .. } => {
            let is_disk = resource.name().as_str() == "disk";
            is_disk && !metadata.is_unreserved() && !metadata.is_volume()
        }
        Kind::Destroy => metadata.is_volume(),
        Kind::Grow | Kind::Shrink => metadata.is_volume() && !metadata.shared,
    }
}

/// Half of an amount, in whole units when there are several.
fn half(amount: Amount) -> Amount {
    if amount.units() > 1 { Amount::whole(amount.units() / 2) } else { amount }
}

/// What a task uses of an offer.
#[derive(Debug, Clone)]
pub(crate) enum Used {
    /// These, as far as they are offered.
    These(Resources),
    /// Of what is offered, everything of some kinds, as the bits of a number say.
    Kinds(usize),
}

impl Used {
    pub(crate) fn of(&self, offered: &Resources) -> Resources {
        match self {
            Used::These(resources) => resources.intersection(offered),
            Used::Kinds(bits) => {
                let chosen =
                    offered.iter().enumerate().filter(|(at, _)| bits >> (at % 16) & 1 == 1);
                chosen.map(|(_, resource)| resource.clone()).collect()
            }
        }
    }
}
