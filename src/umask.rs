//! The file mode mask that the program was started with.

use rustix::fs::Mode;
use std::sync::OnceLock;

static INHERITED: OnceLock<u32> = OnceLock::new();

/// Makes what this process creates its owner's only, whatever the shell's mask says, and remembers
/// the shell's.
pub fn close() {
    let inherited = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    INHERITED.get_or_init(|| inherited.as_raw_mode());
}

/// The mask that the program was started with; that of its owner only where [`close`] was not called.
pub fn inherited() -> u32 {
    *INHERITED.get().unwrap_or(&0o077)
}
