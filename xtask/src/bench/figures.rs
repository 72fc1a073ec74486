//! The figures a bench comes to, for people as a table and for scripts as JSON.
//!
//! The JSON is a contract: `{"figures":{"NAME":{"value":1.2,"unit":"ms"}}}`, names in `snake_case`, one line.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Map, Value, json};

/// Named values with their units, in the order they were added.
#[derive(Debug, Default)]
pub struct Figures {
    rows: Vec<(String, f64, String)>,
}

impl Figures {
    /// Adds one figure.
    ///
    /// # Errors
    /// When the value is not finite (JSON has no such number) or the name was added before: both mean a broken bench.
    pub fn add(&mut self, name: &str, value: f64, unit: &str) -> anyhow::Result<()> {
        if !value.is_finite() {
            bail!("figure {name} is {value}: nothing was measured");
        }
        if self.rows.iter().any(|(known, ..)| known == name) {
            bail!("figure {name} was given twice");
        }
        self.rows.push((name.to_owned(), value, unit.to_owned()));
        Ok(())
    }

    /// The figures as one line of JSON, values rounded to a thousandth.
    pub fn to_json(&self) -> String {
        let rows = self.rows.iter().map(|(name, value, unit)| {
            let rounded = (value * 1_000.0).round() / 1_000.0;
            (name.clone(), json!({ "value": rounded, "unit": unit }))
        });
        json!({ "figures": Value::Object(rows.collect::<Map<_, _>>()) }).to_string()
    }

    /// The figures as aligned rows: name, value, unit.
    pub fn to_table(&self) -> String {
        let width = self.rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
        let mut table = String::new();
        for (name, value, unit) in &self.rows {
            writeln!(table, "{name:<width$}  {value:>12.3} {unit}")
                .expect("writing to a String cannot fail");
        }
        table.truncate(table.trim_end().len());
        table
    }
}

/// A time in milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// The value below which `percent` of the samples lie (nearest rank); sorts the samples. `None` when there are none.
pub fn percentile(samples: &mut [Duration], percent: u32) -> Option<Duration> {
    samples.sort_unstable();
    let percent = usize::try_from(percent.min(100)).unwrap_or(100);
    let rank = (samples.len() * percent).div_ceil(100);
    samples.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_the_contract_for_scripts() {
        let mut figures = Figures::default();
        figures.add("run_p50_ms", 1.200_04, "ms").unwrap();
        assert_eq!(figures.to_json(), r#"{"figures":{"run_p50_ms":{"unit":"ms","value":1.2}}}"#);
    }

    #[test]
    fn the_table_aligns_names() {
        let mut figures = Figures::default();
        figures.add("rate_per_s", 478.0, "1/s").unwrap();
        figures.add("p50_ms", 2.0, "ms").unwrap();
        assert_eq!(figures.to_table(), "rate_per_s       478.000 1/s\np50_ms             2.000 ms");
    }

    #[test]
    fn a_value_that_is_no_number_and_a_second_value_are_refused() {
        let mut figures = Figures::default();
        assert!(figures.add("rate", f64::NAN, "1/s").is_err());
        figures.add("rate", 1.0, "1/s").unwrap();
        assert!(figures.add("rate", 2.0, "1/s").is_err());
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let mut samples: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut samples, 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&mut samples, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&mut samples, 100), Some(Duration::from_millis(200)));
        assert_eq!(percentile(&mut samples, 0), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&mut [], 50), None);
    }
}
