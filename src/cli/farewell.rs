//! The last words of a program that was asked to stop and cannot: a thread of it is in a call to a file system that
//! does not return, and nothing but the end of the program ends that.

use super::output;
use crate::error::ExitCode;
use crate::model::escape::escaped;
use crate::signals::{Ending, GRACE};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How a program ends with `code` that does not end by itself.
pub fn ending(code: ExitCode) -> Ending {
    Ending { code: code.number(), last_words: say }
}

fn say() {
    let calls = calls();
    let what = if calls.is_empty() { "it is still busy".to_owned() } else { calls.join(", ") };
    let text = format!(
        "told to stop {} s ago, but cannot wait any longer: {what}. What is finished stays, and the \
         next run goes on from there; the program ends now. If a call hangs, the server or program behind that file system does \
         not answer",
        GRACE.as_secs()
    );
    // First where nothing but a terminal or a pipe can hang.
    output::diagnose("warning", &text);
    log::warn!("{text}");
}

/// Calls on a folder or file that threads of this process are in, in words.
fn calls() -> Vec<String> {
    let mut calls = Vec::new();
    for entry in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        // `running` for a thread that is in no call.
        let Ok(call) = fs::read_to_string(entry.path().join("syscall")) else { continue };
        calls.extend(in_words(&call));
    }
    calls.sort();
    calls.dedup();
    calls
}

/// What a call is on.
enum On {
    /// A file that is open.
    Handle,
    /// A name in a folder that is open.
    Name,
    /// A path.
    Path,
}

/// The calls in which a file system may keep a thread.
const CALLS: [(libc::c_long, &str, On); 30] = [
    (libc::SYS_read, "read", On::Handle),
    (libc::SYS_pread64, "read", On::Handle),
    (libc::SYS_write, "write", On::Handle),
    (libc::SYS_pwrite64, "write", On::Handle),
    (libc::SYS_copy_file_range, "copy", On::Handle),
    (libc::SYS_fallocate, "allocate", On::Handle),
    (libc::SYS_ftruncate, "truncate", On::Handle),
    (libc::SYS_fsync, "fsync", On::Handle),
    (libc::SYS_fdatasync, "fsync", On::Handle),
    (libc::SYS_syncfs, "syncfs", On::Handle),
    (libc::SYS_close, "close", On::Handle),
    (libc::SYS_fstat, "stat", On::Handle),
    (libc::SYS_lseek, "seek", On::Handle),
    (libc::SYS_getdents64, "list", On::Handle),
    (libc::SYS_fchmod, "chmod", On::Handle),
    (libc::SYS_fchown, "chown", On::Handle),
    (libc::SYS_flistxattr, "list attributes", On::Handle),
    (libc::SYS_fgetxattr, "read an attribute", On::Handle),
    (libc::SYS_fsetxattr, "set an attribute", On::Handle),
    (libc::SYS_openat, "open", On::Name),
    (libc::SYS_openat2, "open", On::Name),
    (libc::SYS_newfstatat, "stat", On::Name),
    (libc::SYS_statx, "stat", On::Name),
    (libc::SYS_readlinkat, "read the link", On::Name),
    (libc::SYS_mkdirat, "make the folder", On::Name),
    (libc::SYS_unlinkat, "remove", On::Name),
    (libc::SYS_renameat2, "rename", On::Name),
    (libc::SYS_linkat, "link", On::Name),
    (libc::SYS_utimensat, "set the times of", On::Name),
    (libc::SYS_llistxattr, "list attributes", On::Path),
];

/// A call as `/proc/PID/task/TID/syscall` has it, in words; `None` where it is not one on a file or folder.
fn in_words(call: &str) -> Option<String> {
    let mut words = call.split_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let mut argument = || u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok();
    let (_, verb, on) = CALLS.iter().find(|(known, ..)| *known == number)?;
    let path = match on {
        On::Handle => opened(argument()?)?,
        On::Path => text_at(argument()?)?,
        On::Name => {
            let (folder, name) = (argument()?, text_at(argument()?));
            match (opened(folder), name) {
                (Some(folder), Some(name)) => folder.join(name),
                (folder, name) => folder.or(name)?,
            }
        }
    };
    // Pipes and sockets have other names.
    path.is_absolute().then(|| format!("{verb} {} does not return", escaped(path.as_os_str().as_bytes())))
}

/// What a descriptor leads to. The kernel knows that without asking the file system.
fn opened(descriptor: u64) -> Option<PathBuf> {
    let descriptor = u32::try_from(descriptor & u64::from(u32::MAX)).ok()?;
    fs::read_link(Path::new("/proc/self/fd").join(descriptor.to_string())).ok()
}

/// The text at an address of this process, up to its NUL. It is read as a file, so that a wrong address is an error.
fn text_at(address: u64) -> Option<PathBuf> {
    const MOST: usize = 4096;
    let memory = File::open("/proc/self/mem").ok()?;
    let mut bytes = vec![0; MOST];
    let count = memory.read_at(&mut bytes, address).ok()?;
    let text = bytes[..count].split(|&byte| byte == 0).next()?;
    (!text.is_empty()).then(|| PathBuf::from(std::ffi::OsStr::from_bytes(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_call_on_a_file_or_a_name_is_told_with_its_path_and_others_are_not() {
        let folder = File::open("/proc/self").unwrap();
        let handle =
            format!("{} {:#x} 0x0 0x0 0x0 0x0 0x0 0x1 0x2", libc::SYS_getdents64, folder.as_raw_fd());
        let here = format!("/proc/{}", std::process::id());
        assert_eq!(in_words(&handle), Some(format!("list {here} does not return")));
        let name = c"a\nname";
        let open = |name: *const libc::c_char| {
            let address = name.addr();
            format!("{} {:#x} {address:#x} 0x0 0x0 0x0 0x0 0x1 0x2", libc::SYS_openat, folder.as_raw_fd())
        };
        assert_eq!(in_words(&open(name.as_ptr())), Some(format!("open {here}/a\\nname does not return")));
        // An address that is none.
        assert_eq!(
            in_words(&open(std::ptr::without_provenance(8))),
            Some(format!("open {here} does not return"))
        );
        let (reader, _writer) = std::io::pipe().unwrap();
        let pipe = format!("{} {:#x} 0x0 0x0 0x0 0x0 0x0 0x1 0x2", libc::SYS_read, reader.as_raw_fd());
        for other in [pipe.as_str(), "running", "202 0x7f00 0x189 0x0 0x0 0x0 0x0 0x1 0x2", ""] {
            assert_eq!(in_words(other), None, "{other}");
        }
    }
}
