//! The versions that the trash has of an entry.

use crate::model::{EntryPath, Stat, Timestamp};
use crate::store::local::LocalStore;
use crate::store::{Fault, Folder, Store};
use chrono::NaiveDateTime;

/// One version of an entry.
#[derive(Clone, Debug)]
pub struct Version {
    /// The name of the run's folder.
    pub name: String,
    /// When the run began that deleted or overwrote it.
    pub at: Timestamp,
    /// Where it lies in the trash.
    pub path: EntryPath,
    /// What it is.
    pub stat: Stat,
}

/// When the run began that a folder in the trash is named after (`20261126T190504Z`, perhaps with a number);
/// `None`: it is named after none.
pub fn parse_stamp(name: &str) -> Option<Timestamp> {
    let (time, number) = name.split_once('-').map_or((name, None), |(time, number)| (time, Some(number)));
    if number.is_some_and(|number| number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let parsed = NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%SZ").ok()?;
    Some(Timestamp::new(parsed.and_utc().timestamp(), 0))
}

/// The runs that put something into the trash, oldest first.
pub fn runs(trash: &LocalStore) -> Result<Vec<(String, Timestamp)>, Fault> {
    let parsed = |name: Vec<u8>| {
        let name = String::from_utf8(name).ok()?;
        parse_stamp(&name).map(|at| (name, at))
    };
    let mut runs: Vec<(String, Timestamp)> = trash.names()?.into_iter().filter_map(parsed).collect();
    // Of one second: by their numbers.
    runs.sort_by(|(one, at), (other, then)| (at, one.len(), one).cmp(&(then, other.len(), other)));
    Ok(runs)
}

/// The versions that the trash has of `path` (given without the `/` of a folder), oldest first.
pub fn versions(trash: &LocalStore, path: &EntryPath) -> Result<Vec<Version>, Fault> {
    let mut versions = Vec::new();
    for (name, at) in runs(trash)? {
        let run = EntryPath::root().child(name.as_bytes(), true);
        let within = EntryPath::from_bytes([run.as_bytes(), path.as_bytes()].concat());
        let folder = match trash.folder(&within.parent()) {
            Err(fault) if fault.is_absence() => continue,
            result => result?,
        };
        if let Some(stat) = folder.stat(within.name())? {
            versions.push(Version { name, at, path: within, stat });
        }
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_name_runs() {
        assert_eq!(parse_stamp("20231114T221320Z").unwrap(), Timestamp::new(1_700_000_000, 0));
        assert_eq!(parse_stamp("20231114T221320Z-2").unwrap(), Timestamp::new(1_700_000_000, 0));
        for name in ["", "x", "20231114T221320", "20231114T221320Z-", "20231114T221320Z-x", "lost+found"] {
            assert_eq!(parse_stamp(name), None, "{name}");
        }
    }
}
