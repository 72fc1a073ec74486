//! The one way to wait for what nothing tells of.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

const DAY_S: f64 = 86_400.0;

/// The seconds between a line that a node has logged and a moment; negative when the line came later.
///
/// # Panics
/// When the line does not begin with a time.
#[must_use]
pub fn since_logged(line: &str, moment: Instant) -> f64 {
    let time = line.split(['T', 'Z']).nth(1).expect("a line begins with its time");
    let number = |part: &str| part.parse::<f64>().expect("a time is hours, minutes and seconds");
    let logged = time.split(':').fold(0.0, |sum, part| sum * 60.0 + number(part));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    // One before midnight and one after it are not a day apart.
    let apart = (now - moment.elapsed().as_secs_f64() - logged).rem_euclid(DAY_S);
    if apart > DAY_S / 2.0 { apart - DAY_S } else { apart }
}
