//! The MD5 of files of the source that nothing else needs to be known of yet.

use super::content::{Arena, Comparison, NearFolder, SMALL};
use super::identity::open_scanned;
use crate::hash::{Stream, digest_many};
use crate::model::{Digest, EntryPath, Stat};
use crate::store::Store;
use crate::transfer;
use std::fs::File;

/// The digests of files that were scanned with these figures; `None` for one that could not be read as
/// long as it was then. Nothing is decided by them alone.
pub fn digests<'f, S: Store, R: Store>(
    comparison: &Comparison<'_, S, R>,
    files: impl Iterator<Item = (&'f EntryPath, &'f Stat)>,
) -> Vec<Option<Digest>> {
    Arena::with(comparison.chunk_bytes, |arena| {
        let mut near = NearFolder::new(comparison.source);
        let mut digests = Vec::new();
        let mut held = Vec::new();
        for (number, (path, scanned)) in files.enumerate() {
            digests.push(None);
            if comparison.cancel.requested() {
                continue;
            }
            let opened = near.of(path).and_then(|folder| open_scanned(&*folder, path.name(), scanned));
            let Ok((file, _)) = opened else { continue };
            let size = scanned.fingerprint.size;
            if size > SMALL {
                digests[number] = whole(&file, comparison);
            } else if let Ok(Some(content)) = arena.read(&file, size) {
                held.push((number, content));
            }
        }
        let contents: Vec<&[u8]> = held.iter().map(|(_, content)| arena.get(content)).collect();
        for ((number, _), digest) in held.iter().zip(digest_many(&contents)) {
            digests[*number] = Some(digest);
        }
        digests
    })
}

fn whole<S: Store, R: Store>(file: &File, comparison: &Comparison<'_, S, R>) -> Option<Digest> {
    let mut hash = Stream::new();
    let mut buffer = vec![0; comparison.chunk_bytes];
    loop {
        if comparison.cancel.requested() {
            return None;
        }
        match transfer::fill(file, &mut buffer).ok()? {
            0 => return Some(hash.finish()),
            read => hash.update(&buffer[..read]),
        }
    }
}
