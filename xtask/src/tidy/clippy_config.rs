//! Rule `clippy-config`: clippy reads the nearest `clippy.toml` alone, so a crate's own file must repeat the root's; and
//! each pure crate must have one that bans clocks, threads, randomness, unordered maps, and the standard library's input and
//! output.

use toml::{Table, Value};

use super::finding::Finding;
use super::source::Source;

const ROOT: &str = "clippy.toml";
/// Crates without clock, input and output, threads and entropy of their own.
pub(super) const PURE_FOLDERS: &[&str] = &["protocol", "alloc", "control", "mesos"];
const PURE_METHODS: &[&str] = &[
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::spawn",
    "std::thread::sleep",
    "std::env::var",
    "std::process::exit",
    "std::fs::read",
    "std::fs::read_to_string",
    "std::fs::read_dir",
    "std::fs::read_link",
    "std::fs::write",
    "std::fs::copy",
    "std::fs::rename",
    "std::fs::hard_link",
    "std::fs::metadata",
    "std::fs::symlink_metadata",
    "std::fs::canonicalize",
    "std::fs::exists",
    "std::fs::set_permissions",
    "std::fs::create_dir",
    "std::fs::create_dir_all",
    "std::fs::remove_file",
    "std::fs::remove_dir",
    "std::fs::remove_dir_all",
    "std::path::Path::exists",
    "std::path::Path::try_exists",
    "std::path::Path::is_file",
    "std::path::Path::is_dir",
    "std::path::Path::is_symlink",
    "std::path::Path::metadata",
    "std::path::Path::symlink_metadata",
    "std::path::Path::canonicalize",
    "std::path::Path::read_dir",
    "std::path::Path::read_link",
    "std::net::ToSocketAddrs::to_socket_addrs",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::env::var_os",
    "std::env::vars",
    "std::env::vars_os",
    "std::env::args",
    "std::env::args_os",
    "std::env::current_dir",
    "std::env::current_exe",
];
const PURE_TYPES: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map::RandomState",
    "std::fs::File",
    "std::fs::OpenOptions",
    "std::fs::DirBuilder",
    "std::process::Command",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::os::unix::net::UnixStream",
    "std::os::unix::net::UnixListener",
    "std::os::unix::net::UnixDatagram",
    "std::io::Stdin",
    "std::io::Stdout",
    "std::io::Stderr",
];

pub(super) fn check(sources: &[Source], findings: &mut Vec<Finding>) {
    let parsed = |path: &str, findings: &mut Vec<Finding>| {
        let source = sources.iter().find(|source| source.path == path)?;
        match source.text.parse::<Table>() {
            Ok(table) => Some(table),
            Err(error) => {
                let what = format!("this is not TOML: {}", error.message());
                findings.push(Finding::new(path, 1, "clippy-config", what, "mend the syntax"));
                None
            }
        }
    };
    let Some(root) = parsed(ROOT, findings) else {
        let fix = "restore it";
        findings.push(Finding::new(
            ROOT,
            1,
            "clippy-config",
            "the root clippy.toml is missing".to_owned(),
            fix,
        ));
        return;
    };
    for source in sources.iter().filter(|source| source.file_name() == ROOT && source.path != ROOT)
    {
        if let Some(own) = parsed(&source.path, findings) {
            repeats_root(&root, &own, &source.path, findings);
        }
    }
    for folder in PURE_FOLDERS {
        let path = format!("{folder}/{ROOT}");
        let own = parsed(&path, findings).unwrap_or_default();
        let bans = |key: &str| listed(own.get(key)).collect::<Vec<_>>();
        // Banning a type bans its functions with it.
        let types = bans("disallowed-types");
        let methods = bans("disallowed-methods");
        let covered = |path: &str| {
            methods.contains(&path)
                || types.iter().any(|known| path.starts_with(&format!("{known}::")))
        };
        let missing_methods = PURE_METHODS
            .iter()
            .filter(|path| !covered(path))
            .map(|path| ("disallowed-methods", path));
        let missing_types = PURE_TYPES
            .iter()
            .filter(|path| !types.contains(path))
            .map(|path| ("disallowed-types", path));
        for (key, banned) in missing_methods.chain(missing_types) {
            let what = format!("the pure crate {folder} does not ban {banned}");
            let fix = format!("add it to {key} in {path}, with the replacement as reason");
            findings.push(Finding::new(&path, 1, "clippy-config", what, &fix).about(banned));
        }
    }
}

