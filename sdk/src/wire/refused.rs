//! Which failures mean that a certificate is not accepted.

use super::WireError;

/// Where TLS alerts begin among the error codes of QUIC.
const CRYPTO: u64 = 0x100;
/// The alerts about certificates: bad, of an unsupported kind, revoked, expired, unknown, of an
/// unknown authority, not allowed, wrongly signed, missing.
const ALERTS: [u64; 9] = [42, 43, 44, 45, 46, 48, 49, 51, 116];

/// What a connection to `peer` was lost by: a certificate that one side does not accept is told
/// apart, since trying again unchanged cannot help.
pub fn lost(peer: &dyn std::fmt::Display, error: &quinn::ConnectionError) -> WireError {
    use quinn::ConnectionError::{ConnectionClosed, TransportError};
    let about_certificates =
        |code: quinn::TransportErrorCode| ALERTS.contains(&u64::from(code).wrapping_sub(CRYPTO));
    match error {
        TransportError(failed) if about_certificates(failed.code) => WireError::Credentials(
            format!("what answers at {peer} is no node of their cluster ({})", failed.reason),
        ),
        ConnectionClosed(close) if about_certificates(close.error_code) => {
            let reason = String::from_utf8_lossy(&close.reason);
            let reason =
                if reason.is_empty() { close.error_code.to_string() } else { reason.into() };
            WireError::Credentials(format!(
                "the node at {peer} does not accept the certificate ({reason})"
            ))
        }
        error => WireError::Lost(format!("{peer}: {error}")),
    }
}
