//! Benches of the pure crates are examples of theirs, so that nothing else is built.

use anyhow::Context;
use serde_json::Value;

use super::figures::Figures;
use crate::cmd;

/// The figures that an example of a crate prints.
///
/// # Errors
/// When it cannot be built, fails, or prints no figures.
pub fn figures(package: &str, example: &str) -> anyhow::Result<Figures> {
    let arguments = ["run", "-q", "--release", "--locked", "-p", package, "--example", example];
    figures_of(&cmd::capture(&mut cmd::cargo(&arguments))?)
}

fn figures_of(answer: &str) -> anyhow::Result<Figures> {
    let answer: Value =
        serde_json::from_str(answer).context("the measuring program prints JSON")?;
    let rows = answer["figures"].as_object().context("no figures")?;
    let mut figures = Figures::default();
    for (name, row) in rows {
        let value = row["value"].as_f64().with_context(|| format!("figure {name} has no value"))?;
        let unit = row["unit"].as_str().with_context(|| format!("figure {name} has no unit"))?;
        figures.add(name, value, unit)?;
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_taken_over_with_their_names_and_units() {
        let answer = r#"{"figures":{"quota_3k_ms":{"unit":"ms","value":12.5}}}"#;
        assert_eq!(figures_of(answer).unwrap().to_json(), answer);
        assert!(figures_of(r#"{"figures":{"x":{"unit":"ms"}}}"#).is_err());
        assert!(figures_of("{}").is_err());
    }
}
