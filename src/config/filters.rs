//! The filter of a job: patterns of the config, then those of `exclude_from`, then those of the command line.

use super::ConfigError;
use super::file::{ConfigFile, JobTable};
use super::paths::resolve;
use super::settings::Overrides;
use super::settings::defaults::LEFT_AT_ROOT;
use crate::filter::{Filter, Pattern, RootNames, Spec};
use crate::resolved;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// No honest list of patterns is larger.
const MAX_BYTES: u64 = 1 << 20;

/// Lays the layers over each other: a job's own keys take the place of those for all jobs.
///
/// # Errors
/// A pattern that is none, a list that cannot be read, sizes between which there is nothing.
pub(super) fn filter(
    overrides: &Overrides,
    file: &ConfigFile,
    table: &JobTable,
) -> Result<Arc<Filter>, ConfigError> {
    let plain = |text: &String| Pattern { text: text.clone(), origin: None };
    let mut patterns: Vec<Pattern> =
        table.exclude.as_ref().or(file.exclude.as_ref()).into_iter().flatten().map(plain).collect();
    if let Some(list) = table.exclude_from.as_deref().or(file.exclude_from.as_deref()) {
        patterns.extend(read(list)?);
    }
    patterns.extend(overrides.exclude.iter().map(plain));
    let spec = Spec {
        patterns,
        min_size: table.min_size.or(file.min_size).filter(|&bytes| bytes > 0),
        max_size: table.max_size.or(file.max_size),
        skip_cachedir_tag: table.skip_cachedir_tag.or(file.skip_cachedir_tag).unwrap_or(false),
        delete_excluded: table.delete_excluded.or(file.delete_excluded).unwrap_or(false),
    };
    if let (Some(least), Some(most)) = (spec.min_size, spec.max_size)
        && least > most
    {
        return Err(ConfigError::Invalid(format!(
            "min_size = {least} is more than max_size = {most}: no file would be mirrored"
        )));
    }
    Filter::new(spec).map(Arc::new).map_err(|error| ConfigError::Invalid(error.to_string()))
}

/// Lays the layers of `leave_at_root` over each other: a job's own list takes the place of the one for all jobs.
///
/// # Errors
/// A name that is none, or a wrong pattern.
pub(super) fn leave_at_root(file: &ConfigFile, table: &JobTable) -> Result<Arc<RootNames>, ConfigError> {
    let names = table.leave_at_root.as_ref().or(file.leave_at_root.as_ref()).cloned();
    let names = names.unwrap_or_else(|| LEFT_AT_ROOT.map(str::to_owned).to_vec());
    RootNames::new(names).map(Arc::new).map_err(|error| ConfigError::Invalid(error.to_string()))
}

/// The patterns of a list, one a line.
fn read(path: &Path) -> Result<Vec<Pattern>, ConfigError> {
    let failed = |error| {
        ConfigError::Invalid(format!(
            "cannot read the list of patterns {} (exclude_from): {error}",
            path.display()
        ))
    };
    let refused = |cause| {
        ConfigError::Invalid(format!(
            "the list of patterns {} (exclude_from) is refused: {cause}",
            path.display()
        ))
    };
    let opened = resolved::open(&resolve(path)?, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
    let list = File::from(opened.map_err(failed)?);
    let found = list.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(refused("it is not a regular file"));
    }
    if found.len() > MAX_BYTES {
        return Err(refused("it is larger than 1 MiB"));
    }
    let mut text = Vec::new();
    list.take(MAX_BYTES).read_to_end(&mut text).map_err(failed)?;
    let text = String::from_utf8(text).map_err(|_| refused("it is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let pattern = |(number, line): (usize, &str)| Pattern {
        text: line.to_owned(),
        origin: Some((path.to_owned(), number + 1)),
    };
    Ok(text.lines().enumerate().map(pattern).collect())
}
