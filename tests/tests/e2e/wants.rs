//! What frameworks say of offers, and where nodes say that they stand: what is offered to whom.

use std::{collections::BTreeSet, time::Duration};

use meshos_sdk::{
    TaskBuilder,
    protocol::{
        demand::StatedDemand,
        framework::{Capabilities, Offer},
        messages::scheduler::RescindCause,
        resources::Resources,
        role::Role,
        task::TaskState,
        wishes::{AgentConstraint, OfferWishes, ResourceRequest},
    },
};
use meshos_tests::{
    Cluster, ClusterOptions, Framework, FrameworkOptions, Handling, Note, PATIENCE, poll_until,
    wait_until,
};

/// Three nodes, of which each has flags of its own.
pub(crate) fn cluster_with(flags: [&[&str]; 3]) -> Cluster {
    let mut cluster = Cluster::prepare(ClusterOptions {
        resources: "cpus:4;mem:4096".to_owned(),
        ..ClusterOptions::default()
    });
    for (node, flags) in cluster.nodes.iter_mut().zip(flags) {
        let given = &mut node.arguments().flags;
        for pair in flags.chunks(2) {
            // In the place of what all nodes are told.
            match given.iter().position(|flag| flag == pair[0]) {
                Some(place) => pair[1].clone_into(&mut given[place + 1]),
                None => given.extend(pair.iter().map(|flag| (*flag).to_owned())),
            }
        }
        node.start();
    }
    cluster.wait_until_ready();
    cluster
}

fn resources(text: &str) -> Resources {
    text.parse().expect("good resources")
}

fn keeper(name: &str, node: usize) -> FrameworkOptions {
    FrameworkOptions { handling: Handling::Keep, ..FrameworkOptions::new(name, &[node]) }
}

/// The nodes of which a framework was ever offered something.
fn nodes_ever_offered(framework: &Framework) -> BTreeSet<String> {
    let offers = framework.notes().into_iter().flat_map(|(_, note)| match note {
        Note::Offers(offers) => offers,
        _ => Vec::new(),
    });
    offers.map(|offer| offer.agent.node.to_string()).collect()
}

fn held(framework: &Framework) -> Resources {
    framework.open_offers().iter().map(|offer: &Offer| &offer.resources).sum()
}

fn node_row(cluster: &Cluster, asked: usize, id: &str) -> serde_json::Value {
    let rows = cluster.nodes[asked].command(&["nodes", "--json"]).run().success().json();
    rows.as_array().unwrap().iter().find(|row| row["id"] == id).expect("it is listed").clone()
}

#[test]
fn a_framework_that_wants_large_nodes_never_gets_a_smaller_one() {
    let large = ["--resources", "cpus:4;mem:32768", "--attributes", "rack:b"];
    let far = ["--resources", "cpus:4;mem:65536", "--attributes", "rack:c"];
    let mut cluster = cluster_with([&["--attributes", "rack:b"], &large, &far]);
    let ids: Vec<String> = cluster.nodes.iter().map(|node| node.id()).collect();
    let node = cluster.follower();
    let wishes = OfferWishes {
        minimum: vec![resources("mem:32768").quantities()],
        constraints: vec![
            vec![AgentConstraint::equals("rack", "b")],
            vec![AgentConstraint::equals("rack", "d")],
        ],
    };
    let options = keeper("large", node);
    let wishes = [(Role::default(), wishes)].into();
    let framework = Framework::start(&cluster, FrameworkOptions { wishes, ..options });
    wait_until("the large node is offered", || !framework.open_offers().is_empty());
    let id = framework.id().to_string();
    let told = |cluster: &Cluster| {
        let arguments = ["explain", "framework", &id, "--json"];
        let told = cluster.nodes[node].command(&arguments).run().success().json();
        told["allocator"]["roles"][0]["skipped"].clone()
    };
    let skipped = told(&cluster);
    assert_eq!(
        (&skipped["below_wish"], &skipped["constraint"]),
        (&1.into(), &1.into()),
        "{skipped}"
    );
    assert_eq!(nodes_ever_offered(&framework), [ids[1].clone()].into());

    // The next leader has it on record.
    let leader = cluster.leader();
    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    cluster.nodes[leader.index].start();
    cluster.wait_until_ready();
    wait_until("it is offered again", || !framework.open_offers().is_empty());
    assert_eq!(nodes_ever_offered(&framework), [ids[1].clone()].into());

    // Wishes that are taken back count at once.
    framework.driver().wish([].into());
    wait_until("everything is offered", || framework.open_offers().len() == 3);
}

