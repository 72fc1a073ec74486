//! Values, attributes and resources.

use super::*;

enumeration! {
    ValueType {
        Scalar = 0 "SCALAR",
        Ranges = 1 "RANGES",
        Set = 2 "SET",
        Text = 3 "TEXT",
    }
}

enumeration! {
    ResourceReservationInfoType {
        Unknown = 0 "UNKNOWN",
        Static = 1 "STATIC",
        Dynamic = 2 "DYNAMIC",
    }
}

enumeration! {
    ResourceDiskInfoSourceType {
        Unknown = 0 "UNKNOWN",
        Path = 1 "PATH",
        Mount = 2 "MOUNT",
        Block = 3 "BLOCK",
        Raw = 4 "RAW",
    }
}

messages! {
    ValueScalar {
        1 value: req double;
    }

    ValueRange {
        1 begin: req uint64;
        2 end: req uint64;
    }

    ValueRanges {
        1 range: rep msg ValueRange;
    }

    ValueSet {
        1 item: rep string;
    }

    ValueText {
        1 value: req string;
    }

    Attribute {
        1 name: req string;
        2 r#type: req enum ValueType;
        3 scalar: opt msg ValueScalar;
        4 ranges: opt msg ValueRanges;
        6 set: opt msg ValueSet;
        5 text: opt msg ValueText;
    }

    Resource {
        12 provider_id: opt msg ResourceProviderId;
        1 name: req string;
        2 r#type: req enum ValueType;
        3 scalar: opt msg ValueScalar;
        4 ranges: opt msg ValueRanges;
        5 set: opt msg ValueSet;
        6 role: opt string;
        11 allocation_info: opt msg ResourceAllocationInfo;
        8 reservation: opt boxed ResourceReservationInfo;
        13 reservations: rep msg ResourceReservationInfo;
        7 disk: opt boxed ResourceDiskInfo;
        9 revocable: opt msg ResourceRevocableInfo;
        10 shared: opt msg ResourceSharedInfo;
    }

    ResourceAllocationInfo {
        1 role: opt string;
    }

    ResourceReservationInfo {
        4 r#type: opt enum ResourceReservationInfoType;
        3 role: opt string;
        1 principal: opt string;
        2 labels: opt msg Labels;
    }

    ResourceDiskInfo {
        1 persistence: opt msg ResourceDiskInfoPersistence;
        2 volume: opt msg Volume;
        3 source: opt msg ResourceDiskInfoSource;
    }

    ResourceDiskInfoPersistence {
        1 id: req string;
        2 principal: opt string;
    }

    ResourceDiskInfoSource {
        1 r#type: req enum ResourceDiskInfoSourceType;
        2 path: opt msg ResourceDiskInfoSourcePath;
        3 mount: opt msg ResourceDiskInfoSourceMount;
        7 vendor: opt string;
        4 id: opt string;
        5 metadata: opt msg Labels;
        6 profile: opt string;
    }

    ResourceDiskInfoSourcePath {
        1 root: opt string;
    }

    ResourceDiskInfoSourceMount {
        1 root: opt string;
    }

    ResourceRevocableInfo {
    }

    ResourceSharedInfo {
    }
}
