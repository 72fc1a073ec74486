//! Whatever leader there is shows the tasks that ended under earlier ones too, the newest of all.

use crate::world::World;

pub(super) fn not_yet(world: &World) -> Option<String> {
    let Some(view) = world.master_view() else { return Some("nobody leads".to_owned()) };
    if view.tasks_ended.len() >= world.setup.master.ended_tasks_max {
        return None;
    }
    for ((framework, task), life) in &world.oracle.lives {
        // The agent told it, with an id; what a master infers dies with that master.
        let ended = matches!(life.told.last(), Some((Some(_), state)) if state.is_terminal());
        let rows = view.tasks_ended.iter();
        let rows: Vec<_> =
            rows.filter(|row| row.framework_id == *framework && row.id == *task).collect();
        if ended && !life.starts.is_empty() && rows.is_empty() {
            return Some(format!("nobody shows that {task} of {framework} has ended: {life:?}"));
        }
        if rows.len() > 1 && life.starts.len() == 1 {
            return Some(format!(
                "{task} of {framework} is shown to have ended more than once: {rows:?}; {life:?}"
            ));
        }
    }
    None
}
