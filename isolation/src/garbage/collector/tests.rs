//! Rounds over real directories.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);
/// Never above the limits of these tests, however full the disk of the machine is.
const RULE: Rule = Rule { delay: HOUR, headroom: 0 };

struct Node {
    _directory: tempfile::TempDir,
    sandboxes: PathBuf,
    collector: Collector,
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sandboxes = directory.path().join("sandboxes");
        let collector = Collector::new(&sandboxes, RULE);
        Self { _directory: directory, sandboxes, collector }
    }

    /// A sandbox whose container ended so long ago.
    fn sandbox(&self, name: &str, age: Duration, fill: impl FnOnce(&Path)) -> PathBuf {
        let path = self.sandboxes.join(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("stdout"), "text").unwrap();
        fill(&path);
        File::open(&path).unwrap().set_modified(SystemTime::now() - age).unwrap();
        path
    }

    fn round(&mut self, held: &[&str]) -> Round {
        self.collector.look_after = None;
        self.collector.round(SystemTime::now(), &|name| held.contains(&name)).unwrap()
    }

    /// Rounds until nothing is due; demands that nothing failed.
    fn rounds(&mut self, held: &[&str]) -> Vec<String> {
        let mut removed = Vec::new();
        loop {
            let round = self.round(held);
            assert!(round.failures.is_empty(), "{:?}", round.failures);
            removed.extend(round.removed.into_iter().map(|name| name.container));
            if round.pause > BUSY_PAUSE {
                return removed;
            }
        }
    }

    fn bin_is_empty(&self) -> bool {
        fs::read_dir(self.sandboxes.join(".removed")).unwrap().count() == 0
    }
}

#[test]
fn old_sandboxes_go_with_their_empty_parents_and_others_stay() {
    let mut node = Node::new();
    node.sandbox("F1/a/old", HOUR * 2, |_| {});
    node.sandbox("F1/a/older", HOUR * 3, |_| {});
    let young = node.sandbox("F2/b/young", Duration::ZERO, |_| {});
    let held = node.sandbox("F2/b/held", HOUR * 9, |_| {});
    node.sandbox("F2/c/past", HOUR * 4, |_| {});
    assert_eq!(node.rounds(&["held"]), ["past", "older", "old"]);
    assert!(!node.sandboxes.join("F1").exists() && !node.sandboxes.join("F2/c").exists());
    assert!(young.join("stdout").exists() && held.join("stdout").exists());
    assert!(node.bin_is_empty());
    // Its container is released while the node is away.
    node.collector = Collector::new(&node.sandboxes, RULE);
    let round = node.round(&[]);
    assert_eq!(round.removed.len(), 1, "{round:?}");
    assert!(!held.exists() && young.exists());
    assert!(round.disk.total_bytes > 0 && round.disk.used_bytes <= round.disk.total_bytes);
    assert!(round.allowed_age <= HOUR);
}

#[test]
fn what_was_left_of_an_earlier_process_is_removed_by_the_next() {
    let mut node = Node::new();
    node.collector.entries_max = 20;
    node.sandbox("F1/a/c1", HOUR * 2, |path| {
        for number in 0..30 {
            File::create(path.join(number.to_string())).unwrap();
        }
    });
    let first = node.round(&[]);
    assert_eq!((first.removed.len(), first.pause), (1, BUSY_PAUSE), "{first:?}");
    assert!(!node.sandboxes.join("F1").exists(), "out of sight at once");
    assert!(!node.bin_is_empty(), "a round is bounded");
    node.collector = Collector::new(&node.sandboxes, RULE);
    assert_eq!(node.rounds(&[]), [""; 0]);
    assert!(node.bin_is_empty());
}

#[test]
fn nothing_outside_is_touched_through_symlinks() {
    let mut node = Node::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("precious"), "x").unwrap();
    node.sandbox("F1/a/c1", HOUR * 2, |path| {
        symlink(outside.path(), path.join("directory")).unwrap();
        symlink(outside.path().join("precious"), path.join("file")).unwrap();
        fs::create_dir(path.join("in")).unwrap();
        symlink("../../../../..", path.join("in/up")).unwrap();
        symlink("/no/such/file", path.join("in/dangling")).unwrap();
    });
    // Whole levels that are symlinks are no sandboxes.
    let elsewhere = outside.path().join("t/c2");
    fs::create_dir_all(&elsewhere).unwrap();
    File::open(&elsewhere).unwrap().set_modified(SystemTime::now() - HOUR * 3).unwrap();
    symlink(outside.path(), node.sandboxes.join("F2")).unwrap();
    symlink(outside.path().join("t"), node.sandboxes.join("F1/link")).unwrap();
    symlink(&elsewhere, node.sandboxes.join("F1/a/c2")).unwrap();
    assert_eq!(node.rounds(&[]), ["c1"]);
    assert!(outside.path().join("precious").exists() && elsewhere.exists());
}

#[test]
fn depth_and_missing_permissions_do_not_keep_a_sandbox() {
    let mut node = Node::new();
    node.sandbox("F1/a/deep", HOUR * 2, |path| {
        // Deeper than a path may be long, and than files may be open in some places.
        let mut directory = crate::sandbox::open_directory(path).unwrap();
        for _ in 0..500 {
            let mode = nix::sys::stat::Mode::S_IRWXU;
            nix::sys::stat::mkdirat(&directory, "directory", mode).unwrap();
            directory =
                crate::sandbox::open_directory_at(&directory, Path::new("directory")).unwrap();
        }
    });
    node.sandbox("F1/a/closed", HOUR * 2, |path| {
        fs::create_dir_all(path.join("read-only/in/deeper")).unwrap();
        fs::write(path.join("read-only/in/file"), "x").unwrap();
        fs::create_dir_all(path.join("closed/in")).unwrap();
        fs::write(path.join("closed/file"), "x").unwrap();
        for (name, mode) in [("read-only/in", 0o500), ("read-only", 0o555), ("closed", 0)] {
            fs::set_permissions(path.join(name), Permissions::from_mode(mode)).unwrap();
        }
    });
    let shut = node.sandbox("F1/a/shut", HOUR * 2, |path| {
        fs::create_dir(path.join("in")).unwrap();
    });
    fs::set_permissions(shut, Permissions::from_mode(0o500)).unwrap();
    let mut removed = node.rounds(&[]);
    removed.sort();
    assert_eq!(removed, ["closed", "deep", "shut"]);
    assert!(node.bin_is_empty());
}

#[test]
fn the_disk_is_counted_in_thousandths() {
    let used = |total_bytes, used_bytes| Disk { total_bytes, used_bytes }.used();
    assert_eq!(used(1_000_000, 899_999), 899);
    assert_eq!(used(3, 3), 1_000);
    assert_eq!(used(0, 0), 0);
    assert_eq!(used(1, u64::MAX), 1_000);
}
