//! What tasks say of themselves, and the gate that holds them.

use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use nix::sys::stat::Mode;
use tempfile::TempDir;

/// One start of a task, as its own process wrote it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birth {
    /// The process.
    pub pid: u32,
    /// When it was started, in clock ticks since the machine's start: with the pid it names one process.
    pub start_time: u64,
}

impl Birth {
    /// Whether just this process still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        start_time_of(self.pid) == Some(self.start_time)
    }
}

/// A directory that tasks append to, and a gate that they wait at without using the processor.
#[derive(Debug)]
pub struct Journal {
    directory: TempDir,
    gates: Vec<File>,
}

impl Journal {
    /// A journal with nothing in it.
    ///
    /// # Panics
    /// When no directory can be made.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let everybody = Permissions::from_mode(0o777);
        fs::set_permissions(directory.path(), everybody).expect("it belongs to us");
        Self { directory, gates: Vec::new() }
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The line of shell that makes a task write down its start. A short append is one write, so lines never mix.
    #[must_use]
    pub fn birth_line(&self, id: &str) -> String {
        Self::birth_line_in(self.path(), id)
    }

    /// The same with a journal that another process has made.
    #[must_use]
    pub fn birth_line_in(directory: &Path, id: &str) -> String {
        let file = births_file(directory);
        format!(
            "read -r stat < /proc/$$/stat; set -- $stat; echo \"{id} $$ ${{22}}\" >> {}",
            file.display()
        )
    }

    /// Writes down that something begins in this process, in a journal that another one has made.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_birth(directory: &Path, id: &str) {
        let pid = std::process::id();
        let start_time = start_time_of(pid).expect("a process that runs has a start time");
        let file = File::options().create(true).append(true).open(births_file(directory));
        let line = format!("{id} {pid} {start_time}\n");
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the journal is there");
    }

    /// A task's line: writes down its start, waits for the gate and exits with `code`.
    ///
    /// # Panics
    /// When the gate cannot be made.
    #[must_use]
    pub fn gated_line(&self, id: &str, gate: &str, code: u8) -> String {
        let gate = self.gate_file(gate);
        // Opening a pipe for reading waits until somebody opens it for writing.
        format!("{}; : < {}; exit {code}", self.birth_line(id), gate.display())
    }

    fn gate_file(&self, gate: &str) -> PathBuf {
        let path = self.path().join(gate);
        if !path.exists() {
            let everybody = Mode::from_bits_truncate(0o666);
            nix::unistd::mkfifo(&path, everybody).expect("a pipe can be made");
            fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("it belongs to us");
        }
        path
    }

    /// Lets tasks pass, those that come later too.
    ///
    /// # Panics
    /// When the gate cannot be opened.
    pub fn open_gate(&mut self, gate: &str) {
        // For reading and writing, which never waits.
        let file = File::options().read(true).write(true).open(self.gate_file(gate));
        self.gates.push(file.expect("a pipe can be opened"));
    }

    /// The starts that each task wrote down, all of them.
    ///
    /// # Panics
    /// When a line is not as tasks write it.
    #[must_use]
    pub fn births(&self) -> BTreeMap<String, Vec<Birth>> {
        Self::births_in(self.path())
    }

    /// The same of a journal that another process has made.
    ///
    /// # Panics
    /// When a line is not as tasks write it.
    #[must_use]
    pub fn births_in(directory: &Path) -> BTreeMap<String, Vec<Birth>> {
        let text = fs::read_to_string(births_file(directory)).unwrap_or_default();
        let mut births: BTreeMap<String, Vec<Birth>> = BTreeMap::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [id, pid, start_time] = words.as_slice() else { panic!("not a birth: {line:?}") };
            let pid = pid.parse().unwrap_or_else(|_| panic!("no pid: {line:?}"));
            let start_time = start_time.parse().unwrap_or_else(|_| panic!("no time: {line:?}"));
            births.entry((*id).to_owned()).or_default().push(Birth { pid, start_time });
        }
        births
    }
}

fn births_file(directory: &Path) -> PathBuf {
    directory.join("births")
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

fn start_time_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    // The state is field 3, the start time field 22, counted from one.
    (*words.first()? != "Z").then(|| words.get(19)?.parse().ok()).flatten()
}
