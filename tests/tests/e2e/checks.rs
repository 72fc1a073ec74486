//! Checks of tasks: real probes of real tasks.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use meshos_sdk::{
    TaskBuilder,
    protocol::{
        check::{Check, CheckStatus, CheckTimes, HealthCheck, Probe},
        task::{CommandLine, Reason, StatusUpdate, TaskState},
    },
};
use meshos_tests::{
    Cluster, Framework, FrameworkOptions, MesosFramework, Node, PATIENCE, kill_process, pid_alive,
    poll_until, wait_until,
};
use serde_json::{Value, json};

use crate::sandboxes::{metric, sandboxes};

const FAST: CheckTimes = CheckTimes { delay_ms: 0, interval_ms: 100, timeout_ms: 20_000 };

fn health(probe: Probe) -> HealthCheck {
    HealthCheck { times: FAST, grace_ms: 0, consecutive_failures: 2, ..HealthCheck::new(probe) }
}

fn command(line: &str) -> Probe {
    Probe::Command { line: CommandLine::shell(line), environment: Default::default() }
}

fn task(id: &str, line: &str) -> TaskBuilder {
    TaskBuilder::shell(id, line).cpus_mem("0.1", "32").kill_grace_ms(1_000)
}

/// Waits for a running task's own word that it is healthy, or not.
#[track_caller]
fn wait_for_health(framework: &Framework, task: &str, healthy: bool) -> StatusUpdate {
    let what = format!("{task} is told to be healthy: {healthy}");
    poll_until(PATIENCE, &what, || {
        framework.updates_of(task).into_iter().rev().find(|update| {
            // What its other check found is told with the same health.
            update.state == TaskState::Running
                && update.healthy == Some(healthy)
                && update.update.is_some()
                && update.reason == Some(Reason::HealthCheckStatusUpdated)
        })
    })
}

/// Waits for the end of a task that was killed for its health.
#[track_caller]
fn wait_for_kill(framework: &Framework, task: &str) -> StatusUpdate {
    let end = framework.wait_for_state(task, TaskState::Killed);
    assert_eq!(
        (end.healthy, end.reason),
        (Some(false), Some(Reason::HealthCheckFailed)),
        "{end:?}"
    );
    let ends = framework.updates_of(task).into_iter().filter(|it| it.state.is_terminal());
    assert_eq!(ends.count(), 1, "one end");
    end
}

fn sandbox(node: &Node, task: &str) -> PathBuf {
    sandboxes(node)[task].clone()
}

/// What stands in a file of a task's sandbox, once it is there whole.
#[track_caller]
fn wait_for_file(node: &Node, task: &str, file: &str) -> String {
    let path = sandbox(node, task).join(file);
    poll_until(PATIENCE, &format!("{} is written", path.display()), || {
        fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'))
    })
    .trim_end()
    .to_owned()
}

#[track_caller]
fn wait_for_pid(node: &Node, task: &str, file: &str) -> u32 {
    wait_for_file(node, task, file).parse().unwrap()
}

/// Answers each `GET` with the status that it is set to, as long as the test lives.
fn answering(status: u16) -> (u16, Arc<AtomicU16>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let status = Arc::new(AtomicU16::new(status));
    let set = Arc::clone(&status);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let asked = String::from_utf8_lossy(&head[..read]).into_owned();
            let found = if asked.starts_with("GET /up HTTP/1.1\r\n") {
                set.load(Ordering::Relaxed)
            } else {
                404
            };
            // The one that asks may have gone.
            let _sent =
                write!(stream, "HTTP/1.1 {found} X\r\nLocation: /\r\nContent-Length: 0\r\n\r\n");
        }
    });
    (port, status)
}

