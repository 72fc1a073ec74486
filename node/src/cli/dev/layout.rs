//! Where each node of the cluster lies, listens, and what it offers.

use std::{
    fs::{self, DirBuilder, Permissions},
    net::{TcpListener, UdpSocket},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use meshos_membership::{bootstrap::SEEDS_MAX, identity::DataDir, keys};
use meshos_protocol::resources::{
    Amount, Metadata, Ranges, Resource, ResourceName, Resources, Value,
};

use super::Arguments;
use crate::detect::{Machine as _, ThisMachine};

/// From one node's ports to the next one's.
const PORT_STEP: u16 = 10;
/// From one base port to the next one that is looked at, and how many are.
const BASE_STEP: u16 = 1_000;
const BASES_TRIED: u16 = 20;
/// Of the cluster's directories: other users' tasks pass through them to their sandboxes.
pub(super) const DIRECTORY_MODE: u32 = 0o711;
const CPUS_MIN: i64 = 1;
const MEM_MB_MIN: i64 = 64;

/// The whole cluster on paper.
#[derive(Debug)]
pub(super) struct Layout {
    pub nodes: Vec<NodePlace>,
    /// The directory of everything.
    pub dir: PathBuf,
    /// Whether it is to be removed at the end.
    pub temporary: bool,
    /// Keeps another cluster out of the directory.
    _held: DataDir,
}

/// One node on paper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodePlace {
    pub index: usize,
    /// Its cluster HTTP port on 127.0.0.1; the agent's is the next one.
    pub port: u16,
    pub data_dir: PathBuf,
    pub log: PathBuf,
    /// What `meshos` is told.
    pub arguments: Vec<String>,
}

impl NodePlace {
    /// `host:port` of its cluster HTTP port.
    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How to start it by hand, for a shell.
    pub(super) fn command(&self) -> String {
        let program = std::env::current_exe().map(|file| file.display().to_string());
        let program = program.unwrap_or_else(|_| "meshos".to_owned());
        let words = std::iter::once(&program).chain(&self.arguments);
        words.map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }

    /// `host:port` of its agent port.
    pub(super) fn agent_address(&self) -> String {
        format!("127.0.0.1:{}", self.port + 1)
    }
}

/// What was asked for, read.
#[derive(Debug)]
pub(super) struct Wanted {
    ports: Vec<u16>,
    seeds: usize,
    resources: Option<Resources>,
}

/// Checks that what was asked for fits together.
///
/// # Errors
/// Says what does not.
pub(super) fn check(arguments: &Arguments) -> Result<Wanted> {
    options(&arguments.options)?;
    Ok(Wanted {
        ports: ports(arguments.nodes, arguments.base_port)?,
        seeds: seeds(arguments.nodes, arguments.seeds)?,
        resources: arguments.resources.as_deref().map(resources).transpose()?,
    })
}

/// What `dev` says to each node itself, so that nobody may say it again.
const SAID_BY_DEV: [&str; 12] = [
    "--data-dir",
    "--keys",
    "--listen",
    "--agent-port",
    "--advertise",
    "--hostname",
    "--resources",
    "--open-http",
    "--allow-root-tasks",
    "--stop-tasks",
    "--seed",
    "--timing-factor",
];
/// The same that are options of `dev` too.
const TO_BE_SAID_TO_DEV: [&str; 2] = ["--resources", "--timing-factor"];

/// Options that would be said to a node twice are refused before any is started.
fn options(options: &[String]) -> Result<()> {
    for option in options {
        let name = option.split('=').next().unwrap_or(option);
        if TO_BE_SAID_TO_DEV.contains(&name) {
            bail!("{name} is an option of `meshos dev` itself: write it before the `--`");
        }
        if SAID_BY_DEV.contains(&name) {
            bail!("{name} after `--` is not possible: `meshos dev` says it to each node itself");
        }
    }
    Ok(())
}

