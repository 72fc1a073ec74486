//! Ids, times, addresses and labels.

enumeration! {
    MasterInfoCapabilityType {
        Unknown = 0 "UNKNOWN",
        AgentUpdate = 1 "AGENT_UPDATE",
        AgentDraining = 2 "AGENT_DRAINING",
        QuotaV2 = 3 "QUOTA_V2",
    }
}

messages! {
    FrameworkId {
        1 value: req string;
    }

    OfferId {
        1 value: req string;
    }

    AgentId {
        1 value: req string;
    }

    TaskId {
        1 value: req string;
    }

    ExecutorId {
        1 value: req string;
    }

    ContainerId {
        1 value: req string;
        2 parent: opt boxed ContainerId;
    }

    ResourceProviderId {
        1 value: req string;
    }

    OperationId {
        1 value: req string;
    }

    TimeInfo {
        1 nanoseconds: req int64;
    }

    DurationInfo {
        1 nanoseconds: req int64;
    }

    Address {
        1 hostname: opt string;
        2 ip: opt string;
        3 port: req int32;
    }

    Url {
        1 scheme: req string;
        2 address: req msg Address;
        3 path: opt string;
        4 query: rep msg Parameter;
        5 fragment: opt string;
    }

    Unavailability {
        1 start: req msg TimeInfo;
        2 duration: opt msg DurationInfo;
    }

    DomainInfo {
        1 fault_domain: opt msg DomainInfoFaultDomain;
    }

    DomainInfoFaultDomain {
        1 region: req msg DomainInfoFaultDomainRegionInfo;
        2 zone: req msg DomainInfoFaultDomainZoneInfo;
    }

    DomainInfoFaultDomainRegionInfo {
        1 name: req string;
    }

    DomainInfoFaultDomainZoneInfo {
        1 name: req string;
    }

    MasterInfo {
        1 id: req string;
        2 ip: req uint32;
        3 port: req uint32 = 5050;
        4 pid: opt string;
        5 hostname: opt string;
        6 version: opt string;
        7 address: opt msg Address;
        8 domain: opt msg DomainInfo;
        9 capabilities: rep msg MasterInfoCapability;
    }

    MasterInfoCapability {
        1 r#type: opt enum MasterInfoCapabilityType;
    }

    Uuid {
        1 value: req bytes;
    }

    Filters {
        1 refuse_seconds: opt double = 5.0;
    }

    Parameter {
        1 key: req string;
        2 value: req string;
    }

    Parameters {
        1 parameter: rep msg Parameter;
    }

    Labels {
        1 labels: rep msg Label;
    }

    Label {
        1 key: req string;
        2 value: opt string;
    }
}
