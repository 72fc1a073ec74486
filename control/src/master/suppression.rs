//! Suppress and revive: which roles a framework wants no offers for.
//!
//! The set is on record, so that a new leader does not flood a framework that wanted silence. A
//! call is answered, and the allocator told, when the change has come back.

use std::collections::BTreeSet;

use meshos_protocol::{
    ids::{FrameworkId, ProposalId},
    messages::scheduler::CallError,
    role::Role,
};

use super::{
    calls::invalid,
    proposals::{Caller, Purpose},
    state::{Core, Cx},
};
use crate::registry::Command;

impl Core {
    pub(super) fn suppress(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        caller: Caller,
        roles: &BTreeSet<Role>,
    ) {
        let named = match self.named_roles(framework, roles) {
            Ok(named) => named,
            Err(error) => return self.answer(cx, caller, Err(error)),
        };
        let (mut wished, settled) = self.wished_suppression(framework);
        let before = wished.len();
        wished.extend(named);
        if settled && wished.len() == before {
            return self.answer(cx, caller, Ok(()));
        }
        self.propose_suppression(cx, framework, caller, wished, None);
    }

    pub(super) fn revive(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        caller: Caller,
        roles: BTreeSet<Role>,
    ) {
        let named = match self.named_roles(framework, &roles) {
            Ok(named) => named,
            Err(error) => return self.answer(cx, caller, Err(error)),
        };
        let (mut wished, settled) = self.wished_suppression(framework);
        let before = wished.len();
        wished.retain(|role| !named.contains(role));
        if settled && wished.len() == before {
            // Nothing on record changes; only filters go.
            self.allocator.revive(framework, &named);
            return self.answer(cx, caller, Ok(()));
        }
        self.propose_suppression(cx, framework, caller, wished, Some(named));
    }

    fn propose_suppression(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        caller: Caller,
        roles: BTreeSet<Role>,
        revived: Option<BTreeSet<Role>>,
    ) {
        if let Err(error) = self.may_propose() {
            return self.answer(cx, caller, Err(error));
        }
        let command = Command::SetSuppressed { framework, roles: roles.clone() };
        let purpose = Purpose::Suppression { framework, revived };
        let id = self.propose(cx, command, purpose, caller);
        if let Some(framework) = self.frameworks.get_mut(&framework) {
            framework.suppressing = Some((id, roles));
        }
    }

    /// The roles that a call means: those that it names, or all of the framework's.
    fn named_roles(
        &self,
        framework: FrameworkId,
        roles: &BTreeSet<Role>,
    ) -> Result<BTreeSet<Role>, CallError> {
        let Some(own) = self.wished_roles(framework) else {
            return Err(invalid(format!("framework {framework} has ended")));
        };
        if let Some(foreign) = roles.difference(own).next() {
            return Err(invalid(format!("role {foreign} is not among the framework's roles")));
        }
        let named = if roles.is_empty() { own } else { roles };
        Ok(named.clone())
    }

    /// The suppressed roles as the newest wish has them, and whether that is on record already.
    pub(super) fn wished_suppression(&self, framework: FrameworkId) -> (BTreeSet<Role>, bool) {
        let wished = self.frameworks.get(&framework).and_then(|it| it.suppressing.as_ref());
        if let Some((_, roles)) = wished {
            return (roles.clone(), false);
        }
        let record = self.registry.framework(framework);
        (record.map(|record| record.suppressed_roles.clone()).unwrap_or_default(), true)
    }

    /// The roles on record, or those that are suppressed, have changed.
    pub(super) fn roles_recorded(&mut self, framework: FrameworkId) {
        let Some(record) = self.registry.framework(framework) else { return };
        let (info, suppressed) = (&record.info, &record.suppressed_roles);
        self.allocator.update_framework(framework, &info.roles, suppressed, info.capabilities);
        self.pictures.framework_changed(framework);
    }

    /// A change of suppressed roles has come back.
    pub(super) fn suppression_concluded(
        &mut self,
        framework: FrameworkId,
        id: ProposalId,
        revived: Option<BTreeSet<Role>>,
        refused: bool,
    ) {
        if let Some(entry) = self.frameworks.get_mut(&framework) {
            entry.suppressing.take_if(|(newest, _)| *newest == id);
        }
        let Some(revived) = revived else { return };
        if !refused {
            self.allocator.revive(framework, &revived);
        }
    }
}
