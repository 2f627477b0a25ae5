//! `deletes = "never"`: a replica from which nothing goes.

#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::Mirror;
use common::program::finish;
use common::tree::{remove, write};
use std::fs;

#[test]
fn with_deletes_never_nothing_is_deleted_or_replaced_by_another_kind_and_the_run_is_good() {
    let mirror = Mirror::new();
    let config = mirror.write_config("c.toml", "deletes = \"never\"\n");
    let config = ["--config", config.to_str().unwrap()];
    for number in 0..10 {
        write(mirror.in_source(format!("f{number}")), format!("content {number}"));
    }
    write(mirror.in_source("d/inside"), "inside");
    write(mirror.in_replica("own"), "only here");
    finish(mirror.once(&config)).expect(0);
    assert!(mirror.in_replica("own").exists());
    for name in ["f1", "f2"] {
        remove(mirror.in_source(name));
    }
    fs::remove_dir_all(mirror.in_source("d")).unwrap();
    write(mirror.in_source("d"), "a file now");
    fs::rename(mirror.in_source("f5"), mirror.in_source("g5")).unwrap();
    write(mirror.in_source("f9"), "newer content");
    let dry = finish(mirror.once(&[&config[..], &["-n"]].concat())).expect(0);
    assert!(!dry.stdout.contains("delete ") && !dry.stdout.contains("move "), "{dry:?}");
    for _ in 0..2 {
        finish(mirror.once(&config)).expect(0);
        for name in ["f1", "f2", "f5", "g5", "own", "d/inside"] {
            assert!(mirror.in_replica(name).is_file(), "{name}");
        }
        assert_eq!(fs::read(mirror.in_replica("f9")).unwrap(), b"newer content");
    }
    let mut status = mirror.program(&["status"]);
    status.args(mirror.roots()).args(config);
    let status = finish(status).expect(0);
    // own, f1, f2, f5, d/ and d/inside.
    assert!(status.stdout.contains("kept      6 entries"), "{status:?}");
    fs::remove_dir_all(&mirror.source).unwrap();
    fs::create_dir(&mirror.source).unwrap();
    finish(mirror.once(&config)).expect(0);
    assert!(mirror.in_replica("f9").is_file());
}
