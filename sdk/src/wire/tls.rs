//! Mutual TLS for QUIC: one crypto provider, one protocol name, names from certificates.

use std::{sync::Arc, time::Duration};

use meshos_protocol::ids::NodeId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{RootCertStore, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{
    WireError,
    pinned::{AuthorityCheck, PinnedAuthority},
};

/// The application protocol of meshos over QUIC.
const ALPN: &[u8] = b"meshos/1";
/// The name that every node's certificate carries beside its own: for callers that may use any.
pub const ANY_NODE_NAME: &str = "node.meshos";
/// Streams that one peer may have open at a time.
const STREAMS_MAX: u32 = 1_024;
/// Streams that a peer may have open before it is known who it is, and one without a certificate
/// ever.
const STRANGER_STREAMS_MAX: u32 = 2;
/// Bytes that such a peer may have sent and nobody has read: both streams, full.
const STRANGER_WINDOW_BYTES: u32 = 64 << 10;
/// The same of a peer that is known: more than all its streams together may hold, so that one that
/// is not read from never holds up the others.
const WINDOW_BYTES: u32 = 2_000_000_000;

/// The name in the certificate of one node.
pub fn node_server_name(node: NodeId) -> String {
    format!("{node}.{ANY_NODE_NAME}")
}

/// A certificate with its key, and the authority that it and all peers are checked against.
#[derive(Debug)]
pub struct Credentials {
    /// The cluster's CA.
    pub authority: CertificateDer<'static>,
    /// Our certificate; absent for a node that is only about to join.
    pub certificate: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
}

/// When a silent connection is given up.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// How often a silent connection is tested.
    pub keep_alive: Duration,
    /// How long without any packet ends it.
    pub timeout: Duration,
}

impl Default for Idle {
    fn default() -> Self {
        Self { keep_alive: Duration::from_secs(1), timeout: Duration::from_secs(5) }
    }
}

/// ring, named explicitly: with two providers in one binary rustls refuses to choose.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What a client of the cluster connects with.
///
/// # Errors
/// When the credentials cannot be used.
pub fn client_config(
    credentials: &Credentials,
    idle: Idle,
) -> Result<quinn::ClientConfig, WireError> {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_root_certificates(roots(&credentials.authority)?);
    let tls = match &credentials.certificate {
        Some((certificate, key)) => builder
            .with_client_auth_cert(vec![certificate.clone()], key.clone_key())
            .map_err(unusable)?,
        None => builder.with_no_client_auth(),
    };
    quic_client(tls, idle)
}

/// What a node connects with that is about to join: it has no certificate, and it knows the
/// cluster's authority by a check only.
///
/// # Errors
/// When the crypto provider cannot be used.
pub fn joining_config(
    expected: AuthorityCheck,
    idle: Idle,
) -> Result<quinn::ClientConfig, WireError> {
    let verifier = Arc::new(PinnedAuthority::new(expected, provider()));
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    quic_client(tls, idle)
}

fn quic_client(
    mut tls: rustls::ClientConfig,
    idle: Idle,
) -> Result<quinn::ClientConfig, WireError> {
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = QuicClientConfig::try_from(tls).map_err(unusable)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport(idle)?));
    Ok(config)
}

/// What a node listens with. Peers without a certificate are let in and may do nothing but ask
/// for one; every stream checks who its peer is. A peer may open two streams and have little under
/// way, until [`allow_streams`].
///
/// # Errors
/// When the credentials cannot be used.
pub fn server_config(
    credentials: &Credentials,
    idle: Idle,
) -> Result<quinn::ServerConfig, WireError> {
    let Some((certificate, key)) = &credentials.certificate else {
        return Err(WireError::Credentials("a server needs a certificate of its own".into()));
    };
    let roots = Arc::new(roots(&credentials.authority)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .allow_unauthenticated()
        .build()
        .map_err(unusable)?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            // A joining node knows the authority by its fingerprint only, so it is sent along.
            vec![certificate.clone(), credentials.authority.clone()],
            key.clone_key(),
        )
        .map_err(unusable)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = QuicServerConfig::try_from(tls).map_err(unusable)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let mut transport = transport(idle)?;
    transport
        .max_concurrent_bidi_streams(STRANGER_STREAMS_MAX.into())
        .receive_window(STRANGER_WINDOW_BYTES.into());
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Lets a peer whose certificate was looked at open as many streams as it may need.
pub fn allow_streams(connection: &quinn::Connection) {
    connection.set_max_concurrent_bi_streams(STREAMS_MAX.into());
    connection.set_receive_window(WINDOW_BYTES.into());
}

fn transport(idle: Idle) -> Result<quinn::TransportConfig, WireError> {
    let timeout = quinn::IdleTimeout::try_from(idle.timeout).map_err(unusable)?;
    let mut transport = quinn::TransportConfig::default();
    transport
        .keep_alive_interval(Some(idle.keep_alive))
        .max_idle_timeout(Some(timeout))
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(0u32.into())
        // Nobody sends datagrams: none are kept.
        .datagram_receive_buffer_size(None);
    Ok(transport)
}

fn roots(authority: &CertificateDer<'static>) -> Result<RootCertStore, WireError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).map_err(unusable)?;
    Ok(roots)
}

fn unusable(error: impl std::fmt::Display) -> WireError {
    WireError::Credentials(error.to_string())
}
