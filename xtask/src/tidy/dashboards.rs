//! Rule `dashboard`: what Grafana is to load must at least parse.

use super::finding::Finding;
use super::source::Source;

pub(super) fn check(source: &Source, findings: &mut Vec<Finding>) {
    if !source.path.starts_with("dashboards/") || source.extension() != "json" {
        return;
    }
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&source.text) {
        let what = format!("this is not JSON: {error}");
        findings.push(Finding::new(
            &source.path,
            error.line().max(1),
            "dashboard",
            what,
            "mend it, or export it again",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dashboard_must_be_json() {
        let lines = |path: &str, text: &str| {
            let mut findings = Vec::new();
            check(&Source::fixture(path, text), &mut findings);
            findings.iter().map(|finding| finding.line).collect::<Vec<_>>()
        };
        assert_eq!(lines("dashboards/cluster.json", "{\"panels\": []}"), [0_usize; 0]);
        assert_eq!(lines("dashboards/cluster.json", "{\n\"panels\": [,]}"), [2]);
        assert_eq!(lines("tests/data.json", "{"), [0_usize; 0]);
    }
}
