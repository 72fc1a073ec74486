//! Every metric, once: its name, kind, labels, who exports it, and what it says.
//!
//! Names are `meshos_<area>_<what>_<unit>`, with `_total` behind those that only rise.
//! `docs/metrics.md` is this list as a table, and the dashboards may name nothing else.

/// How the value of a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only rises, until the process ends.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts durations by size.
    Histogram,
}

/// Which nodes export a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exported {
    /// Every node, of itself.
    Everywhere,
    /// The leader alone; the row is gone as soon as it leads no more.
    ByLeader,
    /// Every node that has led since it started; the sum over all nodes is the cluster's.
    ByLeaders,
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub exported: Exported,
    /// A sentence.
    pub help: &'static str,
}

macro_rules! catalogue {
    ($($id:ident = $kind:ident $name:literal [$($label:literal),*] $exported:ident $help:literal;)*) => {
        $(pub(super) static $id: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            exported: Exported::$exported,
            help: $help,
        };)*

        /// All of them, in the order of the document.
        pub(super) static ALL: &[&Metric] = &[$(&$id,)*];
    };
}

catalogue! {
    CLUSTER_CPUS = Gauge "meshos_cluster_cpus" ["amount"] ByLeader
        "CPUs of the agents that are neither unreachable nor gone, without revocable ones; amount is total, offered or used";
    CLUSTER_MEMORY = Gauge "meshos_cluster_memory_bytes" ["amount"] ByLeader
        "Memory of the agents that are neither unreachable nor gone, without what is revocable; amount is total, offered or used";
    CLUSTER_DISK = Gauge "meshos_cluster_disk_bytes" ["amount"] ByLeader
        "Disk of the agents that are neither unreachable nor gone, without what is revocable; amount is total, offered or used";
    CLUSTER_GPUS = Gauge "meshos_cluster_gpus" ["amount"] ByLeader
        "GPUs of the agents that are neither unreachable nor gone, without revocable ones; amount is total, offered or used";
    CLUSTER_REVOCABLE = Gauge "meshos_cluster_revocable" ["resource", "amount"] ByLeader
        "Revocable resources of the agents that are neither unreachable nor gone: cpus, gpus, and mem and disk in MB; amount is total, offered or used";
    CLUSTER_AGENTS = Gauge "meshos_cluster_agents" ["state"] ByLeader
        "Agents on record, by state";
    CLUSTER_AGENTS_CONNECTED = Gauge "meshos_cluster_agents_connected" [] ByLeader
        "Agents whose stream to the leader is open and whose tasks are all reported";
    CLUSTER_FRAMEWORKS = Gauge "meshos_cluster_frameworks" ["state"] ByLeader
        "Frameworks that have not ended, by state";
    CLUSTER_TASKS = Gauge "meshos_cluster_tasks" ["state"] ByLeader
        "Tasks that have not ended, by state";
    CLUSTER_OFFERS = Gauge "meshos_cluster_offers_open" [] ByLeader
        "Offers that frameworks have not answered";

    MASTER_OFFERS_SENT = Counter "meshos_master_offers_sent_total" [] ByLeaders
        "Offers sent to frameworks";
    MASTER_OFFERS_ACCEPTED = Counter "meshos_master_offers_accepted_total" [] ByLeaders
        "Offers used by a valid accept";
    MASTER_OFFERS_DECLINED = Counter "meshos_master_offers_declined_total" [] ByLeaders
        "Offers given back, by decline or by an accept that was not valid";
    MASTER_OFFERS_RESCINDED = Counter "meshos_master_offers_rescinded_total" [] ByLeaders
        "Offers taken back because their agent or framework went away";
    MASTER_INVERSE_OFFERS_SENT = Counter "meshos_master_inverse_offers_sent_total" [] ByLeaders
        "Inverse offers sent to frameworks, which ask whether it suits that a node will be away";
    MASTER_INVERSE_OFFERS_ACCEPTED = Counter "meshos_master_inverse_offers_accepted_total" [] ByLeaders
        "Inverse offers to which frameworks said that it suits";
    MASTER_INVERSE_OFFERS_DECLINED = Counter "meshos_master_inverse_offers_declined_total" [] ByLeaders
        "Inverse offers to which frameworks said that it does not suit";
    MASTER_OFFERS_TIMED_OUT = Counter "meshos_master_offers_timed_out_total" [] ByLeaders
        "Offers taken back because they were open for too long while others waited";
    MASTER_ALLOCATION_RUNS = Counter "meshos_master_allocation_runs_total" [] ByLeaders
        "Runs of the allocator";
    MASTER_ALLOCATION_SKIPS = Counter "meshos_master_allocation_skips_total" ["rule"] ByLeaders
        "Looks at an agent for a framework that ended without an offer, by the rule that ended them, named as in `meshos explain`; agents that nobody is offered are not looked at";
    MASTER_LAUNCHES = Counter "meshos_master_launches_total" [] ByLeaders
        "Tasks handed to agents";
    MASTER_LAUNCH_DURATION = Histogram "meshos_master_launch_duration_seconds" [] Everywhere
        "From the accept to the moment the leader hears that the task runs; looked at once a second, so that some of more than a thousand short tasks a second are left out; empty on nodes that have not led";
    MASTER_OPERATIONS = Counter "meshos_master_operations_total" ["kind", "outcome"] ByLeaders
        "Operations on resources that are over, by kind and by what became of them: finished, failed on the agent, error when they broke a rule, dropped, or gone_by_operator with their agent; of kind unknown are those that an earlier leader handed on";
    MASTER_OPERATION_TIME = Counter "meshos_master_operation_milliseconds_total" ["kind", "outcome"] ByLeaders
        "Time from handing operations to agents until the leader heard what became of them, in sum: divided by the count of the same labels it is the mean";
    MASTER_KILLS = Counter "meshos_master_kills_total" [] ByLeaders
        "Kills handed to agents";
    MASTER_UPDATES_RECEIVED = Counter "meshos_master_updates_received_total" [] ByLeaders
        "Status updates that came from agents";
    MASTER_UPDATES_SENT = Counter "meshos_master_updates_sent_total" [] ByLeaders
        "Status updates sent to frameworks, those that the master made included";
    MASTER_ACKNOWLEDGEMENTS = Counter "meshos_master_acknowledgements_total" [] ByLeaders
        "Acknowledgements handed to agents";
    MASTER_RECONCILIATIONS = Counter "meshos_master_reconciliations_total" [] ByLeaders
        "Questions about tasks that frameworks asked";
    MASTER_AGENTS_ADMITTED = Counter "meshos_master_agents_admitted_total" [] ByLeaders
        "Agents that registered for the first time under their id";
    MASTER_AGENTS_REGISTERED = Counter "meshos_master_agents_registered_total" [] ByLeaders
        "Registrations of agents that were completed";
    MASTER_AGENTS_DISCONNECTED = Counter "meshos_master_agents_disconnected_total" [] ByLeaders
        "Agent streams lost";
    MASTER_AGENTS_UNREACHABLE = Counter "meshos_master_agents_unreachable_total" [] ByLeaders
        "Agents that became unreachable";
    MASTER_FRAMEWORKS_ADMITTED = Counter "meshos_master_frameworks_admitted_total" [] ByLeaders
        "Frameworks admitted";
    MASTER_SUBSCRIPTIONS = Counter "meshos_master_subscriptions_total" [] ByLeaders
        "Subscriptions taken up, resumed ones included";
    MASTER_FRAMEWORKS_CLOSED = Counter "meshos_master_frameworks_closed_total" [] ByLeaders
        "Frameworks that ended";
    MASTER_PROPOSALS = Counter "meshos_master_proposals_total" [] ByLeaders
        "Changes handed to the registry";
    MASTER_TASKS_ENDED = Counter "meshos_master_tasks_ended_total" ["state"] ByLeaders
        "Tasks that ended, by state";
    MASTER_TASKS_ENDED_REASON = Counter "meshos_master_tasks_ended_reason_total" ["reason"] ByLeaders
        "Tasks that ended otherwise than finished, by reason";
    MASTER_DROPPED = Counter "meshos_master_dropped_total" ["reason"] ByLeaders
        "Calls and messages that were not carried out, by reason";

    AGENT_REGISTERED = Gauge "meshos_agent_registered" [] Everywhere
        "1 while the leader has this node's registration";
    AGENT_CPUS = Gauge "meshos_agent_cpus" ["amount"] Everywhere
        "CPUs of this node, without revocable ones; amount is total or used";
    AGENT_MEMORY = Gauge "meshos_agent_memory_bytes" ["amount"] Everywhere
        "Memory that this node offers, without what is revocable; amount is total or used";
    AGENT_DISK = Gauge "meshos_agent_disk_bytes" ["amount"] Everywhere
        "Disk that this node offers, without what is revocable; amount is total or used";
    AGENT_REVOCABLE = Gauge "meshos_agent_revocable" ["resource", "amount"] Everywhere
        "Revocable resources of this node: cpus, gpus, and mem and disk in MB; amount is total or used";
    AGENT_RESERVED = Gauge "meshos_agent_reserved" ["resource"] Everywhere
        "How much of this node is reserved for roles, volumes included: cpus, gpus, and mem and disk in MB";
    AGENT_VOLUMES = Gauge "meshos_agent_volumes" [] Everywhere
        "Persistent volumes on this node";
    AGENT_TASKS = Gauge "meshos_agent_tasks" ["state"] Everywhere
        "Tasks on this node, by state; ended ones until their framework has acknowledged it";
    AGENT_STORAGE_FAILED = Gauge "meshos_agent_storage_failed" [] Everywhere
        "1 when this node's disk refuses the agent's writes";
    AGENT_STORE_WRITES = Counter "meshos_agent_store_writes_total" [] Everywhere
        "Durable transactions of the agent's records; one holds the changes of all tasks that waited for it";
    AGENT_LAUNCHES = Counter "meshos_agent_launches_total" [] Everywhere
        "Launches taken on";
    AGENT_LAUNCHES_REFUSED = Counter "meshos_agent_launches_refused_total" [] Everywhere
        "Launches answered with dropped";
    AGENT_LAUNCHES_REPEATED = Counter "meshos_agent_launches_repeated_total" [] Everywhere
        "Launches of tasks that were known already, answered with their state";
    AGENT_CONTAINERS_STARTED = Counter "meshos_agent_containers_started_total" [] Everywhere
        "Containers asked for";
    AGENT_KILLS = Counter "meshos_agent_kills_total" [] Everywhere
        "Tasks whose kill has begun";
    AGENT_PROBES = Counter "meshos_agent_probes_total" [] Everywhere
        "Probes of tasks, by health checks and other checks";
    AGENT_PROBES_UNDER_WAY = Gauge "meshos_agent_probes" [] Everywhere
        "Probes of tasks that are under way";
    AGENT_CHECKS_WAITING = Gauge "meshos_agent_checks_waiting" [] Everywhere
        "Checks of tasks that are due and wait because too many probes are under way";
    AGENT_PROBES_FAILED = Counter "meshos_agent_health_probes_failed_total" [] Everywhere
        "Probes of health checks that failed, those within a grace period too";
    AGENT_HEALTH_KILLS = Counter "meshos_agent_health_kills_total" [] Everywhere
        "Tasks whose kill has begun because their health check failed too often";
    AGENT_TASKS_ENDED = Counter "meshos_agent_tasks_ended_total" ["state"] Everywhere
        "Tasks that ended on this node, by state";
    AGENT_OPERATIONS = Counter "meshos_agent_operations_total" [] Everywhere
        "Operations on this node's resources taken on";
    AGENT_UPDATES_SENT = Counter "meshos_agent_updates_sent_total" [] Everywhere
        "Status updates sent, repetitions included";
    AGENT_UPDATES_RETRIED = Counter "meshos_agent_updates_retried_total" [] Everywhere
        "Status updates sent again because nobody acknowledged them in time";
    AGENT_UPDATES_ACKNOWLEDGED = Counter "meshos_agent_updates_acknowledged_total" [] Everywhere
        "Status updates acknowledged";
    AGENT_REGISTRATIONS = Counter "meshos_agent_registrations_total" [] Everywhere
        "Registrations sent";
    AGENT_SANDBOXES_REMOVED = Counter "meshos_agent_sandboxes_removed_total" [] Everywhere
        "Sandboxes of ended tasks removed from this node";
    AGENT_SANDBOX_FAILURES = Counter "meshos_agent_sandbox_failures_total" [] Everywhere
        "Times that a part of a sandbox could not be read or removed; it is tried again";
    AGENT_SANDBOX_DISK = Gauge "meshos_agent_sandbox_disk_bytes" ["amount"] Everywhere
        "The file system that this node's sandboxes are on; amount is total or used";
    AGENT_SANDBOX_AGE = Gauge "meshos_agent_sandbox_age_allowed_milliseconds" [] Everywhere
        "How old the sandbox of an ended task may grow as full as the disk is now";
    AGENT_STALE = Counter "meshos_agent_stale_instructions_total" [] Everywhere
        "Instructions dropped because their fence was old or not confirmed";

    LEADER_KNOWN = Gauge "meshos_leader_known" [] Everywhere
        "1 while this node follows a leader";
    LEADER_SELF = Gauge "meshos_leader_self" [] Everywhere
        "1 while this node leads";
    LEADER_TERM = Gauge "meshos_leader_term" [] Everywhere
        "The term of the leader that this node follows; 0 before the first";

    RAFT_TERM = Gauge "meshos_raft_term" [] Everywhere
        "The highest term that this node has seen";
    RAFT_HEALTHY = Gauge "meshos_raft_healthy" [] Everywhere
        "1 while this node takes part in raft, as a voter or ready to become one";
    RAFT_LAST_INDEX = Gauge "meshos_raft_last_index" [] Everywhere
        "The newest entry of the log; 0 before the first";
    RAFT_COMMIT_INDEX = Gauge "meshos_raft_commit_index" [] Everywhere
        "The newest entry known to be committed; 0 before the first";
    RAFT_APPLIED_INDEX = Gauge "meshos_raft_applied_index" [] Everywhere
        "The newest entry that the registry has applied; 0 before the first";
    RAFT_SNAPSHOT_INDEX = Gauge "meshos_raft_snapshot_index" [] Everywhere
        "The newest entry in the snapshot on disk; 0 before the first";
    RAFT_VOTERS = Gauge "meshos_raft_voters" [] Everywhere
        "Voters of the group as this node knows it; 0 on nodes that are not in it";
    HINTED_TASKS = Gauge "meshos_hinted_tasks" [] Everywhere
        "Live tasks that leaders told this node of; should it lead next, it knows them from the start";
    RAFT_LAG = Gauge "meshos_raft_lag_entries" ["node"] ByLeader
        "Entries of the leader's log that a member does not have yet";

    GOSSIP_MEMBERS_ALIVE = Gauge "meshos_gossip_members_alive" [] Everywhere
        "Nodes that gossip holds for alive, this one included";
    GOSSIP_MEMBERS_KNOWN = Gauge "meshos_gossip_members_known" [] Everywhere
        "Nodes that gossip has heard of and not forgotten, this one included";
    GOSSIP_PACKETS_SENT = Counter "meshos_gossip_packets_sent_total" [] Everywhere
        "Packets handed to the socket";
    GOSSIP_PACKETS_RECEIVED = Counter "meshos_gossip_packets_received_total" [] Everywhere
        "Packets read from the socket, whatever became of them";
    GOSSIP_PACKETS_DROPPED = Counter "meshos_gossip_packets_dropped_total" ["reason"] Everywhere
        "Packets and messages dropped: garbled, forged, replayed, crowded, incomplete, undecodable or refused";
    GOSSIP_UNSENT = Counter "meshos_gossip_messages_unsent_total" [] Everywhere
        "Messages not sent because a queue or the socket was full";
    GOSSIP_RESTARTS = Counter "meshos_gossip_restarts_total" [] Everywhere
        "How often gossip broke and was started again";

    HTTP_CONNECTIONS = Gauge "meshos_http_connections" [] Everywhere
        "Open connections to both HTTP ports";
    HTTP_CONNECTIONS_REFUSED = Counter "meshos_http_connections_refused_total" [] Everywhere
        "Connections closed at once because too many were open";
    HTTP_CONNECTIONS_MADE_ROOM = Counter "meshos_http_connections_made_room_total" [] Everywhere
        "Connections of whoever has most that were closed for a new one because too many were open";
    HTTP_REQUESTS = Counter "meshos_http_requests_total" ["status"] Everywhere
        "Requests answered, by HTTP status";

    PROCESS_MEMORY = Gauge "meshos_process_resident_memory_bytes" [] Everywhere
        "Resident memory of the node's process";
    PROCESS_CPU = Counter "meshos_process_cpu_milliseconds_total" [] Everywhere
        "CPU time of the node's process, user and system";
    PROCESS_FILES = Gauge "meshos_process_open_files" [] Everywhere
        "Open file descriptors of the node's process";
    NODE_INFO = Gauge "meshos_node_info" ["node", "version"] Everywhere
        "1, with the node's id and release as labels";
    NODE_LOAD = Gauge "meshos_node_load_average" [] Everywhere
        "Load average of one minute, as the node last told it by gossip";
    NODE_PRESSURE = Gauge "meshos_node_pressure_ratio" ["resource"] Everywhere
        "Share of ten seconds in which something waited for the resource, memory or disk, as the node last told it";
    NODE_DRAINING = Gauge "meshos_node_draining" [] Everywhere
        "1 while the node is offered no more because an operator drains or deactivated it";
}
