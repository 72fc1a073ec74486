//! What an agent holds its containers to, and that nothing of them is left.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use meshos_sdk::{
    TaskBuilder,
    protocol::task::{Exit, Reason, TaskDescription, TaskState},
};
use meshos_tests::{
    Cluster, ClusterOptions, Framework, FrameworkOptions, PATIENCE, pid_alive, poll_until,
    wait_until,
};

fn one_node(flags: &[&str]) -> Cluster {
    Cluster::start_with(ClusterOptions {
        seeds: 1,
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        ..ClusterOptions::default()
    })
}

fn pid_in(file: &Path) -> u32 {
    poll_until(PATIENCE, "a process tells its pid", || {
        fs::read_to_string(file).ok()?.trim().parse().ok()
    })
}

/// A command that ignores SIGTERM, with a child in its session, and a grandchild that has left it and lost its parent;
/// both ignore SIGTERM too.
fn stubborn(directory: &Path) -> TaskDescription {
    let directory = directory.display();
    let line = format!(
        "trap '' TERM; cd {directory}; \
         (echo first >> seen; sh -c 'echo $$ > child; while :; do sleep 0.05; done') & \
         setsid sh -c 'setsid sh -c \"echo \\$\\$ > daemon; while :; do sleep 0.05; done\" &' & \
         echo $$ > first; while :; do sleep 0.05; done"
    );
    let task = TaskBuilder::shell("stubborn", line).cpus_mem("0.1", "64").kill_grace_ms(500);
    task.build().unwrap()
}

fn a_kill_ends_everything_after_the_grace(cluster: &Cluster) {
    let framework = Framework::start(cluster, FrameworkOptions::new("killer", &[0]));
    let directory = cluster.path().join("pids");
    fs::create_dir(&directory).unwrap();
    framework.submit([stubborn(&directory)]);
    framework.wait_for_state("stubborn", TaskState::Running);
    let pids = ["first", "child", "daemon"].map(|name| pid_in(&directory.join(name)));
    framework.kill("stubborn");
    let killed = framework.wait_for_state("stubborn", TaskState::Killed);
    assert_eq!(killed.exit, Some(Exit::Signal { signal: 9 }), "SIGTERM was ignored: {killed:?}");
    wait_until("nothing of the task is left", || !pids.iter().any(|pid| pid_alive(*pid)));
}

#[test]
fn a_kill_ends_everything_of_a_task_without_control_groups() {
    let cluster = one_node(&["--isolation", "posix/cpu,posix/mem"]);
    a_kill_ends_everything_after_the_grace(&cluster);
}

#[test]
fn root_a_kill_ends_everything_of_a_task_in_control_groups() {
    let cluster = one_node(&["--isolation", "cgroups/cpu,cgroups/mem,cgroups/pids"]);
    a_kill_ends_everything_after_the_grace(&cluster);
}

#[test]
fn root_tasks_are_held_to_their_memory_and_processes_and_told_why_they_ended() {
    let isolation = "cgroups/cpu,cgroups/mem,cgroups/pids";
    let cluster = one_node(&["--isolation", isolation, "--task-pids-max", "8", "--cpu-quota"]);
    let framework = Framework::start(&cluster, FrameworkOptions::new("hungry", &[0]));
    let task =
        |id: &str, line: &str| TaskBuilder::shell(id, line).cpus_mem("0.5", "32").build().unwrap();
    framework.submit([
        task("eater", "x=0123456789abcdef; while :; do x=$x$x; done"),
        task("forker", "while sleep 1000 & do :; done"),
        // Version 1 has a file of its own for it, version 2 the quota and its period.
        task(
            "modest",
            "path() { sed -n \"s/^[0-9]*:$1:\\///p\" /proc/self/cgroup; }; \
             if [ -e /sys/fs/cgroup/cpu ]; then cat /sys/fs/cgroup/cpu/$(path cpu)/cpu.cfs_quota_us; \
             else cut -d' ' -f1 /sys/fs/cgroup/$(path '')/cpu.max; fi",
        ),
    ]);
    let eaten = framework.wait_for_state("eater", TaskState::Failed);
    assert_eq!(eaten.reason, Some(Reason::MemoryLimit), "{eaten:?}");
    assert!(eaten.message.contains("memory limit exceeded"), "{eaten:?}");
    let forked = framework.wait_for_state("forker", TaskState::Failed);
    assert_eq!(forked.reason, Some(Reason::CommandFailed), "a fork failed: {forked:?}");
    framework.wait_for_state("modest", TaskState::Finished);
    let logs = cluster.nodes[0].command(&["logs", "modest"]).run().success();
    assert_eq!(logs.stdout, "50000\n");
}

#[test]
fn root_tasks_are_root_only_where_that_is_allowed() {
    let mut cluster = Cluster::prepare(ClusterOptions { seeds: 1, ..ClusterOptions::default() });
    cluster.nodes[0].arguments().flags.retain(|flag| flag != "--allow-root-tasks");
    cluster.nodes[0].start();
    cluster.wait_until_ready();
    let framework = Framework::start(&cluster, FrameworkOptions::new("users", &[0]));
    let task = |id: &str, user: Option<&str>| {
        let mut task = TaskBuilder::shell(id, "id -un").cpus_mem("0.1", "32").build().unwrap();
        task.command.user = user.map(str::to_owned);
        task
    };
    framework.submit([
        task("anybody", None),
        task("root", Some("root")),
        task("nobody", Some("nobody")),
    ]);
    for id in ["anybody", "root"] {
        let refused = framework.wait_for_state(id, TaskState::Failed);
        assert_eq!(refused.reason, Some(Reason::ContainerLaunchFailed), "{refused:?}");
        assert!(refused.message.contains("--allow-root-tasks"), "{refused:?}");
    }
    framework.wait_for_state("nobody", TaskState::Finished);
    let logs = cluster.nodes[0].command(&["logs", "nobody"]).run().success();
    assert_eq!(logs.stdout, "nobody\n");

    // That user passes through the data directory, and can neither list it nor read what is in it.
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
    let data_dir = cluster.nodes[0].data_dir();
    assert_eq!(mode(data_dir), 0o711);
    for private in
        ["agent.redb", "raft.redb", "identity", "fence", "launcher", "sandboxes/.removed"]
    {
        assert_eq!(mode(&data_dir.join(private)) & 0o077, 0, "{private}");
    }
}
