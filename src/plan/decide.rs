//! The heart: what is to become of one path, given what the three witnesses say of it.
//!
//! `decide` is total and pure. Where the answer depends on bytes it says so with
//! [`Decision::Ask`]; the engine reads them and asks again with what it learned.

use super::desired::Rights;
use super::join::Joined;
use crate::model::record::is_racy;
use crate::model::{
    DeviceSet, Difference, Digest, EntryPath, Fingerprint, Kind, Operation, Problem, Record, Seen, Side,
    Stat, Timestamp, Verb,
};
use std::collections::HashSet;
use std::sync::Arc;

/// What holds for a whole run.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who this process is.
    pub rights: Rights,
    /// Do not take a moved ctime for a reason to read a file again.
    pub ignore_ctime: bool,
    /// Do not take another inode number for a reason to read a file again.
    pub ignore_inode: bool,
    /// Files without a row are taken for right where size and time agree, and not read.
    pub trust_metadata: bool,
    /// Files whose content in the source is known to be damaged: it goes nowhere, whatever else of them changes, unless size
    /// or time say that somebody wrote to them.
    pub rotten: Arc<HashSet<EntryPath>>,
    /// Devices of the source on which device nodes mean nothing: they are not made where they would.
    pub nodev: DeviceSet,
    /// When the scan began.
    pub began: Timestamp,
    /// How coarse the source file system's time stamps are, in nanoseconds.
    pub tick_nanos: i64,
}

/// What reading both sides showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// The contents are equal; the figures are those of the handles that were read.
    Same {
        /// The source's figures while it was read.
        source: Stat,
        /// The replica's.
        replica: Stat,
        /// What both hold; `None` for what has no content, and where nobody hashed it.
        digest: Option<Digest>,
        /// How the attributes differ.
        attributes: Difference,
        /// When reading began.
        began: Timestamp,
    },
    /// They differ.
    Different,
    /// One of them went away meanwhile: nothing to do now, the next run sees what is so.
    Vanished,
    /// One of them could not be read.
    Failed(Problem),
}

/// Said of a name in the replica that something is mounted on.
pub(super) const MOUNTED: &str = "something is mounted here, which is left alone; unmount it, or set replica_mounts = \"mirror\" \
                       if it is part of the mirror";

/// What is to become of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// All is as the manifest says: no open, no write.
    Unchanged,
    /// Contents or attributes must be known first.
    Ask,
    /// The replica is right; the manifest is to say so.
    Confirm(Record),
    /// A file, link or special file is to be made, copied, mended or removed.
    Operate(Operation),
    /// A folder is to be made or mended; without a verb, only its times are put back.
    Folder(Option<Verb>, Difference),
    /// Both sides are gone: the row goes too.
    Forget(EntryPath),
    /// Something could not be looked at; both sides stay as they are.
    Problem(Problem),
}

/// Decides about one path; `knowledge` is what was learned after an earlier [`Decision::Ask`].
pub fn decide(joined: &Joined, knowledge: Option<&Knowledge>, rules: &Rules) -> Decision {
    let path = &joined.path;
    let row = joined.row.as_ref();
    match (&joined.source, &joined.replica) {
        (None, None) => Decision::Forget(path.clone()),
        // It stays as it is, and nothing is known of it any more.
        (Some(Seen::Excluded), _) | (_, Some(Seen::Excluded)) if row.is_some() => {
            Decision::Forget(path.clone())
        }
        // The next run sees what became of what vanished; until then all stays as it is, as does what nobody
        // looked at.
        (Some(Seen::Vanished | Seen::Excluded | Seen::Listed), _)
        | (_, Some(Seen::Vanished | Seen::Excluded | Seen::Listed)) => Decision::Unchanged,
        (_, Some(Seen::Foreign(_))) => unreadable(path, Side::Replica, "mirror into", MOUNTED),
        // A file: what it hides is not known. (A folder comes as one that is there, with nothing in it.)
        (Some(Seen::Foreign(_)), _) => Decision::Unchanged,
        (Some(Seen::Unreadable(cause)), _) => unreadable(path, Side::Source, "look at", cause),
        (Some(Seen::Unlisted(_, cause)), _) => unreadable(path, Side::Source, "list", cause),
        (_, Some(Seen::Unreadable(cause))) => unreadable(path, Side::Replica, "look at", cause),
        (None, Some(Seen::Unlisted(_, cause))) => unreadable(path, Side::Replica, "list", cause),
        (None, Some(Seen::Present(replica))) => {
            let origin = row.cloned().map(Box::new);
            let delete = operation(path, Verb::Delete, None, Some(*replica));
            Decision::Operate(Operation { origin, loses: row.is_none(), ..delete })
        }
        (Some(Seen::Present(source)), None) => bring_over(path, source, None, row, rules),
        (Some(Seen::Present(source)), Some(Seen::Unlisted(replica, cause))) => {
            // Mending its permissions may be what makes it readable for the next run.
            if rules.rights.desired(source).met_but_for_time(replica) {
                unreadable(path, Side::Replica, "list", cause)
            } else {
                Decision::Folder(Some(Verb::Metadata), Difference::Plain)
            }
        }
        (Some(Seen::Present(source)), Some(Seen::Present(replica))) => {
            both_there(path, source, replica, row, knowledge, rules)
        }
    }
}

