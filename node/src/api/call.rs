//! One call, its answer, and what goes wrong between them.

use meshos_protocol::messages::{
    node::Reply,
    scheduler::{CallError, CallErrorKind},
};
use serde::Serialize;

use super::packing;

/// The largest answer: with room to spare below the largest frame between nodes.
const ANSWER_BYTES_MAX: usize = 12 << 20;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// The text format that Prometheus reads.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How the answer of a node begins that knows no leader, so that another node can tell.
const NO_LEADER: &str = "no leader is known to this node right now";
/// How a failure begins of a call that a leader took and did not answer.
const LEADER_LOST: &str = "the leader ceased to lead before it answered";

/// A call of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// `GET`, `HEAD` or `POST`.
    pub method: String,
    /// With the query.
    pub path: String,
    /// The caller, as the entry node authenticated it.
    pub principal: String,
    /// The body.
    pub body: Vec<u8>,
    /// Whether another node passed it on; it is not passed on again.
    pub forwarded: bool,
}

impl Call {
    /// A read in the name of this node itself.
    pub(super) fn read(path: String) -> Self {
        let principal = "meshos".to_owned();
        Self { method: "GET".to_owned(), path, principal, body: Vec::new(), forwarded: false }
    }
}

/// What a call is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type of the body; empty when there is no body.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
    /// The methods that the path takes, in answers with status 405.
    pub allow: Option<&'static str>,
    /// Where the caller finds what it looks for, in answers with status 307.
    pub location: Option<String>,
    /// Whether the body is compressed with gzip.
    pub packed: bool,
}

/// Between nodes: what stands behind the media type of a body that is compressed.
const PACKED: &str = "; packed";

impl Answer {
    /// As the reply to another node, or to an operator.
    pub(crate) fn into_reply(self) -> Reply {
        if self.body.len() > ANSWER_BYTES_MAX {
            // Nodes are answered with what fits.
            let what = "the answer is too long for this connection: ask the node's HTTP port";
            return Self::error(400, what).into_reply();
        }
        let Self { status, mut content_type, body, allow: _, location: _, packed } = self;
        if packed {
            content_type += PACKED;
        }
        Reply::Http { status, content_type, body }
    }

    /// An answer that another node gave.
    pub(super) fn forwarded(status: u16, content_type: String, body: Vec<u8>) -> Self {
        let plain = content_type.strip_suffix(PACKED).map(str::to_owned);
        let packed = plain.is_some();
        let content_type = plain.unwrap_or(content_type);
        Self { status, content_type, body, allow: None, location: None, packed }
    }

    /// The way to another node.
    pub(super) fn redirect(location: String) -> Self {
        Self { location: Some(location), ..Self::empty(307) }
    }

    /// A value as JSON.
    ///
    /// # Errors
    /// When it is too large for one answer.
    pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Failure> {
        let body = serde_json::to_vec(value).map_err(|error| {
            Failure::unavailable(format!("the answer cannot be written: {error}"))
        })?;
        if body.len() > ANSWER_BYTES_MAX {
            return Err(Failure::invalid(format!(
                "the answer would have {} bytes, at most {ANSWER_BYTES_MAX} are sent: ask for its pages with \
                 picture= (any number) and offset=0, then offset= as each page says in \"next\"",
                body.len()
            )));
        }
        Ok(Self::new(200, JSON, body))
    }

    /// The same, compressed when it would not fit between nodes otherwise.
    ///
    /// # Errors
    /// When it does not fit even so.
    pub(super) fn packed_for_a_frame(self) -> Result<Self, Failure> {
        if self.body.len() <= ANSWER_BYTES_MAX {
            return Ok(self);
        }
        let body = packing::pack(&self.body).map_err(|error| {
            Failure::unavailable(format!("the answer cannot be packed: {error}"))
        })?;
        if body.len() > ANSWER_BYTES_MAX {
            return Err(Failure::invalid(format!(
                "the answer has {} bytes when it is compressed, and at most {ANSWER_BYTES_MAX} go from node to node: ask \
                 the leader itself, or for less",
                body.len()
            )));
        }
        Ok(Self { body, packed: true, ..self })
    }

    /// What is JSON already.
    pub(super) fn json_text(body: Vec<u8>) -> Self {
        Self::new(200, JSON, body)
    }

    /// What is in the form of this media type.
    pub(crate) fn of_media(content_type: &str, body: Vec<u8>) -> Self {
        Self::new(200, content_type, body)
    }

    /// Bytes of a file.
    pub(super) fn bytes(body: Vec<u8>) -> Self {
        Self::new(200, BYTES, body)
    }

    /// Metrics in the text format of Prometheus.
    pub(super) fn metrics(text: String) -> Self {
        Self::new(200, METRICS, text.into_bytes())
    }

    /// The same with another status.
    pub(super) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// An error: `{"error": "a whole sentence"}`.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        let body = serde_json::json!({ "error": message }).to_string();
        Self::new(status, JSON, body.into_bytes())
    }

    /// What an error says, as a sentence; else the body as it is.
    pub(crate) fn message(&self) -> String {
        let parsed: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let said = parsed.as_ref().and_then(|value| value["error"].as_str());
        said.map_or_else(|| String::from_utf8_lossy(&self.body).into_owned(), str::to_owned)
    }

    /// No body, and so no media type.
    pub(super) fn empty(status: u16) -> Self {
        Self::new(status, "", Vec::new())
    }

    /// A sentence without any form.
    pub(crate) fn plain(status: u16, message: &str) -> Self {
        if message.is_empty() {
            Self::empty(status)
        } else {
            Self::new(status, TEXT, message.into())
        }
    }

    /// Whether the answering node knew no leader, so that nothing was carried out.
    pub(super) fn is_no_leader(&self) -> bool {
        self.fails_with(NO_LEADER)
    }

    /// Whether the answering node ceased to lead before it knew what became of the call.
    pub(super) fn is_leader_lost(&self) -> bool {
        self.fails_with(LEADER_LOST)
    }

    /// Whether it is a failure that begins so.
    fn fails_with(&self, beginning: &str) -> bool {
        let start = format!("{{\"error\":\"{beginning}");
        self.status == 503 && self.body.starts_with(start.as_bytes())
    }

    fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let content_type = content_type.to_owned();
        Self { status, content_type, body, allow: None, location: None, packed: false }
    }
}

