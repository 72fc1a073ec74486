//! Requests for files, and what is answered for a sandbox of this node.

use std::{os::unix::fs::symlink, path::PathBuf, time::Duration};

use meshos_isolation::garbage::Rule;
use meshos_protocol::ids::{AgentId, ContainerId, FrameworkId, TaskId};
use serde_json::Value;

use super::*;

const CLUSTER: ClusterId = ClusterId::from_u128(0xab);

fn asked(path: &str) -> FilesRequest {
    match Route::of("GET", path) {
        Ok(Route::Files(request)) => request,
        other => panic!("{path} is {other:?}"),
    }
}

fn path_of(run: Run, within: &str) -> SandboxPath {
    SandboxPath {
        agent: Some(AgentId::new(NodeId::from_bits(7), 1)),
        framework: FrameworkId(4),
        name: TaskId::new("task").unwrap(),
        run,
        within: within.to_owned(),
    }
}

#[test]
fn what_is_asked_for_is_read_back_where_it_is_passed_on_to() {
    let path = "/s/a b&c%".to_owned();
    let list = FilesCall::List { path: path.clone() };
    let request = asked(&Api::files_path(false, &list, Media::Protobuf));
    assert_eq!(
        request,
        FilesRequest { of: Of::List(Media::Protobuf), path: path.clone(), here: false }
    );
    let read = FilesCall::Read { path: path.clone(), offset: 7, length: 9 };
    let portion = Portion { offset: Some(7), length: 9 };
    let request = asked(&Api::files_path(true, &read, Media::Json));
    assert_eq!(
        request,
        FilesRequest { of: Of::Slice(portion, Media::Json), path: path.clone(), here: true }
    );
    let request = asked(&Api::file_piece_path(false, &path, 7, 9));
    assert_eq!(request, FilesRequest { of: Of::Bytes(portion), path, here: false });
    let request = asked(&Api::file_facts_path(true, "path=%2Fs&jsonp=f"));
    assert_eq!(request, FilesRequest { of: Of::Stat, path: "/s".into(), here: true });
    let most = asked("/mesos/files/bytes?path=/s&length=99999999");
    assert_eq!(most.of, Of::Bytes(Portion { offset: None, length: PIECE_BYTES }));
    let status = |path: &str| Answer::from(Route::of("GET", path).unwrap_err()).status;
    for (path, code) in [
        ("/mesos/files/browse", 400),
        ("/mesos/files/browse?path=", 400),
        ("/mesos/files/read?path=/s&offset=-2", 400),
        ("/mesos/files/read?path=/s&offset=x", 400),
        ("/mesos/files/bytes?path=/s&offset=-1", 400),
        ("/mesos/files/delete?path=/s", 404),
        ("/mesos/files/a/b?path=/s", 404),
    ] {
        assert_eq!(status(path), code, "{path}");
    }
    assert!(Route::of("POST", "/mesos/files/read?path=/s").is_err());
}

/// A node with one sandbox that has run twice.
struct Disk {
    root: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for container in ["t1-1", "t1-2"] {
            let sandbox = root.path().join("F4/task").join(container);
            std::fs::create_dir_all(sandbox.join("logs")).unwrap();
            std::fs::write(sandbox.join("stdout"), format!("{container}: ü")).unwrap();
        }
        Self { root }
    }

    fn sandbox(&self) -> PathBuf {
        self.root.path().join("F4/task/t1-1")
    }

    fn tell(&self, of: Of, path: SandboxPath) -> Answer {
        let rule = Rule { delay: Duration::from_secs(60), headroom: 0 };
        let sandboxes = Sandboxes::new(self.root.path().to_owned(), rule);
        let request = FilesRequest { of, path: path.text(CLUSTER), here: true };
        let place = Place { sandboxes, cluster: CLUSTER, path };
        place.tell(&request).unwrap_or_else(Answer::from)
    }

    fn first(&self, of: Of, within: &str) -> Answer {
        let run = Run::Container(ContainerId::new("t1-1").unwrap());
        self.tell(of, path_of(run, within))
    }
}

fn json_of(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.message());
    serde_json::from_slice(&answer.body).unwrap()
}

const ALL: Portion = Portion { offset: Some(0), length: files::READ_BYTES_MAX };

