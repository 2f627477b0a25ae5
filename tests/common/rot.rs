//! Content that changes and leaves no trace: as a disk does it.

use super::Mirror;
use rusqlite::Connection;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

impl Mirror {
    /// Flips a bit of a file in the source. Its times are put back; the ctime cannot be, so the row is told the new one, as
    /// if it had not moved.
    pub fn rot_source(&self, name: &str) {
        self.rot("ctime", &self.in_source(name), name);
    }

    /// The same in the replica.
    pub fn rot_replica(&self, name: &str) {
        self.rot("replica_ctime", &self.in_replica(name), name);
    }

    fn rot(&self, column: &str, file: &Path, name: &str) {
        flip(file);
        let now = fs::metadata(file).unwrap();
        let ctime = now.ctime() * 1_000_000_000 + now.ctime_nsec();
        self.set_in_manifest(&format!("{column} = {ctime}"), name);
    }

    /// Changes a row by hand.
    pub fn set_in_manifest(&self, assignment: &str, name: &str) {
        let connection = Connection::open(self.manifest()).unwrap();
        let sql = format!("UPDATE entries SET {assignment} WHERE path = CAST(?1 AS BLOB)");
        assert_eq!(connection.execute(&sql, [name]).unwrap(), 1, "{name}");
    }

    /// Makes all files look as if they had been verified so many days ago.
    pub fn age_in_manifest(&self, days: i64, names: &str) {
        let connection = Connection::open(self.manifest()).unwrap();
        let sql =
            "UPDATE entries SET hashed = hashed - ?1 * 86400 WHERE CAST(path AS TEXT) GLOB ?2 AND kind = 0";
        assert!(connection.execute(sql, rusqlite::params![days, names]).unwrap() > 0, "{names}");
    }
}

fn flip(path: &Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let metadata = file.metadata().unwrap();
    let (middle, mut byte) = (metadata.len() / 2, [0]);
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
    let times = FileTimes::new()
        .set_accessed(metadata.accessed().unwrap())
        .set_modified(metadata.modified().unwrap());
    file.set_times(times).unwrap();
}
