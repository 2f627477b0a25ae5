//! Whether a job is as it should be: what a monitoring system asks.

use super::status::Overview;
use crate::manifest::RunRow;
use crate::model::Timestamp;
use std::time::Duration;

/// What keeps a job from being healthy, in words; none where it is. With `max_age`, how long ago its last good
/// run may have ended at most, by the clock at `now`. `None` for a job without a manifest.
pub fn ailments(overview: Option<&Overview>, max_age: Option<Duration>, now: Timestamp) -> Vec<String> {
    let Some(overview) = overview else { return vec!["it has not run yet".to_owned()] };
    let mut found = Vec::new();
    if let Some(failed) = last_failure(overview) {
        let message = failed.figures.message.as_deref().unwrap_or(&failed.figures.result);
        found.push(format!("run {} failed: {message}", failed.id));
    }
    match overview.problems.len() {
        0 => {}
        1 => found.push("one entry has a problem (see status --problems)".to_owned()),
        count => found.push(format!("{count} problems (see status --problems)")),
    }
    if let Some(held) = &overview.held {
        found.push(format!("{} are held since run {}: {}", held.counts(), held.run, held.reason));
    }
    match (overview.last_good.as_ref().and_then(|run| run.ended), max_age) {
        (None, _) => found.push("no run was good yet".to_owned()),
        (Some(ended), Some(max_age)) => {
            let age = age(ended, now);
            if age > max_age {
                found.push(format!(
                    "the last good run ended {} s ago, more than {} s",
                    age.as_secs(),
                    max_age.as_secs()
                ));
            }
        }
        (Some(_), None) => {}
    }
    found
}

/// How long ago that was; nothing where the clock was put back since.
pub fn age(then: Timestamp, now: Timestamp) -> Duration {
    let nanos = now.as_nanos().saturating_sub(then.as_nanos());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// The last run that came to an end, if it stopped as a whole. One that was interrupted proves nothing.
fn last_failure(overview: &Overview) -> Option<&RunRow> {
    let last = overview.runs.iter().find(|run| run.ended.is_some())?;
    matches!(last.figures.result.as_str(), "failed" | "damage").then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::RunFigures;

    fn run(id: i64, ended: Option<i64>, result: &str, exit_code: u8) -> RunRow {
        let figures = RunFigures { result: result.to_owned(), exit_code, ..RunFigures::default() };
        let ended = ended.map(|seconds| Timestamp::new(seconds, 0));
        RunRow { id, kind: "sync".to_owned(), started: Timestamp::new(0, 0), ended, figures }
    }

    fn overview(runs: Vec<RunRow>) -> Overview {
        let last_good = runs.iter().find(|run| run.figures.exit_code == 0 && run.ended.is_some()).cloned();
        Overview { runs, last_good, ..Overview::default() }
    }

    #[test]
    fn a_job_is_healthy_by_its_last_runs_and_their_age() {
        let now = Timestamp::new(1000, 0);
        let hour = Some(Duration::from_secs(3600));
        let minute = Some(Duration::from_secs(60));
        let good = || run(1, Some(900), "ok", 0);
        let table: [(Vec<RunRow>, Option<Duration>, &[&str]); 7] = [
            (vec![good()], None, &[]),
            (vec![good()], hour, &[]),
            (vec![good()], minute, &["the last good run ended 100 s ago, more than 60 s"]),
            (vec![run(2, None, "", 0), good()], hour, &[]),
            (vec![run(2, Some(950), "interrupted", 130), good()], hour, &[]),
            (vec![run(2, Some(950), "failed", 5), good()], hour, &["run 2 failed: failed"]),
            (vec![run(1, None, "", 0)], None, &["no run was good yet"]),
        ];
        for (runs, max_age, expected) in table {
            let overview = overview(runs);
            assert_eq!(ailments(Some(&overview), max_age, now), expected, "{overview:?}");
        }
        assert_eq!(ailments(None, None, now), ["it has not run yet"]);
    }

    #[test]
    fn a_clock_that_was_put_back_makes_nothing_old() {
        assert_eq!(age(Timestamp::new(50, 0), Timestamp::new(40, 0)), Duration::ZERO);
    }
}
