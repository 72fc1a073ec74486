use meshos_protocol::ids::{
    AgentId, FrameworkId, NodeId, OperationId, OperationUuid, TaskId, Term, UpdateId,
};
use serde_json::json;

use super::*;

const CLUSTER: ClusterId = ClusterId::from_u128(0xab);

fn update(state: TaskState) -> StatusUpdate {
    StatusUpdate {
        framework: FrameworkId(1),
        task: TaskId::new("t").unwrap(),
        agent: Some(AgentId::new(NodeId::from_bits(0), 1)),
        state,
        reason: None,
        message: String::new(),
        update: Some(UpdateId::from_bytes([1; 16])),
        at: Wall(1_500),
        source: Source::Agent,
        executor: None,
        data: Vec::new(),
        exit: None,
        healthy: None,
        check_status: None,
    }
}

fn capabilities(partition_aware: bool, task_killing_state: bool) -> Capabilities {
    Capabilities { partition_aware, task_killing_state, ..Capabilities::default() }
}

#[test]
fn a_status_in_json() {
    let place = Place::read("10.1.2.3:5051");
    let shown =
        write(CLUSTER, &update(TaskState::Running), capabilities(true, true), place.as_ref());
    assert_eq!(
        serde_json::to_value(shown.unwrap()).unwrap(),
        json!({
            "task_id": {"value": "t"}, "state": "TASK_RUNNING", "source": "SOURCE_AGENT",
            "agent_id": {"value": "00000000-0000-0000-0000-0000000000ab-Saaaaaaaaaaaa.1"},
            "executor_id": {"value": "t"}, "timestamp": 1.5, "uuid": "AQEBAQEBAQEBAQEBAQEBAQ==",
            "container_status": {"network_infos": [
                {"ip_addresses": [{"protocol": "IPv4", "ip_address": "10.1.2.3"}]}]},
        })
    );
}

#[test]
fn who_does_not_tell_losses_apart_is_told_lost() {
    for state in TaskState::ALL {
        let aware = write(CLUSTER, &update(state), capabilities(true, true), None).unwrap();
        assert_eq!(
            aware.state().as_str_name_for_test(),
            format!("TASK_{}", state.name().to_uppercase())
        );
        let unaware = write(CLUSTER, &update(state), capabilities(false, true), None).unwrap();
        let lost = state.without_partitions() == TaskState::Lost;
        assert_eq!(unaware.state() == schema::TaskState::Lost, lost, "{state}");
        assert_eq!(aware.unreachable_time.is_some(), state == TaskState::Unreachable);
    }
    let killing = update(TaskState::Killing);
    assert_eq!(write(CLUSTER, &killing, capabilities(true, false), None), None);
}

#[test]
fn every_reason_has_a_name_in_mesos() {
    // Mesos's executor has none for tasks that it kills beside another.
    assert_eq!(reason(Reason::TaskGroupEnded), None);
    for known in Reason::ALL.iter().filter(|known| **known != Reason::TaskGroupEnded) {
        assert!(reason(*known).is_some(), "{known}");
    }
    let mut invalid = update(TaskState::Dropped);
    (invalid.reason, invalid.message) = (Some(Reason::InvalidOffers), "offer O1.2 is gone".into());
    let shown = write(CLUSTER, &invalid, capabilities(true, true), None).unwrap();
    assert_eq!(shown.message(), "Task launched with invalid offers: offer O1.2 is gone");
}

#[test]
fn operations_carry_what_is_acknowledged() {
    for state in OperationState::ALL {
        let uuid = Some(OperationUuid { term: Term(1), number: 2 });
        let id = OperationId::new("o").unwrap();
        let status = OperationStatus { id, state, message: String::new(), agent: None, uuid };
        let shown = serde_json::to_value(write_operation(CLUSTER, &status)).unwrap();
        assert_eq!(shown["state"], format!("OPERATION_{}", state.name().to_uppercase()));
        assert_eq!(shown["uuid"]["value"], "AAAAAAAAAAEAAAAAAAAAAg==");
    }
}

trait NameForTest {
    fn as_str_name_for_test(&self) -> String;
}

impl NameForTest for schema::TaskState {
    fn as_str_name_for_test(&self) -> String {
        use crate::json::Names as _;
        let number = *self as i32;
        let found = Self::NAMES.iter().find(|(_, known)| *known == number);
        found.expect("every state has a name").0.to_owned()
    }
}