#[test]
fn a_command_tells_from_within_the_sandbox_whether_its_task_is_healthy() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    let framework = Framework::start(&cluster, FrameworkOptions::new("checked", &[0]));
    let line = "echo noise; echo \"$MODE $ADDED $MESHOS_TASK_ID $PWD $MESHOS_SANDBOX\" > seen; test -f ready";
    let probe = Probe::Command {
        line: CommandLine::shell(line),
        environment: [("ADDED".to_owned(), "too".to_owned())].into(),
    };
    let asked = task("web", "echo begun; touch ready; exec sleep 600").env("MODE", "fast");
    framework.submit([asked.health_check(health(probe)).build().unwrap()]);
    wait_for_health(&framework, "web", true);
    let directory = sandbox(node, "web");
    let shown = directory.display();
    let seen = wait_for_file(node, "web", "seen");
    assert_eq!(seen, format!("fast too web {shown} {shown}"));
    wait_until("readers are shown that it is healthy", || {
        node.json("/api/tasks/-/web").is_some_and(|shown| {
            (&shown["healthy"], &shown["check_status"]) == (&json!(true), &Value::Null)
        })
    });
    let listed = node.command(&["tasks"]).run().success().stdout;
    assert!(listed.contains("HEALTHY") && listed.contains("yes"), "{listed}");

    fs::remove_file(directory.join("ready")).unwrap();
    let unwell = wait_for_health(&framework, "web", false);
    assert!(unwell.message.contains("has failed once: it exited with status 1"), "{unwell:?}");
    let end = wait_for_kill(&framework, "web");
    assert_eq!(
        end.message,
        "the command health check has failed 2 times in a row: it exited with status 1"
    );
    let output = fs::read_to_string(directory.join("stdout")).unwrap();
    assert_eq!(output, "begun\n", "what probes print goes nowhere");
    wait_until("the kill is counted", || metric(node, "meshos_agent_health_kills_total") == 1.0);
    let rest = node.command(&["explain", "task", "web"]).run().success().stdout;
    assert!(rest.contains("health_check_failed"), "{rest}");
}

#[test]
fn answers_over_http_and_connections_are_looked_at() {
    let cluster = Cluster::start(1);
    let framework = Framework::start(&cluster, FrameworkOptions::new("served", &[0]));
    let (port, status) = answering(302);
    let http = || Probe::Http { port, path: "/up".to_owned() };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = Probe::Tcp { port: listener.local_addr().unwrap().port() };
    let check = |probe| Check { times: FAST, probe };
    let watched = task("http", "exec sleep 600").health_check(health(http())).check(check(http()));
    let connected = task("tcp", "exec sleep 600").health_check(health(tcp.clone()));
    let reported = task("reported", "exec sleep 600").check(check(tcp));
    framework.submit([watched, connected, reported].map(|task| task.build().unwrap()));
    wait_for_health(&framework, "http", true);
    wait_for_health(&framework, "tcp", true);
    let found = |task: &str, wanted: CheckStatus| {
        let told = poll_until(PATIENCE, &format!("{task}: {wanted:?} is told"), || {
            let mut updates = framework.updates_of(task).into_iter();
            updates.find(|update| update.check_status == Some(wanted))
        });
        assert_eq!(told.state, TaskState::Running, "{told:?}");
    };
    found("http", CheckStatus::Http { status_code: None });
    found("http", CheckStatus::Http { status_code: Some(302) });
    found("reported", CheckStatus::Tcp { succeeded: None });
    found("reported", CheckStatus::Tcp { succeeded: Some(true) });

    status.store(503, Ordering::Relaxed);
    drop(listener);
    let end = wait_for_kill(&framework, "http");
    assert!(end.message.contains("the HTTP health check"), "{end:?}");
    assert!(end.message.ends_with("it was answered with status 503"), "{end:?}");
    let end = wait_for_kill(&framework, "tcp");
    assert!(end.message.contains("the TCP health check"), "{end:?}");
    assert!(end.message.contains("Connection refused"), "{end:?}");
    found("reported", CheckStatus::Tcp { succeeded: Some(false) });
    let told = framework.updates_of("reported").into_iter();
    let told: Vec<_> = told.filter_map(|update| update.update.and(update.check_status)).collect();
    assert_eq!(told.len(), 3, "on change only: {told:?}");
}

