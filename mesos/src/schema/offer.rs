//! Offers and the operations on them.

use super::*;

enumeration! {
    OfferOperationType {
        Unknown = 0 "UNKNOWN",
        Launch = 1 "LAUNCH",
        LaunchGroup = 6 "LAUNCH_GROUP",
        Reserve = 2 "RESERVE",
        Unreserve = 3 "UNRESERVE",
        Create = 4 "CREATE",
        Destroy = 5 "DESTROY",
        GrowVolume = 11 "GROW_VOLUME",
        ShrinkVolume = 12 "SHRINK_VOLUME",
        CreateDisk = 13 "CREATE_DISK",
        DestroyDisk = 14 "DESTROY_DISK",
    }
}

messages! {
    Request {
        1 agent_id: opt msg AgentId;
        2 resources: rep msg Resource;
    }

    Offer {
        1 id: req msg OfferId;
        2 framework_id: req msg FrameworkId;
        3 agent_id: req msg AgentId;
        4 hostname: req string;
        8 url: opt msg Url;
        11 domain: opt msg DomainInfo;
        5 resources: rep msg Resource;
        7 attributes: rep msg Attribute;
        6 executor_ids: rep msg ExecutorId;
        9 unavailability: opt msg Unavailability;
        10 allocation_info: opt msg ResourceAllocationInfo;
    }

    OfferOperation {
        1 r#type: opt enum OfferOperationType;
        12 id: opt msg OperationId;
        2 launch: opt msg OfferOperationLaunch;
        7 launch_group: opt boxed OfferOperationLaunchGroup;
        3 reserve: opt msg OfferOperationReserve;
        4 unreserve: opt msg OfferOperationUnreserve;
        5 create: opt msg OfferOperationCreate;
        6 destroy: opt msg OfferOperationDestroy;
        13 grow_volume: opt boxed OfferOperationGrowVolume;
        14 shrink_volume: opt boxed OfferOperationShrinkVolume;
        15 create_disk: opt boxed OfferOperationCreateDisk;
        16 destroy_disk: opt boxed OfferOperationDestroyDisk;
    }

    OfferOperationLaunch {
        1 task_infos: rep msg TaskInfo;
    }

    OfferOperationLaunchGroup {
        1 executor: req msg ExecutorInfo;
        2 task_group: req msg TaskGroupInfo;
    }

    OfferOperationReserve {
        2 source: rep msg Resource;
        1 resources: rep msg Resource;
    }

    OfferOperationUnreserve {
        1 resources: rep msg Resource;
    }

    OfferOperationCreate {
        1 volumes: rep msg Resource;
    }

    OfferOperationDestroy {
        1 volumes: rep msg Resource;
    }

    OfferOperationGrowVolume {
        1 volume: req msg Resource;
        2 addition: req msg Resource;
    }

    OfferOperationShrinkVolume {
        1 volume: req msg Resource;
        2 subtract: req msg ValueScalar;
    }

    OfferOperationCreateDisk {
        1 source: req msg Resource;
        2 target_type: req enum ResourceDiskInfoSourceType;
        3 target_profile: opt string;
    }

    OfferOperationDestroyDisk {
        1 source: req msg Resource;
    }

    InverseOffer {
        1 id: req msg OfferId;
        2 url: opt msg Url;
        3 framework_id: req msg FrameworkId;
        4 agent_id: opt msg AgentId;
        5 unavailability: req msg Unavailability;
        6 resources: rep msg Resource;
    }
}
