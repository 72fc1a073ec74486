//! States of tasks and operations.

use super::*;

enumeration! {
    TaskState {
        Staging = 6 "TASK_STAGING",
        Starting = 0 "TASK_STARTING",
        Running = 1 "TASK_RUNNING",
        Killing = 8 "TASK_KILLING",
        Finished = 2 "TASK_FINISHED",
        Failed = 3 "TASK_FAILED",
        Killed = 4 "TASK_KILLED",
        Error = 7 "TASK_ERROR",
        Lost = 5 "TASK_LOST",
        Dropped = 9 "TASK_DROPPED",
        Unreachable = 10 "TASK_UNREACHABLE",
        Gone = 11 "TASK_GONE",
        GoneByOperator = 12 "TASK_GONE_BY_OPERATOR",
        Unknown = 13 "TASK_UNKNOWN",
    }
}

enumeration! {
    OperationState {
        Unsupported = 0 "OPERATION_UNSUPPORTED",
        Pending = 1 "OPERATION_PENDING",
        Finished = 2 "OPERATION_FINISHED",
        Failed = 3 "OPERATION_FAILED",
        Error = 4 "OPERATION_ERROR",
        Dropped = 5 "OPERATION_DROPPED",
        Unreachable = 6 "OPERATION_UNREACHABLE",
        GoneByOperator = 7 "OPERATION_GONE_BY_OPERATOR",
        Recovering = 8 "OPERATION_RECOVERING",
        Unknown = 9 "OPERATION_UNKNOWN",
    }
}

enumeration! {
    TaskStatusSource {
        Master = 0 "SOURCE_MASTER",
        Agent = 1 "SOURCE_AGENT",
        Executor = 2 "SOURCE_EXECUTOR",
    }
}

enumeration! {
    TaskStatusReason {
        CommandExecutorFailed = 0 "REASON_COMMAND_EXECUTOR_FAILED",
        ContainerLaunchFailed = 21 "REASON_CONTAINER_LAUNCH_FAILED",
        ContainerLimitation = 19 "REASON_CONTAINER_LIMITATION",
        ContainerLimitationDisk = 20 "REASON_CONTAINER_LIMITATION_DISK",
        ContainerLimitationMemory = 8 "REASON_CONTAINER_LIMITATION_MEMORY",
        ContainerPreempted = 17 "REASON_CONTAINER_PREEMPTED",
        ContainerUpdateFailed = 22 "REASON_CONTAINER_UPDATE_FAILED",
        MaxCompletionTimeReached = 33 "REASON_MAX_COMPLETION_TIME_REACHED",
        ExecutorRegistrationTimeout = 23 "REASON_EXECUTOR_REGISTRATION_TIMEOUT",
        ExecutorReregistrationTimeout = 24 "REASON_EXECUTOR_REREGISTRATION_TIMEOUT",
        ExecutorTerminated = 1 "REASON_EXECUTOR_TERMINATED",
        ExecutorUnregistered = 2 "REASON_EXECUTOR_UNREGISTERED",
        FrameworkRemoved = 3 "REASON_FRAMEWORK_REMOVED",
        GcError = 4 "REASON_GC_ERROR",
        InvalidFrameworkid = 5 "REASON_INVALID_FRAMEWORKID",
        InvalidOffers = 6 "REASON_INVALID_OFFERS",
        IoSwitchboardExited = 27 "REASON_IO_SWITCHBOARD_EXITED",
        MasterDisconnected = 7 "REASON_MASTER_DISCONNECTED",
        Reconciliation = 9 "REASON_RECONCILIATION",
        ResourcesUnknown = 18 "REASON_RESOURCES_UNKNOWN",
        AgentDisconnected = 10 "REASON_AGENT_DISCONNECTED",
        AgentDraining = 34 "REASON_AGENT_DRAINING",
        AgentRemoved = 11 "REASON_AGENT_REMOVED",
        AgentRemovedByOperator = 31 "REASON_AGENT_REMOVED_BY_OPERATOR",
        AgentReregistered = 32 "REASON_AGENT_REREGISTERED",
        AgentRestarted = 12 "REASON_AGENT_RESTARTED",
        AgentUnknown = 13 "REASON_AGENT_UNKNOWN",
        TaskKilledDuringLaunch = 30 "REASON_TASK_KILLED_DURING_LAUNCH",
        TaskCheckStatusUpdated = 28 "REASON_TASK_CHECK_STATUS_UPDATED",
        TaskHealthCheckStatusUpdated = 29 "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED",
        TaskGroupInvalid = 25 "REASON_TASK_GROUP_INVALID",
        TaskGroupUnauthorized = 26 "REASON_TASK_GROUP_UNAUTHORIZED",
        TaskInvalid = 14 "REASON_TASK_INVALID",
        TaskUnauthorized = 15 "REASON_TASK_UNAUTHORIZED",
        TaskUnknown = 16 "REASON_TASK_UNKNOWN",
    }
}

messages! {
    TaskResourceLimitation {
        1 resources: rep msg Resource;
    }

    OperationStatus {
        1 operation_id: opt msg OperationId;
        2 state: req enum OperationState;
        3 message: opt string;
        4 converted_resources: rep msg Resource;
        5 uuid: opt msg Uuid;
        6 agent_id: opt msg AgentId;
        7 resource_provider_id: opt msg ResourceProviderId;
    }

    CheckStatusInfo {
        1 r#type: opt enum CheckInfoType;
        2 command: opt msg CheckStatusInfoCommand;
        3 http: opt msg CheckStatusInfoHttp;
        4 tcp: opt msg CheckStatusInfoTcp;
    }

    CheckStatusInfoCommand {
        1 exit_code: opt int32;
    }

    CheckStatusInfoHttp {
        1 status_code: opt uint32;
    }

    CheckStatusInfoTcp {
        1 succeeded: opt bool;
    }

    TaskStatus {
        1 task_id: req msg TaskId;
        2 state: req enum TaskState;
        4 message: opt string;
        9 source: opt enum TaskStatusSource;
        10 reason: opt enum TaskStatusReason;
        3 data: opt bytes;
        5 agent_id: opt msg AgentId;
        7 executor_id: opt msg ExecutorId;
        6 timestamp: opt double;
        11 uuid: opt bytes;
        8 healthy: opt bool;
        15 check_status: opt msg CheckStatusInfo;
        12 labels: opt msg Labels;
        13 container_status: opt msg ContainerStatus;
        14 unreachable_time: opt msg TimeInfo;
        16 limitation: opt msg TaskResourceLimitation;
    }
}
