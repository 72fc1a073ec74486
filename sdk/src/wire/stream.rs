//! Opening and answering streams.

use std::time::Duration;

use meshos_protocol::{
    codec::{self, FRAME_BYTES_MAX, WIRE_VERSION, WIRE_VERSION_MIN},
    messages::{Refusal, StreamAnswer, StreamHello},
    time::millis,
};

use super::{FrameReader, WireError, frame};

/// How long the other side of a new stream may take for its first frame.
const OPENING_MS: u64 = 10_000;

/// A stream that both sides agreed on.
#[derive(Debug)]
pub struct Opened {
    /// To write to.
    pub send: quinn::SendStream,
    /// To read from.
    pub reader: FrameReader,
}

/// Opens a stream and waits until the peer has accepted it.
///
/// # Errors
/// When the connection is lost, the peer refuses, or does not answer in time.
pub async fn open_stream(
    connection: &quinn::Connection,
    hello: &StreamHello,
) -> Result<Opened, WireError> {
    within(OPENING_MS, async {
        let lost = |error: quinn::ConnectionError| WireError::Lost(error.to_string());
        let (mut send, receive) = connection.open_bi().await.map_err(lost)?;
        write(&mut send, hello).await?;
        let mut reader = FrameReader::new(receive);
        match reader.read::<StreamAnswer>().await? {
            Some(StreamAnswer::Accepted { .. }) => {
                reader.limit_frames(FRAME_BYTES_MAX);
                Ok(Opened { send, reader })
            }
            Some(StreamAnswer::Refused { cause, message }) => {
                Err(WireError::Refused { cause, message })
            }
            Some(StreamAnswer::Unknown) => Err(WireError::Refused {
                cause: Refusal::Unknown,
                message: "the peer answered in a way that this release does not know".into(),
            }),
            None => Err(WireError::Lost("the peer closed the stream at once".into())),
        }
    })
    .await
}

/// Reads the hello of a stream that the peer opened, which must be there within `limit`.
///
/// # Errors
/// When the connection is lost, nothing arrives in time, or it is not a hello.
pub async fn read_hello(
    reader: &mut FrameReader,
    limit: Duration,
) -> Result<StreamHello, WireError> {
    let hello = within(millis(limit), reader.read::<StreamHello>()).await?;
    hello.ok_or_else(|| WireError::Lost("the peer closed the stream before its hello".into()))
}

/// Answers a hello: accepts it in the newest version that both sides speak, or refuses.
///
/// # Errors
/// When the stream is refused (also for want of a common version) or the connection is lost.
pub async fn answer_stream(
    send: &mut quinn::SendStream,
    hello: &StreamHello,
    verdict: Result<(), (Refusal, String)>,
) -> Result<(), WireError> {
    let refused = |(cause, message)| StreamAnswer::Refused { cause, message };
    let answer = match verdict.and_then(|()| common_version(hello)) {
        Ok(version) => StreamAnswer::Accepted { version },
        Err(refusal) => refused(refusal),
    };
    // A peer that takes nothing must not hold the stream open for that.
    within(OPENING_MS, write(send, &answer)).await?;
    match answer {
        StreamAnswer::Accepted { .. } => Ok(()),
        StreamAnswer::Refused { cause, message } => {
            // The peer reads the refusal first; finishing twice cannot happen here.
            let _finished = send.finish();
            Err(WireError::Refused { cause, message })
        }
        StreamAnswer::Unknown => Err(WireError::Protocol("answers are never unknown here".into())),
    }
}

fn common_version(hello: &StreamHello) -> Result<u32, (Refusal, String)> {
    let version = hello.version.min(WIRE_VERSION);
    if version >= hello.version_min.max(WIRE_VERSION_MIN) {
        return Ok(version);
    }
    let message = format!(
        "the peer speaks wire versions {} to {}, this node {WIRE_VERSION_MIN} to {WIRE_VERSION}: \
         upgrade one release at a time",
        hello.version_min, hello.version
    );
    Err((Refusal::Version, message))
}

async fn write<T: serde::Serialize>(
    send: &mut quinn::SendStream,
    value: &T,
) -> Result<(), WireError> {
    debug_assert!(codec::encode(value).len() < 4096, "opening frames are small");
    let bytes = frame(value)?;
    send.write_all(&bytes).await.map_err(|error| WireError::Lost(error.to_string()))
}

async fn within<T>(
    limit_ms: u64,
    work: impl Future<Output = Result<T, WireError>>,
) -> Result<T, WireError> {
    match tokio::time::timeout(Duration::from_millis(limit_ms), work).await {
        Ok(result) => result,
        Err(_) => Err(WireError::TimedOut(limit_ms)),
    }
}
