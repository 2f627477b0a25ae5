//! Programs that go on writing to a file while it is mirrored.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

/// A thread that does something again and again until it is stopped.
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Does `step` until it is stopped.
    pub fn going_on(mut step: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                step();
            }
        });
        Self { stop, thread: Some(thread) }
    }

    /// Adds a line to a file every millisecond or so.
    pub fn appending(path: &Path) -> Self {
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        let mut number = 0_u64;
        Self::going_on(move || {
            writeln!(file, "line {number}").unwrap();
            number += 1;
            sleep(Duration::from_millis(1));
        })
    }

    /// Goes over a file of `size` bytes again and again, in place, one block of 4 KiB after the other: each begins with
    /// the number of the pass. The first pass is over when this returns.
    pub fn rewriting(path: &Path, size: u64) -> Self {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
        let blocks = size / 4096;
        let write = move |step: u64| {
            let (pass, block) = (step / blocks + 1, step % blocks);
            let content: Vec<u8> = pass.to_le_bytes().repeat(512);
            file.write_all_at(&content, block * 4096).unwrap();
        };
        for step in 0..blocks {
            write(step);
        }
        let mut step = blocks;
        Self::going_on(move || {
            write(step);
            step += 1;
            if step.is_multiple_of(64) {
                sleep(Duration::from_micros(200));
            }
        })
    }

    /// Ends it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the writer failed");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}
