//! The state folder: manifests, locks and the default log.

use super::ConfigError;
use super::paths::resolve;
use crate::resolved;
use md5::{Digest, Md5};
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat};
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// `$STATE_DIRECTORY` (as systemd sets it), else `/var/lib/twinfold` for root, else
/// `$XDG_STATE_HOME/twinfold` (`~/.local/state/twinfold`).
pub fn folder() -> Result<PathBuf, ConfigError> {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let folder = if let Some(list) = named("STATE_DIRECTORY") {
        // systemd joins several with colons; the first is ours.
        let first = list.as_bytes().split(|&b| b == b':').next().unwrap_or_default();
        if first.first() != Some(&b'/') {
            return Err(ConfigError::Invalid(
                "STATE_DIRECTORY is not an absolute path: the state would be in another place for each folder that twinfold is \
                 started in"
                    .to_owned(),
            ));
        }
        PathBuf::from(std::ffi::OsStr::from_bytes(first))
    } else if rustix::process::geteuid().is_root() {
        PathBuf::from("/var/lib/twinfold")
    } else if let Some(state) = named("XDG_STATE_HOME") {
        Path::new(&state).join("twinfold")
    } else if let Some(home) = named("HOME") {
        Path::new(&home).join(".local/state/twinfold")
    } else {
        let message = "there is no place for the manifest: set HOME or XDG_STATE_HOME, or use --manifest";
        return Err(ConfigError::Invalid(message.to_owned()));
    };
    Ok(resolve(&folder)?)
}

/// Makes the state folder, for its owner only, if it is missing.
pub fn create(folder: &Path) -> Result<(), ConfigError> {
    resolved::make_folders(folder).map_err(|error| {
        ConfigError::Invalid(format!(
            "cannot make the state folder {}: {error}; name another place with --manifest and --log-file",
            folder.display()
        ))
    })
}

/// Refuses a folder for state in which other users could plant or swap files: one that they may write to,
/// or that is theirs, for its owner may always do so.
pub fn check(folder: &Path) -> Result<(), ConfigError> {
    const OTHERS_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    match look_at(folder) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::Directory => {
            Err(ConfigError::Invalid(format!("{} is not a folder", folder.display())))
        }
        Ok(found) if is_foreign(&found) => Err(ConfigError::Invalid(format!(
            "the folder {}, where the manifest or log would lie, belongs to user {}, who could swap what is in it; \
             run chown on it, or name another place with --manifest and --log-file",
            folder.display(),
            found.st_uid
        ))),
        Ok(found) if found.st_mode & OTHERS_WRITE != 0 && found.st_mode & STICKY == 0 => {
            Err(ConfigError::Invalid(format!(
                "others may write to {}, where the manifest or log would lie; run chmod go-w on it",
                folder.display()
            )))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(ConfigError::Invalid(format!(
            "cannot use the folder {} for the manifest or log: {error}",
            folder.display()
        ))),
    }
}

/// Refuses a file of the state that somebody may have planted: one that is there and is no regular
/// file, has other names too, or belongs to somebody else. Writing to it would write to his file. `may_have_two_names`
/// is asked about a file with two names only: a second one that twinfold itself has made is no reason to refuse.
///
/// RACE: in a sticky folder that others may write to, one that was absent may be planted after this
/// look. Worst outcome: a database or log that its owner can read; no link is followed even then.
pub fn check_file(path: &Path, may_have_two_names: impl FnOnce() -> bool) -> Result<(), ConfigError> {
    let refused = |why: &str| {
        Err(ConfigError::Invalid(format!(
            "{} is refused: {why}; see what it is and move it away if nobody needs it there, or name another place with \
             --manifest or --log-file",
            path.display()
        )))
    };
    match look_at(path) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile => {
            refused("it is not a regular file")
        }
        Ok(found) if found.st_nlink > 1 && !(found.st_nlink == 2 && may_have_two_names()) => {
            refused("it is a hard link to a file with other names")
        }
        Ok(found) if is_foreign(&found) => refused(&format!("it belongs to user {}", found.st_uid)),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ConfigError::Invalid(format!(
            "cannot look at {}: {error}; the state of this user must be in a folder that this user may enter: name another \
             place with --manifest and --log-file, or set STATE_DIRECTORY",
            path.display()
        ))),
    }
}

/// What lies at a resolved path, seen through no link.
fn look_at(path: &Path) -> io::Result<Stat> {
    Ok(fstat(resolved::open(path, OFlags::PATH, Mode::empty())?)?)
}

/// Whether it belongs neither to root nor to the user who runs this.
fn is_foreign(found: &Stat) -> bool {
    found.st_uid != 0 && found.st_uid != rustix::process::geteuid().as_raw()
}

/// The file name of a job's manifest: the job's name, or, for a job from the command line, the
/// source's last component and a digest of both roots.
pub fn manifest_name(name: Option<&str>, source: &Path, replica: &Path) -> OsString {
    if let Some(name) = name {
        return OsString::from(format!("{name}.db"));
    }
    let mut hash = Md5::new();
    hash.update(source.as_os_str().as_bytes());
    hash.update([0]);
    hash.update(replica.as_os_str().as_bytes());
    let digest: [u8; 16] = hash.finalize().into();
    let digest = &crate::model::Digest(digest).to_string()[..12];
    let readable: String = source
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
        .take(40)
        .collect();
    OsString::from(format!("{readable}-{digest}.db"))
}
