//! The calls of the operator API.

use super::*;

enumeration! {
    MasterCallType {
        Unknown = 0 "UNKNOWN",
        GetHealth = 1 "GET_HEALTH",
        GetFlags = 2 "GET_FLAGS",
        GetVersion = 3 "GET_VERSION",
        GetMetrics = 4 "GET_METRICS",
        GetLoggingLevel = 5 "GET_LOGGING_LEVEL",
        SetLoggingLevel = 6 "SET_LOGGING_LEVEL",
        ListFiles = 7 "LIST_FILES",
        ReadFile = 8 "READ_FILE",
        GetState = 9 "GET_STATE",
        GetAgents = 10 "GET_AGENTS",
        GetFrameworks = 11 "GET_FRAMEWORKS",
        GetExecutors = 12 "GET_EXECUTORS",
        GetOperations = 33 "GET_OPERATIONS",
        GetTasks = 13 "GET_TASKS",
        GetRoles = 14 "GET_ROLES",
        GetWeights = 15 "GET_WEIGHTS",
        UpdateWeights = 16 "UPDATE_WEIGHTS",
        GetMaster = 17 "GET_MASTER",
        Subscribe = 18 "SUBSCRIBE",
        ReserveResources = 19 "RESERVE_RESOURCES",
        UnreserveResources = 20 "UNRESERVE_RESOURCES",
        CreateVolumes = 21 "CREATE_VOLUMES",
        DestroyVolumes = 22 "DESTROY_VOLUMES",
        GrowVolume = 34 "GROW_VOLUME",
        ShrinkVolume = 35 "SHRINK_VOLUME",
        GetMaintenanceStatus = 23 "GET_MAINTENANCE_STATUS",
        GetMaintenanceSchedule = 24 "GET_MAINTENANCE_SCHEDULE",
        UpdateMaintenanceSchedule = 25 "UPDATE_MAINTENANCE_SCHEDULE",
        StartMaintenance = 26 "START_MAINTENANCE",
        StopMaintenance = 27 "STOP_MAINTENANCE",
        DrainAgent = 37 "DRAIN_AGENT",
        DeactivateAgent = 38 "DEACTIVATE_AGENT",
        ReactivateAgent = 39 "REACTIVATE_AGENT",
        GetQuota = 28 "GET_QUOTA",
        UpdateQuota = 36 "UPDATE_QUOTA",
        SetQuota = 29 "SET_QUOTA",
        RemoveQuota = 30 "REMOVE_QUOTA",
        Teardown = 31 "TEARDOWN",
        MarkAgentGone = 32 "MARK_AGENT_GONE",
    }
}

messages! {
    MasterCall {
        1 r#type: opt enum MasterCallType;
        2 get_metrics: opt msg MasterCallGetMetrics;
        4 list_files: opt msg CallListFiles;
        5 read_file: opt msg CallReadFile;
        6 update_weights: opt msg MasterCallUpdateWeights;
        7 reserve_resources: opt msg MasterCallReserveResources;
        8 unreserve_resources: opt msg MasterCallUnreserveResources;
        9 create_volumes: opt msg MasterCallCreateVolumes;
        10 destroy_volumes: opt msg MasterCallDestroyVolumes;
        18 grow_volume: opt boxed MasterCallGrowVolume;
        19 shrink_volume: opt boxed MasterCallShrinkVolume;
        11 update_maintenance_schedule: opt msg MasterCallUpdateMaintenanceSchedule;
        12 start_maintenance: opt msg MasterCallStartMaintenance;
        13 stop_maintenance: opt msg MasterCallStopMaintenance;
        21 drain_agent: opt msg MasterCallDrainAgent;
        22 deactivate_agent: opt msg MasterCallDeactivateAgent;
        23 reactivate_agent: opt msg MasterCallReactivateAgent;
        20 update_quota: opt msg MasterCallUpdateQuota;
        16 teardown: opt msg MasterCallTeardown;
        17 mark_agent_gone: opt msg MasterCallMarkAgentGone;
        14 set_quota: opt msg MasterCallSetQuota;
        15 remove_quota: opt msg MasterCallRemoveQuota;
    }

    MasterCallGetMetrics {
        1 timeout: opt msg DurationInfo;
    }

    MasterCallUpdateWeights {
        1 weight_infos: rep msg WeightInfo;
    }

    MasterCallReserveResources {
        1 agent_id: req msg AgentId;
        3 source: rep msg Resource;
        2 resources: rep msg Resource;
    }

    MasterCallUnreserveResources {
        1 agent_id: req msg AgentId;
        2 resources: rep msg Resource;
    }

    MasterCallCreateVolumes {
        1 agent_id: req msg AgentId;
        2 volumes: rep msg Resource;
    }

    MasterCallDestroyVolumes {
        1 agent_id: req msg AgentId;
        2 volumes: rep msg Resource;
    }

    MasterCallGrowVolume {
        1 agent_id: opt msg AgentId;
        2 volume: req msg Resource;
        3 addition: req msg Resource;
    }

    MasterCallShrinkVolume {
        1 agent_id: opt msg AgentId;
        2 volume: req msg Resource;
        3 subtract: req msg ValueScalar;
    }

    MasterCallDrainAgent {
        1 agent_id: req msg AgentId;
        2 max_grace_period: opt msg Duration;
        3 mark_gone: opt bool = false;
    }

    Duration {
        1 seconds: opt int64;
        2 nanos: opt int32;
    }

    MasterCallDeactivateAgent {
        1 agent_id: req msg AgentId;
    }

    MasterCallReactivateAgent {
        1 agent_id: req msg AgentId;
    }

    MasterCallUpdateQuota {
        1 force: opt bool;
        2 quota_configs: rep msg QuotaConfig;
    }

    MasterCallTeardown {
        1 framework_id: req msg FrameworkId;
    }

    MasterCallMarkAgentGone {
        1 agent_id: req msg AgentId;
    }

    MasterCallSetQuota {
        1 quota_request: req msg QuotaRequest;
    }

    QuotaRequest {
        1 force: opt bool;
        2 role: opt string;
        3 guarantee: rep msg Resource;
    }

    MasterCallRemoveQuota {
        1 role: req string;
    }
}
