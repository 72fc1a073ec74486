//! Containers in control groups and as other users: as root, where the machine's control groups can be used.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure is a failed test")]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;

use common::{Node, Place, cgroups, demand_root, eventually, id, is_alive, kill, line_of, pid_of};
use meshos_isolation::{
    Containerizer, ExitStatus, IsolatorName, LaunchError, Limitation, Limits, RecoveredState,
};

const MIB: u64 = 1 << 20;
/// Fills memory until it is stopped.
const HUNGRY: &str = "x=0123456789abcdef; while :; do x=$x$x; done";

fn limits(cpus_millis: u32, memory_bytes: Option<u64>, pids_max: Option<u32>) -> Limits {
    Limits { cpus_millis, memory_bytes, pids_max, ..Limits::default() }
}

/// The directories that containers of a node have.
fn container_directories(tag: &str) -> Vec<String> {
    let inside = cgroups(tag).into_iter().flat_map(|own| fs::read_dir(own).unwrap().flatten());
    let directories = inside.filter(|entry| entry.path().is_dir());
    directories.map(|entry| entry.path().display().to_string()).collect()
}

#[tokio::test]
async fn root_cgroups_are_chosen_where_they_can_be_used() {
    demand_root();
    let node = Place::new(&[]).start().await;
    assert_eq!(node.containerizer.isolators(), IsolatorName::CGROUPS);
    node.stop().await;
}

#[tokio::test]
async fn root_memory_over_the_limit_is_named() {
    demand_root();
    let mut node = Node::cgroups().await;
    let mut spec = node.shell("c1", HUNGRY);
    spec.limits = limits(1000, Some(32 * MIB), None);
    node.containerizer.launch(spec).await.unwrap();
    let (status, limitation) = node.exited("c1").await;
    assert_eq!(status, ExitStatus::Signal(9));
    let Some(Limitation::Memory { limit_bytes, usage_max_bytes, kills }) = limitation else {
        panic!("no limitation");
    };
    assert_eq!(limit_bytes, 32 * MIB);
    assert!(usage_max_bytes > 16 * MIB && kills >= 1, "{usage_max_bytes} {kills}");
    // A node that was away hears of it as well.
    let node = node.abandon().start().await;
    let recovered = node.containerizer.recover().await.unwrap();
    let RecoveredState::Exited { limitation, .. } = &recovered[0].state else { panic!("it runs") };
    assert!(matches!(limitation, Some(Limitation::Memory { .. })));
    node.stop().await;
}

#[tokio::test]
async fn root_a_container_ends_when_a_part_of_it_hits_the_limit() {
    demand_root();
    let mut node = Node::cgroups().await;
    let sandbox = node.place.sandbox("c1");
    let line = format!(
        "sh -c 'echo up > up; while ! [ -e go ]; do sleep 0.01; done; {HUNGRY}' & sleep 1000"
    );
    let mut spec = node.shell("c1", &line);
    spec.limits = limits(1000, Some(32 * MIB), None);
    node.containerizer.launch(spec).await.unwrap();
    line_of(&sandbox.join("up")).await;
    // Watched again by the next node process.
    node = node.abandon().start().await;
    node.containerizer.recover().await.unwrap();
    fs::write(sandbox.join("go"), "").unwrap();
    let (status, limitation) = node.exited("c1").await;
    assert_eq!(status, ExitStatus::Signal(9));
    assert!(matches!(limitation, Some(Limitation::Memory { .. })), "{limitation:?}");
    node.stop().await;
}

#[tokio::test]
async fn root_a_failure_within_the_limit_is_no_limitation() {
    demand_root();
    let mut node = Node::cgroups().await;
    let mut spec = node.shell("c1", "kill -KILL $$");
    spec.limits = limits(1000, Some(64 * MIB), None);
    node.containerizer.launch(spec).await.unwrap();
    assert_eq!(node.exited("c1").await, (ExitStatus::Signal(9), None));
    node.stop().await;
}

#[tokio::test]
async fn root_processes_are_limited() {
    demand_root();
    let mut node = Node::cgroups().await;
    let line = "n=0; while sleep 1000 & do n=$((n+1)); echo $n > n; [ $n -lt 100 ] || break; done";
    let mut spec = node.shell("c1", line);
    spec.limits = limits(1000, None, Some(8));
    node.containerizer.launch(spec).await.unwrap();
    let (status, _) = node.exited("c1").await;
    assert!(!status.success(), "fork failed: {status:?}");
    let forks: u32 = line_of(&node.place.sandbox("c1").join("n")).await.parse().unwrap();
    assert_eq!(forks, 7);
    node.stop().await;
}