fn repeats_root(root: &Table, own: &Table, path: &str, findings: &mut Vec<Finding>) {
    for (key, value) in root {
        let missing: Vec<String> = match value {
            Value::Array(_) => {
                let known: Vec<_> = listed(own.get(key)).collect();
                let common = value.as_array().into_iter().flatten().filter(|ban| !is_optional(ban));
                let missing = common.filter_map(path_of).filter(|path| !known.contains(path));
                missing.map(str::to_owned).collect()
            }
            _ if own.get(key) == Some(value) => Vec::new(),
            _ => vec![value.to_string()],
        };
        for entry in missing {
            let what = format!("`{key}` lacks what the root clippy.toml says: {entry}");
            findings.push(
                Finding::new(path, 1, "clippy-config", what, "repeat the root's entry here")
                    .about(key),
            );
        }
    }
}

/// The paths in a list of bans.
fn listed(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(path_of)
}

/// An entry of a list of bans is a path, or a table with one.
fn path_of(entry: &Value) -> Option<&str> {
    entry.as_str().or_else(|| entry.get("path")?.as_str())
}

/// Bans in crates that not every member is linked with.
fn is_optional(entry: &Value) -> bool {
    entry.get("allow-invalid") == Some(&Value::Boolean(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT_TEXT: &str = "too-many-lines-threshold = 70\ndisallowed-methods = [\
        { path = \"std::env::set_var\", reason = \"x\" }, { path = \"rustls::f\", allow-invalid = true }]\n";

    fn pure_text() -> String {
        let bans = |paths: &[&str]| {
            paths.iter().map(|path| format!("\"{path}\"")).collect::<Vec<_>>().join(", ")
        };
        format!(
            "too-many-lines-threshold = 70\ndisallowed-methods = [\"std::env::set_var\", {}]\ndisallowed-types = [{}]\n",
            bans(PURE_METHODS),
            bans(PURE_TYPES)
        )
    }

    fn check_with(alloc: Option<&str>) -> Vec<(String, Option<String>)> {
        let mut sources = vec![Source::fixture(ROOT, ROOT_TEXT)];
        sources.extend(
            ["protocol", "control", "mesos"]
                .map(|folder| Source::fixture(&format!("{folder}/{ROOT}"), &pure_text())),
        );
        sources.extend(alloc.map(|text| Source::fixture("alloc/clippy.toml", text)));
        let mut findings = Vec::new();
        check(&sources, &mut findings);
        findings.into_iter().map(|finding| (finding.path, finding.item)).collect()
    }

    #[test]
    fn a_complete_file_passes() {
        assert_eq!(check_with(Some(&pure_text())), []);
    }

    #[test]
    fn a_missing_or_broken_file_of_a_pure_crate_is_found() {
        assert_eq!(check_with(None).len(), PURE_METHODS.len() + PURE_TYPES.len());
        assert!(
            check_with(Some("= 3"))
                .iter()
                .any(|(path, item)| path == "alloc/clippy.toml" && item.is_none())
        );
    }

    #[test]
    fn each_entry_of_the_common_part_must_be_repeated() {
        let found = check_with(Some(&pure_text().replace("= 70", "= 90")));
        assert_eq!(
            found,
            [("alloc/clippy.toml".to_owned(), Some("too-many-lines-threshold".to_owned()))]
        );
        let found = check_with(Some(&pure_text().replace("\"std::env::set_var\", ", "")));
        assert_eq!(
            found,
            [("alloc/clippy.toml".to_owned(), Some("disallowed-methods".to_owned()))]
        );
    }

    #[test]
    fn each_ban_of_the_pure_crates_must_be_there() {
        let found = check_with(Some(&pure_text().replace(", \"std::collections::HashSet\"", "")));
        assert_eq!(
            found,
            [("alloc/clippy.toml".to_owned(), Some("std::collections::HashSet".to_owned()))]
        );
    }
}
