//! The program: everything is in the library.

use std::panic::catch_unwind;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Manifest, lock and log are for their owner only, whatever the shell's umask says; modes of
    // replica entries are set explicitly.
    twinfold::umask::close();
    twinfold::engine::descriptors::raise_limit();
    // The panic's own message is on stderr already; 1 is the code for a run that could not be.
    ExitCode::from(catch_unwind(|| twinfold::cli::run(std::env::args_os())).unwrap_or(1))
}
