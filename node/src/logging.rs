//! Logs: one line per event on standard error, filtered by level and module.

use tracing_subscriber::EnvFilter;

/// The variable that says how much any command logs.
pub(crate) const LEVEL_VARIABLE: &str = "MESHOS_LOG";

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What is logged: a level, or levels by module. Checked: it can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter(String);

/// How logs are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub filter: Filter,
    /// One JSON object a line.
    pub json: bool,
}

impl Default for Filter {
    /// Info, of our own crates alone: libraries that log at this level do so for their authors.
    fn default() -> Self {
        Self::of_level("info")
    }
}

impl Filter {
    /// Reads a level (`debug`) or directives (`warn,meshos_node::gateway=debug`).
    ///
    /// # Errors
    /// Says what was expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if LEVELS.contains(&text) {
            return Ok(Self::of_level(text));
        }
        let expected = || {
            format!(
                "expected one of {}, or levels by module such as warn,meshos_control=debug",
                LEVELS.join(", ")
            )
        };
        for directive in text.split(',') {
            // A lone word would be taken for the name of a module.
            let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
            if !LEVELS.contains(&level.trim()) {
                return Err(expected());
            }
        }
        EnvFilter::try_new(text).map_err(|_| expected())?;
        Ok(Self(text.to_owned()))
    }

    fn of_level(level: &str) -> Self {
        let others = if matches!(level, "off" | "error") { level } else { "warn" };
        // It warns of each heartbeat that a dead voter does not answer, ten times a second.
        let raft = match level {
            "debug" | "trace" => "warn",
            "off" => "off",
            _ => "error",
        };
        Self(format!("{others},openraft={raft},meshos={level}{}", own_crates(level)))
    }

    /// What commands other than nodes log, when the environment does not say otherwise.
    ///
    /// # Errors
    /// Says what is wrong with the variable.
    pub(crate) fn of_environment() -> Result<Self, String> {
        match std::env::var(LEVEL_VARIABLE) {
            Ok(text) => {
                Self::parse(&text).map_err(|why| format!("{LEVEL_VARIABLE} is {text:?}: {why}"))
            }
            Err(_) => Ok(Self("error".to_owned())),
        }
    }
}

fn own_crates(level: &str) -> String {
    let names = ["alloc", "control", "isolation", "membership", "protocol", "sdk"];
    names.map(|name| format!(",meshos_{name}={level}")).concat()
}

/// Sends what this process logs to standard error.
pub(crate) fn start(options: &Options) {
    let filter = EnvFilter::new(&options.filter.0);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if options.json {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
        builder.with_ansi(colours).try_init()
    };
    // It fails only where logs go somewhere already.
    drop(started);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_for_our_own_crates() {
        let filter = Filter::parse("debug").unwrap();
        assert!(filter.0.starts_with("warn,openraft=warn,meshos=debug,"), "{filter:?}");
        assert!(Filter::parse("off").unwrap().0.starts_with("off,openraft=off,meshos=off,"));
        assert_eq!(Filter::parse("info").unwrap(), Filter::default());
    }

    #[test]
    fn directives_pass_and_slips_do_not() {
        let text = "warn,meshos_control=debug";
        assert_eq!(Filter::parse(text).unwrap().0, text);
        for slip in ["inffo", "", "meshos_control", "meshos=loud", "warn,debgu"] {
            let error = Filter::parse(slip).unwrap_err();
            assert!(error.starts_with("expected one of off, error, warn"), "{slip}: {error}");
        }
    }
}
