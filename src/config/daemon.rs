//! What the daemon as a whole goes by, and which commands it runs after runs.

use super::ConfigError;
use super::file::{ConfigFile, JobTable};
use super::settings::{MAX_INTERVAL, defaults};
use std::time::Duration;

/// The daemon as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonSettings {
    /// So many jobs run at a time, at least one.
    pub max_parallel_jobs: usize,
    /// Its niceness; `None`: as it was started.
    pub nice: Option<i32>,
    /// Its turn at the disks; `None`: as it was started.
    pub io_priority: Option<IoPriority>,
}

/// Whose requests to a disk come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoPriority {
    /// Only when nobody else wants anything.
    Idle,
    /// In turn; 0 comes first, 7 last.
    BestEffort(u8),
}

impl IoPriority {
    /// What a value looks like.
    pub(super) const EXPECTED: &str = "\"idle\" or \"best-effort:0\" to \"best-effort:7\"";

    /// `idle`, or `best-effort:N` with N from 0 to 7.
    pub fn parse(text: &str) -> Result<Self, String> {
        const LAST: u8 = 7;
        let level = |text: &str| text.parse().ok().filter(|&level| level <= LAST && text.len() == 1);
        match (text, text.strip_prefix("best-effort:").and_then(level)) {
            ("idle", _) => Ok(Self::Idle),
            (_, Some(level)) => Ok(Self::BestEffort(level)),
            _ => Err(format!("`{text}` is no I/O priority; write {}", Self::EXPECTED)),
        }
    }
}

/// The commands after a run: program and arguments each, empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// After a run that ended with 0.
    pub on_success: Vec<String>,
    /// After a run that ended otherwise and was not interrupted.
    pub on_problem: Vec<String>,
    /// After a run with another result than the run before.
    pub on_change: Vec<String>,
    /// It is ended after so long.
    pub timeout: Duration,
}

impl Hooks {
    /// The commands by their keys; those that are empty are left out.
    pub fn commands(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        let all = [
            ("on_success", &self.on_success),
            ("on_problem", &self.on_problem),
            ("on_change", &self.on_change),
        ];
        all.into_iter().map(|(key, command)| (key, &command[..])).filter(|(_, command)| !command.is_empty())
    }
}

const MAX_PARALLEL_JOBS: u64 = 256;

/// The daemon's settings.
pub fn daemon_settings(file: &ConfigFile) -> Result<DaemonSettings, ConfigError> {
    let jobs = file.max_parallel_jobs.unwrap_or(defaults::PARALLEL_JOBS);
    let out_of_range = |key: &str, value: &dyn std::fmt::Display, range: &str| {
        ConfigError::Invalid(format!("{key} = {value} is out of range: {range}"))
    };
    let max_parallel_jobs = usize::try_from(jobs)
        .ok()
        .filter(|_| (1..=MAX_PARALLEL_JOBS).contains(&jobs))
        .ok_or_else(|| out_of_range("max_parallel_jobs", &jobs, &format!("1 to {MAX_PARALLEL_JOBS}")))?;
    match file.nice {
        Some(nice) if !(-20..=19).contains(&nice) => Err(out_of_range("nice", &nice, "-20 to 19")),
        nice => Ok(DaemonSettings { max_parallel_jobs, nice, io_priority: file.io_priority }),
    }
}

/// The commands of one job.
pub(super) fn hooks(file: &ConfigFile, table: &JobTable) -> Result<Hooks, ConfigError> {
    let command = |key: &str, own: &Option<Vec<String>>, all: &Option<Vec<String>>| {
        let command = own.as_ref().or(all.as_ref()).cloned().unwrap_or_default();
        if command.first().is_some_and(String::is_empty) {
            return Err(ConfigError::Invalid(format!("{key} names no program; its first word is empty")));
        }
        if command.iter().any(|word| word.contains('\0')) {
            return Err(ConfigError::Invalid(format!(
                "{key} has a NUL in it, which no command can be given"
            )));
        }
        Ok(command)
    };
    let timeout = table.hook_timeout.or(file.hook_timeout).unwrap_or(defaults::HOOK_TIMEOUT);
    if timeout.is_zero() || timeout > MAX_INTERVAL {
        let message = "hook_timeout must be at least 1s and at most ten years".to_owned();
        return Err(ConfigError::Invalid(message));
    }
    Ok(Hooks {
        on_success: command("on_success", &table.on_success, &file.on_success)?,
        on_problem: command("on_problem", &table.on_problem, &file.on_problem)?,
        on_change: command("on_change", &table.on_change, &file.on_change)?,
        timeout,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon(text: &str) -> Result<DaemonSettings, String> {
        ConfigFile::parse(text).and_then(|file| daemon_settings(&file).map_err(|error| error.to_string()))
    }

    #[test]
    fn priorities_are_taken_in_their_range_and_refused_beyond() {
        for (text, io) in [
            ("io_priority = \"idle\"", IoPriority::Idle),
            ("io_priority = \"best-effort:0\"", IoPriority::BestEffort(0)),
            ("io_priority = \"best-effort:7\"", IoPriority::BestEffort(7)),
        ] {
            assert_eq!(daemon(text).unwrap().io_priority, Some(io), "{text}");
        }
        for wrong in [
            "\"best-effort:8\"",
            "\"best-effort\"",
            "\"best-effort:+1\"",
            "\"realtime:1\"",
            "\"\"",
            "3",
            "true",
        ] {
            assert!(daemon(&format!("io_priority = {wrong}")).is_err(), "{wrong}");
        }
        for (text, nice) in [("nice = -20", -20), ("nice = 19", 19), ("nice = 0", 0)] {
            assert_eq!(daemon(text).unwrap().nice, Some(nice), "{text}");
        }
        for wrong in
            ["nice = 20", "nice = -21", "nice = \"much\"", "max_parallel_jobs = 0", "max_parallel_jobs = 257"]
        {
            assert!(daemon(wrong).is_err(), "{wrong}");
        }
        assert_eq!(daemon("").unwrap().max_parallel_jobs, 2);
    }

    #[test]
    fn a_jobs_own_command_goes_before_that_of_all_jobs_also_an_empty_one() {
        let of = |text: &str| {
            let file = ConfigFile::parse(text).unwrap();
            hooks(&file, &file.job[0])
        };
        let all = "on_success = [\"all\"]\non_problem = [\"all\", \"too\"]\nhook_timeout = \"7s\"\n[[job]]\n";
        let own = of(&format!("{all}on_success = [\"own\", \"\"]\non_problem = []")).unwrap();
        assert_eq!((own.on_success, own.on_problem), (vec!["own".to_owned(), String::new()], vec![]));
        assert_eq!(own.timeout, Duration::from_secs(7));
        assert_eq!(of(all).unwrap().on_problem, ["all", "too"]);
        for wrong in ["on_success = [\"\"]", "on_problem = [\"a\\u0000b\"]", "hook_timeout = 0"] {
            assert!(of(&format!("[[job]]\n{wrong}")).is_err(), "{wrong}");
        }
    }
}
