//! How `status` says things: one job, one run, one entry.

use super::events::{add_path, size_text};
use super::{output, verification_lines};
use crate::clock;
use crate::engine::job::Job;
use crate::engine::status::Overview;
use crate::engine::trash::parse_stamp;
use crate::manifest::{ProblemRow, RunRow};
use crate::model::{Capabilities, Fingerprint, Kind, Record, Timestamp};
use serde_json::{Map, Value, json};

/// Prints one job at a glance; `None`: it has not run yet.
pub fn print_overview(job: &Job, overview: Option<&Overview>) {
    let field = |name: &str, value: &str| output::print(format_args!("{name:<9} {value}"));
    if let Some(name) = &job.settings.name {
        field("job", name);
    }
    field("source", &path_text(&job.paths.source));
    field("replica", &path_text(&job.paths.replica));
    field("manifest", &path_text(&job.manifest));
    let Some(overview) = overview else {
        field("state", "has not run yet: there is no manifest");
        return;
    };
    field("running", overview.holder.as_deref().unwrap_or("no"));
    if let Some(held) = &overview.capabilities {
        let wanted = job.settings.preserve;
        // A replica that holds everything needs no word.
        if !held.holds_all(wanted) {
            field("holds", &held.summary(wanted));
        }
    }
    if !overview.losses.is_empty() {
        let each = overview.losses.iter().map(|(lost, count)| format!("{count} without {}", lost.name()));
        field("losses", &format!("entries of the replica: {}", each.collect::<Vec<_>>().join(", ")));
    }
    field("entries", &format!("{}, {}", overview.entries, size_text(overview.bytes)));
    match overview.problems.len() {
        0 => field("problems", "none"),
        count => field("problems", &output::paint(&format!("{count} (see --problems)"), false)),
    }
    match &overview.held {
        None => field("held", "no deletes are held"),
        Some(held) => {
            let text = format!("{} since run {}: {}", held.counts(), held.run, held.reason);
            field("held", &output::paint(&text, false));
            if let Some(when) = held.approved {
                field("", &format!("approved {}, goes ahead on the next run", clock::readable(when)));
            } else {
                field("", "see them: twinfold status --pending");
                field("", &format!("let them go: {}", job.approve_command(held.run)));
            }
        }
    }
    let kept = overview.runs.iter().find(|run| run.is_complete()).map_or(0, |run| run.figures.kept);
    if kept > 0 {
        field(
            "kept",
            &format!(
                "{kept} entries that the source does not have, or has as another kind (deletes = \"never\")"
            ),
        );
    }
    verification_lines::print(overview);
    if let Some(oldest) = overview.trash.first() {
        let (entries, bytes) = trash_sums(overview);
        let since = parse_stamp(&oldest.name).map_or_else(|| oldest.name.clone(), clock::readable);
        field("trash", &format!("{entries} put aside, {}, since {since}", size_text(bytes)));
    }
    print_runs(overview);
}

/// Entries and bytes in the trash.
fn trash_sums(overview: &Overview) -> (u64, u64) {
    overview.trash.iter().fold((0, 0), |(entries, bytes), row| (entries + row.entries, bytes + row.bytes))
}

/// Prints the last runs.
pub fn print_runs(overview: &Overview) {
    output::print(format_args!(
        "{:>6}  {:<7} {:<26} {:>9}  {:<11} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>10} {:>8}",
        "run",
        "kind",
        "started",
        "took",
        "result",
        "created",
        "copied",
        "moved",
        "linked",
        "metadata",
        "deleted",
        "held",
        "bytes",
        "problems"
    ));
    for run in &overview.runs {
        let figures = &run.figures;
        let took = run.took_seconds().map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.2} s"));
        let result = format!("{:<11}", result_word(run, overview));
        output::print(format_args!(
            "{:>6}  {:<7} {:<26} {took:>9}  {} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>10} {:>8}",
            run.id,
            run.kind,
            clock::readable(run.started),
            output::paint(&result, matches!(figures.result.as_str(), "ok")),
            figures.created,
            figures.copied,
            figures.moved,
            figures.linked,
            figures.mended,
            figures.deleted,
            figures.held,
            size_text(figures.bytes),
            figures.problems,
        ));
        if let Some(message) = &figures.message {
            output::print(format_args!("{:>8}{message}", ""));
        }
    }
}

/// A run without an end is running if somebody holds the lock and it is the last one.
pub(super) fn result_word<'r>(run: &'r RunRow, overview: &Overview) -> &'r str {
    let newest = overview.runs.first().is_some_and(|first| first.id == run.id);
    match run.ended {
        Some(_) => &run.figures.result,
        None if newest && overview.holder.is_some() => "running",
        None => "killed",
    }
}

