//! The settings as they were given, each with where it came from.

use std::{borrow::Cow, convert::Infallible, fmt, path::Path, str::FromStr, sync::Arc};

use clap::Args;
use toml::de::DeValue;

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// On the command line.
    Flag {
        /// The setting.
        key: &'static str,
    },
    /// In the environment.
    Variable {
        /// The setting.
        key: &'static str,
    },
    /// In the configuration file.
    File {
        /// The setting.
        key: &'static str,
        /// The file.
        file: Arc<Path>,
        /// Counted from one.
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag { key } => f.write_str(&flag_name(key)),
            Self::Variable { key } => f.write_str(&variable_name(key)),
            Self::File { key, file, line } => write!(f, "`{key}` in {}:{line}", file.display()),
        }
    }
}

/// How the setting is called on the command line.
pub(super) fn flag_name(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// How the setting is called in the environment.
pub(super) fn variable_name(key: &str) -> Cow<'static, str> {
    match key {
        // The same for every command, not only for nodes.
        "log_level" => crate::logging::LEVEL_VARIABLE.into(),
        _ => format!("MESHOS_{}", key.to_uppercase()).into(),
    }
}

/// A value and where it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given<T> {
    pub value: T,
    pub from: Origin,
}

impl<T: fmt::Debug> Given<T> {
    /// The sentence that says what is wrong with the value.
    pub(super) fn problem(&self, why: impl fmt::Display) -> String {
        format!("{} is {:?}: {why}", self.from, self.value)
    }
}

/// What a setting may be: each has a form in the environment and one in the file.
pub(super) trait Form: Sized {
    /// In words, for whoever wrote something else.
    const EXPECTED: &'static str;
    fn from_text(text: &str) -> Option<Self>;
    fn from_toml(value: &DeValue<'_>) -> Option<Self>;
}

impl Form for String {
    const EXPECTED: &'static str = "a text";

    fn from_text(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Form for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }
}

impl Form for u32 {
    const EXPECTED: &'static str = "a whole number";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        let integer = value.as_integer()?;
        Self::from_str_radix(integer.as_str(), integer.radix()).ok()
    }
}

/// A number as it was written, to be read where its limits are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Number(pub String);

impl FromStr for Number {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl Form for Number {
    const EXPECTED: &'static str = "a number";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        let float = || value.as_float().map(|float| float.as_str());
        let whole = || value.as_integer().map(|integer| integer.as_str());
        value.as_str().or_else(float).or_else(whole).map(|text| Self(text.to_owned()))
    }
}

impl Form for Vec<String> {
    const EXPECTED: &'static str = "a list of texts";

    fn from_text(text: &str) -> Option<Self> {
        let items = text.split([',', ' ']).filter(|item| !item.is_empty());
        Some(items.map(str::to_owned).collect())
    }

    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        if let Some(text) = value.as_str() {
            return Self::from_text(text);
        }
        let items = value.as_array()?.iter();
        items.map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
    }
}