#[test]
fn stated_demand_cuts_offers_and_outlives_the_leader() {
    let mut cluster = cluster_with([&[]; 3]);
    let ids: Vec<String> = cluster.nodes.iter().map(|node| node.id()).collect();
    let node = cluster.follower();
    let demand = vec![ResourceRequest::new(resources("cpus:1;mem:64"), 3)];
    let options = keeper("modest", node);
    let demand = [(Role::default(), demand.into())].into();
    let modest = Framework::start(&cluster, FrameworkOptions { demand, ..options });
    wait_until("what it wants is offered", || held(&modest) == resources("cpus:3;mem:192"));
    // The rest is there for others.
    let greedy = Framework::start(&cluster, keeper("greedy", node));
    let rest = resources("cpus:9;mem:12096");
    wait_until("the rest is offered", || held(&greedy) == rest);
    let id = modest.id().to_string();
    let told = cluster.nodes[node].command(&["explain", "framework", &id]).run().success();
    assert!(told.stdout.replace("\n  ", " ").contains("(demand_met)"), "{told:?}");

    drop(greedy);
    // One of the three is used, and two are still wanted of the next leader.
    let task = TaskBuilder::shell("napper", "exec sleep 100000").resources("cpus:1;mem:64");
    modest.submit([task.build().unwrap()]);
    modest.wait_for_state("napper", TaskState::Running);
    let leader = cluster.leader();
    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    cluster.nodes[leader.index].start();
    cluster.wait_until_ready();
    wait_until("what is still wanted is offered", || held(&modest) == resources("cpus:2;mem:128"));
    let largest = modest.notes().into_iter().filter_map(|(_, note)| match note {
        Note::Offers(offers) => offers.iter().map(|offer| offer.resources.cpus().units()).max(),
        _ => None,
    });
    assert!(largest.max() <= Some(3), "no leader has offered more than was wanted");

    // Of named agents, and of nothing else.
    let near = modest.open_offers()[0].agent;
    let request = ResourceRequest::on(near, resources("cpus:1;mem:100"), 2);
    modest.driver().request_resources(&Role::default(), vec![request]);
    // What was offered before is beyond that, and is taken back.
    wait_until("the named node is offered", || {
        let open = modest.open_offers();
        held(&modest) == resources("cpus:2;mem:200") && open.iter().all(|offer| offer.agent == near)
    });
    let taken_back = |note: &Note| matches!(note, Note::Rescinded(_, RescindCause::NotRequested));
    assert!(modest.notes().iter().any(|(_, note)| taken_back(note)));
    assert!(ids.contains(&near.node.to_string()));
}

#[test]
fn what_is_wanted_together_is_offered_at_once_or_not_at_all() {
    let mut cluster = cluster_with([&[]; 3]);
    let node = cluster.follower();
    let capabilities = Capabilities { gang_offers: true, ..Capabilities::default() };
    let nothing = vec![ResourceRequest::new(resources("cpus:64"), 1)];
    let demand = [(Role::default(), nothing.into())].into();
    let options = FrameworkOptions { capabilities, demand, ..keeper("gang", node) };
    let gang = Framework::start(&cluster, options);
    let ask = |count: u32, within: Duration| {
        let ranks = ResourceRequest::new(resources("cpus:3;mem:1024"), count);
        gang.driver().request_together(&Role::default(), vec![ranks], within);
    };
    // Three nodes hold one each.
    ask(4, Duration::from_millis(300));
    gang.wait_for("it is told that it cannot be had", |notes| {
        notes.iter().find(|(_, note)| matches!(note, Note::Unfulfilled(_))).map(|_| ())
    });
    assert_eq!(gang.open_offers().len(), 0);
    ask(3, Duration::from_secs(3_600));
    wait_until("all of it is offered", || held(&gang) == resources("cpus:9;mem:3072"));
    let batches = gang.notes().into_iter().filter(|(_, note)| matches!(note, Note::Offers(_)));
    assert_eq!(batches.count(), 1, "at once");
}

#[test]
fn what_is_wanted_together_from_the_start_is_all_that_is_ever_offered() {
    let mut cluster = cluster_with([&[]; 3]);
    let node = cluster.follower();
    let ranks = ResourceRequest::new(resources("cpus:3;mem:1024"), 3);
    let gang = StatedDemand::together(vec![ranks], Duration::from_secs(3_600));
    let demand = [(Role::default(), gang)].into();
    let gang = Framework::start(&cluster, FrameworkOptions { demand, ..keeper("gang", node) });
    let all = resources("cpus:9;mem:3072");
    wait_until("all of it is offered", || held(&gang) == all);
    let batches = |gang: &Framework| -> Vec<Resources> {
        let notes = gang.notes().into_iter();
        let sum = |offers: Vec<Offer>| offers.iter().map(|offer| &offer.resources).sum();
        let offers = notes.filter_map(|(_, note)| match note {
            Note::Offers(offers) => Some(sum(offers)),
            _ => None,
        });
        offers.collect()
    };
    assert_eq!(batches(&gang), std::slice::from_ref(&all), "no whole nodes before");
    // Nor at the next leader.
    let leader = cluster.leader();
    cluster.nodes[leader.index].kill();
    cluster.leader_after(leader.term);
    cluster.nodes[leader.index].start();
    cluster.wait_until_ready();
    wait_until("all of it is offered again", || batches(&gang).len() > 1 && held(&gang) == all);
    assert!(batches(&gang).iter().all(|batch| *batch == all), "{:?}", batches(&gang));
}

