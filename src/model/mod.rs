//! Floor 0: the values everything else speaks in. No I/O, no threads, no clock.

pub mod attributes;
pub mod capabilities;
pub mod device_set;
pub mod digest;
pub mod entry;
pub mod escape;
pub mod finding;
pub mod held;
pub mod operation;
pub mod partial;
pub mod path;
pub mod preserve;
pub mod problem;
pub mod record;
pub mod root_mount;
pub mod stat;
pub mod sums;
pub mod timestamp;

pub use attributes::{Attributes, Difference, Scope};
pub use capabilities::{Capabilities, HardLinks, Times};
pub use device_set::DeviceSet;
pub use digest::Digest;
pub use entry::{Entry, Seen};
pub use finding::{Damage, Drift, Finding, Verdict};
pub use held::{HeldDelete, HeldPlan, Unsteady};
pub use operation::{Done, Operation, Verb};
pub use partial::{Mark, Partial, StagedObject};
pub use path::EntryPath;
pub use preserve::Preserve;
pub use problem::{Problem, Side};
pub use record::{Change, Record};
pub use root_mount::{RootMount, RootMounts};
pub use stat::{Fingerprint, Kind, Stat};
pub use sums::Sums;
pub use timestamp::Timestamp;
