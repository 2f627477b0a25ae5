//! What a run goes by, after all layers are laid over each other.

use super::ConfigError;
use super::daemon::{self, Hooks};
pub use super::file::ConfigFile;
use super::file::{Absent, Durability, JobTable, LogFormat, LogLevel, ReplicaMounts};
use super::filters;
use super::trash::{self, TrashSettings};
use super::verification::{Adopt, Portion};
use crate::filter::{Filter, RootNames};
use crate::model::Preserve;
use crate::model::escape::escaped;
use crate::plan::consistency::PublishMixed;
use crate::plan::deletions::Deletions;
use crate::plan::gate::MaxDelete;
use crate::plan::when_full::WhenFull;
use std::env;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The command line and, below it, the environment.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--source`.
    pub source: Option<PathBuf>,
    /// `--replica`.
    pub replica: Option<PathBuf>,
    /// `--log-file`.
    pub log_file: Option<PathBuf>,
    /// `--interval`.
    pub interval: Option<Duration>,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--job`; empty: all.
    pub jobs: Vec<String>,
    /// `--manifest`.
    pub manifest: Option<PathBuf>,
    /// `--max-workers`.
    pub max_workers: Option<u64>,
    /// `--max-delete`.
    pub max_delete: Option<MaxDelete>,
    /// `--exclude`.
    pub exclude: Vec<String>,
    /// `--metrics-file`.
    pub metrics_file: Option<PathBuf>,
    /// `--bandwidth-limit`, in bytes a second.
    pub bandwidth_limit: Option<u64>,
}

/// One job, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The job's name, if it has one.
    pub name: Option<String>,
    /// The tree that is mirrored, as given.
    pub source: PathBuf,
    /// The mirror, as given.
    pub replica: PathBuf,
    /// From the start of one run to the start of the next.
    pub interval: Duration,
    /// A run begins up to so much later; never more than the interval.
    pub jitter: Duration,
    /// So many jobs may run in this process at a time: they share its descriptors.
    pub abreast: usize,
    /// What is run after a run.
    pub hooks: Hooks,
    /// What it is that a root is not there.
    pub absent: Absent,
    /// The manifest, if not in the state folder.
    pub manifest: Option<PathBuf>,
    /// Worker threads, at least one.
    pub workers: usize,
    /// Files in one batch, at least one.
    pub batch_files: usize,
    /// Bytes read at a time, at least one.
    pub chunk_bytes: usize,
    /// The limit for deletes.
    pub max_delete: MaxDelete,
    /// A name that must be in the source's root: a sign that the right folder is there.
    pub marker: Option<String>,
    /// When copies must survive a power cut.
    pub durability: Durability,
    /// A moved ctime alone is no reason to read a file.
    pub ignore_ctime: bool,
    /// Another inode number alone is no reason to read a file.
    pub ignore_inode: bool,
    /// What is mounted inside the source is no part of it.
    pub one_file_system: bool,
    /// What becomes of what is mounted inside the replica.
    pub replica_mounts: ReplicaMounts,
    /// What is kept of each entry.
    pub preserve: Preserve,
    /// What is no part of the mirror.
    pub filter: Arc<Filter>,
    /// Names at the replica's root that are left alone where the source has none of them.
    pub leave_at_root: Arc<RootNames>,
    /// What becomes of entries that the source does not have.
    pub deletes: Deletions,
    /// So many bytes a second are read, by all workers together.
    pub bandwidth_limit: Option<u64>,
    /// So much is verified along with each run.
    pub verify: Portion,
    /// What an adoption takes on trust.
    pub adopt: Adopt,
    /// Which copies are published of files that are written to each time they are read.
    pub publish_mixed: PublishMixed,
    /// What becomes of a new version without room beside the old one.
    pub when_full: WhenFull,
    /// What becomes of what is deleted or overwritten.
    pub trash: TrashSettings,
}

