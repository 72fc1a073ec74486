use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use meshos_protocol::ids::{NodeId, Principal};
use proptest::prelude::*;

use super::*;

fn node(bits: u64) -> PeerKind {
    PeerKind::Node(NodeId::from_bits(bits))
}

fn framework(name: &str) -> PeerKind {
    PeerKind::Framework(Principal::new(name).unwrap())
}

fn operator(name: &str) -> PeerKind {
    PeerKind::Operator(Principal::new(name).unwrap())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_clusters_keys_are_read_back() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("keys");
    let made = keygen(&directory).unwrap();
    let read = ClusterKeys::load(&directory).unwrap();
    assert_eq!(read.authority.certificate(), made.authority.certificate());
    assert_eq!(read.gossip_key, made.gossip_key);
    assert!(read.join_token.verify(made.join_token.secret()));
    assert_eq!(mode(&directory), 0o700);
    let mut files = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
        files += 1;
    }
    assert_eq!(files, 4);
    let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing else is left: {left:?}");
}

#[test]
fn keys_are_never_overwritten() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("keys");
    keygen(&directory).unwrap();
    let before = fs::read(directory.join("ca.key")).unwrap();
    let error = keygen(&directory).unwrap_err();
    assert!(matches!(error, KeyError::Exists { .. }), "{error}");
    assert_eq!(fs::read(directory.join("ca.key")).unwrap(), before);

    let file = scratch.path().join("file");
    fs::write(&file, "precious").unwrap();
    assert!(matches!(keygen(&file), Err(KeyError::Exists { .. })));
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");

    let empty = scratch.path().join("empty");
    fs::create_dir(&empty).unwrap();
    keygen(&empty).unwrap();
    ClusterKeys::load(&empty).unwrap();
}

#[test]
fn what_a_crash_left_aside_does_not_hinder() {
    let scratch = tempfile::tempdir().unwrap();
    let aside = scratch.path().join(".keys.new");
    fs::create_dir(&aside).unwrap();
    fs::write(aside.join("ca.pem"), "half").unwrap();
    let directory = scratch.path().join("keys");
    assert!(matches!(ClusterKeys::load(&directory), Err(KeyError::Missing { .. })));
    keygen(&directory).unwrap();
    ClusterKeys::load(&directory).unwrap();
    assert!(!aside.exists());
}

