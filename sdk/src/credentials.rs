//! Who a framework is: a file made by `meshos keygen framework PRINCIPAL`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// A framework's certificate with its key, and the cluster's authority.
pub struct Credentials {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    authority: CertificateDer<'static>,
}

/// Why a credentials file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the credentials in {path:?}: {why}")]
pub struct CredentialsError {
    path: PathBuf,
    why: String,
}

impl Credentials {
    /// Reads a file in PEM: the key, the own certificate and the authority's, in this order.
    ///
    /// # Errors
    /// When the file cannot be read or lacks one of them.
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        let broken = |why: String| CredentialsError { path: path.to_owned(), why };
        let text = std::fs::read(path).map_err(|error| broken(error.to_string()))?;
        Self::from_pem(&text).map_err(broken)
    }

    /// The same from the text of such a file.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn from_pem(text: &[u8]) -> Result<Self, String> {
        let key =
            PrivateKeyDer::from_pem_slice(text).map_err(|error| format!("no key: {error}"))?;
        let mut certificates = CertificateDer::pem_slice_iter(text);
        let mut next = |what: &str| match certificates.next() {
            Some(Ok(certificate)) => Ok(certificate),
            Some(Err(error)) => Err(format!("{what}: {error}")),
            None => Err(format!("{what} is missing")),
        };
        let certificate = next("the framework's certificate")?;
        let authority = next("the authority's certificate")?;
        Ok(Self { certificate, key, authority })
    }

    /// Credentials made of their parts.
    pub fn from_parts(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        authority: CertificateDer<'static>,
    ) -> Self {
        Self { certificate, key, authority }
    }

    pub(crate) fn for_wire(&self) -> crate::wire::Credentials {
        crate::wire::Credentials {
            authority: self.authority.clone(),
            certificate: Some((self.certificate.clone(), self.key.clone_key())),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(key hidden)")
    }
}