#[tokio::test]
async fn root_cpu_is_capped_by_the_quota_and_measured() {
    demand_root();
    let node = Node::cgroups().await;
    let mut spec = node.shell("c1", "while :; do :; done");
    spec.limits = limits(200, Some(64 * MIB), Some(10));
    node.containerizer.launch(spec).await.unwrap();
    let start = std::time::Instant::now();
    let usage = loop {
        let usage = node.containerizer.usage(&id("c1")).await.unwrap();
        if usage.cpu_throttled_periods.unwrap() >= 5 {
            break usage;
        }
        assert!(start.elapsed() < common::PATIENCE, "{usage:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let elapsed_us = u64::try_from(start.elapsed().as_micros()).unwrap();
    let used_us = usage.cpu_user_us.unwrap() + usage.cpu_system_us.unwrap();
    assert!(used_us > 0 && used_us < elapsed_us * 6 / 10, "{used_us} of {elapsed_us}");
    assert_eq!(usage.memory_limit_bytes, Some(64 * MIB));
    assert_eq!(usage.processes, Some(1));
    assert!(usage.memory_bytes.unwrap() > 0);
    node.stop().await;
}

#[tokio::test]
async fn root_destroy_empties_the_cgroup_and_release_removes_it() {
    demand_root();
    let mut node = Node::cgroups().await;
    let tag = node.containerizer.tag().to_owned();
    let sandbox = node.place.sandbox("c1");
    // Without its mark and its session: only the cgroup knows it.
    let line = "env -i setsid sh -c 'env -i setsid sh -c \"echo \\$\\$ > daemon; exec sleep 1000\" &' & exec sleep 1000";
    let pid = node.launch_shell("c1", line).await;
    let daemon = pid_of(&sandbox.join("daemon")).await;
    assert!(!container_directories(&tag).is_empty());
    let membership = fs::read_to_string(format!("/proc/{daemon}/cgroup")).unwrap();
    assert!(membership.contains(&format!("/meshos/{tag}/c1")), "{membership}");
    node.containerizer.terminate(&id("c1")).await.unwrap();
    assert_eq!(node.exited("c1").await.0, ExitStatus::Signal(15));
    node.containerizer.destroy(&id("c1")).await.unwrap();
    assert!(!is_alive(pid) && !is_alive(daemon));
    node.containerizer.release(&id("c1")).await.unwrap();
    assert_eq!(container_directories(&tag), [""; 0]);
    node.stop().await;
    assert!(cgroups(&tag).is_empty());
}

#[tokio::test]
async fn root_leftovers_end_with_the_command() {
    demand_root();
    let mut node = Node::cgroups().await;
    let line = "env -i setsid sh -c 'echo $$ > daemon; exec sleep 1000' & while ! [ -s daemon ]; do sleep 0.01; done";
    node.launch_shell("c1", line).await;
    assert_eq!(node.exited("c1").await.0, ExitStatus::Code(0));
    let daemon = pid_of(&node.place.sandbox("c1").join("daemon")).await;
    eventually("the daemon ends", || !is_alive(daemon)).await;
    node.containerizer.release(&id("c1")).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn root_cgroups_survive_the_launcher_and_strangers_are_removed() {
    demand_root();
    let mut node = Node::cgroups().await;
    let tag = node.containerizer.tag().to_owned();
    let kept = node.launch_shell("kept", "exec sleep 1000").await;
    let lost = node.launch_shell("lost", "exec sleep 1000").await;
    // The record of one is lost with the launcher: nobody knows it any more.
    fs::remove_file(node.place.data_dir.join("launcher/records/lost")).unwrap();
    kill(node.containerizer.launcher_pid());
    let (status, _) = node.exited("lost").await;
    assert!(matches!(status, ExitStatus::Unreadable { .. }));
    let recovered = node.containerizer.recover().await.unwrap();
    assert_eq!(recovered.len(), 1);
    assert!(is_alive(kept));
    assert!(!is_alive(lost));
    let directories = container_directories(&tag);
    assert!(
        !directories.is_empty() && directories.iter().all(|path| path.ends_with("/kept")),
        "{directories:?}"
    );
    node.containerizer.destroy(&id("kept")).await.unwrap();
    node.exited("kept").await;
    node.containerizer.release(&id("kept")).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn root_a_failed_launch_leaves_no_cgroup() {
    demand_root();
    let node = Node::cgroups().await;
    let tag = node.containerizer.tag().to_owned();
    let command = meshos_isolation::Command::Exec { path: "/no/such".to_owned(), args: Vec::new() };
    let error = node.containerizer.launch(node.spec("c1", command)).await.unwrap_err();
    assert!(matches!(error, LaunchError::Exec { .. }), "{error}");
    assert_eq!(container_directories(&tag), [""; 0]);
    node.stop().await;
}

#[tokio::test]
async fn root_tasks_run_as_the_user_they_name() {
    demand_root();
    let mut node = Node::cgroups().await;
    let mut spec =
        node.shell("c1", "id -u; id -g; id -G; grep ^Cap /proc/self/status; echo x > mine");
    spec.user = Some("nobody".to_owned());
    node.containerizer.launch(spec).await.unwrap();
    assert_eq!(node.exited("c1").await.0, ExitStatus::Code(0));
    let output = node.output("c1", "stdout");
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines[0], "65534");
    assert_eq!(lines[1], lines[2], "no group of root's");
    assert!(output.contains("CapEff:\t0000000000000000"), "{output}");
    assert_eq!(fs::metadata(node.place.sandbox("c1").join("mine")).unwrap().uid(), 65534);
    assert_eq!(fs::metadata(node.place.sandbox("c1")).unwrap().mode() & 0o777, 0o750);
    node.stop().await;
}

#[tokio::test]
async fn root_tasks_as_root_need_leave_from_both_sides() {
    demand_root();
    for (of_node, of_task) in [(false, true), (true, false)] {
        let mut place = Place::new(&IsolatorName::POSIX);
        place.options.allow_root = of_node;
        let node = place.start().await;
        for user in [None, Some("root".to_owned())] {
            let mut spec = node.shell("c1", "true");
            (spec.user, spec.allow_root) = (user, of_task);
            let error = node.containerizer.launch(spec).await.unwrap_err();
            assert!(matches!(error, LaunchError::User { .. }), "{error}");
            assert!(error.to_string().contains("--allow-root-tasks"), "{error}");
        }
        node.stop().await;
    }
}

#[tokio::test]
async fn root_a_directory_that_the_user_cannot_pass_is_named() {
    demand_root();
    let node = Node::posix().await;
    let closed = node.place.path().join("closed");
    fs::create_dir(&closed).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(&closed, mode).unwrap();
    let mut spec = node.shell("c1", "true");
    spec.user = Some("nobody".to_owned());
    spec.sandbox = closed.join("c1");
    let error = node.containerizer.launch(spec).await.unwrap_err();
    assert!(error.to_string().contains("chmod o+x"), "{error}");
    node.stop().await;
}

#[tokio::test]
async fn root_cpus_weigh_as_much_as_they_are() {
    demand_root();
    // Without a quota: then the weight is all that shares a busy machine out.
    let node = Place::new(&IsolatorName::CGROUPS).start().await;
    let mut weights = Vec::new();
    for (name, cpus_millis, revocable_cpus_millis) in
        [("small", 500, 0), ("large", 2_500, 0), ("lent", 4_000, 4_000)]
    {
        let mut spec = node.shell(name, "exec sleep 1000");
        spec.limits = Limits { revocable_cpus_millis, ..limits(cpus_millis, None, None) };
        node.containerizer.launch(spec).await.unwrap();
        let directories = container_directories(node.containerizer.tag());
        let directories = directories.iter().filter(|path| path.ends_with(name));
        let read = |file: &str| {
            let mut found = directories
                .clone()
                .filter_map(|path| fs::read_to_string(format!("{path}/{file}")).ok());
            found.next().map(|text| text.trim().parse::<u64>().unwrap())
        };
        weights.push((read("cpu.shares"), read("cpu.weight")));
    }
    // Version 1 counts 1,024 a cpu, or 10 if it may be taken back; version 2 what the kernel makes of that.
    let v1 = [(Some(512), None), (Some(2_560), None), (Some(40), None)];
    let v2 = [(None, Some(20)), (None, Some(98)), (None, Some(2))];
    assert!(weights == v1 || weights == v2, "{weights:?}");
    node.stop().await;
}