fn both_there(
    path: &EntryPath,
    source: &Stat,
    replica: &Stat,
    row: Option<&Record>,
    knowledge: Option<&Knowledge>,
    rules: &Rules,
) -> Decision {
    let (src, rep) = (&source.fingerprint, &replica.fingerprint);
    // An owner is not in the row: normally its change shows in the ctime.
    let owner_seen = !rules.ignore_ctime || rules.rights.desired(source).owner_met(replica);
    // Nor are other names: that one came or went shows in the ctime only.
    let linked = rules.rights.preserve.hard_links && source.links > 1;
    let names_seen = |row: &Record| !linked || src.ctime == row.source.ctime;
    let settled = row.is_some_and(|row| {
        let same = unchanged(src, &row.source, rules) && unchanged(rep, &row.replica, rules);
        owner_seen && !row.racy && same && names_seen(row)
    });
    if settled {
        return Decision::Unchanged;
    }
    if src.kind != rep.kind || source.rdev != replica.rdev || (src.kind.has_content() && src.size != rep.size)
    {
        return replace(path, source, replica, row, rules);
    }
    if row.is_none() && knowledge.is_none() && rules.trust_metadata && is_alike(source, replica, rules) {
        let racy = is_racy(src.ctime, rules.began, rules.tick_nanos, None);
        return Decision::Confirm(Record::unverified(path.clone(), source, replica, racy));
    }
    let nothing_to_read = !src.kind.has_content() && rules.rights.scope().is_empty();
    match knowledge {
        None if nothing_to_read => {
            let (digest, attributes) = (None, Difference::None);
            let known = Knowledge::Same {
                source: *source,
                replica: *replica,
                digest,
                attributes,
                began: rules.began,
            };
            both_there(path, source, replica, row, Some(&known), rules)
        }
        None => Decision::Ask,
        Some(Knowledge::Different) => replace(path, source, replica, row, rules),
        // Sizes agree, so nothing is lost by looking again on the next run.
        Some(Knowledge::Vanished) => Decision::Unchanged,
        Some(Knowledge::Failed(problem)) => Decision::Problem(problem.clone()),
        Some(Knowledge::Same { source, replica, digest, attributes, began }) => {
            let still_known = || row.and_then(|row| unmoved(source, replica, row));
            let content = digest.map(|digest| (digest, *began)).or_else(still_known);
            let desired = rules.rights.desired(source);
            let differ = *attributes != Difference::None;
            if desired.met(replica) && !differ {
                let racy = is_racy(source.fingerprint.ctime, *began, rules.tick_nanos, row);
                Decision::Confirm(Record::new(path.clone(), source, replica, content, racy))
            } else if source.kind() == Kind::Folder {
                let verb = (differ || !desired.met_but_for_time(replica)).then_some(Verb::Metadata);
                Decision::Folder(verb, *attributes)
            } else if replica.links > 1 && !rules.rights.preserve.hard_links {
                // Mending it would write through to the inode's other names. Where names matter, `links`
                // decides for all of them.
                bring_over(path, source, Some(replica), row, rules)
            } else {
                let mut mend = operation(path, Verb::Metadata, Some(*source), Some(*replica));
                mend.content = content;
                // A change of owner takes capabilities away.
                mend.attributes = differ || !desired.owner_met(replica);
                Decision::Operate(mend)
            }
        }
    }
}

/// With more holes than this, in bytes, nobody hashes a file unless it is asked for, so that it could not be verified later.
const HOLLOW: u64 = 1 << 30;

/// Whether two files look like one and its copy, whatever they hold. Names of one inode are never taken on trust:
/// what is to become of them depends on all of them.
fn is_alike(source: &Stat, replica: &Stat, rules: &Rules) -> bool {
    let is_file = source.kind() == Kind::File && replica.kind() == Kind::File;
    let is_hollow = source.fingerprint.size.saturating_sub(source.allocated) > HOLLOW;
    is_file
        && !is_hollow
        && source.links == 1
        && replica.links == 1
        && rules.rights.desired(source).met(replica)
        && rules.rights.held.times.cut(source.fingerprint.mtime) == replica.fingerprint.mtime
}

