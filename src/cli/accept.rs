//! `twinfold accept`: what the source has now is right, whatever the manifest knows.

use super::args::AcceptOptions;
use super::{environment, events, output, status};
use crate::config::ConfigError;
use crate::engine::accept::accept;
use crate::engine::job::Job;
use crate::error::{Error, ExitCode};
use crate::model::escape::escaped;
use serde_json::Value;
use std::os::unix::ffi::OsStrExt;

/// Runs the subcommand.
pub fn run(options: AcceptOptions) -> Result<ExitCode, Error> {
    let options = AcceptOptions { job: environment::overlay(options.job)?, ..options };
    let request = status::subjects(&options.job)?;
    let [settings] = &request.jobs[..] else {
        let message = "each mirror has a manifest of its own; add --job NAME, or --source and --replica, to say whose is meant";
        return Err(ConfigError::Invalid(message.to_owned()).into());
    };
    let job = Job::locate(settings.clone())?;
    let mut code = ExitCode::Ok;
    for named in &options.paths {
        let Some(path) = accept(&job, named)? else {
            let name = escaped(named.as_os_str().as_bytes());
            output::diagnose(
                "error",
                &format!("the manifest has no file and no link {name}: there is nothing to accept"),
            );
            code = ExitCode::Fatal;
            continue;
        };
        if options.job.json {
            let mut object = events::event("accept", &job.label(), None);
            events::add_path(&mut object, &path);
            output::print(Value::Object(object));
        } else if !options.job.quiet {
            output::print(format_args!(
                "{path} is accepted as the source has it: the next run compares both sides, and brings it over"
            ));
        }
    }
    Ok(output::settle(code))
}
