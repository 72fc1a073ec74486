//! No effect of a lower term is accepted after one of a higher term, and none of a leader that
//! was not confirmed.

use crate::world::World;

pub(super) fn check(world: &mut World) {
    let Some(instruction) = world.oracle.instruction.take() else { return };
    if !instruction.acted_on {
        return;
    }
    let (node, term) = (instruction.node, instruction.fence.term);
    assert_eq!(
        Some(instruction.fence),
        instruction.obeyed,
        "n{node} acts on the word of a leader that it does not follow"
    );
    let newest = world.oracle.acted_on.entry(node).or_default();
    assert!(*newest <= term, "n{node} acts on term {term} after term {newest}");
    *newest = term;
    let on_disk = world.nodes[node].disk.term;
    assert_eq!(on_disk, Some(term), "n{node} acts before the fence is on its disk");
}
