use meshos_protocol::resources::Resources;

use super::*;

fn quantities(text: &str) -> ScalarQuantities {
    text.parse::<Resources>().unwrap().quantities()
}

/// Ranks a party that holds this, held that on average, of so much.
fn rank(policy: &dyn Policy, held: &str, past: &str, total: &str, weight_millis: u64) -> Rank {
    let (held, past, total) = (quantities(held), quantities(past), quantities(total));
    policy.rank(&Account {
        party: Party::Direct,
        weight_millis,
        priority: 3,
        turns: 0,
        held: &held,
        past: &past,
        total: &total,
    })
}

fn share_of(held: &str, total: &str, weight_millis: u64) -> Share {
    rank(&Drf, held, "", total, weight_millis).share
}

#[test]
fn the_dominant_resource_is_the_scarcest_one_held() {
    assert_eq!(share_of("cpus:3;mem:12", "cpus:9;mem:18", 1000), Share::new(2, 3));
    assert_eq!(share_of("cpus:6;mem:2", "cpus:9;mem:18", 1000), Share::new(2, 3));
    assert_eq!(share_of("", "cpus:9;mem:18", 1000), Share::ZERO);
}

#[test]
fn weights_divide_the_share() {
    assert_eq!(share_of("cpus:3", "cpus:9", 2000), Share::new(1, 6));
    assert_eq!(share_of("cpus:3", "cpus:9", 500), Share::new(2, 3));
    assert_eq!(share_of("cpus:3", "cpus:9", 0), share_of("cpus:3", "cpus:9", 1));
}

#[test]
fn what_nobody_has_does_not_count() {
    assert_eq!(share_of("cpus:1;gone:5", "cpus:4", 1000), Share::new(1, 4));
    assert_eq!(share_of("gone:5", "", 1000), Share::ZERO);
    let max_min = MaxMin { resource: ResourceName::Gpus };
    assert_eq!(rank(&max_min, "cpus:4", "", "cpus:4", 1000).share, Share::ZERO);
}

use meshos_protocol::resources::ResourceName;

#[test]
fn max_min_sees_its_own_resource_only() {
    let policy = MaxMin { resource: ResourceName::Mem };
    let share = rank(&policy, "cpus:9;mem:3", "", "cpus:9;mem:12", 500).share;
    assert_eq!(share, Share::new(1, 2));
}

#[test]
fn a_higher_priority_is_a_lower_band() {
    let found = rank(&Priority, "cpus:3", "", "cpus:9", 1000);
    assert_eq!(found, Rank { band: -3, share: Share::new(1, 3) });
}

#[test]
fn fair_decay_adds_the_past_to_the_present() {
    let policy = FairDecay::new(Duration::from_secs(60));
    let share = |held, past| rank(&policy, held, past, "cpus:8;mem:8", 1000).share;
    assert_eq!(share("cpus:1", "cpus:2;mem:1"), Share::new(3, 8));
    assert_eq!(share("", "mem:4"), Share::new(1, 2));
}

#[test]
fn a_weighted_shuffle_puts_the_heavier_first_as_often_as_its_weight_says() {
    let mut policy = Random::default();
    let held = ScalarQuantities::new();
    let mut heavy_first = 0;
    let rounds = 4_000;
    for draw in 0..rounds {
        policy.begin_run(Mono(0), crate::mix::mix(draw));
        let place = |id, weight_millis| {
            policy.rank(&Account {
                party: Party::Framework(FrameworkId(id)),
                weight_millis,
                priority: 0,
                turns: 0,
                held: &held,
                past: &held,
                total: &held,
            })
        };
        heavy_first += u64::from(place(1, 3000) < place(2, 1000));
    }
    // Three in four; the standard deviation of the count is 27.
    assert!((2_890..=3_110).contains(&heavy_first), "{heavy_first} of {rounds}");
}

#[test]
fn policies_are_chosen_by_text_and_print_back() {
    for text in ["drf", "max-min:mem", "max-min:fpga", "priority", "fair-decay:90m", "random"] {
        let choice: PolicyChoice = text.parse().unwrap();
        assert_eq!(choice.to_string(), text);
        assert!(text.starts_with(choice.build().name()));
        let json = serde_json::to_string(&choice).unwrap();
        assert_eq!(serde_json::from_str::<PolicyChoice>(&json).unwrap(), choice);
    }
    assert_eq!("fair-decay".parse::<PolicyChoice>().unwrap().to_string(), "fair-decay:1d");
    assert_eq!("fair-decay:7200s".parse::<PolicyChoice>().unwrap().to_string(), "fair-decay:2h");
}

#[test]
fn what_is_no_policy_is_refused_with_what_to_do() {
    let table = [
        (
            "DRF",
            "there is no allocation policy `DRF`: choose drf, max-min:RESOURCE, priority, fair-decay:HALF-LIFE or random",
        ),
        (
            "",
            "there is no allocation policy ``: choose drf, max-min:RESOURCE, priority, fair-decay:HALF-LIFE or random",
        ),
        ("max-min", "max-min needs the resource to share by, as in `max-min:mem`"),
        ("max-min:", "max-min needs the resource to share by, as in `max-min:mem`"),
        (
            "max-min:ports",
            "max-min shares amounts, and `ports` are ranges: choose cpus, mem, disk or gpus",
        ),
        ("drf:2", "the allocation policy drf has no settings, but `2` was given"),
        (
            "fair-decay:0s",
            "`0s` is not a half-life: a whole number with s, m, h or d, between 1s and 365d, as in `fair-decay:12h`",
        ),
    ];
    for (text, message) in table {
        assert_eq!(text.parse::<PolicyChoice>().unwrap_err().to_string(), message);
    }
    for text in [
        "max-min:a b",
        "fair-decay:",
        "fair-decay:1",
        "fair-decay:h",
        "fair-decay:1w",
        "fair-decay:366d",
        "fair-decay:99999999999999999999d",
    ] {
        assert!(text.parse::<PolicyChoice>().is_err(), "{text}");
    }
}
