//! The program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Manifest, lock and log are for their owner only, whatever the shell's umask says; modes of
    // replica entries are set explicitly.
    twinfold::umask::close();
    twinfold::allocator::give_large_blocks_back();
    twinfold::engine::descriptors::raise_limit();
    twinfold::engine::descriptors::make_room();
    ExitCode::from(twinfold::cli::run_guarded(std::env::args_os()))
}
