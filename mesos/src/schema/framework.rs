//! What a framework says of itself, and what it wishes.

use super::*;

enumeration! {
    FrameworkInfoCapabilityType {
        Unknown = 0 "UNKNOWN",
        RevocableResources = 1 "REVOCABLE_RESOURCES",
        TaskKillingState = 2 "TASK_KILLING_STATE",
        GpuResources = 3 "GPU_RESOURCES",
        SharedResources = 4 "SHARED_RESOURCES",
        PartitionAware = 5 "PARTITION_AWARE",
        MultiRole = 6 "MULTI_ROLE",
        ReservationRefinement = 7 "RESERVATION_REFINEMENT",
        RegionAware = 8 "REGION_AWARE",
    }
}

enumeration! {
    AttributeConstraintSelectorPseudoattributeType {
        Unknown = 0 "UNKNOWN",
        Hostname = 1 "HOSTNAME",
        Region = 2 "REGION",
        Zone = 3 "ZONE",
    }
}

messages! {
    FrameworkInfo {
        1 user: req string;
        2 name: req string;
        3 id: opt msg FrameworkId;
        4 failover_timeout: opt double = 0.0;
        5 checkpoint: opt bool = false;
        6 role: opt string;
        12 roles: rep string;
        7 hostname: opt string;
        8 principal: opt string;
        9 webui_url: opt string;
        10 capabilities: rep msg FrameworkInfoCapability;
        11 labels: opt msg Labels;
        13 offer_filters: map OfferFilters;
    }

    FrameworkInfoCapability {
        1 r#type: opt enum FrameworkInfoCapabilityType;
    }

    OfferFilters {
        1 min_allocatable_resources: opt msg OfferFiltersMinAllocatableResources;
    }

    OfferFiltersResourceQuantities {
        1 quantities: map ValueScalar;
    }

    OfferFiltersMinAllocatableResources {
        1 quantities: rep msg OfferFiltersResourceQuantities;
    }

    AttributeConstraint {
        1 selector: req msg AttributeConstraintSelector;
        2 predicate: req msg AttributeConstraintPredicate;
    }

    AttributeConstraintSelector {
        1 pseudoattribute_type: opt enum AttributeConstraintSelectorPseudoattributeType;
        2 attribute_name: opt string;
    }

    AttributeConstraintPredicate {
        1 exists: opt msg AttributeConstraintPredicateExists;
        2 not_exists: opt msg AttributeConstraintPredicateNotExists;
        3 text_equals: opt msg AttributeConstraintPredicateTextEquals;
        4 text_not_equals: opt msg AttributeConstraintPredicateTextNotEquals;
        5 text_matches: opt msg AttributeConstraintPredicateTextMatches;
        6 text_not_matches: opt msg AttributeConstraintPredicateTextNotMatches;
    }

    AttributeConstraintPredicateExists {
    }

    AttributeConstraintPredicateNotExists {
    }

    AttributeConstraintPredicateTextEquals {
        1 value: req string;
    }

    AttributeConstraintPredicateTextNotEquals {
        1 value: req string;
    }

    AttributeConstraintPredicateTextMatches {
        1 regex: req string;
    }

    AttributeConstraintPredicateTextNotMatches {
        1 regex: req string;
    }

    OfferConstraints {
        1 role_constraints: map OfferConstraintsRoleConstraints;
    }

    OfferConstraintsRoleConstraints {
        1 groups: rep msg OfferConstraintsRoleConstraintsGroup;
    }

    OfferConstraintsRoleConstraintsGroup {
        1 attribute_constraints: rep msg AttributeConstraint;
    }
}
