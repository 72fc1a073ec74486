//! Collections of resources and their algebra.

use std::fmt;
use std::ops::{Add, AddAssign};
use std::sync::Arc;

use super::{Amount, Metadata, Ranges, Resource, ResourceName, ScalarQuantities, Set, Value};
use crate::role::Role;

/// Resources: what a node has, an offer gives or a task takes.
///
/// A value is always normalised: one entry for each (metadata, name, kind of value), none of them
/// empty, sorted. So equal resources are equal values, and iteration has one order.
///
/// The entries are a sorted slice behind a reference count rather than a tree: a node has about
/// four of them, which one or two cache lines hold, a clone costs a counter, and the commonest
/// operation of all, adding to or taking from entries that exist and stay, changes amounts in
/// place when nobody shares them.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resources {
    entries: Arc<[Resource]>,
}

/// The entry that was missing, or held too little.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{wanted}` is not contained in {}", available.as_ref().map_or_else(|| "nothing".to_owned(), |found| format!("`{found}`")))]
pub struct NotContained {
    /// What was to be taken away.
    pub wanted: Box<Resource>,
    /// What there is of it, if anything.
    pub available: Option<Box<Resource>>,
}

impl Resources {
    /// No resources.
    #[must_use]
    pub fn new() -> Self {
        Resources::default()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entries: unreserved ones first, then role by role; each in the order of names.
    pub fn iter(&self) -> std::slice::Iter<'_, Resource> {
        self.entries.iter()
    }

    /// Each name once, in order.
    pub fn names(&self) -> impl Iterator<Item = &ResourceName> {
        let mut names: Vec<_> = self.iter().map(Resource::name).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter()
    }

    /// The sum of the amounts of that name, reserved or not; zero when there is none.
    #[must_use]
    pub fn scalar(&self, name: &str) -> Amount {
        self.named(name).filter_map(Resource::amount).sum()
    }

    /// The cpus, reserved or not.
    #[must_use]
    pub fn cpus(&self) -> Amount {
        self.amount_of(&ResourceName::Cpus)
    }

    /// The gpus, reserved or not.
    #[must_use]
    pub fn gpus(&self) -> Amount {
        self.amount_of(&ResourceName::Gpus)
    }

    /// The memory in MB, reserved or not.
    #[must_use]
    pub fn mem(&self) -> Amount {
        self.amount_of(&ResourceName::Mem)
    }

    /// The disk space in MB, reserved or not.
    #[must_use]
    pub fn disk(&self) -> Amount {
        self.amount_of(&ResourceName::Disk)
    }

    /// The sum of the amounts of that name, reserved or not, as [`Resources::scalar`] but without
    /// comparing texts.
    #[must_use]
    pub fn amount_of(&self, name: &ResourceName) -> Amount {
        self.iter().filter(|entry| entry.name() == name).filter_map(Resource::amount).sum()
    }

    /// The ports, reserved or not.
    #[must_use]
    pub fn ports(&self) -> Ranges {
        self.ranges("ports")
    }

    /// The numbers of that name, reserved or not; none when there is no such name.
    #[must_use]
    pub fn ranges(&self, name: &str) -> Ranges {
        self.named(name).fold(Ranges::default(), |all, entry| match entry.value() {
            Value::Ranges(ranges) => all.union(ranges),
            Value::Scalar(_) | Value::Set(_) => all,
        })
    }

    /// The words of that name, reserved or not; none when there is no such name.
    #[must_use]
    pub fn set(&self, name: &str) -> Set {
        self.named(name).fold(Set::default(), |all, entry| match entry.value() {
            Value::Set(set) => all.union(set),
            Value::Scalar(_) | Value::Ranges(_) => all,
        })
    }

    /// The entries of that name.
    fn named(&self, name: &str) -> impl Iterator<Item = &Resource> {
        self.iter().filter(move |entry| entry.name().as_str() == name)
    }

    /// The sums of all amounts, by name.
    #[must_use]
    pub fn quantities(&self) -> ScalarQuantities {
        self.iter()
            .filter_map(|entry| entry.amount().map(|amount| (entry.name().clone(), amount)))
            .collect()
    }

    /// Whether a node with this total is ever offered: it has cpus, and it has memory.
    #[must_use]
    pub fn is_offerable_total(&self) -> bool {
        !self.cpus().is_zero() && !self.mem().is_zero()
    }

    /// Whether all of `other` can be taken away: for each of its entries there is one with the
    /// same metadata and name that holds at least as much.
    #[must_use]
    pub fn contains(&self, other: &Resources) -> bool {
        self.first_missing(other).is_none()
    }

    /// Whether these are the same resources: as `==`, at once when one is a clone of the other.
    #[must_use]
    pub fn is_same(&self, other: &Resources) -> bool {
        Arc::ptr_eq(&self.entries, &other.entries) || self == other
    }

