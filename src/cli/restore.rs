//! `twinfold restore`: lists the versions of an entry in the trash, and brings one back.

use super::args::RestoreOptions;
use super::events::{self, size_text};
use super::{environment, farewell, output, restore_copy, status};
use crate::cancel::Cancel;
use crate::clock;
use crate::config::{ConfigError, paths};
use crate::engine::job::Job;
use crate::engine::restore::{Errand, Restored, restore};
use crate::engine::status::path_under;
use crate::engine::trash::{self, Version, parse_stamp};
use crate::error::{Error, ExitCode};
use crate::model::escape::escaped;
use crate::model::{EntryPath, Kind, Timestamp};
use crate::resolved;
use crate::roots;
use crate::signals;
use crate::store::Mounts;
use crate::store::local::LocalStore;
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs the subcommand.
pub fn run(options: RestoreOptions) -> Result<ExitCode, Error> {
    let options = RestoreOptions {
        job: environment::overlay(options.job)?,
        at: environment::parsed(options.at, "AT", |text| Ok(text.to_owned()))?,
        to: environment::folder(options.to, "TO"),
        list: environment::switch(options.list, "LIST")?,
        from_replica: environment::switch(options.from_replica, "FROM_REPLICA")?,
        ..options
    };
    let request = status::subjects(&options.job)?;
    let [settings] = &request.jobs[..] else {
        let message = "each mirror has a trash of its own; add --job NAME, or --source and --replica, to say whose is meant";
        return Err(ConfigError::Invalid(message.to_owned()).into());
    };
    let job = Job::locate(settings.clone())?;
    let cancel = Arc::new(Cancel::new());
    signals::listen(Arc::clone(&cancel), farewell::ending(ExitCode::Interrupted))
        .map_err(|error| Error::System { action: "listen for signals", error })?;
    let path = path_under(&job, &options.path);
    if path.is_root() {
        let message = "the root itself is never in the trash; name a file or folder in it";
        return Err(ConfigError::Invalid(message.to_owned()).into());
    }
    if options.from_replica {
        return restore_copy::run(&job, &path, &options, &cancel);
    }
    let replica = job.find_replica()?;
    let Some(trash) = trash::Opened::open(&job, &replica, false)? else {
        return Ok(nothing(
            &path,
            "there is no trash; trash.enabled = true in the config makes runs fill it",
        ));
    };
    let fatal = |fault: crate::store::Fault| Error::System { action: fault.action, error: fault.error };
    let versions = trash::versions(&trash.store, &path).map_err(fatal)?;
    if options.job.json || options.list || !options.job.quiet {
        list(&job, &path, &versions, options.job.json);
    }
    if versions.is_empty() {
        let why = format!("the trash {} has no version of it", trash.path.display());
        return Ok(nothing(&path, &why));
    }
    if options.list {
        return Ok(output::settle(ExitCode::Ok));
    }
    let Some(version) = choose(&versions, options.at.as_deref())? else {
        let why = "no run has deleted or overwritten it since then: what the replica has is what it had";
        return Ok(nothing(&path, why));
    };
    let (to, place) = destination(&job, options.to.as_deref())?;
    let errand = Errand {
        from: &trash.store,
        lies: &version.path,
        stat: &version.stat,
        to: &to,
        path: &path,
        replace: false,
    };
    let restored = restore(&job, &errand, &cancel)?;
    Ok(tell(&job, &path, &Origin::Trash(version), &place, &restored, &options))
}

/// Where it comes from.
pub enum Origin<'v> {
    /// A version in the trash.
    Trash(&'v Version),
    /// The replica's copy.
    Replica,
}

fn nothing(path: &EntryPath, why: &str) -> ExitCode {
    output::diagnose("error", &format!("nothing was restored of {path}: {why}"));
    ExitCode::Fatal
}

fn list(job: &Job, path: &EntryPath, versions: &[Version], as_json: bool) {
    if !as_json && !versions.is_empty() {
        output::print(format_args!("versions of {path}, by the runs that deleted or overwrote them:"));
    }
    for version in versions {
        let print = &version.stat.fingerprint;
        if as_json {
            let mut object = events::event("version", &job.label(), None);
            events::add_path(&mut object, path);
            object.insert("version".to_owned(), json!(version.name));
            object.insert("until".to_owned(), json!(clock::rfc3339(version.at)));
            object.insert("kind".to_owned(), json!(version.stat.kind().name()));
            object.insert("size".to_owned(), json!(print.size));
            object.insert("mtime".to_owned(), json!(clock::rfc3339_nanos(print.mtime)));
            output::print(Value::Object(object));
            continue;
        }
        let size = if version.stat.kind() == Kind::File { size_text(print.size) } else { String::new() };
        output::print(format_args!(
            "  {:<18} until {}  {:<8} {size:>10}  changed {}",
            version.name,
            clock::readable(version.at),
            version.stat.kind().name(),
            clock::readable(print.mtime),
        ));
    }
}