/// Why a call is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    status: u16,
    message: String,
    allow: Option<&'static str>,
}

impl Failure {
    /// Whether it says that there is no such thing.
    pub(super) const fn is_not_found(&self) -> bool {
        self.status == 404
    }

    /// Whether the same call may succeed in a moment.
    pub(super) const fn may_pass(&self) -> bool {
        self.status == 503
    }

    /// Of a thing that is not found, that it may be known to nodes that are not connected.
    pub(super) fn of_absent(mut self, nodes: usize) -> Self {
        if self.is_not_found() && nodes > 0 {
            let (are, they) =
                if nodes == 1 { ("node is", "it is") } else { ("nodes are", "they are") };
            self.message += &format!(
                "; {nodes} {are} not connected, and what ended there is known when {they} back"
            );
        }
        self
    }

    /// The sentence.
    pub(super) fn into_message(self) -> String {
        self.message
    }

    /// The call breaks a rule.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { status: 400, message: message.into(), allow: None }
    }

    /// There is no such thing.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self { status: 404, message: message.into(), allow: None }
    }

    /// There was such a thing, and it will not come back.
    pub(super) fn gone(message: impl Into<String>) -> Self {
        Self { status: 410, message: message.into(), allow: None }
    }

    /// The path takes other methods.
    pub(super) fn method(allow: &'static str) -> Self {
        let message = format!("this path takes {allow} only");
        Self { status: 405, message, allow: Some(allow) }
    }

    /// Not now.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self { status: 503, message: message.into(), allow: None }
    }

    /// Nobody is known to lead; `waiting` says what this node waits for, if it knows.
    pub(super) fn no_leader(waiting: &[String]) -> Self {
        let message = match waiting {
            [] => format!("{NO_LEADER}: an election may be under way, try again"),
            waiting => format!("{NO_LEADER}: {}", waiting.join("; ")),
        };
        Self::unavailable(message)
    }

    /// The call was passed on and not answered, for that reason.
    pub(super) fn fate_unknown(why: &str) -> Self {
        Self::unavailable(format!(
            "{why}; whether it was carried out is not known: look, and say it again if it was not"
        ))
    }

    /// The leader that had taken the call leads no more.
    pub(super) fn leader_lost() -> Self {
        Self::fate_unknown(LEADER_LOST)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let status = match error.kind {
            CallErrorKind::NoLeader | CallErrorKind::Busy => 503,
            CallErrorKind::Forbidden => 403,
            CallErrorKind::FrameworkRemoved => 404,
            CallErrorKind::Invalid
            | CallErrorKind::FailedOver
            | CallErrorKind::NotSubscribed
            | CallErrorKind::Unknown => 400,
        };
        Self { status, message: error.message, allow: None }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self { allow: failure.allow, ..Self::error(failure.status, &failure.message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_an_object_with_a_sentence() {
        let answer = Answer::from(Failure::not_found("there is no task \"x\""));
        assert_eq!(answer.status, 404);
        assert_eq!(answer.content_type, "application/json");
        assert_eq!(answer.body, br#"{"error":"there is no task \"x\""}"#);
    }

    #[test]
    fn a_node_tells_no_leader_from_other_trouble() {
        for waiting in [vec![], vec!["waiting for seed a:5050: it does not answer".to_owned()]] {
            assert!(Answer::from(Failure::no_leader(&waiting)).is_no_leader());
        }
        assert!(!Answer::from(Failure::unavailable("the disk is full")).is_no_leader());
        assert!(!Answer::error(400, NO_LEADER).is_no_leader());
        let lost = Answer::error(503, &Failure::leader_lost().to_string());
        assert!(lost.is_leader_lost() && !lost.is_no_leader());
    }

    #[test]
    fn a_long_answer_goes_from_node_to_node_compressed() {
        let long =
            || Answer::of_media("application/json", b"{\"id\":1}".repeat(ANSWER_BYTES_MAX / 4));
        let Reply::Http { status, content_type, body } = long().into_reply() else {
            panic!("not an answer");
        };
        assert_eq!((status, content_type.as_str()), (400, JSON), "{}", body.len());
        let packed = long().packed_for_a_frame().unwrap();
        let Reply::Http { status, content_type, body } = packed.clone().into_reply() else {
            panic!("not an answer");
        };
        assert!(body.len() < 1 << 20, "{}", body.len());
        let there = Answer::forwarded(status, content_type, body);
        assert_eq!(there, packed);
        assert_eq!(there.content_type, JSON);
        assert_eq!(packing::unpack(&there.body, 64 << 20).unwrap(), long().body);
        let short = Answer::of_media("application/json", b"{}".to_vec());
        assert_eq!(short.clone().packed_for_a_frame().unwrap(), short);
    }

    #[test]
    fn an_answer_too_large_for_a_frame_is_refused_and_says_what_to_do() {
        let failure = Answer::json(&"x".repeat(ANSWER_BYTES_MAX)).unwrap_err();
        assert_eq!(failure.status, 400);
        assert!(failure.message.contains("picture="), "{failure}");
    }
}
