use super::*;
use crate::model::{Fingerprint, Kind, Timestamp};

fn stat(kind: Kind) -> Stat {
    let zero = Timestamp::default();
    let fingerprint = Fingerprint { kind, mode: 0, size: 1, mtime: zero, ctime: zero, inode: 1 };
    Stat { fingerprint, uid: 0, gid: 0, links: 1, device: 1, rdev: 0, allocated: 0 }
}

fn insensitive() -> Capabilities {
    Capabilities { case_sensitive: false, unicode_case_sensitive: false, ..Capabilities::default() }
}

/// Names, and how each is taken or spelled.
type Found = Vec<(String, String)>;

/// Feeds paths in their order: `s` are the source's, `r` the replica's. Returns what is taken by which, and what is
/// spelled how.
fn meet(held: &Capabilities, names: &[(&str, &str)]) -> (Found, Found) {
    let mut names = names.to_vec();
    names.sort_unstable();
    let (mut spelling, mut taken) = (Spelling::default(), Vec::new());
    for (path, sides) in names {
        let path = EntryPath::from(path);
        let kind = if path.is_folder() { Kind::Folder } else { Kind::File };
        let seen = |side: char| sides.contains(side).then(|| Seen::Present(stat(kind)));
        let joined = Joined { source: seen('s'), replica: seen('r'), row: None, path };
        if let Spelled::Taken(first) = spelling.meet(&joined, held) {
            taken.push((joined.path.to_string(), first.to_string()));
        }
    }
    let found = spelling.take().into_iter().map(|entry| (entry.from.to_string(), entry.to.to_string()));
    (taken, found.collect())
}

type Pairs<'p> = &'p [(&'p str, &'p str)];

#[test]
fn names_that_differ_only_in_case_are_one() {
    let table: [(Pairs<'_>, Pairs<'_>, Pairs<'_>); 9] = [
        (&[("a", "sr"), ("b", "s"), ("c", "r")], &[], &[]),
        // Saved under another case, either way round.
        (&[("REPORT", "s"), ("Report", "r")], &[], &[("Report", "REPORT")]),
        (&[("REPORT", "r"), ("Report", "s")], &[], &[("REPORT", "Report")]),
        // Two names of the source: the first one counts, also where the replica has the second.
        (&[("A", "s"), ("a", "s")], &[("a", "A")], &[]),
        (&[("A", "s"), ("a", "sr")], &[("a", "A")], &[("a", "A")]),
        (&[("A", "sr"), ("a", "s")], &[("a", "A")], &[]),
        (&[("Docs/", "s"), ("Docs/x", "s"), ("docs/", "s"), ("docs/x", "s")], &[("docs/", "Docs/")], &[]),
        // A folder with what it holds, and one that became a file.
        (&[("D/", "s"), ("D/x", "s"), ("d/", "r"), ("d/x", "r")], &[], &[("d/", "D/")]),
        (&[("D", "s"), ("d/", "r"), ("d/x", "r")], &[], &[("d/", "D/")]),
    ];
    for (names, taken, found) in table {
        let texts = |pairs: Pairs<'_>| -> Vec<(String, String)> {
            pairs.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
        };
        assert_eq!(meet(&insensitive(), names), (texts(taken), texts(found)), "{names:?}");
        assert_eq!(meet(&Capabilities::default(), names), (Vec::new(), Vec::new()), "{names:?}");
    }
}

#[test]
fn names_of_different_folders_are_different() {
    let names = [("a/", "sr"), ("a/x", "s"), ("a.b/", "sr"), ("a.b/X", "r"), ("b", "sr")];
    assert_eq!(meet(&insensitive(), &names), (Vec::new(), Vec::new()));
}

#[test]
fn letters_are_folded_as_far_as_the_file_system_does() {
    let ascii = Capabilities { unicode_case_sensitive: true, ..insensitive() };
    for (held, one, other, same) in [
        (insensitive(), "\u{c4}rger", "\u{e4}RGER", true),
        (ascii, "\u{c4}rger", "\u{e4}RGER", false),
        (insensitive(), "stra\u{df}e", "STRASSE", false),
        (insensitive(), "\u{17f}", "s", false),
        (insensitive(), "\u{3c3}", "\u{3a3}", true),
    ] {
        let is_same = held.name_key(one.as_bytes()) == held.name_key(other.as_bytes());
        assert_eq!(is_same, same, "{one} {other}");
    }
    let bytes = insensitive();
    assert_eq!(bytes.name_key(b"a\xff"), bytes.name_key(b"A\xff"));
}
