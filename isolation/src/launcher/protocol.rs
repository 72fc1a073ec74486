//! What node and launcher say to each other: frames of MessagePack over a unix socket.
//!
//! A launcher may be older or newer than the node that talks to it, because it lives on when the node is upgraded. So
//! the node names the versions that it speaks and the launcher chooses one; fields have names and may be added; a call
//! or a message of an unknown kind is answered or passed over, never an end of the connection.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::container::{Command, ContainerId};
use crate::containerizer::ExitStatus;

/// The versions that this release speaks, the newest first.
pub(crate) const VERSIONS: [u32; 1] = [1];
/// The largest frame, in bytes. A launch holds at most what the kernel takes as arguments and environment (2 MB); the
/// welcome lists at most [`super::table::CONTAINERS_MAX`] containers of about 150 bytes.
pub(crate) const FRAME_BYTES_MAX: usize = 8 << 20;
/// How deep values may nest: messages need 6 levels.
const DEPTH_MAX: usize = 32;
/// The length before each frame: 4 bytes, big-endian.
const PREFIX_BYTES: usize = 4;

/// From the node to the launcher.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Chosen by the node, repeated in the answer.
    pub(crate) id: u64,
    pub(crate) call: Call,
}

/// What the node asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Call {
    /// The first call on a connection. Answered by [`Message::Welcome`] or [`Message::Refused`].
    Hello { versions: Vec<u32> },
    /// Start a container.
    Launch(Box<Launch>),
    /// Signal a container's processes.
    Terminate { container: ContainerId },
    /// Kill everything in a container; answered when nothing is left of it.
    Destroy { container: ContainerId },
    /// Kill leftovers and forget a container that has ended.
    Release { container: ContainerId },
    /// Execute another binary in this process; answered only when that failed.
    Upgrade { runtime: String },
    /// End the launcher; refused while containers run, unless they are to be killed.
    Stop { kill: bool },
    /// A call that this release does not know.
    #[serde(other)]
    Unknown,
}

/// A container to start, with everything decided: no look-up is left to the launcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) container: ContainerId,
    pub(crate) command: Command,
    /// `NAME=value` each, with the mark first.
    pub(crate) environment: Vec<String>,
    pub(crate) sandbox: String,
    /// Whom to become; none leaves the launcher's own user.
    #[serde(default)]
    pub(crate) ids: Option<LaunchIds>,
    /// Cgroup directories to enter.
    #[serde(default)]
    pub(crate) cgroups: Vec<String>,
    /// The cgroup that tells who is in the container; none means by session and descent.
    #[serde(default)]
    pub(crate) tracking: Option<String>,
    /// What every process of the container has in its environment.
    pub(crate) mark: String,
    /// The container within whose limits it runs: it is not started once that has ended, and ends with it. What it prints goes
    /// nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inside: Option<ContainerId>,
}

/// Numbers of a user and its groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaunchIds {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    #[serde(default)]
    pub(crate) groups: Vec<u32>,
}

/// From the launcher to the node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Message {
    /// The answer to a hello that can be spoken with.
    Welcome(Welcome),
    /// The answer to a hello that cannot.
    Refused { reason: String },
    /// The answer to the call of that id.
    Reply { id: u64, answer: Answer },
    /// A container has ended. Told on every connection until it is released.
    Exited { container: ContainerId, status: ExitStatus },
    /// A newer connection has taken this one's place.
    Replaced,
    /// A message that this release does not know.
    #[serde(other)]
    Unknown,
}

/// Who the launcher is and what it knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// The version chosen.
    pub(crate) version: u32,
    /// The release that the launcher is of.
    pub(crate) release: String,
    pub(crate) pid: u32,
    /// How often this process has replaced itself.
    pub(crate) incarnation: u32,
    pub(crate) containers: Vec<Known>,
}

/// A container that the launcher holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) container: ContainerId,
    pub(crate) pid: u32,
    /// None while it runs.
    #[serde(default)]
    pub(crate) status: Option<ExitStatus>,
}

/// How a call went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(crate) enum Answer {
    Started {
        pid: u32,
    },
    Done,
    Failed {
        kind: FailureKind,
        reason: String,
    },
    #[serde(other)]
    Unknown,
}

/// What kind of failure it was, as far as the node treats it differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FailureKind {
    /// The container exists already.
    Exists,
    /// The sandbox could not be entered.
    Sandbox,
    /// The user could not be changed.
    User,
    /// A cgroup could not be entered, or no process could be made.
    Isolation,
    /// The command could not be executed.
    Exec,
    /// Anything else: the reason says it.
    #[serde(other)]
    Other,
}

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {0} bytes is over the limit of {FRAME_BYTES_MAX}")]
    TooLong(usize),
    #[error("a frame cannot be decoded: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    #[error("a frame has {0} bytes after its message")]
    Trailing(usize),
}

