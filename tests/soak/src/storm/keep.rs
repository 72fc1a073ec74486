//! What is kept of a storm that came to no good end.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// Copies logs and books out of the cluster's directory, which is removed; the place they are in.
pub(super) fn logs(cluster: &Path) -> Result<PathBuf> {
    let place = tempfile::Builder::new().prefix("meshos-soak-").tempdir()?.keep();
    for entry in fs::read_dir(cluster)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.is_file() {
            fs::copy(&path, place.join(name))?;
            continue;
        }
        for file in ["log", "book", "launcher/log"] {
            let from = path.join(file);
            if from.is_file() {
                let to = format!("{}-{}", name.to_string_lossy(), file.replace('/', "-"));
                fs::copy(&from, place.join(to))?;
            }
        }
    }
    Ok(place)
}
