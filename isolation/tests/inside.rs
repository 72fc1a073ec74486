//! Containers inside others: probes of tasks.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

mod common;

use std::fs;

use common::{Node, demand_root, eventually, id, is_alive, kill, marked, pid_of};
use meshos_isolation::{ContainerSpec, Containerizer, ExitStatus, LaunchError};

/// A line of shell inside the container `outer`.
fn inside(node: &Node, name: &str, outer: &str, line: &str) -> ContainerSpec {
    ContainerSpec {
        sandbox: node.place.sandbox(outer),
        inside: Some(id(outer)),
        ..node.shell(name, line)
    }
}

async fn what_runs_inside(mut node: Node) {
    let task = node.launch_shell("c1", "echo begun; exec sleep 600").await;
    let line = "echo noise; echo \"$PWD $MESHOS_CONTAINER_ID\" > seen; sleep 600 & exit 7";
    node.containerizer.launch(inside(&node, "p1", "c1", line)).await.unwrap();
    assert_eq!(node.exited("p1").await, (ExitStatus::Code(7), None));
    node.containerizer.release(&id("p1")).await.unwrap();
    let sandbox = node.place.sandbox("c1");
    assert_eq!(node.output("c1", "seen"), format!("{} c1\n", sandbox.display()));
    assert_eq!(node.output("c1", "stdout"), "begun\n", "what it prints goes nowhere");
    let tag = node.containerizer.tag().to_owned();
    eventually("nothing of it is left", || marked(&tag) == [task]).await;
    assert!(is_alive(task));

    // It ends alone, with all that it has started.
    let line = "setsid sh -c 'echo $$ > stray; sleep 600' & echo $$ > probe; sleep 600";
    node.containerizer.launch(inside(&node, "p2", "c1", line)).await.unwrap();
    let (probe, stray) =
        (pid_of(&sandbox.join("probe")).await, pid_of(&sandbox.join("stray")).await);
    node.containerizer.destroy(&id("p2")).await.unwrap();
    assert!(!is_alive(probe) && !is_alive(stray));
    assert!(is_alive(task), "the container goes on");
    node.exited("p2").await;
    node.containerizer.release(&id("p2")).await.unwrap();

    // It ends with the container, although nobody asks for it.
    fs::remove_file(sandbox.join("probe")).unwrap();
    node.containerizer
        .launch(inside(&node, "p3", "c1", "echo $$ > probe; sleep 600"))
        .await
        .unwrap();
    let probe = pid_of(&sandbox.join("probe")).await;
    kill(task);
    node.exited("c1").await;
    eventually("what ran inside is over", || !is_alive(probe)).await;
    let late = node.containerizer.launch(inside(&node, "p4", "c1", "true")).await;
    let Err(LaunchError::Launcher { reason }) = late else { panic!("{late:?}") };
    assert!(reason.contains("does not run"), "{reason}");
    node.stop().await;
}

#[tokio::test]
async fn a_command_inside_a_container_is_its_own_and_ends_with_it() {
    what_runs_inside(Node::posix().await).await;
}

#[tokio::test]
async fn root_a_command_inside_a_container_is_in_its_control_groups() {
    demand_root();
    let node = Node::cgroups().await;
    node.launch_shell("c1", "sleep 600").await;
    let line = "cat /proc/self/cgroup > groups; echo >> groups";
    let task = node.containerizer.usage(&id("c1")).await.unwrap().processes.unwrap();
    let mut node = node;
    node.containerizer.launch(inside(&node, "p1", "c1", line)).await.unwrap();
    node.exited("p1").await;
    assert!(node.output("c1", "groups").contains("/c1\n"), "{}", node.output("c1", "groups"));
    assert!(task >= 1);
    node.containerizer.destroy(&id("c1")).await.unwrap();
    node.stop().await;
    what_runs_inside(Node::cgroups().await).await;
}

#[tokio::test]
async fn a_launcher_that_takes_over_ends_what_its_container_has_left() {
    let mut node = Node::posix().await;
    let task = node.launch_shell("c1", "sleep 600").await;
    let sandbox = node.place.sandbox("c1");
    node.containerizer
        .launch(inside(&node, "p1", "c1", "echo $$ > probe; sleep 600"))
        .await
        .unwrap();
    let probe = pid_of(&sandbox.join("probe")).await;
    let launcher = node.containerizer.launcher_pid();
    kill(launcher);
    kill(task);
    node.relaunched().await;
    eventually("the new launcher ends it", || !is_alive(probe)).await;
    node.stop().await;
}
