//! The catalogue against its document, the dashboards and what is really exported.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use meshos_control::{
    agent,
    master::{AgentView, NodeState},
};
use meshos_membership::{
    raft::{Health, Status, Voter, VoterRole, VoterStatus},
    view::ClusterView,
};
use meshos_protocol::ids::{AgentId, ClusterId, Fence, NodeId, Term};

use super::{
    canvas::Canvas,
    catalogue::{ALL, Exported, Kind, Metric},
    exporter::{HttpCounts, Kept},
    master::Totals,
    parts, process,
};
use crate::{cluster::Leader, driver::agent::SandboxStatus};

/// Set, it has the test write the document instead of comparing it.
const UPDATE: &str = "MESHOS_UPDATE_DOCS";

/// Exported and on no dashboard and in no alert: for those who look closer.
const NOT_SHOWN: &[&str] = &[
    "meshos_agent_checks_waiting",
    "meshos_agent_containers_started_total",
    "meshos_agent_cpus",
    "meshos_agent_disk_bytes",
    "meshos_agent_health_kills_total",
    "meshos_agent_health_probes_failed_total",
    "meshos_agent_kills_total",
    "meshos_agent_launches_refused_total",
    "meshos_agent_launches_repeated_total",
    "meshos_agent_launches_total",
    "meshos_agent_memory_bytes",
    "meshos_agent_operations_total",
    "meshos_agent_probes",
    "meshos_agent_probes_total",
    "meshos_agent_registered",
    "meshos_agent_registrations_total",
    "meshos_agent_reserved",
    "meshos_agent_revocable",
    "meshos_agent_sandbox_age_allowed_milliseconds",
    "meshos_agent_sandbox_disk_bytes",
    "meshos_agent_sandbox_failures_total",
    "meshos_agent_sandboxes_removed_total",
    "meshos_agent_stale_instructions_total",
    "meshos_agent_store_writes_total",
    "meshos_agent_tasks",
    "meshos_agent_tasks_ended_total",
    "meshos_agent_updates_acknowledged_total",
    "meshos_agent_updates_retried_total",
    "meshos_agent_updates_sent_total",
    "meshos_agent_volumes",
    "meshos_cluster_agents_connected",
    "meshos_cluster_gpus",
    "meshos_cluster_revocable",
    "meshos_gossip_members_known",
    "meshos_gossip_messages_unsent_total",
    "meshos_gossip_packets_received_total",
    "meshos_gossip_packets_sent_total",
    "meshos_hinted_tasks",
    "meshos_http_connections",
    "meshos_http_connections_made_room_total",
    "meshos_http_connections_refused_total",
    "meshos_master_acknowledgements_total",
    "meshos_master_agents_admitted_total",
    "meshos_master_agents_disconnected_total",
    "meshos_master_agents_registered_total",
    "meshos_master_agents_unreachable_total",
    "meshos_master_allocation_runs_total",
    "meshos_master_allocation_skips_total",
    "meshos_master_frameworks_admitted_total",
    "meshos_master_frameworks_closed_total",
    "meshos_master_inverse_offers_accepted_total",
    "meshos_master_inverse_offers_declined_total",
    "meshos_master_inverse_offers_sent_total",
    "meshos_master_kills_total",
    "meshos_master_operation_milliseconds_total",
    "meshos_master_operations_total",
    "meshos_master_proposals_total",
    "meshos_master_reconciliations_total",
    "meshos_master_subscriptions_total",
    "meshos_master_tasks_ended_reason_total",
    "meshos_master_updates_received_total",
    "meshos_master_updates_sent_total",
    "meshos_node_draining",
    "meshos_node_info",
    "meshos_node_load_average",
    "meshos_node_pressure_ratio",
    "meshos_process_open_files",
    "meshos_raft_applied_index",
    "meshos_raft_last_index",
    "meshos_raft_snapshot_index",
    "meshos_raft_term",
    "meshos_raft_voters",
];

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn named(name: &str) -> Option<&'static Metric> {
    let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
    ALL.iter().copied().find(|metric| match metric.kind {
        Kind::Histogram => Some(metric.name) == histogram || metric.name == name,
        Kind::Counter | Kind::Gauge => metric.name == name,
    })
}

