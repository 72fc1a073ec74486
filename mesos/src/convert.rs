//! What Mesos's messages mean here, and how what happens here is told in them.
//!
//! Both ways are total: each field is used, ignored for a reason that `docs/meshos-mesos.md` gives, or
//! refused with a sentence.

pub(crate) mod check;
pub mod demand;
pub mod event;
pub mod executor;
pub mod framework;
pub mod group;
pub mod ids;
pub mod maintenance;
pub mod number;
pub mod offer;
pub mod operation;
pub mod resource;
pub mod status;
pub mod task;
mod wishes;

use std::collections::BTreeMap;

use crate::schema;

/// Labels as a table; of several of one name the last counts.
fn labels(labels: Option<&schema::Labels>) -> BTreeMap<String, String> {
    let labels = labels.map(|labels| labels.labels.as_slice()).unwrap_or_default();
    labels.iter().map(|label| (label.key().to_owned(), label.value().to_owned())).collect()
}

pub(crate) fn labels_of(labels: &BTreeMap<String, String>) -> Option<schema::Labels> {
    let label = |(key, value): (&String, &String)| schema::Label {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    (!labels.is_empty()).then(|| schema::Labels { labels: labels.iter().map(label).collect() })
}
