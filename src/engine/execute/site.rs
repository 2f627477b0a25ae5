//! What everybody who carries out operations needs and notes.

use super::changing::MixedCopies;
use super::grounds::Grounds;
use super::partials::Partials;
use crate::cancel::Cancel;
use crate::config::file::Durability;
use crate::engine::content::SMALL;
use crate::engine::replicate::Means;
use crate::engine::report::Tally;
use crate::engine::trash::{Kept, Trash};
use crate::model::operation::End;
use crate::model::{EntryPath, Kind, Loss, Lost, Operation, Problem, Stat, Timestamp};
use crate::monitor::Monitor;
use crate::plan::consistency::PublishMixed;
use crate::plan::desired::{Desired, Rights};
use crate::plan::when_full::WhenFull;
use crate::roots::Anchors;
use crate::store::{Applied, Fault, Store};
use crate::transfer::clone::Clones;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The bits that act for owner and group.
const SET_ID: u32 = 0o6000;

/// What everybody who carries out operations needs.
pub struct Site<'e, S: Store, R: Store> {
    /// The tree that is mirrored.
    pub source: &'e S,
    /// The mirror.
    pub replica: &'e R,
    /// What the roots were when they were opened.
    pub anchors: &'e Anchors,
    /// What this process may do with owners.
    pub rights: &'e Rights,
    /// When the scan began.
    pub began: Timestamp,
    /// How coarse the source's time stamps are, in nanoseconds.
    pub tick_nanos: i64,
    /// Bytes read at a time.
    pub chunk_bytes: usize,
    /// Files in one batch.
    pub batch_files: usize,
    /// When copies must survive a power cut.
    pub durability: Durability,
    /// A request to stop.
    pub cancel: &'e Cancel,
    /// Set where this user may not keep an owner.
    pub owner_lost: AtomicBool,
    /// Where marks of an overlay's layer were not copied.
    pub marks_left: Affected,
    /// Where names of one inode could not be that in the replica.
    pub links_lost: Affected,
    /// Set where the replica has no room: copies are not tried any more.
    pub full: AtomicBool,
    /// Between which file systems files cannot be cloned.
    pub clones: Clones,
    /// The folders to work in, once they are there.
    pub grounds: Grounds,
    /// The least size of a large file that found no room: none of that size is tried any more.
    pub no_room_from: AtomicU64,
    /// Where what is deleted or overwritten goes; `None`: nowhere.
    pub trash: Option<&'e Trash<R>>,
    /// Which copies are published of files that are written to each time they are read.
    pub publish_mixed: PublishMixed,
    /// Those that were.
    pub mixed: MixedCopies,
    /// What becomes of a new version without room beside the old one.
    pub when_full: WhenFull,
    /// Copies that were not finished.
    pub partials: &'e Partials,
}

/// Entries that are not as they should be for one reason, for one message a run.
#[derive(Debug, Default)]
pub struct Affected(Mutex<Option<(EntryPath, u64)>>);

impl Affected {
    /// One more entry.
    pub fn note(&self, path: &EntryPath) {
        let mut lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match lost.as_mut() {
            Some((_, count)) => *count += 1,
            None => *lost = Some((path.clone(), 1)),
        }
    }

    /// One of the entries, and how many there are.
    fn take(&self) -> Option<(EntryPath, u64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<S: Store, R: Store> Site<'_, S, R> {
    /// A step on the replica's side that failed. Where it failed for lack of room the next ones need
    /// not try; but a large file that does not fit says nothing of the small ones.
    pub(super) fn failure(&self, operation: &Operation, fault: &Fault) -> End {
        let problem = Problem::replica(&operation.path, fault.action, &fault.error);
        if !fault.is_lack_of_room() {
            return End::Failed(problem);
        }
        if operation.bytes() <= SMALL {
            self.full.store(true, Ordering::Relaxed);
        } else {
            self.no_room_from.fetch_min(operation.bytes(), Ordering::Relaxed);
        }
        End::Full(problem)
    }

    /// Gives what has the name in `folder`, and is to be overwritten, a second name in the trash, if there is one.
    pub(super) fn keep(
        &self,
        old: (&R::Folder, &[u8], &Stat),
        path: &EntryPath,
    ) -> Result<Option<(&Trash<R>, Kept)>, Fault> {
        let Some(trash) = self.trash else { return Ok(None) };
        Ok(trash.keep(&self.means(), old, path)?.map(|kept| (trash, kept)))
    }

    /// What making an entry again takes.
    pub(super) fn means(&self) -> Means<'_> {
        let Self { rights, chunk_bytes, clones, cancel, .. } = self;
        Means { rights, chunk_bytes: *chunk_bytes, clones, cancel }
    }

