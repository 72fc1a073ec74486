//! Which voter that is gone is replaced, and by whom: the decision alone, without the doing.

use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

use meshos_protocol::ids::NodeId;

use crate::raft::{Voter, VoterRole};

/// A group that has this many voters never falls below it by itself.
pub const VOTERS_KEPT: usize = 3;

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A member that was not heard for so long is gone.
    pub gone_after: Duration,
    /// How many voters the group is meant to have: as many as there are seeds.
    pub voters: usize,
}

/// A member of the group as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberSeen {
    /// The member.
    pub voter: Voter,
    /// Voter or learner.
    pub role: VoterRole,
    /// Whether it is the leader itself.
    pub leads: bool,
    /// How long it has not been heard; at most as long as this leader leads.
    pub silent_for: Duration,
}

/// A node that might become a voter, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node_id: NodeId,
    /// Where it listens for QUIC.
    pub address: String,
    /// Whether its agent is connected to the leader and takes tasks.
    pub connected: bool,
    /// What gossip says of it.
    pub alive: bool,
    /// Whether its release knows the registry as far as the voters keep it; else it would stop at
    /// the log.
    pub capable: bool,
    /// Whether it stands in the seed list, and so was meant to vote.
    pub is_seed: bool,
    /// How often it could not be made a voter under this leader.
    pub failures: u32,
}

/// One change of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make a node a voter in the place of one that is gone.
    Replace {
        /// The voter that leaves.
        gone: Voter,
        /// The node that comes.
        by: NodeId,
        /// Where that listens for QUIC.
        at: String,
    },
    /// Take out a member that is gone: a learner, or a voter beyond those that the group is meant
    /// to have.
    Remove {
        /// The member that leaves.
        gone: Voter,
    },
}

/// The next change of the group, if one is due; only one at a time, so that each is decided on what
/// the one before has made of the group.
///
/// A voter is replaced by a healthy node whose release knows the registry. Without such a node it stays, since fewer voters than the
/// group was meant to have, or than three, survive less; it can still come back.
#[must_use]
pub fn next_step(rules: Rules, members: &[MemberSeen], candidates: &[Candidate]) -> Option<Step> {
    let is_gone = |member: &&MemberSeen| !member.leads && member.silent_for >= rules.gone_after;
    let is_voter = |member: &&MemberSeen| member.role == VoterRole::Voter;
    let longest = |member: &&MemberSeen| (member.silent_for, Reverse(member.voter.raft_id));
    let gone = members.iter().filter(is_voter).filter(is_gone).max_by_key(longest);
    let Some(gone) = gone else {
        // A node that died while it was made a voter is left behind as a learner.
        let left = members.iter().filter(|member| !is_voter(member)).filter(is_gone);
        return left.max_by_key(longest).map(|left| Step::Remove { gone: left.voter.clone() });
    };
    let gone = gone.voter.clone();
    if let Some(best) = best_candidate(members, &gone, candidates) {
        return Some(Step::Replace { gone, by: best.node_id, at: best.address.clone() });
    }
    let voters = members.iter().filter(is_voter).count();
    (voters > rules.voters.max(VOTERS_KEPT)).then_some(Step::Remove { gone })
}

/// The healthy node that is no voter yet and serves best: one that did not fail so far, that has the
/// log already, that was meant to vote, and whose machine holds no other voter.
fn best_candidate<'a>(
    members: &[MemberSeen],
    gone: &Voter,
    candidates: &'a [Candidate],
) -> Option<&'a Candidate> {
    let with_role = |role: VoterRole| members.iter().filter(move |member| member.role == role);
    let nodes = |role| with_role(role).map(|member| member.voter.node_id);
    let voters: BTreeSet<NodeId> = nodes(VoterRole::Voter).collect();
    let learners: BTreeSet<NodeId> = nodes(VoterRole::Learner).collect();
    let machines: BTreeSet<&str> = with_role(VoterRole::Voter)
        .filter(|member| member.voter != *gone)
        .map(|member| machine_of(&member.voter.address))
        .collect();
    let fit = |candidate: &&Candidate| {
        let voter = voters.contains(&candidate.node_id);
        candidate.connected && candidate.alive && candidate.capable && !voter
    };
    candidates.iter().filter(fit).min_by_key(|candidate| {
        (
            candidate.failures,
            !learners.contains(&candidate.node_id),
            !candidate.is_seed,
            machines.contains(machine_of(&candidate.address)),
            candidate.node_id,
        )
    })
}

