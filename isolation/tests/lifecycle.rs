//! Containers from launch to release, with the posix isolators, as any user.

mod common;

use std::os::unix::fs::symlink;

use common::{Node, Place, eventually, id, is_alive, pid_of};
use meshos_isolation::{
    Command, ContainerEvent, Containerizer, Error, ExitStatus, IsolatorName, LaunchError,
};

fn exec(path: &str, args: &[&str]) -> Command {
    Command::Exec {
        path: path.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
    }
}

#[tokio::test]
async fn a_command_runs_in_its_sandbox_and_its_exit_code_is_told() {
    let mut node = Node::posix().await;
    let mut spec =
        node.shell("c1", "pwd; echo \"$MESOS_SANDBOX:$GREETING:$HOME\"; echo oops >&2; exit 7");
    spec.environment.push(("GREETING".to_owned(), "hello".to_owned()));
    node.containerizer.launch(spec).await.unwrap();
    assert_eq!(node.exited("c1").await, (ExitStatus::Code(7), None));
    let sandbox = node.place.sandbox("c1");
    let sandbox = sandbox.display();
    assert_eq!(node.output("c1", "stdout"), format!("{sandbox}\n{sandbox}:hello:{sandbox}\n"));
    assert_eq!(node.output("c1", "stderr"), "oops\n");
    node.containerizer.release(&id("c1")).await.unwrap();
    node.containerizer.release(&id("c1")).await.unwrap();
    assert_eq!(node.containerizer.recover().await.unwrap(), []);
    node.stop().await;
}

#[tokio::test]
async fn nothing_of_the_node_leaks_into_a_container() {
    let mut node = Node::posix().await;
    node.launch_shell(
        "c1",
        "env; ls /proc/self/fd | wc -l; grep -E '^Sig(Blk|Ign)' /proc/self/status; umask",
    )
    .await;
    node.exited("c1").await;
    let output = node.output("c1", "stdout");
    assert!(!output.contains("CARGO"), "the node's environment: {output}");
    // 0, 1, 2 and the one that `ls` has open.
    assert!(output.contains("\n4\n"), "descriptors: {output}");
    assert!(output.contains("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"), "{output}");
    assert!(output.ends_with("0022\n"), "{output}");
    node.stop().await;
}

#[tokio::test]
async fn a_signal_that_ends_a_command_is_told() {
    let mut node = Node::posix().await;
    node.launch_shell("c1", "kill -USR1 $$").await;
    let (status, _) = node.exited("c1").await;
    assert_eq!(status, ExitStatus::Signal(10));
    assert_eq!(status.to_string(), "ended by signal 10 (SIGUSR1)");
    node.stop().await;
}

