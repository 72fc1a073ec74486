//! Secrets that callers show, and the files that hold them.

use std::{fs::File, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Result, ensure};
use ring::{hmac, rand::SystemRandom};

/// Compares without telling by the time that it takes how much of a secret is right.
#[derive(Clone)]
pub(super) struct Secret {
    /// Random for each.
    key: hmac::Key,
    tag: hmac::Tag,
}

impl Secret {
    /// Keeps no more of the secret than it takes to know it again.
    pub(super) fn new(secret: &[u8]) -> Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| anyhow::anyhow!("the system's random number generator fails"))?;
        let tag = hmac::sign(&key, secret);
        Ok(Self { key, tag })
    }

    /// Whether this is the secret.
    pub(super) fn verify(&self, presented: &[u8]) -> bool {
        hmac::verify(&self.key, presented, self.tag.as_ref()).is_ok()
    }
}

/// Refuses a file that others than its owner may read; `advice` says what more to do about that.
pub(super) fn demand_private(file: &File, path: &Path, advice: &str) -> Result<()> {
    let mode = file.metadata()?.permissions().mode() & 0o777;
    let path = path.display();
    ensure!(
        mode & 0o077 == 0,
        "{path} is open to others (mode {mode:03o}): run `chmod 600 {path}`, and {advice}"
    );
    Ok(())
}
