//! The architecture: a file uses what lies on the floors below it, and of its own floor only its
//! own module, but for the exceptions listed here.

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every top-level module with its floor.
const FLOORS: [(&str, u8); 28] = [
    ("model", 0),
    ("cancel", 0),
    ("plan", 1),
    ("monitor", 1),
    ("schedule", 1),
    ("store", 2),
    ("hash", 2),
    ("transfer", 2),
    ("manifest", 2),
    ("lock", 2),
    ("config", 2),
    ("clock", 2),
    ("umask", 2),
    ("allocator", 2),
    ("roots", 2),
    ("resolved", 2),
    ("mountinfo", 2),
    ("hook", 2),
    ("orphans", 2),
    ("priority", 2),
    ("engine", 3),
    ("error", 3),
    ("cli", 4),
    ("signals", 4),
    ("main", 4),
    // Names the modules and nothing else.
    ("lib", 4),
    ("filter", 1),
    // Planned by DESIGN.md, listed so that they land on their floor.
    ("exit", 4),
];

/// Who may use a neighbour on the same floor, and why.
const NEIGHBOURS: [(&str, &str, &str); 18] = [
    ("manifest", "lock", "writing needs the lock as proof"),
    ("transfer", "hash", "a journal is hashed as it is written"),
    ("roots", "config", "roots are paths of the operator and resolved like all of those"),
    ("roots", "mountinfo", "a root is known by the mount it lies on"),
    ("resolved", "store", "below `/` a path is opened as below a root"),
    ("roots", "resolved", "a root is opened where it was found, through no link"),
    ("config", "resolved", "so is the config, and the state folder"),
    ("lock", "resolved", "so is the lock"),
    ("manifest", "resolved", "so is the manifest"),
    ("store", "mountinfo", "what is mounted inside a tree is judged by how it is mounted"),
    ("plan", "filter", "what is excluded is decided by it"),
    ("monitor", "plan", "who watches is told what a plan intends"),
    ("engine", "error", "what ends a run is what the engine returns"),
    ("error", "engine", "none yet; the exit code may ask the report"),
    ("hook", "orphans", "its command is no orphan"),
    ("hook", "umask", "a command gets the mask that the program was started with"),
    ("priority", "config", "it is what the config says"),
    ("cli", "signals", "the shell wires them up"),
];

/// A file may have so many lines.
const MOST_LINES: usize = 400;

/// What floors 0 and 1 must not touch.
const IMPURE: [&str; 8] = [
    "std::fs",
    "std::thread",
    "std::net",
    "std::process",
    "std::env",
    "time::Instant",
    "time::SystemTime",
    "rustix::",
];

struct Source {
    path: PathBuf,
    module: String,
    /// The lines that are no test code and no comment.
    code: Vec<(usize, String)>,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(found.len() > 50, "the sources were found");
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let relative = path.strip_prefix(root).unwrap();
            let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
            let module = first.trim_end_matches(".rs").to_owned();
            let is_test = relative.ends_with("tests.rs");
            let code = if is_test { Vec::new() } else { without_tests(&text) };
            found.push(Source { path: relative.to_owned(), module, code, lines: text.lines().count() });
        }
    }
}

/// The numbered lines of a file up to its tests, which are always last, comments left out.
fn without_tests(text: &str) -> Vec<(usize, String)> {
    let numbered = text.lines().enumerate().map(|(number, line)| (number + 1, line.to_owned()));
    numbered
        .take_while(|(_, line)| line != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .collect()
}

fn floor(module: &str) -> u8 {
    let known = FLOORS.iter().find(|(name, _)| *name == module);
    known.unwrap_or_else(|| panic!("the module `{module}` has no floor in this test")).1
}

/// The top-level modules that a line names after `crate::`.
fn used(line: &str) -> Vec<String> {
    let pieces = line.split("crate::").skip(1).filter(|_| !line.contains("$crate::"));
    pieces
        .flat_map(|piece| match piece.strip_prefix('{') {
            Some(group) => group.split(',').map(first_word).collect(),
            None => vec![first_word(piece)],
        })
        .filter(|module| !module.is_empty())
        .collect()
}

fn first_word(text: &str) -> String {
    text.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn no_file_uses_a_floor_above_it() {
    let mut upward = Vec::new();
    let mut edges = 0;
    for source in sources() {
        for (number, line) in &source.code {
            for module in used(line) {
                edges += 1;
                if floor(&module) > floor(&source.module) {
                    upward.push(format!("src/{}:{number}: {line}", source.path.display()));
                }
            }
        }
    }
    assert!(edges > 100, "the test sees the edges: {edges}");
    assert!(upward.is_empty(), "upward edges:\n{}", upward.join("\n"));
}

#[test]
fn neighbours_on_a_floor_are_used_only_where_listed() {
    let mut unlisted = BTreeSet::new();
    for source in sources() {
        for (number, line) in &source.code {
            for module in used(line) {
                let listed =
                    NEIGHBOURS.iter().any(|(user, used, _)| *user == source.module && *used == module);
                if module != source.module && floor(&module) == floor(&source.module) && !listed {
                    unlisted.insert(format!("src/{}:{number}: {line}", source.path.display()));
                }
            }
        }
    }
    assert!(unlisted.is_empty(), "not in the list: {unlisted:#?}");
}

#[test]
fn values_and_decisions_do_no_io_start_no_threads_and_read_no_clock() {
    let mut impure = Vec::new();
    let mut seen = 0;
    for source in sources().iter().filter(|source| floor(&source.module) <= 1) {
        seen += 1;
        for (number, line) in &source.code {
            if IMPURE.iter().any(|word| line.contains(word)) {
                impure.push(format!("src/{}:{number}: {line}", source.path.display()));
            }
        }
    }
    assert!(seen > 15, "the lower floors were found: {seen}");
    assert!(impure.is_empty(), "{}", impure.join("\n"));
}

#[test]
fn only_the_shell_knows_the_libraries_of_the_shell() {
    let fenced = ["clap", "indicatif", "log4rs", "signal_hook", "sd_notify"];
    for source in sources().iter().filter(|source| floor(&source.module) < 4) {
        for (number, line) in &source.code {
            let named = fenced.iter().find(|name| line.contains(&format!("{name}::")));
            assert!(named.is_none(), "src/{}:{number}: {line}", source.path.display());
        }
    }
}

#[test]
fn files_stay_short_enough_to_be_read_at_once() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.lines > MOST_LINES)
        .map(|source| format!("src/{} has {} lines", source.path.display(), source.lines))
        .collect();
    assert!(long.is_empty(), "split by what they know: {}", long.join(", "));
}

#[test]
fn the_test_itself_reads_use_lines_as_meant() {
    assert_eq!(used("use crate::model::{A, B};"), ["model"]);
    assert_eq!(used("use crate::{cancel, plan::Plan};"), ["cancel", "plan"]);
    assert_eq!(used("    let stat = crate::store::stat_of(file);"), ["store"]);
    assert!(used("use super::plan;").is_empty());
}
