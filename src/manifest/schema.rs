//! The migrations and how far a file has come with them.

use super::error::{ManifestError, sqlite};
use rusqlite::Connection;
use std::path::Path;

/// "twfd": says in the file's header that it is a manifest of twinfold.
pub(super) const APPLICATION_ID: i32 = 0x7477_6664;

/// Append-only: a migration that was released is never edited.
const MIGRATIONS: [&str; 17] = [
    include_str!("../../migrations/0001_initial.sql"),
    include_str!("../../migrations/0002_links_and_switches.sql"),
    include_str!("../../migrations/0003_gates.sql"),
    include_str!("../../migrations/0004_source_mounts.sql"),
    include_str!("../../migrations/0005_successor.sql"),
    include_str!("../../migrations/0006_moves.sql"),
    include_str!("../../migrations/0007_totals.sql"),
    include_str!("../../migrations/0008_trash_and_journal.sql"),
    include_str!("../../migrations/0009_verification.sql"),
    include_str!("../../migrations/0010_capabilities.sql"),
    include_str!("../../migrations/0011_partials.sql"),
    include_str!("../../migrations/0012_losses.sql"),
    include_str!("../../migrations/0013_awaited.sql"),
    include_str!("../../migrations/0014_patches.sql"),
    include_str!("../../migrations/0015_first_run.sql"),
    include_str!("../../migrations/0016_trash_time.sql"),
    include_str!("../../migrations/0017_kept.sql"),
];

/// The first schema that counts hard links and notes what its rows vouch for.
pub(super) const LINKS: i64 = 2;

/// The first schema that has root mounts and held plans that can be approved.
pub(super) const GATES: i64 = 3;

/// The first schema that says whether a damaged manifest went before.
pub(super) const SUCCESSION: i64 = 5;

/// The first schema that counts renames and finds folders by their inode.
pub(super) const MOVES: i64 = 6;

/// The first schema that counts what all runs did together.
pub(super) const TOTALS: i64 = 7;

/// The first schema that counts what is in the trash and has a journal of operations.
pub(super) const JOURNAL: i64 = 8;

/// The first schema that remembers damage and rebuilds that were not finished.
pub(super) const VERIFICATION: i64 = 9;

/// The first schema that knows what the replica's file system holds.
pub(super) const CAPABILITIES: i64 = 10;

/// The first schema that remembers copies that were not finished.
pub(super) const PARTIALS: i64 = 11;

/// The first schema that remembers what entries are without.
pub(super) const LOSSES: i64 = 12;

/// The first schema that remembers a first run that has not ended well, and held overwrites.
pub(super) const ADOPTION: i64 = 15;

/// The first schema that counts the time for which things have been in the trash.
pub(super) const TRASH_TIME: i64 = 16;

/// The first schema that counts what stays with `deletes = "never"`.
pub(super) const KEPT: i64 = 17;

/// The schema this program writes: the number of its migrations.
pub(super) const CURRENT: i64 = MIGRATIONS.len().cast_signed() as i64;

/// Runs the migrations that `connection` has not been through, one transaction each.
pub(super) fn migrate(connection: &Connection, path: &Path) -> Result<(), ManifestError> {
    let found = version(connection, path)?;
    if found > CURRENT {
        return Err(ManifestError::Newer { path: path.to_owned(), found, known: CURRENT });
    }
    let pending = MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0));
    for (index, migration) in pending {
        let script = format!(
            "BEGIN IMMEDIATE;\n{migration}\nPRAGMA application_id = {APPLICATION_ID};\n\
             PRAGMA user_version = {};\nCOMMIT;",
            index + 1
        );
        connection.execute_batch(&script).map_err(sqlite("upgrade", path))?;
    }
    Ok(())
}

/// The number of migrations that the file has been through.
pub(super) fn version(connection: &Connection, path: &Path) -> Result<i64, ManifestError> {
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(sqlite("read the version of", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing() {
        let path = Path::new("memory");
        let connection = Connection::open_in_memory().unwrap();
        migrate(&connection, path).unwrap();
        let dump = |c: &Connection| -> Vec<String> {
            let mut query =
                c.prepare("SELECT sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY name").unwrap();
            query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let first = dump(&connection);
        migrate(&connection, path).unwrap();
        assert_eq!(dump(&connection), first);
        assert_eq!(version(&connection, path).unwrap(), CURRENT);
        assert!(
            first
                .iter()
                .filter(|sql| sql.starts_with("CREATE TABLE"))
                .all(|sql| { sql.contains("STRICT") || sql.contains("sqlite_sequence") })
        );
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", CURRENT + 1).unwrap();
        let refused = migrate(&connection, Path::new("memory"));
        assert!(matches!(refused, Err(ManifestError::Newer { found, .. }) if found == CURRENT + 1));
    }
}
