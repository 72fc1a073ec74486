//! URIs into sandboxes: from files and from a real server on loopback.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure is a failed test")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use common::{Node, Place, demand_root, id};
use meshos_isolation::{Containerizer, ExitStatus, IsolatorName, LaunchError, Uri};

/// A server that gives `answer(path)` and closes.
fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // One that hangs up is a part of some tests.
            respond(stream, &answer).ok();
        }
    });
    address
}

fn respond(mut stream: TcpStream, answer: &impl Fn(&str) -> Vec<u8>) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.extend_from_slice(&byte);
    }
    let line = String::from_utf8_lossy(&request).into_owned();
    let path = line.split(' ').nth(1).unwrap_or_default();
    stream.write_all(&answer(path))
}

fn ok(body: &[u8]) -> Vec<u8> {
    let mut response =
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())
            .into_bytes();
    response.extend_from_slice(body);
    response
}

fn tgz(name: &str, data: &[u8]) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(gz);
    let mut header = tar::Header::new_gnu();
    header.set_size(data.len() as u64);
    header.set_mode(0o4755);
    header.set_cksum();
    builder.append_data(&mut header, name, data).unwrap();
    builder.into_inner().unwrap().finish().unwrap()
}

/// Launches a container with one URI that cannot be fetched, and gives the reason.
async fn refused(node: &Node, uri: Uri) -> String {
    let mut spec = node.shell("refused", "true");
    let value = uri.value.clone();
    spec.uris = vec![uri];
    match node.containerizer.launch(spec).await.unwrap_err() {
        LaunchError::Fetch { uri, reason } if uri == value => reason,
        other => panic!("{value}: {other}"),
    }
}

