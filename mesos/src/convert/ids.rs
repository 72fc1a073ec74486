//! Ids as Mesos's clients see them: reversible, and the same from every node and after a change of
//! leader. They keep Mesos's form, which some clients take apart at its dashes.

use meshos_protocol::ids::{
    AgentId, ClusterId, FrameworkId, OfferId, OperationUuid, Term, UpdateId,
};

use crate::schema;

/// `<cluster>-NNNN`.
#[must_use]
pub fn framework(cluster: ClusterId, id: FrameworkId) -> schema::FrameworkId {
    schema::FrameworkId { value: Some(format!("{cluster}-{:04}", id.0)) }
}

/// The framework of that id, if it is one of this cluster.
#[must_use]
pub fn read_framework(cluster: ClusterId, text: &str) -> Option<FrameworkId> {
    let number = own(cluster, text)?.parse().ok().map(FrameworkId)?;
    (framework(cluster, number).value() == text).then_some(number)
}

/// `<cluster>-S<agent>`.
#[must_use]
pub fn agent(cluster: ClusterId, id: AgentId) -> schema::AgentId {
    schema::AgentId { value: Some(format!("{cluster}-S{id}")) }
}

/// The agent of that id, if it is one of this cluster.
#[must_use]
pub fn read_agent(cluster: ClusterId, text: &str) -> Option<AgentId> {
    own(cluster, text)?.strip_prefix('S')?.parse().ok()
}

/// `<cluster>-O<term>.<number>`.
#[must_use]
pub fn offer(cluster: ClusterId, id: OfferId) -> schema::OfferId {
    schema::OfferId { value: Some(format!("{cluster}-{id}")) }
}

/// The offer of that id, if it is one of this cluster.
#[must_use]
pub fn read_offer(cluster: ClusterId, text: &str) -> Option<OfferId> {
    own(cluster, text)?.parse().ok()
}

/// What follows the cluster's id.
fn own(cluster: ClusterId, text: &str) -> Option<&str> {
    text.strip_prefix(&cluster.to_string())?.strip_prefix('-')
}

/// Mesos gives each leader another id: here, the cluster's with the term in it.
#[must_use]
pub fn master(cluster: ClusterId, term: Term) -> String {
    ClusterId::from_u128(cluster.as_u128() ^ u128::from(term.0)).to_string()
}

/// The update of these bytes.
#[must_use]
pub fn read_update(bytes: &[u8]) -> Option<UpdateId> {
    bytes.try_into().ok().map(UpdateId::from_bytes)
}

/// Sixteen bytes: the term and the number.
#[must_use]
pub fn operation(uuid: OperationUuid) -> schema::Uuid {
    let bits = u128::from(uuid.term.0) << 64 | u128::from(uuid.number);
    schema::Uuid { value: Some(bits.to_be_bytes().to_vec()) }
}

/// The operation of these bytes.
#[must_use]
pub fn read_operation(bytes: &[u8]) -> Option<OperationUuid> {
    let (term, number) = bytes.split_first_chunk()?;
    let number = u64::from_be_bytes(number.try_into().ok()?);
    Some(OperationUuid { term: Term(u64::from_be_bytes(*term)), number })
}

#[cfg(test)]
mod tests {
    use meshos_protocol::ids::NodeId;

    use super::*;

    #[test]
    fn ids_come_back_and_are_of_their_cluster() {
        let (ours, other) = (ClusterId::from_u128(0xab), ClusterId::from_u128(0xac));
        let prefix = "00000000-0000-0000-0000-0000000000ab";
        for (number, text) in [(7, "0007"), (12_345, "12345")] {
            let shown = framework(ours, FrameworkId(number)).value().to_owned();
            assert_eq!(shown, format!("{prefix}-{text}"));
            assert_eq!(read_framework(ours, &shown), Some(FrameworkId(number)));
            assert_eq!(read_framework(other, &shown), None);
        }
        for text in ["", "7", "-7", "-00007", "-+007", "-S7"] {
            assert_eq!(read_framework(ours, &format!("{prefix}{text}")), None, "{text}");
        }
        let id = AgentId::new(NodeId::from_bits(99), 3);
        let shown = agent(ours, id).value().to_owned();
        assert_eq!(read_agent(ours, &shown), Some(id));
        assert_eq!(shown.split('-').count(), 6);
        let id = OfferId { term: Term(4), number: 5 };
        assert_eq!(offer(ours, id).value(), format!("{prefix}-O4.5"));
        assert_eq!(read_offer(ours, offer(ours, id).value()), Some(id));
        let id = OperationUuid { term: Term(4), number: u64::MAX };
        assert_eq!(read_operation(operation(id).value()), Some(id));
        assert_eq!(read_operation(&[0; 15]), None);
        assert_eq!(read_operation(&[0; 17]), None);
        assert_eq!(read_update(&[0; 15]), None);
    }

    #[test]
    fn each_leader_has_an_id_of_its_own() {
        let cluster = ClusterId::from_u128(0xab);
        assert_ne!(master(cluster, Term(1)), master(cluster, Term(2)));
        assert_eq!(master(cluster, Term(1)), "00000000-0000-0000-0000-0000000000aa");
    }
}
