//! MD5 (RFC 1321) of many inputs side by side.
//!
//! One MD5 cannot be split: each of its steps waits for the one before. Many
//! can share the vector registers of one core, a lane each, and that is where
//! all the speed of this module comes from. [`digest_many`] is for inputs that
//! are in memory as a whole, [`Stream`] and [`update_many`] for those that
//! come in chunks. Results are those of the `md-5` crate, bit for bit.
//!
//! From the bottom up: `rounds` holds the steps of the algorithm, `kernel`
//! runs them in vector registers on `slots`, `block` has the rest of RFC 1321 (scalar
//! blocks, padding), `lanes` keeps the registers full, `many` and `stream` are
//! what callers see.

mod block;
mod engine;
#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(not(target_arch = "x86_64"))]
#[path = "no_kernel.rs"]
mod kernel;
mod lanes;
mod many;
#[cfg(target_arch = "x86_64")]
mod rounds;
mod slots;
mod stream;
#[cfg(test)]
mod tests;

pub use engine::{Engine, engine};
pub use many::digest_many;
pub use slots::SLOTS as LANES;
pub use stream::{Stream, update_many};
