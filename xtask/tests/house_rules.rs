//! The house rules as an ordinary test, so that `cargo test` alone holds them.

#[test]
fn the_workspace_holds_to_the_house_rules() {
    let (findings, files) = xtask::tidy::check(&xtask::cmd::workspace_root()).unwrap();
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), lines.join("\n"));
    assert!(files > 10, "only {files} files were read: this is not the workspace");
}
