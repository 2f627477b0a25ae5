//! Jobs as Prometheus reads them: its text format (version 0.0.4, <https://prometheus.io/docs/instrumenting/exposition_formats>),
//! for the textfile collector of its node exporter.

use super::status::Overview;
use crate::model::Timestamp;
use crate::plan::ages::SPANS;
use std::fmt::Write;

/// A job by what it is called; without an overview it has not run yet.
pub type Sample<'s> = (&'s str, Option<&'s Overview>);

/// One metric: its name, its kind, what it tells, and how it is found.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    of: fn(&Overview) -> Option<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in doubles")]
fn number(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "to the microsecond until 2255")]
fn seconds(time: Timestamp) -> f64 {
    time.seconds as f64 + f64::from(time.nanos) / 1e9
}

/// The last run that came to an end.
fn last(overview: &Overview) -> Option<&crate::manifest::RunRow> {
    overview.runs.iter().find(|run| run.ended.is_some())
}

const METRICS: [Metric; 16] = [
    Metric {
        name: "twinfold_last_run_timestamp_seconds",
        kind: "gauge",
        help: "When the last run ended.",
        of: |overview| last(overview)?.ended.map(seconds),
    },
    Metric {
        name: "twinfold_last_success_timestamp_seconds",
        kind: "gauge",
        help: "When the last run ended that brought source and replica into step.",
        of: |overview| overview.last_good.as_ref()?.ended.map(seconds),
    },
    Metric {
        name: "twinfold_last_run_duration_seconds",
        kind: "gauge",
        help: "How long the last run took.",
        of: |overview| last(overview)?.took_seconds(),
    },
    Metric {
        name: "twinfold_last_run_exit_code",
        kind: "gauge",
        help: "What the last run ended with; 0 is in step.",
        of: |overview| Some(f64::from(last(overview)?.figures.exit_code)),
    },
    Metric {
        name: "twinfold_running",
        kind: "gauge",
        help: "Whether a run or a daemon holds the lock of the job.",
        of: |overview| Some(f64::from(u8::from(overview.holder.is_some()))),
    },
    Metric {
        name: "twinfold_source_entries",
        kind: "gauge",
        help: "Entries in the source.",
        of: |overview| Some(number(overview.entries)),
    },
    Metric {
        name: "twinfold_source_bytes",
        kind: "gauge",
        help: "Bytes in the entries of the source.",
        of: |overview| Some(number(overview.bytes)),
    },
    Metric {
        name: "twinfold_problems",
        kind: "gauge",
        help: "Entries that have a problem now.",
        of: |overview| Some(number(overview.problems.len() as u64)),
    },
    Metric {
        name: "twinfold_held_deletes",
        kind: "gauge",
        help: "Deletes that are held until they are approved.",
        of: |overview| Some(number(overview.held.as_ref().map_or(0, |held| held.deletes + held.overwrites))),
    },
    Metric {
        name: "twinfold_damaged_entries",
        kind: "gauge",
        help: "Entries whose content is damaged on one side or both.",
        of: |overview| Some(number(overview.damage.len() as u64)),
    },
    Metric {
        name: "twinfold_unverified_bytes",
        kind: "gauge",
        help: "Bytes of files that were adopted by their metadata and never read.",
        of: |overview| Some(number(overview.coverage.unverified.bytes)),
    },
    Metric {
        name: "twinfold_oldest_verification_timestamp_seconds",
        kind: "gauge",
        help: "The day of the oldest verification of a file.",
        of: |overview| overview.coverage.oldest.map(|day| seconds(Timestamp::new(day * 86_400, 0))),
    },
    Metric {
        name: "twinfold_trash_entries",
        kind: "gauge",
        help: "Entries in the trash, folders not counted.",
        of: |overview| Some(number(overview.trash.iter().map(|row| row.entries).sum())),
    },
    Metric {
        name: "twinfold_trash_bytes",
        kind: "gauge",
        help: "Bytes of the files in the trash.",
        of: |overview| Some(number(overview.trash.iter().map(|row| row.bytes).sum())),
    },
    Metric {
        name: "twinfold_runs_total",
        kind: "counter",
        help: "Runs that came to an end.",
        of: |overview| Some(number(overview.totals.runs)),
    },
    Metric {
        name: "twinfold_copied_bytes_total",
        kind: "counter",
        help: "Bytes copied.",
        of: |overview| Some(number(overview.totals.bytes)),
    },
];

/// All metrics of all jobs.
pub fn text(samples: &[Sample<'_>]) -> String {
    let mut out = String::new();
    head(&mut out, "twinfold_build_info", "gauge", "The version of twinfold.");
    line(&mut out, "twinfold_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let known = "twinfold_has_run";
    head(
        &mut out,
        known,
        "gauge",
        "Whether any run of the job has begun; without one the job has no other metric.",
    );
    for (job, overview) in samples {
        line(&mut out, known, &[("job", job)], f64::from(u8::from(overview.is_some())));
    }
    for metric in METRICS {
        head(&mut out, metric.name, metric.kind, metric.help);
        for (job, overview) in samples {
            if let Some(value) = overview.and_then(metric.of) {
                line(&mut out, metric.name, &[("job", job)], value);
            }
        }
    }
    let verified = "twinfold_verified_ratio";
    head(&mut out, verified, "gauge", "The share of the bytes that was verified within so many days.");
    for (job, overview) in samples {
        let Some(coverage) = overview.map(|overview| overview.coverage) else { continue };
        for (&bytes, days) in coverage.within.iter().zip(SPANS) {
            line(&mut out, verified, &[("job", job), ("days", &days.to_string())], coverage.share(bytes));
        }
    }
    let operations = "twinfold_operations_total";
    head(&mut out, operations, "counter", "Operations on the replica.");
    for (job, overview) in samples {
        let Some(totals) = overview.map(|overview| overview.totals) else { continue };
        for (operation, count) in [
            ("create", totals.created),
            ("copy", totals.copied),
            ("move", totals.moved),
            ("link", totals.linked),
            ("metadata", totals.mended),
            ("delete", totals.deleted),
        ] {
            line(&mut out, operations, &[("job", job), ("operation", operation)], number(count));
        }
    }
    out
}

// Writing to a String cannot fail.

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}=\"{}\"", quoted(value))).collect();
    let _ = writeln!(out, "{name}{{{}}} {value}", labels.join(","));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Totals;

    #[test]
    fn names_and_labels_are_as_prometheus_has_them() {
        let totals = Totals { runs: 3, copied: 2, bytes: 5_000_000_000, ..Totals::default() };
        let overview = Overview { totals, entries: 7, ..Overview::default() };
        let text = text(&[("a \"quoted\" \\ job\n", Some(&overview)), ("new", None)]);
        let job = "job=\"a \\\"quoted\\\" \\\\ job\\n\"";
        for line in [
            format!("twinfold_source_entries{{{job}}} 7"),
            format!("twinfold_operations_total{{{job},operation=\"copy\"}} 2"),
            format!("twinfold_copied_bytes_total{{{job}}} 5000000000"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        let of_new: Vec<&str> = text.lines().filter(|line| line.contains("job=\"new\"")).collect();
        assert_eq!(of_new, ["twinfold_has_run{job=\"new\"} 0"], "nothing else is known of it yet");
        for metric in METRICS {
            assert_eq!(metric.kind == "counter", metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.help.ends_with('.'));
        }
    }
}
