//! Reading what a URI names.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use reqwest::redirect::Policy;

/// How many redirects are followed.
const REDIRECTS_MAX: usize = 10;
/// How long a server may take to accept a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How much of a file is copied at a time.
const COPY_BYTES: usize = 128 * 1024;

/// What a URI names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    File(PathBuf),
    Http(Box<Url>),
}

impl Source {
    /// Takes a URI apart, or says why it cannot be fetched.
    pub(super) fn parse(value: &str) -> Result<Self, String> {
        if value.starts_with('/') {
            return Ok(Self::File(PathBuf::from(value)));
        }
        let Some((scheme, rest)) = value.split_once("://") else {
            return Err(
                "it is neither an absolute path nor a URI such as http://host/path".to_owned()
            );
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => match rest.strip_prefix("localhost").unwrap_or(rest) {
                path if path.starts_with('/') => Ok(Self::File(PathBuf::from(path))),
                _ => Err("a file:// URI must name an absolute path on this machine".to_owned()),
            },
            "http" => {
                let url = Url::parse(value).map_err(|error| format!("it is not a URI: {error}"))?;
                Ok(Self::Http(Box::new(url)))
            }
            other => Err(format!(
                "{other}:// is not supported; a URI may be an absolute path, file:// or http://"
            )),
        }
    }

    /// The last part of the path: the name that the file gets unless another is asked for.
    pub(super) fn file_name(&self) -> Result<String, String> {
        let name = match self {
            Self::File(path) => path.file_name().and_then(|name| name.to_str()).unwrap_or_default(),
            Self::Http(url) => {
                url.path_segments().and_then(|mut all| all.next_back()).unwrap_or_default()
            }
        };
        if name.is_empty() {
            return Err("it does not end in a file name; name one with output_file".to_owned());
        }
        Ok(name.to_owned())
    }

    /// Copies what it names to `file`, up to `bytes_max`.
    pub(super) fn copy_to(
        &self,
        file: &mut File,
        bytes_max: u64,
        stall_max: Duration,
    ) -> Result<(), String> {
        match self {
            Self::File(path) => copy_file(path, file, bytes_max),
            Self::Http(url) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
                runtime.block_on(download(url.as_ref().clone(), file, bytes_max, stall_max))
            }
        }
    }
}

fn too_long(bytes_max: u64) -> String {
    format!("it is longer than the limit of {bytes_max} bytes")
}

fn copy_file(path: &Path, file: &mut File, bytes_max: u64) -> Result<(), String> {
    // Not blocking: a pipe without a writer would be waited for.
    let source = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let source = source.map_err(|error| format!("could not open {path:?}: {error}"))?;
    let metadata = source.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err(format!("{path:?} is not a regular file"));
    }
    let mut source = source.take(bytes_max.saturating_add(1));
    let mut chunk = vec![0; COPY_BYTES];
    let mut copied = 0u64;
    loop {
        let length = source.read(&mut chunk).map_err(|error| format!("read: {error}"))?;
        if length == 0 {
            return Ok(());
        }
        copied += length as u64;
        if copied > bytes_max {
            return Err(too_long(bytes_max));
        }
        file.write_all(&chunk[..length]).map_err(|error| format!("write: {error}"))?;
    }
}

async fn download(
    url: Url,
    file: &mut File,
    bytes_max: u64,
    stall_max: Duration,
) -> Result<(), String> {
    let client = reqwest::Client::builder()
        .redirect(Policy::limited(REDIRECTS_MAX))
        .connect_timeout(CONNECT_TIME_MAX)
        .read_timeout(stall_max)
        .user_agent(concat!("meshos/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .build()
        .map_err(|error| whole_reason(&error))?;
    let response = client.get(url).send().await.map_err(|error| whole_reason(&error))?;
    if !response.status().is_success() {
        return Err(format!("the server answered {}", response.status()));
    }
    if response.content_length().is_some_and(|length| length > bytes_max) {
        return Err(too_long(bytes_max));
    }
    let mut response = response;
    let mut copied = 0u64;
    while let Some(chunk) = response.chunk().await.map_err(|error| whole_reason(&error))? {
        copied += chunk.len() as u64;
        if copied > bytes_max {
            return Err(too_long(bytes_max));
        }
        file.write_all(&chunk).map_err(|error| format!("write: {error}"))?;
    }
    Ok(())
}

/// The error with all its causes: reqwest's own text stops at "error sending request".
fn whole_reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_taken_apart() {
        let file = |path: &str| Ok(Source::File(PathBuf::from(path)));
        assert_eq!(Source::parse("/a/b"), file("/a/b"));
        assert_eq!(Source::parse("file:///a/b"), file("/a/b"));
        assert_eq!(Source::parse("FILE://localhost/a/b"), file("/a/b"));
        let http = Source::parse("http://h:1/d/app.tgz?x=/y#z").unwrap();
        assert_eq!(http.file_name().unwrap(), "app.tgz");
        assert!(Source::parse("http://h/").unwrap().file_name().is_err());
        for bad in ["relative/path", "file://other/a", "https://h/a", "hdfs://h/a", ""] {
            assert!(Source::parse(bad).is_err(), "{bad}");
        }
    }
}
