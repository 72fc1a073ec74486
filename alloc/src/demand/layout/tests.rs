use meshos_protocol::{ids::NodeId, time::Mono, wishes::ResourceRequest};
use proptest::prelude::*;

use super::*;

fn resources(text: &str) -> Resources {
    text.parse().unwrap()
}

fn agent(number: usize) -> AgentId {
    AgentId::new(NodeId::from_bits(u64::try_from(number).unwrap()), 1)
}

fn request(of: Option<usize>, text: &str, count: u32) -> ResourceRequest {
    ResourceRequest { agent: of.map(agent), resources: resources(text), count }
}

/// What each agent gives, by the agents' numbers from 0.
fn lay_out(
    requests: &[ResourceRequest],
    free: &[&str],
    budget: &mut Budget,
) -> Option<Vec<(usize, String)>> {
    let demand = Demand::new(requests, Some(Mono(5))).unwrap();
    let available: Vec<_> =
        free.iter().enumerate().map(|(number, text)| (agent(number), resources(text))).collect();
    let laid_out = demand.lay_out(&available, &Role::default(), budget)?;
    Some(laid_out.into_iter().map(|(place, taken)| (place, taken.to_string())).collect())
}

#[test]
fn a_gang_is_laid_out_as_a_whole() {
    let requests = [request(None, "cpus:2", 3), request(Some(1), "cpus:1;mem:10", 1)];
    let lay_out = |first, second| lay_out(&requests, &[first, second], &mut Budget(0));
    let both = vec![(0, "cpus:4".to_owned()), (1, "cpus:3;mem:10".to_owned())];
    assert_eq!(lay_out("cpus:5", "cpus:3;mem:10"), Some(both));
    assert_eq!(lay_out("cpus:5", "cpus:2;mem:10"), None);
    assert_eq!(lay_out("cpus:9;mem:10", ""), None);
}

/// Whichever agent comes first, and in whatever order the requests are stated; without a search.
#[test]
fn a_gang_that_fits_only_largest_first_is_laid_out() {
    for requests in [["cpus:1", "cpus:4"], ["cpus:4", "cpus:1"]] {
        let requests = requests.map(|text| request(None, text, 1));
        for free in [["cpus:4", "cpus:1"], ["cpus:1", "cpus:4"]] {
            let laid_out = lay_out(&requests, &free, &mut Budget(0)).unwrap();
            assert_eq!(laid_out, [0, 1].map(|place| (place, free[place].to_owned())));
        }
    }
}

/// Three and three and four on each: whoever takes the largest first puts both fours on one.
#[test]
fn a_gang_that_no_greedy_way_fits_is_laid_out() {
    let requests = [request(None, "cpus:4;mem:100", 2), request(None, "cpus:3;mem:100", 4)];
    let free = ["cpus:10;mem:1000"; 2];
    let each = [0, 1].map(|place| (place, "cpus:10;mem:300".to_owned()));
    let mut budget = Budget::of_a_run();
    assert_eq!(lay_out(&requests, &free, &mut budget).as_deref(), Some(&each[..]));
    assert!(budget.0 > Budget::of_a_run().0 - 30, "a few steps: {budget:?}");
    assert_eq!(lay_out(&requests, &free, &mut Budget(0)), None, "only by a search");
}

#[test]
fn a_request_for_one_agent_is_searched_for_there_alone() {
    // The named one takes the place of a four, so that the fours must both go to the other.
    let requests = [
        request(Some(1), "cpus:2", 1),
        request(None, "cpus:4", 2),
        request(None, "cpus:3", 3),
        request(None, "cpus:1", 1),
    ];
    let whole = [0, 1].map(|place| (place, "cpus:10".to_owned()));
    let laid_out = lay_out(&requests, &["cpus:10", "cpus:10"], &mut Budget::of_a_run());
    assert_eq!(laid_out.as_deref(), Some(&whole[..]));
    assert_eq!(lay_out(&requests, &["cpus:11", "cpus:1"], &mut Budget::of_a_run()), None);
}

/// One that fits nowhere costs at most a part of what all may spend, however many ways there are.
#[test]
fn a_search_without_end_is_given_up() {
    let requests: Vec<_> =
        (0..30).map(|number| request(None, &format!("cpus:{}", 101 + 2 * number), 3)).collect();
    let wanted: usize = (0..30).map(|number| 3 * (101 + 2 * number)).sum();
    let free = format!("cpus:{}", wanted / 20 + 1);
    let mut budget = Budget::of_a_run();
    for searches in 1..=5 {
        assert_eq!(lay_out(&requests, &[free.as_str(); 20], &mut budget), None);
        assert_eq!(budget.0, Budget::of_a_run().0 - searches * Budget::SEARCH);
    }
    assert_eq!(lay_out(&requests, &[free.as_str(); 20], &mut budget), None, "nothing is left");
}

/// Whether each of these units fits on some agent, all of them at once: by trying all ways.
fn fits_somehow(units: &[(Option<usize>, u8, u8)], free: &mut [(u8, u8)]) -> bool {
    let Some(((named, cpus, mem), units)) = units.split_first() else { return true };
    (0..free.len()).filter(|place| named.is_none_or(|named| named == *place)).any(|place| {
        let before = free[place];
        let (Some(cpus), Some(mem)) = (before.0.checked_sub(*cpus), before.1.checked_sub(*mem))
        else {
            return false;
        };
        free[place] = (cpus, mem);
        let fits = fits_somehow(units, free);
        free[place] = before;
        fits
    })
}

type Kind = (Option<usize>, u8, u8, u32);

fn kind() -> impl Strategy<Value = Kind> {
    let named = prop_oneof![5 => Just(None), 1 => (0_usize..3).prop_map(Some)];
    (named, 1_u8..6, 1_u8..6, 1_u32..4)
}

proptest! {
    /// A way is found exactly when there is one, and it takes what is wanted from what is there.
    #[test]
    fn whatever_fits_is_laid_out(
        kinds in prop::collection::vec(kind(), 1..4),
        free in prop::collection::vec((1_u8..12, 1_u8..12), 1..4),
    ) {
        let units: Vec<_> = kinds
            .iter()
            .flat_map(|(named, cpus, mem, count)| (0..*count).map(|_| (*named, *cpus, *mem)))
            .collect();
        let requests: Vec<_> = kinds
            .iter()
            .map(|(named, cpus, mem, count)| {
                request(*named, &format!("cpus:{cpus};mem:{mem}"), *count)
            })
            .collect();
        let texts: Vec<_> =
            free.iter().map(|(cpus, mem)| format!("cpus:{cpus};mem:{mem}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let found = lay_out(&requests, &texts, &mut Budget::of_a_run());
        prop_assert_eq!(found.is_some(), fits_somehow(&units, &mut free.clone()));
        let Some(found) = found else { return Ok(()) };
        let mut sum = Resources::new();
        for (place, taken) in found {
            let taken = resources(&taken);
            prop_assert!(resources(texts[place]).contains(&taken));
            sum += &taken;
        }
        let wanted = units.iter().map(|(_, cpus, mem)| resources(&format!("cpus:{cpus};mem:{mem}")));
        prop_assert_eq!(sum, wanted.sum::<Resources>());
    }
}
