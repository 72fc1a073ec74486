//! Who this node is: its data directory, its certificate, its gossip key.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use meshos_membership::{
    identity::{DataDir, NodeIdentity, write_atomic},
    keys::{self, ClusterKeys, Credentials, GossipKey, JoinToken, NodeKey, PeerKind},
};
use meshos_protocol::{
    ids::NodeId,
    messages::node::{Reply, Request, SignSubject},
};
use meshos_sdk::wire::{self, WireError};
use rustls_pki_types::CertificateDer;

use crate::config::{KeySource, NodeOptions, Seed};

const CREDENTIALS_FILE: &str = "credentials.pem";
/// The certificate of the cluster's authority, as it was when the node came to the cluster.
const AUTHORITY_FILE: &str = "authority.der";

/// How long a node keeps asking the seeds to sign its key.
const JOIN_LIMIT: Duration = Duration::from_secs(60);

/// Who this node is.
pub(crate) struct Identity {
    pub data_dir: DataDir,
    pub node: NodeIdentity,
    pub credentials: Credentials,
    pub gossip_key: GossipKey,
    /// Present on nodes that can sign others.
    pub cluster_keys: Option<Arc<ClusterKeys>>,
}

impl Identity {
    /// Opens the data directory, counts this start, and obtains a certificate.
    pub(crate) async fn establish(options: &NodeOptions) -> Result<Self> {
        let data_dir = DataDir::open(&options.data_dir)?;
        let random = ring::rand::SystemRandom::new();
        refuse_lost_identity(&data_dir)?;
        let mut node = data_dir.load_or_create(&random)?;
        data_dir.raise_generation(&mut node)?;
        let cluster_keys = match &options.keys {
            KeySource::Directory(directory) => Some(ClusterKeys::load(directory)?),
            KeySource::Loopback(directory) => Some(keys::loopback_keys(directory)?),
            KeySource::JoinToken(_) => None,
        };
        let credentials = match (&cluster_keys, &options.keys) {
            (Some(keys), _) => issue_own(keys, node.node_id)?,
            (None, KeySource::JoinToken(token)) => {
                join(&options.data_dir, token, &options.seeds, node.node_id).await?
            }
            (None, _) => bail!("this node has neither keys nor a join token"),
        };
        let bare = matches!(options.keys, KeySource::Loopback(_));
        if bare && node.cluster_id.is_some() {
            refuse_forgotten_keys(&options.data_dir, &credentials)?;
        }
        // Once it belongs to a cluster it has found the keys to be right; later ones may be wrong.
        if node.cluster_id.is_none() {
            write_atomic(&options.data_dir.join(AUTHORITY_FILE), &credentials.authority)
                .context("cannot write down the cluster's authority")?;
        }
        let gossip_key =
            credentials.gossip_key.clone().context("the node's credentials lack the gossip key")?;
        let cluster_keys = cluster_keys.map(Arc::new);
        Ok(Self { data_dir, node, credentials, gossip_key, cluster_keys })
    }

    /// What QUIC needs of the credentials.
    pub(crate) fn wire_credentials(&self) -> wire::Credentials {
        let certificate = self.credentials.certificate.clone();
        wire::Credentials {
            authority: self.credentials.authority.clone(),
            certificate: Some((certificate, self.credentials.key.clone_key())),
        }
    }

    /// A secret that survives restarts, for stateless resets.
    pub(crate) fn reset_secret(&self) -> [u8; 32] {
        let node = self.node.node_id.to_string();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.credentials.key.secret_der());
        // Nodes with the cluster's keys make a new key at each start, so the secret hangs on the
        // gossip key, which does not change, and on the node.
        let key = match &self.cluster_keys {
            Some(_) => {
                let gossip = self.gossip_key.to_text();
                ring::hmac::Key::new(ring::hmac::HMAC_SHA256, gossip.as_bytes())
            }
            None => key,
        };
        let tag = ring::hmac::sign(&key, format!("meshos-stateless-reset {node}").as_bytes());
        let mut secret = [0; 32];
        secret.copy_from_slice(tag.as_ref());
        secret
    }
}

/// A directory with records but without an identity would give the records to another node.
fn refuse_lost_identity(data_dir: &DataDir) -> Result<()> {
    if data_dir.load()?.is_some() {
        return Ok(());
    }
    for file in ["raft.redb", "agent.redb"] {
        if data_dir.path().join(file).exists() {
            bail!(
                "{} has the file {file} but no identity: restore the file identity from a backup, \
                 or move the directory away to start as a new node",
                data_dir.path().display()
            );
        }
    }
    Ok(())
}

