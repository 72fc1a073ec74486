//! What must hold, one file for each rule; together they are the specification.
//!
//! The rules look at what really is (containers, committed entries) and at what frameworks were
//! told, and as little as possible at what the cores believe. A rule that is broken panics with a
//! sentence that says how.

mod accounted;
mod capacity;
mod checks;
mod conserved;
mod constraints;
mod demand;
mod drained;
mod fair_shares;
mod fencing;
mod health;
mod inverse_offers;
mod known_records;
mod known_tasks;
mod looked_at;
mod no_double_allocation;
mod offered_at_rest;
mod one_master;
mod quota_limits;
mod registry_forgets;
mod remembered;
mod replayed;
mod reservations;
mod start_once;
mod terminal_final;
mod truthful;
mod update_order;
mod updates_settled;
mod whole_groups;

pub use checks::{
    check_always, not_yet_emptied, not_yet_fair, not_yet_offered, not_yet_quiet, not_yet_settled,
};
pub use constraints::check as check_made;
pub use inverse_offers::check_asked;
pub use looked_at::LookedAt;
pub use registry_forgets::Memory as RegistryMemory;
pub use replayed::{BYTES_MAX as RECORDED_BYTES_MAX, check as check_replayed};
pub use reservations::check_offer;