#[test]
fn each_unusable_file_is_named_with_what_to_do() {
    for name in ["ca.pem", "ca.key", "gossip.key", "join.token"] {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("keys");
        keygen(&directory).unwrap();
        let file = directory.join(name);
        let whole = fs::read(&file).unwrap();
        let fails = || {
            let error = ClusterKeys::load(&directory).unwrap_err();
            assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
            error
        };

        chmod(&file, 0o640);
        let error = fails();
        assert!(matches!(error, KeyError::Permissive { mode: 0o640, .. }), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
        chmod(&file, 0o600);

        let half = &whole[..whole.len() / 2];
        for content in [b"".as_slice(), half, b"\xff\xfe", &vec![b'x'; 100_000]] {
            fs::write(&file, content).unwrap();
            assert!(matches!(fails(), KeyError::Malformed { .. }), "{name}");
        }

        fs::remove_file(&file).unwrap();
        assert!(matches!(fails(), KeyError::Missing { .. }), "{name}");
    }
}

#[test]
fn files_of_two_clusters_are_told_apart() {
    let scratch = tempfile::tempdir().unwrap();
    let (ours, theirs) = (scratch.path().join("ours"), scratch.path().join("theirs"));
    keygen(&ours).unwrap();
    keygen(&theirs).unwrap();
    for name in ["ca.key", "join.token"] {
        let kept = fs::read(ours.join(name)).unwrap();
        fs::copy(theirs.join(name), ours.join(name)).unwrap();
        let error = ClusterKeys::load(&ours).unwrap_err();
        assert!(matches!(error, KeyError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        fs::write(ours.join(name), kept).unwrap();
    }
    ClusterKeys::load(&ours).unwrap();
}

#[test]
fn processes_that_race_for_loopback_keys_get_the_same() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("user").join("keys");
    let gate = std::sync::Barrier::new(8);
    let tokens: Vec<String> = std::thread::scope(|scope| {
        let racer = || {
            gate.wait();
            loopback_keys(&directory).unwrap().join_token.to_text()
        };
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(racer)).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(loopback_keys(&directory).unwrap().join_token.to_text(), tokens[0]);
}

#[test]
fn certificates_say_who_they_are_for_and_nothing_else() {
    let authority = Authority::generate().unwrap();
    let long = "x".repeat(255);
    let kinds = [
        node(0x0fff_ffff_ffff_ffff),
        framework("spark"),
        framework("a/b:c%d ü — \"quoted\""),
        framework(&long),
        framework("operator:root"),
        operator("alice@example.org"),
    ];
    for kind in kinds {
        let credentials = authority.issue(&kind, VALIDITY_DEFAULT).unwrap();
        let identity = credentials.identity().unwrap();
        assert_eq!(identity.kind, kind);
        assert_eq!(identity.fingerprint, certificate_fingerprint(&credentials.certificate));
    }
}

#[test]
fn a_request_decides_nothing_but_the_key() {
    let authority = Authority::generate().unwrap();
    let key = NodeKey::generate().unwrap();
    let request = key.request().unwrap();
    let signed = authority.sign_request(&request, &node(7), VALIDITY_DEFAULT).unwrap();
    assert_eq!(PeerIdentity::from_certificate(&signed).unwrap().kind, node(7));
    let credentials = Credentials {
        certificate: signed,
        key: key.private_key(),
        authority: authority.certificate().clone(),
        gossip_key: None,
    };
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("node.pem");
    credentials.store(&path).unwrap();
    Credentials::load(&path).unwrap();

    // A request that asks for another's name and for an authority's powers.
    let mut greedy =
        rcgen::CertificateParams::new(vec![node_server_name(NodeId::from_bits(1))]).unwrap();
    greedy.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let greedy_key = rcgen::KeyPair::generate().unwrap();
    let request = greedy.serialize_request(&greedy_key).unwrap();
    let signed = authority.sign_request(request.der(), &framework("f"), VALIDITY_DEFAULT).unwrap();
    assert_eq!(PeerIdentity::from_certificate(&signed).unwrap().kind, framework("f"));

    let mut tampered = key.request().unwrap().to_vec();
    let last = tampered.len() - 1;
    tampered[last] ^= 1;
    assert!(authority.sign_request(&tampered, &node(7), VALIDITY_DEFAULT).is_err());
    assert!(authority.sign_request(&vec![0x30; 10_000], &node(7), VALIDITY_DEFAULT).is_err());
}

#[test]
fn certificates_outlast_a_clock_that_jumps_back() {
    let authority = Authority::generate().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let year = Duration::from_secs(365 * 24 * 3600);
    let credentials = authority.issue(&node(1), year).unwrap();
    for certificate in [authority.certificate(), &credentials.certificate] {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).unwrap();
        assert_eq!(parsed.validity().not_before.timestamp(), 0, "no clock is before the start");
    }
    let end = credentials.identity().unwrap().not_after_unix_s;
    assert!((end - now - 365 * 24 * 3600).abs() < 60);
    let forever = authority.issue(&node(1), Duration::MAX).unwrap();
    assert!(forever.identity().unwrap().not_after_unix_s > end);
}

#[test]
fn certificates_that_we_would_not_have_made_are_refused() {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType};

    let refused = |certificate: &[u8], why: &str| {
        let error = PeerIdentity::from_certificate(certificate).unwrap_err();
        assert!(error.to_string().contains(why), "{error}, expected {why}");
    };
    let authority = Authority::generate().unwrap();
    refused(authority.certificate(), "authority");
    refused(b"junk", "not an X.509");
    let mut trailing = authority.issue(&node(1), VALIDITY_DEFAULT).unwrap().certificate.to_vec();
    trailing.push(0);
    refused(&trailing, "not a plain");

    let with_names = |names: Vec<SanType>| {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = names;
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    };
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    let dns = |text: String| SanType::DnsName(text.try_into().unwrap());
    let one = NodeId::from_bits(1);
    let two = NodeId::from_bits(2);
    refused(&with_names(vec![]), "names nobody");
    refused(&with_names(vec![dns(node_server_name(one))]), "which kind");
    refused(&with_names(vec![uri(&format!("meshos:node:{one}"))]), "contradict");
    refused(
        &with_names(vec![uri(&format!("meshos:node:{one}")), dns(node_server_name(two))]),
        "contradict",
    );
    refused(&with_names(vec![uri("meshos:framework:f"), dns(node_server_name(one))]), "contradict");
    refused(
        &with_names(vec![uri("meshos:framework:f"), uri("meshos:operator:o")]),
        "more than one",
    );
    refused(
        &with_names(vec![uri("meshos:framework:f"), SanType::IpAddress([127, 0, 0, 1].into())]),
        "unknown form",
    );
    for text in [
        "meshos:voter:x",
        "meshos:framework:",
        "meshos:framework",
        "meshos:framework:%41",
        "meshos:framework:%2f",
        "meshos:framework:%",
        "meshos:framework:%0A",
        "meshos:framework:a b",
        "meshos:node:short",
        "https://example.org",
    ] {
        refused(&with_names(vec![uri(text)]), "which kind");
    }
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri("meshos:framework:f")];
    let key = rcgen::KeyPair::generate().unwrap();
    refused(params.self_signed(&key).unwrap().der(), "may not be used to authenticate");
}

