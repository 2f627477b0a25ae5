//! The manual and the schema against the program: nothing is missing in them, and nothing made up.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests make their own trees, and know what is in them"
)]

mod common;

use common::program::{Output, finish};
use common::tree::{name, remove, write};
use common::{Mirror, settle};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn document(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn help(command: &[&str]) -> String {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_twinfold"));
    program.args(command).arg("--help").env_clear();
    finish(program).expect(0).stdout
}

const COMMANDS: [&str; 6] = ["sync", "status", "rebuild-index", "approve", "restore", "accept"];

/// All words of a text that look like a long flag.
fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || "-_".contains(letter)));
    let is_flag = |word: &&str| word.len() > 3 && word.starts_with("--") && !word.starts_with("---");
    words.filter(is_flag).map(str::to_owned).collect()
}

/// Whether the manual has this word as code, alone or at the beginning of a piece of code.
fn has_code(manual: &str, word: &str) -> bool {
    [format!("`{word}`"), format!("`{word} "), format!("`{word}=")].iter().any(|code| manual.contains(code))
}

#[test]
fn the_manual_has_every_command_and_flag_and_no_other() {
    let manual = document("docs/manual.md");
    let mut known = BTreeSet::new();
    for command in COMMANDS {
        assert!(manual.contains(&format!("### twinfold {command}\n")), "{command}");
        known.extend(flags(&help(&[command])));
    }
    for flag in &known {
        assert!(has_code(&manual, flag), "{flag} is not in the manual");
    }
    let hidden = [
        "--src_path",
        "--replica_path",
        "--log_file_path",
        "--sync_interval_in_seconds",
        "--version",
        "--help",
    ];
    let made_up: Vec<String> = flags(&manual)
        .into_iter()
        .filter(|flag| !known.contains(flag) && !hidden.contains(&flag.as_str()))
        .collect();
    assert!(made_up.is_empty(), "{made_up:?} are in the manual only");
    let listed = help(&[]);
    for line in
        listed.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty())
    {
        // Longer texts go on in lines that are set in.
        let Some(command) = line.strip_prefix("  ").filter(|line| !line.starts_with(' ')) else { continue };
        let command = command.split_whitespace().next().unwrap();
        let named =
            manual.contains(&format!("twinfold {command}")) || manual.contains(&format!("`{command}`"));
        assert!(named, "{command} is not in the manual");
    }
}

#[test]
fn the_recipes_use_flags_that_there_are() {
    let mut known: BTreeSet<String> = COMMANDS.iter().flat_map(|command| flags(&help(&[command]))).collect();
    // Of other programs.
    known.extend(
        ["--delete", "--quiet", "--now", "--no-block", "--exclude-from", "--backup-dir", "--bwlimit"]
            .map(str::to_owned),
    );
    let unknown: Vec<String> =
        flags(&document("docs/recipes.md")).into_iter().filter(|flag| !known.contains(flag)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// The keys of the commented default configuration, which another test holds against the program.
fn keys() -> BTreeSet<String> {
    let key = |line: &str| {
        let line = line.trim_start_matches("# ");
        let (key, _) = line.split_once(" = ")?;
        key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then(|| key.to_owned())
    };
    document("config.toml").lines().filter_map(key).collect()
}

#[test]
fn the_manual_has_every_key_and_the_examples_are_taken() {
    let (manual, keys) = (document("docs/manual.md"), keys());
    assert!(keys.len() > 40, "{keys:?}");
    for key in &keys {
        assert!(has_code(&manual, key), "{key} is not in the manual");
    }
    let mirror = Mirror::new();
    for document in ["docs/recipes.md", "README.md"] {
        let text = self::document(document);
        for block in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            // What is only a part of a job goes into one.
            let job = "[[job]]\nname = \"x\"\nsource = \"/nowhere\"\nreplica = \"/nowhere-else\"\n";
            let config = if block.contains("[[job]]") { block.to_owned() } else { format!("{job}{block}") };
            let path = mirror.write_config("example.toml", &config);
            let mut command = mirror.program(&["status"]);
            command.arg("--config").arg(&path);
            let output = finish(command);
            assert_ne!(output.code, 2, "{document}: {block}{}", output.stderr);
        }
    }
}

#[test]
fn the_manual_has_every_exit_code_signal_variable_and_metric() {
    let manual = document("docs/manual.md");
    let source = document("src/error.rs");
    // `    Held = 4,`: the variants of the enum.
    let codes: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.strip_suffix(',')?.split_once(" = "))
        .filter(|(name, code)| {
            name.bytes().all(|byte| byte.is_ascii_alphabetic()) && code.parse::<u8>().is_ok()
        })
        .map(|(_, code)| code)
        .collect();
    assert!(codes.len() >= 10, "{codes:?}");
    for code in codes {
        assert!(manual.contains(&format!("\n| {code} | ")), "exit code {code}");
    }
    for signal in ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"] {
        assert!(
            manual.contains(&format!("| {signal}")) || manual.contains(&format!(", {signal} |")),
            "{signal}"
        );
    }
    let quoted = |path: &str, prefix: &str| -> BTreeSet<String> {
        let text = document(path);
        let words =
            text.split('"').filter(|word| word.starts_with(prefix) && !word.contains(['{', ' ', '\n']));
        words.map(str::to_owned).collect()
    };
    let variables = quoted("src/cli/after.rs", "TWINFOLD_");
    let metrics = quoted("src/engine/metrics.rs", "twinfold_");
    assert!(variables.len() >= 5 && metrics.len() >= 15, "{variables:?} {metrics:?}");
    for word in variables.iter().chain(&metrics) {
        assert!(manual.contains(word.as_str()), "{word} is not in the manual");
    }
}

