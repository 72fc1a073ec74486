//! What a container costs in processor time: a bare fork, exec and wait of `true`, next to the same through the launcher,
//! with the posix isolators and with control groups. Sandboxes are made in all but the bare loop.
//!
//! `cargo run --release -p meshos-isolation --example launch_cost [COUNT]`; the binary `meshos-isolation-runtime` must
//! have been built in the same profile.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use meshos_isolation::{
    Command, ContainerEvent, ContainerId, ContainerSpec, Containerizer, IsolatorName, Limits,
    NativeContainerizer, Options, own_cpu_us,
};
use tokio::sync::mpsc;

/// How many containers are on their way at a time.
const CONCURRENCY: usize = 4;
/// `/proc/PID/stat` counts in hundredths of a second, so the launcher's own time is read from `schedstat`.
const NANOSECONDS_PER_MICROSECOND: u64 = 1_000;

type Failure = Box<dyn std::error::Error>;

struct Figures {
    name: &'static str,
    /// Of this process, of the launcher, and of the children; microseconds.
    cpu_us: [u64; 3],
    wall: Duration,
}

fn main() -> Result<(), Failure> {
    let count = std::env::args().nth(1).map_or(Ok(2_000), |count| count.parse::<usize>())?;
    let runtime = std::env::current_exe()?;
    let runtime = runtime.parent().and_then(Path::parent).ok_or("no target directory")?;
    let runtime = runtime.join("meshos-isolation-runtime");
    let mut all = vec![bare(count)?];
    all.push(through_launcher("launcher, posix", count, &runtime, &IsolatorName::POSIX)?);
    if nix::unistd::geteuid().is_root() {
        all.push(through_launcher("launcher, cgroups", count, &runtime, &IsolatorName::CGROUPS)?);
    }
    std::fs::remove_dir_all(directory())?;
    let mut out = std::io::stdout();
    for figures in all {
        let each = |us: f64| us / 1000.0 / f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let [node_ms, launcher_ms, child_ms] = figures.cpu_us.map(|us| each(us as f64));
        let cpu_ms = node_ms + launcher_ms + child_ms;
        let wall_ms = each(figures.wall.as_secs_f64() * 1e6);
        writeln!(
            out,
            "{:<20} {cpu_ms:.3} ms cpu (node {node_ms:.3}, launcher {launcher_ms:.3}, command {child_ms:.3}), \
             {wall_ms:.3} ms wall, per container",
            figures.name
        )?;
    }
    Ok(())
}

/// Removed at the end only: ext4 makes new files slowly for a while after others were deleted.
fn directory() -> PathBuf {
    std::env::temp_dir().join(format!("launch-cost-{}", std::process::id()))
}

fn bare(count: usize) -> Result<Figures, Failure> {
    let ([own, children], start) = (own_cpu_us(), Instant::now());
    for _ in 0..count {
        std::process::Command::new("/bin/true").env_clear().status()?;
    }
    let now = own_cpu_us();
    let cpu_us = [now[0] - own, 0, now[1] - children];
    Ok(Figures { name: "bare", cpu_us, wall: start.elapsed() })
}

fn through_launcher(
    name: &'static str,
    count: usize,
    runtime: &Path,
    isolation: &[IsolatorName],
) -> Result<Figures, Failure> {
    let directory = directory().join(name.replace([',', ' '], "-"));
    let executor =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut options = Options::new(&directory, runtime);
    options.isolation = isolation.to_vec();
    options.allow_root = true;
    let (cpu_us, wall) = executor.block_on(measure(options, count))?;
    Ok(Figures { name, cpu_us, wall })
}

async fn measure(options: Options, count: usize) -> Result<([u64; 3], Duration), Failure> {
    let sandboxes = options.data_dir.join("sandboxes");
    let (sender, mut events) = mpsc::channel(1024);
    let containerizer = NativeContainerizer::start(options, sender).await?;
    let launcher = containerizer.launcher_pid();
    let (own, [launcher_us, children_us]) = (own_cpu_us()[0], cpu_of(launcher)?);
    let start = Instant::now();
    let (mut launched, mut ended) = (0, 0);
    while ended < count {
        if launched < count && launched - ended < CONCURRENCY {
            containerizer.launch(spec(launched, &sandboxes)?).await?;
            launched += 1;
            continue;
        }
        if let Some(ContainerEvent::Exited { container, status, .. }) = events.recv().await {
            if !status.success() {
                return Err(format!("{container}: {status}").into());
            }
            containerizer.release(&container).await?;
            ended += 1;
        }
    }
    let wall = start.elapsed();
    let now = cpu_of(launcher)?;
    let cpu_us = [own_cpu_us()[0] - own, now[0] - launcher_us, now[1] - children_us];
    containerizer.stop_launcher(true).await?;
    Ok((cpu_us, wall))
}

fn spec(number: usize, sandboxes: &Path) -> Result<ContainerSpec, Failure> {
    let name = format!("c{number}");
    Ok(ContainerSpec {
        sandbox: sandboxes.join(&name),
        container: ContainerId::new(name)?,
        command: Command::Exec { path: "/bin/true".to_owned(), args: Vec::new() },
        environment: Vec::new(),
        user: None,
        allow_root: true,
        limits: Limits {
            cpus_millis: 100,
            memory_bytes: Some(64 << 20),
            pids_max: Some(64),
            ..Limits::default()
        },
        uris: Vec::new(),
        volumes: Vec::new(),
        inside: None,
    })
}

/// The processor time of the launcher and of the children that it has waited for, in microseconds.
fn cpu_of(pid: u32) -> Result<[u64; 2], Failure> {
    let own = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/schedstat")))?;
    let own = own.split(' ').next().ok_or("no schedstat")?.parse::<u64>()?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    // Fields 16 and 17 of proc(5): time of children waited for, in hundredths of a second.
    let waited = fields.split_ascii_whitespace().skip(13).take(2).map(str::parse::<u64>);
    let waited = waited.sum::<Result<u64, _>>()?;
    Ok([own / NANOSECONDS_PER_MICROSECOND, waited * 10_000])
}
