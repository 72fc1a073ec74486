//! The files of the workspace, read once.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::finding::Finding;
use super::rust::Rust;

/// Folders that hold nothing of ours. Folders whose name starts with a dot are passed over too, but for these two.
const SKIPPED_FOLDERS: &[&str] = &["target", "node_modules"];
const DOT_FOLDERS: &[&str] = &[".cargo", ".ci"];
/// More files than this means that something other than the workspace is being read.
const FILES_MAX: usize = 20_000;
/// Larger files are data, to which no rule applies.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// One text file.
#[derive(Debug)]
pub(super) struct Source {
    /// Path from the workspace's folder, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    pub(super) fn extension(&self) -> &str {
        Path::new(&self.path).extension().and_then(|extension| extension.to_str()).unwrap_or("")
    }

    pub(super) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Generated files say so in their first lines.
    pub(super) fn is_generated(&self) -> bool {
        self.text.lines().take(3).any(|line| line.contains("@generated"))
    }

    /// Whether the whole file is test code: the end-to-end crate, the simulation, a crate's `tests/` folder, and
    /// `tests.rs` files with what lies in a folder `tests` beside them.
    pub(super) fn is_test_code(&self) -> bool {
        self.file_name() == "tests.rs"
            || self.path.split('/').rev().skip(1).any(|folder| folder == "tests")
    }

    /// The file taken apart, or the finding that it is no Rust.
    pub(super) fn rust(&self) -> Result<Rust, Box<Finding>> {
        Rust::parse(&self.text, self.is_test_code()).map_err(|(line, what)| {
            Box::new(Finding::new(
                &self.path,
                line,
                "syntax",
                format!("this is not Rust: {what}"),
                "mend the syntax",
            ))
        })
    }
}

/// Reads every file that could be of interest: Rust, TOML, Markdown, JSON and shell.
pub(super) fn read_tree(root: &Path) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry
                .file_type()
                .with_context(|| format!("cannot look at {}", entry.path().display()))?;
            if kind.is_dir() && is_ours(&name) {
                open.push(entry.path());
            } else if kind.is_file() {
                sources.extend(read_file(root, entry.path())?);
            }
        }
        if sources.len() > FILES_MAX {
            bail!(
                "more than {FILES_MAX} files under {}: is this the workspace's folder?",
                root.display()
            );
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn is_ours(folder: &str) -> bool {
    !SKIPPED_FOLDERS.contains(&folder)
        && (!folder.starts_with('.') || DOT_FOLDERS.contains(&folder))
}

fn read_file(root: &Path, path: PathBuf) -> anyhow::Result<Option<Source>> {
    let wanted = path.extension().is_some_and(|extension| {
        ["rs", "toml", "md", "json", "sh"].iter().any(|e| extension == *e)
    });
    let size = || path.metadata().map(|metadata| metadata.len());
    if !wanted
        || size().with_context(|| format!("cannot look at {}", path.display()))? > FILE_BYTES_MAX
    {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {} as text", path.display()))?;
    let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
    Ok(Some(Source { path: relative, text }))
}

#[cfg(test)]
impl Source {
    /// A file that exists only in a test.
    pub(super) fn fixture(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_tells_test_code() {
        let is_test = |path| Source::fixture(path, "").is_test_code();
        assert!(is_test("tests/src/cluster.rs"));
        assert!(is_test("sdk/tests/driver.rs"));
        assert!(is_test("control/src/master/tests.rs"));
        assert!(is_test("control/src/master/tests/offers.rs"));
        assert!(!is_test("control/src/master/offers.rs"));
        assert!(!is_test("xtask/src/test_run.rs"));
    }

    #[test]
    fn the_tree_is_read_without_build_output_and_hidden_folders() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a/src/lib.rs", "target/debug/x.rs", ".git/x.md", ".ci/x.sh", "a/picture.png"]
        {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let sources = read_tree(folder.path()).unwrap();
        assert_eq!(
            sources.iter().map(|source| source.path.as_str()).collect::<Vec<_>>(),
            [".ci/x.sh", "a/src/lib.rs"]
        );
    }
}
