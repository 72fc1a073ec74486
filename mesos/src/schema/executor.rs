//! The calls and events of the executor API.

use super::*;

enumeration! {
    ExecutorCallType {
        Unknown = 0 "UNKNOWN",
        Subscribe = 1 "SUBSCRIBE",
        Update = 2 "UPDATE",
        Message = 3 "MESSAGE",
        Heartbeat = 4 "HEARTBEAT",
    }
}

enumeration! {
    ExecutorEventType {
        Unknown = 0 "UNKNOWN",
        Subscribed = 1 "SUBSCRIBED",
        Launch = 2 "LAUNCH",
        LaunchGroup = 8 "LAUNCH_GROUP",
        Kill = 3 "KILL",
        Acknowledged = 4 "ACKNOWLEDGED",
        Message = 5 "MESSAGE",
        Error = 6 "ERROR",
        Shutdown = 7 "SHUTDOWN",
        Heartbeat = 9 "HEARTBEAT",
    }
}

messages! {
    ExecutorCall {
        1 executor_id: req msg ExecutorId;
        2 framework_id: req msg FrameworkId;
        3 r#type: opt enum ExecutorCallType;
        4 subscribe: opt msg ExecutorCallSubscribe;
        5 update: opt msg ExecutorCallUpdate;
        6 message: opt msg ExecutorCallMessage;
    }

    ExecutorCallSubscribe {
        1 unacknowledged_tasks: rep msg TaskInfo;
        2 unacknowledged_updates: rep msg ExecutorCallUpdate;
    }

    ExecutorCallUpdate {
        1 status: req boxed TaskStatus;
    }

    ExecutorCallMessage {
        2 data: req bytes;
    }

    ExecutorEvent {
        1 r#type: opt enum ExecutorEventType;
        2 subscribed: opt boxed ExecutorEventSubscribed;
        3 acknowledged: opt msg ExecutorEventAcknowledged;
        4 launch: opt boxed ExecutorEventLaunch;
        8 launch_group: opt msg ExecutorEventLaunchGroup;
        5 kill: opt msg ExecutorEventKill;
        6 message: opt msg ExecutorEventMessage;
        7 error: opt msg ExecutorEventError;
    }

    ExecutorEventSubscribed {
        1 executor_info: req msg ExecutorInfo;
        2 framework_info: req msg FrameworkInfo;
        3 agent_info: req msg AgentInfo;
        4 container_id: opt msg ContainerId;
    }

    ExecutorEventLaunch {
        1 task: req msg TaskInfo;
    }

    ExecutorEventLaunchGroup {
        1 task_group: req msg TaskGroupInfo;
    }

    ExecutorEventKill {
        1 task_id: req msg TaskId;
        2 kill_policy: opt msg KillPolicy;
    }

    ExecutorEventAcknowledged {
        1 task_id: req msg TaskId;
        2 uuid: req bytes;
    }

    ExecutorEventMessage {
        1 data: req bytes;
    }

    ExecutorEventError {
        1 message: req string;
    }
}