impl Settings {
    /// What people call the job: its name, or its two roots.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| {
            let text = |path: &Path| escaped(path.as_os_str().as_bytes());
            format!("{} -> {}", text(&self.source), text(&self.replica))
        })
    }
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Where to, if not in the state folder.
    pub file: Option<PathBuf>,
    /// How much.
    pub level: LogLevel,
    /// In what form.
    pub format: LogFormat,
    /// The log is rolled when it grows past this many bytes.
    pub max_bytes: u64,
    /// So many old logs are kept.
    pub keep: u32,
}

/// Defaults, which `config.toml` at the project's root shows.
pub mod defaults {
    use std::time::Duration;

    /// `file_copy_batch_size`.
    pub const BATCH_FILES: u64 = 128;
    /// `max_workers`: one for each processor.
    pub const WORKERS: u64 = 0;
    /// `hashing_file_chunk_size`.
    pub const CHUNK_BYTES: u64 = 1 << 20;
    /// `interval`.
    pub const INTERVAL: Duration = Duration::from_secs(60);
    /// `jitter`.
    pub const JITTER: Duration = Duration::ZERO;
    /// `max_parallel_jobs`.
    pub const PARALLEL_JOBS: u64 = 2;
    /// `hook_timeout`.
    pub const HOOK_TIMEOUT: Duration = Duration::from_secs(300);
    /// `max_delete`, in percent.
    pub const MAX_DELETE_PERCENT: f64 = 50.0;
    /// `leave_at_root`.
    pub const LEFT_AT_ROOT: [&str; 7] = [
        "lost+found",
        "System Volume Information",
        "$RECYCLE.BIN",
        ".Trash-*",
        ".fseventsd",
        ".Spotlight-V100",
        "@eaDir",
    ];
    /// `trash.keep`.
    pub const TRASH_KEPT: Duration = Duration::from_secs(30 * 86_400);
    /// `log.max_size`.
    pub const LOG_BYTES: u64 = 10 << 20;
    /// `log.keep`.
    pub const LOGS_KEPT: u32 = 5;
}

/// Sanity bounds: beyond them a value is a mistake, and memory would be its price.
const MAX_WORKERS: u64 = 1024;
const MAX_LOGS_KEPT: u32 = 1000;
pub(super) const MAX_INTERVAL: Duration = Duration::from_secs(3660 * 86_400);
const MAX_BATCH_FILES: u64 = 1 << 20;
const MAX_CHUNK_BYTES: u64 = 1 << 30;

/// `--config`, else `$XDG_CONFIG_HOME/twinfold/config.toml`, else `/etc/twinfold/config.toml`, else none.
pub fn load_file(overrides: &Overrides) -> Result<ConfigFile, ConfigError> {
    if let Some(path) = &overrides.config {
        return ConfigFile::load(path);
    }
    let home = env::var_os("XDG_CONFIG_HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").filter(|h| !h.is_empty()).map(|h| PathBuf::from(h).join(".config")));
    let candidates =
        home.map(|home| home.join("twinfold")).into_iter().chain([PathBuf::from("/etc/twinfold")]);
    for path in candidates.map(|folder| folder.join("config.toml")) {
        if path.symlink_metadata().is_ok() {
            return ConfigFile::load(&path);
        }
    }
    Ok(ConfigFile::default())
}

/// The log's settings.
pub fn log_settings(overrides: &Overrides, file: &ConfigFile) -> Result<LogSettings, ConfigError> {
    let log = &file.log;
    let max_bytes = log.max_size.unwrap_or(defaults::LOG_BYTES);
    if max_bytes == 0 {
        return Err(ConfigError::Invalid("log.max_size must be at least 1".to_owned()));
    }
    let keep = log.keep.unwrap_or(defaults::LOGS_KEPT);
    if keep > MAX_LOGS_KEPT {
        return Err(ConfigError::Invalid(format!("log.keep = {keep} is out of range: 0 to {MAX_LOGS_KEPT}")));
    }
    Ok(LogSettings {
        file: overrides.log_file.clone().or_else(|| log.file.clone()),
        level: log.level.unwrap_or_default(),
        format: log.format.unwrap_or_default(),
        max_bytes,
        keep,
    })
}

