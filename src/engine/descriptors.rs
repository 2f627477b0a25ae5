//! How much may be open at a time. A batch holds the folders of its files until they are published,
//! so that where the system allows few descriptors, batches and workers are fewer.

use super::abreast::ABREAST;
use crate::config::settings::Settings;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::OnceLock;

/// Standard streams, roots, lock, log, manifest and its companions, and the two walks.
const IN_COMMON: u64 = 28;

/// What the two walks have open for each worker: two folders each.
const WALKING: u64 = 4;

/// What one worker may have open besides a batch's folders: the folders at hand and both files.
const AT_HAND: u64 = 4 + WALKING;

/// What one worker is to have at least: both sides of seven large files besides.
const LEAST: u64 = 14 + AT_HAND;

static INHERITED: OnceLock<Rlimit> = OnceLock::new();

/// The limit that the program was started with, for commands that it starts: some of them (with `select`) do
/// not bear a larger one.
pub fn inherited_limit() -> Option<Rlimit> {
    INHERITED.get().copied()
}

/// Asks for as many descriptors as this process may have.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    INHERITED.get_or_init(|| limit);
    if limit.current != limit.maximum {
        // Where that is refused, what there is must do.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

/// So many descriptors the kernel's table is made for before there is a second thread: 32 KiB.
const ROOM: u64 = 4096;

/// Makes the table of descriptors large while this is the only thread. The kernel enlarges it as numbers come up (64, 128, 256, ...), and
/// where there are several threads it waits until none can be looking into the old one (`expand_fdtable` in its fs/file.c): 10 to
/// 20 ms each time, as long as bringing over hundreds of files.
pub fn make_room() {
    let last = getrlimit(Resource::Nofile).current.map_or(ROOM, |limit| ROOM.min(limit)).saturating_sub(1);
    // Where any of this is refused, the table grows when it must.
    if let (Ok(root), Ok(last)) =
        (open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()), i32::try_from(last))
    {
        let _ = fcntl_dupfd_cloexec(&root, last);
    }
}

/// Cuts workers and batches to what the limit allows a job that may run beside others. Returns how many large files
/// each worker may have open on both sides.
pub(super) fn fit(settings: &mut Settings) -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return ABREAST };
    let share = limit / settings.abreast.max(1) as u64;
    let abreast;
    (settings.workers, settings.batch_files, abreast) = cut(share, settings.workers, settings.batch_files);
    abreast
}

fn cut(limit: u64, workers: usize, batch_files: usize) -> (usize, usize, usize) {
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX).max(1);
    let free = limit.saturating_sub(IN_COMMON);
    let workers = workers.min(number(free / LEAST));
    let share = (free / workers as u64).saturating_sub(AT_HAND);
    (workers, batch_files.min(number(share)), ABREAST.min(number(share / 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_mean_small_batches_and_many_change_nothing() {
        for ((limit, workers, files), cut_to) in [
            ((1024, 2, 64), (2, 64, 16)),
            ((64, 2, 64), (1, 28, 14)),
            ((64, 64, 64), (1, 28, 14)),
            ((128, 64, 64), (4, 17, 8)),
            ((1 << 20, 64, 64), (64, 64, 16)),
            ((10, 8, 64), (1, 1, 1)),
        ] {
            assert_eq!(cut(limit, workers, files), cut_to, "{limit} {workers} {files}");
        }
    }
}
