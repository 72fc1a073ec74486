//! Machines of their own for nodes: network namespaces on one bridge, each of which can be cut off.

use std::{
    fs::File,
    net::Ipv4Addr,
    process::{Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
};

use nix::sched::{CloneFlags, setns};

/// Counts the networks of this process.
static NETWORKS: AtomicU8 = AtomicU8::new(0);

/// A bridge with namespaces; all of it is removed when dropped. Needs root.
#[derive(Debug)]
pub struct Network {
    tag: String,
    subnet: [u8; 3],
    machines: usize,
}

impl Network {
    /// A network with so many machines, which reach each other and are reached from here.
    ///
    /// # Panics
    /// When the system does not allow it.
    #[must_use]
    pub fn new(machines: usize) -> Self {
        let count = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let tag = format!("mt{}{count}", pid % 100_000);
        // From the block for tests of networks (RFC 2544), a subnet for each process.
        let third = u8::try_from(pid % 250).unwrap_or(0).wrapping_add(count);
        let network = Self { tag, subnet: [198, 18, third], machines };
        let bridge = network.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"]);
        ip(&["address", "add", &format!("{}/24", network.address_of(0)), "dev", &bridge]);
        ip(&["link", "set", &bridge, "up"]);
        for index in 0..machines {
            network.add(index);
        }
        network
    }

    fn add(&self, index: usize) {
        let (name, outer, inner) = (self.name(index), self.outer(index), "eth0");
        ip(&["netns", "add", &name]);
        ip(&["link", "add", &outer, "type", "veth", "peer", "name", inner, "netns", &name]);
        ip(&["link", "set", &outer, "master", &self.bridge(), "up"]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        ip(&["-n", &name, "address", "add", &format!("{}/24", self.address(index)), "dev", inner]);
        ip(&["-n", &name, "link", "set", inner, "up"]);
    }

    fn bridge(&self) -> String {
        format!("{}b", self.tag)
    }

    fn outer(&self, index: usize) -> String {
        format!("{}v{index}", self.tag)
    }

    /// The name of a machine's namespace.
    fn name(&self, index: usize) -> String {
        format!("{}n{index}", self.tag)
    }

    /// A machine's address.
    #[must_use]
    pub fn address(&self, index: usize) -> Ipv4Addr {
        self.address_of(u8::try_from(index + 1).expect("there are few machines"))
    }

    fn address_of(&self, last: u8) -> Ipv4Addr {
        let [first, second, third] = self.subnet;
        Ipv4Addr::new(first, second, third, last + 1)
    }

    /// What starts a program on a machine.
    #[must_use]
    pub fn wrapper(&self, index: usize) -> Vec<String> {
        vec![
            "nsenter".to_owned(),
            format!("--net=/run/netns/{}", self.name(index)),
            "--".to_owned(),
        ]
    }

    /// Does something on a machine: sockets that are opened meanwhile are that machine's.
    ///
    /// # Panics
    /// When the namespace cannot be entered, or `work` panics.
    pub fn on<T: Send>(&self, index: usize, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name(index))).expect("it was made");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
                work()
            });
            match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Pulls a machine's cable.
    pub fn cut(&self, index: usize) {
        ip(&["link", "set", &self.outer(index), "nomaster"]);
    }

    /// Plugs it in again.
    pub fn heal(&self, index: usize) {
        ip(&["link", "set", &self.outer(index), "master", &self.bridge()]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for index in 0..self.machines {
            try_ip(&["link", "delete", &self.outer(index)]);
            try_ip(&["netns", "delete", &self.name(index)]);
        }
        try_ip(&["link", "delete", &self.bridge()]);
    }
}

fn ip(arguments: &[&str]) {
    let mut command = Command::new("ip");
    let output =
        command.args(arguments).stdin(Stdio::null()).output().expect("iproute2 is installed");
    assert!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// For what may be gone already.
fn try_ip(arguments: &[&str]) {
    Command::new("ip").args(arguments).stdin(Stdio::null()).output().ok();
}