/// The version that there was at that time: the first that a run deleted or overwrote since; the newest where no time
/// is named.
fn choose<'v>(versions: &'v [Version], at: Option<&str>) -> Result<Option<&'v Version>, ConfigError> {
    let Some(at) = at else { return Ok(versions.last()) };
    if let Some(version) = versions.iter().find(|version| version.name == at) {
        return Ok(Some(version));
    }
    let time: Option<Timestamp> = parse_stamp(at).or_else(|| clock::parse(at));
    let time = time.ok_or_else(|| {
        ConfigError::Invalid(format!(
            "--at {at:?} is no time; write it as 2026-11-26, '2026-11-26 19:05', in RFC 3339, or as --list shows it"
        ))
    })?;
    Ok(versions.iter().find(|version| version.at >= time))
}

/// The folder to put things into.
pub fn destination(job: &Job, to: Option<&Path>) -> Result<(LocalStore, PathBuf), Error> {
    let (root, place) = match to {
        None => (roots::open_source(&job.paths)?, job.paths.source.clone()),
        Some(dir) => {
            let place = paths::resolve(dir).map_err(ConfigError::from)?;
            if place.starts_with(&job.paths.replica) {
                return Err(ConfigError::Invalid(format!(
                    "{} lies in the replica: the next run would take away again what is put there. Name another folder \
                     with --to",
                    place.display()
                ))
                .into());
            }
            let open = || {
                resolved::make_folders(&place)?;
                resolved::open(&place, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
            };
            let cannot =
                |error| ConfigError::Invalid(format!("cannot use the folder {}: {error}", place.display()));
            (open().map_err(cannot)?, place)
        }
    };
    let store = LocalStore::replica(root, Mounts::Cross)
        .map_err(|fault| Error::System { action: fault.action, error: fault.error })?;
    Ok((store, place))
}

/// Says what was brought back.
pub fn tell(
    job: &Job,
    path: &EntryPath,
    origin: &Origin<'_>,
    place: &Path,
    restored: &Restored,
    options: &RestoreOptions,
) -> ExitCode {
    for problem in &restored.problems {
        let whole =
            escaped(place.join(std::ffi::OsStr::from_bytes(problem.path.trimmed())).as_os_str().as_bytes());
        output::diagnose("problem", &format!("cannot {} {whole}: {}", problem.action, problem.cause));
    }
    let target = place.join(std::ffi::OsStr::from_bytes(path.trimmed()));
    let nothing = restored.entries == 0 && !restored.problems.is_empty();
    if options.job.json {
        let mut object = events::event("restore", &job.label(), None);
        events::add_path(&mut object, path);
        if let Origin::Trash(version) = origin {
            object.insert("version".to_owned(), json!(version.name));
            object.insert("until".to_owned(), json!(clock::rfc3339(version.at)));
        }
        object.insert("to".to_owned(), json!(target.to_string_lossy()));
        object.insert("entries".to_owned(), json!(restored.entries));
        object.insert("bytes".to_owned(), json!(restored.bytes));
        object.insert("problems".to_owned(), json!(restored.problems.len()));
        output::print(Value::Object(object));
    } else if !options.job.quiet && !nothing {
        output::print(format_args!(
            "restored {path} (entries: {}; {}) {} to {}",
            restored.entries,
            size_text(restored.bytes),
            match origin {
                Origin::Trash(version) => format!("as it was until {}", clock::readable(version.at)),
                Origin::Replica => "as the replica has it".to_owned(),
            },
            escaped(target.as_os_str().as_bytes())
        ));
    }
    output::settle(if restored.problems.is_empty() { ExitCode::Ok } else { ExitCode::Problems })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str) -> Version {
        let dir = tempfile::tempdir().unwrap();
        let stat = crate::store::stat_of(&std::fs::File::open(dir.path()).unwrap()).unwrap();
        Version { name: name.to_owned(), at: parse_stamp(name).unwrap(), path: EntryPath::from(name), stat }
    }

    #[test]
    fn a_time_means_the_version_that_there_was_then() {
        let names = ["20260101T000000Z", "20260201T000000Z", "20260201T000000Z-2"];
        let versions: Vec<Version> = names.iter().map(|name| version(name)).collect();
        let chosen = |at| choose(&versions, at).unwrap().map(|version| version.name.as_str());
        assert_eq!(chosen(None), Some("20260201T000000Z-2"));
        assert_eq!(chosen(Some("2025-12-31T00:00:00Z")), Some("20260101T000000Z"));
        assert_eq!(chosen(Some("2026-01-01T00:00:00Z")), Some("20260101T000000Z"));
        assert_eq!(chosen(Some("2026-01-01T00:00:01Z")), Some("20260201T000000Z"));
        assert_eq!(chosen(Some("20260201T000000Z-2")), Some("20260201T000000Z-2"));
        assert_eq!(chosen(Some("2026-03-01T00:00:00Z")), None);
        assert!(choose(&versions, Some("then")).is_err());
    }
}
