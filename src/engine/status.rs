//! What the manifest says of a job: read beside a running daemon, without a lock, writing nothing.

use super::damage::VOUCH;
use super::job::Job;
use crate::clock;
use crate::error::Error;
use crate::filter::{CACHEDIR_SIGNATURE, CACHEDIR_TAG, Spec};
use crate::lock::current_holder;
use crate::manifest::{
    Bounds, DamageRow, HeldRow, ManifestError, ProblemRow, Reader, RunFigures, RunKind, RunRow, Totals,
    TrashRow,
};
use crate::model::{Capabilities, EntryPath, Lost, Problem, Record};
use crate::plan::ages::Coverage;
use crate::plan::is_trash;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// One job at a glance.
#[derive(Debug, Default)]
pub struct Overview {
    /// Who holds the job's lock now: a daemon, or a run that is going on.
    pub holder: Option<String>,
    /// Entries in the source and bytes in them, as the last complete run saw them.
    pub entries: u64,
    /// See `entries`.
    pub bytes: u64,
    /// The last runs, newest first.
    pub runs: Vec<RunRow>,
    /// The last run that brought both sides into step: it ended with 0.
    pub last_good: Option<RunRow>,
    /// What is wrong now.
    pub problems: Vec<ProblemRow>,
    /// The deletes that are held.
    pub held: Option<HeldRow>,
    /// What all runs did together.
    pub totals: Totals,
    /// How much was verified when, as of the last run.
    pub coverage: Coverage,
    /// What is damaged and not settled.
    pub damage: Vec<DamageRow>,
    /// What is in the trash, by the runs that put it there, oldest first.
    pub trash: Vec<TrashRow>,
    /// What entries are without, and how many of them.
    pub losses: Vec<(Lost, u64)>,
    /// What the replica's file system holds, as far as that was found out.
    pub capabilities: Option<Capabilities>,
}

/// So many runs are searched for the last complete one: all that are remembered.
const SEARCHED: u32 = 1000;

/// Looks at a job, with its last `runs` runs. `None`: it has no manifest, so it has not run yet.
pub fn overview(job: &Job, runs: u32) -> Result<Option<Overview>, Error> {
    let looked = read(job, |reader| look(job, reader, runs));
    match looked {
        Err(Error::Manifest(ManifestError::Missing { .. })) => Ok(None),
        result => result.map(Some),
    }
}

/// Runs searched for the last one that was neither killed nor interrupted.
const RECENT: u32 = 20;

/// Returns the last run of a job that came to an end by itself; `None` where it has no manifest or none of its last
/// runs did.
pub fn last_ended(job: &Job) -> Result<Option<RunFigures>, Error> {
    let runs = match read(job, |reader| Ok(reader.runs(RECENT)?)) {
        Err(Error::Manifest(ManifestError::Missing { .. })) => return Ok(None),
        result => result?,
    };
    let ended = |run: &RunRow| run.kind == RunKind::Sync.name() && run.ended.is_some();
    let ended = runs.into_iter().find(|run| ended(run) && run.figures.result != "interrupted");
    Ok(ended.map(|run| run.figures))
}

/// How often a manifest is opened anew because a run began while it was read.
const TRIES: u32 = 5;

/// Opens a job's manifest and has it read; once more where a run began
/// meanwhile.
pub fn read<T>(job: &Job, mut work: impl FnMut(&Reader) -> Result<T, Error>) -> Result<T, Error> {
    let mut tries = 1;
    loop {
        let reader = open(job)?;
        let result = work(&reader);
        if !reader.is_disturbed() || tries == TRIES {
            return result;
        }
        tries += 1;
    }
}

/// Opens a job's manifest for reading, refusing another job's.
pub fn open(job: &Job) -> Result<Reader, Error> {
    job.recognize_manifest()?;
    let reader = Reader::open(&job.manifest)?;
    reader.check_job(&job.roots())?;
    Ok(reader)
}

fn look(job: &Job, reader: &Reader, runs: u32) -> Result<Overview, Error> {
    let mut history = reader.runs(runs.max(SEARCHED))?;
    let complete = history.iter().find(|run| run.is_complete()).map(|run| &run.figures);
    let (entries, bytes) = complete.map_or((0, 0), |figures| (figures.entries, figures.entry_bytes));
    let last_good = history.iter().find(|run| run.is_good()).cloned();
    history.truncate(usize::try_from(runs).unwrap_or(usize::MAX));
    let damage = reader.damage()?;
    Ok(Overview {
        holder: current_holder(&job.manifest),
        entries,
        bytes,
        runs: history,
        last_good,
        problems: problems(reader.problems()?, &damage),
        coverage: Coverage::of(&reader.coverage()?, clock::now().seconds),
        damage,
        held: reader.held()?,
        totals: reader.totals()?,
        trash: reader.trash()?,
        losses: reader.count_losses()?,
        capabilities: reader.capabilities_of_any(job.uid())?.map(|found| found.held),
    })
}

