//! When the cluster can be used.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use super::layout::Layout;
use crate::cli::{api::Api, output, text::plain};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How often it is said what is still missing.
const TELL_INTERVAL: Duration = Duration::from_secs(5);

/// Waits until a leader is elected, all nodes know it, and it can offer them all.
pub(super) async fn ready(layout: &Layout) -> anyhow::Result<()> {
    let apis: Vec<Api> = layout
        .nodes
        .iter()
        .map(|node| Api::with_token(&node.address(), None))
        .collect::<Result<_, _>>()?;
    let expected: BTreeSet<String> = layout.nodes.iter().map(|node| node.address()).collect();
    let mut tell_at = Instant::now() + TELL_INTERVAL;
    loop {
        let Err(missing) = look(&apis, &expected).await else { return Ok(()) };
        if Instant::now() >= tell_at {
            tell_at = Instant::now() + TELL_INTERVAL;
            output::note(&format!("waiting: {}", plain(&missing)));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn look(apis: &[Api], expected: &BTreeSet<String>) -> Result<(), String> {
    let Some(first) = apis.first() else { return Ok(()) };
    let nodes = first.get("/api/nodes").await.map_err(|error| error.to_string())?;
    missing(&nodes, expected)?;
    for api in apis {
        api.get("/api/leader").await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Which nodes the leader cannot offer yet.
fn missing(nodes: &Value, expected: &BTreeSet<String>) -> Result<(), String> {
    let offered = |node: &Value| {
        let up = node["state"] == "active" && node["connected"] == true;
        node["address"].as_str().filter(|_| up).map(str::to_owned)
    };
    let nodes = nodes.as_array().map(Vec::as_slice).unwrap_or_default();
    let offered: BTreeSet<String> = nodes.iter().filter_map(offered).collect();
    let missing: Vec<&str> = expected.difference(&offered).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("not registered with the leader yet: {}", missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_node_has_to_be_there_and_connected() {
        let expected = ["a:1".to_owned(), "b:1".to_owned()].into();
        let node = |address: &str, state: &str, connected: bool| json!({"address": address, "state": state, "connected": connected});
        let all = json!([node("a:1", "active", true), node("b:1", "active", true)]);
        assert_eq!(missing(&all, &expected), Ok(()));
        for nodes in [
            json!([node("a:1", "active", true)]),
            json!([node("a:1", "active", true), node("b:1", "active", false)]),
            json!([node("a:1", "active", true), node("b:1", "unreachable", true)]),
            json!([node("a:1", "active", true), node("c:1", "active", true)]),
        ] {
            let expected_error = "not registered with the leader yet: b:1".to_owned();
            assert_eq!(missing(&nodes, &expected), Err(expected_error), "{nodes}");
        }
        assert!(missing(&json!({"error": "no leader"}), &expected).is_err());
    }
}