/// The jobs to run: the one that the command line describes or names, else all in the file.
pub fn jobs(overrides: &Overrides, file: &ConfigFile) -> Result<Vec<Settings>, ConfigError> {
    check_names(file)?;
    let tables = choose(overrides, file)?;
    let abreast = daemon::daemon_settings(file)?.max_parallel_jobs.min(tables.len().max(1));
    let resolved = |table| Ok(Settings { abreast, ..resolve(overrides, file, table)? });
    let jobs: Vec<Settings> = tables.iter().map(resolved).collect::<Result<_, ConfigError>>()?;
    trash::check_apart(&jobs)?;
    if jobs.len() > 1 && overrides.manifest.is_some() {
        let message = "--manifest names one file, but there are several jobs; add --job NAME";
        return Err(ConfigError::Invalid(message.to_owned()));
    }
    Ok(jobs)
}

/// All jobs that the file describes well enough to tell their roots.
pub fn configured(file: &ConfigFile) -> Vec<Settings> {
    let overrides = Overrides::default();
    file.job.iter().filter_map(|table| resolve(&overrides, file, table).ok()).collect()
}

fn check_names(file: &ConfigFile) -> Result<(), ConfigError> {
    let mut seen = std::collections::BTreeSet::new();
    for table in &file.job {
        let Some(name) = &table.name else {
            return Err(ConfigError::Invalid("a [[job]] has no name; add name = \"...\"".to_owned()));
        };
        let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) || name.len() > 100 {
            return Err(ConfigError::Invalid(format!(
                "the job name {name:?} is refused: use letters, digits, - _ and . (not first)"
            )));
        }
        if !seen.insert(name) {
            return Err(ConfigError::Invalid(format!("two jobs are called {name:?}; give one another name")));
        }
    }
    Ok(())
}

fn choose(overrides: &Overrides, file: &ConfigFile) -> Result<Vec<JobTable>, ConfigError> {
    if !overrides.jobs.is_empty() {
        let has = |name: &String| file.job.iter().any(|table| table.name.as_ref() == Some(name));
        if let Some(name) = overrides.jobs.iter().find(|name| !has(name)) {
            return Err(ConfigError::Invalid(format!(
                "there is no job {name:?} in the config; it has: {}",
                file.job.iter().filter_map(|t| t.name.as_deref()).collect::<Vec<_>>().join(", ")
            )));
        }
        // In the order of the file, and each once, however often it is named.
        let named = |table: &&JobTable| table.name.as_ref().is_some_and(|name| overrides.jobs.contains(name));
        return Ok(file.job.iter().filter(named).cloned().collect());
    }
    match (&overrides.source, &overrides.replica) {
        (Some(_), Some(_)) => Ok(vec![JobTable::default()]),
        (Some(_), None) | (None, Some(_)) if file.job.len() != 1 => Err(ConfigError::Invalid(
            "both --source and --replica are needed to describe a mirror".to_owned(),
        )),
        _ if file.job.is_empty() => Err(ConfigError::NothingToMirror),
        _ => Ok(file.job.clone()),
    }
}

