//! The one way to wait for what nothing tells of.

use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(15);

/// Looks until `condition` has something, and gives it back.
///
/// # Panics
/// With `what` when that takes longer than `limit`.
#[track_caller]
pub fn poll_until<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(start.elapsed() < limit, "did not come true within {limit:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Waits until `condition` holds, as long as anything may take.
///
/// # Panics
/// With `what` when it does not come true.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    poll_until(PATIENCE, what, || condition().then_some(()));
}

/// Says something that is shown also when the test passes: a figure that is measured and not asserted.
pub fn say(text: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    // Unlike what the macros print, this is not captured.
    writeln!(std::io::stderr(), "{text}").ok();
}
