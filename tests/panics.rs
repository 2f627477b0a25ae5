//! A panic in the thread that leads a run, while walkers and workers are busy: it comes out, nobody
//! hangs, and the manifest is not ahead of the truth. (Panics of workers and walkers are tested where
//! those are made, for they know of no monitor.)

#![expect(clippy::unwrap_used, reason = "what cannot be prepared fails the test")]

mod common;

use common::tree::{Tree, write};
use common::versions::{Allowed, plant};
use common::{Mirror, claims, settle};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;
use twinfold::cancel::Cancel;
use twinfold::config::settings::{self, ConfigFile, Overrides};
use twinfold::engine::job::Job;
use twinfold::engine::run;
use twinfold::model::Done;
use twinfold::monitor::{Amount, Monitor, Phase};

/// When the monitor panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Begun,
    Phase(Phase),
    Advance,
    Done(u32),
}

/// Panics at one moment, in the thread that leads the run.
struct Panicking {
    when: When,
    batches: Cell<u32>,
}

impl Panicking {
    fn reach(&self, now: When) {
        assert!(self.when != now, "the monitor was told to panic");
    }
}

impl Monitor for Panicking {
    fn begun(&self, _run: i64) {
        self.reach(When::Begun);
    }
    fn phase(&self, phase: Phase, _total: Option<Amount>) {
        self.reach(When::Phase(phase));
    }
    fn advance(&self, _by: Amount) {
        self.reach(When::Advance);
    }
    fn done(&self, _batch: &[Done]) {
        self.batches.set(self.batches.get() + 1);
        self.reach(When::Done(self.batches.get()));
    }
}

/// Runs with that monitor; `true`: it panicked. Fails where it hangs.
fn panics(mirror: &Mirror, when: When) -> bool {
    let overrides = Overrides {
        source: Some(mirror.source.clone()),
        replica: Some(mirror.replica.clone()),
        // As the program names it, so that the next run of that finds it.
        manifest: Some(manifest(&mirror.state)),
        max_workers: Some(3),
        ..Overrides::default()
    };
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(|| {
            let settings = settings::jobs(&overrides, &ConfigFile::default()).unwrap().remove(0);
            let job = Job::prepare(settings).unwrap();
            let lock = job.lock().unwrap();
            let monitor = Panicking { when, batches: Cell::new(0) };
            run::sync(&job, &lock, &Cancel::new(), &monitor).unwrap();
        }));
        sender.send(result.is_err()).unwrap();
    });
    receiver.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| panic!("{when:?}: it hangs"))
}

fn manifest(state: &Path) -> std::path::PathBuf {
    state.join("job.db")
}

/// Brings the mirror into step with the program itself, on the same manifest.
fn put_right(mirror: &Mirror) {
    let manifest = manifest(&mirror.state);
    mirror.run(&["--manifest", manifest.to_str().unwrap(), "--max-delete", "off"]).expect(0);
    mirror.assert_in_step();
}

#[test]
fn a_panic_while_the_walkers_wait_for_a_listener_hangs_nobody() {
    let mirror = Mirror::new();
    // More than the walkers may be ahead: they are waiting when nobody listens any more.
    for number in 0..7000 {
        write(mirror.in_source(format!("many/{number:04}")), "");
    }
    for when in [When::Begun, When::Phase(Phase::Scan), When::Advance, When::Done(2)] {
        assert!(panics(&mirror, when), "{when:?}: nothing panicked");
        claims::check(&mirror, &format!("a panic at {when:?}"));
    }
    put_right(&mirror);
}

#[test]
fn a_panic_at_any_moment_of_a_run_comes_out_and_the_next_run_is_right() {
    let mirror = Mirror::new();
    plant(&mirror.source, 1);
    put_right(&mirror);
    let mut old = Tree::of(&mirror.source);
    let moments = [
        When::Phase(Phase::Compare),
        When::Phase(Phase::Copy),
        When::Done(1),
        When::Phase(Phase::Delete),
        When::Done(2),
        When::Done(3),
        When::Phase(Phase::Folders),
    ];
    for (version, when) in (2..).zip(moments) {
        plant(&mirror.source, version);
        settle();
        let new = Tree::of(&mirror.source);
        assert!(panics(&mirror, when), "{when:?}: nothing panicked");
        let what = format!("a panic at {when:?}");
        Allowed::between(&old, &new).check(&mirror.replica, &what);
        claims::check(&mirror, &what);
        put_right(&mirror);
        old = new;
    }
}
