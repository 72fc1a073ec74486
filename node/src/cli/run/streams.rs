//! Brings what the tasks write to our own standard output and standard error.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Result;
use meshos_protocol::ids::{FrameworkId, TaskId};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::plan::Step;
use crate::cli::{
    api::{Api, ApiError},
    logs::LogReader,
    output,
};

/// How often a task's files are read while it runs; more seldom when many run.
const INTERVAL: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(2);
/// So many tasks are read at the shortest interval.
const TASKS_AT_INTERVAL: usize = 8;
/// Reads under way at a time.
const READS_MAX: usize = 16;
/// How often the last part of a file is asked for, before it is given up.
const LAST_TRIES: u32 = 10;
/// An unfinished line is not kept back beyond this many bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The streams of all tasks.
#[derive(Debug)]
pub(super) struct Streams {
    api: Arc<Api>,
    framework: Option<FrameworkId>,
    /// With several instances each line says whose it is.
    marked: bool,
    reads: Arc<Semaphore>,
    running: BTreeMap<TaskId, CancellationToken>,
    tasks: JoinSet<Result<()>>,
}

impl Streams {
    pub(super) fn new(api: Arc<Api>, instances: usize) -> Self {
        Self {
            api,
            framework: None,
            marked: instances > 1,
            reads: Arc::new(Semaphore::new(READS_MAX)),
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    pub(super) fn registered(&mut self, framework: FrameworkId) {
        self.framework = Some(framework);
    }

    /// Follows the task from here on, to its end.
    pub(super) fn step(&mut self, step: &Step) {
        let started = !self.running.contains_key(&step.task);
        if started && !step.again {
            self.start(step);
        }
        if step.state.is_terminal()
            && let Some(ended) = self.running.remove(&step.task)
        {
            ended.cancel();
        }
    }

    fn start(&mut self, step: &Step) {
        let Some(framework) = self.framework else { return };
        let ended = CancellationToken::new();
        self.running.insert(step.task.clone(), ended.clone());
        let many = 1 + self.running.len() / TASKS_AT_INTERVAL;
        let interval = INTERVAL.saturating_mul(u32::try_from(many).unwrap_or(u32::MAX));
        let (framework, task) = (framework.to_string(), step.task.to_string());
        let node = step.node.map(|node| node.to_string()).unwrap_or_default();
        let mark = self.marked.then(|| format!("[{}] ", step.instance));
        let stream = |file: &str, sink: fn(&[u8]) -> Result<()>| Stream {
            api: Arc::clone(&self.api),
            reads: Arc::clone(&self.reads),
            reader: LogReader::new(&framework, &task, file, &node),
            lines: Lines::new(mark.clone()),
            sink,
        };
        let stdout = stream("stdout", output::write);
        let stderr = stream("stderr", |bytes| {
            output::write_error(bytes);
            Ok(())
        });
        let interval = interval.min(INTERVAL_MAX);
        self.tasks.spawn(async move {
            let both =
                tokio::join!(stdout.follow(interval, &ended), stderr.follow(interval, &ended));
            let (stdout, stderr) = both;
            stdout.and(stderr).map_err(|error| {
                error.context(format!("the output of task {task} is not complete"))
            })
        });
    }

    /// Waits until the next task's output has ended: what went wrong with it, or nothing when none
    /// is left.
    pub(super) async fn next(&mut self) -> Option<Result<()>> {
        let ended = self.tasks.join_next().await?;
        Some(ended.unwrap_or_else(|error| Err(anyhow::anyhow!("a stream broke: {error}"))))
    }
}

struct Stream {
    api: Arc<Api>,
    reads: Arc<Semaphore>,
    reader: LogReader,
    lines: Lines,
    sink: fn(&[u8]) -> Result<()>,
}

impl Stream {
    /// Reads until the task has ended and everything is read. A short task is read once, at its end.
    async fn follow(mut self, interval: Duration, ended: &CancellationToken) -> Result<()> {
        while !ended.is_cancelled() {
            let pause = tokio::time::sleep(interval);
            if ended.run_until_cancelled(pause).await.is_none() {
                break;
            }
            // What fails now is asked for again: an election or a slow node is no reason to give up.
            while let Ok(bytes) = self.read().await {
                if bytes.is_empty() {
                    break;
                }
                (self.sink)(&self.lines.take(&bytes))?;
            }
        }
        let mut tries = 0;
        loop {
            match self.read().await {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => (self.sink)(&self.lines.take(&bytes))?,
                Err(_) if tries < LAST_TRIES => {
                    tries += 1;
                    tokio::time::sleep(INTERVAL * tries).await;
                }
                Err(error) => {
                    (self.sink)(&self.lines.rest())?;
                    return Err(error.into());
                }
            }
        }
        (self.sink)(&self.lines.rest())
    }

    async fn read(&mut self) -> Result<Vec<u8>, ApiError> {
        // It is never closed.
        let _permit = self.reads.acquire().await.ok();
        match self.reader.next(&self.api).await {
            // A launch that failed early has made none.
            Err(error) if error.is_gone() && !self.reader.has_begun() => Ok(Vec::new()),
            other => other,
        }
    }
}

/// Puts a mark before each line; without a mark, bytes pass as they are.
#[derive(Debug)]
struct Lines {
    mark: Option<String>,
    unfinished: Vec<u8>,
}

impl Lines {
    fn new(mark: Option<String>) -> Self {
        Self { mark, unfinished: Vec::new() }
    }

    /// The whole lines so far.
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Some(mark) = &self.mark else { return bytes.to_vec() };
        self.unfinished.extend_from_slice(bytes);
        let mut end =
            self.unfinished.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if end == 0 && self.unfinished.len() > LINE_BYTES_MAX {
            self.unfinished.push(b'\n');
            end = self.unfinished.len();
        }
        let whole: Vec<u8> = self.unfinished.drain(..end).collect();
        whole
            .split_inclusive(|byte| *byte == b'\n')
            .flat_map(|line| [mark.as_bytes(), line].concat())
            .collect()
    }

    /// The last line, when it has no end.
    fn rest(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.unfinished);
        match &self.mark {
            Some(mark) if !rest.is_empty() => [mark.as_bytes(), &rest, b"\n"].concat(),
            _ => rest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_when_there_is_one_instance() {
        let mut lines = Lines::new(None);
        assert_eq!(lines.take(b"a\xffb"), b"a\xffb");
        assert_eq!(lines.rest(), b"");
    }

    #[test]
    fn whole_lines_are_marked() {
        let mut lines = Lines::new(Some("[3] ".to_owned()));
        assert_eq!(lines.take(b"one\ntwo\nth"), b"[3] one\n[3] two\n");
        assert_eq!(lines.take(b"ree\n\n"), b"[3] three\n[3] \n");
        assert_eq!(lines.take(b"end"), b"");
        assert_eq!(lines.rest(), b"[3] end\n");
        assert_eq!(lines.rest(), b"");
    }

    #[test]
    fn a_line_without_end_is_not_kept_back_for_ever() {
        let mut lines = Lines::new(Some("[0] ".to_owned()));
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        assert_eq!(lines.take(&long).len(), "[0] ".len() + long.len() + 1);
        assert_eq!(lines.rest(), b"");
    }
}
