//! One event as one line: for people in the log, as JSON for `--json` and the JSON log.

use crate::clock;
use crate::engine::rebuild::Rebuilt;
use crate::engine::report::Report;
use crate::error::{Error, ExitCode};
use crate::manifest::ABSENT;
pub use crate::model::escape::size_text;
use crate::model::operation::End;
use crate::model::{Done, EntryPath, Finding, Operation, PastProblem, Problem, Verb, Verdict};
use crate::monitor::Remaining;
use crate::plan::Intent;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// A JSON object with the fields that every event has.
pub fn event(name: &str, job: &str, run: Option<i64>) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("event".to_owned(), json!(name));
    object.insert("time".to_owned(), json!(clock::rfc3339(clock::now())));
    object.insert("job".to_owned(), json!(job));
    object.insert("run".to_owned(), json!(run));
    object
}

/// Adds a path: as text, and in base64 where the text would lose bytes.
pub fn add_path(object: &mut Map<String, Value>, path: &EntryPath) {
    add_path_as(object, "path", path);
}

/// Adds the other name of a link or a move.
pub fn add_origin(object: &mut Map<String, Value>, from: Option<&EntryPath>) {
    if let Some(from) = from {
        add_path_as(object, "from", from);
    }
}

fn add_path_as(object: &mut Map<String, Value>, field: &str, path: &EntryPath) {
    let bytes = path.as_bytes();
    object.insert(field.to_owned(), json!(String::from_utf8_lossy(bytes)));
    if std::str::from_utf8(bytes).is_err() {
        object.insert(format!("{field}_base64"), json!(BASE64_STANDARD.encode(bytes)));
    }
}

/// The fields of an operation that was carried out.
pub fn operation_fields(object: &mut Map<String, Value>, done: &Done) {
    object.insert("operation".to_owned(), json!(done.verb.name()));
    add_path(object, &done.path);
    add_origin(object, done.from.as_ref());
    object.insert("size".to_owned(), json!(done.bytes));
    object.insert("md5".to_owned(), json!(done.digest.map(|digest| digest.to_string())));
}

/// The fields of an operation that is planned.
pub fn plan_fields(object: &mut Map<String, Value>, intent: Intent<'_>) {
    object.insert("operation".to_owned(), json!(intent.verb.name()));
    add_path(object, intent.path);
    add_origin(object, intent.from);
    object.insert("size".to_owned(), json!(intent.bytes));
}

/// The fields of a problem; it is `known` if the run before had it as well.
pub fn problem_fields(object: &mut Map<String, Value>, problem: &Problem, known: bool) {
    past_problem_fields(object, &problem.into());
    object.insert("known".to_owned(), json!(known));
}

/// The fields of a problem that is solved.
pub fn past_problem_fields(object: &mut Map<String, Value>, problem: &PastProblem) {
    add_path(object, &problem.path);
    object.insert("side".to_owned(), json!(problem.side.to_string()));
    object.insert("action".to_owned(), json!(problem.action));
    object.insert("cause".to_owned(), json!(problem.cause));
}

/// The problems of the run before that are still there, in one line for people.
pub fn remaining_text(remaining: &Remaining<'_>) -> String {
    const LIST: &str = "`twinfold status --problems` lists them";
    match *remaining {
        Remaining { only: Some(problem), .. } => format!("the same as in the run before: {problem}"),
        Remaining { before, count, .. } if before == count => {
            format!("the same {count} problems as in the run before; {LIST}")
        }
        Remaining { before, count, .. } => {
            format!("{count} of the {before} problems of the run before are still there; {LIST}")
        }
    }
}

/// The fields of an entry that a rebuild did not find sound.
pub fn finding_fields(object: &mut Map<String, Value>, finding: &Finding) {
    let (verdict, side, detail) = match finding.verdict {
        Verdict::Sound => ("sound", None, None),
        Verdict::Drift(drift) => ("drift", drift.side(), Some(drift.name())),
        Verdict::Damaged(damage) => ("damaged", Some(damage.side()), None),
        Verdict::Unreadable => ("unreadable", None, None),
    };
    add_path(object, &finding.path);
    object.insert("verdict".to_owned(), json!(verdict));
    object.insert("side".to_owned(), json!(side));
    object.insert("detail".to_owned(), json!(finding.detail.as_deref().or(detail)));
}

/// The fields of a rebuild's summary.
pub fn rebuilt_fields(object: &mut Map<String, Value>, report: &Rebuilt) {
    object.insert("result".to_owned(), json!(report.result()));
    object.insert("exit_code".to_owned(), json!(report.exit_code().number()));
    object.insert("entries".to_owned(), json!(report.entries()));
    object.insert("bytes".to_owned(), json!(report.bytes));
    object.insert("sound".to_owned(), json!(report.counts.sound));
    object.insert("earlier".to_owned(), json!(report.counts.earlier));
    object.insert("drift".to_owned(), json!(report.counts.drift));
    object.insert("damaged".to_owned(), json!(report.counts.damaged));
    object.insert("alike".to_owned(), json!(report.counts.alike));
    object.insert("problems".to_owned(), json!(report.problems.len()));
    object.insert("unseen".to_owned(), json!(report.counts.unseen));
    object.insert("report_only".to_owned(), json!(report.report_only));
    object.insert("seconds".to_owned(), json!(report.elapsed.as_secs_f64()));
}

