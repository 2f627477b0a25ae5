//! Damage that leaves no trace: found, told until it is settled, healed from the good side, and never brought over.

#![expect(clippy::unwrap_used, reason = "a broken fixture is a failed test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::program::{Output, Running, finish, start, wait_until};
use common::tree::{chmod, remove, symlink, write};
use common::{Mirror, settle};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread::sleep;
use std::time::Duration;

/// A mirror in step of 20 small files in `small/` and two large ones.
fn mirrored() -> Mirror {
    let mirror = Mirror::new();
    for number in 0..20 {
        write(mirror.in_source(format!("small/{number:02}")), format!("content {number}").repeat(50));
    }
    for name in ["large", "larger"] {
        write(mirror.in_source(name), name.repeat(300_000));
    }
    settle();
    mirror.sync();
    mirror
}

/// A subcommand on this mirror.
fn call(mirror: &Mirror, words: &[&str], more: &[&str]) -> Output {
    let mut command = mirror.program(words);
    command.args(mirror.roots()).args(more);
    finish(command)
}

fn status(mirror: &Mirror) -> Value {
    call(mirror, &["status", "--json"], &[]).expect(0).json().remove(0)
}

fn configure(mirror: &Mirror, text: &str) {
    mirror.write_config("home/twinfold/config.toml", text);
}

#[test]
fn damage_in_the_source_is_told_by_every_run_and_the_good_copy_kept_until_it_is_put_back() {
    let mirror = mirrored();
    let good = fs::read(mirror.in_source("small/03")).unwrap();
    mirror.rot_source("small/03");
    mirror.run(&[]).expect(0);
    assert!(call(&mirror, &["rebuild-index"], &[]).expect(6).stdout.contains("damaged (source)  small/03: "));
    for _ in 0..2 {
        let output = mirror.run(&[]).expect(3);
        assert!(output.stderr.contains("cannot vouch for small/03 (source): damaged: "), "{}", output.stderr);
        assert!(output.stderr.contains("twinfold restore small/03 --from-replica"), "{}", output.stderr);
        assert_eq!(fs::read(mirror.in_replica("small/03")).unwrap(), good);
    }
    mirror.run(&["-n"]).expect(3);
    let seen = status(&mirror);
    assert_eq!(seen["damage"][0]["path"], "small/03", "{seen}");
    assert_eq!(seen["damage"][0]["side"], "source");
    assert_eq!(seen["problems"][0]["times"], 2, "{seen}");
    call(&mirror, &["status", "--check"], &[]).expect(7);
    assert!(call(&mirror, &["status"], &[]).stdout.contains("damaged   1 (see --problems)"));

    let output = call(&mirror, &["restore", "small/03", "--from-replica"], &[]).expect(0);
    assert!(output.stdout.contains("as the replica has it"), "{}", output.stdout);
    assert_eq!(fs::read(mirror.in_source("small/03")).unwrap(), good);
    mirror.sync();
    assert_eq!(status(&mirror)["damage"], Value::Array(Vec::new()));
    call(&mirror, &["rebuild-index"], &[]).expect(0);
    settle();
    mirror.sync();
    mirror.assert_idle();
}

#[test]
fn damage_goes_nowhere_when_the_file_gets_other_permissions_or_another_name() {
    let mirror = mirrored();
    let good = |name: &str| fs::read(mirror.in_replica(name)).unwrap();
    let (small, large) = (good("small/03"), good("large"));
    mirror.rot_source("small/03");
    mirror.rot_source("large");
    call(&mirror, &["rebuild-index"], &[]).expect(6);
    mirror.run(&[]).expect(3);
    chmod(mirror.in_source("small/03"), 0o600);
    chmod(mirror.in_source("large"), 0o600);
    mirror.run(&[]).expect(3);
    assert!(good("small/03") == small && good("large") == large, "other permissions are no other content");
    fs::rename(mirror.in_source("small/03"), mirror.in_source("renamed")).unwrap();
    mirror.run(&[]);
    assert!(good("renamed") == small, "the good copy followed");
    assert!(!mirror.in_replica("small/03").exists());
}