fn machine_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(machine, _)| machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const RULES: Rules = Rules { gone_after: HOUR, voters: 3 };

    fn voter(number: u64) -> Voter {
        let node_id = NodeId::from_bits(number);
        Voter { raft_id: number, node_id, address: format!("m{number}:5051") }
    }

    /// Members 1 to n, of which 1 leads and each is silent for so many minutes.
    fn voters(silent_minutes: &[u64]) -> Vec<MemberSeen> {
        let seen = |(number, minutes): (u64, &u64)| MemberSeen {
            voter: voter(number),
            role: VoterRole::Voter,
            leads: number == 1,
            silent_for: Duration::from_secs(60 * minutes),
        };
        (1..).zip(silent_minutes).map(seen).collect()
    }

    fn healthy(number: u64) -> Candidate {
        Candidate {
            node_id: NodeId::from_bits(number),
            address: voter(number).address,
            connected: true,
            alive: true,
            capable: true,
            is_seed: false,
            failures: 0,
        }
    }

    fn replaces(gone: u64, by: u64) -> Option<Step> {
        let by = voter(by);
        Some(Step::Replace { gone: voter(gone), by: by.node_id, at: by.address })
    }

    fn removes(gone: u64) -> Option<Step> {
        Some(Step::Remove { gone: voter(gone) })
    }

    #[test]
    fn a_voter_is_replaced_once_it_was_silent_long_enough() {
        let spare = [healthy(7)];
        assert_eq!(next_step(RULES, &voters(&[0, 59, 0]), &spare), None);
        assert_eq!(next_step(RULES, &voters(&[0, 60, 0]), &spare), replaces(2, 7));
        // The leader is never gone to itself.
        assert_eq!(next_step(RULES, &voters(&[90, 0, 0]), &spare), None);
        assert_eq!(next_step(RULES, &[], &spare), None);
    }

    #[test]
    fn one_voter_at_a_time_and_the_longest_silent_first() {
        let members = voters(&[0, 70, 0, 90, 0]);
        let spare = [healthy(7), healthy(8)];
        assert_eq!(next_step(RULES, &members, &spare), replaces(4, 7));
        let equal = voters(&[0, 90, 0, 90, 0]);
        assert_eq!(next_step(RULES, &equal, &spare), replaces(2, 7));
    }

    #[test]
    fn without_a_healthy_node_the_group_stays_as_it_is_meant() {
        let unfit = [
            Candidate { connected: false, ..healthy(7) },
            Candidate { alive: false, ..healthy(8) },
            Candidate { capable: false, is_seed: true, ..healthy(9) },
            // The other voters, connected as they are, are no more than they were.
            healthy(1),
            healthy(3),
            // Nor is a gone one whose agent alone came back.
            healthy(2),
        ];
        assert_eq!(next_step(RULES, &voters(&[0, 90, 0]), &unfit), None);
        assert_eq!(next_step(RULES, &voters(&[0, 90, 0]), &[]), None);
        // Four where three were meant: the one that is gone may go.
        assert_eq!(next_step(RULES, &voters(&[0, 90, 0, 0]), &[]), removes(2));
        // Meant to be five.
        let five = Rules { voters: 5, ..RULES };
        assert_eq!(next_step(five, &voters(&[0, 90, 0, 0]), &[]), None);
        assert_eq!(next_step(five, &voters(&[0, 90, 0, 0, 0]), &[]), None);
        // A cluster that began as one node and grew to three.
        let one = Rules { voters: 1, ..RULES };
        assert_eq!(next_step(one, &voters(&[0, 90, 0]), &[]), None);
        assert_eq!(next_step(one, &voters(&[0, 90, 0, 0]), &[]), removes(2));
    }

    #[test]
    fn the_best_node_comes() {
        let members = voters(&[0, 90, 0]);
        let step = |candidates: &[Candidate]| next_step(RULES, &members, candidates);
        assert_eq!(step(&[healthy(8), healthy(7)]), replaces(2, 7));
        let beside = Candidate { address: "m3:6000".to_owned(), ..healthy(7) };
        assert_eq!(step(&[healthy(8), beside.clone()]), replaces(2, 8));
        let in_the_place_of_the_gone = Candidate { address: "m2:5051".to_owned(), ..healthy(9) };
        let step_to_it = step(&[beside.clone(), in_the_place_of_the_gone]);
        assert!(matches!(step_to_it, Some(Step::Replace { by, .. }) if by == NodeId::from_bits(9)));
        let seed = Candidate { is_seed: true, ..healthy(9) };
        assert_eq!(step(&[healthy(8), seed.clone()]), replaces(2, 9));
        let older = Candidate { capable: false, ..seed.clone() };
        assert_eq!(step(&[healthy(8), older.clone()]), replaces(2, 8));
        assert_eq!(step(&[older]), None);
        let failed = Candidate { failures: 1, ..seed };
        assert_eq!(step(&[healthy(8), failed.clone()]), replaces(2, 8));
        // Better one that failed than none.
        assert_eq!(step(&[failed]), replaces(2, 9));
    }

    #[test]
    fn a_learner_is_promoted_first_and_removed_when_it_is_gone() {
        let learner = |number, minutes| MemberSeen {
            role: VoterRole::Learner,
            leads: false,
            ..MemberSeen { voter: voter(number), ..voters(&[minutes]).remove(0) }
        };
        let mut members = voters(&[0, 90, 0]);
        members.push(learner(8, 0));
        assert_eq!(next_step(RULES, &members, &[healthy(7), healthy(8)]), replaces(2, 8));
        // A gone voter comes before a gone learner.
        members[3] = learner(8, 90);
        assert_eq!(next_step(RULES, &members, &[healthy(7)]), replaces(2, 7));
        members[1].silent_for = Duration::ZERO;
        assert_eq!(next_step(RULES, &members, &[healthy(7)]), removes(8));
        members[3] = learner(8, 59);
        assert_eq!(next_step(RULES, &members, &[healthy(7)]), None);
    }

    /// Whatever fails, and in whatever order nodes die: a group of three stays one.
    #[test]
    fn no_sequence_of_steps_takes_a_group_of_three_below_three() {
        for spares in 0..4_u64 {
            let mut members = voters(&[0, 0, 0]);
            let mut candidates: Vec<Candidate> = (10..10 + spares).map(healthy).collect();
            for _ in 0..8 {
                if let Some(member) = members.iter_mut().find(|member| !member.leads) {
                    member.silent_for = 2 * HOUR;
                }
                match next_step(RULES, &members, &candidates) {
                    None => break,
                    Some(Step::Remove { gone }) => members.retain(|seen| seen.voter != gone),
                    Some(Step::Replace { gone, by, .. }) => {
                        members.retain(|seen| seen.voter != gone);
                        candidates.retain(|candidate| candidate.node_id != by);
                        let voter = Voter { raft_id: 100, node_id: by, address: String::new() };
                        let seen = MemberSeen {
                            voter,
                            silent_for: Duration::ZERO,
                            ..voters(&[0, 0]).remove(1)
                        };
                        members.push(seen);
                    }
                }
                assert_eq!(members.len(), 3, "{members:?}");
            }
        }
    }
}
