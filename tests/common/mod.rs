//! A mirror in a temporary folder, the program run on it, and an independent look at both trees.

#![allow(dead_code, reason = "each test crate uses another part of this kit")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a kit for tests only")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

pub mod claims;
pub mod disk;
pub mod fuse;
pub mod inject;
pub mod jobs;
pub mod mounts;
pub mod program;
pub mod rot;
pub mod sweep;
pub mod tree;
pub mod versions;
pub mod writers;

use program::{Output, finish};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use tempfile::TempDir;
use tree::Tree;

/// An ordinary user without files, for what root may do anyway.
pub const NOBODY: u32 = 65534;

/// A source, a replica that is not there yet, and a state folder, all in one temporary folder.
pub struct Mirror {
    base: TempDir,
    pub source: PathBuf,
    pub replica: PathBuf,
    pub state: PathBuf,
    user: Option<u32>,
    program: PathBuf,
}

impl Mirror {
    pub fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    fn within(base: TempDir) -> Self {
        // Roots are compared with what the program prints: without symlinks on the way.
        let path = fs::canonicalize(base.path()).unwrap();
        let mirror = Self {
            source: path.join("source"),
            replica: path.join("replica"),
            state: path.join("state"),
            user: None,
            program: PathBuf::from(env!("CARGO_BIN_EXE_twinfold")),
            base,
        };
        fs::create_dir(&mirror.source).unwrap();
        for private in ["state", "home", "home/twinfold"] {
            fs::create_dir(path.join(private)).unwrap();
            fs::set_permissions(path.join(private), fs::Permissions::from_mode(0o700)).unwrap();
        }
        // An empty config, so that none in /etc is found.
        mirror.write_config("home/twinfold/config.toml", "");
        mirror
    }

    /// A mirror whose program runs as a user who is not root. What the test itself makes in the
    /// source belongs to whoever runs the test.
    pub fn of_an_ordinary_user() -> Self {
        let mut mirror = Self::new();
        if is_root() {
            mirror.user = Some(NOBODY);
            let copy = mirror.path("twinfold");
            fs::copy(&mirror.program, &copy).unwrap();
            mirror.program = copy;
            mirror.give_away(&mirror.path("."));
        }
        mirror
    }

    /// Makes the program's user the owner of everything below `path`.
    pub fn give_away(&self, path: &Path) {
        let Some(user) = self.user else { return };
        chown(path, Some(user), Some(user)).unwrap();
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                self.give_away(&path);
            } else {
                std::os::unix::fs::lchown(&path, Some(user), Some(user)).unwrap();
            }
        }
    }

    /// A path in the folder that holds all of this.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        fs::canonicalize(self.base.path()).unwrap().join(name)
    }

    pub fn in_source(&self, name: impl AsRef<Path>) -> PathBuf {
        self.source.join(name)
    }

    pub fn in_replica(&self, name: impl AsRef<Path>) -> PathBuf {
        self.replica.join(name)
    }

    /// Writes a config file that only its owner may change.
    pub fn write_config(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The program in an environment of its own.
    pub fn program<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        self.isolate(&mut command);
        command
    }

    /// Gives any command the environment in which the program runs.
    pub fn isolate(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path("home"))
            .env("XDG_CONFIG_HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("home"))
            .env("STATE_DIRECTORY", &self.state)
            .current_dir(self.path("."));
        if let Some(user) = self.user {
            use std::os::unix::process::CommandExt;
            command.uid(user).gid(user);
        }
    }

    /// Where the program is that [`Mirror::program`] starts.
    pub fn program_path(&self) -> &Path {
        &self.program
    }

    /// The arguments that say which mirror is meant.
    pub fn roots(&self) -> Vec<String> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        vec!["--source".into(), text(&self.source), "--replica".into(), text(&self.replica)]
    }

    /// `twinfold sync --once` on this mirror, with more arguments.
    pub fn once(&self, more: &[&str]) -> Command {
        let mut command = self.program(&["sync", "--once"]);
        command.args(self.roots()).args(more);
        command
    }

    /// Runs once and says how it ended.
    pub fn run(&self, more: &[&str]) -> Output {
        finish(self.once(more))
    }

    /// Runs once, which must end with 0 and in step.
    pub fn sync(&self) -> Output {
        let output = self.run(&[]).expect(0);
        self.assert_in_step();
        output
    }

    /// Runs once with `--json` and returns its summary, whatever the exit code.
    pub fn summary(&self, more: &[&str]) -> serde_json::Value {
        let mut command = self.once(&["--json"]);
        command.args(more);
        finish(command).summary()
    }

    /// Fails where source and replica differ in anything.
    pub fn assert_in_step(&self) {
        let mut source = Tree::of(&self.source);
        let mut replica = Tree::of(&self.replica);
        if self.user.is_some() || !is_root() {
            source.forget_owners();
            replica.forget_owners();
        }
        tree::assert_same(&source, &replica);
    }

    /// Runs again: nothing may be done, and neither the replica nor the manifest's rows may move.
    pub fn assert_idle(&self) {
        let (stamps, rows) = (tree::stamps(&self.replica), self.rows());
        let summary = self.summary(&[]);
        for count in ["create", "copy", "metadata", "delete", "confirmed", "problems", "held"] {
            assert_eq!(summary[count], 0, "{count} in {summary}");
        }
        assert_eq!(summary["result"], "ok", "{summary}");
        assert!(tree::stamps(&self.replica) == stamps, "an idle run touched the replica");
        assert!(self.rows() == rows, "an idle run changed the manifest's rows");
    }

    /// The manifest in the state folder.
    pub fn manifest(&self) -> PathBuf {
        let is_manifest = |path: &PathBuf| path.extension().is_some_and(|e| e == "db");
        let found: Vec<PathBuf> =
            fs::read_dir(&self.state).unwrap().map(|e| e.unwrap().path()).filter(is_manifest).collect();
        assert_eq!(found.len(), 1, "one manifest in the state folder: {found:?}");
        found[0].clone()
    }

    /// All rows of the manifest's entries.
    pub fn rows(&self) -> Vec<Vec<rusqlite::types::Value>> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = rusqlite::Connection::open_with_flags(self.manifest(), flags).unwrap();
        let mut query = connection.prepare("SELECT * FROM entries ORDER BY path").unwrap();
        let columns = query.column_count();
        let rows = query.query_map([], |row| (0..columns).map(|column| row.get(column)).collect());
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// The log's text.
    pub fn log(&self) -> String {
        fs::read_to_string(self.state.join("twinfold.log")).unwrap()
    }
}

/// Lets the clock move on by more than a file system's tick, so that what was written before is
/// not racy in the next run.
pub fn settle() {
    sleep(Duration::from_millis(50));
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says loudly that (part of) a test cannot be done here.
pub fn skip(what: &str) {
    eprintln!("SKIPPED: {what}");
}
