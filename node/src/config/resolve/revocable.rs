//! What a node offers beyond what it has: resources that may be taken back at any time.

use meshos_protocol::resources::{Metadata, Resource, Resources};

use super::{
    super::{Raw, raw::Given},
    Check,
};

/// The most kinds of them: each is an entry of its own in every offer of the node.
const KINDS_MAX: usize = 100;

impl Check<'_> {
    /// What of a node that has `kept` may be taken back at any time.
    pub(super) fn revocable(&mut self, raw: &Raw, kept: &Resources) -> Resources {
        if let Some(given) = &raw.resources
            && !kept.revocable().is_empty()
        {
            let why = "name what may be taken back at any time with --revocable-resources";
            self.problems.push(given.problem(why));
        }
        let Some(given) = &raw.revocable_resources else { return Resources::new() };
        self.read_revocable(given, kept).unwrap_or_else(|why| {
            self.problems.push(given.problem(why));
            Resources::new()
        })
    }

    fn read_revocable(&self, given: &Given<String>, kept: &Resources) -> Result<Resources, String> {
        let resources = Resources::parse(&given.value).map_err(|error| error.to_string())?;
        if resources.len() > KINDS_MAX {
            return Err(format!("a node has at most {KINDS_MAX} kinds of revocable resources"));
        }
        resources.iter().map(|resource| revocable(resource, kept)).collect()
    }
}

/// One of them, on a node that has `kept` too.
fn revocable(resource: &Resource, kept: &Resources) -> Result<Resource, String> {
    let name = resource.name();
    if let Some(role) = resource.metadata().reserved_role() {
        return Err(format!(
            "what may be taken back at any time cannot be promised to role {role}; leave out ({role}) behind {name}"
        ));
    }
    let Some(amount) = resource.amount() else {
        return Err(format!(
            "{name} is not an amount: only amounts can be revocable, such as cpus:4;mem:2048, neither ranges nor sets"
        ));
    };
    if kept.iter().any(|mine| mine.name() == name && mine.amount().is_none()) {
        return Err(format!("{name} is an amount here, and ranges or a set in --resources"));
    }
    Resource::new(name.clone(), Metadata::REVOCABLE, amount).map_err(|error| error.to_string())
}
