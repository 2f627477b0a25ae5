//! What single entries of the replica are without, though its file system holds such things.

use super::EntryPath;

/// A property of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lost {
    /// Permission bits.
    Permissions,
    /// Owner or group.
    Owner,
    /// The time of the last change.
    Times,
    /// `user.*` attributes and file capabilities.
    Attributes,
    /// POSIX ACLs.
    Acls,
}

/// Every property with its name in the manifest, what could not be done, what it is called, and the switch that
/// turns it off.
const ALL: [(Lost, &str, &str, &str, &str); 5] = [
    (Lost::Permissions, "permissions", "set permissions of", "its permissions are", "permissions"),
    (Lost::Owner, "owner", "set the owner of", "its owner and group are", "owner"),
    (Lost::Times, "times", "set the time of", "its time is", "times"),
    (Lost::Attributes, "attributes", "set the attributes of", "its attributes are", "xattrs"),
    (Lost::Acls, "acls", "set the ACL of", "its ACLs are", "xattrs"),
];

impl Lost {
    fn row(self) -> &'static (Lost, &'static str, &'static str, &'static str, &'static str) {
        // Every property has a row; a test shows it.
        ALL.iter().find(|row| row.0 == self).unwrap_or(&ALL[0])
    }

    /// The name in the manifest and in JSON.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The property of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// What could not be done, as a verb phrase.
    pub fn action(self) -> &'static str {
        self.row().2
    }
}

/// A property that an entry is without, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The property.
    pub lost: Lost,
    /// Why, in the system's words.
    pub cause: String,
    /// It may pass by itself (no room, a server that refused once): the next run tries again, once.
    pub may_pass: bool,
}

impl Loss {
    /// A loss.
    pub fn new(lost: Lost, cause: &impl ToString) -> Self {
        Self { lost, cause: cause.to_string(), may_pass: false }
    }
}

/// Entries that are without the same property for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Losses {
    /// The property, and why.
    pub loss: Loss,
    /// Number of entries.
    pub count: u64,
    /// The first of them in path order; all where they are few.
    pub paths: Vec<EntryPath>,
}

impl Loss {
    /// The reason, what is so instead, and how to stop the message. `others` is the number of further entries that it
    /// is said for.
    pub fn advice(&self, others: u64) -> String {
        let (_, _, _, left, switch) = self.lost.row();
        let others = match others {
            0 => String::new(),
            1 => " The same is so of one more entry.".to_owned(),
            others => format!(" The same is so of {others} more entries."),
        };
        format!(
            "{}; what it holds is in the replica, {left} left as the replica has them. To stop this message set \
             preserve.{switch} = false.{others}",
            self.cause
        )
        .replace("is left as the replica has them", "is left as the replica has it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_has_a_row_and_comes_back_from_its_name() {
        for lost in [Lost::Permissions, Lost::Owner, Lost::Times, Lost::Attributes, Lost::Acls] {
            assert_eq!(lost.row().0, lost);
            assert_eq!(Lost::from_name(lost.name()), Some(lost));
        }
        assert_eq!(Lost::from_name("colour"), None);
    }

    #[test]
    fn the_message_says_why_what_is_so_and_what_to_do() {
        let loss = Loss::new(Lost::Permissions, &"Operation not permitted (os error 1)");
        assert_eq!(
            loss.advice(0),
            "Operation not permitted (os error 1); what it holds is in the replica, its permissions are left as the replica has \
             them. To stop this message set preserve.permissions = false."
        );
        assert!(loss.advice(7).ends_with("false. The same is so of 7 more entries."));
        assert!(Loss::new(Lost::Times, &"x").advice(1).contains("its time is left as the replica has it."));
    }
}
