//! From what was given to what holds.

mod disks;
mod revocable;
mod sharing;
mod times;
mod zookeeper;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use meshos_isolation::IsolatorName;
use meshos_membership::{gossip::NODES_MAX_DEFAULT, keys::JoinToken};
use meshos_protocol::{
    attributes::Attributes,
    resources::Resources,
    wishes::{FaultDomain, FaultDomainError},
};

use super::{ConfigError, KeySource, NodeOptions, Raw, Seed, address, raw::Given, seeds};
use crate::{detect::Machine, logging};

const PORT_DEFAULT: u16 = 5050;
/// More than any usual program has, and a quarter of what Linux has process ids for by default on
/// small machines (`kernel.pid_max` 32,768), so that no task takes them all.
const TASK_PIDS_MAX: u32 = 8_192;
/// What gossip carries at most.
const NODES_MAX_LIMIT: u32 = 1_000;
const HOSTNAME_BYTES_MAX: usize = 253;
const TOKEN_BYTES_MAX: u64 = 4_096;
/// Where a token's text begins, so that it can be told from the name of a file.
const TOKEN_PREFIX: &str = "meshos-join-";

const WITHOUT_KEYS: &str = "without keys a node talks to this machine alone; \
    make keys with `meshos keygen`, then start seeds with --keys DIR and other nodes with --join-token FILE";

/// What a node is to do.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub options: NodeOptions,
    pub logging: logging::Options,
    /// What works, and probably is not meant.
    pub warnings: Vec<String>,
}

/// Checks everything that was given and fills in the rest.
///
/// # Errors
/// All that is wrong, not only the first.
pub(crate) fn resolve(raw: Raw, machine: &dyn Machine) -> Result<Resolved, ConfigError> {
    let mut check = Check { machine, problems: Vec::new(), warnings: Vec::new() };
    let data_dir = check.data_dir(raw.data_dir.as_ref());
    let seeds = check.seeds(raw.seed.as_ref());
    let keys = check.keys(&raw, &seeds);
    let bare = matches!(keys, KeySource::Loopback(_));
    let (listen, agent_listen) = check.listen(&raw, bare);
    let advertise = check.advertise(raw.advertise.as_ref(), listen, &seeds, bare);
    if bare {
        check.seeds_are_here(raw.seed.as_ref(), &seeds);
    }
    let (open_http, http_principals) = check.callers(&raw, [listen, agent_listen]);
    let resources = check.all_resources(&raw, &data_dir);
    let attributes = check.read(raw.attributes.as_ref(), Attributes::default, |text| {
        Attributes::parse(text).map_err(|error| error.to_string())
    });
    let domain = check.read(raw.domain.as_ref(), || None, parse_domain);
    let isolation = check.read(raw.isolation.as_ref(), Vec::new, |text| {
        IsolatorName::parse_list(text).map_err(|error| error.to_string())
    });
    let hostname = check.read(raw.hostname.as_ref(), || machine.hostname(), parse_hostname);
    let nodes_max = check.nodes_max(raw.nodes_max.as_ref(), &seeds);
    let times = check.times(&raw);
    let (replace_voters_after, snapshot_every_entries) = check.voters(&raw);
    check.limits_are_kept(&raw, &isolation);
    let logging = logging::Options {
        filter: check.read(
            raw.log_level.as_ref(),
            logging::Filter::default,
            logging::Filter::parse,
        ),
        json: raw.log_json.as_ref().is_some_and(|given| given.value),
    };
    let options = NodeOptions {
        sharing: check.sharing(&raw),
        sandbox_rule: check.sandbox_rule(&raw),
        executor_times: check.executor_times(&raw),
        zk_listen: check.zookeeper(&raw, bare, [listen, agent_listen]),
        data_dir,
        keys,
        listen,
        agent_listen,
        advertise,
        hostname,
        seeds,
        resources,
        attributes,
        domain,
        isolation,
        cpu_quota: raw.cpu_quota.is_some_and(|given| given.value),
        task_pids_max: Some(raw.task_pids_max.map_or(TASK_PIDS_MAX, |given| given.value))
            .filter(|max| *max > 0),
        allow_root_tasks: raw.allow_root_tasks.is_some_and(|given| given.value),
        open_http,
        http_principals,
        stop_tasks: raw.stop_tasks.is_some_and(|given| given.value),
        replace_voters_after,
        snapshot_every_entries,
        record_events: raw.record_events.map_or(0, |given| u64::from(given.value) * 1_000_000),
        nodes_max,
        times,
    };
    let Check { problems, warnings, .. } = check;
    if problems.is_empty() {
        Ok(Resolved { options, logging, warnings })
    } else {
        Err(ConfigError(problems))
    }
}

/// Collects what is wrong on the way. A wrong value is replaced by a default, so that the rest can be
/// checked too; nothing of it is used.
struct Check<'a> {
    machine: &'a dyn Machine,
    problems: Vec<String>,
    warnings: Vec<String>,
}