    /// Whether no operation of this size has met a lack of room yet.
    pub(super) fn may_have_room(&self, operation: &Operation) -> bool {
        !self.full.load(Ordering::Relaxed) && operation.bytes() < self.no_room_from.load(Ordering::Relaxed)
    }

    /// Remembers, for one warning a run, that marks of an overlay's layer were not copied.
    pub(super) fn note_marks(&self, path: &EntryPath, applied: &Applied) {
        if applied.marks_left {
            self.marks_left.note(path);
        }
    }

    /// What an entry is without that was to become as `desired`, of which `applied` was refused, and that is as
    /// `replica` now. What this user may not keep of owners is no loss, but remembered for one warning a run.
    pub(in crate::engine) fn losses(
        &self,
        source: &Stat,
        desired: &Desired,
        replica: &Stat,
        applied: Applied,
    ) -> Vec<Loss> {
        let kept = self.rights.preserve;
        let mut losses = applied.losses;
        let set_id = (source.fingerprint.mode ^ replica.fingerprint.mode) & SET_ID;
        let owner_lost = losses.iter().any(|loss| loss.lost == Lost::Owner);
        let names_set_id = kept.owner && kept.permissions && source.kind() != Kind::Symlink;
        let refused = losses.iter().any(|loss| loss.lost == Lost::Permissions);
        if (names_set_id && set_id != 0 && !refused) || (owner_lost && self.rights.uid != 0) {
            self.owner_lost.store(true, Ordering::Relaxed);
        }
        losses.retain(|loss| match loss.lost {
            Lost::Permissions => kept.permissions,
            Lost::Owner => kept.owner && self.rights.uid == 0,
            Lost::Times => kept.times,
            Lost::Attributes | Lost::Acls => true,
        });
        // What was set and is not there was ignored. An owner or an ACL that is lost moves permissions as well.
        let (wanted, found) = (desired.mode.unwrap_or(replica.fingerprint.mode), replica.fingerprint.mode);
        if kept.permissions && !owner_lost && losses.is_empty() && wanted != found {
            let cause = format!("the file system makes {found:04o} of {wanted:04o}");
            losses.push(Loss::new(Lost::Permissions, &cause));
        }
        let time_refused = losses.iter().any(|loss| loss.lost == Lost::Times);
        if kept.times
            && !time_refused
            && desired.mtime.is_some_and(|mtime| mtime != replica.fingerprint.mtime)
        {
            losses.push(Loss::new(Lost::Times, &"the file system does not keep it"));
        }
        losses
    }

    /// Says what the replica could not hold, once for all entries that it concerns.
    pub(super) fn tell_losses(&self, tally: &mut Tally, monitor: &dyn Monitor) {
        if let Some((first, count)) = self.links_lost.take() {
            let cause = format!(
                "the replica's file system does not take all hard links; {count} entries are files of their own there. \
                 Put the replica elsewhere, or set preserve.hard_links = false"
            );
            tally.problem(Problem::replica(&first, "link", cause), monitor);
        }
        if let Some((first, count)) = self.marks_left.take() {
            monitor.warning(&format!(
                "{count} entries, {first} for one, have trusted.overlay attributes, which are not copied: mounted as a layer of \
                 an overlay file system, the replica would show what these hide or rename"
            ));
        }
        if self.owner_lost.load(Ordering::Relaxed) {
            monitor.warning(
                "some owners, groups or set-id bits were not kept: this user may not give files away, or the source is mounted nosuid",
            );
        }
    }
}
