//! Clients of Mesos's API from the Python package index, as they are: programs of `tests/clients`, and what they say.

use std::path::Path;

use serde_json::Value;

use crate::{
    binary::python_with_clients,
    command::{Command, Finished, Running},
    wait::{PATIENCE, poll_until},
};

/// A program of `tests/clients` that runs. It says a line of JSON for whatever happens to it.
#[derive(Debug)]
pub struct PythonClient {
    running: Running,
    /// How many of its lines were looked at.
    heard: usize,
}

impl PythonClient {
    /// Starts a program, with `home` for a home.
    ///
    /// # Panics
    /// When the clients are not installed.
    #[must_use]
    pub fn start(program: &str, home: &Path, arguments: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let script = folder.join(program).display().to_string();
        // Without -B it would write beside its source.
        let all = ["-B", &script].into_iter().chain(arguments.iter().copied());
        let command = Command::of_program(&python_with_clients(), home, &[], all);
        Self { running: command.listening().start(), heard: 0 }
    }

    /// Gives it an order.
    ///
    /// # Panics
    /// When it has ended.
    pub fn tell(&mut self, order: &str) {
        self.running.tell(order);
    }

    /// Waits until it says something of which `wanted` has something; what it said before that is not looked at again.
    ///
    /// # Panics
    /// When it ends without that, or it does not come.
    #[track_caller]
    pub fn hear<T>(&mut self, what: &str, mut wanted: impl FnMut(&Value) -> Option<T>) -> T {
        poll_until(PATIENCE, what, || {
            let running = self.running.is_running();
            let said = self.running.stdout();
            // A line may be half written.
            let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
            for line in whole.lines().skip(self.heard) {
                self.heard += 1;
                let line = serde_json::from_str(line).expect("it says lines of JSON");
                if let Some(found) = wanted(&line) {
                    return Some(found);
                }
            }
            assert!(running, "it ended before {what}: {said}{}", self.running.stderr());
            None
        })
    }

    /// Waits until it says that this happened, and gives that back.
    #[track_caller]
    pub fn hear_of(&mut self, happened: &str) -> Value {
        self.hear(happened, |said| (said["what"] == happened).then(|| said.clone()))
    }

    /// Waits until it says that a task is in this state, and gives that back.
    ///
    /// # Panics
    /// When it is told to have ended in another one.
    #[track_caller]
    pub fn hear_state(&mut self, task: &str, state: &str) -> Value {
        self.hear(&format!("{task} is {state}"), |said| {
            if said["what"] != "update" || said["task"] != task {
                return None;
            }
            let told = said["state"].as_str().unwrap_or_default();
            let on = ["TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"];
            assert!(told == state || on.contains(&told), "{said}");
            (told == state).then(|| said.clone())
        })
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(self) -> Finished {
        self.running.wait()
    }
}
