//! How `status` says how far verification has come, and what it found.

use super::events::{add_path, size_text};
use super::output;
use crate::clock;
use crate::engine::status::Overview;
use crate::model::Timestamp;
use crate::plan::ages::SPANS;
use serde_json::{Map, Value, json};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Prints the coverage, and how much is damaged.
pub fn print(overview: &Overview) {
    let field = |name: &str, value: &str| output::print(format_args!("{name:<9} {value}"));
    let coverage = &overview.coverage;
    if coverage.all.files > 0 {
        let spans: Vec<String> = coverage
            .within
            .iter()
            .zip(SPANS)
            .map(|(&bytes, days)| format!("{:.1} % within {days} days", coverage.share(bytes) * 100.0))
            .collect();
        let oldest = coverage.oldest.map_or_else(String::new, |day| format!("; the oldest {}", date(day)));
        field("verified", &format!("{}{oldest}", spans.join(", ")));
    }
    if coverage.unverified.files > 0 {
        let text = format!(
            "{} files, {}, adopted by size and time",
            coverage.unverified.files,
            size_text(coverage.unverified.bytes)
        );
        field("unread", &text);
    }
    match overview.damage.len() {
        0 => {}
        count => field("damaged", &output::paint(&format!("{count} (see --problems)"), false)),
    }
}

/// A day as a date in UTC.
fn date(day: i64) -> String {
    clock::rfc3339(Timestamp::new(day * DAY, 0)).chars().take_while(|&letter| letter != 'T').collect()
}

/// The coverage in JSON: bytes, and a date.
pub fn coverage_value(overview: &Overview) -> Value {
    let coverage = &overview.coverage;
    json!({
        "files": coverage.all.files,
        "bytes": coverage.all.bytes,
        "unverified_files": coverage.unverified.files,
        "unverified_bytes": coverage.unverified.bytes,
        "within_7_days": coverage.within[0],
        "within_30_days": coverage.within[1],
        "within_90_days": coverage.within[2],
        "oldest": coverage.oldest.map(date),
    })
}

/// What is damaged, in JSON.
pub fn damage_value(overview: &Overview) -> Value {
    let rows = overview.damage.iter().map(|row| {
        let mut object = Map::new();
        add_path(&mut object, &row.path);
        object.insert("side".to_owned(), json!(row.side));
        object.insert("detail".to_owned(), json!(row.detail));
        object.insert("found".to_owned(), json!(clock::rfc3339(row.found)));
        Value::Object(object)
    });
    Value::Array(rows.collect())
}