/// What is done where the replica has something else than the source.
fn replace(path: &EntryPath, source: &Stat, replica: &Stat, row: Option<&Record>, rules: &Rules) -> Decision {
    let (src, rep) = (&source.fingerprint, &replica.fingerprint);
    let loses = row.is_none() && (src.kind != rep.kind || rep.mtime > src.mtime);
    match bring_over(path, source, Some(replica), row, rules) {
        Decision::Operate(operation) => Decision::Operate(Operation { loses, ..operation }),
        decision => decision,
    }
}

fn bring_over(
    path: &EntryPath,
    source: &Stat,
    replica: Option<&Stat>,
    row: Option<&Record>,
    rules: &Rules,
) -> Decision {
    match source.kind() {
        Kind::Folder => Decision::Folder(Some(Verb::Create), Difference::None),
        // Known before a byte of it is read or written.
        Kind::File if !rules.rights.held.holds_size(source.fingerprint.size) => {
            let (size, most) = (source.fingerprint.size, rules.rights.held.largest_file.unwrap_or_default());
            let cause = format!(
                "it has {size} bytes, and the largest file that the replica's file system holds has {most}; exclude it \
                 (max_size), or put the replica on another file system"
            );
            Decision::Problem(Problem::replica(path, "mirror", cause))
        }
        Kind::File => {
            let mut copy = operation(path, Verb::Copy, Some(*source), replica.copied());
            copy.content =
                row.and_then(|row| expected(source, row).or_else(|| undamaged(source, row, rules)));
            // What the replica has there may be what another file of the source is now.
            let displaced =
                row.filter(|row| replica.is_some() && row.source.inode != source.fingerprint.inode);
            copy.origin = displaced.cloned().map(Box::new);
            Decision::Operate(copy)
        }
        Kind::BlockDevice | Kind::CharDevice if rules.nodev.contains(source.device) => Decision::Unchanged,
        _ => Decision::Operate(operation(path, Verb::Create, Some(*source), replica.copied())),
    }
}

/// The digest that a file must still have because all its figures say that it did not change.
fn expected(source: &Stat, row: &Record) -> Option<(Digest, Timestamp)> {
    (!row.racy && source.fingerprint == row.source).then(|| row.digest.zip(row.hashed)).flatten()
}

/// The digest that a file must have because what it holds now is known to be damaged.
fn undamaged(source: &Stat, row: &Record, rules: &Rules) -> Option<(Digest, Timestamp)> {
    let (now, then) = (&source.fingerprint, &row.source);
    let untouched = now.kind == then.kind && now.size == then.size && now.mtime == then.mtime;
    (untouched && rules.rotten.contains(&row.path)).then(|| row.digest.zip(row.hashed)).flatten()
}

/// The digest of equal contents that need not be hashed: the row's, where all figures of either side say that its bytes
/// are those of the row. Also when it was computed.
pub fn unmoved(source: &Stat, replica: &Stat, row: &Record) -> Option<(Digest, Timestamp)> {
    if replica.fingerprint.is_as(&row.replica) { row.digest.zip(row.hashed) } else { expected(source, row) }
}

fn operation(path: &EntryPath, verb: Verb, source: Option<Stat>, replica: Option<Stat>) -> Operation {
    Operation {
        path: path.clone(),
        verb,
        source,
        replica,
        content: None,
        attributes: true,
        origin: None,
        from: None,
        displaces: false,
        loses: false,
    }
}

fn unreadable(path: &EntryPath, side: Side, action: &'static str, cause: &str) -> Decision {
    Decision::Problem(Problem { path: path.clone(), side, action, cause: cause.to_owned() })
}

/// Whether an entry counts as it was, with what the job leaves out of account. Compared with `!=`, never `<=`: any
/// difference is a change.
pub fn unchanged(now: &Fingerprint, then: &Fingerprint, rules: &Rules) -> bool {
    now.kind == then.kind
        && now.size == then.size
        && now.mtime == then.mtime
        && now.mode == then.mode
        && (rules.ignore_ctime || now.ctime == then.ctime)
        && (rules.ignore_inode || now.has_inode_of(then))
}

/// Likewise for an entry of the replica, whose inode numbers may say nothing.
pub fn unchanged_replica(now: &Stat, then: &Fingerprint, rules: &Rules) -> bool {
    unchanged(&rules.rights.known(*now).fingerprint, then, rules)
}
