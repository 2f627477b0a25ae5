//! Which devices something holds for.

use std::collections::BTreeMap;

/// A set of device numbers: some are known to be in it or not, all others are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSet {
    known: BTreeMap<u64, bool>,
    others: bool,
}

impl From<bool> for DeviceSet {
    /// All devices, or none.
    fn from(all: bool) -> Self {
        Self { known: BTreeMap::new(), others: all }
    }
}

impl FromIterator<(u64, bool)> for DeviceSet {
    /// A device that is named twice is in it if it is so once; one that is not named at all, if any is.
    fn from_iter<I: IntoIterator<Item = (u64, bool)>>(devices: I) -> Self {
        let mut set = Self::from(false);
        for (device, within) in devices {
            *set.known.entry(device).or_default() |= within;
            set.others |= within;
        }
        set
    }
}

impl DeviceSet {
    /// Whether `device` is in it.
    pub fn contains(&self, device: u64) -> bool {
        if self.known.is_empty() {
            self.others
        } else {
            self.known.get(&device).copied().unwrap_or(self.others)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_named_twice_and_one_never_named_are_on_the_careful_side() {
        let set: DeviceSet = [(1, false), (2, true), (3, false), (3, true)].into_iter().collect();
        assert_eq!([1, 2, 3, 4].map(|device| set.contains(device)), [false, true, true, true]);
        let none: DeviceSet = [(1, false)].into_iter().collect();
        assert!(!none.contains(1) && !none.contains(2));
        assert!(DeviceSet::from(true).contains(1) && !DeviceSet::from(false).contains(1));
    }
}