#[test]
fn a_sandbox_is_browsed_and_read() {
    let disk = Disk::new();
    let rows = json_of(&disk.first(Of::Browse, ""));
    let names: Vec<&str> =
        rows.as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap()).collect();
    assert!(names[0].ends_with("/runs/t1-1/logs") && names[1].ends_with("/runs/t1-1/stdout"));
    assert_eq!(rows[1]["size"], 8);
    assert_eq!(json_of(&disk.first(Of::Browse, "stdout")), json!([]));
    let listed = json_of(&disk.first(Of::List(Media::Json), "logs"));
    assert_eq!(listed, json!({"type": "LIST_FILES", "list_files": {"file_infos": []}}));
    let read =
        |offset, length| json_of(&disk.first(Of::Read(Portion { offset, length }), "stdout"));
    assert_eq!(read(Some(0), 100), json!({"offset": 0, "data": "t1-1: ü"}));
    assert_eq!(read(Some(2), 3), json!({"offset": 2, "data": "-1:"}));
    assert_eq!(read(Some(5), 2), json!({"offset": 5, "data": " "}), "half a character");
    // How long it is, and what is beyond its end.
    assert_eq!(read(None, 100), json!({"offset": 8, "data": ""}));
    assert_eq!(read(Some(u64::MAX), 100), json!({"offset": 8, "data": ""}));
    let slice = json_of(&disk.first(Of::Slice(ALL, Media::Json), "stdout"));
    assert_eq!(slice["read_file"], json!({"size": 8, "data": "dDEtMTogw7w="}));
    let bytes = disk.first(Of::Bytes(Portion { offset: Some(6), length: 9 }), "stdout");
    assert_eq!((bytes.status, bytes.body.as_slice()), (200, "ü".as_bytes()));
}

#[test]
fn latest_is_the_newest_container_and_a_file_is_handed_out_of_one() {
    let disk = Disk::new();
    let facts = json_of(&disk.tell(Of::Stat, path_of(Run::Latest, "stdout")));
    let facts: FileFacts = serde_json::from_value(facts).unwrap();
    assert_eq!(facts.size, 8);
    let named = SandboxPath::read(CLUSTER, &facts.path).unwrap();
    let Run::Container(container) = &named.run else { panic!("{facts:?}") };
    assert_eq!(named.within, "stdout");
    let read = json_of(&disk.tell(Of::Read(ALL), path_of(Run::Latest, "stdout")));
    assert_eq!(read["data"], format!("{container}: ü"));
}

#[test]
fn what_cannot_be_told_is_refused_in_mesoss_way() {
    let disk = Disk::new();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "x").unwrap();
    symlink(outside.path(), disk.sandbox().join("out")).unwrap();
    symlink(outside.path().join("secret"), disk.sandbox().join("stolen")).unwrap();
    nix::unistd::mkfifo(&disk.sandbox().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let bytes = || Of::Bytes(ALL);
    for (of, within, status, says) in [
        (Of::Read(ALL), "logs", 400, READS_DIRECTORY),
        (Of::Slice(ALL, Media::Json), "", 400, READS_DIRECTORY),
        (Of::Stat, "logs", 400, DOWNLOADS_DIRECTORY),
        (Of::Read(ALL), "none", 404, "there is no file"),
        (Of::Browse, "none", 404, "there is no file"),
        (Of::Browse, "stdout/x", 404, "there is no file"),
        (Of::Browse, "out", 400, "is inaccessible"),
        (Of::Read(ALL), "out/secret", 400, "is inaccessible"),
        (Of::Stat, "stolen", 400, "is inaccessible"),
        (bytes(), "stolen", 400, "is inaccessible"),
        // The reader of paths lets none of these through; nor does what opens them.
        (bytes(), "../t1-2/stdout", 400, "cannot be told"),
        (Of::Browse, "..", 400, "cannot be told"),
        (Of::Read(ALL), "pipe", 400, "cannot be told"),
    ] {
        let answer = disk.first(of.clone(), within);
        assert_eq!(answer.status, status, "{of:?} {within}: {}", answer.message());
        assert!(answer.message().contains(says), "{of:?} {within}: {}", answer.message());
    }
    let gone = Run::Container(ContainerId::new("t9-9").unwrap());
    let answer = disk.tell(Of::Browse, path_of(gone, ""));
    assert_eq!(answer.status, 404);
    assert!(answer.message().contains("--gc-delay"), "{}", answer.message());
}