impl Check<'_> {
    fn read<T>(
        &mut self,
        given: Option<&Given<String>>,
        default: impl FnOnce() -> T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let Some(given) = given else { return default() };
        parse(&given.value).unwrap_or_else(|why| {
            self.problems.push(given.problem(why));
            default()
        })
    }

    fn data_dir(&mut self, given: Option<&Given<String>>) -> PathBuf {
        let path = match given {
            Some(given) if given.value.is_empty() => {
                self.problems.push(given.problem("name a directory"));
                return PathBuf::new();
            }
            Some(given) => PathBuf::from(&given.value),
            None => match self.machine.places().data_dir() {
                Some(path) => path,
                None => {
                    self.problems.push(
                        "there is no place for the node's data, because HOME is not set; name a directory with --data-dir"
                            .to_owned(),
                    );
                    return PathBuf::new();
                }
            },
        };
        // The launcher is told its directory and works from the root.
        std::path::absolute(&path).unwrap_or_else(|error| {
            self.problems
                .push(format!("cannot use the data directory {}: {error}", path.display()));
            path
        })
    }

    fn seeds(&mut self, given: Option<&Given<Vec<String>>>) -> Vec<Seed> {
        let Some(given) = given else { return Vec::new() };
        match seeds::parse_seeds(&given.value) {
            Ok((seeds, warning)) => {
                self.warnings.extend(warning);
                seeds
            }
            Err(why) => {
                self.problems.push(format!("{}: {why}", given.from));
                Vec::new()
            }
        }
    }

    fn keys(&mut self, raw: &Raw, seeds: &[Seed]) -> KeySource {
        match (&raw.keys, &raw.join_token) {
            (Some(keys), Some(token)) => {
                self.problems.push(format!(
                    "{} and {} exclude each other: a seed has the keys, any other node the token",
                    keys.from, token.from
                ));
                KeySource::Directory(PathBuf::from(&keys.value))
            }
            (Some(keys), None) => {
                if !Path::new(&keys.value).is_dir() {
                    self.problems.push(keys.problem(
                        "there is no such directory; make it with `meshos keygen --dir DIR`",
                    ));
                }
                KeySource::Directory(PathBuf::from(&keys.value))
            }
            (None, Some(token)) => {
                if seeds.is_empty() && raw.seed.is_none() {
                    self.problems.push(format!(
                        "{} is given, but no seed that could take the token; name the seeds with --seed HOST:PORT",
                        token.from
                    ));
                }
                KeySource::JoinToken(self.join_token(token))
            }
            (None, None) => match self.machine.places().loopback_keys() {
                Some(directory) => KeySource::Loopback(directory),
                None => {
                    self.problems.push(
                        "there is no place for throwaway keys, because HOME is not set; name keys with --keys DIR"
                            .to_owned(),
                    );
                    KeySource::Loopback(PathBuf::new())
                }
            },
        }
    }

    /// The token, or the content of the file that it names. The value is never printed.
    fn join_token(&mut self, given: &Given<String>) -> String {
        let text = given.value.trim();
        let (token, place) = if text.starts_with(TOKEN_PREFIX) {
            (Ok(text.to_owned()), String::new())
        } else {
            (read_token(Path::new(text)), format!(" ({text})"))
        };
        let token = token.and_then(|token| match token.parse::<JoinToken>() {
            Ok(_) => Ok(token),
            Err(error) => Err(error.to_string()),
        });
        token.unwrap_or_else(|why| {
            self.problems.push(format!(
                "{}{place} holds no join token: {why}; it is in the file join.token that `meshos keygen` made",
                given.from
            ));
            String::new()
        })
    }

    fn listen(&mut self, raw: &Raw, bare: bool) -> (SocketAddr, SocketAddr) {
        let ip = if bare { IpAddr::from([127, 0, 0, 1]) } else { IpAddr::from([0, 0, 0, 0]) };
        let default = || SocketAddr::new(ip, PORT_DEFAULT);
        let listen = self.read(raw.listen.as_ref(), default, address::parse_listen);
        let agent_listen = match (&raw.agent_listen, &raw.agent_port) {
            (Some(address), Some(port)) => {
                self.problems.push(format!(
                    "{} and {} exclude each other: give one of them",
                    address.from, port.from
                ));
                listen
            }
            (Some(_), None) => {
                self.read(raw.agent_listen.as_ref(), || listen, address::parse_listen)
            }
            (None, Some(port)) => match u16::try_from(port.value) {
                Ok(number) if number != 0 => SocketAddr::new(listen.ip(), number),
                _ => {
                    self.problems.push(port.problem("expected a port from 1 to 65535"));
                    listen
                }
            },
            (None, None) => match listen.port().checked_add(1) {
                Some(port) => SocketAddr::new(listen.ip(), port),
                None => {
                    self.problems.push(
                        "port 65535 of --listen has no port after it for the agent; name one with --agent-port"
                            .to_owned(),
                    );
                    listen
                }
            },
        };
        let named = raw.agent_listen.is_some() || raw.agent_port.is_some();
        if named && agent_listen.port() == listen.port() && self.problems.is_empty() {
            self.problems.push(format!(
                "the agent and the cluster cannot both listen on port {}; give --agent-port another one",
                listen.port()
            ));
        }
        if bare {
            for (address, given) in [(listen, &raw.listen), (agent_listen, &raw.agent_listen)] {
                if let Some(given) = given.as_ref().filter(|_| !address.ip().is_loopback()) {
                    self.problems.push(given.problem(WITHOUT_KEYS));
                }
            }
        }
        (listen, agent_listen)
    }

    fn advertise(
        &mut self,
        given: Option<&Given<String>>,
        listen: SocketAddr,
        seeds: &[Seed],
        bare: bool,
    ) -> IpAddr {
        if given.is_none() {
            // Nobody's name is asked for when the rest is wrong already.
            let wrong = !self.problems.is_empty();
            return match address::choose_advertise(
                listen,
                if wrong { &[] } else { seeds },
                self.machine,
            ) {
                Ok(ip) => ip,
                Err(why) => {
                    self.problems.push(why);
                    listen.ip()
                }
            };
        }
        let ip = self.read(given, || listen.ip(), address::parse_advertise);
        if let Some(given) = given.filter(|_| bare && !ip.is_loopback() && !ip.is_unspecified()) {
            self.problems.push(given.problem(WITHOUT_KEYS));
        }
        ip
    }

    fn seeds_are_here(&mut self, given: Option<&Given<Vec<String>>>, seeds: &[Seed]) {
        let Some(given) = given else { return };
        for seed in seeds.iter().filter(|seed| !seeds::is_loopback(seed)) {
            self.problems.push(format!("{} names {}: {WITHOUT_KEYS}", given.from, seed.gossip));
        }
    }

    /// Whether anybody may call HTTP, and else who may beside whoever has the token.
    fn callers(&mut self, raw: &Raw, listen: [SocketAddr; 2]) -> (bool, Option<PathBuf>) {
        let principals = raw.http_principals.as_ref();
        let Some(open) = raw.open_http.as_ref().filter(|given| given.value) else {
            return (false, principals.map(|given| given.value.clone().into()));
        };
        if let Some(far) = listen.into_iter().find(|address| !address.ip().is_loopback()) {
            self.problems.push(format!(
                "{} lets anybody who reaches {far} run commands on this machine, so it is refused off loopback; \
                 leave it out, or listen on 127.0.0.1",
                open.from
            ));
        }
        if let Some(given) = principals {
            self.problems.push(format!(
                "{} lets anybody call without credentials, so {} would mean nothing; leave one of them out",
                open.from, given.from
            ));
        }
        (true, None)
    }

    fn resources(&mut self, given: Option<&Given<String>>, data_dir: &Path) -> Resources {
        let machine = self.machine;
        match given {
            Some(_) => self.read(given, Resources::new, |text| {
                Resources::parse(text).map_err(|error| error.to_string())
            }),
            None => machine.resources(data_dir).unwrap_or_else(|why| {
                self.problems.push(format!(
                    "cannot tell what this machine has ({why}); say it with --resources"
                ));
                Resources::new()
            }),
        }
    }

    fn nodes_max(&mut self, given: Option<&Given<u32>>, seeds: &[Seed]) -> usize {
        let Some(given) = given else { return NODES_MAX_DEFAULT };
        let nodes_max = usize::try_from(given.value).unwrap_or(usize::MAX);
        if !(1..=NODES_MAX_LIMIT).contains(&given.value) {
            let why = format!("expected a whole number from 1 to {NODES_MAX_LIMIT}");
            self.problems.push(given.problem(why));
        } else if nodes_max < seeds.len() {
            let why = format!("the seeds alone are {}: name at least that many", seeds.len());
            self.problems.push(given.problem(why));
        }
        nodes_max
    }

    /// Warns of limits that the isolators that were chosen do not keep.
    fn limits_are_kept(&mut self, raw: &Raw, isolation: &[IsolatorName]) {
        let quota = raw.cpu_quota.as_ref().is_some_and(|given| given.value);
        let limits = [
            ("--cpu-quota", quota, IsolatorName::CgroupsCpu),
            ("--task-pids-max", raw.task_pids_max.is_some(), IsolatorName::CgroupsPids),
        ];
        for (limit, given, keeper) in limits {
            if given && !isolation.is_empty() && !isolation.contains(&keeper) {
                self.warnings.push(format!(
                    "{limit} has no effect, because --isolation does not name {keeper}"
                ));
            }
        }
    }
}

fn read_token(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(TOKEN_BYTES_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text.trim().to_owned())
}

fn parse_domain(text: &str) -> Result<Option<FaultDomain>, String> {
    text.parse().map(Some).map_err(|error: FaultDomainError| error.to_string())
}

/// Reads a part of a whole, from 0 to 1, as thousandths.
fn parse_hostname(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > HOSTNAME_BYTES_MAX {
        return Err(format!("expected a name of 1 to {HOSTNAME_BYTES_MAX} bytes"));
    }
    if text.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        return Err("a host name has no white space".to_owned());
    }
    Ok(text.to_owned())
}
