//! What this machine is and has.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _, UdpSocket},
    path::Path,
};

use meshos_protocol::resources::{self, Resources};

use crate::config::Places;

/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 32;

/// What the configuration asks of the machine; a trait, so that it can be checked for machines that
/// are not this one.
pub(crate) trait Machine {
    /// What the machine has to offer, when the data lies in `data_dir`.
    ///
    /// # Errors
    /// Says what could not be found out.
    fn resources(&self, data_dir: &Path) -> Result<Resources, String>;
    /// The machine's name.
    fn hostname(&self) -> String;
    /// The addresses of a name; none when it has none.
    fn addresses_of(&self, host: &str) -> Vec<IpAddr>;
    /// Whether an address is one of this machine's.
    fn is_local(&self, ip: IpAddr) -> bool;
    /// The own address on the way to `ip`, or to the rest of the world.
    fn route_to(&self, ip: Option<IpAddr>) -> Option<IpAddr>;
    /// The user's folders.
    fn places(&self) -> Places;
}

/// The machine that this process runs on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ThisMachine;

impl Machine for ThisMachine {
    fn resources(&self, data_dir: &Path) -> Result<Resources, String> {
        let (cpus, mem_mb, disk_mb) = (cpus()?, mem_mb()?, disk_mb(data_dir)?);
        Ok(resources::detected(cpus, mem_mb, disk_mb))
    }

    fn hostname(&self) -> String {
        match nix::unistd::gethostname().map(std::ffi::OsString::into_string) {
            Ok(Ok(name)) if !name.is_empty() => name,
            _ => "localhost".to_owned(),
        }
    }

    fn addresses_of(&self, host: &str) -> Vec<IpAddr> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match (bare, 0).to_socket_addrs() {
            Ok(addresses) => addresses.take(ADDRESSES_MAX).map(|address| address.ip()).collect(),
            Err(_) => Vec::new(),
        }
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        !ip.is_unspecified() && UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
    }

    /// Connecting a UDP socket sends nothing: it only makes the system choose a route.
    fn route_to(&self, ip: Option<IpAddr>) -> Option<IpAddr> {
        // An address that is set aside for documentation stands for the rest of the world.
        let target = ip.unwrap_or(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let from: IpAddr = match target {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind(SocketAddr::new(from, 0)).ok()?;
        socket.connect(SocketAddr::new(target, 9)).ok()?;
        socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
    }

    fn places(&self) -> Places {
        Places::of_process()
    }
}

/// The processors that this process may use: within its affinity and its control group's quota.
fn cpus() -> Result<u64, String> {
    let count = std::thread::available_parallelism().map_err(|error| format!("cpus: {error}"))?;
    u64::try_from(count.get()).map_err(|error| format!("cpus: {error}"))
}

/// The machine's memory in MB, or its control group's limit where that is lower.
fn mem_mb() -> Result<u64, String> {
    let text = fs::read_to_string("/proc/meminfo").map_err(|error| format!("memory: {error}"))?;
    let total = mem_total_mb(&text).ok_or("memory: /proc/meminfo does not say MemTotal")?;
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
    Ok(limit.map_or(total, |bytes| total.min(bytes / (1024 * 1024))))
}

fn mem_total_mb(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes / 1024)
}

/// The size in MB of the file system that the directory is on, or will be.
fn disk_mb(directory: &Path) -> Result<u64, String> {
    let existing = directory.ancestors().find(|ancestor| ancestor.exists());
    let existing = existing.unwrap_or_else(|| Path::new("/"));
    let stat = nix::sys::statvfs::statvfs(existing)
        .map_err(|error| format!("disk at {}: {error}", existing.display()))?;
    let bytes = u128::from(stat.blocks()) * u128::from(stat.fragment_size());
    Ok(u64::try_from(bytes / (1024 * 1024)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_offered() {
        let directory = std::env::temp_dir().join("meshos-not-made-yet");
        let resources = ThisMachine.resources(&directory).unwrap();
        assert!(resources.is_offerable_total(), "{resources}");
        assert!(!ThisMachine.hostname().is_empty());
    }

    #[test]
    fn memory_is_read_in_megabytes() {
        let text = "MemTotal:       24684064 kB\nMemFree:        21000000 kB\n";
        assert_eq!(mem_total_mb(text), Some(24_105));
        assert_eq!(mem_total_mb("MemFree: 3 kB\n"), None);
        assert_eq!(mem_total_mb("MemTotal: lots kB\n"), None);
    }

    #[test]
    fn local_addresses_are_told_from_others() {
        assert!(ThisMachine.is_local(IpAddr::from([127, 0, 0, 1])));
        assert!(!ThisMachine.is_local(IpAddr::from([192, 0, 2, 1])));
        assert!(!ThisMachine.is_local(IpAddr::from([0, 0, 0, 0])));
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(ThisMachine.route_to(Some(loopback)), Some(loopback));
        assert_eq!(ThisMachine.addresses_of("127.0.0.1"), [loopback]);
    }
}
