//! For a node that joins: the cluster's authority is not known yet, only its fingerprint.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Says whether a certificate is that of the expected authority.
pub type AuthorityCheck = Arc<dyn Fn(&CertificateDer<'_>) -> bool + Send + Sync>;

/// Trusts a server whose chain holds the expected authority and is signed by it.
pub(super) struct PinnedAuthority {
    expected: AuthorityCheck,
    provider: Arc<CryptoProvider>,
}

impl PinnedAuthority {
    pub(super) fn new(expected: AuthorityCheck, provider: Arc<CryptoProvider>) -> Self {
        Self { expected, provider }
    }
}

impl fmt::Debug for PinnedAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PinnedAuthority")
    }
}

/// The server's chain does not hold the expected authority.
#[derive(Debug, thiserror::Error)]
#[error("it does not belong to the cluster that the join token names")]
struct Foreign;

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = |why: &str| Error::General(why.into());
        let authority = intermediates.iter().find(|certificate| (self.expected)(certificate));
        // An error about the certificate, so that whoever dials sees that trying again is no use.
        let foreign = || CertificateError::Other(OtherError(Arc::new(Foreign)));
        let authority = authority.ok_or_else(|| Error::InvalidCertificate(foreign()))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| refused(&error.to_string()))?
            .verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("QUIC is TLS 1.3".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