#[test]
fn credentials_are_read_back_and_checked() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::generate().unwrap();
    let gossip_key = GossipKey::generate().unwrap();
    let node_credentials =
        authority.issue(&node(5), VALIDITY_DEFAULT).unwrap().with_gossip_key(gossip_key.clone());
    let path = scratch.path().join("node.pem");
    node_credentials.store(&path).unwrap();
    node_credentials.store(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    let read = Credentials::load(&path).unwrap();
    assert_eq!(read.certificate, node_credentials.certificate);
    assert_eq!(read.key, node_credentials.key);
    assert_eq!(read.authority, *authority.certificate());
    assert_eq!(read.gossip_key, Some(gossip_key));

    let path = scratch.path().join("framework.pem");
    let mixed = authority.issue(&framework("f"), VALIDITY_DEFAULT).unwrap();
    mixed.store_new(&path).unwrap();
    assert!(matches!(mixed.store_new(&path), Err(KeyError::Exists { .. })));
    assert_eq!(Credentials::load(&path).unwrap().gossip_key, None);
    let other = authority.issue(&framework("f"), VALIDITY_DEFAULT).unwrap();
    Credentials { key: other.key, ..mixed }.store(&path).unwrap();
    let error = Credentials::load(&path).unwrap_err();
    assert!(error.to_string().contains("does not belong"), "{error}");
}

#[test]
fn a_token_admits_and_names_its_own_cluster_only() {
    let ours = Authority::generate().unwrap();
    let theirs = Authority::generate().unwrap();
    let token = JoinToken::generate(ours.certificate()).unwrap();
    let read: JoinToken = token.to_text().parse().unwrap();
    assert!(token.verify(read.secret()));
    assert!(read.names_authority(ours.certificate()));
    assert!(!read.names_authority(theirs.certificate()));
    let other = JoinToken::generate(ours.certificate()).unwrap();
    assert!(!token.verify(other.secret()));
    assert!(!token.verify(&token.secret()[..31]));
    assert!(!token.verify(b""));

    let text = token.to_text();
    assert!(format!("  {text}\n").parse::<JoinToken>().is_ok());
    for length in 0..text.len() {
        assert!(text[..length].parse::<JoinToken>().is_err(), "{length}");
    }
    let mut mistyped = text.clone();
    mistyped.replace_range(20..21, if &text[20..21] == "a" { "b" } else { "a" });
    assert!(mistyped.parse::<JoinToken>().is_err());
}

#[test]
fn no_secret_is_printed() {
    let scratch = tempfile::tempdir().unwrap();
    let keys = keygen(&scratch.path().join("keys")).unwrap();
    let printed = format!("{keys:?}");
    for secret in [keys.gossip_key.to_text(), keys.join_token.to_text()] {
        assert!(!printed.contains(&secret[20..]));
    }
    assert!(printed.contains("hidden"));
    let credentials = keys.authority.issue(&node(1), VALIDITY_DEFAULT).unwrap();
    assert!(!format!("{credentials:?}").contains(&format!("{:?}", credentials.key.secret_der())));
}

