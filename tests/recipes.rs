//! The recipes of docs/recipes.md do what they say: their own configurations and commands are run, with other paths.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a broken fixture is a failed test")]
#![expect(clippy::disallowed_methods, reason = "tests make their own trees")]

mod common;

use common::fuse::ExternalDisk;
use common::program::{Output, finish};
use common::tree::{mkdir, remove, write};
use common::{Mirror, settle};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// One code block of a recipe.
struct Block {
    language: String,
    text: String,
}

/// The code blocks of the recipe with this title.
fn blocks(title: &str) -> Vec<Block> {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/recipes.md")).unwrap();
    let recipe = page.split("\n## ").find(|recipe| recipe.starts_with(title));
    let recipe = recipe.unwrap_or_else(|| panic!("no recipe is called {title}"));
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    for line in recipe.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(language), false) => {
                found.push(Block { language: language.to_owned(), text: String::new() });
            }
            (None, true) => {
                let block = found.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            _ => {}
        }
        inside ^= line.starts_with("```");
    }
    found
}

/// A machine as the recipes suppose it, below a temporary folder.
struct Machine {
    mirror: Mirror,
    /// Paths of the recipes and what stands for them, the longest first.
    places: Vec<(&'static str, PathBuf)>,
}

impl Machine {
    fn new(places: &[(&'static str, &str)]) -> Self {
        let mirror = Mirror::new();
        let mut places: Vec<_> = places.iter().map(|&(place, name)| (place, mirror.path(name))).collect();
        places.sort_by_key(|(place, _)| std::cmp::Reverse(place.len()));
        Self { mirror, places }
    }

    fn adapted(&self, text: &str) -> String {
        let mut text = text.to_owned();
        // Twice over, so that what stands for one path is not taken for another.
        for (number, (place, _)) in self.places.iter().enumerate() {
            text = text.replace(place, &format!("\u{1}{number}\u{2}"));
        }
        for (number, (_, actual)) in self.places.iter().enumerate() {
            text = text.replace(&format!("\u{1}{number}\u{2}"), actual.to_str().unwrap());
        }
        text
    }

    /// Makes the recipe's configuration that of this machine.
    fn configure(&self, recipe: &[Block]) {
        let text: String =
            recipe.iter().filter(|block| block.language == "toml").map(|block| block.text.as_str()).collect();
        let text = self.adapted(&text).replace("/usr/bin/systemctl", "/bin/true");
        self.mirror.write_config("home/twinfold/config.toml", text);
    }

    /// Runs one command line of a recipe.
    fn shell(&self, line: &str) -> Output {
        let folder = self.mirror.program_path().parent().unwrap().to_str().unwrap().to_owned();
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &self.adapted(line)]);
        self.mirror.isolate(&mut command);
        command.env("PATH", format!("{folder}:/usr/local/bin:/usr/bin:/bin"));
        finish(command)
    }

    /// The command lines of a block, without those that only a running system has.
    fn lines(block: &Block) -> Vec<&str> {
        let lines = block.text.lines().filter(|line| !line.is_empty());
        lines.filter(|line| !line.starts_with("systemctl ")).collect()
    }

    fn program(&self, words: &[&str]) -> Output {
        settle();
        finish(self.mirror.program(words))
    }

