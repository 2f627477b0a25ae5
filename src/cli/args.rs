//! The command line: names and meanings are a contract (see DESIGN.md).

use crate::config::units::{parse_count, parse_duration, parse_interval, parse_max_delete, parse_size};
use crate::config::verification::parse_share;
use crate::plan::gate::MaxDelete;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// Keeps a replica folder an exact, crash-safe mirror of a source folder.
#[derive(Debug, Parser)]
#[command(
    name = "twinfold",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Without a subcommand, twinfold syncs. Every option that takes a value can also be set by an \
                  environment variable: TWINFOLD_ and its name (TWINFOLD_MAX_DELETE)."
)]
pub struct Cli {
    /// What to do; `sync` if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options of `sync`.
    #[command(flatten)]
    pub sync: SyncOptions,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Mirror: a daemon at an interval, or one run with --once (this is the default)
    Sync(SyncOptions),
    /// Look into the manifest; works beside a running daemon
    Status(StatusOptions),
    /// Read and hash everything again, say what changed or is damaged, and bring the manifest up to date
    RebuildIndex(RebuildOptions),
    /// Let the deletes that are held go ahead on the next run, as far as they still fit; works beside a
    /// running daemon
    Approve(ApproveOptions),
    /// Declare what the source has of a file now to be right, where it was found damaged; works beside a running daemon
    Accept(AcceptOptions),
    /// Bring back what a run deleted or overwrote (from the trash), or the replica's copy of what is damaged
    Restore(RestoreOptions),
    /// Print what completes this program's command line in a shell
    Completions {
        /// The shell
        #[arg(value_enum, value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Print the manual page: twinfold man | man -l -
    Man,
}

/// A number of runs, from 1 up.
pub(super) fn parse_runs(text: &str) -> Result<u32, String> {
    let runs = parse_count(text)?;
    if runs > 0 { Ok(runs) } else { Err("0 runs are none; write 1 or more".to_owned()) }
}

/// The number of a run.
fn parse_run_id(text: &str) -> Result<i64, String> {
    let run = parse_count(text).ok().filter(|&run| run > 0);
    run.ok_or_else(|| format!("`{text}` is no number of a plan; twinfold status shows it"))
}

/// Options of `sync`.
#[derive(Clone, Debug, Args)]
pub struct SyncOptions {
    #[command(flatten)]
    pub job: JobOptions,
    /// Run once and end, instead of running at the interval
    #[arg(long)]
    pub once: bool,
    /// Print what a run would do, and write nothing anywhere (implies --once)
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Accept that a root lies on another mount than before, and remember the new one (a daemon: on its
    /// first run)
    #[arg(long)]
    pub accept_root: bool,
}

/// Options of `status`.
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
#[derive(Clone, Debug, Args)]
pub struct StatusOptions {
    /// Tell all that is known of these entries: paths under the roots, or in one of them
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub job: JobOptions,
    /// Show what the next run would do
    #[arg(long, conflicts_with_all = ["paths", "runs", "problems", "files"])]
    pub pending: bool,
    /// Say whether each job is healthy: end with 7 where its last run failed, entries have problems, deletes are
    /// held or no run was good yet
    #[arg(long, conflicts_with_all = ["paths", "pending", "runs", "problems", "files"])]
    pub check: bool,
    /// With --check: not healthy either where the last good run ended longer ago
    #[arg(long, value_name = "DUR", value_parser = parse_duration, requires = "check")]
    pub max_age: Option<Duration>,
    /// Show the last N runs
    #[arg(long, value_name = "N", value_parser = parse_runs, allow_negative_numbers = true)]
    pub runs: Option<u32>,
    /// Show what is wrong now
    #[arg(long)]
    pub problems: bool,
    /// List the entries (all, or those at and below PATH)
    #[arg(long)]
    pub files: bool,
    /// List what runs did, the oldest first (all that is remembered, or at and below PATH)
    #[arg(long, conflicts_with_all = ["pending", "check", "runs", "problems", "files"])]
    pub log: bool,
    /// With --log: only what was done in so long
    #[arg(long, value_name = "DUR", value_parser = parse_duration, requires = "log")]
    pub since: Option<Duration>,
    /// How to show it; md5sum lists the files so that `md5sum -c` takes it, csv all entries for a spreadsheet
    /// [default: table]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
}

/// How `status` shows things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON object a line.
    Json,
    /// As md5sum writes it and takes it with -c.
    Md5sum,
    /// Comma-separated values, with a line of names first (RFC 4180).
    Csv,
}

/// Options of `rebuild-index`.
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
#[derive(Clone, Debug, Args)]
pub struct RebuildOptions {
    #[command(flatten)]
    pub job: JobOptions,
    /// Leave the manifest as it is
    #[arg(long)]
    pub report_only: bool,
    /// Restore what is damaged in the replica from the source, by a run that follows (and brings over what changed,
    /// as every run); the source is never written to
    #[arg(long, conflicts_with_all = ["report_only", "source_only", "replica_only"])]
    pub heal: bool,
    /// Take this list, as md5sum writes it, for what the files should hold, instead of the manifest
    #[arg(long, value_name = "SUMS", conflicts_with_all = ["limit", "share", "older_than", "source_only", "replica_only"])]
    pub from: Option<PathBuf>,
    /// Have SQLite look over the whole manifest first (its `PRAGMA integrity_check`); a damaged one is set aside, and made anew
    /// from both trees
    #[arg(long)]
    pub integrity_check: bool,
    /// Read only so much of the tree (64KiB, 100GiB: bytes of the source), what was verified longest ago first
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with = "share")]
    pub limit: Option<u64>,
    /// Read only such a share of the tree (5%), what was verified longest ago first
    #[arg(long, value_name = "N%", value_parser = parse_share)]
    pub share: Option<f64>,
    /// Read only what was verified longer ago than that: 30d
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub older_than: Option<Duration>,
    /// Read only the source; the replica is taken to be sound where its metadata did not change
    #[arg(long, conflicts_with = "replica_only")]
    pub source_only: bool,
    /// Read only the replica; the source is taken to be sound where its metadata did not change
    #[arg(long)]
    pub replica_only: bool,
}

