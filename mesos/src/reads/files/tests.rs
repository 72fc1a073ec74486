//! Paths of sandboxes, and what is told of files.

use meshos_protocol::ids::NodeId;
use serde_json::{Value, json};

use super::*;

const PREFIX: &str = "00000000-0000-0000-0000-0000000000ab";

fn cluster() -> ClusterId {
    ClusterId::from_u128(0xab)
}

fn agent() -> AgentId {
    AgentId::new(NodeId::from_bits(9), 2)
}

fn sandbox() -> SandboxPath {
    SandboxPath {
        agent: Some(agent()),
        framework: FrameworkId(7),
        name: TaskId::new("web 1").unwrap(),
        run: Run::Container(ContainerId::new("t3-1").unwrap()),
        within: String::new(),
    }
}

fn status(path: &str) -> u16 {
    SandboxPath::read(cluster(), path).unwrap_err().status
}

#[test]
fn a_path_is_read_back_as_it_was_told() {
    let own = ids::agent(cluster(), agent());
    let file = SandboxPath { within: "tasks/a/stdout".into(), ..sandbox() };
    let text = file.text(cluster());
    assert_eq!(
        text,
        format!(
            "/slaves/{}/frameworks/{PREFIX}-0007/executors/web 1/runs/t3-1/tasks/a/stdout",
            own.value()
        )
    );
    let read = |path: &str| SandboxPath::read(cluster(), path).unwrap();
    assert_eq!(read(&text), file);
    // Where Mesos keeps them, its work directory stands in front.
    assert_eq!(read(&format!("/var/lib/mesos/slave{text}")), file);
    assert_eq!(read(&text.replace("/tasks/", "//./tasks/")), file);
    assert_eq!(read(&format!("{}/", sandbox().text(cluster()))), sandbox());
    let short = SandboxPath { agent: None, run: Run::Latest, ..file };
    let text = short.text(cluster());
    assert!(text.starts_with(&format!("/frameworks/{PREFIX}-0007/")), "{text}");
    assert_eq!(read(&text), short);
    assert_eq!(read(text.trim_start_matches('/')), short);
    let real = SandboxPath::below_root("/F7/web 1/t3-1/tasks/a").unwrap();
    assert_eq!(real, SandboxPath { agent: None, within: "tasks/a".into(), ..sandbox() });
}

#[test]
fn no_path_leads_anywhere_else() {
    let of = sandbox().text(cluster());
    for path in ["/..", "/../../x", "/a/../../../x", "/a/..", "/a\0b"] {
        assert_eq!(status(&format!("{of}{path}")), 400, "{path}");
        assert_eq!(
            SandboxPath::below_root(&format!("F7/t/t3-1{path}")).unwrap_err().status,
            400,
            "{path}"
        );
    }
    for path in [
        "",
        "/",
        "/etc/passwd",
        "/master/log",
        "/slaves",
        &of.replace("/runs/t3-1", ""),
        &of.replace("t3-1", ".."),
        &of.replace("t3-1", "T3"),
        &of.replace("web 1", ".."),
        &of.replace("web 1", "."),
        &of.replace(PREFIX, "00000000-0000-0000-0000-0000000000ac"),
        &of.replace("-0007", "-7"),
        // Without an agent nothing may stand in front.
        &format!("/x/frameworks/{PREFIX}-0007/executors/e/runs/latest"),
    ] {
        assert_eq!(status(path), 404, "{path}");
    }
    for path in ["", "F7", "F7/t", "7/t/t3-1", "F7/t/T", "F7/../t3-1"] {
        assert_eq!(SandboxPath::below_root(path).unwrap_err().status, 404, "{path}");
    }
}

#[test]
fn portions_are_asked_for_as_in_mesos() {
    let read = |offset, length| Portion::read(offset, length);
    let length = READ_BYTES_MAX;
    assert_eq!(read(None, None), Ok(Portion { offset: None, length }));
    assert_eq!(read(Some("-1"), Some("-1")), Ok(Portion { offset: None, length }));
    assert_eq!(read(Some("7"), Some("9")), Ok(Portion { offset: Some(7), length: 9 }));
    assert_eq!(read(Some("0"), Some("99999999")), Ok(Portion { offset: Some(0), length }));
    let refused = read(Some("-2"), None).unwrap_err();
    assert_eq!((refused.status, &*refused.message), (400, "Negative offset provided: -2.\n"));
    let refused = read(Some("x"), None).unwrap_err();
    assert!(refused.message.starts_with("Failed to parse offset: "), "{refused}");
    let refused = read(None, Some("-9")).unwrap_err();
    assert_eq!(refused.message, "Negative length provided: -9.\n");
    let path = || "/s".to_owned();
    let call = |length| schema::CallReadFile { path: Some(path()), offset: Some(3), length };
    let asked = |length| FilesCall::Read { path: path(), offset: 3, length };
    assert_eq!(FilesCall::read(call(None)), asked(length));
    assert_eq!(FilesCall::read(call(Some(9))), asked(9));
    assert_eq!(FilesCall::read(call(Some(u64::MAX))), asked(length));
}

