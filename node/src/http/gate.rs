//! Who may call.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use meshos_protocol::ids::Principal;
use warp::http::{HeaderMap, header::AUTHORIZATION};

use super::{address::Names, token::Token};
use crate::room::Room;

/// The path that needs no credential, so that whoever watches over processes needs none: it tells
/// whether the node is well and nothing of what runs.
const OPEN_PATH: &str = "/health";
/// Bytes of all bodies that are read and not yet answered, on both ports together.
pub(super) const BODIES_BYTES_MAX: usize = 64 << 20;
/// Who calls with the token alone.
pub(crate) const OPERATOR: &str = "operator";
/// Who calls a node that asks for no credential.
pub(crate) const ANYBODY: &str = "local";

/// Decides about each request by its head.
pub(super) struct Gate {
    names: Names,
    /// Absent when no credential is asked for.
    token: Option<Token>,
    bodies: Room,
}

/// Why a request is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub status: u16,
    pub message: String,
}

impl Gate {
    pub(super) fn new(names: Names, token: Option<Token>) -> Self {
        Self { names, token, bodies: Room::new(BODIES_BYTES_MAX) }
    }

    /// Room for bodies.
    pub(super) const fn bodies(&self) -> &Room {
        &self.bodies
    }

    /// Says who calls.
    ///
    /// # Errors
    /// When the request is for somebody else, comes from a foreign web page, or has no valid
    /// credential.
    pub(super) fn admit(&self, path: &str, headers: &HeaderMap) -> Result<String, Refused> {
        self.names.check(headers).map_err(|(status, message)| Refused { status, message })?;
        match &self.token {
            None => Ok(ANYBODY.to_owned()),
            Some(_) if path == OPEN_PATH => Ok(ANYBODY.to_owned()),
            Some(token) => caller(token, headers)
                .map_err(|message| Refused { status: 401, message: message.to_owned() }),
        }
    }
}

/// The user's name in basic credentials tells who calls; the token in them is what counts.
fn caller(token: &Token, headers: &HeaderMap) -> Result<String, &'static str> {
    const NONE: &str = "credentials are needed: send the token from the file http-token in the node's data directory, \
                        as a bearer token or as the password of basic credentials";
    const WRONG: &str = "the credentials are not those of this node";
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(NONE)?;
    if values.next().is_some() {
        return Err("the header Authorization is there twice");
    }
    let value = value.to_str().map_err(|_| WRONG)?;
    let (scheme, rest) = value.split_once(' ').ok_or(WRONG)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return if token.verify(rest.as_bytes()) { Ok(OPERATOR.to_owned()) } else { Err(WRONG) };
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = BASE64.decode(rest).map_err(|_| WRONG)?;
        let colon = decoded.iter().position(|byte| *byte == b':').ok_or(WRONG)?;
        let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
        if !token.verify(password) {
            return Err(WRONG);
        }
        let user = std::str::from_utf8(user).map_err(|_| "the user's name is not text in UTF-8")?;
        if user.is_empty() {
            return Ok(OPERATOR.to_owned());
        }
        let named = Principal::new(user).map_err(|_| "the user's name is not a valid principal")?;
        return Ok(named.to_string());
    }
    Err("expected credentials of the kind Bearer or Basic")
}
