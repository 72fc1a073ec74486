//! What the reading half of the operator API is answered with.

use super::*;

enumeration! {
    MasterResponseType {
        Unknown = 0 "UNKNOWN",
        GetHealth = 1 "GET_HEALTH",
        GetFlags = 2 "GET_FLAGS",
        GetVersion = 3 "GET_VERSION",
        GetMetrics = 4 "GET_METRICS",
        GetLoggingLevel = 5 "GET_LOGGING_LEVEL",
        ListFiles = 6 "LIST_FILES",
        ReadFile = 7 "READ_FILE",
        GetState = 8 "GET_STATE",
        GetAgents = 9 "GET_AGENTS",
        GetFrameworks = 10 "GET_FRAMEWORKS",
        GetExecutors = 11 "GET_EXECUTORS",
        GetOperations = 19 "GET_OPERATIONS",
        GetTasks = 12 "GET_TASKS",
        GetRoles = 13 "GET_ROLES",
        GetWeights = 14 "GET_WEIGHTS",
        GetMaster = 15 "GET_MASTER",
        GetMaintenanceStatus = 16 "GET_MAINTENANCE_STATUS",
        GetMaintenanceSchedule = 17 "GET_MAINTENANCE_SCHEDULE",
        GetQuota = 18 "GET_QUOTA",
    }
}

enumeration! {
    AgentInfoCapabilityType {
        Unknown = 0 "UNKNOWN",
        MultiRole = 1 "MULTI_ROLE",
        HierarchicalRole = 2 "HIERARCHICAL_ROLE",
        ReservationRefinement = 3 "RESERVATION_REFINEMENT",
        ResourceProvider = 4 "RESOURCE_PROVIDER",
        ResizeVolume = 5 "RESIZE_VOLUME",
        AgentOperationFeedback = 6 "AGENT_OPERATION_FEEDBACK",
        AgentDraining = 7 "AGENT_DRAINING",
        TaskResourceLimits = 8 "TASK_RESOURCE_LIMITS",
    }
}

enumeration! {
    DrainState {
        Unknown = 0 "UNKNOWN",
        Draining = 1 "DRAINING",
        Drained = 2 "DRAINED",
    }
}

