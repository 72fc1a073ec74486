//! Tasks, executors and their commands.

use super::*;

enumeration! {
    CheckInfoType {
        Unknown = 0 "UNKNOWN",
        Command = 1 "COMMAND",
        Http = 2 "HTTP",
        Tcp = 3 "TCP",
    }
}

enumeration! {
    HealthCheckType {
        Unknown = 0 "UNKNOWN",
        Command = 1 "COMMAND",
        Http = 2 "HTTP",
        Tcp = 3 "TCP",
    }
}

enumeration! {
    ExecutorInfoType {
        Unknown = 0 "UNKNOWN",
        Default = 1 "DEFAULT",
        Custom = 2 "CUSTOM",
    }
}

enumeration! {
    EnvironmentVariableType {
        Unknown = 0 "UNKNOWN",
        Value = 1 "VALUE",
        Secret = 2 "SECRET",
    }
}

enumeration! {
    DiscoveryInfoVisibility {
        Framework = 0 "FRAMEWORK",
        Cluster = 1 "CLUSTER",
        External = 2 "EXTERNAL",
    }
}

messages! {
    CheckInfo {
        1 r#type: opt enum CheckInfoType;
        2 command: opt msg CheckInfoCommand;
        3 http: opt msg CheckInfoHttp;
        7 tcp: opt msg CheckInfoTcp;
        4 delay_seconds: opt double = 15.0;
        5 interval_seconds: opt double = 10.0;
        6 timeout_seconds: opt double = 20.0;
    }

    CheckInfoCommand {
        1 command: req msg CommandInfo;
    }

    CheckInfoHttp {
        1 port: req uint32;
        2 path: opt string;
    }

    CheckInfoTcp {
        1 port: req uint32;
    }

    HealthCheck {
        2 delay_seconds: opt double = 15.0;
        3 interval_seconds: opt double = 10.0;
        4 timeout_seconds: opt double = 20.0;
        5 consecutive_failures: opt uint32 = 3;
        6 grace_period_seconds: opt double = 10.0;
        8 r#type: opt enum HealthCheckType;
        7 command: opt msg CommandInfo;
        1 http: opt msg HealthCheckHttpCheckInfo;
        9 tcp: opt msg HealthCheckTcpCheckInfo;
    }

    HealthCheckHttpCheckInfo {
        5 protocol: opt enum NetworkInfoProtocol = NetworkInfoProtocol::Ipv4 as i32;
        3 scheme: opt string;
        1 port: req uint32;
        2 path: opt string;
        4 statuses: rep uint32;
    }

    HealthCheckTcpCheckInfo {
        2 protocol: opt enum NetworkInfoProtocol = NetworkInfoProtocol::Ipv4 as i32;
        1 port: req uint32;
    }

    KillPolicy {
        1 grace_period: opt msg DurationInfo;
    }

    CommandInfo {
        1 uris: rep msg CommandInfoUri;
        2 environment: opt msg Environment;
        6 shell: opt bool = true;
        3 value: opt string;
        7 arguments: rep string;
        5 user: opt string;
    }

    CommandInfoUri {
        1 value: req string;
        2 executable: opt bool;
        3 extract: opt bool = true;
        4 cache: opt bool;
        5 output_file: opt string;
    }

    ExecutorInfo {
        15 r#type: opt enum ExecutorInfoType;
        1 executor_id: req msg ExecutorId;
        8 framework_id: opt msg FrameworkId;
        7 command: opt msg CommandInfo;
        11 container: opt msg ContainerInfo;
        5 resources: rep msg Resource;
        9 name: opt string;
        10 source: opt string;
        4 data: opt bytes;
        12 discovery: opt msg DiscoveryInfo;
        13 shutdown_grace_period: opt msg DurationInfo;
        14 labels: opt msg Labels;
    }

    TaskInfo {
        1 name: req string;
        2 task_id: req msg TaskId;
        3 agent_id: req msg AgentId;
        4 resources: rep msg Resource;
        5 executor: opt boxed ExecutorInfo;
        7 command: opt msg CommandInfo;
        9 container: opt boxed ContainerInfo;
        8 health_check: opt boxed HealthCheck;
        13 check: opt boxed CheckInfo;
        12 kill_policy: opt msg KillPolicy;
        6 data: opt bytes;
        10 labels: opt msg Labels;
        11 discovery: opt boxed DiscoveryInfo;
        14 max_completion_time: opt msg DurationInfo;
        15 limits: map ValueScalar;
    }

    TaskGroupInfo {
        1 tasks: rep msg TaskInfo;
    }

    Environment {
        1 variables: rep msg EnvironmentVariable;
    }

    EnvironmentVariable {
        1 name: req string;
        3 r#type: opt enum EnvironmentVariableType = EnvironmentVariableType::Value as i32;
        2 value: opt string;
        4 secret: opt boxed Secret;
    }

    Port {
        1 number: req uint32;
        2 name: opt string;
        3 protocol: opt string;
        4 visibility: opt enum DiscoveryInfoVisibility;
        5 labels: opt msg Labels;
    }

    Ports {
        1 ports: rep msg Port;
    }

    DiscoveryInfo {
        1 visibility: req enum DiscoveryInfoVisibility;
        2 name: opt string;
        3 environment: opt string;
        4 location: opt string;
        5 version: opt string;
        6 ports: opt msg Ports;
        7 labels: opt msg Labels;
    }
}
