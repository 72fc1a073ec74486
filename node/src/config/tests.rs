use std::{
    ffi::OsString,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser as _;
use meshos_isolation::{IsolatorName, garbage::Rule};
use meshos_protocol::resources::{DiskKind, Resources};

use super::{
    ConfigError, Flags, KeySource, Places, Raw, Resolved, Seed, file, nearest, read_file,
    read_variables, resolve,
};
use crate::detect::Machine;

/// A machine with one address, in a small network.
struct Lab;

impl Machine for Lab {
    fn resources(&self, _data_dir: &Path) -> Result<Resources, String> {
        Ok("cpus:4;mem:4096;disk:1000;ports:[31000-32000]".parse().unwrap())
    }

    fn hostname(&self) -> String {
        "lab".to_owned()
    }

    fn addresses_of(&self, host: &str) -> Vec<IpAddr> {
        match host {
            "a" => vec![IpAddr::from([10, 0, 0, 1])],
            "b" => vec![IpAddr::from([10, 0, 0, 2])],
            "me" | "also-me" => vec![IpAddr::from([10, 0, 0, 7])],
            "localhost" => vec![IpAddr::from([127, 0, 0, 1])],
            other => other.parse().into_iter().collect(),
        }
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        ip == IpAddr::from([10, 0, 0, 7]) || ip.is_loopback()
    }

    fn route_to(&self, _ip: Option<IpAddr>) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, 7]))
    }

    fn places(&self) -> Places {
        Places { home: Some("/home/a".into()), ..Places::default() }
    }
}

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

fn flags(line: &[&str]) -> Raw {
    let line = std::iter::once("node").chain(line.iter().copied());
    Line::try_parse_from(line).unwrap().flags.into()
}

