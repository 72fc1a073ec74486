//! The fetching child: gives up every right that the task does not have, then fetches one URI after the other.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::unistd::{Gid, Uid, getresuid, setgroups, setresgid, setresuid};

use super::plan::{Failure, Plan, Report};
use super::{archive, source, target};
use crate::container::Uri;
use crate::launcher::protocol::{FRAME_BYTES_MAX, LaunchIds, decode, encode};
use crate::sandbox;

/// The mode of a fetched file, without and with `executable`. There is no way to any other bit.
const FILE_MODE: u32 = 0o644;
const EXECUTABLE_MODE: u32 = 0o755;

/// The entry point of `meshos fetch`: reads what to fetch from standard input, fetches it, and writes a report to standard
/// output. Takes no arguments. Must be called before a thread is started.
pub fn fetch_main(_arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let failure = fetch_all().err();
    let mut bytes = Vec::new();
    let written = encode(&Report { failure }, &mut bytes)
        .and_then(|()| io::stdout().write_all(&bytes))
        .and_then(|()| io::stdout().flush());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fetch_all() -> Result<(), Failure> {
    let general = |what: &'static str| {
        move |error: io::Error| Failure { uri: String::new(), reason: format!("{what}: {error}") }
    };
    let plan = read_plan().map_err(general("could not read what to fetch"))?;
    confine(plan.ids.as_ref()).map_err(general("could not take the rights of the task's user"))?;
    watch_for_end().map_err(general("could not start a thread"))?;
    let root = sandbox::open_directory(Path::new(&plan.sandbox));
    let root = root.map_err(general("could not open the sandbox"))?;
    for uri in &plan.uris {
        let fetched = fetch(&root, uri, &plan);
        fetched.map_err(|reason| Failure { uri: uri.value.clone(), reason })?;
    }
    Ok(())
}

fn read_plan() -> io::Result<Plan> {
    let mut stdin = io::stdin().lock();
    let mut prefix = [0; 4];
    stdin.read_exact(&mut prefix)?;
    let length = usize::try_from(u32::from_be_bytes(prefix)).map_err(io::Error::other)?;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other("it is too long"));
    }
    let mut frame = prefix.to_vec();
    frame.resize(prefix.len() + length, 0);
    stdin.read_exact(&mut frame[prefix.len()..])?;
    let decoded = decode::<Plan>(&frame).map_err(io::Error::other)?;
    decoded.map(|(plan, _)| plan).ok_or_else(|| io::Error::other("it is incomplete"))
}

/// Becomes the task's user for good, and makes sure of it.
fn confine(ids: Option<&LaunchIds>) -> io::Result<()> {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    if let Some(ids) = ids {
        let groups: Vec<Gid> = ids.groups.iter().copied().map(Gid::from_raw).collect();
        let (uid, gid) = (Uid::from_raw(ids.uid), Gid::from_raw(ids.gid));
        setgroups(&groups)?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        let now = getresuid()?;
        let all_given_up = [now.real, now.effective, now.saved].iter().all(|id| *id == uid);
        if !all_given_up || (!uid.is_root() && setresuid(uid, Uid::from_raw(0), uid).is_ok()) {
            return Err(io::Error::other("rights are left"));
        }
    }
    nix::sys::prctl::set_no_new_privs()?;
    // No core file with other people's data in it.
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}

/// Ends this process when the node does: the pipe that it holds open closes.
fn watch_for_end() -> io::Result<()> {
    let watch = || {
        // Nothing more is sent, so this returns at the end only.
        drop(io::stdin().lock().read(&mut [0]));
        std::process::exit(1);
    };
    std::thread::Builder::new().name("end".to_owned()).spawn(watch).map(drop)
}

fn fetch(root: &File, uri: &Uri, plan: &Plan) -> Result<(), String> {
    let source = source::Source::parse(&uri.value)?;
    let name = match &uri.output_file {
        Some(name) => name.clone(),
        None => source.file_name()?,
    };
    let archive = if uri.extract { archive::Format::of(&name)? } else { None };
    let mode = if uri.executable { EXECUTABLE_MODE } else { FILE_MODE };
    let mut file = target::create(root, Path::new(&name), mode)
        .map_err(|error| format!("could not make {name:?} in the sandbox: {error}"))?;
    let stall_max = Duration::from_millis(plan.stall_max_ms);
    source.copy_to(&mut file, plan.bytes_max, stall_max)?;
    match archive {
        Some(format) => format
            .extract(root, &name, &mut file, plan.bytes_max)
            .map_err(|error| format!("could not extract {name:?}: {error}")),
        None => Ok(()),
    }
}