#[tokio::test]
async fn files_are_fetched_before_the_command_runs() {
    let mut node = Node::posix().await;
    let script = node.place.path().join("script.sh");
    fs::write(&script, "#!/bin/sh\ncat deep/data\nexit 4\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o6644)).unwrap();
    let data = node.place.path().join("datum");
    fs::write(&data, "content").unwrap();
    let mut spec = node.shell("c1", "./script.sh");
    let executable = Uri { executable: true, ..Uri::new(format!("file://{}", script.display())) };
    let output_file = Some("deep/data".to_owned());
    let renamed = Uri { output_file, ..Uri::new(data.display().to_string()) };
    spec.uris = vec![executable, renamed];
    node.containerizer.launch(spec).await.unwrap();
    assert_eq!(node.exited("c1").await.0, ExitStatus::Code(4));
    assert_eq!(node.output("c1", "stdout"), "content");
    let mode =
        |file: &str| fs::metadata(node.place.sandbox("c1").join(file)).unwrap().mode() & 0o7777;
    assert_eq!((mode("script.sh"), mode("deep/data")), (0o755, 0o644));
    node.stop().await;
}

#[tokio::test]
async fn http_is_streamed_through_redirects_and_archives_are_unpacked() {
    let mut node = Node::posix().await;
    let archive = tgz("bin/tool", b"#!/bin/sh\nexit 6\n");
    let address = serve(move |path| {
        match path {
        "/moved" => b"HTTP/1.1 302 Found\r\nLocation: /app.tgz\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        "/app.tgz" => ok(&archive),
        _ => ok(&vec![b'x'; 3_000_000]),
    }
    });
    let mut spec = node.shell("c1", "wc -c < big; exec bin/tool");
    let output_file = Some("app.tgz".to_owned());
    let moved = Uri { extract: true, output_file, ..Uri::new(format!("http://{address}/moved")) };
    spec.uris = vec![moved, Uri::new(format!("http://{address}/big?x=1"))];
    node.containerizer.launch(spec).await.unwrap();
    assert_eq!(node.exited("c1").await.0, ExitStatus::Code(6));
    assert_eq!(node.output("c1", "stdout"), "3000000\n");
    let mode = fs::metadata(node.place.sandbox("c1").join("bin/tool")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o755, "the setuid bit is gone");
    node.stop().await;
}

#[tokio::test]
async fn what_cannot_be_fetched_is_named_and_nothing_is_started() {
    let mut place = Place::new(&IsolatorName::POSIX);
    place.options.fetch.bytes_max = 1000;
    place.options.fetch.stall_max = Duration::from_millis(200);
    let mut node = place.start().await;
    let pipe = node.place.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = serve(|path| {
        match path {
        "/endless" => [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 5000]].concat(),
        "/big" => ok(&[b'x'; 2000]),
        "/loop" => b"HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
        "/short" => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec(),
        "/out.tgz" => ok(b"no archive"),
        _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec(),
    }
    });
    let http = |path: &str| Uri::new(format!("http://{address}{path}"));
    let file = |path: &std::path::Path| Uri::new(path.display().to_string());
    let to =
        |output: &str| Uri { output_file: Some(output.to_owned()), ..Uri::new("/etc/hostname") };
    for (uri, reason) in [
        (http("/missing"), "404 Not Found"),
        (http("/big"), "longer than the limit of 1000"),
        (http("/endless"), "longer than the limit of 1000"),
        (http("/loop"), "redirect"),
        (http("/short"), ""),
        (Uri { extract: true, ..http("/out.tgz") }, "could not extract"),
        (Uri { extract: true, ..http("/app.zip") }, "cannot be extracted"),
        (Uri::new(format!("http://{closed}/x")), "refused"),
        (Uri::new(format!("http://{}/x", silent.local_addr().unwrap())), ""),
        (Uri::new("https://localhost/x"), "not supported"),
        (Uri::new("relative"), "neither an absolute path"),
        (Uri::new("/no/such/file"), "No such file"),
        (file(node.place.path()), "not a regular file"),
        (file(&pipe), "not a regular file"),
        (to("../escaped"), ".."),
        (to("/tmp/escaped"), ".."),
        (to("stdout"), "output"),
    ] {
        let found = refused(&node, uri.clone()).await;
        assert!(found.contains(reason), "{}: {found}", uri.value);
        fs::remove_dir_all(node.place.sandbox("refused")).unwrap();
    }
    assert!(!node.place.data_dir.join("sandboxes/escaped").exists());
    assert_eq!(node.containerizer.recover().await.unwrap(), []);
    node.launch_shell("refused", "exit 1").await;
    assert_eq!(node.exited("refused").await.0, ExitStatus::Code(1), "the name is free");
    node.containerizer.release(&id("refused")).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn a_container_that_is_being_fetched_for_can_be_destroyed() {
    let mut node = Node::posix().await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut spec = node.shell("c1", "true");
    spec.uris = vec![Uri::new(format!("http://{}/x", silent.local_addr().unwrap()))];
    let container = id("c1");
    let destroy = async {
        // The fetch is under way once it has connected.
        tokio::task::spawn_blocking(move || silent.accept().unwrap()).await.unwrap();
        node.containerizer.destroy(&container).await.unwrap();
    };
    let (launched, ()) = tokio::join!(node.containerizer.launch(spec), destroy);
    assert!(matches!(launched, Err(LaunchError::Destroyed)), "{launched:?}");
    assert_eq!(node.containerizer.recover().await.unwrap(), []);
    node.launch_shell("c1", "exit 1").await;
    assert_eq!(node.exited("c1").await.0, ExitStatus::Code(1), "the name is free");
    node.stop().await;
}

#[tokio::test]
async fn root_files_are_fetched_with_the_rights_of_the_tasks_user() {
    demand_root();
    let mut node = Node::posix().await;
    let secret = node.place.path().join("secret");
    fs::write(&secret, "x").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let public = node.place.path().join("public");
    fs::write(&public, "public").unwrap();
    let launch = |name: &str, path: &std::path::Path| {
        let mut spec = node.shell(name, "id -un; cat public; stat -c %U public");
        spec.user = Some("nobody".to_owned());
        spec.allow_root = false;
        spec.uris = vec![Uri::new(path.display().to_string())];
        spec
    };
    let error = node.containerizer.launch(launch("c1", &secret)).await.unwrap_err();
    assert!(error.to_string().contains("Permission denied"), "{error}");
    node.containerizer.launch(launch("c2", &public)).await.unwrap();
    assert_eq!(node.exited("c2").await.0, ExitStatus::Code(0));
    assert_eq!(node.output("c2", "stdout"), "nobody\npublicnobody\n");
    node.stop().await;
}
