//! A stream to some node: dialled, read, and found anew at another node.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use meshos_protocol::messages::{Refusal, StreamClass, StreamHello, scheduler::EventFrame};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{DriverError, outage::Outage};
use crate::{
    Credentials,
    wire::{
        self, ANY_NODE_NAME, FrameReader, FrameSender, Idle, Opened, WireError, WriterOptions,
        spawn_writer,
    },
};

/// How long dialling one address of a node may take.
const DIAL_LIMIT: Duration = Duration::from_secs(3);
/// Addresses of one node that are tried.
const ADDRESSES_MAX: usize = 8;
/// The wait after all nodes failed; it doubles up to the longest.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Events read and not yet handled; the node waits when there are more.
const EVENTS_MAX: usize = 1_024;

/// What happens to the connection.
#[derive(Debug)]
pub(super) enum Link {
    Up(FrameSender),
    Event(Box<EventFrame>),
    Down,
    /// No node could be reached for a while; why, in a sentence.
    Unreachable(String),
    /// Every node refuses the credentials; nothing more is tried.
    Refused(WireError),
}

/// Keeps a stream to one of the nodes open, until it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) links: mpsc::Receiver<Link>,
    /// The stream that is open is the last.
    last: CancellationToken,
    cancel: CancellationToken,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Connection {
    pub(super) fn start(
        credentials: &Credentials,
        nodes: Vec<String>,
    ) -> Result<Self, DriverError> {
        let config = wire::client_config(&credentials.for_wire(), Idle::default())?;
        let sockets = Sockets::open(&config)?;
        let (sender, links) = mpsc::channel(EVENTS_MAX);
        let (last, cancel) = (CancellationToken::new(), CancellationToken::new());
        let (no_more, token) = (last.clone(), cancel.clone());
        tokio::spawn(async move {
            token.run_until_cancelled(keep(&sockets, &nodes, &sender, &no_more)).await;
            sockets.close().await;
        });
        Ok(Self { links, last, cancel })
    }

    /// Looks for no other node when the stream ends.
    pub(super) fn stay_with_last(&self) {
        self.last.cancel();
    }
}

/// One socket for each family of addresses that this machine has.
struct Sockets {
    v4: Option<quinn::Endpoint>,
    v6: Option<quinn::Endpoint>,
}

impl Sockets {
    fn open(config: &quinn::ClientConfig) -> std::io::Result<Self> {
        let open = |any: SocketAddr| {
            let mut endpoint = quinn::Endpoint::client(any)?;
            endpoint.set_default_client_config(config.clone());
            Ok(endpoint)
        };
        let v4: std::io::Result<quinn::Endpoint> = open((Ipv4Addr::UNSPECIFIED, 0).into());
        let v6 = open((Ipv6Addr::UNSPECIFIED, 0).into());
        match (v4, v6) {
            (Err(error), Err(_)) => Err(error),
            (v4, v6) => Ok(Self { v4: v4.ok(), v6: v6.ok() }),
        }
    }

    fn for_address(&self, address: SocketAddr) -> Result<&quinn::Endpoint, WireError> {
        let (socket, family) = match address {
            SocketAddr::V4(_) => (&self.v4, "IPv4"),
            SocketAddr::V6(_) => (&self.v6, "IPv6"),
        };
        socket.as_ref().ok_or_else(|| WireError::Lost(format!("this machine has no {family}")))
    }

    async fn close(&self) {
        for endpoint in self.v4.iter().chain(&self.v6) {
            endpoint.close(0u32.into(), b"driver stops");
            endpoint.wait_idle().await;
        }
    }
}

async fn keep(
    sockets: &Sockets,
    nodes: &[String],
    links: &mpsc::Sender<Link>,
    last: &CancellationToken,
) {
    let mut backoff = BACKOFF_MIN;
    let (mut failures, mut refusals) = (0, 0);
    let mut outage = Outage::new();
    for node in nodes.iter().cycle() {
        match open_patiently(sockets, node, &mut outage, links).await {
            Ok(opened) => {
                tracing::info!(%node, "connected");
                (backoff, failures, refusals) = (BACKOFF_MIN, 0, 0);
                if serve(opened, links).await.is_err() || last.is_cancelled() {
                    return;
                }
                tracing::info!(%node, "connection lost; another node is tried");
                outage = Outage::new();
            }
            Err(error) => {
                tracing::debug!(%node, %error, "cannot connect");
                outage.failed(node, &error);
                failures += 1;
                refusals += usize::from(is_final(&error));
                if failures % nodes.len() != 0 {
                    continue;
                }
                // A node of another cluster among those that are down proves nothing.
                if refusals == nodes.len() {
                    drop(links.send(Link::Refused(error)).await);
                    return;
                }
                refusals = 0;
                tracing::debug!(%node, %error, "no node can be reached");
                rest(backoff, node, &mut outage, links).await;
                backoff = (backoff * 2).min(BACKOFF_MAX);
            }
        }
    }
}

