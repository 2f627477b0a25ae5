//! Keeps a replica folder an exact, crash-safe mirror of a source folder.

pub mod allocator;
pub mod cancel;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod error;
pub mod filter;
pub mod hash;
pub mod hook;
pub mod lock;
pub mod manifest;
pub mod model;
pub mod monitor;
pub mod mountinfo;
pub mod orphans;
pub mod plan;
pub mod priority;
pub mod resolved;
pub mod roots;
pub mod schedule;
pub mod signals;
pub mod store;
pub mod transfer;
pub mod umask;
