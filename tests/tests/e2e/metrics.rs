//! What the dashboards name is exported.

use std::{collections::BTreeSet, fs, path::Path};

use meshos_sdk::protocol::task::TaskState;
use meshos_tests::{Cluster, Framework, FrameworkOptions, PATIENCE, poll_until};
use serde_json::Value;

use crate::common::shell;

/// Every word that begins like one of our metrics, in all texts of a JSON document.
fn metrics_named_in(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            let words = text.split(|letter| !is_part(letter));
            names.extend(words.filter(|word| word.starts_with("meshos_")).map(str::to_owned));
        }
        Value::Array(values) => values.iter().for_each(|value| metrics_named_in(value, names)),
        Value::Object(fields) => fields.values().for_each(|value| metrics_named_in(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn dashboards() -> Vec<(String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards");
    let entries = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let files =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    files
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.display().to_string(), serde_json::from_str(&text).unwrap())
        })
        .collect()
}

#[test]
fn each_metric_of_the_dashboards_is_exported_by_a_live_cluster() {
    let mut cluster = Cluster::start(3);
    let gateway = cluster.follower();
    let framework = Framework::start(&cluster, FrameworkOptions::new("measured", &[gateway]));
    framework.submit([shell("measured", "exit 0")]);
    framework.wait_for_state("measured", TaskState::Finished);

    let mut named = BTreeSet::new();
    let dashboards = dashboards();
    assert!(!dashboards.is_empty(), "there is no dashboard");
    dashboards.iter().for_each(|(_, dashboard)| metrics_named_in(dashboard, &mut named));
    assert!(named.len() > 5, "the dashboards name metrics: {named:?}");

    let mut missing = named.clone();
    poll_until(PATIENCE, "every metric that a dashboard names is exported", || {
        let mut exported = BTreeSet::new();
        for node in &cluster.nodes {
            let text = node.get("/metrics").ok()?.text();
            let names = text.lines().filter(|line| !line.starts_with('#'));
            let names = names.filter_map(|line| line.split(['{', ' ']).next());
            exported.extend(names.map(str::to_owned));
        }
        let now: BTreeSet<String> = named.difference(&exported).cloned().collect();
        if now != missing {
            println!("not exported yet: {now:?}");
            missing = now;
        }
        missing.is_empty().then_some(())
    });
}
