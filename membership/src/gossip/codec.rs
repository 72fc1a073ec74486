//! Chitchat's messages as bytes, and back.
//!
//! Chitchat keeps its encoding to itself and offers only a UDP socket that applies it. So that
//! socket is used as the codec, over loopback: what it sends is read back as bytes, and bytes sent
//! to it come out as a message. Both ends are on 127.0.0.1 and believe only each other.

use std::{io, net::SocketAddr, time::Duration};

use chitchat::{
    ChitchatEnvelope, ChitchatMessage, ProtocolVersion,
    transport::{Socket, UdpSocket as ChitchatSocket},
};
use tokio::{net::UdpSocket, time::timeout};

use super::seal::MESSAGE_BYTES_MAX;

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Loopback delivers at once or, when its buffer is full, never.
const LOOPBACK_TIMEOUT: Duration = Duration::from_secs(1);

/// Chitchat's magic number, the first protocol version, and "other cluster", its one message
/// without content. Sent after each message to be decoded: when it comes out first, the message
/// was not a valid one.
const SENTINEL: [u8; 4] = [0x53, 0xb0, 0, 3];

/// Why a message cannot be turned.
#[derive(Debug, thiserror::Error)]
pub(super) enum CodecError {
    #[error("the loopback codec failed: {0}")]
    Io(#[from] io::Error),
    #[error("the loopback codec failed: {0}")]
    Chitchat(anyhow::Error),
    #[error("the loopback codec lost a message")]
    Lost,
    #[error("not a gossip message")]
    Undecodable,
}

/// Turns messages into bytes.
pub(super) struct Encoder {
    chitchat: ChitchatSocket,
    /// Connected to `chitchat`, so the kernel drops what anybody else sends to it.
    relay: UdpSocket,
    relay_address: SocketAddr,
    buffer: Vec<u8>,
}

impl Encoder {
    pub(super) async fn open() -> Result<Self, CodecError> {
        let chitchat = ChitchatSocket::open(LOOPBACK).await.map_err(CodecError::Chitchat)?;
        let relay = UdpSocket::bind(LOOPBACK).await?;
        relay.connect(chitchat.local_addr().map_err(CodecError::Chitchat)?).await?;
        let relay_address = relay.local_addr()?;
        Ok(Self { chitchat, relay, relay_address, buffer: vec![0; MESSAGE_BYTES_MAX] })
    }

    /// The bytes of a message.
    pub(super) async fn encode(&mut self, envelope: ChitchatEnvelope) -> Result<&[u8], CodecError> {
        // What an earlier call gave up waiting for must not be taken for this message.
        while self.relay.try_recv(&mut self.buffer).is_ok() {}
        self.chitchat.send(self.relay_address, envelope).await.map_err(CodecError::Chitchat)?;
        let received = timeout(LOOPBACK_TIMEOUT, self.relay.recv(&mut self.buffer)).await;
        let length = received.map_err(|_| CodecError::Lost)??;
        Ok(&self.buffer[..length])
    }
}

/// Turns bytes into messages.
pub(super) struct Decoder {
    relay: UdpSocket,
    relay_address: SocketAddr,
}

impl Decoder {
    pub(super) async fn open() -> Result<Self, CodecError> {
        let relay = UdpSocket::bind(LOOPBACK).await?;
        let relay_address = relay.local_addr()?;
        Ok(Self { relay, relay_address })
    }

    /// The message in these bytes.
    ///
    /// Chitchat's socket cannot be told whom to listen to, so it lives for one message only: other
    /// processes of this machine have no time to find it, and what they send is not taken.
    pub(super) async fn decode(&self, bytes: &[u8]) -> Result<ChitchatEnvelope, CodecError> {
        if let [0x53, 0xb0, version, 3] = bytes {
            let version = ProtocolVersion::from_code(*version).ok_or(CodecError::Undecodable)?;
            return Ok(ChitchatEnvelope { version, message: ChitchatMessage::BadCluster });
        }
        let mut chitchat = ChitchatSocket::open(LOOPBACK).await.map_err(CodecError::Chitchat)?;
        let address = chitchat.local_addr().map_err(CodecError::Chitchat)?;
        self.relay.send_to(bytes, address).await?;
        self.relay.send_to(&SENTINEL, address).await?;
        let first = async {
            loop {
                let outcome = chitchat.recv().await.map_err(CodecError::Chitchat)?;
                if outcome.from_addr == self.relay_address {
                    return Ok::<_, CodecError>(outcome.envelope);
                }
            }
        };
        let envelope = timeout(LOOPBACK_TIMEOUT, first).await.map_err(|_| CodecError::Lost)??;
        match envelope.message {
            ChitchatMessage::BadCluster => Err(CodecError::Undecodable),
            _ => Ok(envelope),
        }
    }
}
