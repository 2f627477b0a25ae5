//! `rebuild-index` on real folders, through the program itself.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests make their own trees, and a broken fixture is a failed test"
)]

use rusqlite::Connection;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// More than what is read as a whole, and no multiple of the chunk.
const LARGE: usize = (1 << 20) + 12_345;

struct Pair {
    dir: TempDir,
}

impl Pair {
    /// A source of all sorts, mirrored.
    fn mirrored() -> Self {
        let pair = Self { dir: tempfile::tempdir().unwrap() };
        let source = pair.source("");
        fs::create_dir_all(source.join("docs/empty")).unwrap();
        for number in 0..20 {
            fs::write(source.join(format!("docs/{number}.txt")), format!("text {number}")).unwrap();
        }
        fs::write(source.join("docs.txt"), "sorts between docs and docs/").unwrap();
        fs::write(source.join("empty"), "").unwrap();
        fs::write(source.join(OsStr::from_bytes(b"caf\xe9\n")), "odd name").unwrap();
        for (name, length) in [("large", LARGE), ("larger", LARGE + 70_000)] {
            let line = format!("a line of {name}\n");
            fs::write(source.join(name), &line.repeat(length)[..length]).unwrap();
        }
        symlink("docs/1.txt", source.join("link")).unwrap();
        fs::create_dir(pair.replica("")).unwrap();
        // Past the clock tick in which a change might go unseen.
        sleep(Duration::from_millis(50));
        assert_eq!(pair.run(&["sync", "--once"]).code(), 0);
        pair
    }

    fn source(&self, name: &str) -> PathBuf {
        self.dir.path().join("source").join(name)
    }

    fn replica(&self, name: &str) -> PathBuf {
        self.dir.path().join("replica").join(name)
    }

