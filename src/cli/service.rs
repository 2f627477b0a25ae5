//! The talk with the service manager (`sd_notify`(3)): the crate knows the words, this sends them. Where nobody
//! listens, nothing is sent.

use crate::model::escape::tamed;
use sd_notify::NotifyState;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Service {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    last_status: String,
}

/// A longer status is cut: systemd shows one line.
const MOST_STATUS: usize = 400;

impl Service {
    /// As the environment says: `NOTIFY_SOCKET` (a path, or a name after `@` in the abstract space) and
    /// `WATCHDOG_USEC`. Returns why nothing can be sent where something is named, for a warning.
    pub fn from_environment() -> (Self, Option<String>) {
        let named = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let (socket, trouble) = match named.as_deref().map(connect).transpose() {
            Ok(socket) => (socket, None),
            Err(error) => {
                (None, Some(format!("the service manager at NOTIFY_SOCKET cannot be told: {error}")))
            }
        };
        let watchdog = sd_notify::watchdog_enabled().filter(|limit| socket.is_some() && !limit.is_zero());
        (Self { socket, watchdog, last_status: String::new() }, trouble)
    }

    /// After how long without a ping the service manager ends this process; `None`: never.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// It has begun its work, or has read its config again.
    pub fn ready(&self) {
        self.send(&[NotifyState::Ready]);
    }

    /// It reads its config again.
    pub fn reloading(&self) {
        let words = [Some(NotifyState::Reloading), NotifyState::monotonic_usec_now().ok()];
        self.send(&words.into_iter().flatten().collect::<Vec<_>>());
    }

    /// It is about to end.
    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// It is alive.
    pub fn ping(&self) {
        self.send(&[NotifyState::Watchdog]);
    }

    /// What it does now, in one line; sent where it is news.
    pub fn status(&mut self, text: &str) {
        let mut text = tamed(text).into_owned();
        if let Some((end, _)) = text.char_indices().nth(MOST_STATUS) {
            text.truncate(end);
        }
        if text != self.last_status {
            self.send(&[NotifyState::Status(&text)]);
            self.last_status = text;
        }
    }

    fn send(&self, words: &[NotifyState<'_>]) {
        if let Some(socket) = &self.socket {
            let lines: Vec<String> = words.iter().map(ToString::to_string).collect();
            // A manager that does not take it will see by the watchdog that something is wrong.
            let _ = socket.send(lines.join("\n").as_bytes());
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(Path::new(name))?,
    }
    // A manager that hangs must not make us hang.
    socket.set_nonblocking(true)?;
    Ok(socket)
}
