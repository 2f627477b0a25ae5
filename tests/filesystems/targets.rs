//! The file systems, how each is mounted here, and what each holds.

use crate::common::disk::make_image;
use crate::common::mounts::does;
use crate::common::tree::mkdir;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// No mount takes so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a file system holds of an entry; the contents always.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent answers")]
pub struct Holds {
    pub modes: bool,
    pub owners: bool,
    /// How exact times are.
    pub tick_nanos: i64,
    /// Which times there are, in seconds since 1970.
    pub times: RangeInclusive<i64>,
    /// Links have times of their own.
    pub link_times: bool,
    pub links: bool,
    /// FIFOs, sockets, device nodes.
    pub specials: bool,
    /// Several names share an inode; elsewhere each is a copy.
    pub hard_links: bool,
    pub attributes: bool,
    pub acls: bool,
    pub holes: bool,
    /// Whether this name cannot be.
    pub refuses: fn(&[u8]) -> bool,
}

const ALL_TIMES: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// A file system that holds all.
const ALL: Holds = Holds {
    modes: true,
    owners: true,
    tick_nanos: 1,
    times: ALL_TIMES,
    link_times: true,
    links: true,
    specials: true,
    hard_links: true,
    attributes: true,
    acls: true,
    holes: true,
    refuses: |_| false,
};

/// What Windows does not take.
fn windows_refuses(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_err() || name.iter().any(|byte| *byte < 32 || b"\"*/:<>?\\|".contains(byte))
}

/// One file system.
pub struct Target {
    pub name: &'static str,
    pub holds: Holds,
    /// What it holds is gone with the mount.
    is_volatile: bool,
    /// What an ordinary user's replica holds less.
    for_user: fn(Holds) -> Holds,
    /// Makes what is mounted.
    make: fn(&Place) -> Result<(), String>,
    mount: fn(&Place) -> Result<Mount, String>,
}

/// Where a file system is mounted, and for whom.
pub struct Place {
    base: PathBuf,
    /// The mount point.
    pub at: PathBuf,
    user: Option<u32>,
}

impl Place {
    pub fn new(base: PathBuf, user: Option<u32>) -> Self {
        let at = base.join("mounted");
        mkdir(&at);
        for folder in ["back", "back2", "work"] {
            mkdir(base.join(folder));
            if user.is_some() {
                chown(base.join(folder), user, user).unwrap();
            }
        }
        Self { base, at, user }
    }

    fn back(&self) -> String {
        self.text("back")
    }

    fn text(&self, name: &str) -> String {
        self.base.join(name).to_str().unwrap().to_owned()
    }

    fn point(&self) -> String {
        self.at.to_str().unwrap().to_owned()
    }

    /// Options by which a FUSE file system that has no owners belongs to the user.
    fn owned(&self) -> String {
        let user = self.user.unwrap_or(0);
        format!("allow_other,uid={user},gid={user}")
    }

