//! Maintenance: which machines will be away, and what was said of it.

use super::*;

enumeration! {
    InverseOfferStatusStatus {
        Unknown = 1 "UNKNOWN",
        Accept = 2 "ACCEPT",
        Decline = 3 "DECLINE",
    }
}

messages! {
    MachineId {
        1 hostname: opt string;
        2 ip: opt string;
    }

    Schedule {
        1 windows: rep msg Window;
    }

    Window {
        1 machine_ids: rep msg MachineId;
        2 unavailability: req msg Unavailability;
    }

    ClusterStatus {
        1 draining_machines: rep msg DrainingMachine;
        2 down_machines: rep msg MachineId;
    }

    DrainingMachine {
        1 id: req msg MachineId;
        2 statuses: rep msg InverseOfferStatus;
    }

    InverseOfferStatus {
        1 status: req enum InverseOfferStatusStatus;
        2 framework_id: req msg FrameworkId;
        3 timestamp: req msg TimeInfo;
    }

    MasterCallUpdateMaintenanceSchedule {
        1 schedule: req msg Schedule;
    }

    MasterCallStartMaintenance {
        1 machines: rep msg MachineId;
    }

    MasterCallStopMaintenance {
        1 machines: rep msg MachineId;
    }
}
