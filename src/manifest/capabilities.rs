//! What the file system under the replica can hold, as it was last found out.

use super::error::{ManifestError, sqlite};
use super::open::Manifest;
use super::reader::Reader;
use super::schema;
use crate::model::{Capabilities, RootMount};
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

/// What was found out, and of which mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBy {
    /// The mount.
    pub mount: RootMount,
    /// Its options.
    pub options: Vec<u8>,
    /// What it holds.
    pub held: Capabilities,
}

impl Manifest {
    /// What was found out for this user; `None`: nothing yet.
    pub fn capabilities(&self, uid: u32) -> Result<Option<HeldBy>, ManifestError> {
        read(&self.connection, &self.path, uid)
    }

    /// Records what was found out for this user.
    pub fn record_capabilities(&self, uid: u32, found: &HeldBy) -> Result<(), ManifestError> {
        // What holds it is a plain value: it always becomes text.
        let held = serde_json::to_string(&found.held).unwrap_or_default();
        self.transaction(|connection| {
            connection
                .execute(
                    "INSERT OR REPLACE INTO capabilities (uid, point, filesystem, options, held) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![uid, found.mount.point, found.mount.filesystem, found.options, held],
                )
                .map(drop)
                .map_err(sqlite("write to", &self.path))
        })
    }
}

impl Reader {
    /// What was found out for this user; `None`: nothing, or the manifest is older than it.
    pub fn capabilities(&self, uid: u32) -> Result<Option<HeldBy>, ManifestError> {
        if schema::version(&self.connection, &self.path)? < schema::CAPABILITIES {
            return Ok(None);
        }
        read(&self.connection, &self.path, uid)
    }

    /// The same; what another user found out where this one found out nothing.
    pub fn capabilities_of_any(&self, uid: u32) -> Result<Option<HeldBy>, ManifestError> {
        if let found @ Some(_) = self.capabilities(uid)? {
            return Ok(found);
        }
        if schema::version(&self.connection, &self.path)? < schema::CAPABILITIES {
            return Ok(None);
        }
        let first = self
            .connection
            .query_row("SELECT uid FROM capabilities ORDER BY uid LIMIT 1", [], |row| row.get(0))
            .optional()
            .map_err(sqlite("read", &self.path))?;
        first.map_or(Ok(None), |uid| self.capabilities(uid))
    }
}

fn read(connection: &Connection, file: &Path, uid: u32) -> Result<Option<HeldBy>, ManifestError> {
    let found = connection
        .query_row("SELECT point, filesystem, options, held FROM capabilities WHERE uid = ?1", [uid], |row| {
            let mount = RootMount { point: row.get(0)?, filesystem: row.get(1)? };
            Ok((mount, row.get::<_, Vec<u8>>(2)?, row.get::<_, String>(3)?))
        })
        .optional()
        .map_err(sqlite("read", file))?;
    // What cannot be read is found out again.
    Ok(found.and_then(|(mount, options, held)| {
        let held = serde_json::from_str(&held).ok()?;
        Some(HeldBy { mount, options, held })
    }))
}
