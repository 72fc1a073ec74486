//! Who is at the other end of a connection from this machine.
//!
//! The system keeps a list of all TCP connections with the user of the process that holds each end (proc(5),
//! `/proc/net/tcp`). A process of this machine is known by it without showing anything.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use tokio::{net::TcpStream, sync::OnceCell};

/// Where the system keeps them: the second for processes that asked for IPv6, be it to talk IPv4.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// The state of a connection that is open both ways, as the tables have it.
const ESTABLISHED: &str = "01";
/// The longest line of a table that is read.
const LINES_MAX: usize = 1 << 20;

/// The two ends of an accepted connection.
#[derive(Debug, Clone)]
pub(super) struct Peer(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    own: SocketAddr,
    other: SocketAddr,
    /// Of this end.
    inode: u64,
    /// Looked up until it is found, as the tables may miss a line while others come and go: the other end of a connection does not change while this one is open, and what is read from it came from there.
    user: OnceCell<u32>,
}

impl Peer {
    /// Unless the connection is gone already.
    pub(super) fn of(stream: &TcpStream) -> Option<Self> {
        let (own, other) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
        let inode = nix::sys::stat::fstat(stream).ok()?.st_ino;
        Some(Self::new(own, other, inode))
    }

    fn new(own: SocketAddr, other: SocketAddr, inode: u64) -> Self {
        let (own, other) = (plain(own), plain(other));
        Self(Arc::new(Ends { own, other, inode, user: OnceCell::new() }))
    }

    /// Whether the other end is on this machine: connections within it have the same address at both ends, but for those
    /// to loopback.
    pub(super) fn is_neighbour(&self) -> bool {
        let Ends { own, other, .. } = &*self.0;
        own.ip() == other.ip() || other.ip().is_loopback()
    }

    /// The user of the process at the other end, when that is on this machine.
    pub(super) async fn user(&self) -> Option<u32> {
        if !self.is_neighbour() {
            return None;
        }
        let Ends { own, other, inode, user } = &*self.0;
        let (own, other, inode) = (*own, *other, *inode);
        let find = || async move {
            // An error means that the runtime shuts down.
            tokio::task::spawn_blocking(move || find(own, other, inode))
                .await
                .ok()
                .flatten()
                .ok_or(())
        };
        user.get_or_try_init(find).await.ok().copied()
    }

    /// The user, if it was asked for before.
    pub(super) fn known_user(&self) -> Option<u32> {
        self.0.user.get().copied()
    }
}

/// The user of whoever holds the other end of the connection whose own end is the socket of this inode.
fn find(own: SocketAddr, other: SocketAddr, inode: u64) -> Option<u32> {
    // What its process has let go of has no inode, and is shown as root's.
    let held = |line: &Line| line.local == other && line.remote == own && line.inode != 0;
    let user = look(held)?.user;
    // Somebody else may have come from the same port since: not while this end is open, which is looked at last. What is closed
    // does not open again.
    look(|line| line.local == own && line.remote == other && line.inode == inode)?;
    Some(user)
}

/// The line of an open connection that is looked for.
fn look(wanted: impl Fn(&Line) -> bool) -> Option<Line> {
    TABLES.iter().find_map(|table| {
        let file = File::open(table).ok()?;
        let lines = BufReader::new(file).lines().map_while(Result::ok).take(LINES_MAX);
        lines.skip(1).filter_map(|line| Line::read(&line)).find(|line| wanted(line))
    })
}

/// One end of a connection that is open both ways.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    local: SocketAddr,
    remote: SocketAddr,
    user: u32,
    inode: u64,
}

impl Line {
    fn read(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        if state != ESTABLISHED {
            return None;
        }
        // Behind them: queues, timer, retransmissions; then the user, a timeout and the inode.
        let mut fields = fields.skip(3);
        let (user, inode) = (fields.next()?.parse().ok()?, fields.nth(1)?.parse().ok()?);
        Some(Self { local: address(local)?, remote: address(remote)?, user, inode })
    }
}

/// An address as the tables have it: words in the order of the machine's bytes, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = ip.get(8 * at..8 * at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[4 * at..4 * at + 4].copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(plain(SocketAddr::new(ip, port)))
}