/// Every word of a text that is the name of a metric of ours.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words.filter(|word| word.starts_with("meshos_")).map(str::to_owned).collect()
}

/// The strings under the key `expr`, wherever they stand.
fn expressions(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value.as_str()) {
                ("expr" | "definition" | "query", Some(text)) => vec![text.to_owned()],
                _ => expressions(value),
            })
            .collect(),
        serde_json::Value::Array(items) => items.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}

/// What the dashboards and the rules name.
fn shown() -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    let mut dashboards = 0;
    for entry in std::fs::read_dir(repository("dashboards")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        match path.extension().and_then(|end| end.to_str()) {
            Some("json") => {
                let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
                let found = expressions(&dashboard);
                assert!(!found.is_empty(), "{} asks for nothing", path.display());
                shown.extend(found.iter().flat_map(|text| metrics_in(text)));
                dashboards += 1;
            }
            Some("yml") => shown.extend(metrics_in(&text)),
            _ => {}
        }
    }
    assert!(dashboards > 0);
    shown
}

#[test]
fn names_say_area_what_and_unit() {
    let mut names = BTreeSet::new();
    for metric in ALL {
        let name = metric.name;
        assert!(names.insert(name), "{name} is there twice");
        assert!(name.split('_').count() >= 3 && name.starts_with("meshos_"), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert_eq!(metric.kind == Kind::Histogram, name.ends_with("_seconds"), "{name}");
        assert!(!metric.help.is_empty() && !metric.help.ends_with('.'), "{name}");
    }
}

#[test]
fn dashboards_and_rules_name_only_what_there_is() {
    for name in shown() {
        assert!(
            named(&name).is_some(),
            "{name} is on a dashboard or in a rule and is not exported"
        );
    }
}

#[test]
fn every_metric_is_shown_or_listed_as_not() {
    let shown: BTreeSet<&str> =
        shown().iter().filter_map(|name| named(name)).map(|metric| metric.name).collect();
    let hidden: BTreeSet<&str> = NOT_SHOWN.iter().copied().collect();
    let all: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    let both: Vec<_> = shown.intersection(&hidden).collect();
    assert!(both.is_empty(), "listed as not shown although they are: {both:?}");
    let neither: Vec<_> =
        all.iter().filter(|name| !shown.contains(*name) && !hidden.contains(*name)).collect();
    assert!(neither.is_empty(), "on no dashboard and not listed: {neither:?}");
    assert!(hidden.is_subset(&all), "listed as not shown and not there at all");
}

fn document() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         Every node serves them at `/metrics`, on its cluster port and on its agent port, in the text format of Prometheus. This page is\n\
         made from the list in `node/src/metrics/catalogue.rs` by `MESHOS_UPDATE_DOCS=1 cargo test -p meshos-node metrics`; a test holds the\n\
         two together, and another holds every metric that a dashboard names against the list.\n\n\
         Names are `meshos_<area>_<what>_<unit>`. Who exports a metric:\n\n\
         | exported | means |\n| --- | --- |\n\
         | everywhere | every node, of itself |\n\
         | leader | the leader alone: the row is gone as soon as it leads no more, so `sum` and `max` over all nodes are the cluster's |\n\
         | leaders | every node that has led since it started: the sum over all nodes is the cluster's, `rate` first |\n\n\
         | metric | kind | labels | exported | what |\n| --- | --- | --- | --- | --- |\n",
    );
    for metric in ALL {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let exported = match metric.exported {
            Exported::Everywhere => "everywhere",
            Exported::ByLeader => "leader",
            Exported::ByLeaders => "leaders",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = labels.join(", ");
        text.push_str(&format!(
            "| `{}` | {kind} | {labels} | {exported} | {} |\n",
            metric.name, metric.help
        ));
    }
    text
}

#[test]
fn the_document_is_the_catalogue() {
    let path = repository("docs/metrics.md");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, document()).unwrap();
    }
    assert!(
        read("docs/metrics.md") == document(),
        "docs/metrics.md is out of date: {UPDATE}=1 writes it"
    );
}

