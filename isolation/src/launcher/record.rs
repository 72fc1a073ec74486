//! The small record on disk that each container has, so that a launcher that was killed can be followed by another.
//!
//! A record is written before there is a process, and completed by the child itself (see `linux/spawn.rs`) before it
//! becomes the command. So under the launcher's lock there are only these: a record without a pid, whose process never
//! came to be; one with a pid and a start time; and one with the exit status as well.
//!
//! Nothing is synced to the disk. A record has to survive the launcher, for which the kernel's memory is enough; it does
//! not have to survive the machine, because no container does: the boot id in the record says so. What may be left after
//! a power cut, an empty or torn record, is recognised by its checksum and removed.
//!
//! Records of released containers are kept under other names and used again: a file system may make a new file many times
//! dearer when others were just deleted (ext4 looks for an inode that was not), and containers come and go.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::protocol::decode_one;
use crate::container::ContainerId;
use crate::containerizer::ExitStatus;

/// The first bytes of a record: what it is, and the version of its layout.
const MAGIC: [u8; 4] = *b"MLR1";
/// The header: magic, body length, body checksum, then the mutable part.
const HEADER_BYTES: usize = 64;
const LENGTH_AT: usize = 4;
const CHECKSUM_AT: usize = 8;
/// Where the child writes its pid and its start time: 16 bytes.
pub(crate) const BIRTH_AT: u64 = 16;
/// Where the launcher writes the exit status: kind and value, 16 bytes.
const STATUS_AT: u64 = 32;
/// The largest record: a body holds a few paths.
const RECORD_BYTES_MAX: u64 = 64 * 1024;
/// How many files are kept to be used again.
const SPARE_MAX: usize = 256;
/// The names of these begin so. A dot is not in a container id, so none is ever taken for a record.
const SPARE_PREFIX: &str = ".spare-";

const STATUS_NONE: u64 = 0;
const STATUS_CODE: u64 = 1;
const STATUS_SIGNAL: u64 = 2;
const STATUS_UNREADABLE: u64 = 3;

/// The part of a record that never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) container: ContainerId,
    pub(crate) boot_id: String,
    pub(crate) sandbox: String,
    pub(crate) mark: String,
    #[serde(default)]
    pub(crate) cgroups: Vec<String>,
    #[serde(default)]
    pub(crate) tracking: Option<String>,
    /// The container with which it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inside: Option<ContainerId>,
}

/// A record as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) body: Body,
    /// Pid and start time; none when no process came to be.
    pub(crate) birth: Option<(u32, u64)>,
    /// How it ended, if that was seen.
    pub(crate) status: Option<ExitStatus>,
}

/// The directory of the records.
#[derive(Debug)]
pub(crate) struct Records {
    directory: PathBuf,
    spare: Vec<PathBuf>,
    next_spare: u64,
}

impl Records {
    /// Makes the directory when it is missing.
    pub(crate) fn open(directory: PathBuf) -> io::Result<Self> {
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        Ok(Self { directory, spare: Vec::new(), next_spare: 0 })
    }

    fn path(&self, container: &ContainerId) -> PathBuf {
        self.directory.join(container.as_str())
    }

    /// Writes a record without a pid, complete or not at all, and lends the file for the child to complete.
    pub(crate) fn create(&mut self, body: &Body) -> io::Result<File> {
        let encoded = rmp_serde::to_vec_named(body).map_err(io::Error::other)?;
        let length = u32::try_from(encoded.len()).map_err(io::Error::other)?;
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..MAGIC.len()].copy_from_slice(&MAGIC);
        bytes[LENGTH_AT..CHECKSUM_AT].copy_from_slice(&length.to_le_bytes());
        bytes[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&checksum(&encoded).to_le_bytes());
        bytes.extend_from_slice(&encoded);
        let spare = self.spare.pop().unwrap_or_else(|| self.new_spare());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&spare)?;
        file.write_all(&bytes)?;
        file.set_len(bytes.len() as u64)?;
        fs::rename(&spare, self.path(&body.container))?;
        Ok(file)
    }

    fn new_spare(&mut self) -> PathBuf {
        self.next_spare += 1;
        self.directory.join(format!("{SPARE_PREFIX}{}", self.next_spare))
    }

    /// Adds how the container ended.
    pub(crate) fn write_status(
        &self,
        container: &ContainerId,
        status: &ExitStatus,
    ) -> io::Result<()> {
        let (kind, value) = match status {
            ExitStatus::Code(code) => (STATUS_CODE, *code),
            ExitStatus::Signal(signal) => (STATUS_SIGNAL, *signal),
            ExitStatus::Unreadable { .. } => (STATUS_UNREADABLE, 0),
        };
        let mut slot = [0; 16];
        slot[..8].copy_from_slice(&kind.to_le_bytes());
        slot[8..].copy_from_slice(&i64::from(value).to_le_bytes());
        let file = OpenOptions::new().write(true).open(self.path(container))?;
        file.write_all_at(&slot, STATUS_AT)
    }

    /// Forgets a container.
    pub(crate) fn remove(&mut self, container: &ContainerId) -> io::Result<()> {
        let path = self.path(container);
        let removed = if self.spare.len() < SPARE_MAX {
            let spare = self.new_spare();
            fs::rename(&path, &spare).map(|()| self.spare.push(spare))
        } else {
            fs::remove_file(&path)
        };
        match removed {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Every record that can be read. What cannot is removed and named to `complain`: it never stops the launcher.
    pub(crate) fn read_all(
        &self,
        mut complain: impl FnMut(&Path, &str),
    ) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(SPARE_PREFIX) {
                // Its number may be given again, so it is not kept.
                fs::remove_file(&path)?;
                continue;
            }
            let record = match read(&path) {
                Ok(bytes) => parse(&bytes),
                Err(error) => Err(error.to_string()),
            };
            match record {
                Ok(record) if record.body.container.as_str() == name => records.push(record),
                Ok(_) => discard(&path, "it is of another container", &mut complain),
                Err(reason) => discard(&path, &reason, &mut complain),
            }
        }
        Ok(records)
    }
}

