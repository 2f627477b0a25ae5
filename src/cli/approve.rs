//! `twinfold approve`: lets held deletes go ahead on the next run.

use super::args::ApproveOptions;
use super::{environment, events, output, status};
use crate::config::ConfigError;
use crate::engine::approve::approve;
use crate::engine::job::Job;
use crate::error::{Error, ExitCode};
use crate::manifest::{Approval, HeldRow};
use serde_json::{Value, json};

/// Runs the subcommand.
pub fn run(options: ApproveOptions) -> Result<ExitCode, Error> {
    let request = status::subjects(&environment::overlay(options.job)?)?;
    let jobs: Vec<Job> = request.jobs.iter().cloned().map(Job::locate).collect::<Result<_, _>>()?;
    if options.run.is_some() && jobs.len() > 1 {
        let message = "each job counts its runs for itself; add --job NAME, or --source and --replica, to say whose run \
                       is meant";
        return Err(ConfigError::Invalid(message.to_owned()).into());
    }
    let mut approved = 0;
    let mut reasons = Vec::new();
    for job in &jobs {
        match approve(job, options.run)? {
            Approval::Given(held) => {
                approved += 1;
                tell(request.options.json, request.options.quiet, job, &held, false);
            }
            Approval::Again(held) => {
                approved += 1;
                tell(request.options.json, request.options.quiet, job, &held, true);
            }
            Approval::NothingHeld => reasons.push(format!("no deletes of {} are held", job.label())),
            Approval::OtherHeld(held) => reasons.push(format!(
                "plan {} of {} is not held; the one that is held has the number {} ({}: {}). Look at it with \
                 twinfold status before you approve it",
                options.run.unwrap_or_default(),
                job.label(),
                held.run,
                held.counts(),
                held.reason,
            )),
            Approval::Outdated => reasons.push(format!(
                "the deletes of {} were held by an older twinfold, without what it takes to check them; run twinfold sync, \
                 which holds them anew, and approve these",
                job.label()
            )),
        }
    }
    if approved > 0 {
        return Ok(output::settle(ExitCode::Ok));
    }
    for reason in &reasons {
        output::diagnose("error", reason);
    }
    Ok(ExitCode::Fatal)
}

fn tell(as_json: bool, quiet: bool, job: &Job, held: &HeldRow, again: bool) {
    if as_json {
        let mut object = events::event("approve", &job.label(), Some(held.run));
        object.insert("deletes".to_owned(), json!(held.deletes));
        object.insert("overwrites".to_owned(), json!(held.overwrites));
        object.insert("reason".to_owned(), json!(held.reason));
        object.insert("again".to_owned(), json!(again));
        output::print(Value::Object(object));
    } else if !quiet {
        let already = if again { "was approved already" } else { "is approved" };
        output::print(format_args!(
            "plan {} of {} {already}: its {} go ahead on the next run, as far as they still fit",
            held.run,
            job.label(),
            held.counts()
        ));
    }
}