    fn place(&self, place: &str) -> &Path {
        &self.places.iter().find(|(named, _)| *named == place).unwrap().1
    }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_laptop_is_mirrored_to_an_external_disk_with_exfat_or_ntfs_that_comes_and_goes() {
    let makers: [fn(&Path) -> Option<ExternalDisk>; 2] = [ExternalDisk::exfat, ExternalDisk::ntfs];
    for maker in makers {
        let machine = Machine::new(&[("/home/anna", "anna"), ("/media/anna/backup", "disk")]);
        let Some(mut disk) = maker(&machine.mirror.path(".")) else { continue };
        let recipe = blocks("A laptop to an external disk");
        machine.configure(&recipe);
        let home = machine.place("/home/anna").to_owned();
        write(home.join("letters/2019.odt"), "first version");
        write(home.join("gone soon"), "precious");
        write(home.join(".cache/thumbnail"), "excluded");
        write(home.join("half.part"), "excluded");
        machine.shell("mkdir /media/anna/backup/home").expect(0);
        machine.shell("twinfold -n").expect(0);
        machine.shell("twinfold --once").expect(0);
        let replica = disk.at.join("home");
        assert_eq!(read(replica.join("letters/2019.odt")), "first version");
        assert!(!replica.join(".cache").exists() && !replica.join("half.part").exists());
        // These disks may have whole seconds only.
        sleep(Duration::from_millis(2100));
        remove(home.join("gone soon"));
        write(home.join("letters/2019.odt"), "second and longer version");
        let run = machine.shell("twinfold --once --max-delete off").expect(0);
        assert_eq!(read(replica.join("letters/2019.odt")), "second and longer version", "{}", run.stdout);
        sleep(Duration::from_millis(2100));
        assert!(machine.shell("twinfold --once").expect(0).stdout.contains("nothing to do"));
        let back = home.join("back");
        let to = back.to_str().unwrap();
        machine.program(&["restore", "letters/2019.odt", "--job", "home", "--to", to]).expect(0);
        machine.program(&["restore", "gone soon", "--job", "home"]).expect(0);
        assert_eq!(read(home.join("gone soon")), "precious");
        disk.unplug();
        machine.shell("twinfold --once").expect(0);
        assert!(!disk.at.join("home").exists(), "no folder is made below the empty mount point");
        disk.plug_in();
        machine.shell("twinfold --once").expect(0);
    }
}

#[test]
fn a_share_is_mirrored_to() {
    let machine = Machine::new(&[("/home/anna/photos", "photos"), ("/mnt/nas", "nas")]);
    machine.configure(&blocks("A NAS"));
    write(machine.place("/home/anna/photos").join("2019/beach.jpg"), "sand");
    mkdir(machine.place("/mnt/nas"));
    machine.shell("twinfold --once").expect(0);
    assert_eq!(read(machine.place("/mnt/nas").join("photos/2019/beach.jpg")), "sand");
    assert!(machine.shell("twinfold --once").expect(0).stdout.contains("nothing to do"));
}

#[test]
fn a_standby_pulls_and_its_monitoring_sees_it() {
    let prometheus = "/var/lib/prometheus/node-exporter";
    let machine = Machine::new(&[("/mnt/live", "live"), ("/srv", "srv"), (prometheus, "metrics")]);
    let recipe = blocks("A server pair");
    machine.configure(&recipe);
    write(machine.place("/mnt/live").join("www/index.html"), "hello");
    mkdir(machine.place("/srv"));
    mkdir(machine.place(prometheus));
    // The marker is missing.
    machine.shell("twinfold --once").expect(5);
    write(machine.place("/mnt/live").join(".this-is-live"), "");
    machine.shell("twinfold --once").expect(0);
    assert_eq!(read(machine.place("/srv").join("www/index.html")), "hello");
    let shell = recipe.iter().find(|block| block.language == "sh").unwrap();
    for line in Machine::lines(shell) {
        machine.shell(line).expect(0);
    }
    assert!(read(machine.place(prometheus).join("twinfold.prom")).contains("twinfold_has_run"));
}

#[test]
fn contents_are_verified_with_md5sum_and_by_lists_of_sums() {
    let sums = "/root/home-of-last-year.md5";
    let machine = Machine::new(&[
        ("/home/anna", "anna"),
        ("/media/anna/backup", "disk"),
        (sums, "last-year.md5"),
        ("/tmp/home.md5", "home.md5"),
    ]);
    machine.configure(&blocks("A laptop to an external disk"));
    let home = machine.place("/home/anna").to_owned();
    write(home.join("notes.db"), "a database");
    write(home.join("photos/2019/beach.jpg"), "sand");
    mkdir(machine.place("/media/anna/backup").join("home"));
    machine.shell("twinfold --once").expect(0);
    let recipe = blocks("Verifying with md5sum");
    let all: Vec<&str> = recipe.iter().flat_map(Machine::lines).collect();
    // The first two belong together: the list, then md5sum with it.
    for line in &all[..2] {
        machine.shell(line).expect(0);
    }
    fs::copy(machine.place("/tmp/home.md5"), machine.place(sums)).unwrap();
    let with_list = all.iter().find(|line| line.contains("--from /root")).unwrap();
    machine.shell(with_list).expect(0);
    machine.shell("twinfold rebuild-index --job home --share 5%").expect(0);
    let heal = all.iter().find(|line| line.contains("--heal")).unwrap();
    machine.shell(heal).expect(0);
}

#[test]
fn what_rsync_left_is_adopted_and_cron_can_go_on() {
    let machine = Machine::new(&[("/srv/data", "data"), ("/backup/data", "backup")]);
    let (data, backup) = (machine.place("/srv/data"), machine.place("/backup/data"));
    write(data.join("folder/file"), "the same");
    machine.shell("cp -a /srv/data /backup/data").expect(0);
    let recipe = blocks("Moving from rsync and cron");
    for block in recipe.iter().filter(|block| block.language == "sh") {
        for line in Machine::lines(block) {
            let run = machine.shell(line).expect(0);
            assert!(!run.stdout.contains("delete") && !run.stdout.contains("copied"), "{}", run.stdout);
        }
    }
    write(data.join("folder/new"), "new");
    let cron = recipe.iter().find(|block| block.text.contains("*/15 * * * *  twinfold")).unwrap();
    let run = machine.shell(cron.text.trim().trim_start_matches("*/15 * * * *")).expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""), "cron mails what is said");
    assert_eq!(read(backup.join("folder/new")), "new");
}

