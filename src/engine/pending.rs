//! Small files that were found to hold the same and wait for their digest, which is computed of many of them together.

use super::arena::Arena;
use super::mended::{Answer, Mended};
use crate::hash::digest_many;
use crate::model::{Difference, Digest, Stat, Timestamp};
use crate::plan::decide::Knowledge;
use std::ops::Range;

/// What both sides hold.
pub enum Content {
    /// The bytes, in the arena.
    Read(Range<usize>),
    /// What has this digest, computed at this moment: the row's.
    Known(Digest, Timestamp),
}

/// A comparison that went well, but for the digest.
pub struct Pending {
    /// What was compared.
    pub content: Content,
    /// When reading began.
    pub began: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
}

/// What comes of contents that are the same.
pub enum Outcome {
    /// It is for the planner to say what is to be done.
    Compared {
        /// The source's figures as it was opened.
        source: Stat,
        /// The replica's.
        replica: Stat,
        /// How the attributes differ.
        attributes: Difference,
    },
    /// The replica's file was mended in the same go.
    Mended(Mended),
}

/// Hashes contents in memory side by side: then all is known of those that they are the same of.
pub fn hash(pending: Vec<(usize, Pending)>, arena: &Arena, mut tell: impl FnMut(usize, Answer)) {
    let read = |found: &Pending| match &found.content {
        Content::Read(range) => Some(range.clone()),
        Content::Known(..) => None,
    };
    let ranges: Vec<Range<usize>> = pending.iter().filter_map(|(_, found)| read(found)).collect();
    let contents: Vec<&[u8]> = ranges.iter().map(|range| arena.get(range)).collect();
    let mut digests = digest_many(&contents).into_iter();
    for (index, found) in pending {
        let Pending { content, began, outcome } = found;
        let (known, digest) = match content {
            // As many were hashed as were read.
            Content::Read(_) => {
                let digest = digests.next();
                (digest.zip(Some(began)), digest)
            }
            // The planner takes it from the row as well.
            Content::Known(digest, hashed) => (Some((digest, hashed)), None),
        };
        tell(
            index,
            match outcome {
                Outcome::Mended(mended) => Answer::Mended(mended.with_content(known)),
                Outcome::Compared { source, replica, attributes } => {
                    Answer::Known(Knowledge::Same { source, replica, digest, attributes, began })
                }
            },
        );
    }
}
