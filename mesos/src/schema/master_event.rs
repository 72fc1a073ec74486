//! The events of the operator API.

use super::*;

enumeration! {
    MasterEventType {
        Unknown = 0 "UNKNOWN",
        Subscribed = 1 "SUBSCRIBED",
        TaskAdded = 2 "TASK_ADDED",
        TaskUpdated = 3 "TASK_UPDATED",
        AgentAdded = 4 "AGENT_ADDED",
        AgentRemoved = 5 "AGENT_REMOVED",
        FrameworkAdded = 6 "FRAMEWORK_ADDED",
        FrameworkUpdated = 7 "FRAMEWORK_UPDATED",
        FrameworkRemoved = 8 "FRAMEWORK_REMOVED",
        Heartbeat = 9 "HEARTBEAT",
    }
}

messages! {
    MasterEvent {
        1 r#type: opt enum MasterEventType;
        2 subscribed: opt boxed MasterEventSubscribed;
        3 task_added: opt msg MasterEventTaskAdded;
        4 task_updated: opt msg MasterEventTaskUpdated;
        5 agent_added: opt msg MasterEventAgentAdded;
        6 agent_removed: opt msg MasterEventAgentRemoved;
        7 framework_added: opt msg MasterEventFrameworkAdded;
        8 framework_updated: opt msg MasterEventFrameworkUpdated;
        9 framework_removed: opt msg MasterEventFrameworkRemoved;
    }

    MasterEventSubscribed {
        1 get_state: opt boxed ResponseGetState;
        2 heartbeat_interval_seconds: opt double;
    }

    MasterEventTaskAdded {
        1 task: req msg Task;
    }

    MasterEventTaskUpdated {
        1 framework_id: req msg FrameworkId;
        2 status: req msg TaskStatus;
        3 state: req enum TaskState;
    }

    MasterEventAgentAdded {
        1 agent: req msg ResponseGetAgentsAgent;
    }

    MasterEventAgentRemoved {
        1 agent_id: req msg AgentId;
    }

    MasterEventFrameworkAdded {
        1 framework: req msg ResponseGetFrameworksFramework;
    }

    MasterEventFrameworkUpdated {
        1 framework: req msg ResponseGetFrameworksFramework;
    }

    MasterEventFrameworkRemoved {
        1 framework_info: req msg FrameworkInfo;
    }
}
