//! stdout for results, stderr for diagnostics. A closed pipe ends neither a run nor the program.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write, stderr, stdout};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::ColorChoice;
use crate::error::ExitCode;
use crate::model::escape::tamed;

static COLOR: OnceLock<ColorChoice> = OnceLock::new();

/// Decides once for the whole program when colours are used.
pub fn choose_color(choice: Option<ColorChoice>) {
    // Set once at the start; a second call would change nothing.
    let _ = COLOR.set(choice.unwrap_or(ColorChoice::Auto));
}

fn colored(terminal: bool) -> bool {
    match COLOR.get() {
        Some(ColorChoice::Always) => true,
        Some(ColorChoice::Never) => false,
        Some(ColorChoice::Auto) | None => terminal && std::env::var_os("NO_COLOR").is_none(),
    }
}

/// Writes a line of results.
pub fn print(line: impl Display) {
    note(writeln!(stdout().lock(), "{line}"));
}

/// Writes results that are text already, as they are.
pub fn print_bytes(text: &[u8]) {
    let mut out = stdout().lock();
    note(out.write_all(text).and_then(|()| out.flush()));
}

static UNWRITTEN: AtomicBool = AtomicBool::new(false);

/// Remembers that results could not be written. A reader that went away has seen enough, and the
/// mirror matters more: that is no failure.
fn note(written: io::Result<()>) {
    if written.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe) {
        UNWRITTEN.store(true, Ordering::Relaxed);
    }
}

/// The exit code of a command whose results are all it is for: a list that was cut is a failure. (A
/// mirror in step is a success, whoever heard of it.)
pub fn settle(code: ExitCode) -> ExitCode {
    if !UNWRITTEN.load(Ordering::Relaxed) {
        return code;
    }
    diagnose("error", "the results could not be written to stdout in full; is its disk full?");
    code.worst(ExitCode::Fatal)
}

/// Many lines of results, buffered.
pub struct Lines(BufWriter<StdoutLock<'static>>);

impl Lines {
    /// None yet.
    pub fn new() -> Self {
        Self(BufWriter::new(stdout().lock()))
    }

    /// Writes one line, of any bytes.
    pub fn line(&mut self, line: &[u8]) {
        note(self.0.write_all(line).and_then(|()| self.0.write_all(b"\n")));
    }

    /// Hands over what is still buffered.
    pub fn finish(mut self) {
        note(self.0.flush());
    }
}

/// Writes a line of diagnostics: `twinfold: LEVEL: MESSAGE`.
pub fn diagnose(level: &str, message: &str) {
    let mut out = stderr().lock();
    let level = if colored(out.is_terminal()) {
        let color = match level {
            "warning" => "33",
            "solved" => "32",
            _ => "31",
        };
        format!("\x1b[1;{color}m{level}\x1b[0m")
    } else {
        level.to_owned()
    };
    let _ = writeln!(out, "twinfold: {level}: {}", tamed(message));
}

/// A result word in the colour of what it means, where stdout shows colours.
pub fn paint(word: &str, good: bool) -> String {
    if colored(stdout().is_terminal()) {
        format!("\x1b[{}m{word}\x1b[0m", if good { "32" } else { "1;31" })
    } else {
        word.to_owned()
    }
}
