//! The textbook example of two-level scheduling.

use meshos_sdk::{
    TaskBuilder,
    protocol::{
        resources::Resources,
        task::{Reason, TaskState},
    },
};
use meshos_tests::{
    Cluster, ClusterOptions, Framework, FrameworkOptions, Handling, Journal, Note, PATIENCE,
    poll_until,
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

/// The same resources are offered to both, and whoever is faster gets them.
#[test]
fn optimistic_offers_go_to_the_first_who_accepts_and_the_other_is_told_so() {
    let cluster = Cluster::start_with(ClusterOptions {
        seeds: 1,
        resources: "cpus:4;mem:4096".to_owned(),
        flags: vec!["--offers".to_owned(), "optimistic".to_owned()],
        ..ClusterOptions::default()
    });
    let keep =
        |name| FrameworkOptions { handling: Handling::Keep, ..FrameworkOptions::new(name, &[0]) };
    let (first, second) =
        (Framework::start(&cluster, keep("first")), Framework::start(&cluster, keep("second")));
    let offered = |framework: &Framework| {
        poll_until(PATIENCE, "everything is offered to both", || {
            framework
                .open_offers()
                .into_iter()
                .find(|it| it.resources == resources("cpus:4;mem:4096"))
        })
    };
    let (faster, slower) = (offered(&first), offered(&second));
    let task = |id: &str| {
        TaskBuilder::shell(id, "sleep 600").cpus_mem("3", "128").build().expect("a good task")
    };
    first.driver().accept_offers(&[faster], Vec::new(), vec![task("one")], None);
    second.driver().accept_offers(&[slower], Vec::new(), vec![task("two")], None);
    let ended = |framework: &Framework, state: TaskState| {
        framework.notes().into_iter().find_map(|(_, note)| match note {
            Note::Update(update) if update.state == state => Some(update.reason),
            _ => None,
        })
    };
    let both = [&first, &second];
    let reasons = poll_until(PATIENCE, "one runs, and the other is told why not", || {
        let runs = both.iter().filter(|it| ended(it, TaskState::Running).is_some()).count();
        let dropped: Vec<_> = both.iter().filter_map(|it| ended(it, TaskState::Dropped)).collect();
        (runs == 1 && dropped.len() == 1).then_some(dropped)
    });
    // Also where the driver has heard already that the offer is void, and says so itself.
    assert_eq!(reasons, [Some(Reason::OfferTaken)]);
}