    /// Whether no two entries of the same metadata and name have a number or a word in common.
    /// Amounts do not count: only what has an identity, such as a port, cannot be in two places.
    /// Of disjoint resources, what was added can be taken away again exactly.
    #[must_use]
    pub fn is_disjoint(&self, other: &Resources) -> bool {
        other.iter().filter(|entry| entry.amount().is_none()).all(|entry| {
            self.find_entry(entry)
                .and_then(|mine| mine.value().intersection(entry.value()))
                .is_none_or(|common| common.is_empty())
        })
    }

    /// Takes `other` away.
    ///
    /// # Errors
    ///
    /// When `other` is not contained; nothing has changed then.
    pub fn try_subtract(&mut self, other: &Resources) -> Result<(), NotContained> {
        if let Some(wanted) = self.first_missing(other) {
            return Err(NotContained {
                wanted: Box::new(wanted.clone()),
                available: self.find_entry(wanted).cloned().map(Box::new),
            });
        }
        self.subtract_what_is_there(other);
        Ok(())
    }

    /// What remains when `other` is taken away; nothing when it is not contained.
    #[must_use]
    pub fn checked_sub(&self, other: &Resources) -> Option<Resources> {
        self.first_missing(other).is_none().then(|| self.saturating_sub(other))
    }

    /// What remains when `other` is taken away as far as it is there.
    #[must_use]
    pub fn saturating_sub(&self, other: &Resources) -> Resources {
        let mut rest = self.clone();
        rest.subtract_what_is_there(other);
        rest
    }

    /// What is in both, entry by entry: the smaller amounts, the common numbers and words.
    #[must_use]
    pub fn intersection(&self, other: &Resources) -> Resources {
        self.iter()
            .filter_map(|entry| {
                let common = entry.value().intersection(other.find_entry(entry)?.value())?;
                Some(entry.with_value(common))
            })
            .collect()
    }

    /// The same resources with nobody's name on them.
    #[must_use]
    pub fn flatten(&self) -> Resources {
        self.with_metadata(&Metadata::UNRESERVED)
    }

    /// What a request for these resources says: their names and values, and which of them may be revocable.
    /// As [`Resources::flatten`], but revocable resources stay so.
    #[must_use]
    pub fn as_request(&self) -> Resources {
        if !self.iter().any(|entry| entry.metadata().revocable) {
            return self.flatten();
        }
        let plain = |entry: &Resource| match entry.metadata().revocable {
            true => entry.with_metadata(Metadata::REVOCABLE),
            false => entry.with_metadata(Metadata::UNRESERVED),
        };
        self.iter().map(plain).collect()
    }

    /// The same resources, all of them reserved for `role`; for `*`, all unreserved.
    #[must_use]
    pub fn reserve_for(&self, role: &Role) -> Resources {
        self.with_metadata(&Metadata::reserved_for(role.clone()))
    }

    /// The same resources, all of them with this metadata.
    fn with_metadata(&self, metadata: &Metadata) -> Resources {
        if self.iter().all(|entry| entry.metadata() == metadata) {
            return self.clone();
        }
        self.iter().map(|entry| entry.with_metadata(metadata.clone())).collect()
    }

    /// What may be given to `role`: what is unreserved, and what is reserved for it or for a role
    /// above it.
    #[must_use]
    pub fn for_role(&self, role: &Role) -> Resources {
        self.filter(|entry| entry.metadata().is_allocatable_to(role))
    }

    /// What is reserved for nobody.
    #[must_use]
    pub fn unreserved(&self) -> Resources {
        self.filter(|entry| entry.metadata().is_unreserved())
    }

    /// What is reserved, for whomever.
    #[must_use]
    pub fn reserved(&self) -> Resources {
        self.filter(|entry| !entry.metadata().is_unreserved())
    }

    /// What is reserved for exactly `role`; for `*`, what is unreserved.
    #[must_use]
    pub fn reserved_for(&self, role: &Role) -> Resources {
        let role = Some(role).filter(|role| !role.is_default());
        self.filter(|entry| entry.metadata().reserved_role() == role)
    }

    /// What several may use at once.
    #[must_use]
    pub fn shared(&self) -> Resources {
        self.filter(|entry| entry.metadata().shared)
    }

    /// What only one can use at a time.
    #[must_use]
    pub fn exclusive(&self) -> Resources {
        self.filter(|entry| !entry.metadata().shared)
    }

    /// What may be taken back at any time.
    #[must_use]
    pub fn revocable(&self) -> Resources {
        self.filter(|entry| entry.metadata().revocable)
    }

    /// What may not be taken back: all but [`Resources::revocable`].
    #[must_use]
    pub fn non_revocable(&self) -> Resources {
        self.filter(|entry| !entry.metadata().revocable)
    }

