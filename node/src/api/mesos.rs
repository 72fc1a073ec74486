//! What tools made for Mesos read and change: the older endpoints, and the operator API.
//!
//! They stand under `/mesos/` here, whatever they are called outside: so nodes pass them on to the leader.

mod change;
mod cluster;
mod events;
mod files;
mod own;
mod read;

use meshos_mesos::codec::Media;

pub(crate) use change::OlderChange;
pub(super) use change::route as change_route;
pub(super) use cluster::MESSAGES_BYTES_MAX;
pub(super) use events::Watched;
pub(super) use files::FilesRequest;
pub(crate) use files::{FileFacts, PIECE_BYTES};
pub(super) use own::{Started, Statistics};
pub(crate) use read::{OperatorApi, OperatorCall};
pub(super) use read::{Own, Reading, route};

/// How paths between nodes name an encoding.
const fn word(media: Media) -> &'static str {
    match media {
        Media::Json => "json",
        Media::Protobuf => "protobuf",
    }
}

/// The longest answer, in bytes, before it is compressed.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 20;
