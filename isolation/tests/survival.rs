//! What is killed, and what lives: nodes, launchers, containers.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure is a failed test")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use common::{Node, Place, eventually, id, is_alive, kill, line_of};
use meshos_isolation::{
    ContainerEvent, Containerizer, ExitStatus, IsolatorName, LaunchError, RecoveredContainer,
    RecoveredState,
};

/// Runs until the file `go` is there, then exits with the code.
fn until_told(code: i32) -> String {
    format!("echo up > up; while ! [ -e go ]; do sleep 0.01; done; exit {code}")
}

fn tell(place: &Place, name: &str) {
    fs::write(place.sandbox(name).join("go"), "").unwrap();
}

fn running(name: &str, pid: u32) -> RecoveredContainer {
    RecoveredContainer { container: id(name), pid, state: RecoveredState::Running }
}

#[tokio::test]
async fn a_node_that_comes_back_learns_what_it_missed() {
    let node = Node::posix().await;
    let ended = node.launch_shell("ended", &until_told(7)).await;
    let running_pid = node.launch_shell("running", "exec sleep 1000").await;
    let launcher = node.containerizer.launcher_pid();
    let place = node.abandon();
    tell(&place, "ended");
    eventually("the container ends", || !is_alive(ended)).await;
    let mut node = place.start().await;
    assert_eq!(node.containerizer.launcher_pid(), launcher, "the same launcher");
    assert_eq!(node.exited("ended").await, (ExitStatus::Code(7), None));
    let status = RecoveredState::Exited { status: ExitStatus::Code(7), limitation: None };
    let ended = RecoveredContainer { container: id("ended"), pid: ended, state: status };
    let recovered = node.containerizer.recover().await.unwrap();
    assert_eq!(recovered, [ended, running("running", running_pid)]);
    // Told again until it is released.
    let mut node = node.abandon().start().await;
    assert_eq!(node.exited("ended").await.0, ExitStatus::Code(7));
    node.containerizer.release(&id("ended")).await.unwrap();
    let node = node.abandon().start().await;
    let recovered = node.containerizer.recover().await.unwrap();
    assert_eq!(recovered, [running("running", running_pid)]);
    node.stop().await;
}

#[tokio::test]
async fn the_newest_node_process_has_the_launcher() {
    let mut old = Node::posix().await;
    let pid = old.launch_shell("c1", "exec sleep 1000").await;
    let (sender, _events) = tokio::sync::mpsc::channel(16);
    let new = meshos_isolation::NativeContainerizer::start(old.place.options.clone(), sender);
    let new = new.await.unwrap();
    let event = old.event().await;
    assert!(
        matches!(&event, ContainerEvent::LauncherLost { reason } if reason.contains("taken over")),
        "{event:?}"
    );
    assert!(old.containerizer.destroy(&id("c1")).await.is_err());
    assert_eq!(new.recover().await.unwrap(), [running("c1", pid)]);
    new.destroy(&id("c1")).await.unwrap();
    new.stop_launcher(true).await.unwrap();
}

#[tokio::test]
async fn containers_outlive_their_launcher_and_are_adopted() {
    let mut node = Node::posix().await;
    let pid = node.launch_shell("c1", &until_told(7)).await;
    let launcher = node.containerizer.launcher_pid();
    kill(launcher);
    let new = node.relaunched().await;
    assert_ne!(new, launcher);
    assert!(is_alive(pid));
    assert_eq!(node.containerizer.recover().await.unwrap(), [running("c1", pid)]);
    tell(&node.place, "c1");
    let (status, _) = node.exited("c1").await;
    // Only newer kernels tell the status of a process to one who is not its parent.
    match &status {
        ExitStatus::Code(7) => {}
        ExitStatus::Unreadable { reason } => assert!(reason.contains("launcher"), "{reason}"),
        other => panic!("{other:?}"),
    }
    node.containerizer.release(&id("c1")).await.unwrap();
    // The new launcher is as good as the old one.
    node.launch_shell("c1", "exit 4").await;
    assert_eq!(node.exited("c1").await.0, ExitStatus::Code(4));
    node.stop().await;
}