#[test]
fn what_is_accepted_is_brought_over_by_the_next_run() {
    let mirror = mirrored();
    mirror.rot_source("large");
    call(&mirror, &["rebuild-index"], &[]).expect(6);
    mirror.run(&[]).expect(3);
    let output = call(&mirror, &["accept", "large"], &[]).expect(0);
    assert!(output.stdout.starts_with("large is accepted"), "{}", output.stdout);
    mirror.sync();
    assert_eq!(status(&mirror)["damage"], Value::Array(Vec::new()));
    call(&mirror, &["rebuild-index"], &[]).expect(0);
    let output = call(&mirror, &["accept", "small", "nothing"], &[]).expect(1);
    assert!(output.stderr.contains("the manifest has no file and no link small"), "{}", output.stderr);
}

/// A link whose row has another digest than that of its target, as if the target had rotted on one side or on both.
fn with_damaged_link(rotten: &[&str]) -> Mirror {
    let mirror = mirrored();
    symlink("target", mirror.in_source("link"));
    settle();
    mirror.sync();
    for side in rotten {
        let (path, prefix) = match *side {
            "source" => (mirror.in_source("link"), ""),
            _ => (mirror.in_replica("link"), "replica_"),
        };
        let before = fs::symlink_metadata(&path).unwrap();
        remove(&path);
        symlink("tarGet", &path);
        common::tree::set_mtime(&path, before.mtime(), before.mtime_nsec());
        let now = fs::symlink_metadata(&path).unwrap();
        let ctime = now.ctime() * 1_000_000_000 + now.ctime_nsec();
        let told = format!("{prefix}ctime = {ctime}, {prefix}inode = {}", now.ino());
        mirror.set_in_manifest(&told, "link");
    }
    call(&mirror, &["rebuild-index"], &[]).expect(6);
    mirror
}

#[test]
fn a_link_whose_target_is_damaged_is_settled_by_accept_and_by_a_change() {
    for rotten in [&["source"][..], &["source", "replica"]] {
        let mirror = with_damaged_link(rotten);
        mirror.run(&[]);
        let output = call(&mirror, &["accept", "link"], &[]).expect(0);
        assert!(output.stdout.starts_with("link is accepted"), "{}", output.stdout);
        mirror.sync();
        assert_eq!(fs::read_link(mirror.in_replica("link")).unwrap().to_str(), Some("tarGet"), "{rotten:?}");
        assert_eq!(status(&mirror)["damage"], Value::Array(Vec::new()), "{rotten:?}");
        call(&mirror, &["rebuild-index"], &[]).expect(0);
    }
    // The right target put back by hand is brought over like any change.
    let mirror = with_damaged_link(&["source"]);
    mirror.run(&[]).expect(3).says("twinfold accept link");
    remove(mirror.in_source("link"));
    symlink("target", mirror.in_source("link"));
    mirror.sync();
    assert_eq!(status(&mirror)["damage"], Value::Array(Vec::new()));
    // The replica's is put right from the source.
    let mirror = with_damaged_link(&["replica"]);
    call(&mirror, &["rebuild-index", "--heal"], &[]).expect(0);
    mirror.sync();
    assert_eq!(fs::read_link(mirror.in_replica("link")).unwrap().to_str(), Some("target"));
}

#[test]
fn a_changed_source_or_a_bad_copy_is_not_replaced_by_the_replicas() {
    let mirror = mirrored();
    settle();
    write(mirror.in_source("small/01"), "newer");
    let output = call(&mirror, &["restore", "small/01", "--from-replica"], &[]).expect(1);
    assert!(output.stderr.contains("the source was changed since"), "{}", output.stderr);
    assert_eq!(fs::read(mirror.in_source("small/01")).unwrap(), b"newer");
    mirror.rot_source("small/02");
    mirror.rot_replica("small/02");
    let rotten = fs::read(mirror.in_source("small/02")).unwrap();
    write(mirror.in_replica("small/02"), "something else");
    let output = call(&mirror, &["restore", "small/02", "--from-replica"], &[]).expect(1);
    assert!(output.stderr.contains("is not what the manifest knows either"), "{}", output.stderr);
    assert_eq!(fs::read(mirror.in_source("small/02")).unwrap(), rotten);
    let to = mirror.path("elsewhere");
    let to = to.to_str().unwrap();
    call(&mirror, &["restore", "small/02", "--from-replica", "--to", to], &[]).expect(0);
    assert_eq!(fs::read(mirror.path("elsewhere/small/02")).unwrap(), b"something else");
    // What the source lost may come back, too, if it is what it was.
    remove(mirror.in_source("small/06"));
    mirror.rot_replica("small/06");
    call(&mirror, &["restore", "small/06", "--from-replica"], &[]).expect(1);
    remove(mirror.in_source("small/05"));
    call(&mirror, &["restore", "small/05", "--from-replica"], &[]).expect(0);
    assert!(mirror.in_source("small/05").exists());
}

