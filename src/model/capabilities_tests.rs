//! Truth tables of what is held and what is kept.

use super::*;

#[test]
fn a_time_is_cut_to_what_is_held() {
    let times = |granularity_nanos, earliest, latest| Times {
        granularity_nanos,
        earliest,
        latest,
        ..Times::default()
    };
    let exact = Times::default();
    for (times, wanted, held) in [
        (exact, Timestamp::new(7, 123_456_789), Timestamp::new(7, 123_456_789)),
        (exact, Timestamp::new(i64::MAX, 5), Timestamp::new(i64::MAX, 5)),
        (times(100, i64::MIN, i64::MAX), Timestamp::new(7, 199), Timestamp::new(7, 100)),
        (times(SECOND, i64::MIN, i64::MAX), Timestamp::new(7, 199), Timestamp::new(7, 0)),
        (times(SECOND, i64::MIN, i64::MAX), Timestamp::new(-7, 199), Timestamp::new(-7, 0)),
        (times(2 * SECOND, i64::MIN, i64::MAX), Timestamp::new(7, 199), Timestamp::new(6, 0)),
        (times(2 * SECOND, i64::MIN, i64::MAX), Timestamp::new(8, 0), Timestamp::new(8, 0)),
        (times(1, 0, 100), Timestamp::new(-1, 5), Timestamp::new(0, 0)),
        (times(1, 0, 100), Timestamp::new(101, 5), Timestamp::new(100, 0)),
        (times(1, 0, 100), Timestamp::new(100, 5), Timestamp::new(100, 5)),
    ] {
        assert_eq!(times.cut(wanted), held, "{times:?} {wanted}");
        assert_eq!(times.cut(held), held, "what is held stays: {times:?} {wanted}");
    }
}

#[test]
fn a_switch_stays_on_where_the_file_system_follows_it() {
    let (all, on) = (Capabilities::default(), Preserve::default());
    assert_eq!(on.within(&all), on);
    let settable = Times { settable: false, ..Times::default() };
    let table: [(Capabilities, Preserve); 9] = [
        (Capabilities { permissions: false, ..all.clone() }, Preserve { permissions: false, ..on }),
        (Capabilities { owner: false, ..all.clone() }, Preserve { owner: false, ..on }),
        (Capabilities { times: settable, ..all.clone() }, Preserve { times: false, ..on }),
        (Capabilities { symlinks: false, ..all.clone() }, Preserve { symlinks: false, ..on }),
        (Capabilities { specials: false, ..all.clone() }, Preserve { specials: false, ..on }),
        (Capabilities { holes: false, ..all.clone() }, on),
        (Capabilities { acls: false, ..all.clone() }, Preserve { acls: false, ..on }),
        (
            Capabilities { hard_links: HardLinks::OwnInode, ..all.clone() },
            Preserve { hard_links: false, ..on },
        ),
        (
            Capabilities { attributes: false, acls: false, file_capabilities: false, ..all.clone() },
            Preserve { xattrs: false, attributes: false, acls: false, file_capabilities: false, ..on },
        ),
    ];
    for (held, effective) in table {
        assert_eq!(on.within(&held), effective, "{held:?}");
        // What is off stays off.
        let off = Preserve { permissions: false, times: false, ..on };
        let both = Preserve { permissions: false, times: false, ..effective };
        assert_eq!(off.within(&held), both, "{held:?}");
    }
}

#[test]
fn the_summary_names_what_is_held_and_what_is_not() {
    let all = Capabilities::default();
    let on = Preserve::default();
    assert!(all.holds_all(on) && !all.summary(on).contains("not:"), "{}", all.summary(on));
    let exfat = Capabilities {
        permissions: false,
        owner: false,
        times: Times { granularity_nanos: 2 * SECOND, ..Times::default() },
        symlinks: false,
        hard_links: HardLinks::Refused,
        attributes: false,
        acls: false,
        file_capabilities: false,
        holes: false,
        specials: false,
        case_sensitive: false,
        refused_bytes: b"\"*:\n".to_vec(),
        ..all
    };
    assert_eq!(
        exfat.summary(on),
        "names, contents, times to 2 s; not: the case of names, names with \" * : \\n, permissions, owners, symlinks, \
         hard links, extended attributes, ACLs, file capabilities, holes, FIFOs, sockets and device nodes"
    );
    let little = Preserve {
        permissions: false,
        owner: false,
        hard_links: false,
        xattrs: false,
        sparse: false,
        specials: false,
        ..on
    };
    assert_eq!(
        exfat.summary(little),
        "names, contents, times to 2 s; not: the case of names, names with \" * : \\n, symlinks"
    );
    assert!(!exfat.holds_all(little));
}

#[test]
fn a_name_is_refused_with_the_reason() {
    let all = Capabilities::default();
    assert_eq!(all.refuses_name(b"a:b. "), None);
    let fat = Capabilities {
        refused_bytes: b":".to_vec(),
        refuses_trailing: true,
        only_utf8: true,
        longest_name: 8,
        ..all
    };
    for (name, part) in [
        (&b"a:b"[..], Some("with :")),
        (b"a.", Some("dot")),
        (b"\xff", Some("UTF-8")),
        (b"123456789", Some("9 bytes")),
        (b"plain", None),
    ] {
        let refusal = fat.refuses_name(name);
        assert_eq!(refusal.is_some(), part.is_some(), "{refusal:?}");
        assert!(refusal.unwrap_or_default().contains(part.unwrap_or_default()));
    }
}

#[test]
fn what_was_stored_comes_back() {
    let stored = Capabilities {
        hard_links: HardLinks::OwnInode,
        largest_file: Some(u64::MAX),
        refused_bytes: vec![0xff],
        ..Capabilities::default()
    };
    let text = serde_json::to_string(&stored).unwrap();
    assert_eq!(serde_json::from_str::<Capabilities>(&text).unwrap(), stored);
    // What an older program did not ask for is held.
    assert_eq!(serde_json::from_str::<Capabilities>("{}").unwrap(), Capabilities::default());
}