fn resolve(overrides: &Overrides, file: &ConfigFile, table: &JobTable) -> Result<Settings, ConfigError> {
    let label = table.name.as_deref().unwrap_or("the command line");
    let needed = |what: &str| ConfigError::Invalid(format!("the job of {label} has no {what}"));
    let interval = overrides.interval.or(table.interval).or(file.interval).unwrap_or(defaults::INTERVAL);
    if interval.is_zero() || interval > MAX_INTERVAL {
        return Err(ConfigError::Invalid("interval must be at least 1s and at most ten years".to_owned()));
    }
    let within = |key: &str, value: u64, least: u64, most: u64| {
        usize::try_from(value).ok().filter(|_| (least..=most).contains(&value)).ok_or_else(|| {
            ConfigError::Invalid(format!("{key} = {value} is out of range: {least} to {most}"))
        })
    };
    let jitter = table.jitter.or(file.jitter).unwrap_or(defaults::JITTER);
    if jitter > MAX_INTERVAL {
        return Err(ConfigError::Invalid("jitter must be at most ten years".to_owned()));
    }
    let workers =
        overrides.max_workers.or(table.max_workers).or(file.max_workers).unwrap_or(defaults::WORKERS);
    let workers = match within("max_workers", workers, 0, MAX_WORKERS)? {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        workers => workers,
    };
    let batch = table.file_copy_batch_size.or(file.file_copy_batch_size).unwrap_or(defaults::BATCH_FILES);
    let chunk =
        table.hashing_file_chunk_size.or(file.hashing_file_chunk_size).unwrap_or(defaults::CHUNK_BYTES);
    Ok(Settings {
        name: table.name.clone(),
        source: overrides.source.clone().or_else(|| table.source.clone()).ok_or_else(|| needed("source"))?,
        replica: overrides
            .replica
            .clone()
            .or_else(|| table.replica.clone())
            .ok_or_else(|| needed("replica"))?,
        interval,
        jitter: jitter.min(interval),
        abreast: 1,
        hooks: daemon::hooks(file, table)?,
        absent: table.absent.or(file.absent).unwrap_or_default(),
        manifest: overrides.manifest.clone().or_else(|| table.manifest.clone()),
        workers,
        batch_files: within("file_copy_batch_size", batch, 1, MAX_BATCH_FILES)?,
        chunk_bytes: within("hashing_file_chunk_size", chunk, 1, MAX_CHUNK_BYTES)?,
        max_delete: overrides
            .max_delete
            .or(table.max_delete)
            .or(file.max_delete)
            .unwrap_or(MaxDelete::Percent(defaults::MAX_DELETE_PERCENT)),
        marker: table.marker.clone().or_else(|| file.marker.clone()).map(marker).transpose()?,
        durability: table.durability.or(file.durability).unwrap_or_default(),
        ignore_ctime: table.ignore_ctime.or(file.ignore_ctime).unwrap_or(false),
        ignore_inode: table.ignore_inode.or(file.ignore_inode).unwrap_or(false),
        one_file_system: table.one_file_system.or(file.one_file_system).unwrap_or(false),
        replica_mounts: table.replica_mounts.or(file.replica_mounts).unwrap_or_default(),
        preserve: table.preserve.over(&file.preserve),
        filter: filters::filter(overrides, file, table)?,
        leave_at_root: filters::leave_at_root(file, table)?,
        deletes: table.deletes.or(file.deletes).unwrap_or_default(),
        bandwidth_limit: overrides
            .bandwidth_limit
            .or(table.bandwidth_limit)
            .or(file.bandwidth_limit)
            .filter(|&limit| limit > 0),
        verify: table.verify.or(file.verify).unwrap_or_default(),
        adopt: table.adopt.or(file.adopt).unwrap_or_default(),
        publish_mixed: table.publish_mixed.or(file.publish_mixed).unwrap_or_default(),
        when_full: table.when_full.or(file.when_full).unwrap_or_default(),
        trash: trash::trash(file, table)?,
    })
}

/// A marker is one name in the source's root.
fn marker(name: String) -> Result<String, ConfigError> {
    const NAME_MAX: usize = 255;
    let wrong =
        name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) || name.len() > NAME_MAX;
    if wrong {
        return Err(ConfigError::Invalid(format!(
            "marker = {name:?} is no name of an entry in the source; give one name without slashes"
        )));
    }
    Ok(name)
}
