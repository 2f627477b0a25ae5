//! Which times of last change stay.

use super::Trial;
use crate::model::{Times, Timestamp};
use crate::store::{During, Fault};
use rustix::fs::{AtFlags, Timespec, Timestamps, UTIME_OMIT, renameat, utimensat};
use rustix::io::{Errno, write};
use std::os::fd::{AsFd, BorrowedFd};

/// An odd second, and nanoseconds of which every digit counts.
const PROBE: Timestamp = Timestamp { seconds: 981_173_107, nanos: 123_456_789 };

/// What times may be multiples of, in nanoseconds.
const GRANULARITIES: [u64; 8] = [1, 10, 100, 1000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000];

/// Moments that some file systems end at, the farthest first: the year 5138, what 34 bits hold, what 32 bits hold
/// without and with a sign.
const LATEST: [i64; 4] = [100_000_000_000, 0x3_7fff_ffff, 0xffff_ffff, 0x7fff_ffff];

/// Likewise before 1970: the year 1200 before, what 32 bits hold, 1970 and 1980.
const EARLIEST: [i64; 4] = [-100_000_000_000, -0x8000_0000, 0, 315_532_800];

const NAME: &[u8] = b"time";
const OTHER_NAME: &str = "time under another name";

impl Trial<'_> {
    pub(super) fn try_times(&mut self) -> Result<(), Fault> {
        let mut times = Times::default();
        let file = self.create(NAME).during("create a file for trying")?;
        write(&file, b"x").during("write")?;
        let set = set(file.as_fd(), PROBE, false);
        // Some set it once more when the file is closed.
        drop(file);
        let alone = set.and_then(|()| self.held());
        let mut granularity = alone.ok().and_then(granularity_of);
        if granularity.is_none() {
            let both = self.set_again(PROBE, true);
            granularity = both.ok().and_then(granularity_of);
            times.needs_access_time = granularity.is_some();
            let held = both.or(alone).map(|_| granularity.is_some());
            times.settable = self.answer(held);
        }
        times.granularity_nanos = granularity.unwrap_or(1);
        if times.settable {
            times.latest =
                self.end_of(LATEST, times, i64::MAX, |held, wanted| held < wanted && held > PROBE.seconds);
            times.earliest =
                self.end_of(EARLIEST, times, i64::MIN, |held, wanted| held > wanted && held < PROBE.seconds);
        }
        self.capabilities.times = times;
        Ok(())
    }

    /// Whether a link, which leads to nothing, keeps a time. Some set that of what it leads to.
    pub(super) fn holds_link_time(&self, name: &[u8]) -> Result<bool, Errno> {
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
        let link = rustix::fs::openat(&self.folder, super::os(name), flags, rustix::fs::Mode::empty())?;
        let times = self.capabilities.times;
        set(link.as_fd(), PROBE, times.needs_access_time)?;
        Ok(self.look(name)?.fingerprint.mtime == times.cut(PROBE))
    }

    /// The time that the file has under its own name, after it had another one: encfs puts whole seconds back.
    fn held(&self) -> Result<Timestamp, Errno> {
        renameat(&self.folder, super::os(NAME), &self.folder, OTHER_NAME)?;
        renameat(&self.folder, OTHER_NAME, &self.folder, super::os(NAME))?;
        Ok(self.look(NAME)?.fingerprint.mtime)
    }

    fn set_again(&self, wanted: Timestamp, with_access: bool) -> Result<Timestamp, Errno> {
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, super::os(NAME), flags, rustix::fs::Mode::empty())?;
        set(file.as_fd(), wanted, with_access)?;
        drop(file);
        self.held()
    }

    /// The first of `ends` that stays, or what the file system makes of one if that is an end (`is_cut`) and stays.
    fn end_of(&self, ends: [i64; 4], times: Times, beyond: i64, is_cut: impl Fn(i64, i64) -> bool) -> i64 {
        for (number, end) in ends.into_iter().enumerate() {
            let wanted = Timestamp::new(end, 0);
            let Ok(held) = self.set_again(wanted, times.needs_access_time) else { continue };
            if held == times.cut(wanted) {
                return if number == 0 { beyond } else { end };
            }
            let again = Timestamp::new(held.seconds, 0);
            // What only keeps the lower 32 bits makes some other moment of it, and that is no end.
            let is_wrapped = (end - held.seconds).rem_euclid(1 << 32) == 0;
            if !is_wrapped
                && is_cut(held.seconds, end)
                && self.set_again(again, times.needs_access_time).is_ok_and(|stays| stays == again)
            {
                return held.seconds;
            }
        }
        PROBE.seconds
    }
}

fn set(file: BorrowedFd<'_>, mtime: Timestamp, with_access: bool) -> Result<(), Errno> {
    let mtime = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() };
    let last_access = if with_access {
        Timespec { tv_sec: PROBE.seconds, tv_nsec: 0 }
    } else {
        Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }
    };
    utimensat(file, "", &Timestamps { last_access, last_modification: mtime }, AtFlags::EMPTY_PATH)
}

/// What a file system makes of a time tells of what it keeps multiples.
fn granularity_of(held: Timestamp) -> Option<u64> {
    GRANULARITIES
        .into_iter()
        .find(|&granularity_nanos| held == Times { granularity_nanos, ..Times::default() }.cut(PROBE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_a_time_tells_how_coarse_it_is() {
        let table = [
            (981_173_107, 123_456_789, Some(1)),
            (981_173_107, 123_456_700, Some(100)),
            (981_173_107, 123_456_000, Some(1000)),
            (981_173_107, 123_000_000, Some(1_000_000)),
            (981_173_107, 120_000_000, Some(10_000_000)),
            (981_173_107, 0, Some(1_000_000_000)),
            (981_173_106, 0, Some(2_000_000_000)),
            (1_700_000_000, 5, None),
        ];
        for (seconds, nanos, granularity) in table {
            assert_eq!(granularity_of(Timestamp::new(seconds, nanos)), granularity, "{seconds}.{nanos}");
        }
    }
}
