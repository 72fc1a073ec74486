//! What one peer needs to prove who it is: a single file.

use std::path::Path;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{GossipKey, KeyError, PeerIdentity, authority::public_key, directory};
use crate::identity::{write_atomic, write_new};

/// A peer's secret key, its certificate, and the certificate it trusts; for a node, also the key of
/// the cluster's gossip.
///
/// As a file: PEM with the key, the own certificate and the authority's, in this order, and before
/// them, for a node, the gossip key as a line of text (which readers of PEM skip).
#[derive(Debug)]
pub struct Credentials {
    /// The peer's own certificate.
    pub certificate: CertificateDer<'static>,
    /// The secret key of that certificate.
    pub key: PrivateKeyDer<'static>,
    /// The certificate of the cluster's authority.
    pub authority: CertificateDer<'static>,
    /// The key that seals gossip; nodes have it, others do not.
    pub gossip_key: Option<GossipKey>,
}

impl Credentials {
    /// The same credentials with the gossip key, as a node needs them.
    #[must_use]
    pub fn with_gossip_key(self, gossip_key: GossipKey) -> Self {
        Self { gossip_key: Some(gossip_key), ..self }
    }

    /// Who these credentials are for.
    ///
    /// # Errors
    /// [`KeyError::Refused`] when the certificate is not one of a peer.
    pub fn identity(&self) -> Result<PeerIdentity, KeyError> {
        PeerIdentity::from_certificate(&self.certificate)
    }

    /// A copy, secret key included.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            certificate: self.certificate.clone(),
            key: self.key.clone_key(),
            authority: self.authority.clone(),
            gossip_key: self.gossip_key.clone(),
        }
    }

    /// Replaces the file, readable by its owner only. For a node's own data directory.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn store(&self, path: &Path) -> Result<(), KeyError> {
        write_atomic(path, self.to_text().as_bytes()).map_err(KeyError::io("write", path))
    }

    /// Makes the file, readable by its owner only. For `meshos keygen`.
    ///
    /// # Errors
    /// [`KeyError::Exists`] when there is something of that name.
    pub fn store_new(&self, path: &Path) -> Result<(), KeyError> {
        write_new(path, self.to_text().as_bytes()).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.to_owned() },
            _ => KeyError::io("write", path)(error),
        })
    }

    /// Reads the file.
    ///
    /// # Errors
    /// Says when it is missing, open to others, or does not hold what it should.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = directory::read_secret(path)?;
        Self::from_text(&text)
            .map_err(|reason| KeyError::Malformed { path: path.to_owned(), reason })
    }

    fn to_text(&self) -> String {
        let mut text = self.gossip_key.as_ref().map(GossipKey::to_text).unwrap_or_default();
        text.push('\n');
        let kind = match self.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        text += &directory::to_pem(kind, self.key.secret_der());
        text += &directory::to_pem("CERTIFICATE", &self.certificate);
        text + &directory::to_pem("CERTIFICATE", &self.authority)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let first = text.lines().next().unwrap_or_default();
        let gossip_key = if first.is_empty() || first.starts_with("-----") {
            None
        } else {
            Some(first.parse().map_err(|error: KeyError| error.to_string())?)
        };
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| format!("its private key: {error}"))?;
        let certificates: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let certificates = certificates.map_err(|error| format!("its certificates: {error}"))?;
        let [certificate, authority] = <[_; 2]>::try_from(certificates)
            .map_err(|found| format!("expected 2 certificates, found {}", found.len()))?;
        let of_key =
            rcgen::KeyPair::try_from(&key).map_err(|error| format!("its private key: {error}"))?;
        let of_certificate = public_key(&certificate).map_err(|error| error.to_string())?;
        if of_key.public_key_raw() != of_certificate {
            return Err("its private key does not belong to its certificate".to_owned());
        }
        Ok(Self { certificate, key, authority, gossip_key })
    }
}
