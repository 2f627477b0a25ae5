//! Names that go are forgotten when the disk has forgotten them.

use crate::model::operation::End;
use crate::model::{Done, EntryPath, Problem, Verb};
use crate::store::{Fault, Store, Writes};
use std::time::Duration;

/// What a batch of deletes or renames comes to before its rows are changed.
///
/// A delete that a power cut undoes brings back an entry; if its row is gone by then, nobody knows any more
/// that it came from the source and was let go, and the guards would hold it. So rows are forgotten when
/// the disk has forgotten the entries.
pub(super) struct Durable<'r, R: Store> {
    replica: &'r R,
    wanted: bool,
    writes: Option<Result<R::Writes, Fault>>,
    /// Names went since `writes` began.
    due: bool,
    /// It failed once: no rows are forgotten any more, and that is said once.
    failed: bool,
}

impl<'r, R: Store> Durable<'r, R> {
    /// Where it is not `wanted`, nothing waits for the disk.
    pub(super) fn new(replica: &'r R, wanted: bool) -> Self {
        Self { replica, wanted, writes: None, due: false, failed: false }
    }

    /// The same after others of which `failed` tells whether the disk took them.
    pub(super) fn after(self, failed: bool) -> Self {
        Self { failed, ..self }
    }

    /// Whether the disk did not take what was to be forgotten.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Must come before a name that has a row goes.
    pub(super) fn expect(&mut self) {
        if self.wanted && !self.failed {
            self.writes.get_or_insert_with(|| self.replica.begin_writes());
            self.due = true;
        }
    }

    /// Makes durable what `dones` tell of, for operations of `verb`; where that fails, their rows stay for the
    /// next run to see.
    pub(super) fn settle(&mut self, verb: Verb, dones: &mut Vec<Done>) {
        let writes = self.writes.take().filter(|_| std::mem::take(&mut self.due));
        let mut problem = None;
        if let Some(Err(fault)) = writes.map(|writes| writes.and_then(Writes::make_durable)) {
            self.failed = true;
            problem = Some(Problem::replica(&EntryPath::root(), fault.action, &fault.error));
        }
        if self.failed {
            for done in dones.iter_mut() {
                if let End::Made(change) = &mut done.end {
                    *change = None;
                }
            }
        }
        dones.extend(problem.map(|problem| Done {
            path: EntryPath::root(),
            verb,
            from: None,
            end: End::Failed(problem),
            bytes: 0,
            digest: None,
            took: Duration::ZERO,
            losses: Vec::new(),
            silent: false,
        }));
    }
}
