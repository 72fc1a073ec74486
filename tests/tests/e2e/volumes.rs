//! Reservations and persistent volumes: made by frameworks and operators, kept by agents.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use meshos_sdk::protocol::{
    framework::Offer,
    ids::OperationId,
    messages::scheduler::RescindCause,
    operation::{Operation, OperationRequest, OperationState},
    resources::{Amount, Reservation, Resources, Volume},
    role::Role,
    task::TaskState,
};
use meshos_tests::{
    Cluster, Framework, FrameworkOptions, Handling, Note, PATIENCE, poll_until, wait_until,
};

use crate::common::shell;

/// What is made for one role by one principal.
struct Owner {
    role: &'static str,
    principal: &'static str,
}

impl Owner {
    fn reservation(&self) -> Reservation {
        let role = Role::new(self.role).unwrap();
        Reservation::dynamic(role, self.principal, BTreeMap::new(), None).unwrap()
    }

    fn reserve(&self, text: &str) -> Operation {
        Operation::reserve(&text.parse().unwrap(), &self.reservation()).unwrap()
    }

    fn reserved(&self, text: &str) -> Resources {
        self.reserve(text).conversion().unwrap().converted
    }

    fn volume(&self, id: &str, size: i64) -> Resources {
        let (id, container_path) = (id.to_owned(), "state/data".to_owned());
        let volume = Volume { id, container_path, principal: self.principal.to_owned() };
        volume.of(Amount::whole(size), &self.reservation()).unwrap().into()
    }
}

fn request(id: &str, operation: Operation) -> OperationRequest {
    OperationRequest { id: Some(OperationId::new(id).unwrap()), operation }
}

fn start(cluster: &Cluster, gateway: usize, name: &str, role: &str) -> Framework {
    let (handling, roles) = (Handling::Keep, vec![role.to_owned()]);
    let options = FrameworkOptions::new(name, &[gateway]);
    Framework::start(cluster, FrameworkOptions { handling, roles, ..options })
}

/// Waits until the framework holds an offer of a node that suits; the others it gives back.
fn offer_with(framework: &Framework, node: &str, suits: impl Fn(&Resources) -> bool) -> Offer {
    poll_until(PATIENCE, "a fitting offer", || {
        let offers = framework.open_offers();
        let is_it =
            |offer: &&Offer| offer.agent.node.to_string() == node && suits(&offer.resources);
        let found = offers.iter().find(is_it).cloned();
        if found.is_none() {
            offers.iter().for_each(|offer| framework.decline(offer, Duration::from_secs(1)));
        }
        found
    })
}

fn wait_for_operation(framework: &Framework, id: &str) {
    let status = framework.wait_for(&format!("operation {id} is over"), |notes| {
        notes.iter().find_map(|(_, note)| match note {
            Note::Operation(status) if status.id.as_str() == id && status.state.is_terminal() => {
                Some(status.clone())
            }
            _ => None,
        })
    });
    assert_eq!(status.state, OperationState::Finished, "{status:?}");
    assert!(status.uuid.is_some(), "its agent told it: {status:?}");
}

/// All that a framework was ever offered.
fn offered(framework: &Framework) -> Vec<Offer> {
    let notes = framework.notes().into_iter();
    let offers = notes.filter_map(|(_, note)| match note {
        Note::Offers(offers) => Some(offers),
        _ => None,
    });
    offers.flatten().collect()
}

/// How many volumes have a directory there.
fn directories(directory: &Path) -> usize {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| !name.to_string_lossy().starts_with('.')).count()
}

fn rows(cluster: &Cluster, asked: usize, path: &str) -> Option<Vec<serde_json::Value>> {
    cluster.nodes[asked].json(path)?.as_array().cloned()
}

