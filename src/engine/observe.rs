//! The two walks, each in a thread of its own (and helpers), as streams of entries.

use crate::cancel::Cancel;
use crate::error::Error;
use crate::model::{Entry, Seen, Side};
use crate::store::local::{LocalStore, Look};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::io;
use std::thread::{Builder, Scope};
use std::time::Duration;

/// Entries handed over at a time, at first and then (twice as many each time), and how many such chunks may wait.
const FIRST_CHUNK: usize = 64;
const CHUNK: usize = 1024;
const CHUNKS: usize = 4;

/// What is being done when a walk cannot go on.
const READ_BACK: &str =
    "read back the names of a folder that holds very many from a file in the temporary folder (TMPDIR)";

enum Message {
    Entries(Vec<Entry>),
    /// The walk saw everything. A channel that closes without this was not seen to its end.
    End,
    RootLost(String),
    /// The walk could not go on.
    Failed(io::Error),
}

/// The entries of one tree in path order, as its walker finds them.
pub struct EntryStream<'a> {
    side: Side,
    cancel: &'a Cancel,
    receiver: Receiver<Message>,
    chunk: std::vec::IntoIter<Entry>,
    ended: bool,
}

/// Starts walking `store` with `threads` threads in `scope`; nothing at all where there is no store.
pub fn walk<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    side: Side,
    store: Option<&'env LocalStore>,
    look: Look<'env>,
    threads: usize,
    cancel: &'env Cancel,
) -> Result<EntryStream<'env>, Error> {
    let (sender, receiver) = bounded(CHUNKS);
    match store {
        Some(store) => {
            let walker = Builder::new().name(format!("walk of the {side}"));
            // Not joined: the scope waits for it, and passes its panic on.
            walker
                .spawn_scoped(scope, move || {
                    store.walk(look, threads, cancel, |walk| {
                        if produce(|chunk| walk.next_into(chunk), cancel, &sender) {
                            let end = walk.failure().map_or(Message::End, Message::Failed);
                            let _ = sender.send(end);
                        }
                    });
                })
                .map_err(|error| Error::Threads(error.to_string()))?;
        }
        // The channel has room: it is new.
        None => drop(sender.send(Message::End)),
    }
    Ok(EntryStream { side, cancel, receiver, chunk: Vec::new().into_iter(), ended: false })
}

/// Hands the entries over; returns whether all were. A failed send means that the join has ended already, so the walk
/// may as well.
fn produce(mut walk: impl FnMut(&mut Vec<Entry>) -> bool, cancel: &Cancel, sender: &Sender<Message>) -> bool {
    let mut chunk = Vec::new();
    walk(&mut chunk);
    let Some(root) = chunk.first() else {
        let _ = sender.send(Message::RootLost("it is gone".to_owned()));
        return false;
    };
    let lost = match &root.seen {
        Seen::Present(_) | Seen::Foreign(_) | Seen::Excluded => None,
        Seen::Unlisted(_, cause) | Seen::Unreadable(cause) => Some(cause.clone()),
        // A root is no file.
        Seen::Vanished | Seen::Listed => Some("it is gone".to_owned()),
    };
    if let Some(cause) = lost {
        let _ = sender.send(Message::RootLost(cause));
        return false;
    }
    let mut length = FIRST_CHUNK;
    while walk(&mut chunk) {
        if chunk.len() >= length {
            length = CHUNK.min(2 * length);
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(length + length / 2));
            if sender.send(Message::Entries(full)).is_err() {
                return false;
            }
        }
    }
    !cancel.requested() && sender.send(Message::Entries(chunk)).is_ok()
}

/// After a request to stop, a walk that does not answer for so long hangs in a file system that does not.
const GRACE: Duration = Duration::from_secs(1);

impl EntryStream<'_> {
    /// Waits for a message; an error where the walk has ended, or hangs and somebody asked to stop.
    fn receive(&self) -> Result<Message, RecvTimeoutError> {
        loop {
            match self.receiver.recv_timeout(GRACE) {
                Err(RecvTimeoutError::Timeout) if !self.cancel.requested() => {}
                result => return result,
            }
        }
    }
}

impl Iterator for EntryStream<'_> {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.chunk.next() {
                return Some(Ok(entry));
            }
            if self.ended {
                return None;
            }
            match self.receive() {
                Ok(Message::Entries(entries)) => self.chunk = entries.into_iter(),
                Ok(Message::End) => self.ended = true,
                Ok(Message::RootLost(cause)) => {
                    self.ended = true;
                    return Some(Err(Error::RootUnlisted { side: self.side, cause }));
                }
                Ok(Message::Failed(error)) => {
                    self.ended = true;
                    return Some(Err(Error::System { action: READ_BACK, error }));
                }
                Err(_) => {
                    self.ended = true;
                    let error = if self.cancel.requested() {
                        Error::Interrupted
                    } else {
                        Error::WalkBroken(self.side)
                    };
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EntryPath;
    use crate::plan::join::Join;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    fn root() -> Entry {
        let here = std::fs::File::open(".").unwrap();
        let stat = crate::store::stat_of(&here).unwrap();
        Entry { path: EntryPath::root(), seen: Seen::Present(stat) }
    }

    fn stream(receiver: Receiver<Message>, side: Side, cancel: &Cancel) -> EntryStream<'_> {
        EntryStream { side, cancel, receiver, chunk: Vec::new().into_iter(), ended: false }
    }

    #[test]
    fn a_walker_that_panics_breaks_the_walk_off_and_its_panic_comes_out() {
        let (told, hear) = channel();
        std::thread::spawn(move || {
            let cancel = &Cancel::new();
            let mut ends = Vec::new();
            let result = catch_unwind(AssertUnwindSafe(|| {
                std::thread::scope(|scope| {
                    let (ours, source) = bounded(CHUNKS);
                    let (theirs, replica) = bounded(CHUNKS);
                    // The source's walker goes on for ever, the replica's panics after its first chunk.
                    let endless = |chunk: &mut Vec<Entry>| {
                        chunk.push(root());
                        true
                    };
                    let mut numbers = 0..CHUNK;
                    let breaking = move |chunk: &mut Vec<Entry>| {
                        assert!(numbers.next().is_some(), "the walker was told to panic");
                        chunk.push(root());
                        true
                    };
                    scope.spawn(move || produce(endless, cancel, &ours));
                    scope.spawn(move || produce(breaking, cancel, &theirs));
                    let rows = std::iter::empty::<Result<crate::model::Record, Error>>();
                    let source = stream(source, Side::Source, cancel).take(1);
                    let join = Join::new(
                        source,
                        stream(replica, Side::Replica, cancel).skip_while(Result::is_ok),
                        rows,
                    );
                    match join {
                        Ok(join) => ends.extend(join.filter_map(Result::err)),
                        Err(end) => ends.push(end),
                    }
                });
            }));
            told.send((result.is_err(), ends)).unwrap();
        });
        let (panicked, ends) = hear.recv_timeout(Duration::from_secs(20)).expect("it hangs");
        assert!(panicked, "the panic was lost");
        assert!(matches!(ends[..], [Error::WalkBroken(Side::Replica), ..]), "{ends:?}");
    }
}
