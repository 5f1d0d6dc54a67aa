//! Completions and manual pages.

use std::process::Command;

use crate::harness::command;

/// bash itself completes with the script: `bertology imp` and an option of `prune`.
#[test]
fn bash_completes_commands_and_options() {
    let made = command().args(["completions", "bash"]).output().unwrap();
    assert!(made.status.success());
    let script = String::from_utf8(made.stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bertology");
    std::fs::write(&file, script).unwrap();
    let asked = |words: &[&str]| {
        let line = words.join(" ");
        let last = words.len() - 1;
        let ask = format!(
            "source {}; COMP_WORDS=({line}); COMP_CWORD={last}; _bertology bertology {} {}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file.display(),
            words[last],
            words[last - 1]
        );
        let told = Command::new("bash").args(["-c", &ask]).output().unwrap();
        String::from_utf8(told.stdout).unwrap()
    };
    assert_eq!(asked(&["bertology", "imp"]).trim(), "importance");
    assert_eq!(asked(&["bertology", "prune", "--dry"]).trim(), "--dry-run");
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let made = command().arg("man").arg(folder.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    for page in [
        "bertology",
        "bertology-importance",
        "bertology-edge-data-ud-deps",
    ] {
        let page = folder.path().join(page).with_extension("1");
        let text = std::fs::read_to_string(&page).unwrap_or_else(|e| panic!("{page:?}: {e}"));
        assert!(text.contains(".SH SYNOPSIS"), "{text:.200}");
    }
}