fn agent_row(bits: u64, state: NodeState, used: &str) -> Arc<AgentView> {
    let id = NodeId::from_bits(bits);
    Arc::new(AgentView {
        id,
        agent_id: AgentId::new(id, 1),
        hostname: String::new(),
        address: String::new(),
        agent_address: String::new(),
        pid: 1,
        version: String::new(),
        resources: "cpus:4;mem:1000;disk:10;ports:[1-2]".parse().unwrap(),
        used: used.parse().unwrap(),
        offered: "cpus:0.5".parse().unwrap(),
        attributes: Default::default(),
        domain: None,
        state,
        since: None,
        registered_at: None,
        reregistered_at: None,
        connected: state == NodeState::Active,
        leader: false,
        tasks: 0,
        drain: None,
    })
}

fn values(text: &str) -> BTreeMap<&str, f64> {
    let rows = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    rows.map(|row| {
        let (name, value) = row.rsplit_once(' ').unwrap();
        (name, value.parse().unwrap())
    })
    .collect()
}

#[test]
fn what_is_unreachable_or_gone_is_not_counted_as_capacity() {
    let canvas = Canvas::new();
    let agents = [
        agent_row(1, NodeState::Active, "cpus:1.25;mem:512"),
        agent_row(2, NodeState::Draining, "cpus:1"),
        agent_row(3, NodeState::Unreachable, "cpus:3"),
        agent_row(4, NodeState::Gone, "cpus:4"),
        agent_row(5, NodeState::Drained, "cpus:2"),
        agent_row(6, NodeState::Deactivated, "cpus:2"),
    ];
    parts::agents(&canvas, Box::new(agents.iter()));
    let text = canvas.render(ALL.iter().copied());
    let values = values(&text);
    assert_eq!(values["meshos_cluster_cpus{amount=\"total\"}"], 16.0);
    assert_eq!(values["meshos_cluster_cpus{amount=\"used\"}"], 6.25);
    assert_eq!(values["meshos_cluster_cpus{amount=\"offered\"}"], 2.0);
    assert_eq!(values["meshos_cluster_memory_bytes{amount=\"used\"}"], 512.0 * 1_048_576.0);
    assert_eq!(values["meshos_cluster_agents{state=\"unreachable\"}"], 1.0);
    for state in ["draining", "drained", "deactivated"] {
        assert_eq!(values[format!("meshos_cluster_agents{{state=\"{state}\"}}").as_str()], 1.0);
    }
    assert_eq!(values["meshos_cluster_agents_connected"], 1.0);
    assert!(text.contains("# TYPE meshos_cluster_cpus gauge"));
}

#[test]
fn what_is_revocable_is_counted_by_itself() {
    let canvas = Canvas::new();
    let mut lent = agent_row(1, NodeState::Active, "cpus:1;cpus{revocable}:3");
    let lending = Arc::get_mut(&mut lent).unwrap();
    lending.resources += &"cpus{revocable}:8;mem{revocable}:512".parse().unwrap();
    parts::agents(&canvas, Box::new([lent, agent_row(2, NodeState::Active, "cpus:1")].iter()));
    let mut view = agent_view(NodeId::from_bits(7));
    view.resources += &"cpus{revocable}:8".parse().unwrap();
    view.used = "cpus:1;cpus{revocable}:0.5".parse().unwrap();
    parts::agent(&canvas, &view, 0);
    let text = canvas.render(ALL.iter().copied());
    let values = values(&text);
    for (row, value) in [
        ("meshos_cluster_cpus{amount=\"total\"}", 8.0),
        ("meshos_cluster_cpus{amount=\"used\"}", 2.0),
        ("meshos_cluster_memory_bytes{amount=\"total\"}", 2_000.0 * 1_048_576.0),
        ("meshos_cluster_revocable{resource=\"cpus\",amount=\"total\"}", 8.0),
        ("meshos_cluster_revocable{resource=\"cpus\",amount=\"used\"}", 3.0),
        ("meshos_cluster_revocable{resource=\"cpus\",amount=\"offered\"}", 0.0),
        ("meshos_cluster_revocable{resource=\"mem\",amount=\"total\"}", 512.0),
        ("meshos_agent_cpus{amount=\"total\"}", 2.0),
        ("meshos_agent_cpus{amount=\"used\"}", 1.0),
        ("meshos_agent_revocable{resource=\"cpus\",amount=\"total\"}", 8.0),
        ("meshos_agent_revocable{resource=\"cpus\",amount=\"used\"}", 0.5),
    ] {
        assert_eq!(values[row], value, "{row}");
    }
}