#[tokio::test]
async fn what_cannot_be_executed_is_an_error_and_leaves_nothing() {
    let node = Node::posix().await;
    let launch = |command| node.containerizer.launch(node.spec("c1", command));
    let reason = |error: LaunchError| match error {
        LaunchError::Exec { reason, .. } => reason,
        other => panic!("another error: {other}"),
    };
    let error = launch(exec("no-such-command", &[])).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("could not execute \"no-such-command\": command not found in PATH")
    );
    std::fs::write(node.place.sandbox("c1").join("data"), "x").unwrap();
    let error = reason(launch(exec("./data", &[])).await.unwrap_err());
    assert_eq!(error, "it is not executable for the task's user");
    let error = reason(launch(exec("/no/such/file", &[])).await.unwrap_err());
    assert_eq!(error, "there is no such file, or its interpreter is missing");
    let error = launch(exec("", &[])).await.unwrap_err();
    assert!(matches!(error, LaunchError::Invalid { .. }), "{error}");
    assert_eq!(node.containerizer.recover().await.unwrap(), []);
    launch(exec("true", &[])).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn a_script_without_an_interpreter_line_is_run_by_the_shell() {
    let mut node = Node::posix().await;
    let sandbox = node.place.sandbox("c1");
    std::fs::create_dir_all(&sandbox).unwrap();
    std::fs::write(sandbox.join("script"), "exit $1\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(sandbox.join("script"), mode).unwrap();
    node.containerizer.launch(node.spec("c1", exec("./script", &["5"]))).await.unwrap();
    assert_eq!(node.exited("c1").await.0, ExitStatus::Code(5));
    node.stop().await;
}

#[tokio::test]
async fn sigterm_reaches_the_command_and_destroy_ends_what_ignores_it() {
    let mut node = Node::posix().await;
    let sandbox = node.place.sandbox("polite");
    node.launch_shell("polite", "trap 'exit 3' TERM; echo ready > r; while :; do sleep 0.01; done")
        .await;
    common::line_of(&sandbox.join("r")).await;
    node.containerizer.terminate(&id("polite")).await.unwrap();
    assert_eq!(node.exited("polite").await.0, ExitStatus::Code(3));
    let sandbox = node.place.sandbox("stubborn");
    node.launch_shell("stubborn", "trap '' TERM; echo ready > r; while :; do sleep 0.01; done")
        .await;
    common::line_of(&sandbox.join("r")).await;
    node.containerizer.terminate(&id("stubborn")).await.unwrap();
    let error = node.containerizer.release(&id("stubborn")).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "it runs: {error}");
    node.containerizer.destroy(&id("stubborn")).await.unwrap();
    assert_eq!(node.exited("stubborn").await.0, ExitStatus::Signal(9));
    node.containerizer.destroy(&id("stubborn")).await.unwrap();
    node.containerizer.destroy(&id("never-was")).await.unwrap();
    node.stop().await;
}

/// A grandchild in a session of its own, whose parent is gone: only its mark tells whose it is.
const DAEMON: &str = "setsid sh -c 'setsid sh -c \"echo \\$\\$ > daemon; exec sleep 1000\" & ' & ";