/// Options of `approve`.
#[derive(Clone, Debug, Args)]
pub struct ApproveOptions {
    /// The number under which status shows the held deletes [default: whatever is held]
    #[arg(value_name = "RUN_ID", value_parser = parse_run_id)]
    pub run: Option<i64>,
    #[command(flatten)]
    pub job: JobOptions,
}

/// Options of `restore`.
#[derive(Clone, Debug, Args)]
pub struct RestoreOptions {
    /// What to bring back, a file or a folder with all in it: a path under the roots, or in one of them
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    #[command(flatten)]
    pub job: JobOptions,
    /// The version that there was at this time: as --list shows it, RFC 3339, or local time as 2026-11-26 or
    /// '2026-11-26 19:05' [default: the newest]
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// The folder to put it into, under its path [default: the source]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Only list the versions
    #[arg(long, conflicts_with_all = ["at", "to"])]
    pub list: bool,
    /// Take the copy that the replica has instead of a version from the trash; in the source it takes the place of a file
    /// only where that did not change, and the copy is what the manifest knows
    #[arg(long, conflicts_with_all = ["at", "list"])]
    pub from_replica: bool,
}

/// Options of `accept`.
#[derive(Clone, Debug, Args)]
pub struct AcceptOptions {
    /// The files: paths under the roots, or in one of them
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub job: JobOptions,
}

/// Options that every subcommand has.
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
#[derive(Clone, Debug, Default, Args)]
pub struct JobOptions {
    /// The folder that is mirrored
    #[arg(long, value_name = "DIR", alias = "src_path")]
    pub source: Option<PathBuf>,
    /// The folder that is kept an exact mirror of it
    #[arg(long, value_name = "DIR", alias = "replica_path")]
    pub replica: Option<PathBuf>,
    /// Where to log [default: twinfold.log in the state folder]
    #[arg(long, value_name = "FILE", alias = "log_file_path")]
    pub log_file: Option<PathBuf>,
    /// From the start of one run to the start of the next: 90, 90s, 5m, 2h45m, 1d [default: 60s]
    #[arg(long, value_name = "DUR", value_parser = parse_interval, allow_negative_numbers = true, alias = "sync_interval_in_seconds")]
    pub interval: Option<Duration>,
    /// The config file [default: ~/.config/twinfold/config.toml, else /etc/twinfold/config.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Only the job of this name in the config file; may be given several times (`TWINFOLD_JOB`: names
    /// with commas between them)
    #[arg(long, value_name = "NAME")]
    pub job: Vec<String>,
    /// The job's manifest [default: in the state folder]
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Worker threads; 0 is one for each processor [default: 0]
    #[arg(long, value_name = "N", value_parser = parse_count::<u64>, allow_negative_numbers = true)]
    pub max_workers: Option<u64>,
    /// Hold the deletes of a run that would delete more: a number, a share, or off [default: 50%]
    #[arg(long, value_name = "N|N%|off", value_parser = parse_max_delete, allow_negative_numbers = true)]
    pub max_delete: Option<MaxDelete>,
    /// Leave out what this pattern matches, as in .gitignore (`*.tmp`, `/build/`, `!keep.tmp`); may be given several
    /// times, and goes after the patterns of the config
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,
    /// Read no more than so many bytes a second (64KiB, 10MiB), when copying, comparing and hashing; 0 is no
    /// limit [default: 0]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, allow_negative_numbers = true)]
    pub bandwidth_limit: Option<u64>,
    /// Write metrics of all jobs to this file after each run, as the textfile collector of Prometheus takes it
    #[arg(long, value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,
    /// Print nothing but warnings, problems and errors
    #[arg(short, long)]
    pub quiet: bool,
    /// Show the log on stderr, too
    #[arg(short, long)]
    pub verbose: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Show no progress, even on a terminal
    #[arg(long)]
    pub no_progress: bool,
    /// When to use colours
    #[arg(long, value_name = "WHEN", value_enum)]
    pub color: Option<ColorChoice>,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal.
    Auto,
    /// Also in a pipe.
    Always,
    /// Never.
    Never,
}
