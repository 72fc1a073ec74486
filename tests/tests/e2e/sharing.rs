//! The textbook example of two-level scheduling.

use meshos_sdk::{TaskBuilder, protocol::resources::Resources};
use meshos_tests::{
    Cluster, ClusterOptions, Framework, FrameworkOptions, Handling, Journal, PATIENCE, poll_until,
};

use crate::common::wait_for_running;

fn resources(text: &str) -> Resources {
    text.parse().expect("good resources")
}

#[test]
fn what_one_framework_leaves_is_offered_to_the_other() {
    let cluster = Cluster::start_with(ClusterOptions {
        seeds: 1,
        resources: "cpus:4;mem:4096".to_owned(),
        ..ClusterOptions::default()
    });
    let mut journal = Journal::new();
    let first = Framework::start(&cluster, FrameworkOptions::new("first", &[0]));
    let task = |id: &str, cpus: &str, mem_mb: &str| {
        let line = journal.gated_line(id, "gate", 0);
        TaskBuilder::shell(id, line).cpus_mem(cpus, mem_mb).build().expect("a good task")
    };
    first.submit([task("one", "2", "1024"), task("two", "1", "2048")]);
    wait_for_running(&first, &journal, &["one".to_owned(), "two".to_owned()]);

    let options =
        FrameworkOptions { handling: Handling::Keep, ..FrameworkOptions::new("second", &[0]) };
    let second = Framework::start(&cluster, options);
    let offers = poll_until(PATIENCE, "the second framework is offered the rest", || {
        Some(second.open_offers()).filter(|offers| !offers.is_empty())
    });
    assert_eq!(offers.len(), 1, "{offers:?}");
    assert_eq!(offers[0].resources, resources("cpus:1;mem:1024"));

    // What a task held is offered again when it ends.
    journal.open_gate("gate");
    let all = resources("cpus:4;mem:4096");
    let mut sum = Resources::new();
    poll_until(PATIENCE, "everything is offered to the second framework", || {
        sum = second.open_offers().iter().map(|offer| &offer.resources).sum();
        (sum == all).then_some(())
    });
}
