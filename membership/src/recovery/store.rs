//! The newest statement that a node has taken, in its data directory.

use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
};

use rustls_pki_types::CertificateDer;

use super::{RECOVERY_BYTES_MAX, SignedRecovery};
use crate::identity::{DataDir, IdentityError, write_atomic};

const FILE: &str = "recovery";

/// Keeps the statement, so that the node can pass it on, and so that no older one is ever taken.
#[derive(Debug)]
pub struct RecoveryStore {
    path: PathBuf,
    held: Option<SignedRecovery>,
}

impl RecoveryStore {
    /// Reads what is kept. The directory must stay open as long as the store is used.
    ///
    /// # Errors
    /// [`IdentityError::Damaged`] when the file cannot be read, or the authority of this
    /// certificate did not sign what is in it.
    pub fn load(data_dir: &DataDir, authority: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let path = data_dir.path().join(FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, held: None });
            }
            Err(error) => return Err(IdentityError::io("open", &path)(error)),
        };
        let mut bytes = Vec::new();
        let limit = u64::try_from(RECOVERY_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_end(&mut bytes).map_err(IdentityError::io("read", &path))?;
        match SignedRecovery::verify(&bytes, authority) {
            Ok(held) => Ok(Self { path, held: Some(held) }),
            Err(error) => Err(IdentityError::BadRecovery { path, reason: error.to_string() }),
        }
    }

    /// A store in the place of one that cannot be loaded: whatever is kept gives way to the next
    /// statement.
    #[must_use]
    pub fn blank(data_dir: &DataDir) -> Self {
        Self { path: data_dir.path().join(FILE), held: None }
    }

    /// The newest statement that was taken.
    #[must_use]
    pub const fn held(&self) -> Option<&SignedRecovery> {
        self.held.as_ref()
    }

    /// Keeps a statement in the place of an older one; when this returns, it would survive a power
    /// cut. One that is not newer than the kept one changes nothing.
    ///
    /// # Errors
    /// When the disk refuses; what was kept before still is.
    pub fn store(&mut self, signed: SignedRecovery) -> Result<(), IdentityError> {
        let kept = self.held.as_ref().map(|held| held.recovery().above);
        if kept.is_some_and(|kept| kept >= signed.recovery().above) {
            return Ok(());
        }
        write_atomic(&self.path, signed.bytes()).map_err(IdentityError::io("write", &self.path))?;
        self.held = Some(signed);
        Ok(())
    }
}
