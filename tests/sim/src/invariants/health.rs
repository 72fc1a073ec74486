//! A task is told to be killed for its health only when its probes really failed so often in a row, and to be healthy only when
//! one has succeeded.

use crate::{
    oracle::{Life, TaskKey},
    probes::FAILURES,
};

pub(super) fn check(key: &TaskKey, life: &Life) {
    assert!(
        !life.killed_unhealthy || life.failures_most >= FAILURES,
        "{key:?} was killed for its health after {} failures in a row, {FAILURES} were agreed",
        life.failures_most
    );
    assert!(
        !life.told_healthy || life.probe_succeeded,
        "{key:?} was told to be healthy, and no probe has succeeded"
    );
}