    fn manifest(&self) -> PathBuf {
        self.dir.path().join("m.db")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twinfold"));
        command.args(arguments).arg("--source").arg(self.source("")).arg("--replica").arg(self.replica(""));
        command.arg("--manifest").arg(self.manifest()).arg("--log-file").arg(self.dir.path().join("log"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended(self.command(arguments).output().unwrap())
    }

    fn rebuild(&self) -> Ended {
        self.run(&["rebuild-index"])
    }

    fn assert_idle(&self) {
        let ended = self.run(&["sync", "--once"]);
        assert_eq!(ended.code(), 0);
        assert!(ended.stdout().contains("nothing to do"), "{}", ended.stdout());
    }

    /// The next run tells the one damage that there is, and does nothing.
    fn assert_only_told(&self) {
        let ended = self.run(&["sync", "--once"]);
        assert_eq!(ended.code(), 3, "{}", ended.stderr());
        assert!(ended.stdout().contains("problems: 1 problem; "), "{}", ended.stdout());
    }

    /// Every column of every row, as text.
    fn rows(&self) -> Vec<String> {
        let connection = Connection::open(self.manifest()).unwrap();
        let columns = "path, kind, size, mode, mtime, mtime_ns, ctime, inode, replica_mode, replica_mtime, \
                       replica_mtime_ns, replica_ctime, replica_inode, md5, hashed, racy";
        let quoted = columns.split(", ").map(|column| format!("quote({column})")).collect::<Vec<_>>();
        let sql = format!("SELECT {} FROM entries ORDER BY path", quoted.join(" || ' ' || "));
        let mut query = connection.prepare(&sql).unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    fn set(&self, assignment: &str, path: &str) {
        let connection = Connection::open(self.manifest()).unwrap();
        let sql = format!("UPDATE entries SET {assignment} WHERE path = CAST(?1 AS BLOB)");
        assert_eq!(connection.execute(&sql, [path]).unwrap(), 1, "{path}");
    }

    /// Flips a byte in the middle and leaves no trace: the mtime is put back, and the row is told
    /// the new ctime, as if that had not moved either.
    fn rot(&self, column: &str, root: &Path, name: &str) {
        let file = root.join(name);
        flip(&file);
        let now = fs::metadata(&file).unwrap();
        self.set(&format!("{column} = {}", now.ctime() * 1_000_000_000 + now.ctime_nsec()), name);
    }

    fn rot_source(&self, name: &str) {
        self.rot("ctime", &self.source(""), name);
    }

    fn rot_replica(&self, name: &str) {
        self.rot("replica_ctime", &self.replica(""), name);
    }
}

struct Ended(Output);

impl Ended {
    fn code(&self) -> i32 {
        self.0.status.code().unwrap_or_else(|| panic!("{:?}", self.0))
    }

    fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    fn has_line(&self, start: &str) -> bool {
        self.stdout().lines().any(|line| line.starts_with(start))
    }

    fn events(&self) -> Vec<Value> {
        self.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Changes one byte in place and puts the mtime back.
fn flip(path: &Path) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let before = file.metadata().unwrap();
    let at = before.len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
    file.set_times(FileTimes::new().set_modified(before.modified().unwrap())).unwrap();
}

#[test]
fn a_sound_pair_is_found_sound_and_the_next_run_is_idle() {
    let pair = Pair::mirrored();
    let before = pair.rows().len();
    let ended = pair.rebuild();
    assert_eq!(ended.code(), 0, "{} {}", ended.stdout(), ended.stderr());
    assert!(ended.stdout().contains("0 drift, 0 damaged, 0 problems"), "{}", ended.stdout());
    assert_eq!(ended.stdout().lines().count(), 1, "sound entries are not listed");
    assert_eq!(pair.rows().len(), before);
    pair.assert_idle();
    let left: Vec<_> =
        fs::read_dir(pair.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.as_bytes().starts_with(b"m.db.rebuild")), "{left:?}");
}

#[test]
fn damage_in_the_source_is_named_and_never_brought_over() {
    for name in ["docs/3.txt", "large"] {
        let pair = Pair::mirrored();
        let good = fs::read(pair.replica(name)).unwrap();
        pair.rot_source(name);
        for _ in 0..2 {
            let ended = pair.rebuild();
            assert_eq!(ended.code(), 6, "{}", ended.stdout());
            assert!(ended.has_line(&format!("damaged (source)  {name}: ")), "{}", ended.stdout());
            assert!(ended.stdout().contains("0 drift, 1 damaged, 0 problems"), "{}", ended.stdout());
            pair.assert_only_told();
            assert_eq!(fs::read(pair.replica(name)).unwrap(), good, "the good copy survives");
        }
        // Nor is it brought over where the good copy is gone.
        fs::remove_file(pair.replica(name)).unwrap();
        assert_eq!(pair.rebuild().code(), 6);
        assert_eq!(pair.run(&["sync", "--once"]).code(), 3);
        assert!(!pair.replica(name).exists());
    }
}

#[test]
fn damage_in_the_replica_is_named_and_the_next_run_restores_it() {
    for name in ["docs/3.txt", "large"] {
        let pair = Pair::mirrored();
        let good = fs::read(pair.source(name)).unwrap();
        pair.rot_replica(name);
        pair.assert_idle();
        for _ in 0..2 {
            let ended = pair.rebuild();
            assert_eq!(ended.code(), 6, "{}", ended.stdout());
            assert!(ended.has_line(&format!("damaged (replica)  {name}: ")), "{}", ended.stdout());
        }
        assert_eq!(pair.run(&["sync", "--once"]).code(), 0);
        assert_eq!(fs::read(pair.replica(name)).unwrap(), good);
        assert_eq!(pair.rebuild().code(), 0);
        pair.assert_idle();
    }
}

#[test]
fn bytes_in_the_replica_that_are_neither_the_manifests_nor_the_sources_are_damage_whatever_the_ctime() {
    let pair = Pair::mirrored();
    for name in ["docs/3.txt", "large"] {
        flip(&pair.replica(name));
    }
    let ended = pair.rebuild();
    assert_eq!(ended.code(), 6);
    for name in ["docs/3.txt", "large"] {
        assert!(ended.has_line(&format!("damaged (replica)  {name}: ")), "{}", ended.stdout());
    }
    assert_eq!(pair.run(&["sync", "--once"]).code(), 0);
    assert_eq!(fs::read(pair.replica("large")).unwrap(), fs::read(pair.source("large")).unwrap());
}

#[test]
fn damage_on_both_sides_is_named_and_nothing_is_brought_over() {
    let pair = Pair::mirrored();
    pair.rot_source("docs/3.txt");
    fs::write(pair.replica("docs/4.txt"), "text !").unwrap();
    pair.set("md5 = zeroblob(16)", "docs/5.txt");
    pair.rot_source("large");
    flip(&pair.replica("large"));
    flip(&pair.replica("large"));
    let file = File::options().write(true).open(pair.replica("large")).unwrap();
    file.write_all_at(b"!", 5).unwrap();
    let torn = fs::read(pair.replica("large")).unwrap();
    let ended = pair.rebuild();
    assert_eq!(ended.code(), 6);
    for line in [
        "damaged (source)  docs/3.txt: ",
        "damaged (replica)  docs/4.txt: ",
        "damaged (both sides)  docs/5.txt: ",
        "damaged (both sides)  large: ",
    ] {
        assert!(ended.has_line(line), "{line}: {}", ended.stdout());
    }
    assert_eq!(pair.run(&["sync", "--once"]).code(), 3, "the source's damage is refused");
    assert_eq!(fs::read(pair.replica("large")).unwrap(), torn);
}

#[test]
fn what_changed_with_its_metadata_is_drift_and_the_next_run_brings_it_into_step() {
    let pair = Pair::mirrored();
    sleep(Duration::from_millis(50));
    fs::write(pair.source("docs/1.txt"), "new here").unwrap();
    flip(&pair.source("large"));
    fs::write(pair.source("new"), "new").unwrap();
    fs::write(pair.replica("stray"), "stray").unwrap();
    fs::remove_file(pair.replica("docs/2.txt")).unwrap();
    fs::remove_file(pair.source("docs/4.txt")).unwrap();
    fs::remove_file(pair.source("docs/5.txt")).unwrap();
    fs::remove_file(pair.replica("docs/5.txt")).unwrap();
    let now = FileTimes::new().set_modified(std::time::SystemTime::now());
    File::open(pair.source("docs/6.txt")).unwrap().set_times(now).unwrap();
    File::open(pair.replica("docs/7.txt")).unwrap().set_times(now).unwrap();
    let ended = pair.rebuild();
    assert_eq!(ended.code(), 0, "{}", ended.stdout());
    for line in [
        "drift (source changed)  docs/1.txt",
        "drift (source changed)  large",
        "drift (missing in the replica)  new",
        "drift (extra in the replica)  stray",
        "drift (missing in the replica)  docs/2.txt",
        "drift (extra in the replica)  docs/4.txt",
        "drift (gone on both sides)  docs/5.txt",
        "drift (source touched)  docs/6.txt",
        "drift (replica touched)  docs/7.txt",
        "drift (both sides touched)  docs/",
    ] {
        assert!(ended.stdout().lines().any(|found| found == line), "{line}: {}", ended.stdout());
    }
    assert_eq!(pair.run(&["sync", "--once"]).code(), 0);
    for name in ["docs/1.txt", "large", "new", "docs/2.txt"] {
        assert_eq!(fs::read(pair.replica(name)).unwrap(), fs::read(pair.source(name)).unwrap(), "{name}");
    }
    assert!(!pair.replica("stray").exists() && !pair.replica("docs/4.txt").exists());
    pair.assert_idle();
    assert!(pair.rebuild().stdout().contains("0 drift, 0 damaged"));
}

#[test]
fn a_replica_that_was_touched_and_is_right_costs_the_next_run_nothing() {
    let pair = Pair::mirrored();
    // Another inode, the same bytes and metadata: as after moving the replica to another disk.
    for name in ["docs/1.txt", "large"] {
        let (old, new) = (pair.replica(name), pair.replica("copy"));
        let modified = fs::metadata(&old).unwrap().modified().unwrap();
        fs::copy(&old, &new).unwrap();
        File::open(&new).unwrap().set_times(FileTimes::new().set_modified(modified)).unwrap();
        fs::rename(&new, &old).unwrap();
    }
    for folder in ["", "docs"] {
        let modified = fs::metadata(pair.source(folder)).unwrap().modified().unwrap();
        File::open(pair.replica(folder)).unwrap().set_times(FileTimes::new().set_modified(modified)).unwrap();
    }
    let ended = pair.rebuild();
    assert_eq!(ended.code(), 0);
    assert!(ended.has_line("drift (replica touched)  large"), "{}", ended.stdout());
    pair.assert_idle();
    assert!(pair.rebuild().stdout().contains("0 drift"));
}

#[test]
fn a_report_leaves_the_manifest_as_it_is() {
    let pair = Pair::mirrored();
    pair.rot_source("large");
    pair.rot_replica("docs/3.txt");
    fs::write(pair.source("new"), "new").unwrap();
    let (rows, bytes) = (pair.rows(), fs::read(pair.manifest()).unwrap());
    let ended = pair.run(&["rebuild-index", "--report-only"]);
    assert_eq!(ended.code(), 6);
    for line in [
        "damaged (source)  large: ",
        "damaged (replica)  docs/3.txt: ",
        "drift (missing in the replica)  new",
    ] {
        assert!(ended.has_line(line), "{}", ended.stdout());
    }
    assert_eq!(pair.rows(), rows);
    assert!(fs::read(pair.manifest()).unwrap() == bytes, "not one byte of it changed");
}

#[test]
fn a_manifest_that_is_gone_or_garbage_is_rebuilt_from_both_trees() {
    let pair = Pair::mirrored();
    let rows = pair.rows().len();
    fs::remove_file(pair.manifest()).unwrap();
    let ended = pair.rebuild();
    assert_eq!(ended.code(), 0, "{} {}", ended.stdout(), ended.stderr());
    assert!(ended.stdout().contains("0 drift, 0 damaged, 0 problems"), "{}", ended.stdout());
    pair.assert_idle();
    assert_eq!(pair.rows().len(), rows);

    fs::write(pair.manifest(), "garbage").unwrap();
    let report = pair.run(&["rebuild-index", "--report-only"]);
    assert_eq!(report.code(), 0, "{}", report.stderr());
    assert_eq!(fs::read(pair.manifest()).unwrap(), b"garbage");
    let ended = pair.rebuild();
    assert_eq!(ended.code(), 0);
    assert!(ended.stderr().contains("set aside"), "{}", ended.stderr());
    pair.assert_idle();

    // Damaged inside, where only reading it shows.
    let mut bytes = fs::read(pair.manifest()).unwrap();
    bytes[200..].fill(0xa5);
    fs::write(pair.manifest(), bytes).unwrap();
    let ended = pair.rebuild();
    assert_eq!(ended.code(), 0, "{}", ended.stderr());
    assert!(ended.stderr().contains("set aside"), "{}", ended.stderr());
    pair.assert_idle();
}

#[test]
fn without_a_manifest_files_that_differ_under_one_size_and_time_are_damage_on_an_unknown_side() {
    let pair = Pair::mirrored();
    flip(&pair.replica("large"));
    fs::write(pair.replica("docs/1.txt"), "another size").unwrap();
    fs::remove_file(pair.manifest()).unwrap();
    let ended = pair.rebuild();
    assert_eq!(ended.code(), 6);
    assert!(ended.has_line("damaged (one side)  large: "), "{}", ended.stdout());
    assert!(ended.has_line("drift (content differs)  docs/1.txt"), "{}", ended.stdout());
}

#[test]
fn one_side_alone_is_read_and_the_other_is_trusted_by_its_metadata() {
    let pair = Pair::mirrored();
    pair.rot_source("docs/3.txt");
    pair.rot_replica("large");
    let source = pair.run(&["rebuild-index", "--source-only", "--report-only"]);
    assert_eq!(source.code(), 6);
    assert!(source.has_line("damaged (source)  docs/3.txt: ") && !source.stdout().contains("large"));
    let rows = pair.rows();
    let replica = pair.run(&["rebuild-index", "--replica-only"]);
    assert_eq!(replica.code(), 6);
    assert!(replica.has_line("damaged (replica)  large: ") && !replica.stdout().contains("docs/3.txt"));
    let kept = |rows: &[String]| rows.iter().find(|row| row.starts_with("X'6C61726765'")).cloned();
    assert_eq!(kept(&pair.rows()), kept(&rows), "nothing is restored out of a source that nobody read");
    pair.assert_only_told();
    let both = pair.run(&["rebuild-index", "--source-only", "--replica-only"]);
    assert_eq!(both.code(), 2);
}

#[test]
fn json_tells_each_finding_and_the_counts_and_loses_no_byte_of_a_name() {
    let pair = Pair::mirrored();
    let odd = OsStr::from_bytes(b"caf\xe9\n");
    fs::remove_file(pair.replica("").join(odd)).unwrap();
    pair.rot_replica("large");
    let ended = pair.run(&["rebuild-index", "--json"]);
    assert_eq!(ended.code(), 6);
    let events = ended.events();
    let finding = |verdict: &str, with: &dyn Fn(&Value) -> bool| {
        let is_it =
            |event: &&Value| event["event"] == "finding" && event["verdict"] == verdict && with(event);
        events.iter().find(is_it).unwrap_or_else(|| panic!("{events:?}")).clone()
    };
    let damaged = finding("damaged", &|event| event["path"] == "large");
    assert_eq!(damaged["side"], "replica");
    assert!(damaged["detail"].as_str().unwrap().contains("MD5"));
    assert!(damaged["time"].is_string() && damaged["job"].is_string() && damaged["run"].is_i64());
    let drift = finding("drift", &|event| event["path_base64"] == "Y2Fm6Qo=");
    assert_eq!((&drift["side"], &drift["detail"]), (&"replica".into(), &"missing in the replica".into()));
    let summary = events.last().unwrap();
    assert_eq!(summary["event"], "summary");
    for (field, value) in [("result", Value::from("damage")), ("exit_code", 6.into()), ("damaged", 1.into())]
    {
        assert_eq!(summary[field], value, "{summary}");
    }
    let size: u64 =
        ["large", "larger"].iter().map(|name| fs::metadata(pair.source(name)).unwrap().len()).sum();
    assert!(summary["bytes"].as_u64().unwrap() > 2 * size && summary["sound"].as_u64().unwrap() > 20);
}

#[test]
fn names_are_escaped_for_people_in_the_report_and_in_the_log() {
    let pair = Pair::mirrored();
    fs::remove_file(pair.replica("").join(OsStr::from_bytes(b"caf\xe9\n"))).unwrap();
    let ended = pair.rebuild();
    assert!(ended.has_line("drift (missing in the replica)  caf\\xe9\\n"), "{}", ended.stdout());
    let log = fs::read_to_string(pair.dir.path().join("log")).unwrap();
    assert!(log.contains("drift (missing in the replica)  caf\\xe9\\n\n"), "{log}");
}

#[test]
fn quiet_still_says_damage() {
    let pair = Pair::mirrored();
    pair.rot_replica("large");
    fs::write(pair.source("new"), "new").unwrap();
    let ended = pair.run(&["rebuild-index", "--quiet"]);
    assert_eq!((ended.code(), ended.stdout().as_str()), (6, ""));
    assert!(ended.stderr().contains("damaged (replica)  large: ") && !ended.stderr().contains("drift"));
}

#[test]
fn an_interrupted_rebuild_leaves_a_manifest_in_force_and_the_next_goes_on_with_it() {
    let pair = Pair::mirrored();
    for root in [pair.source(""), pair.replica("")] {
        File::create(root.join("giant")).unwrap().set_len(20 << 30).unwrap();
    }
    let paths = || -> Vec<String> {
        pair.rows().iter().map(|row| row.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    let before = paths();
    sleep(Duration::from_millis(1100));
    let mut running = pair.command(&["rebuild-index", "--quiet"]).spawn().unwrap();
    sleep(Duration::from_millis(500));
    let told = Instant::now();
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(130));
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
    assert_eq!(paths(), before, "nothing is forgotten, and nothing known that was not read");
    for root in [pair.source(""), pair.replica("")] {
        fs::remove_file(root.join("giant")).unwrap();
    }
    let ended = pair.rebuild();
    assert_eq!(ended.code(), 0);
    assert!(ended.stdout().contains(" verified before"), "{}", ended.stdout());
    let ended = pair.rebuild();
    assert!(!ended.stdout().contains(" verified before"), "that one was finished: {}", ended.stdout());
}

#[test]
fn a_missing_replica_is_not_made() {
    let pair = Pair::mirrored();
    fs::remove_dir_all(pair.replica("")).unwrap();
    let rows = pair.rows();
    assert_eq!(pair.rebuild().code(), 5);
    assert!(!pair.replica("").exists());
    assert_eq!(pair.rows(), rows);
}

#[test]
fn healing_restores_the_replicas_damage_and_never_touches_the_source() {
    let pair = Pair::mirrored();
    pair.rot_replica("docs/3.txt");
    pair.rot_replica("large");
    let good = [fs::read(pair.source("docs/3.txt")).unwrap(), fs::read(pair.source("large")).unwrap()];
    assert_eq!(pair.run(&["rebuild-index", "--heal", "--report-only"]).code(), 2);
    let ended = pair.run(&["rebuild-index", "--heal"]);
    assert_eq!(ended.code(), 0, "{}{}", ended.stdout(), ended.stderr());
    assert!(ended.has_line("damaged (replica)  large: "), "{}", ended.stdout());
    for (name, good) in ["docs/3.txt", "large"].into_iter().zip(&good) {
        assert_eq!(&fs::read(pair.replica(name)).unwrap(), good, "{name}");
        assert_eq!(&fs::read(pair.source(name)).unwrap(), good, "{name}");
    }
    assert!(pair.rebuild().stdout().contains("0 drift, 0 damaged, 0 problems"));
}

#[test]
fn healing_leaves_damage_in_the_source_and_the_good_copy_of_it_as_they_are() {
    let pair = Pair::mirrored();
    let good = fs::read(pair.replica("large")).unwrap();
    pair.rot_source("large");
    pair.rot_replica("docs/3.txt");
    let rotten = fs::read(pair.source("large")).unwrap();
    let ended = pair.run(&["rebuild-index", "--heal"]);
    assert_eq!(ended.code(), 6, "{}{}", ended.stdout(), ended.stderr());
    assert_eq!(fs::read(pair.replica("docs/3.txt")).unwrap(), fs::read(pair.source("docs/3.txt")).unwrap());
    assert_eq!(fs::read(pair.replica("large")).unwrap(), good);
    assert_eq!(fs::read(pair.source("large")).unwrap(), rotten);
}
