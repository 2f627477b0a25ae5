//! An entry that is ready to get its name.

use super::stage::Reading;
use crate::engine::holes::Passed;
use crate::model::{Attributes, Record, Stat, Timestamp};
use crate::plan::consistency::Consistency;
use crate::store::{Applied, Folder, TemporaryName};
use std::fs::File;
use std::ops::Range;
use std::rc::Rc;

/// An entry that is ready to be published (or mended, where nothing had to be staged).
pub(super) struct Prepared<F: Folder> {
    pub(super) folder: Rc<F>,
    pub(super) temporary: Option<TemporaryName>,
    pub(super) content: Content,
    /// The source's figures when it was read.
    pub(super) source: Stat,
    /// To be brought about where nothing was staged.
    pub(super) attributes: Attributes,
    /// When reading began.
    pub(super) began: Timestamp,
    /// How what was read relates to what the source held.
    pub(super) consistency: Consistency,
    /// What of the staged entry's metadata was refused.
    pub(super) applied: Applied,
    /// The staged entry could not be a name of the inode that it should be.
    pub(super) link_lost: bool,
    /// A large file that was written: the page cache need not keep it once it is on the disk.
    pub(super) written: Option<File>,
}

/// What is known of a prepared entry's content.
pub(super) enum Content {
    /// It has none, or the plan knows it.
    None,
    /// It is in memory, to be hashed with the others.
    InArena(Range<usize>),
    /// It was hashed as it passed, unless its holes are too large for that.
    Passed(Passed),
    /// It is one more name of what this row tells of.
    Linked(Box<Record>),
}

impl<F: Folder> Prepared<F> {
    /// A staged entry that nothing speaks against.
    pub(super) fn staged(folder: Rc<F>, temporary: TemporaryName, reading: Reading) -> Self {
        let Reading { content, source, attributes, began, consistency, .. } = reading;
        Self {
            folder,
            temporary: Some(temporary),
            content,
            source,
            attributes,
            began,
            consistency,
            applied: Applied::default(),
            link_lost: false,
            written: None,
        }
    }

    /// It is one more name of an inode that the replica has already.
    pub(super) fn is_link(&self) -> bool {
        matches!(self.content, Content::Linked(_))
    }

    /// Removes what was staged; a leftover is litter that the next run removes.
    pub(super) fn discard(&self) {
        if let Some(temporary) = &self.temporary {
            let _ = self.folder.discard(temporary);
        }
    }
}