/// A registered agent that has launched something.
fn agent_view(node: NodeId) -> agent::View {
    agent::View {
        node,
        agent: None,
        fence: None,
        registered: true,
        draining: false,
        stopping: false,
        storage_failure: None,
        resources: "cpus:2;mem:64".parse().unwrap(),
        used: Default::default(),
        attributes: Default::default(),
        tasks: Vec::new(),
        executors: Vec::new(),
        probes: 3,
        checks_waiting: 4,
        counters: agent::Counters { launches: 3, ..agent::Counters::default() },
    }
}

#[test]
fn all_that_a_follower_exports_is_in_the_catalogue_and_the_other_way_round() {
    let canvas = Canvas::new();
    let node = NodeId::from_bits(7);
    let fence = Fence { cluster: ClusterId::from_u128(1), term: Term(9) };
    let leader = Leader { fence, node, agent_address: String::new(), http_address: String::new() };
    let voter = Voter { raft_id: 1, node_id: node, address: "h:1".to_owned() };
    let voter = VoterStatus {
        voter,
        role: VoterRole::Voter,
        is_leader: true,
        last_contact: None,
        lag: Some(3),
    };
    let status = Status {
        term: Term(9),
        last_index: Some(5),
        committed_index: Some(4),
        applied_index: Some(4),
        snapshot_index: Some(2),
        purged_index: None,
    };
    let view = agent_view(node);
    parts::agent(&canvas, &view, 2);
    parts::sandboxes(&canvas, SandboxStatus { removed: 5, ..Default::default() });
    parts::leader(&canvas, Some(&leader), false);
    parts::raft(&canvas, status, &[voter], &Health::Running);
    parts::hints(&canvas, 3);
    parts::gossip(&canvas, &ClusterView::default(), Default::default());
    parts::health(&canvas, Default::default());
    parts::node(&canvas, node);
    process::draw(&canvas);
    let http = HttpCounts::default();
    http.opened();
    http.answered(404);
    http.draw(&canvas);
    let mut totals = Totals::default();
    totals.note(Term(1), &Default::default());
    totals.draw(&canvas);
    let kept = Kept::new();
    let text = canvas.render(ALL.iter().copied()) + &kept.handle.render();
    let values = values(&text);
    assert_eq!(values["meshos_leader_term"], 9.0);
    assert_eq!(values["meshos_leader_self"], 0.0);
    assert_eq!(values["meshos_raft_commit_index"], 4.0);
    assert_eq!(values[format!("meshos_raft_lag_entries{{node=\"{node}\"}}").as_str()], 3.0);
    assert_eq!(values["meshos_gossip_members_alive"], 1.0);
    assert_eq!(values["meshos_agent_launches_total"], 3.0);
    assert_eq!(values["meshos_agent_sandboxes_removed_total"], 5.0);
    assert_eq!(values["meshos_http_requests_total{status=\"404\"}"], 1.0);
    assert_eq!(values["meshos_http_connections"], 1.0);
    assert!(values["meshos_process_resident_memory_bytes"] > 0.0);
    let exported: BTreeSet<&str> = values
        .keys()
        .map(|row| named(row.split('{').next().unwrap()).unwrap_or_else(|| panic!("{row}")).name)
        .collect();
    let of_cluster = |metric: &&&Metric| metric.name.starts_with("meshos_cluster_");
    let expected: BTreeSet<&str> =
        ALL.iter().filter(|metric| !of_cluster(metric)).map(|metric| metric.name).collect();
    assert_eq!(exported, expected);
}

#[test]
fn a_histogram_has_buckets_that_can_be_added_up() {
    let kept = Kept::new();
    let recorder = &kept.recorder;
    super::canvas::histogram(recorder, &super::catalogue::MASTER_LAUNCH_DURATION).record(0.007);
    let text = kept.handle.render();
    let values = values(&text);
    assert_eq!(values["meshos_master_launch_duration_seconds_bucket{le=\"0.005\"}"], 0.0, "{text}");
    assert_eq!(values["meshos_master_launch_duration_seconds_bucket{le=\"0.01\"}"], 1.0);
    assert_eq!(values["meshos_master_launch_duration_seconds_count"], 1.0);
}