/// Whether the same credentials will fail there again.
fn is_final(error: &WireError) -> bool {
    let refused = |cause: &Refusal| matches!(cause, Refusal::Identity | Refusal::Cluster);
    match error {
        WireError::Credentials(_) => true,
        WireError::Refused { cause, .. } => refused(cause),
        _ => false,
    }
}

/// Opens a stream to a node, and tells when that takes long.
async fn open_patiently(
    sockets: &Sockets,
    node: &str,
    outage: &mut Outage,
    links: &mpsc::Sender<Link>,
) -> Result<Opened, WireError> {
    let attempt = open(sockets, node);
    tokio::pin!(attempt);
    loop {
        tokio::select! {
            biased;
            done = &mut attempt => return done,
            () = outage.due() => drop(links.send(Link::Unreachable(outage.tell(node))).await),
        }
    }
}

/// Waits before the nodes are tried again, and tells when that has gone on for long.
async fn rest(pause: Duration, node: &str, outage: &mut Outage, links: &mpsc::Sender<Link>) {
    let pause = tokio::time::sleep(pause);
    tokio::pin!(pause);
    loop {
        tokio::select! {
            biased;
            () = &mut pause => return,
            () = outage.due() => drop(links.send(Link::Unreachable(outage.tell(node))).await),
        }
    }
}

/// Opens a stream to a node at the first of its addresses that answers.
async fn open(sockets: &Sockets, node: &str) -> Result<Opened, WireError> {
    let lost = |error: String| WireError::Lost(format!("{node}: {error}"));
    let found = tokio::time::timeout(DIAL_LIMIT, tokio::net::lookup_host(node)).await;
    let found = found.map_err(|_| lost("its name cannot be looked up in time".into()))?;
    let addresses: Vec<SocketAddr> =
        found.map_err(|error| lost(error.to_string()))?.take(ADDRESSES_MAX).collect();
    open_any(sockets, &addresses, lost("the name has no address".into())).await
}

async fn open_any(
    sockets: &Sockets,
    addresses: &[SocketAddr],
    none: WireError,
) -> Result<Opened, WireError> {
    let mut told = none;
    for (number, address) in addresses.iter().enumerate() {
        match open_at(sockets, *address).await {
            Ok(opened) => return Ok(opened),
            // One address that is another's proves nothing while the next may be the node's.
            Err(error) if number > 0 && is_final(&error) && !is_final(&told) => {}
            Err(error) => told = error,
        }
    }
    Err(told)
}

async fn open_at(sockets: &Sockets, address: SocketAddr) -> Result<Opened, WireError> {
    let lost = |error: String| WireError::Lost(format!("{address}: {error}"));
    let endpoint = sockets.for_address(address)?;
    let dial = async {
        let connecting =
            endpoint.connect(address, ANY_NODE_NAME).map_err(|error| lost(error.to_string()))?;
        let connection = connecting.await.map_err(|error| match error {
            // Before the handshake is done anybody on the way can say so.
            quinn::ConnectionError::ConnectionClosed(_) => lost(error.to_string()),
            error => wire::lost(&address, &error),
        })?;
        let hello = StreamHello::new(None, StreamClass::Scheduler);
        let opened = wire::open_stream(&connection, &hello).await;
        // A node looks at the certificate after this side is done, so the stream fails.
        opened.map_err(|error| match connection.close_reason() {
            Some(reason) => wire::lost(&address, &reason),
            None => error,
        })
    };
    let limit_ms = meshos_protocol::time::millis(DIAL_LIMIT);
    match tokio::time::timeout(DIAL_LIMIT, dial).await {
        Ok(opened) => opened,
        Err(_) => Err(WireError::TimedOut(limit_ms)),
    }
}

/// Passes events on until the stream ends; an error means that the driver is gone.
async fn serve(
    opened: Opened,
    links: &mpsc::Sender<Link>,
) -> Result<(), mpsc::error::SendError<Link>> {
    let Opened { send, mut reader } = opened;
    links.send(Link::Up(spawn_writer(send, WriterOptions::default()))).await?;
    let ended = read(&mut reader, links).await?;
    if let Err(error) = ended {
        tracing::info!(%error, "the stream ended");
    }
    links.send(Link::Down).await
}