/// Prints what is wrong now.
pub fn print_problems(overview: &Overview) {
    if overview.problems.is_empty() {
        output::print("no problems");
    }
    for problem in &overview.problems {
        let ProblemRow { path, side, action, cause, since, times } = problem;
        let since = clock::readable(*since);
        output::print(format_args!(
            "cannot {action} {path} ({side}): {cause}; since {since}, met by {times} runs"
        ));
    }
}

/// Why a file may have no MD5, and how to get one.
pub const UNHASHED: &str = "where holes exceed 1 GiB only rebuild-index hashes them";

/// Why a file that was taken over by its metadata has no MD5.
const UNVERIFIED: &str = "it was adopted by size and time, and not read yet";

/// Prints all that is known of one entry.
pub fn print_entry(record: &Record) {
    let field = |name: &str, value: &str| output::print(format_args!("{name:<9} {value}"));
    field("path", &record.path.to_string());
    field("kind", record.source.kind.name());
    if record.source.kind.has_content() {
        field("size", &format!("{} bytes", record.source.size));
        let unhashed = || {
            let why = if record.is_unverified() { UNVERIFIED } else { UNHASHED };
            format!("not hashed: {why}")
        };
        field("md5", &record.digest.map_or_else(unhashed, |digest| digest.to_string()));
        let hashed = record.hashed.filter(|_| !record.is_unverified());
        field("hashed", &hashed.map_or_else(|| "never".to_owned(), clock::readable));
    }
    field("source", &side_text(&record.source));
    field("replica", &side_text(&record.replica));
    if record.racy {
        field("note", "the source was changed just before it was read; the next run looks again");
    }
}

fn side_text(side: &Fingerprint) -> String {
    format!(
        "mode {:04o}, mtime {}, ctime {}, inode {}",
        side.mode,
        exact(side.mtime),
        exact(side.ctime),
        side.inode
    )
}

/// A moment to the nanosecond.
fn exact(time: Timestamp) -> String {
    clock::rfc3339_nanos(time)
}

/// The fields of one job in JSON.
pub fn overview_fields(object: &mut Map<String, Value>, job: &Job, overview: Option<&Overview>) {
    object.insert("source".to_owned(), json!(path_text(&job.paths.source)));
    object.insert("replica".to_owned(), json!(path_text(&job.paths.replica)));
    object.insert("manifest".to_owned(), json!(path_text(&job.manifest)));
    object.insert("has_run".to_owned(), json!(overview.is_some()));
    let Some(overview) = overview else { return };
    object.insert("holder".to_owned(), json!(overview.holder));
    object.insert("entries".to_owned(), json!(overview.entries));
    object.insert("bytes".to_owned(), json!(overview.bytes));
    let runs: Vec<Value> = overview.runs.iter().map(|run| run_value(run, overview)).collect();
    object.insert("runs".to_owned(), Value::Array(runs));
    let problems: Vec<Value> = overview
        .problems
        .iter()
        .map(|problem| {
            let mut object = Map::new();
            add_path(&mut object, &problem.path);
            object.insert("side".to_owned(), json!(problem.side));
            object.insert("action".to_owned(), json!(problem.action));
            object.insert("cause".to_owned(), json!(problem.cause));
            object.insert("since".to_owned(), json!(clock::rfc3339(problem.since)));
            object.insert("times".to_owned(), json!(problem.times));
            Value::Object(object)
        })
        .collect();
    object.insert("problems".to_owned(), Value::Array(problems));
    let held = overview.held.as_ref().map(|held| {
        json!({
            "run": held.run,
            "deletes": held.deletes,
            "overwrites": held.overwrites,
            "reason": held.reason,
            "approved": held.approved.map(clock::rfc3339),
            "approve": job.approve_command(held.run),
        })
    });
    object.insert("held".to_owned(), json!(held));
    let (entries, bytes) = trash_sums(overview);
    let oldest = overview.trash.first().and_then(|row| parse_stamp(&row.name)).map(clock::rfc3339);
    object.insert("coverage".to_owned(), verification_lines::coverage_value(overview));
    object.insert("damage".to_owned(), verification_lines::damage_value(overview));
    let losses = overview.losses.iter().map(|(lost, count)| (lost.name().to_owned(), json!(count)));
    object.insert("losses".to_owned(), Value::Object(losses.collect()));
    object.insert(
        "replica_holds".to_owned(),
        json!(overview.capabilities.as_ref().map(|held| holds(held, job))),
    );
    object.insert("trash".to_owned(), json!({ "entries": entries, "bytes": bytes, "oldest": oldest }));
}

