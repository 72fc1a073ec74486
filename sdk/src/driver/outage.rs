//! How long no node could be reached, and when that is told.

use std::time::Duration;

use tokio::time::Instant;

/// How long the driver tries without a word.
const SILENCE: Duration = Duration::from_secs(1);
/// How often it says so again.
const REPEAT: Duration = Duration::from_secs(10);

/// The time since the last connection, or since the start.
#[derive(Debug)]
pub(super) struct Outage {
    tell_at: Instant,
    /// What the last attempt came to.
    why: Option<String>,
}

impl Outage {
    /// It begins now.
    pub(super) fn new() -> Self {
        Self { tell_at: Instant::now() + SILENCE, why: None }
    }

    /// An attempt has failed.
    pub(super) fn failed(&mut self, node: &str, why: &dyn std::fmt::Display) {
        let why = why.to_string();
        // Most errors name the address themselves.
        self.why = Some(if why.contains(node) { why } else { format!("{node}: {why}") });
    }

    /// Waits until it is to be told.
    pub(super) async fn due(&self) {
        tokio::time::sleep_until(self.tell_at).await;
    }

    /// What is told now, while `node` is tried.
    pub(super) fn tell(&mut self, node: &str) -> String {
        self.tell_at = Instant::now() + REPEAT;
        match &self.why {
            Some(why) => format!("no node can be reached ({why}); trying on"),
            None => format!(
                "no answer from {node} yet; is that the agent port of a node, 5051 unless told otherwise? \
                 trying on"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_told_after_a_second_and_then_now_and_then() {
        let begin = Instant::now();
        let mut outage = Outage::new();
        outage.due().await;
        assert!(begin.elapsed() >= SILENCE);
        assert!(outage.tell("h:1").starts_with("no answer from h:1 yet; is that the agent port"));
        assert!(outage.tell_at >= begin + SILENCE + REPEAT);
        outage.failed("h:1", &"no answer within 3000 ms");
        let told = outage.tell("h:1");
        assert_eq!(told, "no node can be reached (h:1: no answer within 3000 ms); trying on");
        outage.failed("h:1", &"connection lost: h:1: no route");
        assert!(outage.tell("h:1").contains("(connection lost: h:1: no route)"));
    }
}