fn discard(path: &Path, reason: &str, complain: &mut impl FnMut(&Path, &str)) {
    if let Err(error) = fs::remove_file(path) {
        complain(path, &format!("{reason}, and it could not be removed: {error}"));
    } else {
        complain(path, reason);
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(RECORD_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<Record, String> {
    let number = |at: usize| {
        let slice = bytes.get(at..at + 8)?;
        Some(u64::from_le_bytes(slice.try_into().ok()?))
    };
    let torn = || "it is torn".to_owned();
    if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
        return Err("it does not begin as a record of a known version does".to_owned());
    }
    let length = bytes.get(LENGTH_AT..CHECKSUM_AT).and_then(|slice| slice.try_into().ok());
    let length = u32::from_le_bytes(length.ok_or_else(torn)?) as usize;
    let body = bytes.get(HEADER_BYTES..).filter(|body| body.len() == length).ok_or_else(torn)?;
    if number(CHECKSUM_AT) != Some(checksum(body)) {
        return Err(torn());
    }
    let body = decode_one::<Body>(body).map_err(|error| error.to_string())?;
    let pid = number(16).and_then(|pid| u32::try_from(pid).ok()).ok_or_else(torn)?;
    let start_time = number(24).ok_or_else(torn)?;
    let value = number(40).map(u64::cast_signed).and_then(|value| i32::try_from(value).ok());
    let value = value.ok_or_else(torn)?;
    let status = match number(32) {
        Some(STATUS_NONE) => None,
        Some(STATUS_CODE) => Some(ExitStatus::Code(value)),
        Some(STATUS_SIGNAL) => Some(ExitStatus::Signal(value)),
        _ => Some(super::unreadable("nobody could read its exit status")),
    };
    Ok(Record { body, birth: (pid != 0).then_some((pid, start_time)), status })
}

/// FNV-1a, 64 bits: finds accidents, which is all that is asked of it.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(name: &str) -> Body {
        Body {
            container: ContainerId::new(name).unwrap(),
            boot_id: "b".to_owned(),
            sandbox: "/s".to_owned(),
            mark: "m".to_owned(),
            cgroups: vec!["/c".to_owned()],
            tracking: Some("/t".to_owned()),
            inside: None,
        }
    }

    fn all(records: &Records) -> (Vec<Record>, Vec<String>) {
        let mut complaints = Vec::new();
        let found = records.read_all(|path, reason| {
            complaints.push(format!("{}: {reason}", path.file_name().unwrap().display()));
        });
        (found.unwrap(), complaints)
    }

    #[test]
    fn a_record_grows_from_intent_to_status() {
        let directory = tempfile::tempdir().unwrap();
        let mut records = Records::open(directory.path().join("r")).unwrap();
        let body = body("c1");
        let file = records.create(&body).unwrap();
        assert_eq!(all(&records).0, [Record { body: body.clone(), birth: None, status: None }]);
        let mut slot = 4711u64.to_le_bytes().to_vec();
        slot.extend_from_slice(&99u64.to_le_bytes());
        file.write_all_at(&slot, BIRTH_AT).unwrap();
        assert_eq!(all(&records).0[0].birth, Some((4711, 99)));
        for status in [ExitStatus::Code(3), ExitStatus::Signal(9)] {
            records.write_status(&body.container, &status).unwrap();
            assert_eq!(all(&records).0[0].status, Some(status));
        }
        records.remove(&body.container).unwrap();
        assert!(all(&records).0.is_empty());
    }

    #[test]
    fn a_file_that_is_used_again_holds_nothing_of_before() {
        let directory = tempfile::tempdir().unwrap();
        let mut records = Records::open(directory.path().to_owned()).unwrap();
        let mut long = body("long");
        long.sandbox = "/s".repeat(1000);
        records.create(&long).unwrap();
        records.write_status(&long.container, &ExitStatus::Code(1)).unwrap();
        records.remove(&long.container).unwrap();
        records.create(&body("short")).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "the same file");
        let expected = Record { body: body("short"), birth: None, status: None };
        assert_eq!(all(&records), (vec![expected], Vec::new()));
    }

    #[test]
    fn torn_records_are_removed_and_never_in_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let mut records = Records::open(directory.path().to_owned()).unwrap();
        records.create(&body("good")).unwrap();
        let whole = fs::read(directory.path().join("good")).unwrap();
        for length in 0..whole.len() {
            fs::write(directory.path().join("torn"), &whole[..length]).unwrap();
            let (found, complaints) = all(&records);
            assert_eq!((found.len(), complaints.len()), (1, 1), "{length} bytes: {complaints:?}");
            assert!(!directory.path().join("torn").exists());
        }
        let mut flipped = whole.clone();
        flipped[HEADER_BYTES + 2] ^= 1;
        fs::write(directory.path().join("flipped"), flipped).unwrap();
        fs::write(directory.path().join("renamed"), whole).unwrap();
        let (found, complaints) = all(&records);
        assert_eq!((found.len(), complaints.len()), (1, 2), "{complaints:?}");
    }
}