/// A node that came into its cluster with keys or a token would be a stranger there with the throwaway keys of loopback.
fn refuse_forgotten_keys(data_dir: &Path, throwaway: &Credentials) -> Result<()> {
    let known = match fs::read(data_dir.join(AUTHORITY_FILE)) {
        Ok(known) => known,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("cannot read the cluster's authority"),
    };
    if known == throwaway.authority.as_ref() {
        return Ok(());
    }
    let joined = data_dir.join(CREDENTIALS_FILE).exists();
    let flag = if joined { "--join-token" } else { "--keys" };
    bail!(
        "{} belongs to a cluster with keys of its own: give {flag} again, as when the node first started",
        data_dir.display()
    )
}

fn issue_own(keys: &ClusterKeys, node: NodeId) -> Result<Credentials> {
    let issued = keys.authority.issue(&PeerKind::Node(node), keys::VALIDITY_DEFAULT)?;
    Ok(issued.with_gossip_key(keys.gossip_key.clone()))
}

/// Uses the certificate of an earlier start, or has a seed sign a new key against the token.
async fn join(data_dir: &Path, token: &str, seeds: &[Seed], node: NodeId) -> Result<Credentials> {
    let file = data_dir.join(CREDENTIALS_FILE);
    if file.exists() {
        return Ok(Credentials::load(&file)?);
    }
    let token: JoinToken = token.trim().parse().context("the join token cannot be read")?;
    let give_up = tokio::time::Instant::now() + JOIN_LIMIT;
    tracing::info!(seeds = seeds.len(), "the seeds are asked to sign this node's key");
    let mut told = String::new();
    loop {
        let mut failures = Vec::new();
        let mut strangers = 0;
        for seed in seeds {
            match ask_to_sign(&token, seed, node).await {
                Ok(credentials) => {
                    credentials.store_new(&file)?;
                    tracing::info!(seed = %seed.quic, "a seed has signed this node's key");
                    return Ok(credentials);
                }
                Err(error) => {
                    strangers += usize::from(is_about_certificates(&error));
                    failures.push(format!("{}: {error:#}", seed.quic));
                }
            }
        }
        let failures = failures.join("; ");
        if strangers == seeds.len() {
            bail!(
                "the seeds are not of the cluster that the join token names, or their certificates are not valid now: \
                 take the token that the cluster's `meshos keygen` made, correct --seed, or set the clock ({failures})"
            );
        }
        if tokio::time::Instant::now() > give_up {
            bail!("no seed has signed this node's key within {JOIN_LIMIT:?}: {failures}");
        }
        if told != failures {
            tracing::warn!(%failures, "no seed has signed this node's key yet; they are asked every second");
            told = failures;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Whether the seed has shown a certificate that cannot be accepted: asking again would not help.
fn is_about_certificates(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(WireError::Credentials(_)))
}

async fn ask_to_sign(token: &JoinToken, seed: &Seed, node: NodeId) -> Result<Credentials> {
    let key = NodeKey::generate()?;
    let expected = token.clone();
    let named = Arc::new(move |authority: &CertificateDer<'_>| expected.names_authority(authority));
    let link = crate::net::dial_unknown(&seed.quic, named).await?;
    let request = Request::Sign {
        request: key.request()?.to_vec(),
        subject: SignSubject::Node { node },
        token: token.to_text(),
    };
    match link.request(request, Duration::from_secs(5)).await? {
        Reply::Signed { certificate, authority, gossip_key } => {
            let authority = CertificateDer::from(authority);
            if !token.names_authority(&authority) {
                bail!("the seed's authority is not the one that the join token names");
            }
            Ok(Credentials {
                certificate: CertificateDer::from(certificate),
                key: key.private_key(),
                authority,
                gossip_key: Some(gossip_key_from(&gossip_key)?),
            })
        }
        Reply::Failed { message } => bail!("the seed refused: {message}"),
        other => bail!("the seed gave an unexpected answer: {other:?}"),
    }
}

fn gossip_key_from(bytes: &[u8]) -> Result<GossipKey> {
    let bytes = <[u8; 32]>::try_from(bytes)
        .map_err(|_| anyhow::anyhow!("the seed sent a gossip key of {} bytes", bytes.len()))?;
    Ok(GossipKey::from_bytes(bytes))
}
/// The certificate of the authority of the cluster that the node of this data directory belongs to, in
/// DER; none when it came there with an earlier release.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn known_authority(data_dir: &Path) -> Result<Option<Vec<u8>>> {
    let path = data_dir.join(AUTHORITY_FILE);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