/// The fields of a run's summary.
pub fn summary_fields(object: &mut Map<String, Value>, report: &Report) {
    let figures = report.figures();
    object.insert("result".to_owned(), json!(figures.result));
    object.insert("exit_code".to_owned(), json!(figures.exit_code));
    for verb in Verb::ALL {
        object.insert(verb.name().to_owned(), json!(report.tally.of(verb)));
    }
    object.insert("bytes".to_owned(), json!(figures.bytes));
    object.insert("problems".to_owned(), json!(figures.problems));
    object.insert("held".to_owned(), json!(figures.held));
    object.insert("kept".to_owned(), json!(figures.kept));
    object.insert("seconds".to_owned(), json!(report.elapsed.as_secs_f64()));
    object.insert("entries".to_owned(), json!(figures.entries));
    object.insert("confirmed".to_owned(), json!(figures.adopted));
    object.insert("verified".to_owned(), json!(report.verified.entries()));
    object.insert("verified_bytes".to_owned(), json!(report.verified.bytes));
}

/// The fields of a run that failed, or could not begin: those that every summary has. What was done before it
/// failed is in the manifest's history.
pub fn failure_fields(object: &mut Map<String, Value>, error: &Error) {
    nothing_done(object, "failed", error.exit_code(), error);
}

/// The fields of a run that did not begin because a root is not there that comes and goes.
pub fn absence_fields(object: &mut Map<String, Value>, error: &Error) {
    nothing_done(object, ABSENT, ExitCode::Ok, error);
}

fn nothing_done(object: &mut Map<String, Value>, result: &str, code: ExitCode, error: &Error) {
    object.insert("result".to_owned(), json!(result));
    object.insert("exit_code".to_owned(), json!(code.number()));
    for verb in Verb::ALL {
        object.insert(verb.name().to_owned(), json!(0));
    }
    for field in ["bytes", "problems", "held", "seconds"] {
        object.insert(field.to_owned(), json!(0));
    }
    object.insert("message".to_owned(), json!(error.to_string()));
}

/// Whether people are told of an operation.
pub fn is_told(done: &Done) -> bool {
    !done.silent && matches!(done.end, End::Made(_))
}

/// Appends an operation for people: `copy     docs/a.txt  12 KiB  md5 9a0364b9e99bb480dd25e1f0284c8555  3.1 ms`.
pub fn operation_text(done: &Done, text: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(text, "{:<8} {}", done.verb.name(), done.path);
    if done.verb == Verb::Copy {
        text.push_str("  ");
        text.push_str(&size_text(done.bytes));
    }
    if let Some(from) = &done.from {
        // Writing to a String cannot fail.
        let _ = write!(text, "  from {from}");
    }
    if let Some(digest) = done.digest {
        // Writing to a String cannot fail.
        let _ = write!(text, "  md5 {digest}");
    }
    let tenths = u64::try_from(done.took.as_micros()).unwrap_or(u64::MAX).saturating_add(50) / 100;
    let _ = write!(text, "  {}.{} ms", tenths / 10, tenths % 10);
}

/// A run's summary for people.
pub fn summary_text(report: &Report) -> String {
    let figures = report.figures();
    let is_delete = |operation: &Operation| operation.verb == Verb::Delete;
    let held = if report.held_operations.iter().all(is_delete) { "deletes held" } else { "changes held" };
    let mut parts = Vec::new();
    for (count, what) in [
        (figures.created, "created"),
        (figures.copied, "copied"),
        (figures.moved, "moved"),
        (figures.linked, "linked"),
        (figures.mended, "metadata"),
        (figures.deleted, "deleted"),
        (figures.adopted, "confirmed"),
        (report.verified.entries(), "verified"),
        (figures.held, held),
        (figures.problems, "problems"),
    ] {
        if count > 0 {
            let what = if count == 1 && what == "problems" { "problem" } else { what };
            let plan = report.held_plan.filter(|_| what == held);
            let plan = plan.map(|plan| format!(" as plan {}", plan.number)).unwrap_or_default();
            parts.push(format!("{count} {what}{plan}"));
        }
    }
    if parts.is_empty() {
        parts.push("nothing to do".to_owned());
    }
    if figures.bytes > 0 {
        parts.push(size_text(figures.bytes));
    }
    format!(
        "{}: {}; {} entries, {} in the source; {:.2} s",
        figures.result,
        parts.join(", "),
        figures.entries,
        size_text(figures.entry_bytes),
        report.elapsed.as_secs_f64()
    )
}

/// A rebuild's summary for people.
pub fn rebuilt_text(report: &Rebuilt) -> String {
    let counts = report.counts;
    let mut text = format!(
        "{}: {} entries, {} read at {}/s; {} sound, {} drift, {} damaged, {} problems",
        report.result(),
        report.entries(),
        size_text(report.bytes),
        size_text(report.bytes_per_second()),
        counts.sound,
        counts.drift,
        counts.damaged,
        report.problems.len(),
    );
    if counts.alike > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, ", {} changed alike on both sides", counts.alike);
    }
    if counts.unseen > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, ", {} not seen", counts.unseen);
    }
    if counts.earlier > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, ", {} verified before", counts.earlier);
    }
    let manifest = match (report.report_only, report.interrupted) {
        (true, _) => "; the manifest is as it was",
        (false, true) => "; rebuild-index goes on from here",
        (false, false) => "",
    };
    let _ = write!(text, "{manifest}; {:.2} s", report.elapsed.as_secs_f64());
    text
}