#[tokio::test]
async fn an_adopted_container_is_destroyed_with_all_that_left_its_session() {
    let mut node = Node::posix().await;
    let sandbox = node.place.sandbox("c1");
    let daemon = "setsid sh -c 'setsid sh -c \"echo \\$\\$ > daemon; exec sleep 1000\" & ' & exec sleep 1000";
    let pid = node.launch_shell("c1", daemon).await;
    let daemon = common::pid_of(&sandbox.join("daemon")).await;
    kill(node.containerizer.launcher_pid());
    node.relaunched().await;
    node.containerizer.destroy(&id("c1")).await.unwrap();
    assert!(!is_alive(pid) && !is_alive(daemon));
    node.stop().await;
}

#[tokio::test]
async fn an_end_that_no_launcher_saw_is_told_as_unreadable() {
    let node = Node::posix().await;
    let pid = node.launch_shell("c1", &until_told(7)).await;
    line_of(&node.place.sandbox("c1").join("up")).await;
    let launcher = node.containerizer.launcher_pid();
    let place = node.abandon();
    // The node first, so that it does not start another launcher.
    kill(launcher);
    eventually("the launcher is dead", || !is_alive(launcher)).await;
    tell(&place, "c1");
    eventually("the container ends", || !is_alive(pid)).await;
    eventually("its pid is free", || !std::path::Path::new(&format!("/proc/{pid}")).exists()).await;
    let mut node = place.start().await;
    let (status, _) = node.exited("c1").await;
    assert!(
        matches!(&status, ExitStatus::Unreadable { reason } if reason.contains("no launcher")),
        "{status:?}"
    );
    // And it stays so until it is released, whatever else is killed.
    kill(node.containerizer.launcher_pid());
    node.relaunched().await;
    let recovered = node.containerizer.recover().await.unwrap();
    assert!(matches!(
        &recovered[0].state,
        RecoveredState::Exited { status: ExitStatus::Unreadable { .. }, .. }
    ));
    node.containerizer.release(&id("c1")).await.unwrap();
    assert_eq!(node.containerizer.recover().await.unwrap(), []);
    node.stop().await;
}

#[tokio::test]
async fn a_status_that_was_read_outlives_the_launcher_that_read_it() {
    let mut node = Node::posix().await;
    node.launch_shell("c1", "exit 9").await;
    node.exited("c1").await;
    node.launch_shell("c2", "kill -TERM $$").await;
    node.exited("c2").await;
    let launcher = node.containerizer.launcher_pid();
    let place = node.abandon();
    kill(launcher);
    eventually("the launcher is dead", || !is_alive(launcher)).await;
    let mut node = place.start().await;
    assert_eq!(node.exited("c1").await.0, ExitStatus::Code(9));
    let recovered = node.containerizer.recover().await.unwrap();
    let state = RecoveredState::Exited { status: ExitStatus::Signal(15), limitation: None };
    assert_eq!(recovered[1].state, state);
    node.stop().await;
}

#[tokio::test]
async fn an_upgrade_in_place_keeps_the_process_its_children_and_their_statuses() {
    let mut node = Node::posix().await;
    node.launch_shell("before", "exit 3").await;
    node.exited("before").await;
    let during = node.launch_shell("during", &until_told(5)).await;
    line_of(&node.place.sandbox("during").join("up")).await;
    let launcher = node.containerizer.launcher_pid();
    let newer = node.place.path().join("newer-runtime");
    fs::copy(common::runtime(), &newer).unwrap();
    node.containerizer.upgrade_launcher(&newer).await.unwrap();
    assert_eq!(node.relaunched().await, launcher, "the same process");
    let exe = fs::read_link(format!("/proc/{launcher}/exe")).unwrap();
    assert_eq!(exe, newer);
    tell(&node.place, "during");
    assert_eq!(node.exited("during").await.0, ExitStatus::Code(5), "still its child");
    let recovered = node.containerizer.recover().await.unwrap();
    let exited = |code| RecoveredState::Exited { status: ExitStatus::Code(code), limitation: None };
    assert_eq!(recovered[0].state, exited(3));
    assert_eq!((recovered[1].pid, &recovered[1].state), (during, &exited(5)));
    node.launch_shell("after", "exit 6").await;
    assert_eq!(node.exited("after").await.0, ExitStatus::Code(6));
    node.stop().await;
}

