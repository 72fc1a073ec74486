use serde_json::{Value, json};

use super::*;

fn read_operation(value: Value) -> Result<Operation, String> {
    read(&crate::json::read(value).unwrap(), &[Role::new("a").unwrap()].into())
}

#[test]
fn operations_are_read() {
    let disk = json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 8.0}, "role": "a",
        "reservation": {"principal": "p"}});
    let volume = json!({"name": "disk", "type": "SCALAR", "scalar": {"value": 8.0}, "role": "a",
        "disk": {"persistence": {"id": "v"}, "volume": {"mode": "RW", "container_path": "x"}}});
    let subtract = json!({"value": 2.0});
    for value in [
        json!({"type": "RESERVE", "reserve": {"resources": [disk]}}),
        json!({"type": "UNRESERVE", "unreserve": {"resources": [disk]}}),
        json!({"type": "CREATE", "create": {"volumes": [volume]}}),
        json!({"type": "DESTROY", "destroy": {"volumes": [volume]}}),
        json!({"type": "GROW_VOLUME", "grow_volume": {"volume": volume, "addition": disk}}),
        json!({"type": "SHRINK_VOLUME", "shrink_volume": {"volume": volume, "subtract": subtract}}),
    ] {
        let read = read_operation(value.clone());
        assert!(read.is_ok(), "{value}: {read:?}");
    }
}

#[test]
fn what_is_not_supported_is_refused() {
    for (value, word) in [
        (json!({"type": "RESERVE"}), "Expecting 'reserve'"),
        (json!({"type": "SHRINK_VOLUME"}), "Expecting 'shrink_volume'"),
        (json!({"type": "CREATE_DISK"}), "storage plugins"),
        (json!({"type": "DESTROY_DISK"}), "storage plugins"),
        (json!({}), "Unknown"),
        (
            json!({"type": "RESERVE", "reserve": {"source": [{"name": "cpus", "type": "SCALAR"}]}}),
            "source",
        ),
    ] {
        let why = read_operation(value.clone()).unwrap_err();
        assert!(why.contains(word), "{value}: {why}");
    }
    let bad = schema::OperationId { value: Some("a/b".into()) };
    assert!(id(Some(&bad)).is_err());
    assert_eq!(id(None), Ok(None));
}