    /// Mounts by a program that goes into the background when it is done.
    fn fuse(&self, program: &str, arguments: &[&str]) -> Result<Mount, String> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.status() {
            Err(error) => return Err(format!("{program}: {error}")),
            Ok(status) if !status.success() => return Err(format!("{program} ended with {status}")),
            Ok(_) => {}
        }
        self.wait_mounted(program, Vec::new())
    }

    fn wait_mounted(&self, program: &str, mut children: Vec<Child>) -> Result<Mount, String> {
        let began = Instant::now();
        while !is_mounted(&self.at) {
            if began.elapsed() > PATIENCE {
                children.iter_mut().for_each(end);
                return Err(format!("{program} mounted nothing in {PATIENCE:?}"));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(Mount { at: self.at.clone(), children, device: None })
    }
}

/// What is mounted, until it is dropped.
pub struct Mount {
    at: PathBuf,
    children: Vec<Child>,
    device: Option<String>,
}

impl Drop for Mount {
    fn drop(&mut self) {
        let at = self.at.to_str().unwrap();
        let began = Instant::now();
        while is_mounted(&self.at) && !does("umount", &[at]) && began.elapsed() < PATIENCE {
            sleep(Duration::from_millis(20));
        }
        does("umount", &["-l", at]);
        self.children.iter_mut().for_each(end);
        if let Some(device) = &self.device {
            does("losetup", &["-d", device]);
        }
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn is_mounted(at: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == at.to_str())
}

impl Target {
    /// Makes the file system and mounts it; says why where that cannot be done here.
    pub fn ready(&self, place: &Place) -> Result<Mount, String> {
        (self.make)(place)?;
        let mounted = (self.mount)(place)?;
        if place.user.is_some() {
            // File systems that know no owners are mounted as the user's.
            let _ = chown(&place.at, place.user, place.user);
        }
        Ok(mounted)
    }

    /// Unmounts it and mounts it again; what would be gone then is mounted anew where it is.
    pub fn mounted_again(&self, place: &Place, mounted: Mount) -> Result<Mount, String> {
        if self.is_volatile {
            let anew = does("mount", &["-o", "remount", &place.point()]);
            return anew.then_some(mounted).ok_or_else(|| "it cannot be remounted".to_owned());
        }
        drop(mounted);
        (self.mount)(place)
    }

    pub fn holds_for(&self, user: bool) -> Holds {
        if user { (self.for_user)(self.holds.clone()) } else { self.holds.clone() }
    }
}

fn image(place: &Place, kind: &str, mib: u64) -> Result<(), String> {
    let made = make_image(Path::new(&place.text("image")), kind, mib, &[]);
    made.then_some(()).ok_or_else(|| format!("mkfs.{kind} is missing or refuses"))
}

fn mount(place: &Place, arguments: &[&str]) -> Result<Mount, String> {
    let point = place.point();
    let all = [arguments, &[&point]].concat();
    if !does("mount", &all) {
        return Err(format!("mount {arguments:?} is refused here"));
    }
    place.wait_mounted("mount", Vec::new())
}

fn loop_mount(place: &Place) -> Result<Mount, String> {
    mount(place, &["-o", "loop", &place.text("image")])
}

fn overlay(place: &Place) -> Result<Mount, String> {
    let (lower, upper, work) = (place.text("back2"), place.back(), place.text("work"));
    let layers = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    mount(place, &["-t", "overlay", "-o", &layers, "none"])
}

/// An image on a loop device, for programs that want a device.
fn attach(place: &Place) -> Result<String, String> {
    let output = Command::new("losetup").args(["-f", "--show", &place.text("image")]).output();
    let output = output.map_err(|error| format!("losetup: {error}"))?;
    let device = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if device.is_empty() { Err("there is no free loop device".to_owned()) } else { Ok(device) }
}

fn format_with(place: &Place, program: &str, arguments: &[&str]) -> Result<(), String> {
    let image = place.text("image");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let device = attach(place)?;
    let made = does(program, &[arguments, &[&device]].concat());
    does("losetup", &["-d", &device]);
    made.then_some(()).ok_or_else(|| format!("{program} is missing or refuses"))
}

fn device_mount(place: &Place, program: &str, options: &str) -> Result<Mount, String> {
    let device = attach(place)?;
    match place.fuse(program, &[&device, &place.point(), "-o", options]) {
        Ok(mut mounted) => {
            mounted.device = Some(device);
            Ok(mounted)
        }
        Err(error) => {
            does("losetup", &["-d", &device]);
            Err(error)
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what makes a file system may fail")]
fn nothing(_: &Place) -> Result<(), String> {
    Ok(())
}

/// A server for sshfs: sshd is not needed, it is sftp that the client speaks.
fn sshfs(place: &Place) -> Result<Mount, String> {
    const SERVER: &str = "/usr/lib/openssh/sftp-server";
    if !Path::new(SERVER).exists() {
        return Err(format!("there is no {SERVER}"));
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut server = Command::new("socat");
    server.args([&format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr"), &format!("EXEC:{SERVER}")]);
    if let Some(user) = place.user {
        use std::os::unix::process::CommandExt;
        server.uid(user).gid(user);
    }
    let server = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut children = vec![server.map_err(|error| format!("socat: {error}"))?];
    let options = format!("directport={port},allow_other");
    let far = format!("127.0.0.1:{}", place.back());
    let began = Instant::now();
    loop {
        match place.fuse("sshfs", &["-o", &options, &far, &place.point()]) {
            Ok(mut mounted) => {
                mounted.children.append(&mut children);
                return Ok(mounted);
            }
            // The server may not listen yet.
            Err(_) if began.elapsed() < Duration::from_secs(3) => sleep(Duration::from_millis(50)),
            Err(error) => {
                children.iter_mut().for_each(end);
                return Err(error);
            }
        }
    }
}

fn bindfs(place: &Place, more: &[&str]) -> Result<Mount, String> {
    place.fuse("bindfs", &[more, &["-o", "allow_other", &place.back(), &place.point()]].concat())
}

fn same(holds: Holds) -> Holds {
    holds
}

/// All of them.
pub fn all() -> Vec<Target> {
    let ours =
        Target { name: "", holds: ALL, is_volatile: false, for_user: same, make: nothing, mount: loop_mount };
    vec![
        Target { name: "ext4", make: |place| image(place, "ext4", 64), ..clone(&ours) },
        Target { name: "xfs", make: |place| image(place, "xfs", 320), ..clone(&ours) },
        Target { name: "btrfs", make: |place| image(place, "btrfs", 128), ..clone(&ours) },
        Target {
            name: "tmpfs",
            is_volatile: true,
            mount: |place| mount(place, &["-t", "tmpfs", "-o", "size=64m", "none"]),
            ..clone(&ours)
        },
        Target {
            name: "overlay",
            // The first mount of fresh layers has options that no later one has.
            make: |place| overlay(place).map(drop),
            mount: overlay,
            ..clone(&ours)
        },
        Target {
            name: "exfat-fuse",
            holds: Holds {
                modes: false,
                owners: false,
                tick_nanos: 2_000_000_000,
                times: 315_532_800..=4_354_819_198,
                links: false,
                specials: false,
                hard_links: false,
                attributes: false,
                acls: false,
                holes: false,
                refuses: windows_refuses,
                ..ALL
            },
            make: |place| format_with(place, "mkfs.exfat", &[]),
            mount: |place| device_mount(place, "mount.exfat-fuse", &place.owned()),
            ..clone(&ours)
        },
        Target {
            name: "ntfs-3g",
            holds: Holds {
                modes: false,
                owners: false,
                tick_nanos: 100,
                acls: false,
                holes: false,
                refuses: |name| std::str::from_utf8(name).is_err(),
                ..ALL
            },
            make: |place| format_with(place, "mkntfs", &["-Q", "-F"]),
            mount: |place| device_mount(place, "ntfs-3g", &place.owned()),
            ..clone(&ours)
        },
        Target {
            name: "sshfs",
            holds: Holds {
                tick_nanos: 1_000_000_000,
                // 0 stands for no time at all in the protocol: what is held below is not found out.
                times: 315_532_800..=0xffff_ffff,
                link_times: false,
                specials: false,
                hard_links: false,
                attributes: false,
                acls: false,
                holes: false,
                ..ALL
            },
            mount: sshfs,
            ..clone(&ours)
        },
        Target {
            name: "bindfs",
            holds: Holds { holes: false, ..ALL },
            mount: |place| bindfs(place, &[]),
            ..clone(&ours)
        },
        Target {
            name: "bindfs --chmod-deny",
            holds: Holds { modes: false, acls: false, holes: false, ..ALL },
            mount: |place| bindfs(place, &["--chmod-deny"]),
            ..clone(&ours)
        },
        Target {
            name: "bindfs --chown-deny",
            holds: Holds { owners: false, holes: false, ..ALL },
            mount: |place| bindfs(place, &["--chown-deny"]),
            ..clone(&ours)
        },
        Target {
            name: "encfs",
            holds: Holds { tick_nanos: 1_000_000_000, holes: false, refuses: |name| name.len() > 175, ..ALL },
            mount: |place| {
                let (back, point) = (place.back(), place.point());
                place.fuse(
                    "encfs",
                    &["--standard", "--extpass=echo secret", &back, &point, "--", "-o", "allow_other"],
                )
            },
            ..clone(&ours)
        },
        Target {
            name: "gocryptfs",
            holds: Holds { holes: false, ..ALL },
            make: |place| {
                let made = does(
                    "gocryptfs",
                    &["-q", "-init", "-scryptn", "10", "-extpass", "echo secret", &place.back()],
                );
                made.then_some(()).ok_or_else(|| "gocryptfs -init is missing or refuses".to_owned())
            },
            mount: |place| {
                let (back, point) = (place.back(), place.point());
                place.fuse("gocryptfs", &["-q", "-allow_other", "-extpass", "echo secret", &back, &point])
            },
            ..clone(&ours)
        },
        Target {
            name: "mergerfs",
            holds: Holds { hard_links: false, holes: false, ..ALL },
            mount: |place| {
                let branches = format!("{}:{}", place.back(), place.text("back2"));
                place.fuse("mergerfs", &["-o", "allow_other", &branches, &place.point()])
            },
            ..clone(&ours)
        },
        Target {
            name: "rclone mount",
            holds: Holds {
                modes: false,
                owners: false,
                link_times: false,
                links: false,
                specials: false,
                hard_links: false,
                attributes: false,
                acls: false,
                holes: false,
                ..ALL
            },
            mount: |place| {
                let (cache, user) = (place.text("work"), place.user.unwrap_or(0).to_string());
                let arguments = [
                    "mount",
                    "--daemon",
                    "--allow-other",
                    "--vfs-cache-mode",
                    "writes",
                    "--vfs-write-back",
                    "0",
                    "--uid",
                    &user,
                    "--gid",
                    &user,
                    "--config",
                    "/dev/null",
                    "--cache-dir",
                    &cache,
                    &place.back(),
                    &place.point(),
                ];
                place.fuse("rclone", &arguments)
            },
            ..clone(&ours)
        },
    ]
}

fn clone(target: &Target) -> Target {
    Target { holds: target.holds.clone(), ..*target }
}
