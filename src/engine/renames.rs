//! Which folders of the source had another name: told by their inodes, and by what they hold.

use super::content::NearFolder;
use crate::error::Error;
use crate::manifest::{Manifest, ManifestError, Reader};
use crate::model::{EntryPath, Fingerprint, Kind, Record, Seen, Stat};
use crate::plan::desired::Rights;
use crate::plan::join::Joined;
use crate::plan::relocation::{Relocation, feasible};
use crate::plan::step::Suspect;
use crate::plan::{FolderTask, is_temporary_name};
use crate::store::{Folder, Store};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// A folder of the source that has another name than its rows and the replica.
#[derive(Clone, Debug)]
pub struct Renamed {
    /// Where it lies in the replica and in the manifest, and what it is to be called.
    pub way: Relocation,
    /// The source's figures.
    pub source: Stat,
    /// The replica's inode, as its row has it.
    pub replica_inode: u64,
    /// The source's folders above its new name, the root first.
    pub above: Vec<Arc<FolderTask>>,
    /// It was found in the replica.
    found: bool,
}

impl Renamed {
    /// Returns true if it is the folder that the replica has as `stat`, as far as inode numbers say something.
    pub fn is(&self, stat: Stat) -> bool {
        let row = Fingerprint { inode: self.replica_inode, ..stat.fingerprint };
        stat.fingerprint.has_inode_of(&row)
    }
}

/// What a rename wants to know of the manifest.
pub trait Rows {
    /// Folders that had this inode in the source.
    fn folders_of(&self, inode: u64) -> Result<Vec<EntryPath>, ManifestError>;
    /// The row of one path.
    fn row(&self, path: &EntryPath) -> Result<Option<Record>, ManifestError>;
    /// The first rows below a folder.
    fn some_below(&self, folder: &EntryPath, count: usize) -> Result<Vec<Record>, ManifestError>;
}

impl Rows for Manifest {
    fn folders_of(&self, inode: u64) -> Result<Vec<EntryPath>, ManifestError> {
        self.find_folder_by_inode(inode)
    }
    fn row(&self, path: &EntryPath) -> Result<Option<Record>, ManifestError> {
        self.find(path)
    }
    fn some_below(&self, folder: &EntryPath, count: usize) -> Result<Vec<Record>, ManifestError> {
        self.first_below(folder, count)
    }
}

impl Rows for Reader {
    fn folders_of(&self, inode: u64) -> Result<Vec<EntryPath>, ManifestError> {
        self.find_folder_by_inode(inode)
    }
    fn row(&self, path: &EntryPath) -> Result<Option<Record>, ManifestError> {
        self.find(path)
    }
    fn some_below(&self, folder: &EntryPath, count: usize) -> Result<Vec<Record>, ManifestError> {
        self.first_below(folder, count)
    }
}

/// Rows of a folder that are looked for in the one that may be it. Inode numbers are given out again, so
/// that a new folder often has that of one that was removed; but then it holds none of the same entries.
const LOOKED_FOR: usize = 64;

/// Finds out whether a folder of the source is one that had another name, given those that are known to
/// have had one. Nobody but the ones who hold the rows' entries is asked: a folder without any is made anew.
pub fn identify<S: Store, R: Store>(
    suspect: &Suspect,
    known: &[Renamed],
    rows: &dyn Rows,
    source: &S,
    (replica, rights): (&R, &Rights),
) -> Result<Option<Renamed>, Error> {
    let to = &suspect.joined.path;
    let Some(Seen::Present(now)) = &suspect.joined.source else { return Ok(None) };
    let mut near = NearFolder::new(source);
    for old in rows.folders_of(now.fingerprint.inode)? {
        if old == *to || old.is_root() {
            continue;
        }
        if former_name(to, known).as_ref() == Some(&old) {
            // It moved along with the folder that it lies in.
            return Ok(None);
        }
        let Some(row) = rows.row(&old)? else { continue };
        let is = |stat: &Stat| stat.fingerprint.inode == now.fingerprint.inode && stat.device == now.device;
        if look(&mut near, &old).is_some_and(|stat| is(&stat)) {
            continue;
        }
        let entries = rows.some_below(&old, LOOKED_FOR)?;
        let is_there = |entry: &Record| {
            let path = entry.path.rebased(&old, to);
            let there = path.and_then(|path| look(&mut near, &path));
            there.is_some_and(|there| {
                there.kind() == entry.source.kind && there.fingerprint.inode == entry.source.inode
            })
        };
        if !entries.iter().any(is_there) {
            continue;
        }
        let inode = row.replica.inode;
        let is_it = |stat: &Stat| {
            stat.kind() == Kind::Folder && rights.known(*stat).fingerprint.has_inode_of(&row.replica)
        };
        let at_target = matches!(&suspect.joined.replica, Some(Seen::Present(stat)) if is_it(stat));
        let at_old = look(&mut NearFolder::new(replica), &old).is_some_and(|stat| is_it(&stat));
        let lies = if at_target && !at_old { to.clone() } else { old.clone() };
        return Ok(Some(Renamed {
            way: Relocation { lies, rows: old, to: to.clone() },
            source: *now,
            replica_inode: inode,
            above: suspect.way.clone(),
            found: at_old || at_target,
        }));
    }
    Ok(None)
}

/// What a path was called if the folders that it lies in had the names they are known to have had.
fn former_name(path: &EntryPath, known: &[Renamed]) -> Option<EntryPath> {
    // They come in path order: of those that hold it, the last one is the innermost.
    let holder = known.iter().rev().find(|renamed| path.is_below(&renamed.way.to))?;
    path.rebased(&holder.way.to, &holder.way.rows)
}

/// What is there now; nothing where that cannot be told.
fn look<T: Store>(near: &mut NearFolder<'_, T>, path: &EntryPath) -> Option<Stat> {
    near.of(path).and_then(|folder| folder.stat(path.name())).ok().flatten()
}

/// Folders of the replica under temporary names, by inode: a run that was killed may have put one aside
/// that is to get another name.
#[derive(Debug, Default)]
pub struct Asides(HashMap<u64, EntryPath>);

impl Asides {
    /// Notes what the replica has there.
    pub fn note(&mut self, joined: &Joined) {
        if let Some(Seen::Present(stat)) = &joined.replica
            && joined.path.is_folder()
            && is_temporary_name(joined.path.name())
        {
            self.0.insert(stat.fingerprint.inode, joined.path.clone());
        }
    }

    /// Those of `renamed` that are in the replica and can get their names; their rows may lag behind.
    pub fn place<R: Store>(&self, renamed: Vec<Renamed>, replica: &R) -> Vec<Renamed> {
        let placed = renamed.into_iter().filter_map(|mut renamed| {
            if !renamed.found {
                renamed.way.lies = self.0.get(&renamed.replica_inode)?.clone();
            }
            Some(renamed)
        });
        let placed: Vec<Renamed> = placed.collect();
        let ways: Vec<Relocation> = placed.iter().map(|renamed| renamed.way.clone()).collect();
        let near = RefCell::new(NearFolder::new(replica));
        let can = feasible(&ways, &|place| {
            look(&mut near.borrow_mut(), place)
                .is_some_and(|stat| (stat.kind() == Kind::Folder) == place.is_folder())
        });
        placed.into_iter().zip(can).filter_map(|(renamed, can)| can.then_some(renamed)).collect()
    }
}
