//! The manual page and the completions tell of everything that the command line has.

mod common;

use common::program::{Output, finish, start_if_there};
use common::{Mirror, skip};
use std::process::Command;

fn program(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_twinfold"));
    command.args(arguments).env_clear();
    finish(command)
}

/// All long flags in the help of the program and of its subcommands.
fn flags() -> Vec<String> {
    let mut found = Vec::new();
    for command in [&[][..], &["status"], &["rebuild-index"], &["approve"]] {
        let help = program(&[command, &["--help"]].concat()).expect(0).stdout;
        let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        found.extend(words.filter(|word| word.len() > 3 && word.starts_with("--")).map(str::to_owned));
    }
    found.sort();
    found.dedup();
    assert!(found.len() > 20, "{found:?}");
    found
}

#[test]
fn the_manual_page_has_every_subcommand_and_every_flag() {
    let page = program(&["man"]).expect(0).stdout.replace("\\-", "-");
    for part in ["TWINFOLD STATUS", "TWINFOLD REBUILD-INDEX", "TWINFOLD APPROVE", "TWINFOLD COMPLETIONS"] {
        assert!(page.contains(part), "{part}");
    }
    for flag in flags() {
        assert!(page.contains(&flag), "{flag} is not in the manual page");
    }
}

#[test]
fn the_manual_page_renders_without_a_complaint() {
    let mirror = Mirror::new();
    let page = mirror.source.join("twinfold.1");
    common::tree::write(&page, program(&["man"]).expect(0).stdout);
    let mut command = Command::new("man");
    command.args(["--warnings", "-l"]).arg(&page).env("MANWIDTH", "100");
    let Some(running) = start_if_there(command) else { return skip("man is not installed") };
    let shown = running.wait().expect(0);
    assert!(shown.stdout.contains("TWINFOLD STATUS"), "{}", shown.stdout);
    assert_eq!(shown.stderr, "");
}

#[test]
fn every_shell_gets_its_completions_and_bash_takes_them() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = program(&["completions", shell]).expect(0).stdout;
        assert!(script.contains("rebuild-index") && script.contains("max-delete"), "{shell}");
    }
    program(&["completions", "dos"]).expect(2);
    let mirror = Mirror::new();
    let script = mirror.source.join("twinfold.bash");
    common::tree::write(&script, program(&["completions", "bash"]).expect(0).stdout);
    let mut command = Command::new("bash");
    command.arg("-c").arg(format!("source {} && complete -p twinfold", script.display()));
    let Some(running) = start_if_there(command) else { return skip("bash is not installed") };
    assert!(running.wait().expect(0).stdout.contains("twinfold"));
}