async fn read(
    reader: &mut FrameReader,
    links: &mpsc::Sender<Link>,
) -> Result<Result<(), WireError>, mpsc::error::SendError<Link>> {
    loop {
        match reader.read::<EventFrame>().await {
            Ok(Some(event)) => links.send(Link::Event(Box::new(event))).await?,
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        PKCS_ECDSA_P256_SHA256,
    };
    use rustls_pki_types::PrivateKeyDer;

    use super::*;

    fn key() -> KeyPair {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
    }

    /// A certificate that serves for either side of a connection.
    fn credentials() -> wire::Credentials {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = key();
        let certificate = authority.self_signed(&authority_key).unwrap();
        let mut own = CertificateParams::new(vec![ANY_NODE_NAME.to_owned()]).unwrap();
        own.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let own_key = key();
        let signed = own.signed_by(&own_key, &Issuer::new(authority, authority_key)).unwrap();
        let secret = PrivateKeyDer::try_from(own_key.serialize_der()).unwrap();
        wire::Credentials {
            authority: certificate.der().clone(),
            certificate: Some((signed.der().clone(), secret)),
        }
    }

    /// Accepts every stream at this address; none when this machine has no such address.
    fn node(credentials: &wire::Credentials, address: &str) -> Option<SocketAddr> {
        std::net::UdpSocket::bind(address).ok()?;
        let config = wire::server_config(credentials, Idle::default()).unwrap();
        let endpoint = quinn::Endpoint::server(config, address.parse().unwrap()).unwrap();
        let address = endpoint.local_addr().unwrap();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Some(incoming) = endpoint.accept().await {
                let Ok(connection) = incoming.await else { continue };
                let Ok((mut send, receive)) = connection.accept_bi().await else { continue };
                let mut reader = FrameReader::new(receive);
                let hello = wire::read_hello(&mut reader, DIAL_LIMIT).await.unwrap();
                wire::answer_stream(&mut send, &hello, Ok(())).await.unwrap();
                held.push((connection, send, reader));
            }
        });
        Some(address)
    }

    #[tokio::test]
    async fn a_node_is_reached_at_the_first_of_its_addresses_that_answers() {
        let credentials = credentials();
        let config = wire::client_config(&credentials, Idle::default()).unwrap();
        let sockets = Sockets::open(&config).unwrap();
        let none = || WireError::Lost("no address".into());
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let silent = silent.local_addr().unwrap();
        let reached: Vec<SocketAddr> = ["127.0.0.1:0", "[::1]:0"]
            .into_iter()
            .filter_map(|address| node(&credentials, address))
            .collect();
        assert!(!reached.is_empty(), "this machine has no loopback");
        for address in reached {
            open_any(&sockets, &[silent, address], none()).await.unwrap();
        }
        let error = open_any(&sockets, &[silent], none()).await.unwrap_err();
        assert!(matches!(error, WireError::TimedOut(3_000)), "{error}");
        let error = open_any(&sockets, &[], none()).await.unwrap_err();
        assert_eq!(error.to_string(), "connection lost: no address");
    }

    /// What the scheduler's side hears when these nodes are tried, but for outages when those do not
    /// count.
    async fn first_link(
        credentials: &wire::Credentials,
        nodes: Vec<String>,
        outages: bool,
    ) -> Option<Link> {
        loop {
            match next_link(credentials, nodes.clone()).await {
                // A busy machine is slow.
                Some(Link::Unreachable(_)) if !outages => {}
                link => return link,
            }
        }
    }

    async fn next_link(credentials: &wire::Credentials, nodes: Vec<String>) -> Option<Link> {
        let config = wire::client_config(credentials, Idle::default()).unwrap();
        let sockets = Sockets::open(&config).unwrap();
        let (sender, mut links) = mpsc::channel(EVENTS_MAX);
        let last = CancellationToken::new();
        tokio::select! {
            () = keep(&sockets, &nodes, &sender, &last) => links.try_recv().ok(),
            link = links.recv() => link,
        }
    }

    #[tokio::test]
    async fn credentials_of_another_cluster_are_refused_for_good() {
        let address = node(&credentials(), "127.0.0.1:0").expect("loopback is there").to_string();
        let strange = credentials();
        let link = first_link(&strange, vec![address.clone()], false).await;
        let Some(Link::Refused(WireError::Credentials(why))) = link else { panic!("{link:?}") };
        assert!(why.contains(&format!("at {address} is no node of their cluster")), "{why}");
        // With a node that does not answer the others may still be right.
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let nodes = vec![address, silent.local_addr().unwrap().to_string()];
        let link = first_link(&strange, nodes, true).await;
        assert!(matches!(link, Some(Link::Unreachable(_))), "{link:?}");
    }

    #[tokio::test]
    async fn a_certificate_that_the_node_does_not_accept_is_told_apart() {
        let (own, strange) = (credentials(), credentials());
        let address = node(&own, "127.0.0.1:0").expect("loopback is there").to_string();
        // It believes the node, and the node does not believe it.
        let mixed = wire::Credentials { certificate: strange.certificate, ..own };
        let link = first_link(&mixed, vec![address], false).await;
        let Some(Link::Refused(WireError::Credentials(why))) = link else { panic!("{link:?}") };
        assert!(why.contains("does not accept the certificate"), "{why}");
    }

    #[tokio::test]
    async fn a_node_that_is_not_there_is_told_after_a_second() {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let node = silent.local_addr().unwrap().to_string();
        // The second cannot be sent to at all, so that trying it takes no time.
        for node in [node, "0.0.0.0:1".to_owned()] {
            let link = first_link(&credentials(), vec![node.clone()], true).await;
            let Some(Link::Unreachable(why)) = link else { panic!("{link:?}") };
            assert!(why.contains(&node), "{why}");
        }
    }
}
