//! `twinfold status --log`: what runs did, entry by entry.

use super::events::{self, size_text};
use super::output::Lines;
use crate::clock;
use crate::engine::job::Job;
use crate::engine::status;
use crate::error::Error;
use crate::manifest::{JournalRow, ManifestError};
use crate::model::{EntryPath, Timestamp};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// Prints the operations that are remembered, the oldest first: those at and below `paths` (all, where there are
/// none), of the last `since`.
pub fn print(job: &Job, paths: &[PathBuf], since: Option<Duration>, as_json: bool) -> Result<(), Error> {
    let wanted: Vec<EntryPath> = paths.iter().map(|named| status::path_under(job, named)).collect();
    let since = since.map(before_now);
    let rows = match status::read(job, |reader| Ok(reader.journal(since)?)) {
        Err(Error::Manifest(ManifestError::Missing { .. })) => Vec::new(),
        rows => rows?,
    };
    let is_wanted = |row: &&JournalRow| {
        wanted.is_empty()
            || wanted
                .iter()
                .any(|path| is_at(path, &row.path) || row.from.as_ref().is_some_and(|from| is_at(path, from)))
    };
    let mut out = Lines::new();
    for row in rows.iter().filter(is_wanted) {
        if as_json {
            let mut object = events::event("operation", &job.label(), Some(row.run));
            fields(&mut object, row);
            out.line(Value::Object(object).to_string().as_bytes());
        } else {
            out.line(line(row).as_bytes());
        }
    }
    out.finish();
    Ok(())
}

fn before_now(since: Duration) -> Timestamp {
    let now = clock::now();
    Timestamp::new(now.seconds.saturating_sub_unsigned(since.as_secs()), now.nanos)
}

/// Whether an entry has this path, given without the `/` of a folder, or lies below it.
fn is_at(path: &EntryPath, entry: &EntryPath) -> bool {
    path.is_root() || entry.trimmed() == path.trimmed() || entry.is_below(&path.other_kind())
}

fn fields(object: &mut Map<String, Value>, row: &JournalRow) {
    object.insert("time".to_owned(), json!(clock::rfc3339(row.at)));
    object.insert("operation".to_owned(), json!(row.verb));
    events::add_path(object, &row.path);
    events::add_origin(object, row.from.as_ref());
    object.insert("size".to_owned(), json!(row.bytes));
    object.insert("md5".to_owned(), json!(row.digest.map(|digest| digest.to_string())));
}

fn line(row: &JournalRow) -> String {
    let mut text = format!("{}  run {:<5} {:<8} {}", clock::readable(row.at), row.run, row.verb, row.path);
    // Writing to a String cannot fail.
    if row.verb == "copy" {
        let _ = write!(text, "  {}", size_text(row.bytes));
    }
    if let Some(from) = &row.from {
        let _ = write!(text, "  from {from}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_for_itself_and_all_below_it() {
        for (path, entry, at) in [
            ("a", "a", true),
            ("a", "a/", true),
            ("a", "a/b", true),
            ("a", "ab", false),
            ("a/b", "a/", false),
            ("", "anything/else", true),
        ] {
            assert_eq!(is_at(&EntryPath::from(path), &EntryPath::from(entry)), at, "{path} {entry}");
        }
    }
}
