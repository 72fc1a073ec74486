//! The cluster's certificate authority, and the key pairs that it signs.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber, SigningKey, date_time_ymd,
};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature,
};
use rustls_pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::{ANY_NODE_NAME, Credentials, KeyError, PeerKind, node_server_name};

/// How long an authority and its nodes' certificates last: ten years.
pub const VALIDITY_DEFAULT: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// A signing request of ours has about 250 bytes; a larger one than this is not read.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Set before what the authority signs outside of certificates, so that no signature of one use
/// passes for another.
const STATEMENT_PREFIX: &[u8] = b"meshos statement 1\0";

/// Signs certificates for one cluster.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority with a key of its own.
    ///
    /// # Errors
    /// When the system's source of randomness fails.
    pub fn generate() -> Result<Self, KeyError> {
        const WHAT: &str = "certificate authority";
        let key = generate_key(WHAT)?;
        let mut params = base_params("meshos cluster authority", VALIDITY_DEFAULT)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(KeyError::crypto(WHAT))?;
        let certificate: CertificateDer<'static> = certificate.into();
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(KeyError::crypto(WHAT))?;
        Ok(Self { certificate, issuer })
    }

    /// The authority of a certificate and its key in PEM.
    ///
    /// # Errors
    /// When either cannot be read, or they do not belong together.
    pub(super) fn from_parts(
        certificate: CertificateDer<'static>,
        key_pem: &str,
    ) -> Result<Self, KeyError> {
        const WHAT: &str = "authority key";
        let key = KeyPair::from_pem(key_pem).map_err(|error| KeyError::refused(WHAT, error))?;
        if public_key(&certificate)? != key.public_key_raw() {
            return Err(KeyError::refused(WHAT, "it does not belong to the certificate"));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|error| KeyError::refused(WHAT, error))?;
        Ok(Self { certificate, issuer })
    }

    /// The certificate that every peer of the cluster trusts.
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The secret key in PEM.
    pub(super) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Signs the public key of a request, for the kind and name that the *caller* has established.
    /// Names and extensions in the request are ignored: it only proves possession of the key.
    ///
    /// # Errors
    /// [`KeyError::Refused`] for a request that is malformed or not signed by its own key.
    pub fn sign_request(
        &self,
        request: &[u8],
        kind: &PeerKind,
        validity: Duration,
    ) -> Result<CertificateDer<'static>, KeyError> {
        const WHAT: &str = "certificate signing request";
        if request.len() > REQUEST_BYTES_MAX {
            return Err(KeyError::refused(WHAT, "it is too large"));
        }
        let request = CertificateSigningRequestParams::from_der(&request.into())
            .map_err(|error| KeyError::refused(WHAT, error))?;
        let key = request.public_key;
        if PublicKeyData::algorithm(&key) != &PKCS_ECDSA_P256_SHA256 || key.der_bytes().len() != 65
        {
            return Err(KeyError::refused(WHAT, "its key is not an ECDSA key on P-256"));
        }
        self.sign(&key, kind, validity)
    }

    /// Makes a key pair and its certificate, for `meshos keygen` and for seeds.
    ///
    /// # Errors
    /// When the system's source of randomness fails.
    pub fn issue(&self, kind: &PeerKind, validity: Duration) -> Result<Credentials, KeyError> {
        let key = NodeKey::generate()?;
        let certificate = self.sign(&key.0, kind, validity)?;
        Ok(Credentials {
            certificate,
            key: key.private_key(),
            authority: self.certificate.clone(),
            gossip_key: None,
        })
    }

    /// Signs a statement, such as the one that lets agents accept a rebuilt group of voters.
    ///
    /// # Errors
    /// When the system's source of randomness fails.
    pub fn sign_statement(&self, statement: &[u8]) -> Result<Vec<u8>, KeyError> {
        let message = [STATEMENT_PREFIX, statement].concat();
        self.issuer.key().sign(&message).map_err(KeyError::crypto("signature"))
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        kind: &PeerKind,
        validity: Duration,
    ) -> Result<CertificateDer<'static>, KeyError> {
        const WHAT: &str = "certificate";
        let uri = kind.to_uri().try_into().map_err(KeyError::crypto(WHAT))?;
        let mut params = base_params(kind_name(kind), validity)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if let PeerKind::Node(node_id) = kind {
            params.subject_alt_names.push(dns_name(&node_server_name(*node_id))?);
            params.subject_alt_names.push(dns_name(ANY_NODE_NAME)?);
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer).map_err(KeyError::crypto(WHAT))?;
        Ok(certificate.into())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority(key hidden)")
    }
}

/// Whether the authority of this certificate made `signature` over `statement`.
///
/// # Errors
/// [`KeyError::Refused`] when it did not, or the certificate cannot be read.
pub fn verify_statement(
    authority: &CertificateDer<'_>,
    statement: &[u8],
    signature: &[u8],
) -> Result<(), KeyError> {
    let key = public_key(authority)?;
    let message = [STATEMENT_PREFIX, statement].concat();
    signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, key)
        .verify(&message, signature)
        .map_err(|_| KeyError::refused("statement", "the cluster's authority did not sign it"))
}

/// A key pair that its owner makes for itself; only the request for its certificate leaves it.
pub struct NodeKey(KeyPair);

impl NodeKey {
    /// A new ECDSA key on P-256.
    ///
    /// # Errors
    /// When the system's source of randomness fails.
    pub fn generate() -> Result<Self, KeyError> {
        generate_key("key pair").map(Self)
    }

    /// The request for a certificate: the public key, signed by the key itself. It names nobody;
    /// whoever signs decides the name.
    ///
    /// # Errors
    /// When the system's source of randomness fails.
    pub fn request(&self) -> Result<CertificateSigningRequestDer<'static>, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params
            .serialize_request(&self.0)
            .map_err(KeyError::crypto("certificate signing request"))?;
        Ok(request.der().clone())
    }

    /// The secret key, for TLS.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialize_der()).into()
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(hidden)")
    }
}

/// The raw public key of a certificate.
pub(super) fn public_key(certificate: &[u8]) -> Result<Vec<u8>, KeyError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| KeyError::refused("certificate", "it is not an X.509 certificate"))?;
    Ok(parsed.public_key().subject_public_key.data.to_vec())
}

fn generate_key(what: &'static str) -> Result<KeyPair, KeyError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(KeyError::crypto(what))
}

fn dns_name(name: &str) -> Result<SanType, KeyError> {
    let name = name.try_into().map_err(KeyError::crypto("certificate"))?;
    Ok(SanType::DnsName(name))
}

/// For people who look at the certificate; nothing reads it back. The name itself stands only
/// where it is read, so that the two cannot differ.
fn kind_name(kind: &PeerKind) -> &'static str {
    match kind {
        PeerKind::Node(_) => "meshos node",
        PeerKind::Framework(_) => "meshos framework",
        PeerKind::Operator(_) => "meshos operator",
    }
}

fn base_params(common_name: &str, validity: Duration) -> Result<CertificateParams, KeyError> {
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).map_err(KeyError::crypto("serial number"))?;
    serial[0] &= 0x7f;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let start = date_time_ymd(1970, 1, 1);
    // X.509 cannot say times after the year 9999, and nobody means them.
    let end = now.saturating_add(validity.min(VALIDITY_DEFAULT * 10));
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    // Nothing is gained by a later start, and a machine whose clock runs behind, or jumps back to
    // what its dead battery left it, would be locked out.
    params.not_before = start;
    params.not_after = start + end;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}