#[test]
fn what_was_deleted_comes_back_and_so_does_the_whole_source() {
    let machine = Machine::new(&[
        ("/home/anna", "anna"),
        ("/media/anna/backup", "disk"),
        ("/tmp/back", "back"),
        ("/srv/data", "data"),
        ("/backup/data", "backup"),
        ("/var/lib/twinfold", "state"),
    ]);
    machine.configure(&blocks("A laptop to an external disk"));
    let home = machine.place("/home/anna").to_owned();
    for name in ["2018.odt", "2019.odt", "2020.odt"] {
        write(home.join("letters").join(name), format!("letter of {name}"));
    }
    mkdir(machine.place("/media/anna/backup").join("home"));
    machine.shell("twinfold --once").expect(0);
    settle();
    remove(home.join("letters/2019.odt"));
    machine.shell("twinfold --once --max-delete off").expect(0);
    let recipe = blocks("Restoring");
    let shells: Vec<&Block> = recipe.iter().filter(|block| block.language == "sh").collect();
    let lines = Machine::lines(shells[0]);
    assert!(machine.shell(lines[0]).expect(0).stdout.contains("2019.odt"));
    machine.shell(lines[1]).expect(0);
    assert_eq!(read(home.join("letters/2019.odt")), "letter of 2019.odt");
    // The day of the recipe is another one than that of this run.
    let folder = lines[2].replace("--at 2026-11-25 ", "");
    machine.shell(&folder).expect(0);
    assert_eq!(read(machine.place("/tmp/back").join("letters/2019.odt")), "letter of 2019.odt");
    assert!(machine.shell(lines[3]).expect(0).stdout.contains("2019.odt"));
    write(machine.place("/backup/data").join("all/of/it"), "comes back");
    mkdir(machine.place("/srv/data"));
    for line in Machine::lines(shells[1]) {
        machine.shell(line).expect(0);
    }
    assert_eq!(read(machine.place("/srv/data").join("all/of/it")), "comes back");
}

#[test]
fn every_recipe_has_a_test() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/recipes.md")).unwrap();
    let titles: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let tested = [
        "A laptop to an external disk that comes and goes",
        "A NAS",
        "A server pair with a mounted network file system",
        "Verifying with md5sum",
        "Moving from rsync and cron",
        // It mirrors the machine itself: tests/whole_system.rs has the situation, with a small tree.
        "A whole system to a disk mounted in it",
        "Restoring",
    ];
    assert_eq!(titles, tested);
}