#[test]
fn a_volume_outlives_its_task_its_node_and_the_leader_and_is_its_roles_alone() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let victim = cluster.follower();
    let gateway = 3 - leader.index - victim;
    let node = cluster.nodes[victim].id();
    let owner = start(&cluster, gateway, "owner", "db");
    let mine = Owner { role: "db", principal: "owner" };
    let volume = mine.volume("tables", 60);

    // Reserved, created and used in one go.
    let offer = offer_with(&owner, &node, |_| true);
    let whole = offer.resources.clone();
    let operations = vec![
        request("reserve", mine.reserve("cpus:1;mem:128;disk:100")),
        request("create", Operation::Create { volumes: volume.clone() }),
    ];
    let mut writer = shell("writer", "echo kept > state/data/file");
    writer.resources += &volume;
    owner.accept(&offer, operations, vec![writer]);
    wait_for_operation(&owner, "reserve");
    wait_for_operation(&owner, "create");
    owner.wait_for_state("writer", TaskState::Finished);

    let other = start(&cluster, gateway, "other", "web");
    cluster.nodes[victim].kill();
    cluster.nodes[leader.index].kill();
    cluster.nodes[victim].start();
    cluster.leader_after(leader.term);
    let reserved = mine.reserved("cpus:1;mem:128;disk:40") + &volume;
    let offer = offer_with(&owner, &node, |resources| resources.contains(&reserved));
    let mut reader = shell("reader", "test \"$(cat state/data/file)\" = kept");
    reader.resources += &volume;
    owner.accept(&offer, Vec::new(), vec![reader]);
    owner.wait_for_state("reader", TaskState::Finished);
    // What is shown may be a twentieth of a second old.
    let volumes = poll_until(PATIENCE, "the volume is shown", || {
        rows(&cluster, gateway, "/api/volumes").filter(|rows| !rows.is_empty())
    });
    assert_eq!((&volumes[0]["volume_id"], &volumes[0]["size"]), (&"tables".into(), &"60".into()));

    // What it holds ends with it, and what it was made of is everybody's again.
    let directory = cluster.nodes[victim].data_dir().join("volumes");
    assert_eq!(directories(&directory), 1);
    let offer = offer_with(&owner, &node, |resources| resources.contains(&reserved));
    let made_of = mine.reserved("cpus:1;mem:128;disk:100");
    let operations = vec![
        request("destroy", Operation::Destroy { volumes: volume }),
        request("unreserve", Operation::Unreserve { resources: made_of }),
    ];
    owner.accept(&offer, operations, Vec::new());
    wait_for_operation(&owner, "destroy");
    wait_for_operation(&owner, "unreserve");
    wait_until("the volume's directory is gone", || directories(&directory) == 0);
    wait_until("another role is offered all of the node", || {
        for offer in owner.open_offers() {
            owner.decline(&offer, Duration::from_secs(60));
        }
        let offers = other.open_offers().into_iter();
        let here = offers.filter(|offer| offer.agent.node.to_string() == node);
        here.map(|offer| offer.resources).fold(Resources::new(), |sum, it| sum + &it) == whole
    });
    wait_until("nothing is shown as reserved", || {
        rows(&cluster, gateway, "/api/reservations").is_some_and(|rows| rows.is_empty())
    });
    let foreign = offered(&other).into_iter().find(|offer| !offer.resources.reserved().is_empty());
    assert!(foreign.is_none(), "{foreign:?}");
}

#[test]
fn operators_reserve_create_destroy_and_unreserve() {
    let mut cluster = Cluster::start(1);
    let node = cluster.nodes[0].id();
    let run = |cluster: &Cluster, arguments: &[&str]| cluster.nodes[0].command(arguments).run();
    // A framework that keeps what it is offered is no obstacle.
    let options =
        FrameworkOptions { handling: Handling::Keep, ..FrameworkOptions::new("keeps", &[0]) };
    let keeps = Framework::start(&cluster, options);
    wait_until("it is offered the node", || !keeps.open_offers().is_empty());
    let told = run(&cluster, &["reserve", &node, "cpus:2;disk:100", "--role", "db"]).success();
    assert!(told.stdout.contains("is reserved for role db"), "{told:?}");
    assert!(
        keeps
            .notes()
            .iter()
            .any(|(_, note)| matches!(note, Note::Rescinded(_, RescindCause::Operator)))
    );
    let create = |size: &str| {
        let create = ["volumes", "create", &node, "logs", "--role", "db", "--path", "data"];
        run(&cluster, &[&create[..], &["--size", size]].concat())
    };
    let refused = create("200");
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("role db has 100 on node"), "{refused:?}");
    let _told = create("60").success();
    let again = create("30");
    assert!(
        again.stderr.contains("role db has a volume \"logs\" on this agent already"),
        "{again:?}"
    );

    // Killed and started again, the node has what it was told to have.
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    cluster.wait_until_ready();
    let run = |arguments: &[&str]| cluster.nodes[0].command(arguments).run();
    let listed = run(&["volumes"]).success().stdout;
    assert!(listed.contains("logs") && listed.contains("60"), "{listed}");
    let listed = run(&["reservations", "--json"]).success().json();
    assert_eq!(listed[0]["resources"], "cpus:2;disk:40");
    assert_eq!((&listed[0]["kind"], &listed[0]["role"]), (&"dynamic".into(), &"db".into()));

    let refused = run(&["unreserve", &node, "disk:100", "--role", "db"]);
    assert!(refused.stderr.contains("volumes are destroyed first"), "{refused:?}");
    let destroy = ["volumes", "destroy", &node, "logs", "--role", "db"];
    let unmeant = run(&destroy);
    assert_eq!(unmeant.code(), 1);
    assert!(unmeant.stderr.contains("add --yes if that is meant"), "{unmeant:?}");
    let _told = run(&[&destroy[..], &["--yes"]].concat()).success();
    let unknown = run(&[&destroy[..], &["--yes"]].concat());
    assert!(unknown.stderr.contains("has no volume \"logs\""), "{unknown:?}");
    let _told = run(&["unreserve", &node, "cpus:2;disk:100", "--role", "db"]).success();
    assert_eq!(run(&["reservations"]).success().stdout, "");
    let much = run(&["reserve", &node, "cpus:9999", "--role", "db"]);
    assert!(much.stderr.contains("has no cpus:9999"), "{much:?}");
}
