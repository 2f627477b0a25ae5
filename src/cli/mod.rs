//! Floor 4: the shell around the engine. Knows clap, indicatif and log4rs; nothing below does.

mod accept;
mod after;
mod approve;
mod args;
mod check;
mod csv_lines;
mod daemon;
mod environment;
mod events;
mod farewell;
mod jobs_table;
mod journal;
mod log_file;
mod log_lines;
mod logging;
mod manuals;
mod metrics;
mod output;
mod posts;
mod progress;
mod rebuild;
mod reload;
mod restore;
mod restore_copy;
mod rolling;
mod roster;
mod service;
mod shell;
mod status;
mod status_lines;
mod sync;
mod verification_lines;
mod vitals;
mod watch;

use crate::error::{Error, ExitCode};
use crate::signals;
use args::{Cli, Command};
use clap::Parser;
use std::ffi::OsString;
use std::panic::{UnwindSafe, catch_unwind};

/// What [`run`] returns; where that panics, in whatever thread, the code of a run that could not be. The
/// panic's own message is on stderr already.
pub fn run_guarded(arguments: impl IntoIterator<Item = OsString> + UnwindSafe) -> u8 {
    guarded(|| run(arguments))
}

fn guarded(work: impl FnOnce() -> u8 + UnwindSafe) -> u8 {
    catch_unwind(work).unwrap_or(ExitCode::Fatal.number())
}

/// Runs the program with these arguments (the program's own name first) and returns its exit code.
fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout and end with 0, wrong usage to stderr and 2.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(ExitCode::Usage.number());
        }
    };
    let result = signals::outlive_size_limit()
        .map_err(|error| Error::System { action: "listen for signals", error })
        .and_then(|()| carry_out(cli));
    match result {
        Ok(code) => code.number(),
        Err(error) => {
            report(&error);
            error.exit_code().number()
        }
    }
}

fn carry_out(cli: Cli) -> Result<ExitCode, Error> {
    match cli.command {
        None => sync::run(cli.sync),
        Some(Command::Sync(options)) => sync::run(options),
        Some(Command::Status(options)) => status::run(&options),
        Some(Command::RebuildIndex(options)) => rebuild::run(options),
        Some(Command::Approve(options)) => approve::run(options),
        Some(Command::Accept(options)) => accept::run(options),
        Some(Command::Restore(options)) => restore::run(options),
        Some(Command::Completions { shell }) => Ok(output::settle(manuals::completions(shell))),
        Some(Command::Man) => Ok(output::settle(manuals::man())),
    }
}

fn report(error: &Error) {
    output::diagnose("error", &error.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_exit_code_1() {
        assert_eq!(guarded(|| panic!("told to")), 1);
        assert_eq!(guarded(|| 3), 3);
    }
}
