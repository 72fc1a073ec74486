//! Frames over QUIC streams: shared by the driver here and by the node.
//!
//! Not part of the interface for framework authors; it may change with any release.

mod dial;
mod frame;
mod local;
mod pinned;
mod refused;
mod stream;
mod tls;

pub use dial::{Socket, connect};
pub use frame::{FrameReader, FrameSender, OPENING_BYTES_MAX, WriterOptions, frame, spawn_writer};
pub use local::{LocalReader, connect_local, short_path};
pub use pinned::AuthorityCheck;
pub use refused::lost;
pub use stream::{Opened, answer_stream, open_stream, read_hello};
pub use tls::{
    ANY_NODE_NAME, Credentials, Idle, allow_streams, client_config, joining_config,
    node_server_name, provider, server_config,
};

use meshos_protocol::{codec::DecodeError, messages::Refusal};

/// Why a stream ended or could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WireError {
    /// The connection or stream broke.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The peer sent something that is not a frame of this stream.
    #[error("peer broke the protocol: {0}")]
    Protocol(String),
    /// The peer refused the stream.
    #[error("refused by the peer: {message}")]
    Refused {
        /// For programs.
        cause: Refusal,
        /// For people.
        message: String,
    },
    /// Keys or certificates cannot be used.
    #[error("credentials cannot be used: {0}")]
    Credentials(String),
    /// What was to be sent does not fit: the peer reads too slowly.
    #[error("peer reads too slowly: {0} frames are waiting")]
    Full(usize),
    /// Nothing arrived in time.
    #[error("no answer within {0} ms")]
    TimedOut(u64),
}

impl From<DecodeError> for WireError {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error.to_string())
    }
}
