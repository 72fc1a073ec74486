//! What each node tells of itself.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use meshos_control::agent::View;
use meshos_mesos::{
    codec::Media,
    convert::{number, offer::Place},
    reads::{
        self, ContainerQuery, Machine, Node, Usage,
        agent_calls::{self, AgentBeside, AgentRead},
        operator::Beside,
    },
};
use meshos_protocol::{
    ids::{ClusterId, ContainerId},
    resources::Amount,
    time::{Wall, millis},
};
use serde_json::json;
use tokio::sync::Mutex;

use super::{Own, cluster};
use crate::{
    api::{
        Api,
        call::{Answer, Failure},
        leader::beside,
    },
    clock::Clock,
    config::NodeOptions,
};

/// How old what containers use may be: Mesos too looks at it twice a second at most.
const USAGE_AGE: Duration = Duration::from_millis(500);
/// How long the looks at all containers may take.
const USAGE_LIMIT: Duration = Duration::from_secs(5);

/// When and how this process was started.
#[derive(Debug)]
pub(in crate::api) struct Started {
    pub at: Wall,
    /// As Mesos's masters have them.
    pub flags: BTreeMap<&'static str, String>,
    /// As Mesos's agents have them.
    pub agent_flags: BTreeMap<&'static str, String>,
}

impl Started {
    /// Now, with these options.
    pub(in crate::api) fn now(options: &NodeOptions) -> Self {
        let asks = (!options.open_http).to_string();
        let both = |port: u16, ip: std::net::IpAddr| {
            BTreeMap::from([
                ("advertise_ip", options.advertise.to_string()),
                ("authenticate_http_readonly", asks.clone()),
                ("authenticate_http_readwrite", asks.clone()),
                ("hostname", options.hostname.clone()),
                ("ip", ip.to_string()),
                ("port", port.to_string()),
                ("work_dir", options.data_dir.display().to_string()),
            ])
        };
        let mut flags = both(options.listen.port(), options.listen.ip());
        flags.extend([
            ("agent_reregister_timeout", seconds(options.times.agent_timeout)),
            ("offer_timeout", seconds(options.times.offer_timeout)),
        ]);
        let mut agent_flags = both(options.agent_listen.port(), options.agent_listen.ip());
        let isolation: Vec<String> = options.isolation.iter().map(ToString::to_string).collect();
        agent_flags.extend([
            ("attributes", options.attributes.to_string()),
            ("executor_registration_timeout", seconds(options.executor_times.registration)),
            ("executor_reregistration_timeout", seconds(options.executor_times.recovery)),
            ("executor_shutdown_grace_period", seconds(options.executor_times.shutdown)),
            ("gc_delay", seconds(options.sandbox_rule.delay)),
            ("isolation", isolation.join(",")),
            ("resources", options.resources.non_revocable().to_string()),
        ]);
        Self { at: Clock::start().now().wall, flags, agent_flags }
    }
}

/// As Mesos writes times.
fn seconds(time: Duration) -> String {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    format!("{}secs", Amount::from_millis(millis))
}

/// What the containers used when somebody last asked.
#[derive(Debug, Default)]
pub(in crate::api) struct Statistics(Mutex<Option<Looked>>);

type Looked = (Instant, Arc<BTreeMap<ContainerId, Usage>>);