#[test]
fn tls_accepts_a_nodes_certificate_for_that_node_and_cluster_only() {
    use std::sync::Arc;

    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        crypto::ring::default_provider,
        pki_types::{ServerName, UnixTime},
        server::WebPkiClientVerifier,
    };

    let ours = Authority::generate().unwrap();
    let theirs = Authority::generate().unwrap();
    let one = NodeId::from_bits(1);
    let provider = Arc::new(default_provider());
    let trusts = |authority: &Authority| {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().clone()).unwrap();
        Arc::new(roots)
    };
    let verifier = |authority: &Authority| {
        WebPkiServerVerifier::builder_with_provider(trusts(authority), Arc::clone(&provider))
            .build()
            .unwrap()
    };
    let accepts = |authority: &Authority, credentials: &Credentials, of: NodeId| {
        let name = ServerName::try_from(node_server_name(of)).unwrap();
        let now = UnixTime::now();
        let certificate = &credentials.certificate;
        verifier(authority).verify_server_cert(certificate, &[], &name, &[], now).is_ok()
    };
    let credentials = ours.issue(&node(1), VALIDITY_DEFAULT).unwrap();
    assert!(accepts(&ours, &credentials, one));
    assert!(!accepts(&ours, &credentials, NodeId::from_bits(2)), "another node's name");
    assert!(!accepts(&theirs, &credentials, one), "another cluster's authority");
    let spoofed = theirs.issue(&node(1), VALIDITY_DEFAULT).unwrap();
    assert!(!accepts(&ours, &spoofed, one));
    let operator = ours.issue(&operator("alice"), VALIDITY_DEFAULT).unwrap();
    assert!(!accepts(&ours, &operator, one), "an operator serves nobody");

    let clients = |authority: &Authority| {
        WebPkiClientVerifier::builder_with_provider(trusts(authority), Arc::clone(&provider))
            .build()
            .unwrap()
    };
    for credentials in [&credentials, &operator] {
        let certificate = &credentials.certificate;
        let now = UnixTime::now();
        assert!(clients(&ours).verify_client_cert(certificate, &[], now).is_ok());
        assert!(clients(&theirs).verify_client_cert(certificate, &[], now).is_err());
    }
    let expired = ours.issue(&node(1), Duration::from_secs(1)).unwrap();
    let later = UnixTime::since_unix_epoch(
        UnixTime::now().as_secs().checked_add(3600).map(Duration::from_secs).unwrap(),
    );
    let refused = clients(&ours).verify_client_cert(&expired.certificate, &[], later);
    assert!(refused.is_err(), "it ends when it should");
}

#[test]
fn only_the_authority_signs_statements() {
    let ours = Authority::generate().unwrap();
    let theirs = Authority::generate().unwrap();
    let signature = ours.sign_statement(b"term 9").unwrap();
    verify_statement(ours.certificate(), b"term 9", &signature).unwrap();
    assert!(verify_statement(ours.certificate(), b"term 8", &signature).is_err());
    assert!(verify_statement(theirs.certificate(), b"term 9", &signature).is_err());
    assert!(verify_statement(ours.certificate(), b"term 9", b"").is_err());
}

proptest! {
    #[test]
    fn principals_read_back_exactly(name in "\\PC{1,60}") {
        let kind = framework(&name);
        let authority = Authority::generate().unwrap();
        let credentials = authority.issue(&kind, VALIDITY_DEFAULT).unwrap();
        prop_assert_eq!(credentials.identity().unwrap().kind, kind);
    }

    #[test]
    fn base32_reads_back_and_has_one_text_for_each_value(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "[a-z2-7]{0,40}") {
        prop_assert_eq!(base32::decode(&base32::encode(&bytes)), Some(bytes));
        if let Some(decoded) = base32::decode(&text) {
            prop_assert_eq!(base32::encode(&decoded), text);
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), text in ".{0,200}") {
        let identity = PeerIdentity::from_certificate(&bytes);
        prop_assert!(identity.is_err());
        prop_assert!(text.parse::<JoinToken>().is_err());
        prop_assert!(text.parse::<GossipKey>().is_err());
        prop_assert!(verify_statement(&bytes.clone().into(), b"", &bytes).is_err());
    }

    #[test]
    fn a_damaged_certificate_or_request_never_panics(position in 0usize..600, flip in 1u8..) {
        let authority = Authority::generate().unwrap();
        let mut certificate = authority.issue(&node(1), VALIDITY_DEFAULT).unwrap().certificate.to_vec();
        let at = position % certificate.len();
        certificate[at] ^= flip;
        drop(PeerIdentity::from_certificate(&certificate));
        let mut request = NodeKey::generate().unwrap().request().unwrap().to_vec();
        let at = position % request.len();
        request[at] ^= flip;
        drop(authority.sign_request(&request, &node(1), VALIDITY_DEFAULT));
    }
}
