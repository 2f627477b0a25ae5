//! The config file as written: every key optional, unknown keys refused with line and nearest key.

use super::ConfigError;
use super::daemon::IoPriority;
use super::explain::explain;
use super::trash::TrashTable;
use super::units::{
    parse_bytes, parse_duration, parse_interval, parse_max_delete, parse_size, text_or_number,
};
use super::verification::{Adopt, Portion};
use crate::model::Preserve;
use crate::plan::consistency::PublishMixed;
use crate::plan::deletions::Deletions;
use crate::plan::gate::MaxDelete;
use crate::plan::when_full::WhenFull;
use crate::resolved;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Deserializer};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// When what was copied must survive a power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When the system gets round to it.
    None,
    /// Before a batch is renamed into place and recorded: one syncfs a batch.
    #[default]
    Batch,
    /// Likewise, by an fsync of each file.
    File,
}

/// What becomes of what is mounted inside a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplicaMounts {
    /// It is no part of the mirror: left alone, and a problem.
    #[default]
    Leave,
    /// It is part of the mirror.
    Mirror,
}

/// What it is that a root is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Absent {
    /// A failed run.
    #[default]
    Problem,
    /// As it should be: the root lies on a disk that comes and goes.
    Ok,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Problems and failures only.
    Error,
    /// Also what a person should look at.
    Warn,
    /// Also every operation and a summary of each run.
    #[default]
    Info,
    /// Also what the program decides.
    Debug,
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// Files in one batch.
    pub file_copy_batch_size: Option<u64>,
    /// Worker threads; 0: one for each processor.
    pub max_workers: Option<u64>,
    /// Bytes read at a time.
    #[serde(deserialize_with = "bytes")]
    pub hashing_file_chunk_size: Option<u64>,
    /// From the start of one run to the start of the next.
    #[serde(deserialize_with = "interval")]
    pub interval: Option<Duration>,
    /// A run begins up to so much later than its interval says.
    #[serde(deserialize_with = "duration")]
    pub jitter: Option<Duration>,
    /// So many jobs run at a time.
    pub max_parallel_jobs: Option<u64>,
    /// The daemon's niceness.
    pub nice: Option<i32>,
    /// The daemon's turn at the disks.
    #[serde(deserialize_with = "io_priority")]
    pub io_priority: Option<IoPriority>,
    /// The command after a run that ends with 0.
    pub on_success: Option<Vec<String>>,
    /// The command after a run that ends otherwise.
    pub on_problem: Option<Vec<String>>,
    /// The command after a run with another result than the run before.
    pub on_change: Option<Vec<String>>,
    /// What it is that a root is not there.
    pub absent: Option<Absent>,
    /// Such a command may take so long.
    #[serde(deserialize_with = "duration")]
    pub hook_timeout: Option<Duration>,
    /// The limit for deletes.
    #[serde(deserialize_with = "max_delete")]
    pub max_delete: Option<MaxDelete>,
    /// A name that must be in a source.
    pub marker: Option<String>,
    /// When copies must survive a power cut.
    pub durability: Option<Durability>,
    /// A moved ctime alone is no reason to read a file.
    pub ignore_ctime: Option<bool>,
    /// Another inode number alone is no reason to read a file.
    pub ignore_inode: Option<bool>,
    /// What is mounted inside the source is no part of it.
    pub one_file_system: Option<bool>,
    /// What becomes of what is mounted inside the replica.
    pub replica_mounts: Option<ReplicaMounts>,
    /// Patterns of what is no part of the mirror, as in .gitignore.
    pub exclude: Option<Vec<String>>,
    /// A file with more of them.
    pub exclude_from: Option<PathBuf>,
    /// Smaller files are no part of the mirror.
    #[serde(deserialize_with = "size")]
    pub min_size: Option<u64>,
    /// Larger files are no part of the mirror.
    #[serde(deserialize_with = "size")]
    pub max_size: Option<u64>,
    /// Nor are folders with a `CACHEDIR.TAG`.
    pub skip_cachedir_tag: Option<bool>,
    /// What the replica has of what is excluded is deleted.
    pub delete_excluded: Option<bool>,
    /// Names at the replica's root that are left alone where the source has none of them.
    pub leave_at_root: Option<Vec<String>>,
    /// What becomes of entries that the source does not have.
    pub deletes: Option<Deletions>,
    /// So many bytes a second are read; 0: as fast as it goes.
    #[serde(deserialize_with = "size")]
    pub bandwidth_limit: Option<u64>,
    /// So much is verified along with each run.
    #[serde(deserialize_with = "portion")]
    pub verify: Option<Portion>,
    /// What an adoption takes on trust.
    pub adopt: Option<Adopt>,
    /// Which copies are published of files that are written to each time they are read.
    pub publish_mixed: Option<PublishMixed>,
    /// What becomes of a new version without room beside the old one.
    pub when_full: Option<WhenFull>,
    /// What becomes of what a run deletes or overwrites.
    pub trash: TrashTable,
    /// Where metrics are written after each run.
    pub metrics_file: Option<PathBuf>,
    /// The log.
    pub log: LogTable,
    /// What is kept of each entry.
    pub preserve: PreserveTable,
    /// The mirrors.
    pub job: Vec<JobTable>,
}

