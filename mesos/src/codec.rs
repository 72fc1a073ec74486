//! Bytes to messages and back, in both encodings, and the choice between them.

use std::io;

use prost::Message;
use serde::Serialize;
use serde_json::ser::Formatter;

use crate::{
    convert::event,
    json::{self, FromJson, Mismatch},
    recordio, schema,
    weight::{self, MEMORY_MAX, Scale, Unfit, Weigh},
};

/// The most that one call may take in memory, in bytes.
pub const CALL_MEMORY_MAX: usize = MEMORY_MAX;
/// What calls are named in errors.
const CALL: &str = "Call";
/// The status of what would take too much memory.
const TOO_LARGE: u16 = 413;

/// The text of each status that is no success; the body is plain text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// For whoever reads it.
    pub message: String,
}

impl Refused {
    /// A refusal with this status.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `application/json`.
    Json,
    /// `application/x-protobuf`.
    Protobuf,
}

impl Media {
    /// The media type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }

    fn named(name: &str) -> Option<Self> {
        let same = |media: Self| name.eq_ignore_ascii_case(media.name()).then_some(media);
        same(Self::Json).or_else(|| same(Self::Protobuf))
    }

    /// The media type of a body, by its header; parameters such as `charset` are ignored.
    ///
    /// # Errors
    /// When there is none, or it is neither.
    pub fn of_content(content_type: Option<&str>) -> Result<Self, Refused> {
        let Some(content_type) = content_type else {
            return Err(Refused::new(400, "Expecting 'Content-Type' to be present"));
        };
        let name = content_type.split(';').next().unwrap_or_default().trim();
        Self::named(name).ok_or_else(|| {
            let message = format!(
                "Expecting 'Content-Type' of {} or {}",
                Self::Json.name(),
                Self::Protobuf.name()
            );
            Refused::new(415, message)
        })
    }

    /// The media type of an answer, by what the client accepts: JSON unless it takes protobuf alone.
    ///
    /// # Errors
    /// When it takes neither.
    pub fn acceptable(accept: Option<&str>) -> Result<Self, Refused> {
        let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
            return Ok(Self::Json);
        };
        let takes = |media: Self| accept.split(',').any(|range| covers(range, media));
        [Self::Json, Self::Protobuf].into_iter().find(|media| takes(*media)).ok_or_else(|| {
            let message = format!(
                "Expecting 'Accept' to allow {} or {}",
                Self::Json.name(),
                Self::Protobuf.name()
            );
            Refused::new(406, message)
        })
    }
}

/// Whether one range of an `Accept` header covers the media type; a quality of zero excludes it.
fn covers(range: &str, media: Media) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let excluded = parts.any(|parameter| {
        let quality = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
        quality.is_some_and(|quality| quality.parse() == Ok(0.0))
    });
    let named = name == "*/*" || name.eq_ignore_ascii_case("application/*");
    !excluded && (named || Media::named(name) == Some(media))
}

/// Reads a call of the scheduler API, and tells how many bytes of memory that took at most.
///
/// # Errors
/// When the bytes are no such message, or it would take too much memory.
pub fn read_call(media: Media, body: &[u8]) -> Result<(schema::Call, usize), Refused> {
    read(media, body, CALL)
}

/// Tells, without making anything of it, within how many bytes of memory [`read_call_within`] is likely to
/// read a call: in protobuf it always does.
///
/// # Errors
/// When the bytes are no such message, or it would take too much memory.
pub fn weigh_call(media: Media, body: &[u8]) -> Result<usize, Refused> {
    let mut scale = Scale::of(body);
    match media {
        Media::Protobuf => weight::weigh::<schema::Call>(body, &mut scale),
        // As much again for the message that is made of the text's parts.
        Media::Json => weight::weigh_json(body, &mut scale).map(|()| scale.double()),
    }
    .map_err(|unfit| unfit_for(unfit, &failed(media, CALL), &scale))?;
    Ok(scale.bytes())
}

/// The same as [`read_call`] within so many bytes of memory; nothing when it takes more.
///
/// # Errors
/// When the bytes are no such message, or it would take more memory than any call may.
pub fn read_call_within(
    media: Media,
    body: &[u8],
    memory_max: usize,
) -> Result<Option<(schema::Call, usize)>, Refused> {
    match read_within(media, body, CALL, Scale::of(body).within(memory_max)) {
        Err(refused) if refused.status == TOO_LARGE && memory_max < MEMORY_MAX => Ok(None),
        read => read.map(Some),
    }
}

/// The most that a call of the executor API may take in memory, in bytes: executors that come back say at once what
/// nobody has acknowledged.
pub const EXECUTOR_CALL_MEMORY_MAX: usize = 32 << 20;

/// Reads a call of the executor API.
///
/// # Errors
/// When the bytes are no such message, or it would take too much memory.
pub fn read_executor_call(media: Media, body: &[u8]) -> Result<schema::ExecutorCall, Refused> {
    let scale = Scale::of(body).within(EXECUTOR_CALL_MEMORY_MAX);
    read_within(media, body, CALL, scale).map(|(call, _)| call)
}

/// The most that a call of the operator API may take in memory, in bytes: they are made by hand or by a script, and
/// read on the spot.
const OPERATOR_CALL_MEMORY_MAX: usize = 8 << 20;

/// Reads a call of the operator API of masters or of agents.
///
/// # Errors
/// When the bytes are no such message, or it would take too much memory.
pub(crate) fn read_operator_call<M: Message + FromJson + Default>(
    media: Media,
    body: &[u8],
) -> Result<M, Refused> {
    let scale = Scale::of(body).within(OPERATOR_CALL_MEMORY_MAX);
    read_within(media, body, CALL, scale).map(|(call, _)| call)
}

