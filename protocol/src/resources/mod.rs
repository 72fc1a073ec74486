//! Resources: what nodes have, offers give and tasks take.
//!
//! A [`Resource`] is a name, [`Metadata`] (for whom it is reserved, and what
//! else tells it apart) and a [`Value`]: a scalar as
//! an exact [`Amount`] in thousandths, [`Ranges`] of whole numbers, or a [`Set`] of words.
//! [`Resources`] is a normalised collection of them with an algebra, in which nothing is lost or
//! made by rounding: no amount ever passes through a float.
//!
//! `mem` and `disk` are in MB, `cpus` in cores, `gpus` in whole devices, `ports` are ranges.
//!
//! # Text form
//!
//! ```text
//! resources = [ entry { ";" entry } [ ";" ] ]
//! entry     = name [ "(" role ")" | "{revocable}" ] ":" value
//! value     = number | "[" [ range { "," range } ] "]" | "{" [ item { "," item } ] "}"
//! range     = whole "-" whole
//! ```
//!
//! `cpus:24;gpus:2;mem:24576;disk:409600;ports:[21000-24000,30000-34000];bugs(debug):{a,b,c}`
//!
//! `cpus{revocable}:4` is what may be taken back at any time: see [`Metadata::revocable`].
//!
//! White space is allowed between all parts. Entries of the same name and role (or none, or revocable) add up: amounts are
//! summed, ranges and sets united. Entries that hold nothing (`cpus:0`, `ports:[]`) are accepted
//! and vanish. What is printed is canonical: unreserved resources first, then revocable ones, then role by role; in
//! each cpus, gpus, mem, disk, ports, then the other names in alphabetical order.

mod amount;
mod collection;
mod detected;
mod disk;
mod find;
mod metadata;
mod name;
mod quantities;
mod ranges;
mod reservation;
mod resource;
mod set;
mod take;
mod text;
mod value;
mod wire;

pub use crate::text::{Found, NAME_BYTES_MAX, TEXT_BYTES_MAX, TextError, TextErrorKind};
pub use amount::Amount;
pub use collection::{NotContained, Resources};
pub use detected::detected;
pub use disk::{Disk, DiskKind, DiskSource, Volume};
pub use metadata::{Metadata, MetadataError};
pub use name::{CustomName, ResourceName};
pub use quantities::ScalarQuantities;
pub use ranges::{RANGES_MAX, RANGES_WIRE_MAX, Range, Ranges};
pub use reservation::{RESERVATION_LABELS_MAX, Reservation, ReservationError, ReservationKind};
pub use resource::{AMOUNT_MAX, ENTRIES_MAX, Resource, ResourceError};
pub use set::{SET_ITEMS_MAX, Set, SetError};
pub use value::{Value, ValueKind};
pub(crate) use wire::Bounded;

#[cfg(test)]
mod tests;