#[test]
fn bytes_that_changed_alike_on_both_sides_are_taken_for_right_once() {
    let mirror = mirrored();
    mirror.rot_source("small/07");
    mirror.rot_replica("small/07");
    let output = call(&mirror, &["rebuild-index"], &[]).expect(0);
    assert!(output.stdout.contains("damaged (both sides)  small/07: the bytes of both sides are the same"));
    assert!(output.stdout.contains("1 changed alike on both sides"), "{}", output.stdout);
    mirror.sync();
    let output = call(&mirror, &["rebuild-index"], &[]).expect(0);
    assert!(!output.stdout.contains("small/07"), "{}", output.stdout);
}

#[test]
fn runs_verify_their_share_the_longest_unread_first_and_heal_the_replica() {
    let mirror = mirrored();
    mirror.age_in_manifest(40, "small/0*");
    mirror.age_in_manifest(10, "large*");
    mirror.rot_replica("small/04");
    mirror.rot_source("small/05");
    // The ten oldest have 4,500 bytes.
    configure(&mirror, "verify = \"4KiB\"\n");
    sleep(Duration::from_millis(1100));
    let output = mirror.run(&["--json"]).expect(3);
    let findings: Vec<Value> =
        output.json().into_iter().filter(|event| event["event"] == "finding").collect();
    assert_eq!(findings.len(), 2, "{findings:?}");
    let summary = output.summary();
    assert!(summary["verified"].as_u64().is_some_and(|files| (8..=10).contains(&files)), "{summary}");
    let seen = status(&mirror);
    assert_eq!(seen["damage"][0]["path"], "small/04", "{seen}");
    assert_eq!(seen["damage"][0]["side"], "replica");
    assert_eq!(seen["damage"][1]["side"], "source");
    // The next run restores the replica's, and verifies the rest of the old ones, and so on.
    let again = mirror.run(&[]).expect(3);
    assert!(again.stdout.contains("1 copied"), "{}", again.stdout);
    assert_eq!(status(&mirror)["damage"].as_array().map(Vec::len), Some(1));
    configure(&mirror, "verify = \"100%\"\n");
    mirror.run(&[]).expect(3);
    let coverage = &status(&mirror)["coverage"];
    let all = coverage["bytes"].as_u64().unwrap();
    // All but the damaged one.
    assert_eq!(coverage["within_7_days"].as_u64(), Some(all - 450), "{coverage}");
    call(&mirror, &["restore", "small/05", "--from-replica"], &[]).expect(0);
    mirror.sync();
    mirror.sync();
    let coverage = &status(&mirror)["coverage"];
    assert_eq!(coverage["within_7_days"], coverage["bytes"], "{coverage}");
    assert!(call(&mirror, &["status"], &[]).stdout.contains("verified  100.0 % within 7 days"));
}

#[test]
fn damage_that_is_known_keeps_nothing_else_from_its_turn() {
    let mirror = mirrored();
    mirror.age_in_manifest(40, "large");
    mirror.age_in_manifest(20, "small/*");
    mirror.rot_source("large");
    call(&mirror, &["rebuild-index", "--older-than", "30d"], &[]).expect(6);
    configure(&mirror, "verify = \"1KiB\"\n");
    let summary = mirror.summary(&[]);
    assert!(summary["verified"].as_u64().is_some_and(|files| files > 0), "{summary}");
    sleep(Duration::from_millis(1100));
    let summary = call(&mirror, &["rebuild-index", "--limit", "1KiB"], &["--json"]).expect(6).summary();
    assert!(summary["sound"].as_u64().is_some_and(|files| files > 0), "{summary}");
}

#[test]
fn without_verify_a_run_reads_nothing_again() {
    let mirror = mirrored();
    mirror.age_in_manifest(40, "*");
    mirror.rot_replica("small/04");
    let summary = mirror.summary(&[]);
    assert_eq!((&summary["verified"], &summary["exit_code"]), (&0.into(), &0.into()), "{summary}");
    let coverage = &status(&mirror)["coverage"];
    assert_eq!((&coverage["within_30_days"], &coverage["within_90_days"]), (&0.into(), &coverage["bytes"]));
}

