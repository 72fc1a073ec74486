//! Resources as they are shown, read back.

use std::{str::FromStr, sync::Arc};

use crate::resources::{Disk, Resource, Resources, Volume};

/// Resources that somebody asks about: their text form, in which volumes may stand as [`super::key_of`]
/// shows them, `disk(role)[volume]:500`. Of a volume its id counts alone: where tasks see it is not said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted(pub Resources);

/// Why a text is not what somebody may ask about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WantedError {
    /// Beside volumes it is not the text form of resources.
    #[error("{0}")]
    NotResources(String),
    /// A volume is not named as it must be.
    #[error(
        "`{0}` names no volume: say its role, its id and its size in MB, as in disk(db)[tables]:500"
    )]
    NotAVolume(String),
}

impl FromStr for Wanted {
    type Err = WantedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (volumes, others): (Vec<&str>, Vec<&str>) =
            text.split(';').partition(|entry| names_volume(entry));
        let others = others.join(";");
        let mut resources = Resources::parse(&others)
            .map_err(|error| WantedError::NotResources(error.to_string()))?;
        for entry in volumes {
            let volume = volume(entry.trim());
            resources += &Resources::from(
                volume.ok_or_else(|| WantedError::NotAVolume(entry.trim().to_owned()))?,
            );
        }
        Ok(Self(resources))
    }
}

/// Whether there are brackets behind the name, and not before the value.
fn names_volume(entry: &str) -> bool {
    let name = entry.split_once(':').map_or(entry, |(name, _)| name);
    name.contains('[')
}

fn volume(entry: &str) -> Option<Resource> {
    let (name, rest) = entry.split_once('[')?;
    let (parts, size) = rest.split_once("]:")?;
    // A volume of a disk of its own is shown behind that.
    let id = parts.rsplit(':').next().filter(|id| !id.is_empty() && !id.contains('/'))?;
    let plain = Resources::parse(&format!("{name}:{size}")).ok()?;
    let plain = plain.iter().next().filter(|it| it.amount().is_some())?;
    plain.metadata().reserved_role()?;
    let mut metadata = plain.metadata().clone();
    let volume = Volume { id: id.to_owned(), ..Volume::default() };
    metadata.disk = Some(Arc::new(Disk { source: None, volume: Some(volume) }));
    Resource::new(plain.name().clone(), metadata, plain.value().clone()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shown::key_of;

    fn keys(text: &str) -> Vec<String> {
        let Wanted(resources) = text.parse().unwrap();
        resources.iter().map(|it| format!("{}={}", key_of(it), it.value())).collect()
    }

    #[test]
    fn volumes_are_read_as_they_are_shown() {
        assert_eq!(keys("disk(db)[v3]:500"), ["disk(db)[v3]=500"]);
        assert_eq!(
            keys("cpus(db):3; disk(a/b)[v]:1.5 ;ports:[1-2]").len(),
            3,
            "beside others, ranges among them"
        );
        assert_eq!(keys("disk(db)[/mnt/a:v3]:500"), ["disk(db)[v3]=500"]);
        let plain = "cpus:2;disk(db):500;ports:[1-2]";
        assert_eq!(plain.parse(), Ok(Wanted(plain.parse().unwrap())));
    }

    #[test]
    fn what_names_no_volume_is_refused_with_the_form() {
        for text in [
            "disk[v]:5",
            "disk(db)[]:5",
            "disk(db)[v]",
            "disk(db)[v]:x",
            "disk(db)[/mnt]:5",
            "disk(db)[v]:0",
        ] {
            let told = text.parse::<Wanted>().unwrap_err().to_string();
            assert!(told.contains("as in disk(db)[tables]:500"), "{text}: {told}");
        }
        assert!(matches!("cpus".parse::<Wanted>(), Err(WantedError::NotResources(_))));
    }
}