fn shown(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn a_part_of_a_file_is_text_and_divides_no_character() {
    let content = |bytes: &[u8], size| Content { offset: 5, bytes: bytes.to_vec(), size };
    let data = |bytes: &[u8], size| shown(&content(bytes, size).older())["data"].clone();
    assert_eq!(shown(&content(b"log\n", 9).older()), json!({"offset": 5, "data": "log\n"}));
    let text = "aü€🚀";
    for end in 1..=text.len() {
        let whole = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        assert_eq!(data(&text.as_bytes()[..end], 100), text[..whole], "{end}");
    }
    // At the end of the file, or with nothing else, it is told as it is.
    assert_eq!(data(b"a\xc3", 7), "a\u{fffd}");
    assert_eq!(data(b"\xe2\x82", 100), "\u{fffd}");
    assert_eq!(data(b"\xff\x80\x80\x80\x80", 100), "\u{fffd}".repeat(5));
    assert_eq!(data(b"", 5), "");
    assert_eq!(
        shown(&content(b"\xff\0", 9).message()),
        json!({"type": "READ_FILE", "read_file": {"size": 9, "data": "/wA="}})
    );
}

#[test]
fn files_are_told_in_both_shapes() {
    let entries =
        [("logs", 0o040_755, 4_096), ("stdout", 0o100_644, 12)].map(|(name, mode, size)| {
            FileEntry {
                name: name.into(),
                links: 2,
                size,
                modified_ns: 1_700_000_000_500_000_000,
                mode,
                user: "root".into(),
                group: "wheel".into(),
            }
        });
    assert_eq!(
        shown(&browse("/s/", &entries)),
        json!([
            {"path": "/s/logs", "nlink": 2, "size": 4_096, "mtime": 1_700_000_000,
                "mode": "drwxr-xr-x", "uid": "root", "gid": "wheel"},
            {"path": "/s/stdout", "nlink": 2, "size": 12, "mtime": 1_700_000_000,
                "mode": "-rw-r--r--", "uid": "root", "gid": "wheel"},
        ])
    );
    assert_eq!(shown(&browse("/s", &[])), json!([]));
    let listed = shown(&list("/s", &entries));
    assert_eq!(listed["type"], "LIST_FILES");
    assert_eq!(
        listed["list_files"]["file_infos"][1],
        json!({"path": "/s/stdout", "nlink": 2, "size": 12,
            "mtime": {"nanoseconds": 1_700_000_000_500_000_000_i64}, "mode": 0o100_644,
            "uid": "root", "gid": "wheel"})
    );
    for (mode, text) in [
        (0o120_777, "lrwxrwxrwx"),
        (0o010_600, "prw-------"),
        (0o104_755, "-rwsr-xr-x"),
        (0o104_644, "-rwSr--r--"),
        (0o102_750, "-rwxr-s---"),
        (0o041_777, "drwxrwxrwt"),
        (0o041_776, "drwxrwxrwT"),
        (0o140_000, "s---------"),
    ] {
        assert_eq!(mode_text(mode), text, "{mode:o}");
    }
}

#[test]
fn a_file_is_handed_out_under_its_name_and_never_as_a_page() {
    let of = |path: &str| Attachment::of(path);
    assert_eq!(
        of("/s/stdout"),
        Attachment {
            content_type: "application/octet-stream",
            disposition: "attachment; filename=stdout".into()
        }
    );
    assert_eq!(of("/s/a.b/out.LOG").content_type, "text/plain");
    assert_eq!(of("/s/a.html/x").content_type, "application/octet-stream");
    assert_eq!(of("index.html").disposition, "attachment; filename=index.html");
    assert_eq!(of("/a b\"c\\").disposition, r#"attachment; filename="a b\"c\\""#);
    assert_eq!(
        of("/ü\r\nx: y").disposition,
        "attachment; filename=\"___x: y\"; filename*=UTF-8''%C3%BC%0D%0Ax%3A%20y"
    );
    assert_eq!(of("/").disposition, "attachment; filename=file");
}

#[test]
fn paths_have_a_length_and_count_for_each_entry() {
    let path = format!("/slaves{}", "/.".repeat(PATH_BYTES_MAX / 2));
    for refused in [
        SandboxPath::read(cluster(), &path).unwrap_err(),
        SandboxPath::below_root(&path).unwrap_err(),
    ] {
        assert_eq!(refused.status, 400);
        assert!(
            refused.message.starts_with("Failed to parse path: it has 4103 bytes"),
            "{refused}"
        );
    }
    check_length(&"x".repeat(PATH_BYTES_MAX)).unwrap();
    let entry = FileEntry {
        name: "stdout".to_owned(),
        links: 1,
        size: 0,
        modified_ns: 0,
        mode: 0o100_644,
        user: "root".to_owned(),
        group: "root".to_owned(),
    };
    assert_eq!(texts_bytes(&"x".repeat(100), &vec![entry; 3]), 3 * 114);
}