impl Layout {
    /// Looks whether the ports are free, and makes the directory with its keys.
    pub(super) fn of(arguments: &Arguments, wanted: Wanted) -> Result<Self> {
        let Wanted { ports, seeds, resources: given } = wanted;
        if let Err(taken) = all_free(&ports) {
            let other = other_base(arguments.nodes, arguments.base_port);
            return Err(match other {
                Some(base) => taken.context(format!("try --base-port {base}, where all are free")),
                None => taken,
            });
        }
        let (dir, temporary) = match &arguments.dir {
            Some(dir) => (make_dir(dir)?, false),
            None => (temporary_dir()?, true),
        };
        let held =
            DataDir::open(&dir).context("another cluster may run there; choose another --dir")?;
        let made = keys::loopback_keys(&dir.join("keys")).context("cannot make the cluster's keys");
        let planned = made.and_then(|_| {
            let shares = match given {
                Some(resources) => vec![resources; ports.len()],
                None => {
                    let all = ThisMachine.resources(&dir).map_err(anyhow::Error::msg);
                    shares(
                        &all.context("cannot tell what this machine has; say it with --resources")?,
                        ports.len(),
                    )
                }
            };
            Ok(plan(&ports, seeds, &shares, &dir, arguments))
        });
        if planned.is_err() && temporary {
            // The error is what counts.
            drop(fs::remove_dir_all(&dir));
        }
        Ok(Self { nodes: planned?, dir, temporary, _held: held })
    }
}

fn plan(
    ports: &[u16],
    seeds: usize,
    shares: &[Resources],
    dir: &Path,
    arguments: &Arguments,
) -> Vec<NodePlace> {
    let seeds: Vec<String> = ports[..seeds]
        .iter()
        .flat_map(|port| ["--seed".to_owned(), format!("127.0.0.1:{port}")])
        .collect();
    let keys = dir.join("keys");
    let places = ports.iter().zip(shares).enumerate();
    places
        .map(|(index, (port, share))| {
            let data_dir = dir.join(format!("node-{index}"));
            let mut line: Vec<String> = vec![
                "node".into(),
                format!("--data-dir={}", data_dir.display()),
                format!("--keys={}", keys.display()),
                format!("--listen=127.0.0.1:{port}"),
                format!("--agent-port={}", port + 1),
                "--advertise=127.0.0.1".into(),
                format!("--hostname=node-{index}"),
                format!("--resources={share}"),
                "--open-http".into(),
                "--allow-root-tasks".into(),
                "--stop-tasks".into(),
            ];
            line.extend(seeds.iter().cloned());
            line.extend(arguments.timing_factor.map(|factor| format!("--timing-factor={factor}")));
            line.extend(arguments.options.iter().cloned());
            let log = data_dir.join("log");
            NodePlace { index, port: *port, data_dir, log, arguments: line }
        })
        .collect()
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=./:,+@%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn ports(nodes: u16, base: u16) -> Result<Vec<u16>> {
    let last = u32::from(base) + u32::from(nodes - 1) * u32::from(PORT_STEP) + 1;
    ensure!(
        last <= u32::from(u16::MAX),
        "{nodes} nodes from port {base} on would need port {last}, and ports end at 65535; choose a lower --base-port"
    );
    Ok((0..nodes).map(|index| base + index * PORT_STEP).collect())
}

fn seeds(nodes: u16, wanted: Option<u16>) -> Result<usize> {
    let seeds = wanted.unwrap_or(if nodes < 3 { 1 } else { 3 });
    let most = usize::from(nodes).min(SEEDS_MAX);
    let count = usize::from(seeds);
    ensure!(
        count % 2 == 1 && count <= most,
        "--seeds is {seeds}: expected an odd number, at most {most} with {nodes} nodes"
    );
    Ok(count)
}

fn resources(text: &str) -> Result<Resources> {
    let resources: Resources = text.parse().with_context(|| format!("--resources is {text:?}"))?;
    ensure!(
        resources.revocable().is_empty(),
        "--resources is {text:?}: name what may be taken back at any time behind the options of `meshos dev`, as in \
         `-- --revocable-resources cpus:4`"
    );
    if !resources.is_offerable_total() {
        bail!(
            "--resources is {text:?}: a node without cpus or mem is never offered; for example cpus:2;mem:1024"
        );
    }
    Ok(resources)
}

/// An equal share of the machine for each node. Ports are split, since the nodes really share them;
/// cpus and memory too, but no node gets less than it needs to run anything.
fn shares(all: &Resources, nodes: usize) -> Vec<Resources> {
    let parts = i64::try_from(nodes).unwrap_or(i64::MAX).max(1);
    let share = |amount: Amount, least: i64| Amount::whole((amount.units() / parts).max(least));
    let ports: Vec<u64> = all.ports().values().collect();
    let each = ports.len() / nodes.max(1);
    (0..nodes)
        .map(|index| {
            let own = ports.get(index * each..(index + 1) * each).unwrap_or_default();
            let own =
                own.first().zip(own.last()).and_then(|(first, last)| Ranges::single(*first, *last));
            [
                (ResourceName::Cpus, Value::Scalar(share(all.cpus(), CPUS_MIN))),
                (ResourceName::Mem, Value::Scalar(share(all.mem(), MEM_MB_MIN))),
                (ResourceName::Disk, Value::Scalar(share(all.disk(), 0))),
                (ResourceName::Ports, Value::Ranges(own.unwrap_or_default())),
            ]
            .into_iter()
            .filter_map(|(name, value)| Resource::new(name, Metadata::UNRESERVED, value).ok())
            .collect()
        })
        .collect()
}

fn all_free(ports: &[u16]) -> Result<()> {
    ports.iter().try_for_each(|port| check_free(*port))
}

/// The next base port from which on all are free.
fn other_base(nodes: u16, base: u16) -> Option<u16> {
    let tries = (1..=BASES_TRIED).filter_map(|step| base.checked_add(step * BASE_STEP));
    tries.filter(|base| ports(nodes, *base).is_ok_and(|ports| all_free(&ports).is_ok())).min()
}

/// Both ports of a node, for both protocols.
fn check_free(port: u16) -> Result<()> {
    for port in [port, port + 1] {
        let taken = TcpListener::bind(("127.0.0.1", port))
            .map(drop)
            .and_then(|()| UdpSocket::bind(("127.0.0.1", port)).map(drop));
        taken.with_context(|| {
            format!(
                "port {port} of 127.0.0.1 cannot be used; choose others with --base-port P \
                 (node i takes P+10i and P+10i+1), or end what uses it"
            )
        })?;
    }
    Ok(())
}

fn make_dir(dir: &Path) -> Result<PathBuf> {
    let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir);
    made.and_then(|()| fs::canonicalize(dir))
        .with_context(|| format!("cannot use the directory {}", dir.display()))
}

