//! Disks besides the one that the node's own data lie on.

use std::{collections::BTreeSet, path::Path};

use meshos_protocol::resources::{
    Amount, Disk, DiskKind, DiskSource, Metadata, Resource, ResourceName, Resources,
};

use super::{
    super::{Raw, raw::Given},
    Check,
};

/// The most disks: each is an entry of its own in every offer of the node.
const DISKS_MAX: usize = 100;
/// The longest path of one, in bytes.
const ROOT_BYTES_MAX: usize = 1_024;

impl Check<'_> {
    /// What the node offers, with its disks and what may be taken back.
    pub(super) fn all_resources(&mut self, raw: &Raw, data_dir: &Path) -> Resources {
        let own = self.resources(raw.resources.as_ref(), data_dir);
        let revocable = self.revocable(raw, &own);
        let all = own + &revocable + &self.disks(raw.disk.as_ref());
        if self.problems.is_empty() && !all.is_offerable_total() {
            self.warnings.push(
                "the node's resources lack cpus or mem, so nothing of it will ever be offered"
                    .to_owned(),
            );
        }
        all
    }

    /// What the disks add to that.
    fn disks(&mut self, given: Option<&Given<Vec<String>>>) -> Resources {
        let mut disks = Resources::new();
        let Some(given) = given else { return disks };
        let mut roots = BTreeSet::new();
        if given.value.len() > DISKS_MAX {
            self.problems.push(given.problem(format!("a node has at most {DISKS_MAX} disks")));
            return disks;
        }
        for text in &given.value {
            match disk(text.trim()) {
                Ok((root, _)) if !roots.insert(root.clone()) => {
                    self.problems.push(given.problem(format!("{root} is named twice")));
                }
                Ok((_, disk)) => disks.insert(disk),
                Err(why) => self.problems.push(given.problem(why)),
            }
        }
        disks
    }
}

/// Reads `path:ROOT:MB` or `mount:ROOT:MB`.
fn disk(text: &str) -> Result<(String, Resource), String> {
    let expected = "expected path:DIRECTORY:MB or mount:DIRECTORY:MB, as in mount:/mnt/1:500000";
    let parts = text.split_once(':').and_then(|(kind, rest)| Some((kind, rest.rsplit_once(':')?)));
    let (kind, (root, size)) = parts.ok_or_else(|| format!("{text:?}: {expected}"))?;
    let kind = match kind {
        "path" => DiskKind::Path,
        "mount" => DiskKind::Mount,
        _ => return Err(format!("{text:?}: {expected}")),
    };
    let is_plain = root.starts_with('/')
        && root.len() <= ROOT_BYTES_MAX
        && !root.contains(char::is_control)
        && Path::new(root).components().collect::<std::path::PathBuf>().as_os_str() == root
        && !root.split('/').any(|part| part == "..");
    if !is_plain || root == "/" {
        return Err(format!(
            "{root:?} must be the whole path of a directory other than /, without `.`, `..` and a slash at the end"
        ));
    }
    let size = size.parse::<u32>().ok().filter(|size| *size > 0);
    let size = size.ok_or_else(|| format!("{text:?}: its size must be a whole number of MB"))?;
    let source = DiskSource { kind, root: root.to_owned(), id: String::new() };
    let disk = Some(Disk { source: Some(source), volume: None }.into());
    let metadata = Metadata { disk, ..Metadata::UNRESERVED };
    Resource::new(ResourceName::Disk, metadata, Amount::whole(i64::from(size)))
        .map(|disk| (root.to_owned(), disk))
        .map_err(|error| error.to_string())
}