#[tokio::test]
async fn destroy_kills_grandchildren_that_have_left_the_session() {
    let mut node = Node::posix().await;
    let sandbox = node.place.sandbox("c1");
    let pid = node.launch_shell("c1", &format!("{DAEMON} exec sleep 1000")).await;
    let daemon = pid_of(&sandbox.join("daemon")).await;
    assert!(is_alive(pid) && is_alive(daemon));
    node.containerizer.destroy(&id("c1")).await.unwrap();
    assert!(!is_alive(pid) && !is_alive(daemon), "destroy returned before all was dead");
    assert_eq!(node.exited("c1").await.0, ExitStatus::Signal(9));
    node.stop().await;
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it_and_others_live() {
    let mut node = Node::posix().await;
    let bystander = node.launch_shell("bystander", "exec sleep 1000").await;
    let sandbox = node.place.sandbox("c1");
    node.launch_shell(
        "c1",
        &format!("{DAEMON} sleep 1000 & while ! [ -s daemon ]; do sleep 0.01; done"),
    )
    .await;
    assert_eq!(node.exited("c1").await.0, ExitStatus::Code(0));
    let daemon = pid_of(&sandbox.join("daemon")).await;
    eventually("the daemon ends", || !is_alive(daemon)).await;
    node.containerizer.release(&id("c1")).await.unwrap();
    assert!(is_alive(bystander));
    node.stop().await;
}

#[tokio::test]
async fn a_name_is_taken_until_it_is_released() {
    let mut node = Node::posix().await;
    node.launch_shell("c1", "true").await;
    let again = || node.containerizer.launch(node.shell("c1", "true"));
    assert!(matches!(again().await, Err(LaunchError::Exists { .. })));
    node.exited("c1").await;
    let again = || node.containerizer.launch(node.shell("c1", "true"));
    assert!(matches!(again().await, Err(LaunchError::Exists { .. })));
    node.containerizer.release(&id("c1")).await.unwrap();
    again().await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn none_of_hundreds_of_quick_containers_is_lost() {
    let count = 400;
    let mut node = Place::new(&IsolatorName::POSIX).start_with_room_for(1).await;
    let launches = (0..count).map(|n| {
        let line = format!("exit {}", n % 100);
        node.containerizer.launch(node.shell(&format!("c{n}"), &line))
    });
    let started = futures_util::future::join_all(launches).await;
    assert!(started.iter().all(Result::is_ok));
    let mut seen = std::collections::BTreeMap::new();
    while seen.len() < count {
        if let ContainerEvent::Exited { container, status, .. } = node.event().await {
            node.containerizer.release(&container).await.unwrap();
            assert_eq!(seen.insert(container, status), None, "told once");
        }
    }
    for n in 0..count {
        let code = i32::try_from(n % 100).unwrap();
        assert_eq!(seen[&id(&format!("c{n}"))], ExitStatus::Code(code));
    }
    assert_eq!(node.containerizer.recover().await.unwrap(), []);
    let records = std::fs::read_dir(node.place.data_dir.join("launcher/records")).unwrap();
    let records = records.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(records.filter(|name| !name.starts_with('.')).count(), 0);
    node.stop().await;
}

#[tokio::test]
async fn a_data_directory_may_have_a_path_longer_than_a_sockets() {
    let long = "long-name-of-a-directory/".repeat(12);
    let mut node = Place::below(&long, &IsolatorName::POSIX).start().await;
    assert!(node.place.data_dir.as_os_str().len() > 250);
    node.launch_shell("c1", "exit 2").await;
    assert_eq!(node.exited("c1").await.0, ExitStatus::Code(2));
    node.stop().await;
}

#[tokio::test]
async fn a_sandbox_that_is_a_symlink_is_refused() {
    let node = Node::posix().await;
    std::fs::create_dir_all(node.place.sandbox("real")).unwrap();
    symlink(node.place.sandbox("real"), node.place.sandbox("c1")).unwrap();
    let error = node.containerizer.launch(node.shell("c1", "true")).await.unwrap_err();
    assert!(matches!(error, LaunchError::Sandbox { .. }), "{error}");
    node.stop().await;
}

#[tokio::test]
async fn output_is_not_written_through_a_symlink_or_into_a_pipe() {
    let node = Node::posix().await;
    let sandbox = node.place.sandbox("c1");
    std::fs::create_dir_all(&sandbox).unwrap();
    let victim = node.place.path().join("victim");
    std::fs::write(&victim, "").unwrap();
    symlink(&victim, sandbox.join("stdout")).unwrap();
    let error = node.containerizer.launch(node.shell("c1", "echo x")).await.unwrap_err();
    assert!(error.to_string().contains("stdout"), "{error}");
    std::fs::remove_file(sandbox.join("stdout")).unwrap();
    nix::unistd::mkfifo(&sandbox.join("stdout"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = node.containerizer.launch(node.shell("c1", "echo x")).await.unwrap_err();
    assert!(error.to_string().contains("stdout"), "{error}");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "");
    node.stop().await;
}

#[tokio::test]
async fn an_unknown_user_is_refused_by_name() {
    let node = Node::posix().await;
    let mut spec = node.shell("c1", "true");
    spec.user = Some("no-such-user-here".to_owned());
    let error = node.containerizer.launch(spec).await.unwrap_err();
    assert!(matches!(&error, LaunchError::User { .. }), "{error}");
    assert!(error.to_string().contains("no-such-user-here"), "{error}");
    assert!(!node.place.sandbox("c1").exists());
    node.stop().await;
}

#[tokio::test]
async fn use_is_reported() {
    let node = Node::posix().await;
    let sandbox = node.place.sandbox("c1");
    node.launch_shell(
        "c1",
        "i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done; echo done > d; sleep 1000",
    )
    .await;
    common::line_of(&sandbox.join("d")).await;
    let usage = node.containerizer.usage(&id("c1")).await.unwrap();
    assert!(usage.memory_bytes.unwrap() > 0, "{usage:?}");
    assert!(usage.cpu_user_us.unwrap() + usage.cpu_system_us.unwrap() > 0, "{usage:?}");
    assert!(usage.processes.unwrap() >= 1, "{usage:?}");
    let error = node.containerizer.usage(&id("other")).await.unwrap_err();
    assert!(matches!(error, Error::UnknownContainer { .. }));
    node.stop().await;
}
