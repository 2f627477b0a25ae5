//! `twinfold status --check`: one line for each job, and an exit code for whoever watches.

use super::{events, output};
use crate::clock;
use crate::config::settings::Settings;
use crate::engine::health::{age, ailments};
use crate::engine::job::Job;
use crate::engine::status::{self, Overview};
use crate::error::{Error, ExitCode};
use serde_json::{Value, json};
use std::time::Duration;

/// Runs searched for the last one that came to an end.
const RUNS_LOOKED_AT: u32 = 20;

/// Says of each job whether it is healthy: 7 where one is not. What cannot be read is not.
pub fn check(jobs: &[Settings], max_age: Option<Duration>, as_json: bool) -> ExitCode {
    let mut code = ExitCode::Ok;
    for settings in jobs {
        let looked = look(settings);
        let now = clock::now();
        let (overview, reasons) = match looked {
            Ok(overview) => {
                let reasons = ailments(overview.as_ref(), max_age, now);
                (overview, reasons)
            }
            Err(error) => (None, vec![error.to_string()]),
        };
        let last_good = overview.as_ref().and_then(|overview| overview.last_good.as_ref()?.ended);
        if !reasons.is_empty() {
            code = ExitCode::Unhealthy;
        }
        let label = settings.label();
        if as_json {
            let mut object = events::event("check", &label, None);
            object.insert("healthy".to_owned(), Value::from(reasons.is_empty()));
            object.insert("reasons".to_owned(), json!(reasons));
            object.insert("last_good".to_owned(), json!(last_good.map(clock::rfc3339)));
            object.insert("age_seconds".to_owned(), json!(last_good.map(|then| age(then, now).as_secs())));
            output::print(Value::Object(object));
        } else if reasons.is_empty() {
            let since = last_good.map_or_else(String::new, |then| {
                format!("; the last good run ended {}", clock::readable(then))
            });
            output::print(format_args!("{} {label}{since}", output::paint("healthy", true)));
        } else {
            output::print(format_args!(
                "{} {label}: {}",
                output::paint("not healthy", false),
                reasons.join("; ")
            ));
        }
    }
    code
}

fn look(settings: &Settings) -> Result<Option<Overview>, Error> {
    let job = Job::locate(settings.clone())?;
    status::overview(&job, RUNS_LOOKED_AT)
}