fn variables(pairs: &[(&str, &str)]) -> Result<Raw, ConfigError> {
    read_variables(pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
}

fn toml(text: &str) -> Result<Raw, ConfigError> {
    file::parse(text, Path::new("node.toml"))
}

fn resolved(line: &[&str]) -> Resolved {
    resolve(flags(line), &Lab).unwrap()
}

fn problems(line: &[&str]) -> Vec<String> {
    resolve(flags(line), &Lab).unwrap_err().0
}

/// Keys in a directory of their own, which is removed with the value.
struct Keys(PathBuf);

impl Keys {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("meshos-config-{name}-{}", std::process::id()));
        meshos_membership::keys::keygen(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_node_that_is_told_nothing_is_alone_on_loopback() {
    let Resolved { options, warnings, .. } = resolved(&[]);
    assert_eq!(options.data_dir, Path::new("/home/a/.local/state/meshos"));
    let keys = "/home/a/.local/state/meshos/loopback-keys".into();
    assert_eq!(options.keys, KeySource::Loopback(keys));
    assert_eq!(options.listen, "127.0.0.1:5050".parse().unwrap());
    assert_eq!(options.agent_listen, "127.0.0.1:5051".parse().unwrap());
    assert_eq!(options.advertise, IpAddr::from([127, 0, 0, 1]));
    assert_eq!(options.hostname, "lab");
    assert_eq!(options.resources, Lab.resources(Path::new("/")).unwrap());
    assert_eq!(options.times.agent_timeout, Duration::from_secs(75));
    assert_eq!(options.times.agent_timeout_when_dead, Duration::from_secs(20));
    assert_eq!(options.times.offer_timeout, Duration::from_secs(60));
    let rule = Rule { delay: Duration::from_secs(7 * 24 * 3_600), headroom: 100 };
    assert_eq!(options.sandbox_rule, rule);
    assert!(!options.open_http && !options.stop_tasks && !options.allow_root_tasks);
    assert_eq!((options.cpu_quota, options.task_pids_max), (false, Some(8_192)));
    assert_eq!(resolved(&["--task-pids-max", "0"]).options.task_pids_max, None);
    assert!(options.seeds.is_empty() && options.isolation.is_empty() && warnings.is_empty());
}

#[test]
fn a_node_with_keys_listens_to_all_and_advertises_the_seed_that_it_is() {
    let keys = Keys::new("listens");
    let line =
        ["--keys", keys.path(), "--seed", "a:5050", "--seed", "me:5050", "--seed", "b:6000/7000"];
    let options = resolved(&line).options;
    assert_eq!(options.listen, "0.0.0.0:5050".parse().unwrap());
    assert_eq!(options.agent_listen, "0.0.0.0:5051".parse().unwrap());
    assert_eq!(options.advertise, IpAddr::from([10, 0, 0, 7]));
    let seed = |gossip: &str, quic: &str| Seed { gossip: gossip.into(), quic: quic.into() };
    let seeds = [seed("a:5050", "a:5051"), seed("b:6000", "b:7000"), seed("me:5050", "me:5051")];
    assert_eq!(options.seeds, seeds);
    let twice =
        ["--keys", keys.path(), "--seed", "me:5050", "--seed", "also-me:5050", "--seed", "a:1"];
    assert_eq!(
        problems(&twice),
        [
            "the seeds also-me:5050 and me:5050 are both this machine; say with --advertise which of them this node is"
        ]
    );
    let other_port = ["--keys", keys.path(), "--seed", "me:6000", "--listen", "0.0.0.0:7000"];
    assert_eq!(resolved(&other_port).options.advertise, IpAddr::from([10, 0, 0, 7]));
}

#[test]
fn flags_go_before_variables_and_variables_before_the_file() {
    let file = "hostname = 'file'\nattributes = 'a:1'\noffer_timeout = '9s'\nopen_http = true\n";
    let variables = variables(&[
        ("MESHOS_HOSTNAME", "variable"),
        ("MESHOS_OFFER_TIMEOUT", "8s"),
        ("PATH", "/bin"),
    ]);
    let flags = flags(&["--hostname", "flag", "--open-http=false"]);
    let raw = flags.over(variables.unwrap()).over(toml(file).unwrap());
    let options = resolve(raw, &Lab).unwrap().options;
    assert_eq!(options.hostname, "flag");
    assert_eq!(options.times.offer_timeout, Duration::from_secs(8));
    assert_eq!(options.attributes.to_string(), "a:1");
    assert!(!options.open_http);
}

#[test]
fn a_higher_layer_replaces_the_other_way_to_say_the_same() {
    let keys = Keys::new("layers");
    let below = toml(&format!("keys = '{}'\nagent_port = 7000", keys.path())).unwrap();
    let token = std::fs::read_to_string(keys.0.join("join.token")).unwrap();
    let above =
        flags(&["--join-token", token.trim(), "--agent-listen", "127.0.0.1:8000", "--seed", "a:1"]);
    let options = resolve(above.over(below), &Lab).unwrap().options;
    assert_eq!(options.keys, KeySource::JoinToken(token.trim().to_owned()));
    assert_eq!(options.agent_listen, "127.0.0.1:8000".parse().unwrap());
}

#[test]
fn clients_of_zookeeper_are_served_where_somebody_asked_for_it() {
    let of = |line: &[&str]| resolve(flags(line), &Lab).unwrap().options.zk_listen;
    assert_eq!(of(&[]), None);
    assert_eq!(of(&["--zk-port", "2181"]), Some("127.0.0.1:2181".parse().unwrap()));
    let keys = Keys::new("zookeeper");
    // The other ports are open to all; this one needs a word of its own.
    let line = ["--keys", keys.path(), "--seed", "127.0.0.1:5050", "--zk-port", "2181"];
    assert_eq!(of(&line), Some("127.0.0.1:2181".parse().unwrap()));
    let line = ["--keys", keys.path(), "--seed", "127.0.0.1:5050", "--zk-listen", "0.0.0.0:2181"];
    assert_eq!(of(&line), Some("0.0.0.0:2181".parse().unwrap()));
}

#[test]
fn every_setting_has_the_same_meaning_in_all_three_places() {
    let file = "
        data_dir = '/data'
        seed = ['127.0.0.1:1', '127.0.0.1:3', '127.0.0.1:5']
        listen = '127.0.0.1:1'
        agent_port = 2
        zk_port = 2181
        advertise = '127.0.0.1'
        hostname = 'h'
        resources = 'cpus:2;mem:64'
        revocable_resources = 'cpus:4;mem:2048'
        attributes = 'rack:abc'
        domain = 'eu/rack-7'
        isolation = 'posix/cpu'
        cpu_quota = true
        task_pids_max = 100
        allow_root_tasks = true
        open_http = true
        stop_tasks = true
        timing_factor = 3
        nodes_max = 40
        gossip_interval = '200ms'
        agent_timeout = '10s'
        agent_timeout_dead = '5s'
        reconnect_grace = '4s'
        offer_timeout = '3s'
        executor_registration_timeout = '7s'
        executor_recovery_timeout = '8m'
        executor_shutdown_grace = '9s'
        gc_delay = '2d'
        gc_disk_headroom = 0.25
        allocation_policy = 'fair-decay:2h'
        offers = 'optimistic'
        min_allocatable = 'cpus:1;mem:512|gpus:1'
        shares_exclude = ['gpus', 'disk']
        disk = ['path:/srv/volumes:200000', 'mount:/mnt/1:500000']
        log_level = 'debug'
        log_json = true
    ";
    let from_file = resolve(toml(file).unwrap(), &Lab).unwrap();
    let line: Vec<String> = file
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .flat_map(|(key, value)| {
            let flag = format!("--{}", key.trim().replace('_', "-"));
            let values = value.split(',').map(|value| value.trim_matches([' ', '[', ']', '\'']));
            values.map(move |value| format!("{flag}={value}"))
        })
        .collect();
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let from_flags = resolve(flags(&line), &Lab).unwrap();
    let pairs: Vec<(String, String)> = file
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, value)| {
            let name = match key.trim() {
                "log_level" => "MESHOS_LOG".to_owned(),
                key => format!("MESHOS_{}", key.to_uppercase()),
            };
            (name, value.replace(['[', ']', '\''], ""))
        })
        .collect();
    let pairs: Vec<(&str, &str)> =
        pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let from_variables = resolve(variables(&pairs).unwrap(), &Lab).unwrap();
    assert_eq!(format!("{from_file:?}"), format!("{from_flags:?}"));
    assert_eq!(format!("{from_file:?}"), format!("{from_variables:?}"));
    assert_as_in_the_file(&from_file);
}

