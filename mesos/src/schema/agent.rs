//! The operator API of agents.

use super::*;

enumeration! {
    AgentCallType {
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
        GetContainers = 10 "GET_CONTAINERS",
        GetFrameworks = 11 "GET_FRAMEWORKS",
        GetExecutors = 12 "GET_EXECUTORS",
        GetOperations = 31 "GET_OPERATIONS",
        GetTasks = 13 "GET_TASKS",
        GetAgent = 20 "GET_AGENT",
        GetResourceProviders = 26 "GET_RESOURCE_PROVIDERS",
        LaunchNestedContainer = 14 "LAUNCH_NESTED_CONTAINER",
        WaitNestedContainer = 15 "WAIT_NESTED_CONTAINER",
        KillNestedContainer = 16 "KILL_NESTED_CONTAINER",
        RemoveNestedContainer = 21 "REMOVE_NESTED_CONTAINER",
        LaunchNestedContainerSession = 17 "LAUNCH_NESTED_CONTAINER_SESSION",
        AttachContainerInput = 18 "ATTACH_CONTAINER_INPUT",
        AttachContainerOutput = 19 "ATTACH_CONTAINER_OUTPUT",
        LaunchContainer = 22 "LAUNCH_CONTAINER",
        WaitContainer = 23 "WAIT_CONTAINER",
        KillContainer = 24 "KILL_CONTAINER",
        RemoveContainer = 25 "REMOVE_CONTAINER",
        AddResourceProviderConfig = 27 "ADD_RESOURCE_PROVIDER_CONFIG",
        UpdateResourceProviderConfig = 28 "UPDATE_RESOURCE_PROVIDER_CONFIG",
        RemoveResourceProviderConfig = 29 "REMOVE_RESOURCE_PROVIDER_CONFIG",
        MarkResourceProviderGone = 32 "MARK_RESOURCE_PROVIDER_GONE",
        PruneImages = 30 "PRUNE_IMAGES",
    }
}

enumeration! {
    AgentResponseType {
        Unknown = 0 "UNKNOWN",
        GetHealth = 1 "GET_HEALTH",
        GetFlags = 2 "GET_FLAGS",
        GetVersion = 3 "GET_VERSION",
        GetMetrics = 4 "GET_METRICS",
        GetLoggingLevel = 5 "GET_LOGGING_LEVEL",
        ListFiles = 6 "LIST_FILES",
        ReadFile = 7 "READ_FILE",
        GetState = 8 "GET_STATE",
        GetContainers = 9 "GET_CONTAINERS",
        GetFrameworks = 10 "GET_FRAMEWORKS",
        GetExecutors = 11 "GET_EXECUTORS",
        GetOperations = 17 "GET_OPERATIONS",
        GetTasks = 12 "GET_TASKS",
        GetAgent = 14 "GET_AGENT",
        GetResourceProviders = 16 "GET_RESOURCE_PROVIDERS",
    }
}

messages! {
    AgentCall {
        1 r#type: opt enum AgentCallType;
        2 get_metrics: opt msg MasterCallGetMetrics;
        4 list_files: opt msg CallListFiles;
        5 read_file: opt msg CallReadFile;
    }

    AgentResponse {
        1 r#type: opt enum AgentResponseType;
        2 get_health: opt msg ResponseGetHealth;
        3 get_flags: opt msg ResponseGetFlags;
        4 get_version: opt msg ResponseGetVersion;
        5 get_metrics: opt msg ResponseGetMetrics;
        6 get_logging_level: opt msg ResponseGetLoggingLevel;
        7 list_files: opt msg ResponseListFiles;
        8 read_file: opt msg ResponseReadFile;
        9 get_state: opt boxed AgentResponseGetState;
        10 get_containers: opt msg AgentResponseGetContainers;
        11 get_frameworks: opt msg AgentResponseGetFrameworks;
        12 get_executors: opt msg AgentResponseGetExecutors;
        18 get_operations: opt msg AgentResponseGetOperations;
        13 get_tasks: opt msg AgentResponseGetTasks;
        15 get_agent: opt boxed AgentResponseGetAgent;
        17 get_resource_providers: opt msg AgentResponseGetResourceProviders;
    }

    AgentResponseGetState {
        1 get_tasks: opt msg AgentResponseGetTasks;
        2 get_executors: opt msg AgentResponseGetExecutors;
        3 get_frameworks: opt msg AgentResponseGetFrameworks;
    }

    AgentResponseGetContainers {
        1 containers: all msg AgentResponseGetContainersContainer;
    }

    AgentResponseGetContainersContainer {
        1 framework_id: opt msg FrameworkId;
        2 executor_id: opt msg ExecutorId;
        3 executor_name: opt string;
        4 container_id: req msg ContainerId;
        5 container_status: opt msg ContainerStatus;
        6 resource_statistics: opt boxed ResourceStatistics;
    }

    ResourceStatistics {
        1 timestamp: req double;
        30 processes: opt uint32;
        2 cpus_user_time_secs: opt double;
        3 cpus_system_time_secs: opt double;
        4 cpus_limit: opt double;
        8 cpus_nr_throttled: opt uint32;
        36 mem_total_bytes: opt uint64;
        6 mem_limit_bytes: opt uint64;
        5 mem_rss_bytes: opt uint64;
        26 disk_limit_bytes: opt uint64;
    }

    AgentResponseGetFrameworks {
        1 frameworks: all msg AgentResponseGetFrameworksFramework;
        2 completed_frameworks: all msg AgentResponseGetFrameworksFramework;
    }

    AgentResponseGetFrameworksFramework {
        1 framework_info: req msg FrameworkInfo;
    }

    AgentResponseGetExecutors {
        1 executors: all msg AgentResponseGetExecutorsExecutor;
        2 completed_executors: all msg AgentResponseGetExecutorsExecutor;
    }

    AgentResponseGetExecutorsExecutor {
        1 executor_info: req msg ExecutorInfo;
    }

    AgentResponseGetOperations {
    }

    AgentResponseGetTasks {
        1 pending_tasks: all msg Task;
        2 queued_tasks: all msg Task;
        3 launched_tasks: all msg Task;
        4 terminated_tasks: all msg Task;
        5 completed_tasks: all msg Task;
    }

    AgentResponseGetAgent {
        1 agent_info: opt msg AgentInfo;
    }

    AgentResponseGetResourceProviders {
    }
}