/// The problems of the last run, with damage as it is by now: a rebuild may have found some since, or found it gone.
fn problems(mut problems: Vec<ProblemRow>, damage: &[DamageRow]) -> Vec<ProblemRow> {
    problems.retain(|problem| problem.action != VOUCH || damage.iter().any(|row| row.path == problem.path));
    for row in damage {
        if !problems.iter().any(|problem| problem.action == VOUCH && problem.path == row.path) {
            let Problem { path, side, action, cause } = super::damage::problem(row);
            let (side, action) = (side.to_string(), action.to_owned());
            problems.push(ProblemRow { path, side, action, cause, since: row.found, times: 0 });
        }
    }
    problems.sort_by(|one, other| one.path.cmp(&other.path));
    problems
}

/// The row that `named` means: a path under the roots, or an absolute one in either of them.
pub fn find(job: &Job, reader: &Reader, named: &Path) -> Result<Option<Record>, Error> {
    for key in keys(job, named) {
        if let Some(record) = reader.find(&key)? {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// Which rule of the job's filter leaves out what `named` means, if one does; the source says of which size it is
/// and whether it lies in a cache.
pub fn excluded_by(job: &Job, named: &Path) -> Option<String> {
    let filter = &job.settings.filter;
    let keys = keys(job, named);
    if keys.iter().any(is_trash) {
        return Some("its name: that is where the trash is".to_owned());
    }
    if filter.is_empty() {
        return None;
    }
    let source = |key: &EntryPath| job.paths.source.join(OsStr::from_bytes(key.trimmed()));
    let found = keys.first().and_then(|key| source(key).symlink_metadata().ok());
    let is_folder = found.as_ref().map(std::fs::Metadata::is_dir);
    let meant = |key: &&EntryPath| is_folder.is_none_or(|is_folder| key.is_folder() == is_folder);
    if let Some(rule) = keys.iter().filter(meant).find_map(|key| filter.pattern_for(key)) {
        return Some(rule);
    }
    if let Some(found) = found.filter(|found| found.is_file() && filter.excludes_size(found.len())) {
        let Spec { min_size, max_size, .. } = filter.spec();
        let bound = |bytes: &Option<u64>| bytes.map_or_else(|| "none".to_owned(), |bytes| bytes.to_string());
        let (least, most) = (bound(min_size), bound(max_size));
        return Some(format!("its size of {} bytes (min_size {least}, max_size {most})", found.len()));
    }
    if !filter.spec().skip_cachedir_tag {
        return None;
    }
    let mut folders: Vec<EntryPath> = keys.first()?.folders_above().collect();
    folders.extend(keys.iter().filter(|key| key.is_folder()).cloned());
    let tagged = folders.iter().filter(|folder| !folder.is_root()).find(|folder| {
        let mut begins = [0; CACHEDIR_SIGNATURE.len()];
        let tag = source(folder).join(OsStr::from_bytes(CACHEDIR_TAG));
        let is_file = tag.symlink_metadata().is_ok_and(|found| found.is_file());
        let mut read = || File::open(&tag).and_then(|mut tag| tag.read_exact(&mut begins));
        is_file && read().is_ok() && begins == *CACHEDIR_SIGNATURE
    })?;
    Some(format!("skip_cachedir_tag: {tagged} has a CACHEDIR.TAG"))
}

/// What `named` bounds: the entry itself and, for a folder, all below it.
pub fn bounds(job: &Job, reader: &Reader, named: &Path) -> Result<Option<Bounds>, Error> {
    Ok(find(job, reader, named)?.map(|record| Bounds::Under(record.path)))
}

/// The path under a root that `named` means, without the `/` of a folder.
pub fn path_under(job: &Job, named: &Path) -> EntryPath {
    keys(job, named).into_iter().next().unwrap_or_else(EntryPath::root)
}

/// The keys under which an entry may be: a user does not add `/` to a folder's name.
fn keys(job: &Job, named: &Path) -> Vec<EntryPath> {
    let mut below = named;
    for root in [&job.paths.source, &job.paths.replica, &job.settings.source, &job.settings.replica] {
        if named.is_absolute()
            && let Ok(rest) = named.strip_prefix(root)
        {
            below = rest;
            break;
        }
    }
    let parts: Vec<&[u8]> = below
        .as_os_str()
        .as_bytes()
        .split(|&b| b == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    if parts.is_empty() {
        return vec![EntryPath::root()];
    }
    let plain = EntryPath::from_bytes(parts.join(&b'/'));
    let folder = plain.other_kind();
    vec![plain, folder]
}