/// Appends `value` as a frame.
pub(crate) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    let written = value
        .serialize(&mut rmp_serde::Serializer::new(&mut *out).with_struct_map())
        .map_err(io::Error::other)
        .and_then(|()| prefix(out.len() - start - PREFIX_BYTES));
    match written {
        Ok(prefix) => {
            out[start..start + PREFIX_BYTES].copy_from_slice(&prefix);
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

fn prefix(length: usize) -> io::Result<[u8; PREFIX_BYTES]> {
    let fits = u32::try_from(length).ok().filter(|_| length <= FRAME_BYTES_MAX);
    let length = fits.ok_or_else(|| io::Error::other(FrameError::TooLong(length)))?;
    Ok(length.to_be_bytes())
}

/// Takes one frame off the front of `bytes`: the message and how many bytes it took; none when it is not all there yet.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<(T, usize)>, FrameError> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong(length));
    }
    let Some(frame) = rest.get(..length) else { return Ok(None) };
    let message = decode_one(frame)?;
    Ok(Some((message, PREFIX_BYTES + length)))
}

/// Decodes exactly one value, which fills `bytes`.
pub(crate) fn decode_one<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let mut rest = bytes;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
    deserializer.set_max_depth(DEPTH_MAX);
    let value = T::deserialize(&mut deserializer)?;
    drop(deserializer);
    if rest.is_empty() { Ok(value) } else { Err(FrameError::Trailing(rest.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Serialize + DeserializeOwned>(value: &T) -> T {
        let mut bytes = Vec::new();
        encode(value, &mut bytes).unwrap();
        assert!(decode::<T>(&bytes[..bytes.len() - 1]).unwrap().is_none(), "not all there yet");
        let (decoded, used) = decode(&bytes).unwrap().unwrap();
        assert_eq!(used, bytes.len());
        decoded
    }

    fn id() -> ContainerId {
        ContainerId::new("c-1").unwrap()
    }

    #[test]
    fn calls_and_messages_survive_the_way() {
        let launch = Launch {
            container: id(),
            command: Command::Exec { path: "x".to_owned(), args: vec!["y".to_owned()] },
            environment: vec!["A=b".to_owned()],
            sandbox: "/s".to_owned(),
            ids: Some(LaunchIds { uid: 1, gid: 2, groups: vec![3] }),
            cgroups: vec!["/c".to_owned()],
            tracking: None,
            mark: "m".to_owned(),
            inside: Some(id()),
        };
        let request = Request { id: 7, call: Call::Launch(Box::new(launch.clone())) };
        let Call::Launch(decoded) = round_trip(&request).call else { panic!("another call") };
        assert_eq!(*decoded, launch);
        let status = ExitStatus::Unreadable { reason: "why".to_owned() };
        let exited = Message::Exited { container: id(), status: status.clone() };
        let Message::Exited { status: decoded, .. } = round_trip(&exited) else {
            panic!("another")
        };
        assert_eq!(decoded, status);
        let failed = Answer::Failed { kind: FailureKind::Exec, reason: "r".to_owned() };
        assert_eq!(round_trip(&failed), failed);
    }

    #[test]
    fn what_a_newer_release_adds_is_tolerated() {
        #[derive(Serialize)]
        #[serde(tag = "type")]
        enum NewCall {
            Freeze { container: String, depth: u32 },
            Terminate { container: String, grace_ms: u64 },
        }
        #[derive(Serialize)]
        struct NewRequest {
            id: u64,
            priority: u8,
            call: NewCall,
        }
        let decoded = |call| {
            let mut bytes = Vec::new();
            encode(&NewRequest { id: 1, priority: 2, call }, &mut bytes).unwrap();
            decode::<Request>(&bytes).unwrap().unwrap().0.call
        };
        let freeze = NewCall::Freeze { container: "c".to_owned(), depth: 1 };
        assert!(matches!(decoded(freeze), Call::Unknown));
        let terminate = NewCall::Terminate { container: "c-1".to_owned(), grace_ms: 1 };
        assert!(matches!(decoded(terminate), Call::Terminate { .. }));
    }

    #[test]
    fn hostile_bytes_are_errors() {
        let huge = [0xff, 0xff, 0xff, 0xff, 0];
        assert!(matches!(decode::<Request>(&huge), Err(FrameError::TooLong(_))));
        let trailing = [0, 0, 0, 2, 0x01, 0x01];
        assert!(matches!(decode::<u8>(&trailing), Err(FrameError::Trailing(1))));
        let mut deep = vec![0, 0, 1, 0];
        deep.resize(4 + 256, 0x91);
        assert!(matches!(decode::<Request>(&deep), Err(FrameError::Decode(_))));
        assert!(decode::<Request>(&[]).unwrap().is_none());
    }
}
