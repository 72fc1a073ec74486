//! What a framework says of itself changes, under the subscription that it has.
//!
//! A subscribe of its own would raise the subscription's number and take all its offers back. An update
//! takes back only those in roles that the framework leaves.

use std::collections::BTreeSet;

use meshos_protocol::{
    ids::{FrameworkId, ProposalId},
    messages::scheduler::{CallError, UpdateFramework},
    role::Role,
};

use super::{
    calls::invalid,
    proposals::{Caller, Purpose},
    state::{Core, Cx},
    validate,
    wishes::judge_wishes,
};
use crate::registry::{Command, FrameworkRecord};

impl Core {
    pub(super) fn update_framework(
        &mut self,
        cx: &mut Cx<'_>,
        framework: FrameworkId,
        caller: Caller,
        update: UpdateFramework,
    ) {
        match self.judge_update(framework, update) {
            Err(error) => self.answer(cx, caller, Err(error)),
            // Who was not answered says it again.
            Ok(None) => self.answer(cx, caller, Ok(())),
            Ok(Some(Changes { command, roles, suppressed })) => {
                let purpose = Purpose::FrameworkUpdate { framework };
                let id = self.propose(cx, command, purpose, caller);
                if let Some(framework) = self.frameworks.get_mut(&framework) {
                    framework.suppressing = Some((id, suppressed));
                    framework.updating = Some((id, roles));
                }
            }
        }
    }

    /// What is to be put on record; nothing when all of it is there already.
    fn judge_update(
        &self,
        framework: FrameworkId,
        update: UpdateFramework,
    ) -> Result<Option<Changes>, CallError> {
        let Some(record) = self.registry.framework(framework) else {
            return Err(invalid(format!("framework {framework} has ended")));
        };
        validate::update(&update, &record.info.user).map_err(invalid)?;
        let UpdateFramework { info, suppressed_roles, mut wishes } = update;
        if let Some(wishes) = &mut wishes {
            judge_wishes(&info.roles, wishes).map_err(invalid)?;
            wishes.retain(|_, wishes| !wishes.is_empty());
        }
        let (suppressed_before, settled) = self.wished_suppression(framework);
        let FrameworkRecord { info: info_before, wishes: wishes_before, .. } = record;
        let same_wishes = wishes.as_ref().is_none_or(|wishes| wishes == wishes_before);
        let same = (&info, &suppressed_roles) == (info_before, &suppressed_before) && same_wishes;
        // What is on its way may change it once more.
        if same && settled && self.proposals.len() == 0 {
            return Ok(None);
        }
        let (roles, suppressed) = (info.roles.clone(), suppressed_roles.clone());
        let subscription = record.subscription;
        let command =
            Command::UpdateFramework { framework, subscription, info, suppressed_roles, wishes };
        self.may_propose()?;
        self.may_record(&command)?;
        Ok(Some(Changes { command, roles, suppressed }))
    }

    /// The roles that a framework will have once its newest update is on record; nothing when it has
    /// ended.
    pub(super) fn wished_roles(&self, framework: FrameworkId) -> Option<&BTreeSet<Role>> {
        let record = self.registry.framework(framework)?;
        let updating = self.frameworks.get(&framework).and_then(|it| it.updating.as_ref());
        Some(updating.map_or(&record.info.roles, |(_, roles)| roles))
    }

    /// What is on record of a framework has changed.
    pub(super) fn update_recorded(&mut self, cx: &mut Cx<'_>, framework: FrameworkId) {
        self.roles_recorded(framework);
        self.inverse.framework_changed(framework);
        // Before anything is offered in the roles that it joins.
        self.apply_wishes(framework);
        self.rescind_in_roles_left(cx, framework);
    }

    /// An update has come back.
    pub(super) fn update_concluded(&mut self, framework: FrameworkId, id: ProposalId) {
        let Some(entry) = self.frameworks.get_mut(&framework) else { return };
        let is_newest = |(newest, _): &mut (ProposalId, BTreeSet<Role>)| *newest == id;
        entry.suppressing.take_if(is_newest);
        entry.updating.take_if(is_newest);
    }
}

/// What an update changes.
struct Changes {
    command: Command,
    roles: BTreeSet<Role>,
    suppressed: BTreeSet<Role>,
}
