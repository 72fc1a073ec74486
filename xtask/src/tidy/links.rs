//! Rule `link`: links between our own documents lead somewhere, headings included.

use std::path::{Component, Path, PathBuf};

use super::finding::Finding;
use super::source::Source;

/// Checks every Markdown file; `exists` answers for paths from the workspace's folder.
pub(super) fn check(
    sources: &[Source],
    exists: impl Fn(&Path) -> bool,
    findings: &mut Vec<Finding>,
) {
    for source in sources.iter().filter(|source| source.extension() == "md") {
        for (line, target) in links_of(&source.text) {
            if let Some(what) = broken(source, &target, sources, &exists) {
                let fix = "name a file that exists, relative to this one";
                findings.push(Finding::new(&source.path, line, "link", what, fix).about(&target));
            }
        }
    }
}

fn broken(
    source: &Source,
    target: &str,
    sources: &[Source],
    exists: &impl Fn(&Path) -> bool,
) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let Some(path) = resolve(&source.path, file) else {
        return Some(format!("the link {target} leads out of the repository"));
    };
    if !exists(&path) {
        return Some(format!(
            "the link {target} leads to {}, which does not exist",
            path.display()
        ));
    }
    let document = sources.iter().find(|other| Path::new(&other.path) == path)?;
    let known =
        heading.is_empty() || headings_of(&document.text).iter().any(|known| known == heading);
    (!known).then(|| format!("{} has no heading for the link {target}", document.path))
}

/// The path a link means, from the workspace's folder; an empty link means the document itself.
fn resolve(document: &str, link: &str) -> Option<PathBuf> {
    if link.is_empty() {
        return Some(PathBuf::from(document));
    }
    let folder = Path::new(document).parent().unwrap_or_else(|| Path::new(""));
    let mut resolved = PathBuf::new();
    for component in folder.join(link).components() {
        match component {
            Component::ParentDir if !resolved.pop() => return None,
            Component::RootDir | Component::Prefix(_) => return None,
            Component::Normal(name) => resolved.push(name),
            Component::ParentDir | Component::CurDir => {}
        }
    }
    Some(resolved)
}

/// The lines of a document outside fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((index + 1, line))
    })
}

fn links_of(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        // Text in backquotes is no link: every second part is inside them.
        let shown: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        for part in shown.split("](").skip(1) {
            let target = part.split([')', ' ']).next().unwrap_or_default();
            links.push((number, target.to_owned()));
        }
    }
    links
}

/// The anchors that renderers give to a document's headings: lower case, blanks as `-`, other signs left out.
fn headings_of(text: &str) -> Vec<String> {
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    let slug = |line: &str| -> String {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept =
            title.chars().filter(|sign| sign.is_alphanumeric() || matches!(sign, ' ' | '-' | '_'));
        kept.map(|sign| if sign == ' ' { '-' } else { sign }).collect()
    };
    headings.map(|(_, line)| slug(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken_links(readme: &str) -> Vec<(usize, String)> {
        let sources = [
            Source::fixture("README.md", readme),
            Source::fixture("docs/a.md", "# Top `x`: one\n```\n# no heading\n```\n"),
        ];
        let exists = |path: &Path| {
            ["README.md", "docs/a.md", "docs", "Cargo.toml"]
                .iter()
                .any(|known| path == Path::new(known))
        };
        let mut findings = Vec::new();
        check(&sources, exists, &mut findings);
        findings
            .into_iter()
            .map(|finding| (finding.line, finding.item.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn good_links_pass() {
        let text = "# Title\n[a](docs/a.md) [b](./docs/a.md#top-x-one) [c](Cargo.toml) [d](docs/)\n[e](https://x.org/y) [f](#title)\n\
                    `[g](nowhere)`\n```\n[h](nowhere)\n```\n";
        assert_eq!(broken_links(text), []);
    }

    #[test]
    fn links_to_missing_files_and_headings_are_found_with_their_line() {
        let text = "[a](docs/b.md)\n\n[b](docs/a.md#no-heading) and [c](#none)\n[d](../secret)\n";
        let expected =
            [(1, "docs/b.md"), (3, "docs/a.md#no-heading"), (3, "#none"), (4, "../secret")];
        assert_eq!(broken_links(text), expected.map(|(line, target)| (line, target.to_owned())));
    }
}