#[tokio::test]
async fn a_node_of_another_build_replaces_the_launcher_when_it_starts() {
    let node = Node::posix().await;
    let during = node.launch_shell("during", &until_told(5)).await;
    let launcher = node.containerizer.launcher_pid();
    let mut place = node.abandon();
    let exe = || fs::read_link(format!("/proc/{launcher}/exe")).unwrap();
    // Another build of the same release: it says the same of itself and holds other bytes.
    let builds = ["other-build", "its-copy"].map(|name| place.path().join(name));
    let mut bytes = fs::read(common::runtime()).unwrap();
    bytes.extend_from_slice(b"built again");
    for build in &builds {
        fs::write(build, &bytes).unwrap();
        fs::set_permissions(build, fs::metadata(common::runtime()).unwrap().permissions()).unwrap();
    }
    place.options.runtime.clone_from(&builds[0]);
    let mut place = place.start().await.abandon();
    assert_eq!(exe(), builds[0]);
    // The same build under another name is no reason.
    place.options.runtime.clone_from(&builds[1]);
    let mut node = place.start().await;
    assert_eq!((exe(), node.containerizer.launcher_pid()), (builds[0].clone(), launcher));
    assert!(is_alive(during), "the containers do not notice");
    tell(&node.place, "during");
    assert_eq!(node.exited("during").await.0, ExitStatus::Code(5), "still its child");
    node.stop().await;
}

#[tokio::test]
async fn an_upgrade_to_what_cannot_be_executed_changes_nothing() {
    let mut node = Node::posix().await;
    node.launch_shell("c1", &until_told(5)).await;
    let error = node.containerizer.upgrade_launcher("/no/such/binary".as_ref()).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/binary"), "{error}");
    tell(&node.place, "c1");
    assert_eq!(node.exited("c1").await.0, ExitStatus::Code(5));
    node.stop().await;
}

#[tokio::test]
async fn a_launcher_with_containers_is_not_stopped_by_signals() {
    use nix::sys::signal::{Signal, kill};
    let mut node = Node::posix().await;
    node.launch_shell("c1", &until_told(5)).await;
    let launcher = nix::unistd::Pid::from_raw(node.containerizer.launcher_pid().cast_signed());
    for signal in
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE, Signal::SIGTSTP]
    {
        kill(launcher, signal).unwrap();
    }
    let own = nix::unistd::getsid(None).unwrap();
    assert_ne!(nix::unistd::getsid(Some(launcher)).unwrap(), own, "a session of its own");
    let error = node.containerizer.stop_launcher(false).await.unwrap_err();
    assert!(error.to_string().contains("while containers run"), "{error}");
    tell(&node.place, "c1");
    assert_eq!(node.exited("c1").await.0, ExitStatus::Code(5));
    node.stop().await;
}

#[tokio::test]
async fn torn_records_are_passed_over() {
    let mut node = Node::posix().await;
    let pid = node.launch_shell("c1", "exec sleep 1000").await;
    let records = node.place.data_dir.join("launcher/records");
    let whole = fs::read(records.join("c1")).unwrap();
    fs::write(records.join("torn"), &whole[..whole.len() / 2]).unwrap();
    fs::write(records.join("empty"), "").unwrap();
    fs::write(records.join(".new"), &whole[..10]).unwrap();
    kill(node.containerizer.launcher_pid());
    node.relaunched().await;
    assert_eq!(node.containerizer.recover().await.unwrap(), [running("c1", pid)]);
    assert_eq!(fs::read_dir(&records).unwrap().count(), 1);
    let log = fs::read_to_string(node.place.data_dir.join("launcher/log")).unwrap();
    assert!(log.contains("torn"), "{log}");
    node.stop().await;
}

