//! A source file that changes while it is copied: whole old or whole new, never a mix.

mod common;

use common::Mirror;
use common::program::{Running, start};
use common::tree::write;
use rustix::process::Signal;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A large file that is copied in small chunks, so that the copy can be caught half way.
fn caught_half_way() -> (Mirror, Running) {
    let mirror = Mirror::new();
    mirror.write_config("home/twinfold/config.toml", "hashing_file_chunk_size = \"4KiB\"\n");
    write(mirror.in_source("file"), vec![b'A'; 24 << 20]);
    let run = start(mirror.once(&[]));
    let began = Instant::now();
    while !has_part_of_it(&mirror) {
        assert!(began.elapsed() < Duration::from_secs(60), "no copy was caught half way");
        sleep(Duration::from_millis(1));
    }
    run.freeze();
    (mirror, run)
}

fn has_part_of_it(mirror: &Mirror) -> bool {
    let Ok(listing) = fs::read_dir(&mirror.replica) else { return false };
    listing.flatten().any(|entry| entry.metadata().is_ok_and(|found| found.len() > 1 << 20))
}

#[test]
fn a_large_file_cut_short_while_it_is_copied_leaves_nothing_of_the_old_in_the_new() {
    let (mirror, run) = caught_half_way();
    write(mirror.in_source("file"), "new short content");
    run.signal(Signal::CONT);
    let code = run.wait().code;
    if code == 0 {
        let whole = fs::read(mirror.in_replica("file")).unwrap();
        assert!(whole == b"new short content" || whole.len() == 24 << 20, "{} bytes", whole.len());
    }
    mirror.sync();
}

#[test]
fn a_file_that_is_replaced_while_it_is_copied_is_copied_whole() {
    let (mirror, run) = caught_half_way();
    write(mirror.in_source("other"), vec![b'B'; 3 << 20]);
    rustix::fs::rename(mirror.in_source("other"), mirror.in_source("file")).unwrap();
    run.signal(Signal::CONT);
    let code = run.wait().code;
    let whole = fs::read(mirror.in_replica("file")).unwrap_or_default();
    assert!(code == 0 || code == 3, "{code}");
    assert!(whole.windows(2).all(|pair| pair[0] == pair[1]), "a mix of both was published");
    mirror.sync();
}
