//! The keys of one cluster, as seeds hold them: a directory of four files.

use std::path::Path;

use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{Authority, GossipKey, JoinToken, KeyError, directory};

const CA_CERTIFICATE_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca.key";
const GOSSIP_KEY_FILE: &str = "gossip.key";
const TOKEN_FILE: &str = "join.token";

/// All keys of a cluster.
#[derive(Debug)]
pub struct ClusterKeys {
    /// Signs certificates.
    pub authority: Authority,
    /// Seals gossip.
    pub gossip_key: GossipKey,
    /// Lets machines join.
    pub join_token: JoinToken,
}

impl ClusterKeys {
    fn generate() -> Result<Self, KeyError> {
        let authority = Authority::generate()?;
        let join_token = JoinToken::generate(authority.certificate())?;
        Ok(Self { authority, gossip_key: GossipKey::generate()?, join_token })
    }

    /// Reads the directory that [`keygen`] made.
    ///
    /// # Errors
    /// Says which file is missing, open to others, damaged, or of another cluster.
    pub fn load(directory: &Path) -> Result<Self, KeyError> {
        let certificate = read(directory, CA_CERTIFICATE_FILE, |text| {
            CertificateDer::from_pem_slice(text.as_bytes()).map_err(|error| error.to_string())
        })?;
        let authority = read(directory, CA_KEY_FILE, |text| {
            Authority::from_parts(certificate, text).map_err(|error| error.to_string())
        })?;
        let gossip_key = read(directory, GOSSIP_KEY_FILE, |text| {
            text.parse().map_err(|error: KeyError| error.to_string())
        })?;
        let join_token = read(directory, TOKEN_FILE, |text| {
            let token: JoinToken = text.parse().map_err(|error: KeyError| error.to_string())?;
            if token.names_authority(authority.certificate()) {
                Ok(token)
            } else {
                Err(format!("it belongs to another cluster than {CA_CERTIFICATE_FILE}"))
            }
        })?;
        Ok(Self { authority, gossip_key, join_token })
    }

    fn files(&self) -> [(&'static str, String); 4] {
        let certificate = directory::to_pem("CERTIFICATE", self.authority.certificate());
        [
            (CA_CERTIFICATE_FILE, certificate),
            (CA_KEY_FILE, self.authority.key_pem()),
            (GOSSIP_KEY_FILE, self.gossip_key.to_text() + "\n"),
            (TOKEN_FILE, self.join_token.to_text() + "\n"),
        ]
    }
}

/// Makes the keys of a new cluster in `directory`, which must be new or empty.
///
/// # Errors
/// [`KeyError::Exists`] rather than overwriting anything.
pub fn keygen(directory: &Path) -> Result<ClusterKeys, KeyError> {
    let keys = ClusterKeys::generate()?;
    directory::create(directory, &keys.files())?;
    Ok(keys)
}

/// The throwaway keys of a user's clusters on loopback: made by whichever process comes first, read
/// by all others.
///
/// # Errors
/// As [`ClusterKeys::load`].
pub fn loopback_keys(directory: &Path) -> Result<ClusterKeys, KeyError> {
    if directory.join(CA_CERTIFICATE_FILE).exists() {
        return ClusterKeys::load(directory);
    }
    match keygen(directory) {
        Err(KeyError::Exists { .. }) => ClusterKeys::load(directory),
        other => other,
    }
}

fn read<T>(
    directory: &Path,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, KeyError> {
    let path = directory.join(name);
    let text = directory::read_secret(&path)?;
    parse(&text).map_err(|reason| KeyError::Malformed { path, reason })
}
