//! A framework's credentials, obtained as any framework obtains them: its own key, signed through the HTTP API.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use meshos_sdk::{Credentials, wire};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::json;

use crate::{
    node::Node,
    wait::{PATIENCE, poll_until},
};

/// A new key with the request for its certificate, DER in base64.
///
/// # Panics
/// When no key can be made.
#[must_use]
pub fn signing_request() -> (KeyPair, String) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key can be made");
    let parameters = CertificateParams::new(Vec::new()).expect("no names are good names");
    let request = parameters.serialize_request(&key).expect("a request can be made");
    let request = BASE64.encode(request.der());
    (key, request)
}

/// Credentials of `principal`, signed by way of `node`.
///
/// # Panics
/// When the node does not sign.
#[must_use]
pub fn framework_credentials(node: &Node, principal: &str) -> Credentials {
    Credentials::from_pem(framework_credentials_pem(node, principal).as_bytes())
        .expect("the node signs what can be used")
}

/// The same as text, in the form of a credentials file.
///
/// # Panics
/// When the node does not sign.
#[must_use]
pub fn framework_credentials_pem(node: &Node, principal: &str) -> String {
    let (key, request) = signing_request();
    let body = json!({ "request": request, "principal": principal });
    let answer = poll_until(PATIENCE, "a node signs a framework's key", || {
        node.post("/api/frameworks/credentials", &body).ok().filter(|answer| answer.status == 200)
    })
    .json();
    let der = |field: &str| {
        let text = answer[field].as_str().unwrap_or_else(|| panic!("no {field}: {answer}"));
        BASE64.decode(text).unwrap_or_else(|error| panic!("{field} is not base64: {error}"))
    };
    format!(
        "{}{}{}",
        key.serialize_pem(),
        pem("CERTIFICATE", &der("certificate")),
        pem("CERTIFICATE", &der("authority"))
    )
}

/// What QUIC needs of a credentials file: the key, its certificate and the authority's.
///
/// # Panics
/// When the text is no such file.
#[must_use]
pub fn wire_credentials(text: &str) -> wire::Credentials {
    let mut parts = text.split("-----BEGIN ").skip(1).map(|part| {
        let body = part.split_once("-----").map_or("", |(_, rest)| rest);
        let body: String = body.split("-----END").next().unwrap_or("").split_whitespace().collect();
        BASE64.decode(body).expect("a credentials file is PEM")
    });
    let mut next = || parts.next().expect("key, certificate and authority are there");
    let (key, certificate) = (next(), next());
    let key = key.try_into().expect("the first part is a key");
    wire::Credentials { authority: next().into(), certificate: Some((certificate.into(), key)) }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