/// Reads JSON that becomes part of such a call.
///
/// # Errors
/// When it is none, or would take too much memory.
pub(crate) fn read_json_value(body: &[u8]) -> Result<serde_json::Value, Refused> {
    let mut scale = Scale::of(body).within(OPERATOR_CALL_MEMORY_MAX);
    let failed = failed(Media::Json, CALL);
    weight::weigh_json(body, &mut scale).map_err(|unfit| unfit_for(unfit, &failed, &scale))?;
    parse_json(body)
}

/// Reads a message of the schema.
///
/// # Errors
/// When the bytes are no such message, it would take too much memory, or something is missing in it.
pub(crate) fn read<M: Message + FromJson + Default>(
    media: Media,
    body: &[u8],
    what: &str,
) -> Result<(M, usize), Refused> {
    read_within(media, body, what, Scale::of(body))
}

fn read_within<M: Message + FromJson + Default>(
    media: Media,
    body: &[u8],
    what: &str,
    scale: Scale,
) -> Result<(M, usize), Refused> {
    let failed = failed(media, what);
    let (message, scale) = match media {
        Media::Json => read_json(body, scale, &failed)?,
        Media::Protobuf => read_protobuf(body, scale, &failed)?,
    };
    let missing = json::all_missing(&message);
    if missing.is_empty() {
        return Ok((message, scale.bytes()));
    }
    let missing = missing.join(", ");
    Err(Refused::new(400, format!("{failed}: Missing required fields: {missing}")))
}

fn failed(media: Media, what: &str) -> String {
    match media {
        Media::Json => format!("Failed to convert JSON into {what} protobuf"),
        Media::Protobuf => format!("Failed to parse body into {what} protobuf"),
    }
}

fn read_json<M: FromJson>(
    body: &[u8],
    mut scale: Scale,
    failed: &str,
) -> Result<(M, Scale), Refused> {
    weight::weigh_json(body, &mut scale).map_err(|unfit| unfit_for(unfit, failed, &scale))?;
    let value = parse_json(body)?;
    let max = scale.bytes_max();
    json::weigh_and_read(value, scale).map_err(|error| match error {
        Mismatch::TooHeavy => too_heavy(failed, max),
        Mismatch::Kind { .. } => Refused::new(400, format!("{failed}: {error}")),
    })
}

fn read_protobuf<M: Message + Weigh + Default>(
    body: &[u8],
    mut scale: Scale,
    failed: &str,
) -> Result<(M, Scale), Refused> {
    weight::weigh::<M>(body, &mut scale).map_err(|unfit| unfit_for(unfit, failed, &scale))?;
    let decoded = M::decode(body);
    let message = decoded.map_err(|error| Refused::new(400, format!("{failed}: {error}")))?;
    Ok((message, scale))
}

fn parse_json(body: &[u8]) -> Result<serde_json::Value, Refused> {
    serde_json::from_slice(body)
        .map_err(|error| Refused::new(400, format!("Failed to parse body into JSON: {error}")))
}

fn unfit_for(unfit: Unfit, failed: &str, scale: &Scale) -> Refused {
    match unfit {
        Unfit::Malformed(why) => Refused::new(400, format!("{failed}: {why}")),
        Unfit::TooHeavy => too_heavy(failed, scale.bytes_max()),
    }
}

fn too_heavy(failed: &str, bytes_max: usize) -> Refused {
    let why =
        format!("it would take more than {bytes_max} bytes of memory: make several calls of it");
    Refused::new(TOO_LARGE, format!("{failed}: {why}"))
}

/// A message that can be written in either encoding.
pub trait Outgoing: Message + Serialize {}

impl<M: Message + Serialize> Outgoing for M {}

/// The message in one encoding: JSON on one line and in ASCII, since clients count characters where
/// they should count bytes.
#[must_use]
pub fn write<M: Outgoing>(media: Media, message: &M) -> Vec<u8> {
    match media {
        Media::Protobuf => message.encode_to_vec(),
        Media::Json => {
            let mut bytes = Vec::with_capacity(256);
            let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Ascii);
            message
                .serialize(&mut serializer)
                .expect("messages are plain data that always serialises");
            bytes
        }
    }
}

/// Any value as JSON, in the same form.
///
/// # Errors
/// Those of the writer.
pub fn write_json<W: io::Write, T: Serialize>(writer: W, value: &T) -> serde_json::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(writer, Ascii))
}

/// The message as a record of a stream.
#[must_use]
pub fn record<M: Outgoing>(media: Media, message: &M) -> Vec<u8> {
    recordio::encode(&write(media, message))
}

/// The largest record: some clients refuse those above 4 MiB.
const RECORD_BYTES_MAX: usize = 3 << 20;

/// The event as records of a stream: one, unless it holds more offers than one record can.
#[must_use]
pub fn records(media: Media, event: schema::Event) -> Vec<Vec<u8>> {
    let record = record(media, &event);
    let several = event.offers.as_ref().is_some_and(|offers| offers.offers.len() > 1);
    if record.len() <= RECORD_BYTES_MAX || !several {
        return vec![record];
    }
    let mut offers = event.offers.map(|offers| offers.offers).unwrap_or_default();
    let second = offers.split_off(offers.len() / 2);
    [offers, second].into_iter().flat_map(|part| records(media, event::offers(part))).collect()
}

/// Writes what is not ASCII as `\uXXXX`.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.is_ascii() {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            if character.is_ascii() {
                write!(writer, "{character}")?;
            } else {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