#[test]
fn a_replica_adopted_by_its_metadata_is_usable_at_once_and_verified_later() {
    let mirror = mirrored();
    remove(mirror.manifest());
    configure(&mirror, "adopt = \"trust-metadata\"\n");
    // Only another size or time has it read.
    write(mirror.in_replica("small/19"), "short");
    mirror.run(&[]).expect(0);
    mirror.assert_in_step();
    let seen = status(&mirror);
    assert_eq!(seen["coverage"]["unverified_files"], 21, "{seen}");
    let entry = call(&mirror, &["status", "small/01"], &[]).expect(0);
    assert!(entry.stdout.contains("adopted by size and time, and not read yet"), "{}", entry.stdout);
    assert!(call(&mirror, &["status"], &[]).stdout.contains("unread    21 files"));
    mirror.assert_idle();
    configure(&mirror, "adopt = \"trust-metadata\"\nverify = \"100%\"\n");
    sleep(Duration::from_millis(1100));
    assert_eq!(mirror.summary(&[])["verified"], 22);
    assert_eq!(status(&mirror)["coverage"]["unverified_files"], 0);
    let sums = call(&mirror, &["status", "--format", "md5sum"], &[]).expect(0);
    assert_eq!(sums.stdout.lines().count(), 22, "{}", sums.stdout);
}

#[test]
fn unlike_contents_under_trusted_metadata_are_told_until_somebody_decides() {
    let mirror = mirrored();
    mirror.rot_replica("small/09");
    remove(mirror.manifest());
    configure(&mirror, "adopt = \"trust-metadata\"\n");
    mirror.run(&[]).expect(0);
    assert!(call(&mirror, &["rebuild-index"], &[]).expect(6).stdout.contains("damaged (one side)  small/09"));
    mirror.run(&[]).expect(3);
    call(&mirror, &["accept", "small/09"], &[]).expect(0);
    mirror.sync();
}

#[test]
fn a_part_of_the_tree_is_rebuilt_the_oldest_first() {
    let mirror = mirrored();
    mirror.age_in_manifest(40, "small/0*");
    mirror.rot_source("small/03");
    mirror.rot_source("small/15");
    let output = call(&mirror, &["rebuild-index", "--older-than", "30d"], &["--json"]).expect(6);
    let summary = output.summary();
    assert_eq!((&summary["sound"], &summary["damaged"]), (&9.into(), &1.into()), "{summary}");
    // Now these are the youngest; of the others a limit takes some.
    sleep(Duration::from_millis(1100));
    call(&mirror, &["rebuild-index", "--older-than", "30d"], &[]).expect(6);
    let summary = call(&mirror, &["rebuild-index", "--limit", "2KiB"], &["--json"]).summary();
    assert!(summary["bytes"].as_u64().is_some_and(|bytes| bytes > 0 && bytes < 3_100_000), "{summary}");
    let summary = call(&mirror, &["rebuild-index", "--share", "100%"], &["--json"]).expect(6).summary();
    assert_eq!(summary["damaged"], 2, "{summary}");
    assert_eq!(status(&mirror)["entries"], 23, "what was not looked at is still there");
    call(&mirror, &["rebuild-index", "--limit", "1MiB", "--share", "5%"], &[]).expect(2);
    call(&mirror, &["rebuild-index", "--share", "5"], &[]).expect(2);
}

#[test]
fn a_list_of_sums_is_a_witness_instead_of_the_manifest() {
    let mirror = mirrored();
    let sums = call(&mirror, &["status", "--format", "md5sum"], &[]).expect(0).stdout;
    let list = mirror.path("sums.md5");
    fs::write(&list, format!("{sums}{}  gone\n", "0".repeat(32))).unwrap();
    let list = list.to_str().unwrap();
    remove(mirror.manifest());
    let good = fs::read(mirror.in_replica("small/02")).unwrap();
    let right = fs::read(mirror.in_replica("small/04")).unwrap();
    let spoilt = [
        (mirror.in_source("small/02"), "s"),
        (mirror.in_replica("small/03"), "r"),
        (mirror.in_source("small/04"), "s"),
    ];
    for (side, name) in spoilt {
        let text = fs::read(&side).unwrap();
        fs::write(&side, [name.as_bytes(), &text[1..]].concat()).unwrap();
    }
    let output = call(&mirror, &["rebuild-index", "--from", list], &[]).expect(6);
    for line in [
        "damaged (source)  small/02: ",
        "damaged (replica)  small/03: ",
        "drift (gone on both sides)  gone: ",
    ] {
        assert!(output.stdout.contains(line), "{line}: {}", output.stdout);
    }
    mirror.run(&[]).expect(3);
    assert_eq!(fs::read(mirror.in_replica("small/02")).unwrap(), good, "the damage did not travel");
    chmod(mirror.in_source("small/04"), 0o600);
    mirror.run(&[]).expect(3);
    assert_eq!(fs::read(mirror.in_replica("small/04")).unwrap(), right, "nor with other permissions");
    fs::write(mirror.in_source("small/04"), &right).unwrap();
    call(&mirror, &["restore", "small/02", "--from-replica"], &[]).expect(0);
    mirror.sync();
    call(&mirror, &["rebuild-index", "--from", list], &[]).expect(0);
    fs::write(list, "no list\n").unwrap();
    let output = call(&mirror, &["rebuild-index", "--from", list], &[]).expect(2);
    assert!(output.stderr.contains("line 1 is not as md5sum writes it"), "{}", output.stderr);
}