#[test]
fn nodes_with_gpus_and_of_other_regions_are_for_those_who_say_so() {
    let gpus = ["--resources", "cpus:4;mem:4096;gpus:2", "--domain", "eu/b"];
    let mut cluster = cluster_with([&["--domain", "eu/a"], &gpus, &["--domain", "eu/c"]]);
    let leader = cluster.leader();
    let ids: Vec<String> = cluster.nodes.iter().map(|node| node.id()).collect();
    for (index, zone) in ["a", "b", "c"].into_iter().enumerate() {
        let row = node_row(&cluster, leader.index, &ids[index]);
        assert_eq!(row["domain"], serde_json::json!({"region": "eu", "zone": zone}));
    }
    let told = cluster.nodes[0].command(&["leader", "--json"]).run().success().json();
    assert_eq!(told["domain"]["region"], "eu");

    // One that does not lead comes back in another region.
    let moved = (0..3).find(|index| *index != leader.index && *index != 1).unwrap();
    cluster.nodes[moved].terminate();
    let flags = &mut cluster.nodes[moved].arguments().flags;
    let place = flags.iter().position(|flag| flag == "--domain").unwrap();
    flags[place + 1] = "us/a".to_owned();
    cluster.nodes[moved].start();
    wait_until("it has registered anew", || {
        let row = node_row(&cluster, leader.index, &ids[moved]);
        row["connected"] == true && row["domain"]["region"] == "us"
    });
    // Somebody else may lead by now, and stand elsewhere.
    let leader = cluster.leader();
    let region = |index| if index == moved { "us" } else { "eu" };
    let is_special = |index: &usize| *index == 1 || region(*index) != region(leader.index);
    let special: Vec<usize> = (0..3).filter(is_special).collect();
    let near = Framework::start(&cluster, keeper("near", leader.index));
    wait_until("something is offered", || !near.open_offers().is_empty());
    let capable =
        Capabilities { gpu_resources: true, region_aware: true, ..Capabilities::default() };
    let options = FrameworkOptions { capabilities: capable, ..keeper("far", leader.index) };
    let far = Framework::start(&cluster, options);
    let offers = poll_until(PATIENCE, "both special nodes are offered", || {
        let open = far.open_offers();
        let of =
            |index: &usize| open.iter().any(|offer| offer.agent.node.to_string() == ids[*index]);
        special.iter().all(of).then_some(open)
    });
    for offer in &offers {
        let index = ids.iter().position(|id| *id == offer.agent.node.to_string()).unwrap();
        assert_eq!(offer.domain.as_ref().map(|domain| domain.region.as_str()), Some(region(index)));
    }
    let ever = nodes_ever_offered(&near);
    assert!(special.iter().all(|index| !ever.contains(&ids[*index])), "{special:?}, {ever:?}");
    let id = near.id().to_string();
    let told = cluster.nodes[leader.index].command(&["explain", "framework", &id]).run().success();
    let told = told.stdout.replace("\n  ", " ");
    assert!(told.contains("(gpu)") && told.contains("(other_region)"), "{told}");

    // The command line asks for regions by name.
    let line = ["run", "--constraint", "region:us", "--shell", "--", "echo $MESHOS_SANDBOX"];
    drop((near, far));
    let placed = cluster.nodes[leader.index].command(&line).run();
    let data_dir = cluster.nodes[moved].data_dir().display().to_string();
    assert_eq!(placed.code(), 0, "{placed:?}");
    assert!(placed.stdout.starts_with(&data_dir), "{placed:?}");
}

#[test]
fn a_run_holds_no_more_than_its_instances_need() {
    let mut cluster = cluster_with([&[]; 3]);
    let node = cluster.follower();
    let line =
        ["run", "--instances", "2", "--cpus", "3", "--mem", "100", "--shell", "--", "sleep 100000"];
    let mut running = cluster.nodes[node].command(&line).start();
    running.wait_for_error_output("runs");
    let greedy = Framework::start(&cluster, keeper("greedy", node));
    // Two nodes have one instance each, and everything beside them is free for others at once.
    let rest = resources("cpus:6;mem:12088");
    wait_until("the rest is offered", || held(&greedy) == rest);
    running.interrupt();
    assert_eq!(running.wait().code(), 130);
}
