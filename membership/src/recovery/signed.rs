//! The statement, and its form with the signature.

use std::collections::BTreeSet;

use meshos_protocol::{
    codec,
    ids::{ClusterId, Term},
};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::{
    keys::{Authority, KeyError, verify_statement},
    raft::{VOTERS_MAX, Voter},
};

/// The longest statement with its signature, in bytes: seven voters with long names are half of it.
pub const RECOVERY_BYTES_MAX: usize = 8 * 1024;
/// The longest address of a voter, in bytes: a host name and a port.
const ADDRESS_BYTES_MAX: usize = 260;
/// The form of the statement; it rises when an older release would misread it.
const VERSION: u16 = 1;

/// These voters are the cluster's from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Whose voters.
    pub cluster: ClusterId,
    /// All leaders of the rebuilt group lead in terms above this one, which nobody leads.
    pub above: Term,
    /// The rebuilt group as it was when it was rebuilt.
    pub voters: Vec<Voter>,
}

/// Why a statement cannot be made or is not believed.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// It is no statement of this form.
    #[error("the statement on the rebuilt voters cannot be read: {0}")]
    Malformed(String),
    /// Signing failed, or the signature is not the authority's.
    #[error("the statement on the rebuilt voters is not believed: {0}")]
    Keys(#[from] KeyError),
}

#[derive(Serialize, Deserialize)]
struct Statement {
    version: u16,
    cluster: ClusterId,
    above: Term,
    voters: Vec<Voter>,
}

/// What travels and what is kept. The signature is over the bytes, so that fields which a newer
/// release adds do not break it.
#[derive(Serialize, Deserialize)]
struct Envelope {
    #[serde(with = "serde_bytes")]
    statement: Vec<u8>,
    #[serde(with = "serde_bytes")]
    signature: Vec<u8>,
}

/// A statement whose signature was made or checked by this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRecovery {
    recovery: Recovery,
    bytes: Vec<u8>,
}

impl SignedRecovery {
    /// Signs a statement with the cluster's CA key.
    ///
    /// # Errors
    /// When the statement is not one that nodes would take, or signing fails.
    pub fn sign(recovery: Recovery, authority: &Authority) -> Result<Self, RecoveryError> {
        sound(&recovery)?;
        let statement = codec::encode(&Statement {
            version: VERSION,
            cluster: recovery.cluster,
            above: recovery.above,
            voters: recovery.voters.clone(),
        });
        let signature = authority.sign_statement(&statement)?;
        let bytes = codec::encode(&Envelope { statement, signature });
        Ok(Self { recovery, bytes })
    }

    /// Reads what another node presents or the disk holds. The signature is checked before
    /// anything of the statement is looked at.
    ///
    /// # Errors
    /// When it is malformed, or not signed by the authority of this certificate.
    pub fn verify(bytes: &[u8], authority: &CertificateDer<'_>) -> Result<Self, RecoveryError> {
        if bytes.len() > RECOVERY_BYTES_MAX {
            return Err(malformed(format!("it has {} bytes", bytes.len())));
        }
        let envelope: Envelope = codec::decode(bytes).map_err(malformed)?;
        verify_statement(authority, &envelope.statement, &envelope.signature)?;
        let statement: Statement = codec::decode(&envelope.statement).map_err(malformed)?;
        let Statement { version, cluster, above, voters } = statement;
        if version != VERSION {
            return Err(malformed(format!("version {version} is not known here, {VERSION} is")));
        }
        let recovery = Recovery { cluster, above, voters };
        sound(&recovery)?;
        Ok(Self { recovery, bytes: bytes.to_vec() })
    }

    /// What it says.
    #[must_use]
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// To be presented or kept.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Whether the statement makes sense, whoever signed it.
fn sound(recovery: &Recovery) -> Result<(), RecoveryError> {
    let Recovery { above, voters, .. } = recovery;
    if voters.is_empty() || voters.len() > VOTERS_MAX {
        return Err(malformed(format!("it names {} voters", voters.len())));
    }
    if let Some(long) = voters.iter().find(|voter| voter.address.len() > ADDRESS_BYTES_MAX) {
        return Err(malformed(format!("the address of {} is too long", long.node_id)));
    }
    let logs: BTreeSet<u64> = voters.iter().map(|voter| voter.raft_id).collect();
    if logs.len() != voters.len() {
        return Err(malformed("two voters have the same raft id"));
    }
    if above.0 == u64::MAX {
        return Err(malformed("no term is above the one that it names"));
    }
    Ok(())
}

fn malformed(reason: impl ToString) -> RecoveryError {
    RecoveryError::Malformed(reason.to_string())
}