/// What the replica holds, for programs and in words.
fn holds(held: &Capabilities, job: &Job) -> Value {
    let mut value = json!(held);
    if let Value::Object(object) = &mut value {
        object.insert("summary".to_owned(), json!(held.summary(job.settings.preserve)));
    }
    value
}

fn run_value(run: &RunRow, overview: &Overview) -> Value {
    let figures = &run.figures;
    json!({
        "run": run.id,
        "kind": run.kind,
        "started": clock::rfc3339(run.started),
        "ended": run.ended.map(clock::rfc3339),
        "seconds": run.took_seconds(),
        "result": result_word(run, overview),
        "exit_code": run.ended.map(|_| figures.exit_code),
        "create": figures.created,
        "copy": figures.copied,
        "move": figures.moved,
        "link": figures.linked,
        "metadata": figures.mended,
        "delete": figures.deleted,
        "confirmed": figures.adopted,
        "bytes": figures.bytes,
        "problems": figures.problems,
        "held": figures.held,
        "kept": figures.kept,
        "entries": figures.entries,
        "entry_bytes": figures.entry_bytes,
        "message": figures.message,
    })
}

/// The fields of one entry in JSON.
pub fn entry_fields(object: &mut Map<String, Value>, record: &Record) {
    add_path(object, &record.path);
    object.insert("kind".to_owned(), json!(record.source.kind.name()));
    object.insert("size".to_owned(), json!(record.source.size));
    object.insert("md5".to_owned(), json!(record.digest.map(|digest| digest.to_string())));
    let hashed = record.hashed.filter(|_| !record.is_unverified());
    object.insert("hashed".to_owned(), json!(hashed.map(clock::rfc3339)));
    object.insert("unverified".to_owned(), json!(record.is_unverified()));
    object.insert("racy".to_owned(), json!(record.racy));
    for (name, side) in [("source", &record.source), ("replica", &record.replica)] {
        let figures = json!({
            "mode": format!("{:04o}", side.mode),
            "mtime": exact(side.mtime),
            "ctime": exact(side.ctime),
            "inode": side.inode,
        });
        object.insert(name.to_owned(), figures);
    }
}

/// One entry as a line of `--files`: kind, permissions, bytes, time, digest, path.
pub fn file_line(record: &Record) -> String {
    let kind = match record.source.kind {
        Kind::File => '-',
        Kind::Folder => 'd',
        Kind::Symlink => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::BlockDevice => 'b',
        Kind::CharDevice => 'c',
    };
    let digest = record.digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string());
    format!(
        "{kind}{:04o} {:>12} {} {digest:<32} {}",
        record.source.mode,
        record.source.size,
        clock::readable(record.source.mtime),
        record.path
    )
}

/// A line that `md5sum -c` takes: regular files only, odd names in coreutils' escaped form.
pub fn md5sum(record: &Record) -> Option<Vec<u8>> {
    let digest = record.digest.filter(|_| record.source.kind == Kind::File)?;
    let name = record.path.as_bytes();
    let odd = name.iter().any(|byte| b"\\\n\r".contains(byte));
    let mut line = Vec::with_capacity(name.len() + 36);
    if odd {
        line.push(b'\\');
    }
    line.extend_from_slice(digest.to_string().as_bytes());
    line.extend_from_slice(b"  ");
    // A lone `-` would mean standard input.
    if name == b"-" {
        line.extend_from_slice(b"./");
    }
    for &byte in name {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            byte => line.push(byte),
        }
    }
    Some(line)
}

fn path_text(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    crate::model::escape::escaped(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, EntryPath};

    #[test]
    fn md5sum_lines_are_those_of_coreutils() {
        let fingerprint = Fingerprint {
            kind: Kind::File,
            mode: 0o644,
            size: 0,
            mtime: Timestamp::default(),
            ctime: Timestamp::default(),
            inode: 1,
        };
        let record = |path: &str| Record {
            path: EntryPath::from(path),
            source: fingerprint,
            replica: fingerprint,
            digest: Some(Digest([0xab; 16])),
            hashed: None,
            racy: false,
        };
        let hex = "ab".repeat(16);
        for (path, line) in [
            ("a/b c", format!("{hex}  a/b c")),
            ("-", format!("{hex}  ./-")),
            ("new\nline", format!("\\{hex}  new\\nline")),
            ("back\\slash", format!("\\{hex}  back\\\\slash")),
        ] {
            assert_eq!(md5sum(&record(path)).unwrap(), line.as_bytes(), "{path}");
        }
        let folder = Fingerprint { kind: Kind::Folder, ..fingerprint };
        assert_eq!(md5sum(&Record { source: folder, ..record("d/") }), None);
    }
}