/// `[log]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogTable {
    /// Where to.
    pub file: Option<PathBuf>,
    /// How much.
    pub level: Option<LogLevel>,
    /// In what form.
    pub format: Option<LogFormat>,
    /// The log is rolled when it grows past this many bytes.
    #[serde(deserialize_with = "size")]
    pub max_size: Option<u64>,
    /// So many old logs are kept.
    pub keep: Option<u32>,
}

/// `[preserve]`, and `[job.preserve]` over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreserveTable {
    /// See [`Preserve::permissions`].
    pub permissions: Option<bool>,
    /// See [`Preserve::owner`].
    pub owner: Option<bool>,
    /// See [`Preserve::times`].
    pub times: Option<bool>,
    /// See [`Preserve::xattrs`].
    pub xattrs: Option<bool>,
    /// See [`Preserve::hard_links`].
    pub hard_links: Option<bool>,
    /// See [`Preserve::sparse`].
    pub sparse: Option<bool>,
    /// See [`Preserve::specials`].
    pub specials: Option<bool>,
}

impl PreserveTable {
    /// This table's switches over those of `below`, and over the defaults.
    pub fn over(&self, below: &Self) -> Preserve {
        let all = Preserve::default();
        Preserve {
            permissions: self.permissions.or(below.permissions).unwrap_or(all.permissions),
            owner: self.owner.or(below.owner).unwrap_or(all.owner),
            times: self.times.or(below.times).unwrap_or(all.times),
            xattrs: self.xattrs.or(below.xattrs).unwrap_or(all.xattrs),
            hard_links: self.hard_links.or(below.hard_links).unwrap_or(all.hard_links),
            sparse: self.sparse.or(below.sparse).unwrap_or(all.sparse),
            specials: self.specials.or(below.specials).unwrap_or(all.specials),
            ..all
        }
    }
}

