//! Who a peer is, as its certificate says.

use std::fmt;

use meshos_protocol::ids::{NodeId, Principal};
use ring::digest;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer, X509Version},
};

use super::KeyError;

const WHAT: &str = "certificate";
const URI_SCHEME: &str = "meshos:";
/// The name that every node has beside its own: for callers that may talk to any of them.
pub const ANY_NODE_NAME: &str = "node.meshos";

/// What a peer may be. Each kind may make its own calls and no others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerKind {
    /// A node of the cluster. Whether it is a voter is never read from here.
    Node(NodeId),
    /// A framework of this principal.
    Framework(Principal),
    /// A person or script that operates the cluster.
    Operator(Principal),
}

impl PeerKind {
    /// The form in which a certificate carries kind and name, exactly.
    pub(super) fn to_uri(&self) -> String {
        match self {
            Self::Node(node_id) => format!("{URI_SCHEME}node:{node_id}"),
            Self::Framework(name) => {
                format!("{URI_SCHEME}framework:{}", percent_encode(name.as_str()))
            }
            Self::Operator(name) => {
                format!("{URI_SCHEME}operator:{}", percent_encode(name.as_str()))
            }
        }
    }

    /// The kind and name that print exactly as `uri`.
    fn from_uri(uri: &str) -> Option<Self> {
        let (kind, name) = uri.strip_prefix(URI_SCHEME)?.split_once(':')?;
        let principal = || Principal::new(&percent_decode(name)?).ok();
        let parsed = match kind {
            "node" => Self::Node(name.parse().ok()?),
            "framework" => Self::Framework(principal()?),
            "operator" => Self::Operator(principal()?),
            _ => return None,
        };
        (parsed.to_uri() == uri).then_some(parsed)
    }
}

impl fmt::Display for PeerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node_id) => write!(f, "node {node_id}"),
            Self::Framework(name) => write!(f, "framework {name}"),
            Self::Operator(name) => write!(f, "operator {name}"),
        }
    }
}

/// The name under which TLS knows a node: pass it as the server name when connecting to that node.
pub fn node_server_name(node_id: NodeId) -> String {
    format!("{node_id}.{ANY_NODE_NAME}")
}

/// SHA-256 of the certificate.
pub fn certificate_fingerprint(certificate: &[u8]) -> [u8; 32] {
    let sum = digest::digest(&digest::SHA256, certificate);
    sum.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// What it is, and its name.
    pub kind: PeerKind,
    /// SHA-256 of its certificate, for logs.
    pub fingerprint: [u8; 32],
    /// When its certificate ends, in seconds since 1970.
    pub not_after_unix_s: i64,
}

impl PeerIdentity {
    /// Reads kind and name from a certificate that TLS has already verified against the cluster's
    /// authority: signature, chain and validity are not looked at here.
    ///
    /// # Errors
    /// [`KeyError::Refused`] for a certificate that this version would not have made: an authority,
    /// more than one name, an unknown kind, a name that does not read back exactly.
    pub fn from_certificate(der: &[u8]) -> Result<Self, KeyError> {
        let refused = |reason: &str| KeyError::refused(WHAT, reason);
        let (rest, certificate) = X509Certificate::from_der(der)
            .map_err(|_| refused("it is not an X.509 certificate"))?;
        if !rest.is_empty() || certificate.version() != X509Version::V3 {
            return Err(refused("it is not a plain X.509 version 3 certificate"));
        }
        if certificate.is_ca() {
            return Err(refused("it is an authority, not a peer"));
        }
        let usage = certificate.extended_key_usage().map_err(|_| refused("damaged key usage"))?;
        if !usage.is_some_and(|usage| usage.value.client_auth) {
            return Err(refused("it may not be used to authenticate"));
        }
        let kind = kind(&certificate)?;
        Ok(Self {
            kind,
            fingerprint: certificate_fingerprint(der),
            not_after_unix_s: certificate.validity().not_after.timestamp(),
        })
    }

    /// The node that the peer is, when it is one.
    pub fn node_id(&self) -> Option<NodeId> {
        match self.kind {
            PeerKind::Node(node_id) => Some(node_id),
            PeerKind::Framework(_) | PeerKind::Operator(_) => None,
        }
    }
}

/// Exactly the names that the authority writes for one kind, and no other.
fn kind(certificate: &X509Certificate<'_>) -> Result<PeerKind, KeyError> {
    let refused = |reason: &str| KeyError::refused(WHAT, reason);
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| refused("damaged names"))?
        .ok_or_else(|| refused("it names nobody"))?;
    let mut uri = None;
    let mut dns = Vec::new();
    for name in &names.value.general_names {
        match name {
            GeneralName::URI(text) if uri.is_none() => uri = Some(*text),
            GeneralName::URI(_) => return Err(refused("it has more than one name")),
            GeneralName::DNSName(text) => dns.push((*text).to_owned()),
            _ => return Err(refused("it has a name of an unknown form")),
        }
    }
    let kind = uri
        .and_then(PeerKind::from_uri)
        .ok_or_else(|| refused("it does not say which kind of peer it is for"))?;
    let expected = match kind {
        PeerKind::Node(node_id) => vec![node_server_name(node_id), ANY_NODE_NAME.to_owned()],
        PeerKind::Framework(_) | PeerKind::Operator(_) => Vec::new(),
    };
    if dns != expected {
        return Err(refused("its names contradict each other"));
    }
    Ok(kind)
}

/// Percent-encoding of RFC 3986 with only the unreserved characters left as they are.
fn percent_encode(text: &str) -> String {
    use fmt::Write;

    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    encoded
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}
