//! `meshos run` and its fellows: what scripts may rely on.

use std::{collections::BTreeSet, fs};

use meshos_tests::{
    Cluster, ClusterOptions, Finished, Framework, FrameworkOptions, Handling, PATIENCE, poll_until,
    wait_until,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A cluster of three nodes, of which each has a rack of its own, and which are small.
fn racks() -> Cluster {
    let mut cluster = Cluster::prepare(ClusterOptions {
        resources: "cpus:4;mem:4096;ports:[31000-31009]".to_owned(),
        ..ClusterOptions::default()
    });
    for (index, node) in cluster.nodes.iter_mut().enumerate() {
        let attributes = format!("rack:r{index};level:{}", 10 + index);
        node.arguments().flags.extend(["--attributes".to_owned(), attributes]);
        node.start();
    }
    cluster.wait_until_ready();
    cluster
}

fn run(cluster: &Cluster, node: usize, arguments: &[&str]) -> Finished {
    cluster.nodes[node].command(arguments).run()
}

fn names(row: &Value) -> BTreeSet<&str> {
    row.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn assert_has(row: &Value, fields: &[&str]) {
    let missing: Vec<_> = fields.iter().filter(|field| !names(row).contains(**field)).collect();
    assert!(missing.is_empty(), "{missing:?} missing in {row}");
}

#[test]
fn run_streams_output_and_passes_the_exit_code_on() {
    let mut cluster = racks();
    let leader = cluster.leader().index;
    let follower = cluster.follower();

    for node in [leader, follower] {
        let hello = run(&cluster, node, &["run", "--", "echo", "hello", "two  words"]);
        assert_eq!((hello.code(), hello.stdout.as_str()), (0, "hello two  words\n"), "{hello:?}");
    }
    let both = run(&cluster, follower, &["run", "--shell", "--", "echo out; echo err >&2; exit 7"]);
    assert_eq!((both.code(), both.stdout.as_str()), (7, "out\n"), "{both:?}");
    assert!(both.stderr.contains("err\n"), "{both:?}");
    let killed = run(&cluster, follower, &["run", "--shell", "--", "kill -KILL $$"]);
    assert_eq!(killed.code(), 128 + 9, "{killed:?}");
    let missing = run(&cluster, follower, &["run", "--", "/no/such/program"]);
    assert_eq!(missing.code(), 125, "{missing:?}");
    assert!(missing.stderr.contains("/no/such/program"), "{missing:?}");

    let late = run(&cluster, follower, &["run", "--time-limit", "300ms", "--", "sleep", "600"]);
    assert_eq!(late.code(), 124, "{late:?}");
    assert!(late.stderr.contains("max_completion_time_reached"), "{late:?}");

    // More than one read of the file: nothing is lost, doubled or mixed up.
    let long = run(&cluster, follower, &["run", "--quiet", "--shell", "--", "seq 1 200000"]);
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(long.code(), 0);
    assert!(
        long.stdout == expected,
        "{} bytes came, {} were written",
        long.stdout.len(),
        expected.len()
    );
    assert_eq!(long.stderr, "");
}

#[test]
fn run_takes_instances_variables_files_and_constraints() {
    let mut cluster = racks();
    let node = cluster.follower();

    let line = r#"echo "$GREETING""#;
    let several = [
        "run",
        "--instances",
        "5",
        "--cpus",
        "0.5",
        "--env",
        "GREETING=a b",
        "--shell",
        "--",
        line,
    ];
    let several = run(&cluster, node, &several);
    assert_eq!(several.code(), 0, "{several:?}");
    let mut lines: Vec<&str> = several.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 5, "{several:?}");
    for (instance, line) in lines.iter().enumerate() {
        assert!(*line == format!("[{instance}] a b"), "{lines:?}");
    }

    let file = cluster.path().join("words.txt");
    fs::write(&file, "from a file\n").unwrap();
    let uri = format!("file://{}", file.display());
    let fetched = run(&cluster, node, &["run", "--uri", &uri, "--", "cat", "words.txt"]);
    assert_eq!((fetched.code(), fetched.stdout.as_str()), (0, "from a file\n"), "{fetched:?}");
    let unfetched = run(&cluster, node, &["run", "--uri", "file:///no/such/file", "--", "true"]);
    assert_eq!(unfetched.code(), 125, "{unfetched:?}");
    assert!(unfetched.stderr.contains("/no/such/file"), "{unfetched:?}");

    for index in 0..3 {
        let rack = format!("rack:r{index}");
        let line = "echo $MESHOS_SANDBOX";
        let placed = run(&cluster, node, &["run", "--constraint", &rack, "--shell", "--", line]);
        let data_dir = cluster.nodes[index].data_dir().display().to_string();
        assert_eq!(placed.code(), 0, "{placed:?}");
        assert!(placed.stdout.starts_with(&data_dir), "{rack}: {placed:?}");
    }
}

#[test]
fn run_says_why_it_waits_and_ends_its_task_on_ctrl_c() {
    let mut cluster = racks();
    let node = cluster.follower();

    let mut waiting = cluster.nodes[node].command(&["run", "--cpus", "100", "--", "true"]).start();
    waiting.wait_for_error_output("even when it is empty");
    let said = waiting.stderr();
    assert!(said.contains("1 instance waits for cpus:100;mem:128"), "{said}");
    assert!(said.contains("no node is that large: ") && said.contains(" lacks cpus:9"), "{said}");
    for wrong in ["--cpus=0", "--env=A", "--uri=words.txt", "--constraint=rack"] {
        let refused = cluster.nodes[node].command(&["run", wrong, "--", "true"]).run();
        assert_eq!(refused.code(), 2, "{refused:?}");
    }
    waiting.interrupt();
    assert_eq!(waiting.wait().code(), 130);

    let limited = ["run", "-q", "--start-within", "1s", "--cpus", "100", "--", "true"];
    let limited = run(&cluster, node, &limited);
    assert_eq!(limited.code(), 125, "{limited:?}");
    assert!(limited.stderr.contains("no node is that large: "), "{limited:?}");
    assert!(limited.stderr.contains("1 instance could not be launched within 1s"), "{limited:?}");
    let failed = run(&cluster, node, &["run", "-q", "--", "/no/such/program"]);
    assert_eq!(failed.code(), 125, "{failed:?}");
    assert!(failed.stderr.contains("/no/such/program"), "{failed:?}");
    assert!(!failed.stderr.contains("framework"), "{failed:?}");

    let mut nowhere =
        cluster.nodes[node].command(&["run", "--constraint", "rack:none", "--", "true"]).start();
    nowhere.wait_for_error_output("3 nodes do not meet rack:none (found rack:");
    nowhere.signal(Signal::SIGTERM);
    assert_eq!(nowhere.wait().code(), 143);

    let pid_file = cluster.path().join("pid");
    let line = format!("echo $$ > {}; exec sleep 100000", pid_file.display());
    let mut endless = cluster.nodes[node].command(&["run", "--shell", "--", &line]).start();
    endless.wait_for_error_output("runs");
    let pid: u32 = poll_until(PATIENCE, "the task tells its pid", || {
        fs::read_to_string(&pid_file).ok()?.trim().parse().ok()
    });
    endless.interrupt();
    assert_eq!(endless.wait().code(), 130);
    wait_until("the task has ended", || !meshos_tests::pid_alive(pid));
}

#[test]
fn scripts_find_the_fields_that_were_promised() {
    let mut cluster = racks();
    let leader = cluster.leader();
    for node in 0..3 {
        let told = run(&cluster, node, &["leader", "--json"]).success().json();
        assert_has(&told, &["node_id", "address", "term"]);
        assert_eq!(told["node_id"], leader.node_id.as_str());
        assert_eq!(told["address"], cluster.nodes[leader.index].http().to_string());
        assert_eq!(told["term"], leader.term);

        let nodes = run(&cluster, node, &["nodes", "--json"]).success().json();
        let nodes = nodes.as_array().expect("a list");
        assert_eq!(nodes.len(), 3);
        for row in nodes {
            assert_has(
                row,
                &["id", "address", "resources", "attributes", "state", "leader", "pid"],
            );
            assert_eq!(row["state"], "active");
            assert_eq!(row["resources"]["cpus"], 4);
            let of_row =
                cluster.nodes.iter().position(|node| row["address"] == node.http().to_string());
            let index = of_row.unwrap_or_else(|| panic!("whose is {row}"));
            assert_eq!(row["pid"], cluster.nodes[index].pid());
            assert_eq!(row["id"], cluster.nodes[index].id());
            assert_eq!(row["leader"], index == leader.index);
            assert_eq!(row["attributes"]["rack"], format!("r{index}"));
        }
    }

    let node = cluster.follower();
    let line = "echo first; echo wrong >&2; exec sleep 100000";
    let mut running =
        cluster.nodes[node].command(&["run", "--name", "napper", "--shell", "--", line]).start();
    running.wait_for_error_output("runs");
    let task_row = |node: usize| {
        let tasks = run(&cluster, node, &["tasks", "--json"]).success().json();
        let rows = tasks.as_array().expect("a list").clone();
        rows.into_iter().find(|row| row["id"].as_str().is_some_and(|id| id.starts_with("napper")))
    };
    let row = poll_until(PATIENCE, "the task is listed as running", || {
        task_row(node).filter(|row| row["state"] == "running")
    });
    assert_has(&row, &["id", "framework_id", "node_id", "state", "reason"]);
    let id = row["id"].as_str().expect("a text").to_owned();
    for node in 0..3 {
        wait_until("the task's output is read through any node", || {
            run(&cluster, node, &["logs", &id]).success().stdout == "first\n"
        });
        assert_eq!(run(&cluster, node, &["logs", "--stderr", &id]).success().stdout, "wrong\n");
    }
    let unknown = run(&cluster, node, &["logs", "no-such-task"]);
    assert_eq!(unknown.code(), 1);
    assert!(unknown.stderr.contains("no-such-task"), "{unknown:?}");

    let told = run(&cluster, node, &["kill", "--json", &id]).success().json();
    assert_eq!(told["task_id"], json!(id), "{told}");
    let ended = running.wait();
    assert_eq!(ended.code(), 128 + 15, "{ended:?}");
    assert_eq!(ended.stdout, "first\n");
    // An ended task is listed, and its output can be read.
    wait_until("the ended task is listed as killed", || {
        task_row(node).is_some_and(|row| row["state"] == "killed")
    });
    assert_eq!(run(&cluster, node, &["logs", &id]).success().stdout, "first\n");
}

#[test]
fn an_open_offer_and_its_framework_are_shown_and_explained_through_any_node() {
    let mut cluster = racks();
    let leader = cluster.leader().index;
    let options = FrameworkOptions {
        handling: Handling::Keep,
        ..FrameworkOptions::new("keeper", &[cluster.follower()])
    };
    let framework = Framework::start(&cluster, options);
    wait_until("all nodes are offered", || framework.open_offers().len() == 3);
    let id = framework.id().to_string();
    for node in 0..3 {
        let rows = |what: &str| {
            let shown = run(&cluster, node, &[what, "--json"]).success().json();
            shown.as_array().expect("a list").clone()
        };
        wait_until("the offers are shown", || rows("offers").len() == 3);
        for row in rows("offers") {
            assert_has(&row, &["id", "framework_id", "node_id", "role", "resources", "made_at"]);
            assert_eq!(row["framework_id"], id.as_str());
            assert_eq!(row["resources"]["cpus"], 4);
        }
        let frameworks = rows("frameworks");
        let row = frameworks.iter().find(|row| row["id"] == id.as_str()).expect("it is listed");
        assert_has(row, &["name", "roles", "state", "tasks", "used", "offers", "principal"]);
        assert_eq!((&row["name"], &row["offers"]), (&"keeper".into(), &3.into()), "{row}");

        let told = cluster.nodes[node].json(&format!("/explain/framework/{id}"));
        assert_eq!(told.expect("it is explained")["framework"], id.as_str());
        let shown = run(&cluster, node, &["explain", "framework", &id]).success();
        assert!(shown.stdout.contains("3 offers of it are open"), "{shown:?}");
    }
    let unknown = run(&cluster, leader, &["explain", "framework", "F99"]);
    assert_eq!(unknown.code(), 1);
    assert!(unknown.stderr.contains("F99"), "{unknown:?}");
}

#[test]
fn logs_are_followed_until_the_task_ends() {
    let mut cluster = racks();
    let (leader, follower) = (cluster.leader().index, cluster.follower());
    let gate = cluster.path().join("gate");
    // It runs where nobody is killed.
    let rack = format!("rack:r{leader}");
    let line = format!("echo one; until [ -e {} ]; do sleep 0.05; done; echo two", gate.display());
    let mut running = cluster.nodes[leader]
        .command(&["run", "--name", "talker", "--constraint", &rack, "--shell", "--", &line])
        .start();
    running.wait_for_error_output("runs");
    let id = poll_until(PATIENCE, "the task is listed", || {
        let tasks = run(&cluster, follower, &["tasks", "--json"]).success().json();
        let row = tasks.as_array()?.iter().find(|row| row["name"] == "talker")?.clone();
        row["id"].as_str().map(str::to_owned)
    });
    let mut following = cluster.nodes[follower].command(&["logs", "-f", &id]).start();
    following.wait_for_output("one\n");
    assert!(following.is_running(), "it waits for more");
    // The task is followed through another node.
    cluster.nodes[follower].kill();
    fs::write(&gate, "").unwrap();
    let followed = following.wait().success();
    assert_eq!(followed.stdout, "one\ntwo\n");
    // For scripts: one object, or one for each part while it is followed.
    let whole = run(&cluster, leader, &["logs", "--json", &id]).success().json();
    assert_eq!((&whole["task_id"], &whole["file"]), (&json!(id), &json!("stdout")), "{whole}");
    assert_eq!(whole["text"], "one\ntwo\n");
    let parts = run(&cluster, leader, &["logs", "-f", "--json", &id]).success().stdout;
    let parts = parts.lines().map(|line| serde_json::from_str::<Value>(line).expect("an object"));
    let texts: Vec<String> =
        parts.map(|part| part["text"].as_str().expect("a text").to_owned()).collect();
    assert_eq!(texts.concat(), "one\ntwo\n");
    assert_eq!(running.wait().success().stdout, "one\ntwo\n");
}