/// One `[[job]]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobTable {
    /// What `--job` and `status` call it.
    pub name: Option<String>,
    /// The tree that is mirrored.
    pub source: Option<PathBuf>,
    /// The mirror.
    pub replica: Option<PathBuf>,
    /// Overrides the top-level key.
    #[serde(deserialize_with = "interval")]
    pub interval: Option<Duration>,
    /// Overrides the top-level key.
    #[serde(deserialize_with = "duration")]
    pub jitter: Option<Duration>,
    /// Overrides the top-level key.
    pub file_copy_batch_size: Option<u64>,
    /// Overrides the top-level key.
    pub max_workers: Option<u64>,
    /// Overrides the top-level key.
    #[serde(deserialize_with = "bytes")]
    pub hashing_file_chunk_size: Option<u64>,
    /// Overrides the top-level key.
    pub durability: Option<Durability>,
    /// Overrides the top-level key.
    pub on_success: Option<Vec<String>>,
    /// Overrides the top-level key.
    pub on_problem: Option<Vec<String>>,
    /// Overrides the top-level key.
    pub on_change: Option<Vec<String>>,
    /// Overrides the top-level key.
    pub absent: Option<Absent>,
    /// Overrides the top-level key.
    #[serde(deserialize_with = "duration")]
    pub hook_timeout: Option<Duration>,
    /// Where its manifest is, if not in the state folder.
    pub manifest: Option<PathBuf>,
    /// Overrides the top-level key.
    #[serde(deserialize_with = "max_delete")]
    pub max_delete: Option<MaxDelete>,
    /// Overrides the top-level key.
    pub marker: Option<String>,
    /// Overrides the top-level key.
    pub ignore_ctime: Option<bool>,
    /// Overrides the top-level key.
    pub ignore_inode: Option<bool>,
    /// Overrides the top-level key.
    pub one_file_system: Option<bool>,
    /// Overrides the top-level key.
    pub replica_mounts: Option<ReplicaMounts>,
    /// Overrides the top-level key.
    pub exclude: Option<Vec<String>>,
    /// Overrides the top-level key.
    pub exclude_from: Option<PathBuf>,
    /// Overrides the top-level key.
    #[serde(deserialize_with = "size")]
    pub min_size: Option<u64>,
    /// Overrides the top-level key.
    #[serde(deserialize_with = "size")]
    pub max_size: Option<u64>,
    /// Overrides the top-level key.
    pub skip_cachedir_tag: Option<bool>,
    /// Overrides the top-level key.
    pub delete_excluded: Option<bool>,
    /// Overrides the top-level key.
    pub leave_at_root: Option<Vec<String>>,
    /// Overrides the top-level key.
    pub deletes: Option<Deletions>,
    /// Overrides the top-level key.
    #[serde(deserialize_with = "size")]
    pub bandwidth_limit: Option<u64>,
    /// Overrides the top-level key.
    #[serde(deserialize_with = "portion")]
    pub verify: Option<Portion>,
    /// Overrides the top-level key.
    pub adopt: Option<Adopt>,
    /// Overrides the top-level key.
    pub publish_mixed: Option<PublishMixed>,
    /// Overrides the top-level key.
    pub when_full: Option<WhenFull>,
    /// Overrides the switches of the top-level table one by one.
    pub preserve: PreserveTable,
    /// Overrides the keys of the top-level table one by one.
    pub trash: TrashTable,
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    text_or_number(deserializer, "a size like \"1MiB\"", parse_size).map(Some)
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    text_or_number(deserializer, "a size like \"1MiB\", or a number of bytes", parse_bytes).map(Some)
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    text_or_number(deserializer, "a duration like \"5m\"", parse_duration).map(Some)
}

fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    text_or_number(deserializer, "a duration like \"5m\", or a number of seconds", parse_interval).map(Some)
}

fn io_priority<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IoPriority>, D::Error> {
    text_or_number(deserializer, IoPriority::EXPECTED, IoPriority::parse).map(Some)
}

fn portion<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Portion>, D::Error> {
    text_or_number(deserializer, Portion::EXPECTED, Portion::parse).map(Some)
}

fn max_delete<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MaxDelete>, D::Error> {
    text_or_number(deserializer, "a number, a share like \"50%\" or \"off\"", parse_max_delete).map(Some)
}

/// No honest config is larger.
const MAX_BYTES: u64 = 1 << 20;

impl ConfigFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// Where it is missing, no regular file, larger than 1 MiB, or, for root, writable by others;
    /// and where its text is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |error| ConfigError::Read { path: path.to_owned(), error };
        let refused = |cause| Err(ConfigError::Refused { path: path.to_owned(), cause });
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let opened = resolved::open(&super::paths::resolve(path)?, flags, Mode::empty());
        let file = File::from(opened.map_err(read)?);
        let metadata = file.metadata().map_err(read)?;
        if !metadata.is_file() {
            return refused("it is not a regular file");
        }
        if metadata.len() > MAX_BYTES {
            return refused("it is larger than 1 MiB");
        }
        let root = rustix::process::geteuid().is_root();
        if root && metadata.mode() & 0o022 != 0 {
            return refused("others than its owner may write to it; run chmod go-w on it");
        }
        if root && metadata.uid() != 0 {
            return refused("it belongs to another user, and twinfold runs as root; run chown root on it");
        }
        let mut text = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut text).map_err(read)?;
        let Ok(text) = String::from_utf8(text) else { return refused("it is not UTF-8") };
        Self::parse(&text).map_err(|message| ConfigError::Syntax { path: path.to_owned(), message })
    }

    /// Reads the file's text. A byte order mark is skipped.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        toml::from_str(text).map_err(|error| explain(&error, text))
    }
}

#[cfg(test)]
mod tests;
