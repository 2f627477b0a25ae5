//! Floor 3: the one place that wires decisions to edges.
//!
//! [`run::sync`] reads like the way of the data: scan source and replica, join them with the
//! manifest, hash what must be known, decide, plan, pass the gate, execute in batches, commit.

pub mod accept;
pub mod approve;
pub mod descriptors;
pub mod gates;
pub mod job;
mod known_problems;
pub mod mend;
pub mod preview;
pub mod rebuild;
pub mod report;
pub mod restore;
pub mod run;
pub mod status;
pub mod trash;

mod abreast;
mod absent;
mod arena;
mod books;
mod capabilities;
mod content;
pub mod damage;
mod deal;
mod execute;
mod foresight;
mod gathered;
pub mod health;
mod holes;
mod identity;
mod in_order;
mod inquiry;
mod listed;
mod losses;
mod matching;
mod mended;
pub mod metrics;
mod naming;
mod near;
mod observe;
mod opened;
mod pairs;
mod pending;
mod recall;
mod relocate;
mod renames;
mod replicate;
mod respell;
mod scan;
mod trend;
mod workers;
