//! Copies that share the source's blocks on the disk (`FICLONE`), where the file system can do that.

use rustix::fs::ioctl_ficlone;
use rustix::io::Errno;
use std::fs::File;
use std::sync::{Mutex, PoisonError};

/// After so many files in a row that were refused, for reasons that might have been theirs alone, no
/// more are tried between two file systems.
const MOST_REFUSALS: u32 = 16;

/// Which file systems were found unable to clone from one to the other: it is asked once, not for
/// every file.
#[derive(Debug, Default)]
pub struct Clones(Mutex<Vec<Known>>);

/// What is known of two devices.
#[derive(Debug)]
struct Known {
    devices: (u64, u64),
    refusals: u32,
}

impl Clones {
    /// Makes `to`, an empty file, a clone of all that `from` holds at this instant; `false`: it is to
    /// be copied, and what `to` holds then means nothing. `devices` are those they lie on.
    pub fn try_clone(&self, from: &File, to: &File, devices: (u64, u64)) -> bool {
        if !self.may_try(devices) {
            return false;
        }
        let result = ioctl_ficlone(to, from);
        self.learn(devices, result);
        result.is_ok()
    }

    /// Whether nothing speaks against it yet.
    pub fn may_try(&self, devices: (u64, u64)) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !known.iter().any(|known| known.devices == devices && known.refusals >= MOST_REFUSALS)
    }

    fn learn(&self, devices: (u64, u64), result: Result<(), Errno>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = if let Some(at) = all.iter().position(|known| known.devices == devices) {
            &mut all[at]
        } else {
            if result.is_ok() {
                return;
            }
            all.push(Known { devices, refusals: 0 });
            let last = all.len() - 1;
            &mut all[last]
        };
        known.refusals = match result {
            Ok(()) => 0,
            Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS) => MOST_REFUSALS,
            // No room says nothing of what comes when there is some.
            Err(Errno::NOSPC | Errno::DQUOT) => known.refusals,
            Err(_) => known.refusals.saturating_add(1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_at_all_is_asked_once_and_what_a_file_is_refused_for_several_times() {
        let clones = Clones::default();
        clones.learn((1, 2), Err(Errno::XDEV));
        assert!(!clones.may_try((1, 2)) && clones.may_try((1, 1)) && clones.may_try((2, 1)));
        for _ in 0..MOST_REFUSALS {
            assert!(clones.may_try((1, 1)));
            clones.learn((1, 1), Err(Errno::INVAL));
        }
        assert!(!clones.may_try((1, 1)));
        for _ in 0..2 * MOST_REFUSALS {
            clones.learn((3, 3), Err(Errno::INVAL));
            clones.learn((3, 3), Ok(()));
            clones.learn((4, 4), Err(Errno::NOSPC));
        }
        assert!(clones.may_try((3, 3)) && clones.may_try((4, 4)));
    }
}
