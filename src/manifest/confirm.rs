//! A second look at what SQLite calls damage.
//!
//! SQLite reports a read that failed with EIO as a malformed database as soon as a statement runs. The file may be as
//! whole as ever: a disk that was away for a moment must not cost the job its manifest.

use super::error::ManifestError;
use super::file;
use super::reader::Reader;

/// Returns `error` as it is, unless SQLite called a manifest damaged that cannot be read, or that is whole when all of it is
/// read again: then the error of reading it. The manifest must have been closed. Takes as long as reading the file.
pub fn confirm(error: ManifestError) -> ManifestError {
    let ManifestError::Damaged { path, cause, doubtful: true } = &error else { return error };
    if let Err(unreadable) = file::read_through(path) {
        return unreadable;
    }
    match Reader::open(path).and_then(|reader| reader.check_integrity()) {
        Ok(()) => ManifestError::Passing { path: path.clone(), cause: cause.clone() },
        Err(ManifestError::Damaged { .. }) => error,
        Err(other) => other,
    }
}
