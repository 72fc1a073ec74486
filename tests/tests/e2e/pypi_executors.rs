//! Executors on clients of Mesos's executor API from the Python package index, unmodified.

use std::{fs, path::Path};

use meshos_tests::{Cluster, PythonClient, client_packages, pid_alive, wait_until};
use serde_json::{Value, json};

const PROGRAM: &str = include_str!("../../clients/pymesos_executor.py");

/// What pymesos consists of and needs.
const PACKAGES: [&str; 4] = ["pymesos", "addict", "six.py", "http_parser"];

/// Copies a file, or a directory with all that is in it.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

fn hear_message(client: &mut PythonClient, begins: &str) -> Value {
    client.hear(&format!("the executor says {begins:?}"), |said| {
        let text = said["text"].as_str().unwrap_or_default();
        (said["what"] == "message" && text.starts_with(begins)).then(|| said.clone())
    })
}

#[test]
fn an_executor_on_pymesos_runs_tasks_talks_with_its_scheduler_and_outlives_its_agent() {
    let mut cluster = Cluster::start(1);
    // Where its user can read them, wherever this tree is.
    let packages = cluster.path().join("packages");
    fs::create_dir(&packages).unwrap();
    for package in PACKAGES {
        copy(&client_packages().join(package), &packages.join(package));
    }
    let variable = |name: &str, value: &str| json!({"name": name, "value": value});
    let path = packages.display().to_string();
    let variables = [variable("PROGRAM", PROGRAM), variable("PYTHONPATH", &path)];
    let scalar = |name, value| json!({"name": name, "type": "SCALAR", "scalar": {"value": value}});
    let executor = json!({"executor_id": {"value": "worker"}, "name": "pymesos",
        "resources": [scalar("cpus", 0.1), scalar("mem", 64.0)],
        "command": {"value": "exec python3 -B -c \"$PROGRAM\"", "environment": {"variables": variables}}});
    let master = cluster.nodes[0].http().to_string();
    let arguments = [&master, "snakes", "--executor", &executor.to_string()];
    let mut client = PythonClient::start("with_pymesos.py", cluster.nodes[0].home(), &arguments);
    client.hear_of("registered");

    client.tell("execute held hold");
    let first = hear_message(&mut client, "registered for snakes on ");
    assert_eq!(first["executor"], "worker");
    let agent = first["agent"].as_str().unwrap().to_owned();
    assert_eq!(first["text"], format!("registered for snakes on {agent}"));
    let running = client.hear_state("held", "TASK_RUNNING");
    let pid: u32 = running["data"].as_str().unwrap().parse().unwrap();
    client.tell("execute brief end");
    assert_eq!(client.hear_state("brief", "TASK_FINISHED")["data"], "done");
    client.tell("message h\u{f6}i");
    let heard = hear_message(&mut client, "heard");
    assert_eq!(heard["text"], "heard after 0 returns: h\u{f6}i");

    // Agent, leader and gateway at once.
    cluster.nodes[0].kill();
    cluster.nodes[0].start();
    client.hear_of("reregistered");
    // Unlike a message it waits for the executor to be back.
    client.tell("execute later end");
    assert_eq!(client.hear_state("later", "TASK_FINISHED")["data"], "done");
    assert!(pid_alive(pid), "the same process");
    client.tell("message again");
    assert_eq!(hear_message(&mut client, "heard")["text"], "heard after 1 returns: again");
    client.tell("kill held");
    assert_eq!(client.hear_state("held", "TASK_KILLED")["data"], "killed");
    client.tell("stop");
    client.hear_of("stopped");
    wait_until("the executor has ended with its framework", || !pid_alive(pid));
}
