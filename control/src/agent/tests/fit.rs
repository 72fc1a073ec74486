//! A node that starts with other resources than before.

use meshos_protocol::ids::ContainerId;

use super::rig::{AGENT, CODE_0, Rig};
use crate::agent::Recovered;

/// What a node finds after two tasks of one cpu and 64 MB were started.
fn found() -> (Rig, [ContainerId; 2]) {
    let mut rig = Rig::registered();
    let containers = ["a", "b"].map(|name| rig.run_acknowledged(name));
    rig.flush();
    (rig, containers)
}

fn recovered(rig: &Rig) -> Recovered {
    Recovered {
        agent: Some(AGENT),
        fence: None,
        records: rig.disk.records.values().cloned().collect(),
        executors: Vec::new(),
        ends: Vec::new(),
        containers: rig.containers.values().cloned().collect(),
        operations: Default::default(),
        boot_changed: false,
    }
}

fn refusal(found: &Recovered, resources: &str) -> Option<String> {
    found.check_fit(&resources.parse().unwrap()).err().map(|misfit| misfit.to_string())
}

#[test]
fn what_the_running_tasks_fit_into_is_accepted() {
    let (rig, _) = found();
    let found = recovered(&rig);
    for resources in ["cpus:2;mem:128", "cpus:64;mem:4096;ports:[1-9]"] {
        assert_eq!(refusal(&found, resources), None, "{resources}");
    }
}

#[test]
fn what_they_do_not_fit_into_is_refused_with_the_resource_and_the_tasks() {
    let (rig, _) = found();
    let found = recovered(&rig);
    assert_eq!(
        refusal(&found, "cpus:1.5;mem:128").unwrap(),
        "the resources of this node do not hold the tasks that run on it: \
         they hold cpus:2 and it has cpus:1.5 (task F1/a, F1/b); \
         start it with at least that much (--resources), or with what it had and end those tasks first"
    );
    let text = refusal(&found, "cpus(r):4;mem:100").unwrap();
    assert!(text.contains("they hold cpus:2 and it has no cpus (task F1/a, F1/b); they hold mem:128 and it has mem:100 (task"), "{text}");
}

#[test]
fn what_may_be_taken_back_must_be_there_too_while_tasks_hold_it() {
    let (rig, _) = found();
    let mut found = recovered(&rig);
    for record in &mut found.records {
        record.launch.description.resources = "cpus{revocable}:1;mem:64".parse().unwrap();
    }
    assert_eq!(refusal(&found, "cpus:1;cpus{revocable}:2;mem:128"), None);
    assert_eq!(
        refusal(&found, "cpus:8;cpus{revocable}:1;mem:128").unwrap(),
        "the resources of this node do not hold the tasks that run on it: \
         they hold cpus{revocable}:2 and it has cpus{revocable}:1 (task F1/a, F1/b); \
         start it with at least that much (--revocable-resources), or with what it had and end those tasks first"
    );
    let text = refusal(&found, "cpus:8;mem:1").unwrap();
    assert!(text.contains("and it has no revocable cpus (task F1/a, F1/b)"), "{text}");
    assert!(text.contains("(--resources, --revocable-resources)"), "{text}");
}

#[test]
fn only_what_still_runs_counts() {
    let (mut rig, [a, _]) = found();
    rig.exits(&a, CODE_0);
    assert_eq!(
        refusal(&recovered(&rig), "cpus:1;mem:64"),
        None,
        "the launcher says that one ended"
    );
    let rebooted = Recovered { boot_changed: true, ..recovered(&rig) };
    assert_eq!(refusal(&rebooted, "cpus:0.1;mem:1"), None, "the machine was restarted");
    let gone = Recovered { agent: None, ..recovered(&rig) };
    assert_eq!(refusal(&gone, "cpus:0.1;mem:1"), None, "its tasks are about to be ended");
}

#[test]
fn many_tasks_are_counted_and_some_of_them_named() {
    let (rig, _) = found();
    let mut found = recovered(&rig);
    let (record, container) = (found.records[0].clone(), found.containers[0].clone());
    for number in 0..12 {
        let name = format!("x{number}");
        let mut record = record.clone();
        record.container = ContainerId::new(&name).unwrap();
        record.launch.description.task_id = super::rig::task_id(&name);
        found.containers.push(crate::agent::FoundContainer {
            container: record.container.clone(),
            ..container.clone()
        });
        found.records.push(record);
    }
    let text = refusal(&found, "cpus:1;mem:4096").unwrap();
    assert!(text.contains("they hold cpus:14 ") && text.contains("x7 and 4 more)"), "{text}");
}
