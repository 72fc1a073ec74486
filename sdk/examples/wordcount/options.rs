//! The command line.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use meshos_sdk::Credentials;

use crate::Failure;

pub(crate) const USAGE: &str = "\
usage: wordcount --node HOST:PORT... --credentials FILE --input DIR --work DIR
                 [--locality ATTRIBUTE] [--delay-ms N] [--user NAME]

Counts the words of the texts in --input by map tasks on the cluster's nodes and a reduce task, and
leaves the result in --work; both directories must be on a file system that all nodes share.

  --node HOST:PORT       QUIC address of a node (its agent port); several are tried in turn
  --credentials FILE     made by `meshos keygen framework NAME`
  --locality ATTRIBUTE   read the texts in DIR/VALUE/ on agents whose ATTRIBUTE is VALUE
  --delay-ms N           how long a text waits for such an agent [default: 3000]
  --user NAME            whom the tasks run as [default: the agents' default]";

/// What the framework is told.
pub(crate) struct Options {
    /// QUIC addresses of nodes.
    pub(crate) nodes: Vec<String>,
    credentials: PathBuf,
    input: PathBuf,
    work: PathBuf,
    /// Texts in a directory `DIR/VALUE/` are best read on agents whose attribute has that value.
    pub(crate) locality: Option<String>,
    /// How long a map task waits for such an agent.
    pub(crate) delay: Duration,
    /// Whom the tasks run as; empty: the agents' default.
    pub(crate) user: String,
}

/// One text, and where it is best read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) path: PathBuf,
    pub(crate) place: Option<String>,
}

pub(crate) fn parse(arguments: &[String]) -> Result<Options, Failure> {
    let mut options = Options {
        nodes: Vec::new(),
        credentials: PathBuf::new(),
        input: PathBuf::new(),
        work: PathBuf::new(),
        locality: None,
        delay: Duration::from_secs(3),
        user: String::new(),
    };
    let mut rest = arguments.iter();
    while let Some(name) = rest.next() {
        let value = rest.next().ok_or_else(|| format!("{name} needs a value\n{USAGE}"))?;
        match name.as_str() {
            "--node" => options.nodes.push(value.clone()),
            "--credentials" => options.credentials = value.into(),
            // Tasks run in directories of their own.
            "--input" => options.input = std::path::absolute(value)?,
            "--work" => options.work = std::path::absolute(value)?,
            "--locality" => options.locality = Some(value.clone()),
            "--delay-ms" => options.delay = Duration::from_millis(value.parse()?),
            "--user" => options.user.clone_from(value),
            unknown => return Err(format!("unknown option {unknown}\n{USAGE}").into()),
        }
    }
    let missing = options.nodes.is_empty()
        || [&options.credentials, &options.input, &options.work]
            .iter()
            .any(|path| path.as_os_str().is_empty());
    if missing { Err(USAGE.into()) } else { Ok(options) }
}

impl Options {
    pub(crate) fn load_credentials(&self) -> Result<Credentials, Failure> {
        Ok(Credentials::load(&self.credentials)?)
    }

    /// Where a map task leaves its counts.
    pub(crate) fn part(&self, text: usize) -> PathBuf {
        self.work.join(format!("part-{text}"))
    }

    /// Where the reduce task leaves the sum.
    pub(crate) fn result(&self) -> PathBuf {
        self.work.join("result")
    }

    /// All texts, in order of their paths: files of the input directory and, one level down, of
    /// its directories.
    pub(crate) fn texts(&self) -> Result<Vec<Text>, Failure> {
        let mut texts = Vec::new();
        for path in sorted_entries(&self.input)? {
            if path.is_dir() {
                let place = path.file_name().map(|name| name.to_string_lossy().into_owned());
                let files = sorted_entries(&path)?.into_iter().filter(|file| file.is_file());
                texts.extend(files.map(|path| Text { path, place: place.clone() }));
            } else {
                texts.push(Text { path, place: None });
            }
        }
        if texts.is_empty() {
            return Err(format!("there are no texts in {}", self.input.display()).into());
        }
        Ok(texts)
    }
}

fn sorted_entries(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error| format!("cannot read {}: {error}", directory.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        entries.push(entry?.path().canonicalize()?);
    }
    entries.sort();
    Ok(entries)
}