impl Api {
    pub(in crate::api) async fn own_for_mesos(&self, own: Own) -> Result<Answer, Failure> {
        match own {
            Own::Flags => cluster::json(&json!({ "flags": self.started.flags })),
            Own::AgentFlags => cluster::json(&json!({ "flags": self.started.agent_flags })),
            Own::Metrics => {
                let measured = self.measured();
                beside(move || cluster::json(&measured())).await
            }
            Own::Agent => {
                let view = self.options.agent.caught_up().await;
                let sandboxes = self.newest_sandboxes().await;
                let tell =
                    |node: Node<'_>| cluster::json(&Node { sandboxes: &sandboxes, ..node }.state());
                self.of_node(&view, tell)
            }
            Own::Statistics => {
                let (view, used) = self.used_now().await;
                let all = ContainerQuery::default();
                self.of_node(&view, |node| cluster::json(&node.statistics(&used, false, &all)))
            }
            Own::Containers(only) => {
                let (view, used) = self.used_now().await;
                self.of_node(&view, |node| cluster::json(&node.statistics(&used, true, &only)))
            }
            Own::System => cluster::json(&Kernel::now().older()),
            Own::Sandboxes => self.sandboxes_of_node().await,
            Own::Call(read, media) => self.call_of_agent(read, media).await,
        }
    }

    /// Answers a call of the agent's operator API.
    async fn call_of_agent(&self, read: AgentRead, media: Media) -> Result<Answer, Failure> {
        let (view, usage) = match read {
            AgentRead::Containers => self.used_now().await,
            AgentRead::Health
            | AgentRead::Flags
            | AgentRead::Version
            | AgentRead::Metrics
            | AgentRead::LoggingLevel
            | AgentRead::State
            | AgentRead::Frameworks
            | AgentRead::Executors
            | AgentRead::Operations
            | AgentRead::Tasks
            | AgentRead::Agent
            | AgentRead::ResourceProviders => {
                (self.options.agent.caught_up().await, Arc::default())
            }
        };
        let healthy =
            read == AgentRead::Health && self.health().is_ok_and(|answer| answer.status == 200);
        let metrics = match (read == AgentRead::Metrics).then(|| self.measured()) {
            Some(measured) => tokio::task::spawn_blocking(measured).await.unwrap_or_default(),
            None => BTreeMap::new(),
        };
        let beside = AgentBeside { node: Beside { healthy, metrics }, usage };
        self.of_node(&view, |node| {
            cluster::in_media(media, &agent_calls::answer(read, &node, &beside))
        })
    }

    /// The newest picture of the agent, and what its containers use.
    async fn used_now(&self) -> (Arc<View>, Arc<BTreeMap<ContainerId, Usage>>) {
        let view = self.options.agent.caught_up().await;
        let used = self.used_by_containers(&view).await;
        (view, used)
    }

    /// The cluster that this node belongs to.
    pub(super) fn own_cluster(&self) -> Result<ClusterId, Failure> {
        let cluster = *self.options.registry.cluster().borrow();
        cluster.ok_or_else(|| {
            Failure::unavailable("this node belongs to no cluster yet: try again in a moment")
        })
    }

