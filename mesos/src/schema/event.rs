//! The events of the scheduler API.

use super::*;

enumeration! {
    EventType {
        Unknown = 0 "UNKNOWN",
        Subscribed = 1 "SUBSCRIBED",
        Offers = 2 "OFFERS",
        InverseOffers = 9 "INVERSE_OFFERS",
        Rescind = 3 "RESCIND",
        RescindInverseOffer = 10 "RESCIND_INVERSE_OFFER",
        Update = 4 "UPDATE",
        UpdateOperationStatus = 11 "UPDATE_OPERATION_STATUS",
        Message = 5 "MESSAGE",
        Failure = 6 "FAILURE",
        Error = 7 "ERROR",
        Heartbeat = 8 "HEARTBEAT",
    }
}

messages! {
    Event {
        1 r#type: opt enum EventType;
        2 subscribed: opt msg EventSubscribed;
        3 offers: opt msg EventOffers;
        9 inverse_offers: opt msg EventInverseOffers;
        4 rescind: opt msg EventRescind;
        10 rescind_inverse_offer: opt msg EventRescindInverseOffer;
        5 update: opt msg EventUpdate;
        11 update_operation_status: opt msg EventUpdateOperationStatus;
        6 message: opt msg EventMessage;
        7 failure: opt msg EventFailure;
        8 error: opt msg EventError;
    }

    EventSubscribed {
        1 framework_id: req msg FrameworkId;
        2 heartbeat_interval_seconds: opt double;
        3 master_info: opt msg MasterInfo;
    }

    EventOffers {
        1 offers: rep msg Offer;
    }

    EventInverseOffers {
        1 inverse_offers: rep msg InverseOffer;
    }

    EventRescind {
        1 offer_id: req msg OfferId;
    }

    EventRescindInverseOffer {
        1 inverse_offer_id: req msg OfferId;
    }

    EventUpdate {
        1 status: req msg TaskStatus;
    }

    EventUpdateOperationStatus {
        1 status: req msg OperationStatus;
    }

    EventMessage {
        1 agent_id: req msg AgentId;
        2 executor_id: req msg ExecutorId;
        3 data: req bytes;
    }

    EventFailure {
        1 agent_id: opt msg AgentId;
        2 executor_id: opt msg ExecutorId;
        3 status: opt int32;
    }

    EventError {
        1 message: req string;
    }
}