fn temporary_dir() -> Result<PathBuf> {
    let template = std::env::temp_dir().join("meshos-dev-XXXXXX");
    let made = nix::unistd::mkdtemp(&template).with_context(|| {
        format!("cannot make a directory in {}", std::env::temp_dir().display())
    })?;
    fs::set_permissions(&made, Permissions::from_mode(DIRECTORY_MODE))
        .and_then(|()| fs::canonicalize(&made))
        .with_context(|| format!("cannot use the directory {}", made.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> Arguments {
        Arguments {
            nodes: 3,
            base_port: 7000,
            dir: None,
            resources: None,
            seeds: None,
            run: None,
            timing_factor: Some(4),
            options: vec!["--agent-timeout".into(), "5s".into()],
        }
    }

    #[test]
    fn each_node_is_told_its_place_and_all_the_same_seeds() {
        let ports = ports(3, 7000).unwrap();
        assert_eq!(ports, [7000, 7010, 7020]);
        let share: Resources = "cpus:1;mem:64".parse().unwrap();
        let nodes = plan(&ports, 3, &vec![share; 3], Path::new("/d"), &arguments());
        assert_eq!(nodes[2].address(), "127.0.0.1:7020");
        assert_eq!(nodes[2].agent_address(), "127.0.0.1:7021");
        assert_eq!(nodes[2].log, Path::new("/d/node-2/log"));
        assert_eq!(
            nodes[2].arguments.join(" "),
            "node --data-dir=/d/node-2 --keys=/d/keys --listen=127.0.0.1:7020 --agent-port=7021 \
             --advertise=127.0.0.1 --hostname=node-2 --resources=cpus:1;mem:64 --open-http --allow-root-tasks \
             --stop-tasks --seed 127.0.0.1:7000 --seed 127.0.0.1:7010 --seed 127.0.0.1:7020 \
             --timing-factor=4 --agent-timeout 5s"
        );
    }

    #[test]
    fn a_node_can_be_started_again_by_hand() {
        let share: Resources = "cpus:1;mem:64".parse().unwrap();
        let nodes = plan(&[7000], 1, &[share], Path::new("/my d"), &arguments());
        let command = nodes[0].command();
        assert!(
            command.contains(" node '--data-dir=/my d/node-0' '--keys=/my d/keys' "),
            "{command}"
        );
        assert!(command.contains(" '--resources=cpus:1;mem:64' "), "{command}");
        assert_eq!(quoted("a'b"), "'a'\\''b'");
    }

    #[test]
    fn ports_and_seeds_are_checked() {
        let error = ports(100, 65_000).unwrap_err().to_string();
        assert!(error.contains("would need port 65991"), "{error}");
        assert_eq!(ports(1, 65_534).unwrap(), [65_534]);
        assert_eq!((seeds(1, None).unwrap(), seeds(2, None).unwrap()), (1, 1));
        assert_eq!((seeds(9, None).unwrap(), seeds(9, Some(7)).unwrap()), (3, 7));
        for (nodes, wanted) in [(3, 2), (3, 5), (20, 9), (3, 0)] {
            let error = seeds(nodes, Some(wanted)).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("--seeds is {wanted}: expected an odd number")),
                "{error}"
            );
        }
    }

    #[test]
    fn the_machine_is_shared_out() {
        let all: Resources = "cpus:16;mem:3000;disk:900;ports:[31000-32000]".parse().unwrap();
        let shares = shares(&all, 3);
        let texts: Vec<String> = shares.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "cpus:5;mem:1000;disk:300;ports:[31000-31332]",
                "cpus:5;mem:1000;disk:300;ports:[31333-31665]",
                "cpus:5;mem:1000;disk:300;ports:[31666-31998]",
            ]
        );
        let small = "cpus:2;mem:100".parse().unwrap();
        assert_eq!(self::shares(&small, 3)[2].to_string(), "cpus:1;mem:64");
    }

    #[test]
    fn another_base_port_is_found() {
        let base = other_base(3, 20_000).expect("some ports are free");
        assert!(base > 20_000 && base.is_multiple_of(BASE_STEP), "{base}");
        assert_eq!(other_base(100, 65_000), None);
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = check_free(port.min(65_534)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("port {port} of 127.0.0.1 cannot be used")), "{error}");
    }

    #[test]
    fn resources_that_are_never_offered_are_refused() {
        let error = resources("cpus:2").unwrap_err().to_string();
        assert!(error.contains("is never offered"), "{error}");
        assert!(resources("cpus:2;mem:64").is_ok());
        let error = resources("cpus:2;mem:64;cpus{revocable}:1").unwrap_err().to_string();
        assert!(error.contains("-- --revocable-resources"), "{error}");
        assert!(
            format!("{:#}", resources("cpus").unwrap_err())
                .starts_with("--resources is \"cpus\": ")
        );
    }

    #[test]
    fn what_dev_says_itself_cannot_be_said_to_its_nodes() {
        let refused = |option: &str| {
            let arguments = Arguments { options: vec![option.into()], ..arguments() };
            check(&arguments).map(|_| ()).unwrap_err().to_string()
        };
        assert!(refused("--resources").contains("write it before the `--`"));
        assert!(refused("--keys=k").starts_with("--keys after `--` is not possible"));
        // What it says to nodes is what is refused.
        let layout = plan(&[7000], 1, &["cpus:1".parse().unwrap()], Path::new("/d"), &arguments());
        let said = layout.iter().flat_map(|place| &place.arguments);
        let flags = said
            .filter_map(|word| word.strip_prefix("--"))
            .map(|word| format!("--{}", word.split('=').next().unwrap_or_default()));
        for flag in flags.filter(|flag| flag != "--agent-timeout") {
            assert!(SAID_BY_DEV.contains(&flag.as_str()), "{flag}");
        }
    }
}
