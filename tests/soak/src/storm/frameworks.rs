//! The processes of the frameworks.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use meshos_tests::{Cluster, Command, Journal, Logged, framework_credentials_pem};

use crate::{
    book::Book,
    framework::{credentials_file, stop_file},
};

/// One framework, whose process comes and goes.
pub(super) struct FrameworkProcess {
    dir: PathBuf,
    journal: PathBuf,
    home: PathBuf,
    name: String,
    nodes: Vec<String>,
    process: Option<Logged>,
}

impl FrameworkProcess {
    /// Makes its directory and its credentials.
    pub(super) fn prepare(cluster: &Cluster, journal: &Journal, number: usize) -> Result<Self> {
        let name = format!("f{number}");
        let dir = cluster.path().join(&name);
        fs::create_dir_all(&dir)?;
        let pem = framework_credentials_pem(&cluster.nodes[0], &name);
        let file = credentials_file(&dir);
        fs::write(&file, pem)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        // Each begins with another node, and knows all.
        let mut nodes: Vec<String> =
            cluster.nodes.iter().map(|node| node.quic().to_string()).collect();
        let count = nodes.len();
        nodes.rotate_left(number % count);
        let home = cluster.nodes[0].home().to_owned();
        let journal = journal.path().to_owned();
        Ok(Self { dir, journal, home, name, nodes, process: None })
    }

    pub(super) fn start(&mut self, seed: u64) {
        let program = std::env::current_exe().expect("a process knows its own file");
        let mut arguments = vec!["framework".to_owned()];
        let mut flag = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        flag("--dir", self.dir.display().to_string());
        flag("--journal", self.journal.display().to_string());
        flag("--name", self.name.clone());
        flag("--seed", seed.to_string());
        self.nodes.iter().for_each(|node| flag("--node", node.clone()));
        let command = Command::of_program(&program, &self.home, &[], arguments);
        self.process = Some(command.start_with_log(&self.dir.join("log")));
    }

    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Logged::is_running)
    }

    /// From now on it launches nothing more.
    pub(super) fn tell_to_stop(&self) -> Result<()> {
        Ok(fs::write(stop_file(&self.dir), "")?)
    }

    pub(super) fn demand_success(&mut self) -> Result<()> {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        match self.process.as_mut().and_then(Logged::exit_code) {
            Some(0) => Ok(()),
            code => bail!("framework {} ended with {code:?}: {log}", self.name),
        }
    }

    pub(super) fn book(&self) -> Result<Book> {
        Book::open(&self.dir).with_context(|| format!("the book of framework {}", self.name))
    }

    /// The tasks that are not over, for people.
    pub(super) fn open_tasks(&self) -> Vec<String> {
        let Ok(book) = self.book() else { return Vec::new() };
        book.open_tasks().map(|(id, life)| format!("{id}: {life:?}")).collect()
    }
}