    fn of_node(
        &self,
        view: &View,
        tell: impl FnOnce(Node<'_>) -> Result<Answer, Failure>,
    ) -> Result<Answer, Failure> {
        let cluster = self.own_cluster()?;
        let options = &self.options.options;
        let address = options.agent_address();
        let leader = self.options.tracker.leader().borrow().as_ref().map(|leader| {
            let place = Place::read(&leader.http_address);
            place.map_or_else(|| leader.http_address.clone(), |place| place.hostname)
        });
        tell(Node {
            view,
            cluster,
            place: Place {
                hostname: address.ip().to_string(),
                ip: Some(address.ip()),
                port: address.port(),
            },
            hostname: &options.hostname,
            domain: options.domain.as_ref(),
            started_at: self.started.at,
            leader,
            flags: &self.started.agent_flags,
            sandboxes: &[],
        })
    }

    /// What the containers that run use: looked at once for all who ask within half a second.
    async fn used_by_containers(&self, view: &View) -> Arc<BTreeMap<ContainerId, Usage>> {
        let mut last = self.statistics.0.lock().await;
        if let Some((_, known)) = last.as_ref().filter(|(at, _)| at.elapsed() < USAGE_AGE) {
            return Arc::clone(known);
        }
        let mut used = BTreeMap::new();
        let look = async {
            for container in reads::running(view) {
                let Some(usage) = self.options.agent.usage(&container).await else { continue };
                let usage = Usage {
                    at: Clock::start().now().wall,
                    cpu_user_us: usage.cpu_user_us,
                    cpu_system_us: usage.cpu_system_us,
                    cpu_throttled_periods: usage.cpu_throttled_periods,
                    memory_bytes: usage.memory_bytes,
                    memory_limit_bytes: usage.memory_limit_bytes,
                    processes: usage.processes,
                };
                used.insert(container, usage);
            }
        };
        // What was not looked at by then is left out.
        let _in_time = tokio::time::timeout(USAGE_LIMIT, look).await.is_ok();
        let used = Arc::new(used);
        *last = Some((Instant::now(), Arc::clone(&used)));
        used
    }

    /// What this node measures, by Mesos's names: worked out when that is called, which takes a look at each
    /// task and at what the kernel says.
    pub(in crate::api) fn measured(
        &self,
    ) -> impl FnOnce() -> BTreeMap<String, f64> + Send + 'static {
        let (led, agent) = (self.led(), self.options.agent.view());
        let sandboxes = self.options.agent.sandboxes().status();
        let (started_at, voters) = (self.started.at, self.options.raft.voters().len());
        let recovered = self.options.raft.status().applied_index.is_some();
        move || {
            let Kernel { cpus, load, memory_bytes, memory_free_bytes } = Kernel::now();
            let machine = Machine {
                now: Clock::start().now().wall,
                started_at,
                voters,
                recovered,
                cpus,
                load,
                memory_bytes,
                memory_free_bytes,
                sandboxes_removed: sandboxes.removed,
                sandbox_failures: sandboxes.failures,
                sandbox_age_ms: millis(sandboxes.allowed_age),
            };
            reads::metrics(led.as_deref(), &agent, &machine)
        }
    }
}

/// What the kernel tells of the machine.
struct Kernel {
    cpus: usize,
    /// In the last minute, the last five and the last fifteen.
    load: [Amount; 3],
    memory_bytes: u64,
    memory_free_bytes: u64,
}

impl Kernel {
    /// Two small files, which the kernel has in memory.
    fn now() -> Self {
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let mut loads = load.split_whitespace().map(|text| text.parse().unwrap_or(Amount::ZERO));
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            load: [(); 3].map(|()| loads.next().unwrap_or(Amount::ZERO)),
            memory_bytes: kilobytes(&memory, "MemTotal:"),
            memory_free_bytes: kilobytes(&memory, "MemFree:"),
        }
    }

    /// `/system/stats.json`.
    fn older(&self) -> serde_json::Value {
        let [one, five, fifteen] = self.load.map(number::double);
        json!({
            "avg_load_1min": one,
            "avg_load_5min": five,
            "avg_load_15min": fifteen,
            "cpus_total": self.cpus,
            "mem_free_bytes": self.memory_free_bytes,
            "mem_total_bytes": self.memory_bytes,
        })
    }
}

/// A line of `/proc/meminfo`, in bytes.
fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0).saturating_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_its_line() {
        let text = "MemTotal:        8148436 kB\nMemFree:          203088 kB\n";
        assert_eq!(kilobytes(text, "MemFree:"), 203_088 * 1_024);
        assert_eq!(kilobytes(text, "SwapTotal:"), 0);
    }

    #[test]
    fn times_are_written_as_mesos_writes_them() {
        assert_eq!(seconds(Duration::from_secs(75)), "75secs");
        assert_eq!(seconds(Duration::from_millis(500)), "0.5secs");
    }

    #[test]
    fn flags_say_how_the_node_was_started() {
        let started = Started::now(&crate::api::nodes::tests::own());
        assert_eq!(started.flags["port"], "5050");
        assert_eq!(started.flags["authenticate_http_readonly"], "true");
        assert_eq!(started.agent_flags["port"], "5051");
        assert_eq!(started.agent_flags["resources"], "cpus:1;mem:32");
        assert!(started.at > Wall(0));
    }
}
