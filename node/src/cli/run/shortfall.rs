//! What a node or an offer lacks of what an instance needs.

use meshos_protocol::{
    resources::{Amount, ResourceName, Resources},
    role::Role,
};

/// What is lacking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shortfall {
    cpus: Lack,
    mem: Lack,
    /// The part of the need that is lacking of the scarcer one, in thousandths.
    part: i64,
}

/// How much is lacking of one resource, and of which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lack {
    amount: Amount,
    revocable: bool,
}

impl Lack {
    fn of(name: &ResourceName, need: &Resources, has: &Resources) -> Self {
        let revocable = !need.revocable().amount_of(name).is_zero();
        let has = if revocable { has.revocable() } else { has.non_revocable() };
        let amount = need.amount_of(name).remaining_after(has.amount_of(name));
        Self { amount, revocable }
    }
}

impl Shortfall {
    /// Nothing, when there is enough.
    pub(super) fn of(need: &Resources, has: &Resources) -> Option<Self> {
        let [cpus, mem] = [ResourceName::Cpus, ResourceName::Mem].map(|name| {
            let lack = Lack::of(&name, need, has);
            let of = need.amount_of(&name).millis().max(1);
            (lack, lack.amount.millis().saturating_mul(1_000) / of)
        });
        let lacks = !cpus.0.amount.is_zero() || !mem.0.amount.is_zero();
        lacks.then(|| Self { cpus: cpus.0, mem: mem.0, part: cpus.1.max(mem.1) })
    }

    /// Whether less is lacking than there.
    pub(super) fn is_nearer_than(&self, other: &Self) -> bool {
        self.part < other.part
    }
}

impl std::fmt::Display for Shortfall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lacking = [("cpus", self.cpus), ("mem", self.mem)];
        let lacking = lacking.iter().filter(|(_, lack)| !lack.amount.is_zero());
        let lacking = lacking.map(|(name, Lack { amount, revocable })| {
            let kind = if *revocable { "{revocable}" } else { "" };
            format!("{name}{kind}:{amount}")
        });
        let lacking: Vec<String> = lacking.collect();
        f.write_str(&lacking.join(" and "))
    }
}

/// What of a node's total a run in a role could ever have; nothing of nodes with GPUs, which it is not
/// offered.
pub(super) fn usable(total: &Resources, role: &Role) -> Option<Resources> {
    let usable = || total.filter(|resource| resource.metadata().is_allocatable_to(role));
    total.gpus().is_zero().then(usable)
}

/// Says so when none of the nodes, of these names and totals, could ever hold an instance.
pub(super) fn of_all_nodes(need: &Resources, nodes: &[(String, Resources)]) -> Option<String> {
    let lent = need.revocable();
    let has_some = |total: &Resources| {
        let of_node = total.revocable();
        lent.names().all(|name| !of_node.amount_of(name).is_zero())
    };
    if !nodes.is_empty() && !nodes.iter().any(|(_, total)| has_some(total)) {
        let names: Vec<&str> = lent.names().map(ResourceName::as_str).collect();
        return Some(format!(
            "no node has revocable {}; an operator gives nodes some with --revocable-resources",
            names.join(" and ")
        ));
    }
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
        assert_eq!(told("cpus:1;cpus{revocable}:8;mem:128").unwrap(), "cpus:1");
        let lent = resources("cpus{revocable}:2;mem:128");
        let lack = Shortfall::of(&lent, &resources("cpus:9;cpus{revocable}:0.5;mem:64")).unwrap();
        assert_eq!(lack.to_string(), "cpus{revocable}:1.5 and mem:64");
        assert_eq!(Shortfall::of(&lent, &resources("cpus{revocable}:2;mem:128")), None);
    }

    #[test]
    fn a_cluster_without_what_may_be_taken_back_is_told() {
        let need = resources("cpus{revocable}:2;mem{revocable}:128");
        let nodes = |texts: &[&str]| -> Vec<_> {
            texts.iter().map(|text| ((*text).to_owned(), resources(text))).collect()
        };
        assert_eq!(
            of_all_nodes(&need, &nodes(&["cpus:8;mem:999", "cpus:8;cpus{revocable}:8;mem:999"]))
                .unwrap(),
            "no node has revocable cpus and mem; an operator gives nodes some with --revocable-resources"
        );
        let some = nodes(&["cpus:8;mem:999", "cpus{revocable}:1;mem{revocable}:128"]);
        let told = of_all_nodes(&need, &some).unwrap();
        assert!(
            told.ends_with("the nearest, lacks cpus{revocable}:1 even when it is empty"),
            "{told}"
        );
    }

    #[test]
    fn what_the_role_may_not_have_does_not_count() {
        let role = |name: &str| name.parse::<Role>().unwrap();
        let total = resources("cpus:6.5;cpus(db):1.5;mem:64");
        assert_eq!(usable(&total, &role("web")), Some(resources("cpus:6.5;mem:64")));
        assert_eq!(usable(&total, &role("db/hot")), Some(total));
        assert_eq!(usable(&resources("cpus:64;mem:64;gpus:1"), &role("web")), None);
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
