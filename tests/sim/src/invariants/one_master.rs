//! A term has one leader.

use crate::world::World;

pub(super) fn check(world: &World) {
    for (term, nodes) in &world.oracle.leaders {
        assert!(nodes.len() == 1, "term {term} has several leaders: {nodes:?}");
    }
    let mut leading = std::collections::BTreeMap::new();
    for node in 0..world.nodes.len() {
        if let Some(term) = world.term_led_by(node) {
            let other = leading.insert(term, node);
            assert!(other.is_none(), "n{node} and {other:?} both lead in term {term}");
        }
    }
}