#[test]
fn failures_within_the_grace_period_do_not_count() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    let framework = Framework::start(&cluster, FrameworkOptions::new("graced", &[0]));
    let check = HealthCheck { grace_ms: 3_600_000, ..health(command("test -f ready")) };
    framework.submit([task("slow", "exec sleep 600").health_check(check).build().unwrap()]);
    framework.wait_for_state("slow", TaskState::Running);
    wait_until("many probes have failed", || {
        metric(node, "meshos_agent_health_probes_failed_total") >= 5.0
    });
    assert_eq!(framework.states()["slow"], TaskState::Running);
    assert!(framework.updates_of("slow").iter().all(|update| update.healthy.is_none()));
    // Once it was well, it must stay so.
    let ready = sandbox(node, "slow").join("ready");
    fs::write(&ready, "").unwrap();
    wait_for_health(&framework, "slow", true);
    fs::remove_file(ready).unwrap();
    wait_for_kill(&framework, "slow");
}

#[test]
fn checks_go_on_when_their_agent_comes_back_and_kill_once() {
    let mut cluster = Cluster::start(1);
    let framework = Framework::start(&cluster, FrameworkOptions::new("lasting", &[0]));
    let line = "test -f ready";
    let asked = task("web", "echo $$ > pid; touch ready; exec sleep 600");
    let hangs = task("hangs", "echo $$ > pid; exec sleep 600");
    let hanging = command("echo $$ > probe; exec sleep 600");
    let times = CheckTimes { timeout_ms: 3_600_000, ..FAST };
    let hanging = HealthCheck { times, ..health(hanging) };
    framework.submit([
        asked.health_check(health(command(line))).build().unwrap(),
        hangs.health_check(hanging).build().unwrap(),
    ]);
    wait_for_health(&framework, "web", true);
    let node = &mut cluster.nodes[0];
    let web = wait_for_pid(node, "web", "pid");
    let (task, probe) = (wait_for_pid(node, "hangs", "pid"), wait_for_pid(node, "hangs", "probe"));
    node.kill();
    // Its probe ends with a task, also while nobody is there to see to it.
    assert!(pid_alive(probe) && pid_alive(task));
    kill_process(task);
    wait_until("the probe ends with its task", || !pid_alive(probe));
    fs::remove_file(sandbox(node, "web").join("ready")).unwrap();
    assert!(pid_alive(web));
    node.start();
    wait_for_kill(&framework, "web");
    assert!(!pid_alive(web));
    framework.wait_for_state("hangs", TaskState::Failed);
}

#[test]
fn a_probe_that_takes_too_long_is_ended_and_has_failed() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    let framework = Framework::start(&cluster, FrameworkOptions::new("hanging", &[0]));
    let probe = command("echo $$ > probe; sleep 600 & wait");
    let times = CheckTimes { timeout_ms: 500, ..FAST };
    let check = HealthCheck { times, ..health(probe) };
    framework.submit([task("web", "exec sleep 600").health_check(check).build().unwrap()]);
    wait_for_health(&framework, "web", false);
    let probe = wait_for_pid(node, "web", "probe");
    let end = wait_for_kill(&framework, "web");
    assert!(end.message.ends_with("it took longer than 500 ms"), "{end:?}");
    wait_until("nothing of the probe is left", || !pid_alive(probe));
}

#[test]
fn a_check_that_breaks_a_rule_is_refused_with_a_sentence() {
    let cluster = Cluster::start(1);
    let framework = Framework::start(&cluster, FrameworkOptions::new("wrong", &[0]));
    let wrong = Probe::Http { port: 0, path: String::new() };
    framework.submit([task("web", "true").health_check(HealthCheck::new(wrong)).build().unwrap()]);
    let error = framework.wait_for_state("web", TaskState::Error);
    assert_eq!(error.reason, Some(Reason::TaskInvalid));
    assert!(error.message.contains("the task's health check asks at port 0"), "{error:?}");
}