fn assert_as_in_the_file(Resolved { options, logging, .. }: &Resolved) {
    assert_eq!(options.seeds.len(), 3);
    assert_eq!(options.isolation, [IsolatorName::PosixCpu]);
    assert_eq!(options.times.factor, 3);
    assert_eq!(options.nodes_max, 40);
    assert_eq!(options.zk_listen, Some("127.0.0.1:2181".parse().unwrap()));
    assert_eq!(options.times.gossip, Duration::from_millis(200));
    assert_eq!(options.times.agent_timeout_when_dead, Duration::from_secs(5));
    assert!(options.allow_root_tasks && options.open_http && options.stop_tasks);
    assert_eq!((options.cpu_quota, options.task_pids_max), (true, Some(100)));
    assert!(logging.json);
    let rule = Rule { delay: Duration::from_secs(2 * 24 * 3_600), headroom: 250 };
    assert_eq!(options.sandbox_rule, rule);
    assert_eq!(options.sharing.policy.to_string(), "fair-decay:2h");
    assert_eq!(options.sharing.offers, meshos_alloc::OfferMode::Optimistic);
    assert_eq!(options.sharing.min_allocatable.to_string(), "cpus:1;mem:512|gpus:1");
    let excluded: Vec<_> =
        options.sharing.shares_exclude.iter().map(|name| name.as_str()).collect();
    assert_eq!(excluded, ["gpus", "disk"]);
    let revocable = options.resources.revocable().to_string();
    assert_eq!(revocable, "cpus{revocable}:4;mem{revocable}:2048");
    let roots = options.resources.iter().filter_map(|resource| {
        let source = resource.metadata().disk.as_ref()?.source.as_ref()?;
        Some((source.kind, source.root.as_str(), resource.amount()?.units()))
    });
    let roots: Vec<_> = roots.collect();
    let expected =
        [(DiskKind::Path, "/srv/volumes", 200_000), (DiskKind::Mount, "/mnt/1", 500_000)];
    assert_eq!(roots, expected);
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_name_and_their_line() {
    let error = toml("hostname = 'a'\n\nlistn = '127.0.0.1:1'\ncolour = 'red'\n").unwrap_err();
    assert_eq!(error.0.len(), 2);
    let listen = "node.toml:3: unknown key `listn`; did you mean `listen`?";
    assert!(error.0.iter().any(|problem| problem == listen), "{error}");
    let colour = "node.toml:4: unknown key `colour`; known keys are data_dir, seed, ";
    assert!(error.0.iter().any(|problem| problem.starts_with(colour)), "{error}");
    assert_eq!(
        toml("seeds = ['a:1']").unwrap_err().to_string(),
        "node.toml:1: unknown key `seeds`; did you mean `seed`?"
    );
    assert_eq!(
        variables(&[("MESHOS_LISTEM", "x"), ("MESHOS_SOMETHING_ELSE", "y")]).unwrap_err().0,
        ["the environment variable MESHOS_LISTEM is not known; did you mean MESHOS_LISTEN?"]
    );
    assert!(variables(&[("MESHOS_NODE", "x"), ("MESHOS_TOKEN", "y")]).is_ok());
}

#[test]
fn values_of_another_kind_and_broken_files_are_told_with_their_line() {
    assert_eq!(
        toml("\nagent_port = 'x'\nopen_http = 1\n").unwrap_err().0,
        [
            "node.toml:2: `agent_port` is of the type string: expected a whole number",
            "node.toml:3: `open_http` is of the type integer: expected true or false"
        ]
    );
    let error = toml("hostname = 'a'\nlisten = \n").unwrap_err().to_string();
    assert!(error.starts_with("node.toml:2: the file is not valid TOML: "), "{error}");
    assert_eq!(
        variables(&[("MESHOS_TIMING_FACTOR", "much")]).unwrap_err().to_string(),
        "MESHOS_TIMING_FACTOR is \"much\": expected a whole number"
    );
    let missing = read_file(Path::new("/nowhere/node.toml")).unwrap_err().to_string();
    assert!(
        missing.starts_with("cannot read the configuration file /nowhere/node.toml: "),
        "{missing}"
    );
}

#[test]
fn each_bad_value_has_its_sentence() {
    let keys = "without keys a node talks to this machine alone; make keys with `meshos keygen`, \
        then start seeds with --keys DIR and other nodes with --join-token FILE";
    let cases: Vec<(&str, &str)> = include_str!("testdata/bad_values.txt")
        .split("\n\n")
        .skip(1)
        .map(|case| case.trim_end_matches('\n').split_once('\n').unwrap())
        .collect();
    assert!(cases.len() >= 30, "only {} cases were read", cases.len());
    for (words, expected) in cases {
        let words: Vec<String> = words
            .split("|--")
            .enumerate()
            .map(|(index, words)| {
                format!("{}{}", if index == 0 { "" } else { "--" }, words.replacen('|', "=", 1))
            })
            .collect();
        let line: Vec<&str> = words.iter().map(String::as_str).collect();
        let problems = problems(&line);
        let expected = expected.replace("<K>", keys);
        assert_eq!(problems.len(), 1, "{line:?}: {problems:?}");
        let problem = &problems[0];
        assert!(problem.starts_with(&expected), "{line:?}: {problem} instead of {expected}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    assert_eq!(problems(&["--listen", "x", "--offer-timeout", "y", "--log-level", "z"]).len(), 3);
}

#[test]
fn open_http_is_refused_off_loopback() {
    let keys = Keys::new("open");
    let problems = problems(&["--keys", keys.path(), "--open-http"]);
    assert_eq!(
        problems,
        [
            "--open-http lets anybody who reaches 0.0.0.0:5050 run commands on this machine, so it is refused off loopback; \
         leave it out, or listen on 127.0.0.1"
        ]
    );
    let line = ["--keys", keys.path(), "--open-http", "--listen", "127.0.0.1:5050"];
    assert!(resolved(&line).options.open_http);
}

#[test]
fn principals_mean_nothing_where_nobody_is_asked() {
    let line = ["--open-http", "--http-principals", "/etc/meshos/principals.toml"];
    let problems = problems(&line);
    assert_eq!(
        problems,
        [
            "--open-http lets anybody call without credentials, so --http-principals would mean nothing; leave one of them out"
        ]
    );
    let options = resolved(&line[1..]).options;
    assert_eq!(options.http_principals, Some("/etc/meshos/principals.toml".into()));
}

#[test]
fn a_join_token_is_read_from_its_file_and_never_printed() {
    let keys = Keys::new("token");
    let file = keys.0.join("join.token");
    let token = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let line = ["--join-token", file.to_str().unwrap(), "--seed", "a:1"];
    assert_eq!(resolved(&line).options.keys, KeySource::JoinToken(token.clone()));
    let cut = &token[..token.len() - 3];
    let problems = problems(&["--join-token", cut]);
    assert_eq!(problems, [
        "--join-token is given, but no seed that could take the token; name the seeds with --seed HOST:PORT".to_owned(),
        "--join-token holds no join token: not a valid join token: it is cut short or mistyped; \
         it is in the file join.token that `meshos keygen` made".to_owned()
    ]);
    let both = ["--join-token", &token, "--keys", keys.path()];
    assert_eq!(
        self::problems(&both),
        [
            "--keys and --join-token exclude each other: a seed has the keys, any other node the token"
        ]
    );
}

#[test]
fn seeds_are_counted() {
    let seeds: Vec<String> = (1..=8).map(|n| format!("127.0.0.1:{}", n * 10)).collect();
    let line = |count: usize| -> Vec<&str> {
        seeds[..count].iter().flat_map(|seed| ["--seed", seed.as_str()]).collect()
    };
    assert!(resolved(&line(3)).warnings.is_empty());
    assert_eq!(
        resolved(&line(2)).warnings,
        ["2 seeds survive the loss of 0, no more than 1 would; list an odd number"]
    );
    assert_eq!(
        problems(&line(8)),
        ["--seed: 8 seeds are listed, the most is 7; list one, three, five or seven"]
    );
}

#[test]
fn a_node_that_could_never_be_offered_is_warned() {
    let warnings = resolved(&["--resources", "cpus:4"]).warnings;
    assert_eq!(
        warnings,
        ["the node's resources lack cpus or mem, so nothing of it will ever be offered"]
    );
}

#[test]
fn limits_that_nothing_keeps_are_warned_of() {
    let line = ["--cpu-quota", "--task-pids-max", "9", "--isolation", "posix/cpu,cgroups/pids"];
    let warning = "--cpu-quota has no effect, because --isolation does not name cgroups/cpu";
    assert_eq!(resolved(&line).warnings, [warning]);
    assert!(resolved(&line[..3]).warnings.is_empty(), "what is chosen for the machine keeps them");
}

#[test]
fn a_shorter_agent_timeout_takes_the_one_of_dead_nodes_with_it() {
    let times = resolved(&["--agent-timeout", "5s"]).options.times;
    assert_eq!(times.agent_timeout_when_dead, Duration::from_secs(5));
}

#[test]
fn a_part_of_the_disk_is_a_number_or_a_text() {
    for (text, headroom) in [("0", 0), ("1", 1_000), ("0.05", 50), ("'0.125'", 125), ("1.0", 1_000)]
    {
        let raw = toml(&format!("gc_disk_headroom = {text}")).unwrap();
        assert_eq!(resolve(raw, &Lab).unwrap().options.sandbox_rule.headroom, headroom, "{text}");
    }
    assert_eq!(
        toml("gc_disk_headroom = true").unwrap_err().to_string(),
        "node.toml:1: `gc_disk_headroom` is of the type boolean: expected a number"
    );
    let raw = toml("gc_disk_headroom = 1e-1").unwrap();
    assert!(resolve(raw, &Lab).unwrap_err().to_string().contains("node.toml:1"));
}

#[test]
fn only_near_names_are_proposed() {
    assert_eq!(nearest("listn", ["listen", "seed"]), Some("listen"));
    assert_eq!(nearest("LISTEN", ["listen", "seed"]), Some("listen"));
    assert_eq!(nearest("colour", ["listen", "seed"]), None);
}
