//! The manifest: one SQLite file a job that remembers every entry as it was when last in step.
//!
//! # Locking
//! Writing needs a [`RunLock`](crate::lock::RunLock): [`Manifest::open`] takes one as proof. Within
//! the process there is one writer, outside the worker pool. Reading ([`Reader`]) needs no lock, and
//! neither do the rows that [`approve`] and [`accept`] write.
//!
//! # Durability
//! WAL with `synchronous = NORMAL`: after a power cut the manifest is whole and may lack the last
//! transactions. That is enough, because it may lag the disk and never leads it: a row bears the
//! replica's own inode, size and times, and where the disk lost what the row says, these differ.
//!
//! # Compatibility
//! `application_id` says that a file is a manifest, `user_version` counts the migrations it has
//! been through. They are append-only. A file from a newer program, of another application or of
//! another pair of roots is refused and left as it is, as is any other file ([`recognize`]); a damaged one is set aside
//! and rebuilt by adoption.

mod adoption;
mod awaited;
mod capabilities;
mod claim;
mod confirm;
mod damage;
mod entries;
mod error;
mod file;
mod first_names;
mod held;
mod history;
mod idle;
mod journal;
mod losses;
mod mounts;
mod open;
mod partials;
mod patches;
#[cfg(test)]
mod range_tests;
mod ranges;
mod reader;
mod root_mounts;
mod schema;
mod succession;
#[cfg(test)]
pub(crate) mod tests;
mod totals;
mod trash;
mod verification;
mod write;

pub use adoption::Adoption;
pub use capabilities::HeldBy;
pub use claim::{Place, recognize};
pub use confirm::confirm;
pub use damage::{DamageRow, Known, accept};
pub use entries::{Bounds, Rows};
pub use error::ManifestError;
pub use file::is_half_aside;
pub use held::{Approval, HeldRow, Holding, approve};
pub use history::{ABSENT, RunFigures, RunKind, RunRow};
pub use journal::JournalRow;
pub use open::{JobRoots, Manifest, Opened};
pub use partials::PartialChange;
pub use ranges::Shift;
pub use reader::{ProblemRow, Reader};
pub use succession::Salvage;
pub use totals::Totals;
pub use trash::TrashRow;
pub use verification::Unfinished;
