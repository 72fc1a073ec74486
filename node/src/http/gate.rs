//! Who may call.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use meshos_mesos::codec;
use meshos_protocol::ids::Principal;
use tokio::sync::Semaphore;
use warp::http::{HeaderMap, header::AUTHORIZATION};

use super::{
    address::Names, downloads::Slots, events::STREAMS_MAX, principals::Principals,
    routes::EXECUTOR_BODY_BYTES_MAX, token::Token,
};
use crate::{
    api::ANSWER_BYTES_MAX,
    budget::{Budget, Shares},
    driver::agent::Credential,
};

/// The paths that need no credential, so that whoever watches over processes needs none, and clients of Mesos's API, which ask
/// for the release without one: they tell whether the node is well and of which release it is, and nothing of what runs.
const OPEN_PATHS: [&str; 3] = ["/health", "/version", "/master/version"];

/// Whether what is at a path is told to anybody.
pub(super) fn is_open(path: &str) -> bool {
    OPEN_PATHS.contains(&path)
}

/// Bytes of the large bodies of frameworks.
pub(super) const FRAMEWORKS_BYTES_MAX: usize = 32 << 20;
/// Bytes of all other bodies: more than small ones on all the connections that a port may have.
pub(super) const OTHERS_BYTES_MAX: usize = 32 << 20;
/// Bytes of the bodies of executors, of which one has a quarter at most: one body of the largest.
pub(super) const EXECUTORS_BYTES_MAX: usize = 4 * EXECUTOR_BODY_BYTES_MAX;
/// A framework's body that counts as small.
const SMALL_BYTES_MAX: usize = 16 << 10;
/// Bytes of the long answers that are made or sent: four of the longest.
const ANSWERS_BYTES_MAX: usize = 4 * ANSWER_BYTES_MAX;
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// Who calls with the token alone.
const OPERATOR: &str = "operator";
/// Who calls a node that asks for no credential.
const ANYBODY: &str = "local";

/// Whether a caller of that name may speak for whom it says: whoever shows the token alone, or calls a node that asks
/// for none. No principal is called so.
pub(crate) fn speaks_for_all(caller: &str) -> bool {
    [ANYBODY, OPERATOR].contains(&caller)
}

/// Decides about each request by its head.
pub(super) struct Gate {
    names: Names,
    /// Absent when no credential is asked for.
    keys: Option<Keys>,
    bodies: Bodies,
    answers: Budget,
    /// Streams of events.
    watchers: Arc<Semaphore>,
    /// Files that are handed out.
    downloads: Slots,
}

/// What credentials are held against.
pub(super) struct Keys {
    /// Whoever has it may do everything, in any name.
    pub token: Token,
    /// Who else may call.
    pub principals: Option<Principals>,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// The name.
    pub principal: String,
    /// Whether it may change the cluster; all may read and run frameworks.
    pub operator: bool,
}

impl Caller {
    fn operator(principal: &str) -> Self {
        Self { principal: principal.to_owned(), operator: true }
    }

    /// Says whether it may change the cluster.
    ///
    /// # Errors
    /// When it may not.
    pub(super) fn may_change(&self) -> Result<(), Refused> {
        if self.operator {
            return Ok(());
        }
        let message = format!(
            "{} may read and run frameworks, and not change the cluster: that takes `operator = true` in the file of \
             principals",
            self.principal
        );
        Err(Refused { status: 403, message })
    }
}

/// Bounds of the bodies that are read and not yet answered, on both ports together.
pub(super) struct Bodies {
    /// For large ones to Mesos's scheduler API, of which frameworks may send many.
    pub frameworks: Budget,
    /// For all others, which must get through beside them.
    pub others: Budget,
    /// For those of executors, whose agent must hear of them whatever else comes, also from other executors.
    pub executors: Shares<Credential>,
    /// How long a request may take to send its body.
    pub limit: Duration,
}

impl Default for Bodies {
    fn default() -> Self {
        let [frameworks, others] = [FRAMEWORKS_BYTES_MAX, OTHERS_BYTES_MAX].map(Budget::new);
        let executors = Shares::new(EXECUTORS_BYTES_MAX, EXECUTOR_BODY_BYTES_MAX);
        Self { frameworks, others, executors, limit: BODY_LIMIT }
    }
}

