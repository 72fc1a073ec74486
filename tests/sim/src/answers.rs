//! What becomes of the calls that a framework wanted an answer to.

use meshos_protocol::{ids::RequestId, messages::scheduler::CallError, task::TaskState};

use crate::world::World;

impl World {
    /// A call was carried out, or not.
    pub(crate) fn driver_answered(
        &mut self,
        index: usize,
        request: RequestId,
        error: Option<CallError>,
    ) {
        let driver = &mut self.drivers[index];
        let Some(tasks) = driver.requests.remove(&request) else { return };
        let refused = error.is_some();
        if let (Some(_), Some(framework)) = (error, driver.framework) {
            // The accept was not carried out, so none of its tasks will be heard of.
            for task in tasks {
                self.oracle.refused(framework, &task);
                if let Some(belief) = driver.beliefs.get_mut(&task) {
                    belief.state = Some(TaskState::Dropped);
                }
            }
        }
        if refused {
            self.operations_refused(index, request);
        } else {
            self.drivers[index].operations.requests.remove(&request);
        }
    }
}