/// A place that values are read from, setting by setting.
pub(super) trait Source {
    fn value<T: Form>(&mut self, key: &'static str) -> Option<Given<T>>;
}

/// Lists the settings once: their flags, their names, and how layers of them are laid together.
macro_rules! settings {
    ($($(#[$attribute:meta])* $name:ident: $type:ty,)*) => {
        /// The settings of a node on the command line.
        #[derive(Debug, Clone, Default, Args)]
        pub(crate) struct Flags {
            $($(#[$attribute])* #[arg(long)] pub(super) $name: Option<$type>,)*
        }

        /// The settings of a node as they were given; none of them has to be.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub(crate) struct Raw {
            $(pub(super) $name: Option<Given<$type>>,)*
        }

        /// The names of all settings, as in the file.
        pub(super) const KEYS: &[&str] = &[$(stringify!($name),)*];

        impl From<Flags> for Raw {
            fn from(flags: Flags) -> Self {
                Self {
                    $($name: flags.$name.map(|value| {
                        Given { value, from: Origin::Flag { key: stringify!($name) } }
                    }),)*
                }
            }
        }

        impl Raw {
            /// All settings that the source has.
            pub(super) fn read(source: &mut impl Source) -> Self {
                Self { $($name: source.value(stringify!($name)),)* }
            }

            /// These settings, and those of `lower` where these say nothing. Of two settings that
            /// exclude each other the higher layer's holds.
            #[must_use]
            pub(crate) fn over(self, mut lower: Self) -> Self {
                if self.keys.is_some() || self.join_token.is_some() {
                    (lower.keys, lower.join_token) = (None, None);
                }
                if self.agent_port.is_some() || self.agent_listen.is_some() {
                    (lower.agent_port, lower.agent_listen) = (None, None);
                }
                if self.zk_port.is_some() || self.zk_listen.is_some() {
                    (lower.zk_port, lower.zk_listen) = (None, None);
                }
                if self.replace_voters_after.is_some() || self.no_replace_voters.is_some() {
                    (lower.replace_voters_after, lower.no_replace_voters) = (None, None);
                }
                Self { $($name: self.$name.or(lower.$name),)* }
            }
        }
    };
}

settings! {
    /// Where the node keeps what must survive a restart [default: /var/lib/meshos as root, else
    /// ~/.local/state/meshos]
    #[arg(value_name = "DIR")]
    data_dir: String,
    /// A voter of the cluster, the same list on every node: one, three, five or seven of them. Its
    /// QUIC port is taken to be its port plus one, unless it is given: HOST:PORT/QUIC-PORT. Without
    /// seeds the node is a cluster of its own, which others may join
    #[arg(value_name = "HOST:PORT")]
    seed: Vec<String>,
    /// The keys that `meshos keygen` made; the seeds need them. Without keys or a token the node
    /// talks to this machine alone
    #[arg(value_name = "DIR")]
    keys: String,
    /// The join token, or the file that holds it (join.token among the keys): enough for a node
    /// that is not a seed
    #[arg(value_name = "FILE|TEXT")]
    join_token: String,
    /// Where HTTP (TCP) and gossip (UDP) listen [default: 0.0.0.0:5050 with keys, 127.0.0.1:5050
    /// without]
    #[arg(value_name = "ADDR:PORT")]
    listen: String,
    /// The port of the agent's HTTP (TCP) and of QUIC (UDP) [default: the port of --listen plus one]
    #[arg(value_name = "PORT")]
    agent_port: u32,
    /// The same with an address, when it is not that of --listen
    #[arg(value_name = "ADDR:PORT")]
    agent_listen: String,
    /// Serve clients of ZooKeeper that look for the leader (zk://127.0.0.1:PORT/mesos) on this port of loopback, read-only and without
    /// credentials [default: they are not served]
    #[arg(value_name = "PORT")]
    zk_port: u32,
    /// The same on another address: whoever reaches it learns who leads
    #[arg(value_name = "ADDR:PORT")]
    zk_listen: String,
    /// The address under which others reach this node [default: the address of --listen, of the
    /// seed that is this machine, or of the way to the other nodes]
    #[arg(value_name = "IP")]
    advertise: String,
    /// The name that offers show [default: the machine's]
    #[arg(value_name = "NAME")]
    hostname: String,
    /// What the node offers, nothing else: for example cpus:8;mem:16384;disk:100000;ports:[31000-32000]
    /// (mem and disk in MB) [default: what the machine has, less a margin]
    #[arg(value_name = "TEXT")]
    resources: String,
    /// What the node offers beyond that and may take back at any time: for example cpus:4;mem:2048, amounts only. For
    /// what the tasks on the node are given and mostly leave idle. It is offered only to frameworks that say that they take
    /// such resources (`meshos run --revocable` does); tasks on its cpus get processor time that others leave [default:
    /// nothing]
    #[arg(value_name = "TEXT")]
    revocable_resources: String,
    /// A disk beside the one that --data-dir lies on, for persistent volumes; may be repeated. A directory that
    /// many volumes share (path:/srv/volumes:200000), or a mounted file system that one volume gets as a
    /// whole (mount:/mnt/1:500000); sizes in MB
    #[arg(value_name = "KIND:DIR:MB")]
    disk: Vec<String>,
    /// What the node says of itself, for example rack:abc;zone:west;level:10
    #[arg(value_name = "TEXT")]
    attributes: String,
    /// Where the node stands: its region, and the zone within it that fails together, for example
    /// eu/rack-7. Nodes in another region than the leader's are offered only to frameworks that say
    /// that they go there, so the seeds belong in one region
    #[arg(value_name = "REGION[/ZONE]")]
    domain: String,
    /// What holds tasks to their limits, for example cgroups/cpu,cgroups/mem,cgroups/pids or
    /// posix/cpu,posix/mem [default: the best that works on this machine]
    #[arg(value_name = "NAMES")]
    isolation: String,
    /// Hold each task to its cpus even while others idle (cgroups/cpu); without it they are a weight
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    cpu_quota: bool,
    /// The most processes and threads that a task may have (cgroups/pids); 0 sets no limit
    /// [default: 8192]
    #[arg(value_name = "N")]
    task_pids_max: u32,
    /// Let tasks run as root
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    allow_root_tasks: bool,
    /// Serve HTTP without credentials; on loopback only
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    open_http: bool,
    /// Who may call HTTP beside whoever has the node's token: a file with a TOML table for each principal, named after it, with
    /// secret = "..." and, for those who may change the cluster, operator = true; or Mesos's JSON of credentials. Only
    /// this user may be able to read it
    #[arg(value_name = "FILE")]
    http_principals: String,
    /// End all tasks when SIGTERM or SIGINT stops the node; without it they live on
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    stop_tasks: bool,
    /// A voter that was not heard for so long is replaced by a healthy node, if there is one
    /// [default: 1h]
    #[arg(value_name = "TIME")]
    replace_voters_after: String,
    /// Never replace voters; an operator does it with `meshos voters`
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    no_replace_voters: bool,
    /// Multiplies the heartbeat (100 ms) and election times (300-600 ms), for slow machines; the
    /// same on all nodes [default: 1]
    #[arg(value_name = "N")]
    timing_factor: u32,
    /// A voter makes a snapshot of the registry after so many entries; for tests [default: 5000]
    #[arg(hide = true, value_name = "N")]
    snapshot_every_entries: u32,
    /// Write down what this node is told while it leads, the first so many megabytes of each term, so that
    /// `meshos replay` can play it again; the environments of tasks stand in it, and so may secrets: only
    /// this user can read it [default: 0, nothing]
    #[arg(value_name = "MB")]
    record_events: u32,
    /// How many nodes the cluster takes in, at most 1000; the same on all nodes [default: 250]
    #[arg(value_name = "N")]
    nodes_max: u32,
    /// Time between two rounds of gossip [default: 1s]
    #[arg(value_name = "TIME")]
    gossip_interval: String,
    /// A node without a connection to the leader for so long is unreachable [default: 75s]
    #[arg(value_name = "TIME")]
    agent_timeout: String,
    /// The same when gossip, too, calls the node dead [default: 20s]
    #[arg(value_name = "TIME")]
    agent_timeout_dead: String,
    /// How long a framework whose node died has to come back before it counts as disconnected
    /// [default: 30s]
    #[arg(value_name = "TIME")]
    reconnect_grace: String,
    /// An offer that nobody answers is taken back after so long when others wait [default: 60s]
    #[arg(value_name = "TIME")]
    offer_timeout: String,
    /// How long an executor may take from its start to its registration with its agent, or it and its
    /// tasks are ended [default: 1m]
    #[arg(value_name = "TIME")]
    executor_registration_timeout: String,
    /// How long an executor and its agent wait for each other when the connection between them is lost
    /// or the node is restarted [default: 15m]
    #[arg(value_name = "TIME")]
    executor_recovery_timeout: String,
    /// How long an executor that does not say may take to end when it is told to [default: 5s]
    #[arg(value_name = "TIME")]
    executor_shutdown_grace: String,
    /// The sandbox of an ended task is removed after so long, sooner as the disk fills: after this
    /// time multiplied by what is left of 1 when the headroom and the used part of the disk are
    /// taken away; but not within 30s of the end [default: 1w]
    #[arg(value_name = "TIME")]
    gc_delay: String,
    /// The part of the disk that the removal of sandboxes is to keep free, from 0 to 1
    /// [default: 0.1]
    #[arg(value_name = "PART")]
    gc_disk_headroom: Number,
    /// In which order frameworks are offered what is free: drf, max-min:RESOURCE, priority,
    /// fair-decay:HALF-LIFE or random, until an operator chooses another [default: drf]
    #[arg(value_name = "POLICY")]
    allocation_policy: String,
    /// Offer the same resources to one framework at a time, or to several of which the first to
    /// accept gets them: exclusive or optimistic [default: exclusive]
    #[arg(value_name = "MODE")]
    offers: String,
    /// The least that is worth an offer: amounts, or several of which one must be there whole, with `|`
    /// between them [default: cpus:0.01|mem:32]
    #[arg(value_name = "TEXT")]
    min_allocatable: String,
    /// A resource that shares leave out, so that it costs nobody anything to hold it, for example gpus;
    /// may be repeated. Quota counts it
    #[arg(value_name = "NAME")]
    shares_exclude: Vec<String>,
    /// How much is logged: error, warn, info, debug or trace, also by module, for example
    /// warn,meshos=debug [default: info]
    #[arg(value_name = "LEVEL")]
    log_level: String,
    /// Log in JSON, one object a line
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    log_json: bool,
}