/// Whose body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// A scheduler that speaks Mesos's API.
    Framework,
    /// An executor that does, counted as this one.
    Executor(Credential),
    /// Anybody else.
    Other,
}

impl Bodies {
    /// What a body of so many bytes is taken from.
    pub(super) fn budget(&self, sender: Sender, bytes: usize) -> Budget {
        match sender {
            Sender::Framework if bytes > SMALL_BYTES_MAX => self.frameworks.clone(),
            Sender::Framework | Sender::Other => self.others.clone(),
            Sender::Executor(credential) => self.executors.of(credential),
        }
    }
}

/// Why a request is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub status: u16,
    pub message: String,
}

impl From<codec::Refused> for Refused {
    fn from(codec::Refused { status, message }: codec::Refused) -> Self {
        Self { status, message }
    }
}

impl Gate {
    pub(super) fn new(names: Names, keys: Option<Keys>) -> Self {
        Self {
            names,
            keys,
            bodies: Bodies::default(),
            answers: Budget::new(ANSWERS_BYTES_MAX),
            watchers: Arc::new(Semaphore::new(STREAMS_MAX)),
            downloads: Slots::default(),
        }
    }

    /// With other bounds for bodies.
    #[cfg(test)]
    pub(super) fn with_bodies(self, bodies: Bodies) -> Self {
        Self { bodies, ..self }
    }

    /// Bounds of bodies.
    pub(super) const fn bodies(&self) -> &Bodies {
        &self.bodies
    }

    /// Places of streams of events.
    pub(super) fn watchers(&self) -> Arc<Semaphore> {
        Arc::clone(&self.watchers)
    }

    /// Places of files that are handed out.
    pub(super) const fn downloads(&self) -> &Slots {
        &self.downloads
    }

    /// Memory for long answers, from before they are made until they are sent.
    pub(super) const fn answers(&self) -> &Budget {
        &self.answers
    }

    /// Checks whom the request is for, and that no foreign web page sends it.
    ///
    /// # Errors
    /// When it is for somebody else, or one does.
    pub(super) fn check_names(&self, headers: &HeaderMap) -> Result<(), Refused> {
        self.names.check(headers).map_err(|(status, message)| Refused { status, message })
    }

    /// Says who calls.
    ///
    /// # Errors
    /// When the request is for somebody else, comes from a foreign web page, or has no valid
    /// credential.
    pub(super) fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Caller, Refused> {
        self.check_names(headers)?;
        match &self.keys {
            None => Ok(Caller::operator(ANYBODY)),
            Some(_) if is_open(path) => Ok(Caller::operator(ANYBODY)),
            Some(keys) => caller(keys, headers)
                .map_err(|message| Refused { status: 401, message: message.to_owned() }),
        }
    }
}

/// With the token, the user's name in basic credentials tells who calls; else the name's own secret counts.
fn caller(keys: &Keys, headers: &HeaderMap) -> Result<Caller, &'static str> {
    const NONE: &str = "credentials are needed: send the token from the file http-token in the node's data directory, \
                        as a bearer token or as the password of basic credentials";
    const WRONG: &str =
        "the credentials are neither this node's token nor those of a principal that it knows";
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(NONE)?;
    if values.next().is_some() {
        return Err("the header Authorization is there twice");
    }
    let value = value.to_str().map_err(|_| WRONG)?;
    let (scheme, rest) = value.split_once(' ').ok_or(WRONG)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        let right = keys.token.verify(rest.as_bytes());
        return if right { Ok(Caller::operator(OPERATOR)) } else { Err(WRONG) };
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = BASE64.decode(rest).map_err(|_| WRONG)?;
        let colon = decoded.iter().position(|byte| *byte == b':').ok_or(WRONG)?;
        let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
        let user = std::str::from_utf8(user).map_err(|_| "the user's name is not text in UTF-8")?;
        if keys.token.verify(password) {
            if user.is_empty() {
                return Ok(Caller::operator(OPERATOR));
            }
            let named = Principal::new(user);
            let named = named.map_err(|_| "the user's name is not a valid principal")?;
            return Ok(Caller::operator(named.as_str()));
        }
        let known = keys.principals.as_ref().and_then(|all| all.verify(user, password));
        let operator = known.ok_or(WRONG)?;
        return Ok(Caller { principal: user.to_owned(), operator });
    }
    Err("expected credentials of the kind Bearer or Basic")
}