fn schema() -> Value {
    serde_json::from_str(&document("docs/events.schema.json")).unwrap()
}

#[test]
fn the_manual_has_every_event_and_field_of_the_schema() {
    let (manual, schema) = (document("docs/manual.md"), schema());
    let mut fields = BTreeSet::new();
    for (_, event) in schema["$defs"].as_object().unwrap() {
        fields.insert(event["properties"]["event"]["const"].as_str().unwrap().to_owned());
        fields.extend(event["properties"].as_object().unwrap().keys().cloned());
    }
    assert!(fields.len() > 60, "{fields:?}");
    for field in fields {
        assert!(has_code(&manual, &field), "{field} is not in the manual");
    }
}

/// Holds every line of an output against the schema, and notes which events there were.
fn hold(validator: &jsonschema::Validator, lines: &str, seen: &mut BTreeSet<String>) {
    for line in lines.lines() {
        let object: Value = serde_json::from_str(line).unwrap();
        let event = object["event"].as_str().unwrap().to_owned();
        let variant = match event.as_str() {
            "summary" if object.get("sound").is_some() => "rebuild_summary".to_owned(),
            "summary" => "sync_summary".to_owned(),
            "entry" if object.get("excluded_by").is_some() => "excluded".to_owned(),
            _ => event,
        };
        let wrong: Vec<String> = validator.iter_errors(&object).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{variant}: {wrong:?}");
        seen.insert(variant);
    }
}

#[test]
fn everything_that_is_said_in_json_is_as_the_schema_has_it() {
    let schema = schema();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let mirror = Mirror::new();
    let config = "exclude = [\"*.no\"]\nverify = \"100%\"\nmax_delete = \"1\"\non_success = [\"/bin/echo\", \"hello\"]\n\
                  [trash]\nenabled = true\n[log]\nformat = \"json\"\nlevel = \"debug\"\n";
    mirror.write_config("home/twinfold/config.toml", config);
    let mut seen = BTreeSet::new();
    let mut call = |words: &[&str], more: &[&str]| -> Output {
        let mut command = mirror.program(words);
        command.args(mirror.roots()).args(more).arg("--json");
        let output = finish(command);
        hold(&validator, &output.stdout, &mut seen);
        output
    };
    for file in ["a", "b", "c", "d/e", "f.no"] {
        write(mirror.in_source(file), file.repeat(100));
    }
    write(mirror.in_source(name(b"odd\xff")), "x");
    std::os::unix::fs::symlink("a", mirror.in_source("link")).unwrap();
    settle();
    call(&["status"], &[]);
    call(&["sync", "-n"], &[]).expect(0);
    call(&["sync", "--once"], &[]).expect(0);
    write(mirror.in_source("a"), "other");
    remove(mirror.in_source("b"));
    remove(mirror.in_source("c"));
    settle();
    call(&["status", "--pending"], &[]).expect(0);
    call(&["sync", "--once"], &[]).expect(4);
    call(&["status"], &[]);
    call(&["approve"], &[]).expect(0);
    call(&["sync", "--once"], &[]).expect(0);
    call(&["restore", "a", "--list"], &[]).expect(0);
    call(&["restore", "b"], &[]).expect(0);
    call(&["sync", "--once"], &[]).expect(0);
    mirror.rot_source("d/e");
    mirror.rot_replica("a");
    call(&["rebuild-index"], &[]).expect(6);
    call(&["sync", "--once"], &[]).expect(3);
    call(&["status"], &[]);
    call(&["status", "--check"], &[]).expect(7);
    call(&["status", "--log"], &[]).expect(0);
    call(&["status", "--files"], &[]).expect(0);
    call(&["status", "a", "f.no"], &[]).expect(0);
    call(&["restore", "d/e", "--from-replica"], &[]).expect(0);
    call(&["accept", "a"], &[]).expect(0);
    call(&["sync", "--once"], &["--max-delete", "off"]).expect(0);
    fs::rename(&mirror.source, mirror.path("away")).unwrap();
    assert_eq!(call(&["sync", "--once"], &[]).code, 5);
    hold(&validator, &mirror.log(), &mut seen);
    // Warnings are many, and none of them is sure to come up here; they have the fields of a note.
    seen.extend(["warning", "message", "note"].map(str::to_owned));
    let defined: BTreeSet<String> = schema["$defs"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(seen, defined, "every sort of event was held against the schema");
}