messages! {
    MasterResponse {
        1 r#type: opt enum MasterResponseType;
        2 get_health: opt msg ResponseGetHealth;
        3 get_flags: opt msg ResponseGetFlags;
        4 get_version: opt msg ResponseGetVersion;
        5 get_metrics: opt msg ResponseGetMetrics;
        6 get_logging_level: opt msg ResponseGetLoggingLevel;
        7 list_files: opt msg ResponseListFiles;
        8 read_file: opt msg ResponseReadFile;
        9 get_state: opt boxed ResponseGetState;
        10 get_agents: opt msg ResponseGetAgents;
        11 get_frameworks: opt msg ResponseGetFrameworks;
        12 get_executors: opt msg ResponseGetExecutors;
        13 get_tasks: opt msg ResponseGetTasks;
        14 get_roles: opt msg ResponseGetRoles;
        15 get_weights: opt msg ResponseGetWeights;
        16 get_master: opt msg ResponseGetMaster;
        17 get_maintenance_status: opt msg ResponseGetMaintenanceStatus;
        18 get_maintenance_schedule: opt msg ResponseGetMaintenanceSchedule;
        19 get_quota: opt msg ResponseGetQuota;
    }

    ResponseGetHealth {
        1 healthy: req bool;
    }

    ResponseGetFlags {
        1 flags: all msg Flag;
    }

    Flag {
        1 name: req string;
        2 value: opt string;
    }

    ResponseGetVersion {
        1 version_info: req msg VersionInfo;
    }

    VersionInfo {
        1 version: req string;
        2 build_date: opt string;
        3 build_time: opt double;
        4 build_user: opt string;
        5 git_sha: opt string;
        6 git_branch: opt string;
        7 git_tag: opt string;
    }

    ResponseGetMetrics {
        1 metrics: all msg Metric;
    }

    Metric {
        1 name: req string;
        2 value: opt double;
    }

    ResponseGetLoggingLevel {
        1 level: req uint32;
    }

    ResponseGetState {
        1 get_tasks: opt msg ResponseGetTasks;
        2 get_executors: opt msg ResponseGetExecutors;
        3 get_frameworks: opt msg ResponseGetFrameworks;
        4 get_agents: opt msg ResponseGetAgents;
    }

    ResponseGetAgents {
        1 agents: all msg ResponseGetAgentsAgent;
        2 recovered_agents: all msg AgentInfo;
    }

    ResponseGetAgentsAgent {
        1 agent_info: req msg AgentInfo;
        2 active: req bool;
        12 deactivated: opt bool;
        3 version: req string;
        4 pid: opt string;
        5 registered_time: opt msg TimeInfo;
        6 reregistered_time: opt msg TimeInfo;
        7 total_resources: rep msg Resource;
        8 allocated_resources: rep msg Resource;
        9 offered_resources: rep msg Resource;
        10 capabilities: rep msg AgentInfoCapability;
        13 drain_info: opt msg DrainInfo;
        14 estimated_drain_start_time: opt msg TimeInfo;
    }

    AgentInfo {
        1 hostname: req string;
        8 port: opt int32;
        3 resources: rep msg Resource;
        5 attributes: rep msg Attribute;
        6 id: opt msg AgentId;
        10 domain: opt msg DomainInfo;
    }

    AgentInfoCapability {
        1 r#type: opt enum AgentInfoCapabilityType;
    }

    DrainConfig {
        1 max_grace_period: opt msg DurationInfo;
        2 mark_gone: opt bool = false;
    }

    DrainInfo {
        1 state: req enum DrainState;
        2 config: req msg DrainConfig;
    }

    ResponseGetFrameworks {
        1 frameworks: all msg ResponseGetFrameworksFramework;
        2 completed_frameworks: all msg ResponseGetFrameworksFramework;
        3 recovered_frameworks: all msg FrameworkInfo;
    }

    ResponseGetFrameworksFramework {
        1 framework_info: req msg FrameworkInfo;
        2 active: req bool;
        3 connected: req bool;
        11 recovered: req bool;
        4 registered_time: opt msg TimeInfo;
        5 reregistered_time: opt msg TimeInfo;
        6 unregistered_time: opt msg TimeInfo;
        7 offers: rep msg Offer;
        8 inverse_offers: rep msg InverseOffer;
        9 allocated_resources: rep msg Resource;
        10 offered_resources: rep msg Resource;
    }

    ResponseGetExecutors {
        1 executors: all msg ResponseGetExecutorsExecutor;
    }

    ResponseGetExecutorsExecutor {
        1 executor_info: req msg ExecutorInfo;
        2 agent_id: req msg AgentId;
    }

    ResponseGetTasks {
        1 pending_tasks: all msg Task;
        2 tasks: all msg Task;
        5 unreachable_tasks: all msg Task;
        3 completed_tasks: all msg Task;
        4 orphan_tasks: all msg Task;
    }

    Task {
        1 name: req string;
        2 task_id: req msg TaskId;
        3 framework_id: req msg FrameworkId;
        4 executor_id: opt msg ExecutorId;
        5 agent_id: req msg AgentId;
        6 state: req enum TaskState;
        7 resources: rep msg Resource;
        8 statuses: rep msg TaskStatus;
        9 status_update_state: opt enum TaskState;
        10 status_update_uuid: opt bytes;
        11 labels: opt msg Labels;
        14 user: opt string;
    }

    ResponseGetRoles {
        1 roles: all msg Role;
    }

    Role {
        1 name: req string;
        2 weight: req double;
        3 frameworks: rep msg FrameworkId;
        4 resources: rep msg Resource;
    }

    ResponseGetWeights {
        1 weight_infos: all msg WeightInfo;
    }

    WeightInfo {
        1 weight: req double;
        2 role: opt string;
    }

    ResponseGetMaster {
        1 master_info: opt msg MasterInfo;
        2 start_time: opt double;
        3 elected_time: opt double;
    }

    ResponseGetMaintenanceStatus {
        1 status: req msg ClusterStatus;
    }

    ResponseGetMaintenanceSchedule {
        1 schedule: req msg Schedule;
    }

    ResponseGetQuota {
        1 status: req msg QuotaStatus;
    }

    QuotaStatus {
        1 infos: rep msg QuotaInfo;
        2 configs: rep msg QuotaConfig;
    }

    QuotaInfo {
        1 role: opt string;
        2 principal: opt string;
        3 guarantee: rep msg Resource;
    }

    QuotaConfig {
        1 role: req string;
        2 guarantees: map ValueScalar;
        3 limits: map ValueScalar;
    }
}