#[test]
fn a_manifest_whose_index_is_broken_is_found_on_request_and_made_anew() {
    let mirror = mirrored();
    call(&mirror, &["rebuild-index", "--integrity-check"], &[]).expect(0);
    assert!(mirror.log().contains("SQLite found nothing wrong"), "{}", mirror.log());
    let connection = Connection::open(mirror.manifest()).unwrap();
    // An index that lacks the rows that it should have.
    connection.execute_batch("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'kind = 1', 'kind = 0') WHERE type = 'index' AND sql LIKE '%kind = 1%'; PRAGMA writable_schema = RESET").unwrap();
    drop(connection);
    let output = call(&mirror, &["rebuild-index", "--integrity-check"], &[]).expect(0);
    assert!(output.stderr.contains("damaged"), "{}", output.stderr);
    let aside = fs::read_dir(&mirror.state).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(aside.filter(|name| name.to_string_lossy().contains(".damaged-")).count(), 1);
    mirror.assert_idle();
}

#[test]
fn a_rebuild_that_is_killed_again_and_again_loses_nothing_and_comes_to_its_end() {
    let mirror = Mirror::new();
    for number in 0..600 {
        write(mirror.in_source(format!("f{}/{number:04}", number % 7)), number.to_string().repeat(4000));
    }
    settle();
    mirror.sync();
    mirror.rot_source("f0/0007");
    mirror.rot_replica("f1/0008");
    let good = fs::read(mirror.in_replica("f0/0007")).unwrap();
    sleep(Duration::from_millis(1100));
    let begun = |pause: u64| {
        let mut command = mirror.program(&["rebuild-index", "--heal", "--bandwidth-limit", "4MiB"]);
        command.args(mirror.roots());
        let running = start(command);
        sleep(Duration::from_millis(pause));
        running
    };
    let end = |running: Running| {
        running.signal(Signal::KILL);
        let _ = running.wait();
        assert_eq!(fs::read(mirror.in_replica("f0/0007")).unwrap(), good);
    };
    for pause in [20, 60, 150, 400] {
        end(begun(pause));
    }
    let newest = || -> i64 {
        let connection = Connection::open(mirror.manifest()).unwrap();
        connection.query_row("SELECT max(hashed) FROM entries", [], |row| row.get(0)).unwrap_or(0)
    };
    let before = newest();
    let running = begun(0);
    wait_until("something is verified", || newest() > before);
    end(running);
    let output = call(&mirror, &["rebuild-index", "--heal"], &[]).expect(6);
    assert!(output.stdout.contains("verified before"), "{}", output.stdout);
    call(&mirror, &["restore", "f0/0007", "--from-replica"], &[]).expect(0);
    mirror.sync();
    call(&mirror, &["rebuild-index"], &[]).expect(0);
}

#[test]
fn entries_are_listed_as_csv() {
    let mirror = mirrored();
    write(mirror.in_source("a,\"b\""), "x");
    mirror.sync();
    let output = call(&mirror, &["status", "--format", "csv"], &[]).expect(0).stdout;
    assert!(output.starts_with("path,kind,size,mode,mtime,md5,hashed,unverified\n"), "{output}");
    assert!(output.contains("\n\"a,\"\"b\"\"\",file,1,0644,"), "{output}");
    assert_eq!(output.lines().count(), 26, "a head, the root and 24 entries: {output}");
}
