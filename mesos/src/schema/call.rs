//! The calls of the scheduler API.

use super::*;

enumeration! {
    CallType {
        Unknown = 0 "UNKNOWN",
        Subscribe = 1 "SUBSCRIBE",
        Teardown = 2 "TEARDOWN",
        Accept = 3 "ACCEPT",
        Decline = 4 "DECLINE",
        AcceptInverseOffers = 13 "ACCEPT_INVERSE_OFFERS",
        DeclineInverseOffers = 14 "DECLINE_INVERSE_OFFERS",
        Revive = 5 "REVIVE",
        Kill = 6 "KILL",
        Shutdown = 7 "SHUTDOWN",
        Acknowledge = 8 "ACKNOWLEDGE",
        AcknowledgeOperationStatus = 15 "ACKNOWLEDGE_OPERATION_STATUS",
        Reconcile = 9 "RECONCILE",
        ReconcileOperations = 16 "RECONCILE_OPERATIONS",
        Message = 10 "MESSAGE",
        Request = 11 "REQUEST",
        Suppress = 12 "SUPPRESS",
        UpdateFramework = 17 "UPDATE_FRAMEWORK",
    }
}

messages! {
    Call {
        1 framework_id: opt msg FrameworkId;
        2 r#type: opt enum CallType;
        3 subscribe: opt msg CallSubscribe;
        4 accept: opt msg CallAccept;
        5 decline: opt msg CallDecline;
        13 accept_inverse_offers: opt msg CallAcceptInverseOffers;
        14 decline_inverse_offers: opt msg CallDeclineInverseOffers;
        15 revive: opt msg CallRevive;
        6 kill: opt msg CallKill;
        7 shutdown: opt msg CallShutdown;
        8 acknowledge: opt msg CallAcknowledge;
        17 acknowledge_operation_status: opt msg CallAcknowledgeOperationStatus;
        9 reconcile: opt msg CallReconcile;
        18 reconcile_operations: opt msg CallReconcileOperations;
        10 message: opt msg CallMessage;
        11 request: opt msg CallRequest;
        16 suppress: opt msg CallSuppress;
        19 update_framework: opt msg CallUpdateFramework;
    }

    CallSubscribe {
        1 framework_info: req msg FrameworkInfo;
        2 suppressed_roles: rep string;
        3 offer_constraints: opt msg OfferConstraints;
    }

    CallAccept {
        1 offer_ids: rep msg OfferId;
        2 operations: rep msg OfferOperation;
        3 filters: opt msg Filters;
    }

    CallDecline {
        1 offer_ids: rep msg OfferId;
        2 filters: opt msg Filters;
    }

    CallAcceptInverseOffers {
        1 inverse_offer_ids: rep msg OfferId;
        2 filters: opt msg Filters;
    }

    CallDeclineInverseOffers {
        1 inverse_offer_ids: rep msg OfferId;
        2 filters: opt msg Filters;
    }

    CallRevive {
        1 roles: rep string;
    }

    CallKill {
        1 task_id: req msg TaskId;
        2 agent_id: opt msg AgentId;
        3 kill_policy: opt msg KillPolicy;
    }

    CallShutdown {
        1 executor_id: req msg ExecutorId;
        2 agent_id: req msg AgentId;
    }

    CallAcknowledge {
        1 agent_id: req msg AgentId;
        2 task_id: req msg TaskId;
        3 uuid: req bytes;
    }

    CallAcknowledgeOperationStatus {
        1 agent_id: opt msg AgentId;
        2 resource_provider_id: opt msg ResourceProviderId;
        3 uuid: req bytes;
        4 operation_id: req msg OperationId;
    }

    CallReconcile {
        1 tasks: rep msg CallReconcileTask;
    }

    CallReconcileTask {
        1 task_id: req msg TaskId;
        2 agent_id: opt msg AgentId;
    }

    CallReconcileOperations {
        1 operations: rep msg CallReconcileOperationsOperation;
    }

    CallReconcileOperationsOperation {
        1 operation_id: req msg OperationId;
        2 agent_id: opt msg AgentId;
        3 resource_provider_id: opt msg ResourceProviderId;
    }

    CallMessage {
        1 agent_id: req msg AgentId;
        2 executor_id: req msg ExecutorId;
        3 data: req bytes;
    }

    CallRequest {
        1 requests: rep msg Request;
    }

    CallSuppress {
        1 roles: rep string;
    }

    CallUpdateFramework {
        1 framework_info: req msg FrameworkInfo;
        2 suppressed_roles: rep string;
        3 offer_constraints: opt msg OfferConstraints;
    }
}
