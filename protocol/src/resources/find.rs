//! Finding what satisfies a request.

use std::cmp::Reverse;

use super::{Resource, Resources};
use crate::role::Role;

impl Resources {
    /// A part of these resources that satisfies `request` and may be used by `role`; nothing when
    /// there is not enough.
    ///
    /// What is reserved for the role is taken first, then what is reserved for the roles above it,
    /// the nearest first, then what is unreserved, so that the pool that others could use as well
    /// is spared. What the request has as revocable is found among what is revocable, and nowhere else; nothing else of
    /// its metadata counts, only its names and values. Volumes and particular disks are not taken: who wants one names
    /// it.
    #[must_use]
    pub fn find(&self, request: &Resources, role: &Role) -> Option<Resources> {
        let mut found = Vec::with_capacity(request.len());
        for wanted in &request.as_request() {
            self.find_one(wanted, role, &mut found)?;
        }
        Some(found.into_iter().collect())
    }

    /// What of these may be given to `role` for what is `wanted`.
    pub(super) fn serving<'a>(
        &'a self,
        wanted: &'a Resource,
        role: &'a Role,
    ) -> impl Iterator<Item = &'a Resource> {
        self.iter().filter(move |entry| {
            entry.name() == wanted.name()
                && entry.metadata().serves(wanted.metadata())
                && entry.metadata().is_allocatable_to(role)
        })
    }

    /// Adds to `found` what satisfies `wanted`, or gives up.
    fn find_one(&self, wanted: &Resource, role: &Role, found: &mut Vec<Resource>) -> Option<()> {
        let mut candidates: Vec<&Resource> = self.serving(wanted, role).collect();
        // The candidates' roles are this role and roles above it: the longer, the nearer.
        candidates.sort_by_key(|entry| {
            Reverse(entry.metadata().reserved_role().map_or(0, |role| role.as_str().len()))
        });
        let mut missing = wanted.value().clone();
        for candidate in candidates {
            let Some(part) = candidate.value().intersection(&missing) else { continue };
            if part.is_empty() {
                continue;
            }
            missing.subtract(&part);
            found.push(candidate.with_value(part));
            if missing.is_empty() {
                return Some(());
            }
        }
        None
    }
}
