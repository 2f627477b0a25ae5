//! On what the roots lay when they were last seen or accepted.

use super::error::{ManifestError, sqlite};
use super::history::side_code;
use super::open::Manifest;
use super::schema;
use crate::model::{RootMount, RootMounts, Side};
use rusqlite::{Connection, params};
use std::path::Path;

/// What is recorded; nothing in a manifest that is new or was made before there were such records.
pub(super) fn read(connection: &Connection, file: &Path) -> Result<RootMounts, ManifestError> {
    let mut mounts = RootMounts::default();
    if schema::version(connection, file)? < schema::GATES {
        return Ok(mounts);
    }
    let failed = || sqlite("read", file);
    let mut query =
        connection.prepare("SELECT side, point, filesystem, probed FROM root_mounts").map_err(failed())?;
    let rows = query
        .query_map([], |row| {
            let mount = RootMount { point: row.get(1)?, filesystem: row.get(2)? };
            Ok((row.get::<_, u8>(0)?, mount, row.get::<_, bool>(3)?))
        })
        .map_err(failed())?;
    let mut all_probed = true;
    for row in rows {
        let (side, mount, probed) = row.map_err(failed())?;
        all_probed &= probed;
        if side == side_code(Side::Source) {
            mounts.source = Some(mount);
        } else {
            mounts.replica = Some(mount);
        }
    }
    mounts.probed = all_probed && mounts.source.is_some() && mounts.replica.is_some();
    Ok(mounts)
}

impl Manifest {
    /// On what the roots lay.
    pub fn root_mounts(&self) -> Result<RootMounts, ManifestError> {
        read(&self.connection, &self.path)
    }

    /// Records on what the roots lie; a root of which that is not known keeps its record.
    pub fn record_root_mounts(&self, mounts: &RootMounts) -> Result<(), ManifestError> {
        self.transaction(|connection| write(connection, &self.path, mounts))
    }
}

/// Writes what is known of `mounts`.
pub(super) fn write(connection: &Connection, file: &Path, mounts: &RootMounts) -> Result<(), ManifestError> {
    for (side, mount) in [(Side::Source, &mounts.source), (Side::Replica, &mounts.replica)] {
        let Some(mount) = mount else { continue };
        connection
            .execute(
                "INSERT OR REPLACE INTO root_mounts (side, point, filesystem, probed) VALUES (?1, ?2, ?3, ?4)",
                params![side_code(side), mount.point, mount.filesystem, mounts.probed],
            )
            .map_err(sqlite("write to", file))?;
    }
    Ok(())
}