/// A node whose launcher leaves soon when it can, and that launcher, which holds a status that nobody has taken.
async fn hasty_launcher() -> (Node, u32) {
    let mut place = Place::new(&IsolatorName::POSIX);
    place.options.launcher_idle_exit = Some(Duration::from_millis(50));
    let mut node = place.start().await;
    node.launch_shell("c1", "true").await;
    node.exited("c1").await;
    let launcher = node.containerizer.launcher_pid();
    (node, launcher)
}

#[tokio::test]
async fn a_launcher_that_nobody_needs_leaves() {
    let (node, launcher) = hasty_launcher().await;
    // It holds a status that nobody has taken: it stays.
    let node = node.abandon().start().await;
    assert_eq!(node.containerizer.launcher_pid(), launcher);
    node.containerizer.release(&id("c1")).await.unwrap();
    let _place = node.abandon();
    eventually("the launcher leaves", || !is_alive(launcher)).await;
}

#[tokio::test]
async fn a_launcher_whose_directory_was_made_anew_leaves_when_nothing_runs() {
    let (node, launcher) = hasty_launcher().await;
    // It holds a status that nobody can take any more: the node's data was wiped.
    let place = node.abandon();
    fs::remove_dir_all(&place.data_dir).unwrap();
    let node = place.start().await;
    assert_ne!(node.containerizer.launcher_pid(), launcher);
    eventually("the launcher leaves", || !is_alive(launcher)).await;
    node.stop().await;
}

#[tokio::test]
async fn there_is_one_launcher_per_directory() {
    let node = Node::posix().await;
    let directory = node.place.data_dir.join("launcher");
    let mut command = tokio::process::Command::new(common::runtime());
    let second = command.arg("launcher").arg("--dir").arg(&directory).output().await.unwrap();
    assert!(second.status.success() && second.stdout.is_empty(), "{second:?}");
    assert!(String::from_utf8_lossy(&second.stderr).contains("another launcher"), "{second:?}");
    node.launch_shell("c1", "true").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_under_which_the_launcher_dies_happens_once_or_not_at_all() {
    let mut node = Node::posix().await;
    let log = node.place.path().join("log");
    let mut outcomes = BTreeMap::new();
    for round in 0..8 {
        let line = |n| format!("echo {round}-{n} >> {}; exec sleep 1000", log.display());
        let launches = (0..20).map(|n| {
            let name = format!("c{round}-{n}");
            node.containerizer.launch(node.shell(&name, &line(n)))
        });
        let launcher = node.containerizer.launcher_pid();
        let results = futures_util::future::join_all(launches);
        let killer = async {
            // At another moment of the burst in each round.
            tokio::time::sleep(Duration::from_micros(round * 900)).await;
            kill(launcher);
        };
        let (results, ()) = tokio::join!(results, killer);
        for (n, result) in results.into_iter().enumerate() {
            outcomes.insert(format!("{round}-{n}"), result);
        }
        node.relaunched().await;
    }
    let lines = || fs::read_to_string(&log).unwrap_or_default();
    let started = outcomes.values().filter(|outcome| outcome.is_ok()).count();
    eventually("every started container has run", || lines().lines().count() >= started).await;
    for (name, outcome) in &outcomes {
        let runs = lines().lines().filter(|line| line == name).count();
        match outcome {
            Ok(started) => assert!(runs == 1 && is_alive(started.pid), "{name} ran {runs} times"),
            Err(LaunchError::Launcher { .. }) => assert_eq!(runs, 0, "{name}"),
            Err(other) => panic!("{name}: {other}"),
        }
    }
    let recovered = node.containerizer.recover().await.unwrap();
    assert_eq!(recovered.len(), started);
    node.stop().await;
}
