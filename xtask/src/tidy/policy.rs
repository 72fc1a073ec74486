//! `deny.toml`, read here too: cargo-deny may not be installed, and there should be one list, not two.

use anyhow::Context;
use serde::Deserialize;

/// The path of the file.
pub(super) const PATH: &str = "deny.toml";

/// The part of cargo-deny's configuration that tidy holds by itself.
#[derive(Debug, Deserialize)]
pub(super) struct Policy {
    pub(super) licenses: Licenses,
    pub(super) bans: Bans,
    pub(super) sources: Sources,
}

#[derive(Debug, Deserialize)]
pub(super) struct Licenses {
    pub(super) allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Bans {
    pub(super) deny: Vec<Ban>,
}

/// A crate that only its wrappers may depend on directly; without wrappers nobody may.
#[derive(Debug, Deserialize)]
pub(super) struct Ban {
    #[serde(rename = "crate")]
    pub(super) name: String,
    #[serde(default)]
    pub(super) wrappers: Vec<String>,
    pub(super) reason: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Sources {
    #[serde(rename = "allow-registry")]
    pub(super) registries: Vec<String>,
}

impl Policy {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        toml::from_str(text).with_context(|| format!("cannot understand {PATH}"))
    }
}
