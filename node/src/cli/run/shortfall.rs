//! What a node or an offer lacks of what an instance needs.

use meshos_protocol::resources::{Amount, Resources};

/// What is lacking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortfall {
    cpus: Amount,
    mem: Amount,
    /// The part of the need that is lacking of the scarcer one, in thousandths.
    part: i64,
}

impl Shortfall {
    /// Nothing, when there is enough.
    pub(super) fn of(need: &Resources, has: &Resources) -> Option<Self> {
        let lack = |need: Amount, has: Amount| (need.millis() - has.millis()).max(0);
        let (cpus, mem) = (lack(need.cpus(), has.cpus()), lack(need.mem(), has.mem()));
        let part = |lack: i64, need: Amount| lack.saturating_mul(1_000) / need.millis().max(1);
        (cpus > 0 || mem > 0).then(|| Self {
            cpus: Amount::from_millis(cpus),
            mem: Amount::from_millis(mem),
            part: part(cpus, need.cpus()).max(part(mem, need.mem())),
        })
    }

    /// Whether less is lacking than there.
    pub(super) fn is_nearer_than(&self, other: &Self) -> bool {
        self.part < other.part
    }
}

impl std::fmt::Display for Shortfall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lacking = [("cpus", self.cpus), ("mem", self.mem)];
        let lacking = lacking.iter().filter(|(_, amount)| !amount.is_zero());
        let lacking: Vec<String> =
            lacking.map(|(name, amount)| format!("{name}:{amount}")).collect();
        f.write_str(&lacking.join(" and "))
    }
}

/// Says so when none of the nodes, of these names and totals, could ever hold an instance.
pub(super) fn of_all_nodes(need: &Resources, nodes: &[(String, Resources)]) -> Option<String> {
    let mut nearest: Option<(&str, Shortfall)> = None;
    for (name, total) in nodes {
        let lacking = Shortfall::of(need, total)?;
        if nearest.is_none_or(|(_, best)| lacking.is_nearer_than(&best)) {
            nearest = Some((name, lacking));
        }
    }
    let (name, lacking) = nearest?;
    Some(format!(
        "no node is that large: {name}, the nearest, lacks {lacking} even when it is empty"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(text: &str) -> Resources {
        text.parse().unwrap()
    }

    #[test]
    fn only_what_is_lacking_is_told() {
        let told = |has: &str| {
            Shortfall::of(&resources("cpus:2;mem:128"), &resources(has))
                .map(|lack| lack.to_string())
        };
        assert_eq!(told("cpus:2;mem:128"), None);
        assert_eq!(told("cpus:0.5;mem:1024").unwrap(), "cpus:1.5");
        assert_eq!(told("cpus:16").unwrap(), "mem:128");
        assert_eq!(told("mem:64").unwrap(), "cpus:2 and mem:64");
    }

    #[test]
    fn a_request_larger_than_every_node_is_told() {
        let nodes = [("a", "cpus:4;mem:64"), ("b", "cpus:6;mem:128"), ("c", "cpus:1;mem:999")];
        let nodes = nodes.map(|(name, total)| (name.to_owned(), resources(total)));
        assert_eq!(
            of_all_nodes(&resources("cpus:8;mem:128"), &nodes).unwrap(),
            "no node is that large: b, the nearest, lacks cpus:2 even when it is empty"
        );
        assert_eq!(of_all_nodes(&resources("cpus:6;mem:128"), &nodes), None);
        assert_eq!(of_all_nodes(&resources("cpus:6;mem:128"), &[]), None);
    }
}