#[test]
fn run_kills_what_is_not_healthy_and_says_so() {
    let cluster = Cluster::start(1);
    let run = |flags: &[&str]| {
        let line = [&["run"], flags, &["--", "sleep", "600"]].concat();
        cluster.nodes[0].command(&line).run()
    };
    let fast = ["--health-delay", "0s", "--health-interval", "100ms", "--health-grace", "0s"];
    let cmd = ["--health-failures", "2", "--health-cmd", "exit 7"];
    let unhealthy = run(&[&fast[..], &cmd].concat());
    assert_eq!(unhealthy.code(), 123, "{unhealthy:?}");
    for words in ["is not healthy", "health_check_failed", "it exited with status 7"] {
        assert!(unhealthy.stderr.contains(words), "{unhealthy:?}");
    }
    let wrong = run(&["--health-tcp", "0"]);
    assert_eq!(wrong.code(), 2, "{wrong:?}");
}

#[test]
fn frameworks_of_mesos_say_and_hear_it_in_their_words() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    let info = json!({"user": "nobody", "name": "mesos-checks", "failover_timeout": 60.0});
    let mut framework = MesosFramework::subscribe(node, &info);
    let offer = framework.stream.wait_for_offer();
    let scalar = |name: &str, value: f64| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let times = json!({"delay_seconds": 0.0, "interval_seconds": 0.1});
    let with = |rest: Value| {
        let mut all = times.clone();
        all.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        all
    };
    let task = json!({
        "name": "web", "task_id": {"value": "web"}, "agent_id": offer["agent_id"],
        "resources": [scalar("cpus", 0.1), scalar("mem", 32.0)],
        "command": {"value": "touch ready; exec sleep 600"},
        "kill_policy": {"grace_period": {"nanoseconds": 1_000_000_000}},
        "health_check": with(json!({"type": "COMMAND", "command": {"value": "test -f ready"},
            "grace_period_seconds": 0.0, "consecutive_failures": 2})),
        "check": with(json!({"type": "COMMAND", "command": {"command": {"value": "exit 5"}}})),
    });
    let launch = json!({"type": "LAUNCH", "launch": {"task_infos": [task]}});
    framework.call(node, "ACCEPT", &json!({"offer_ids": [offer["id"]], "operations": [launch]}));
    let mut statuses = Vec::new();
    let mut wait_for = |framework: &mut MesosFramework, told: &dyn Fn(&Value) -> bool| {
        while !statuses.iter().any(told) {
            let status = framework.stream.wait_for("the checks tell", |kind, body| {
                (kind == "UPDATE").then(|| body["status"].clone())
            });
            framework.acknowledge(node, &status);
            statuses.push(status);
        }
        statuses.iter().find(|status| told(status)).cloned().unwrap()
    };
    let first = wait_for(&mut framework, &|status| status["state"] == "TASK_RUNNING");
    assert_eq!(first["check_status"], json!({"type": "COMMAND", "command": {}}), "{first}");
    let found =
        wait_for(&mut framework, &|status| status["check_status"]["command"]["exit_code"] == 5);
    assert_eq!(found["state"], "TASK_RUNNING", "{found}");
    let well = wait_for(&mut framework, &|status| status["healthy"] == true);
    assert_eq!(well["state"], "TASK_RUNNING", "{well}");
    fs::remove_file(sandbox(node, "web").join("ready")).unwrap();
    let unwell = wait_for(&mut framework, &|status| status["healthy"] == false);
    assert_eq!(unwell["reason"], "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED", "{unwell}");
    let end = wait_for(&mut framework, &|status| status["state"] == "TASK_KILLED");
    assert_eq!(end["healthy"], false, "{end}");
    assert!(end["message"].as_str().unwrap().contains("failed 2 times in a row"), "{end}");
}