/// IPv4 as such, whoever carries it.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[tokio::test]
    async fn a_process_of_this_machine_is_known_while_it_holds_its_end() {
        let me = nix::unistd::geteuid().as_raw();
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(listen).await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (accepted, other) = listener.accept().await.unwrap();
            let peer = || Peer::of(&accepted).unwrap();
            let (own, inode) = (accepted.local_addr().unwrap(), peer().0.inode);
            let asked = peer();
            assert_eq!(asked.known_user(), None);
            assert_eq!(asked.user().await, Some(me), "{listen}");
            assert_eq!(asked.known_user(), Some(me));
            // Its other end is not its own, another port is not there, and the own end is another socket's.
            let elsewhere = SocketAddr::new(other.ip(), own.port());
            assert_eq!(Peer::new(own, elsewhere, inode).user().await, None);
            assert_eq!(Peer::new(own, other, inode + 1).user().await, None);
            drop(client);
            assert_eq!(peer().user().await, None, "it has let go");
        }
    }

    #[tokio::test]
    async fn who_was_not_found_is_looked_for_again() {
        let me = nix::unistd::geteuid().as_raw();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpSocket::new_v4().unwrap();
        client.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let other = client.local_addr().unwrap();
        // The end of the listener's connection is known by its inode only once there is one: asked for before that, there is no line.
        let own = listener.local_addr().unwrap();
        let mut peer = Peer::new(own, other, 0);
        assert_eq!(peer.user().await, None);
        let _client = client.connect(own).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let inode = Peer::of(&accepted).unwrap().0.inode;
        Arc::get_mut(&mut peer.0).unwrap().inode = inode;
        assert_eq!(peer.user().await, Some(me));
    }

    #[tokio::test]
    async fn who_comes_from_the_same_port_later_is_somebody_else() {
        let me = nix::unistd::geteuid().as_raw();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let first = TcpStream::connect(here).await.unwrap();
        let (accepted, port) = listener.accept().await.unwrap();
        let before = Peer::of(&accepted).unwrap();
        // It ends at once, without the pause in which the port is nobody's.
        SockRef::from(&first).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(first);
        let second = TcpSocket::new_v4().unwrap();
        second.bind(port).unwrap();
        let _second = second.connect(here).await.unwrap();
        let (later, same_port) = listener.accept().await.unwrap();
        assert_eq!(same_port, port);
        assert_eq!(Peer::of(&later).unwrap().user().await, Some(me));
        assert_eq!(before.user().await, None);
        assert!(Peer::of(&accepted).is_none(), "it has no other end");
    }

    #[tokio::test]
    async fn nobody_elsewhere_is_asked_for() {
        let own = "192.0.2.1:5051".parse().unwrap();
        assert_eq!(Peer::new(own, "192.0.2.7:4711".parse().unwrap(), 7).user().await, None);
    }

    #[test]
    fn lines_are_read_as_the_system_writes_them() {
        let [local, remote] = ["127.0.0.1:4711", "127.0.0.1:5051"].map(|it| it.parse().unwrap());
        let v4 = u32::from_ne_bytes([127, 0, 0, 1]);
        let line = |state: &str, user: &str, inode: &str| {
            format!(
                "  12: {v4:08X}:1267 {v4:08X}:13BB {state} 00000000:00000000 00:00000000 00000000 {user} 0 {inode} 1"
            )
        };
        let read = |inode| Some(Line { local, remote, user: 1_000, inode });
        assert_eq!(Line::read(&line("01", "1000", "77")), read(77));
        assert_eq!(Line::read(&line("01", "1000", "0")), read(0));
        for (state, user, inode) in [("06", "0", "0"), ("08", "0", "7"), ("01", "x", "7")] {
            assert_eq!(Line::read(&line(state, user, inode)), None);
        }
        // IPv4 over a socket for IPv6.
        let word = |bytes: [u8; 4]| u32::from_ne_bytes(bytes);
        let mapped = format!("{:08X}{:08X}{:08X}{v4:08X}:1267", 0, 0, word([0, 0, 0xff, 0xff]));
        assert_eq!(address(&mapped), Some(local));
        for wrong in ["", "0:1", "0100007F", "0100007F:1FFFF", "\u{fc}\u{fc}\u{fc}\u{fc}:1"] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }
}