    /// The entries for which `wanted` holds.
    #[must_use]
    pub fn filter(&self, mut wanted: impl FnMut(&Resource) -> bool) -> Resources {
        // Mostly everything is wanted: nodes without reservations, whatever the role.
        let Some(first_unwanted) = self.iter().position(|entry| !wanted(entry)) else {
            return self.clone();
        };
        let (before, rest) = self.entries.split_at(first_unwanted);
        let after = rest.iter().skip(1).filter(|entry| wanted(entry));
        Resources { entries: before.iter().chain(after).cloned().collect() }
    }

    /// Adds one resource.
    pub fn insert(&mut self, resource: Resource) {
        *self += &Resources::from(resource);
    }

    /// Where the entry with the key of `wanted` is, or belongs.
    fn position(&self, wanted: &Resource) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.key_cmp(wanted))
    }

    /// The entry with the key of `wanted`.
    fn find_entry(&self, wanted: &Resource) -> Option<&Resource> {
        self.position(wanted).ok().map(|position| &self.entries[position])
    }

    /// The first entry of `other` of which there is too little here.
    fn first_missing<'a>(&self, other: &'a Resources) -> Option<&'a Resource> {
        if Arc::ptr_eq(&self.entries, &other.entries) {
            return None;
        }
        other.iter().find(|wanted| {
            !self.find_entry(wanted).is_some_and(|entry| entry.value().contains(wanted.value()))
        })
    }

    /// Takes away what is there of `other`.
    fn subtract_what_is_there(&mut self, other: &Resources) {
        let mut emptied = false;
        for taken in other.iter() {
            if let Ok(position) = self.position(taken) {
                let value = Arc::make_mut(&mut self.entries)[position].value_mut();
                value.subtract(taken.value());
                emptied |= value.is_empty();
            }
        }
        if emptied {
            self.entries = self.iter().filter(|entry| !entry.is_empty()).cloned().collect();
        }
    }

    /// Merges two sorted lists.
    fn merged(&self, other: &Resources) -> Resources {
        let mut entries: Vec<Resource> = Vec::with_capacity(self.len() + other.len());
        entries.extend_from_slice(&self.entries);
        entries.extend_from_slice(&other.entries);
        Resources::from_entries(entries)
    }

    /// Normalises a list of entries.
    fn from_entries(mut entries: Vec<Resource>) -> Resources {
        // Stable, and fast on the two sorted runs of a sum.
        entries.sort_by(Resource::key_cmp);
        entries.dedup_by(|next, last| {
            let same = last.key_cmp(next).is_eq();
            if same {
                last.value_mut().add(next.value());
            }
            same
        });
        entries.retain(|entry| !entry.is_empty());
        Resources { entries: entries.into() }
    }
}

impl From<Resource> for Resources {
    fn from(resource: Resource) -> Self {
        Resources::from_entries(vec![resource])
    }
}

/// Entries of the same metadata and name add up.
impl FromIterator<Resource> for Resources {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        Resources::from_entries(resources.into_iter().collect())
    }
}

/// Amounts are summed (cut to what fits), ranges and sets are united.
impl AddAssign<&Resources> for Resources {
    fn add_assign(&mut self, other: &Resources) {
        if self.is_empty() {
            *self = other.clone();
            return;
        }
        if other.iter().any(|entry| self.position(entry).is_err()) {
            *self = self.merged(other);
            return;
        }
        for added in other.iter() {
            if let Ok(position) = self.position(added) {
                Arc::make_mut(&mut self.entries)[position].value_mut().add(added.value());
            }
        }
    }
}

impl AddAssign for Resources {
    fn add_assign(&mut self, other: Resources) {
        *self += &other;
    }
}

impl Add<&Resources> for Resources {
    type Output = Resources;

    fn add(mut self, other: &Resources) -> Resources {
        self += other;
        self
    }
}

impl Add<&Resources> for &Resources {
    type Output = Resources;

    fn add(self, other: &Resources) -> Resources {
        self.clone() + other
    }
}

impl Add for Resources {
    type Output = Resources;

    fn add(self, other: Resources) -> Resources {
        self + &other
    }
}

impl std::iter::Sum for Resources {
    fn sum<I: Iterator<Item = Resources>>(parts: I) -> Resources {
        parts.fold(Resources::default(), |sum, part| sum + &part)
    }
}

impl<'a> std::iter::Sum<&'a Resources> for Resources {
    fn sum<I: Iterator<Item = &'a Resources>>(parts: I) -> Resources {
        parts.fold(Resources::default(), |sum, part| sum + part)
    }
}

impl<'a> IntoIterator for &'a Resources {
    type Item = &'a Resource;
    type IntoIter = std::slice::Iter<'a, Resource>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Resources({self})")
    }
}
