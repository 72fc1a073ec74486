//! The join token: what a machine needs to become a node of a cluster.

use std::{fmt, str::FromStr};

use ring::{
    digest, hmac,
    rand::{SecureRandom, SystemRandom},
};
use rustls_pki_types::CertificateDer;

use super::{KeyError, base32, certificate_fingerprint};

const PREFIX: &str = "meshos-join-1.";
const WHAT: &str = "join token";
const SECRET_BYTES: usize = 32;
const FINGERPRINT_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;

/// A secret that seeds know, and the fingerprint of the cluster's CA certificate, by which a joiner
/// knows the seed before it shows the secret.
///
/// As text: `meshos-join-1.` and base32 of secret, fingerprint and four bytes of a check sum, which
/// tells a token that was cut in copying from one of another cluster.
#[derive(Clone)]
pub struct JoinToken {
    secret: [u8; SECRET_BYTES],
    fingerprint: [u8; FINGERPRINT_BYTES],
}

impl JoinToken {
    /// A new token for the cluster of this CA certificate.
    ///
    /// # Errors
    /// When the system's source of randomness fails.
    pub fn generate(ca_certificate: &CertificateDer<'_>) -> Result<Self, KeyError> {
        let mut secret = [0; SECRET_BYTES];
        SystemRandom::new().fill(&mut secret).map_err(KeyError::crypto(WHAT))?;
        Ok(Self { secret, fingerprint: certificate_fingerprint(ca_certificate) })
    }

    /// Whether `presented` is this token's secret, in a time that does not depend on where they
    /// differ. For the seed.
    pub fn verify(&self, presented: &[u8]) -> bool {
        // Both are hashed under one key, then compared in constant time: this also hides lengths.
        let message = b"meshos join";
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, presented), message);
        let ours = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        hmac::verify(&ours, message, tag.as_ref()).is_ok()
    }

    /// Whether this is the certificate of the cluster's authority. For the joiner, before it shows
    /// the secret: the chain that the seed presents in TLS must end in it.
    pub fn names_authority(&self, ca_certificate: &CertificateDer<'_>) -> bool {
        certificate_fingerprint(ca_certificate) == self.fingerprint
    }

    /// What the joiner shows to the seed.
    pub const fn secret(&self) -> &[u8; SECRET_BYTES] {
        &self.secret
    }

    /// The secret token as one line of text.
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::with_capacity(SECRET_BYTES + FINGERPRINT_BYTES + CHECK_BYTES);
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(&self.fingerprint);
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        format!("{PREFIX}{}", base32::encode(&bytes))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(hidden)")
    }
}

impl FromStr for JoinToken {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let error = |reason| KeyError::Text { what: WHAT, reason };
        let body = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or_else(|| error("it does not start with \"meshos-join-1.\""))?;
        let bytes = base32::decode(body).ok_or_else(|| error("it is cut short or mistyped"))?;
        let parts = bytes.split_at_checked(SECRET_BYTES + FINGERPRINT_BYTES);
        let Some((content, _)) = parts.filter(|(content, found)| check(content) == **found) else {
            return Err(error("it is cut short or mistyped"));
        };
        let (secret, fingerprint) = content.split_at(SECRET_BYTES);
        Ok(Self {
            secret: secret.try_into().expect("split at its length"),
            fingerprint: fingerprint.try_into().expect("the rest of a fixed length"),
        })
    }
}

fn check(content: &[u8]) -> [u8; CHECK_BYTES] {
    let sum = digest::digest(&digest::SHA256, content);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&sum.as_ref()[..CHECK_BYTES]);
    check
}
