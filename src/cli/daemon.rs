//! The daemon: one loop that starts runs in threads of their own when the schedule says so, and takes what
//! signals and ended runs bring. The loop itself touches no root, so that nothing but its own end keeps it
//! from turning over.

use super::args::JobOptions;
use super::posts::{self, Post};
use super::reload::{LogPlace, Reloaded, reload};
use super::roster::Member;
use super::service::Service;
use super::shell::{Shell, Turn};
use super::sync::{self, Request};
use super::vitals::{self, Stillness, Vitals};
use super::{after, farewell};
use crate::allocator;
use crate::cancel::Cancel;
use crate::clock;
use crate::config::settings::Settings;
use crate::error::{Error, ExitCode};
use crate::orphans;
use crate::priority::{self, Inherited};
use crate::schedule::{Moment, Schedule, Timing};
use crate::signals::{self, Asked};
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

/// Something the loop has to take notice of.
enum Event {
    Asked(Asked),
    Ended { job: String, turn: Box<Turn>, code: ExitCode },
    Reloaded(Box<Reloaded>),
}

/// The way by which events come.
pub struct Calls {
    sender: Sender<Event>,
    receiver: Receiver<Event>,
}

impl Calls {
    /// Listens for signals from here on. A second request to stop ends the program with 0 at once.
    pub fn listen(cancel: &Arc<Cancel>) -> io::Result<Self> {
        let (sender, receiver) = unbounded();
        let tell = sender.clone();
        signals::listen_as_daemon(Arc::clone(cancel), farewell::ending(ExitCode::Ok), move |asked| {
            // Nobody listens any more when the daemon has ended.
            let _ = tell.send(Event::Asked(asked));
        })?;
        Ok(Self { sender, receiver })
    }
}

/// Timers stand still while the machine sleeps. The loop looks at the clock so often, and so finds what was
/// missed soon after it wakes.
const LOOK: Duration = Duration::from_secs(5);

struct Daemon {
    given: JobOptions,
    shell: Arc<Shell>,
    place: LogPlace,
    inherited: Inherited,
    cancel: Arc<Cancel>,
    calls: Calls,
    schedule: Schedule<String>,
    posts: Vec<Post>,
    service: Service,
    vitals: Vitals,
    pinged: Moment,
    reloading: Reloading,
    /// It has said that it is about to end.
    stopping: bool,
    /// Why the config on the disk is not the one in force.
    refused: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Reloading {
    No,
    Yes,
    /// Somebody asked again meanwhile.
    Again,
}

/// Runs the jobs until somebody asks to stop. `given` are the options as they stood on the command line.
pub fn run(
    given: JobOptions,
    request: &Request,
    members: Vec<Member>,
    cancel: Arc<Cancel>,
    calls: Calls,
) -> Result<ExitCode, Error> {
    let (members, place) = sync::ready(request, members)?;
    let (service, trouble) = Service::from_environment();
    let now = clock::since_boot();
    let mut daemon = Daemon {
        given,
        shell: Arc::new(request.shell(&cancel, true)),
        place,
        inherited: Inherited::look(),
        cancel,
        calls,
        schedule: Schedule::new(request.daemon.max_parallel_jobs),
        posts: Vec::new(),
        service,
        vitals: Vitals::default(),
        pinged: now,
        reloading: Reloading::No,
        stopping: false,
        refused: None,
    };
    if let Some(trouble) = trouble {
        daemon.warn(&trouble);
    }
    daemon.set_priority(request);
    daemon.schedule.set(timings(request), request.daemon.max_parallel_jobs, now);
    daemon.posts = members.into_iter().map(Post::of).collect();
    log::info!("daemon started, pid {}: {}", std::process::id(), daemon.labels());
    daemon.service.ready();
    daemon.turn_over();
    log::info!("daemon stopped");
    Ok(ExitCode::Ok)
}

fn timings(request: &Request) -> Vec<Timing<String>> {
    let timing = |settings: &Settings| Timing {
        key: settings.label(),
        interval: settings.interval,
        jitter: settings.jitter,
    };
    request.jobs.iter().map(timing).collect()
}

impl Daemon {
    fn turn_over(&mut self) {
        loop {
            if self.cancel.requested() {
                self.say_stopping();
                if self.schedule.running() == 0 {
                    return;
                }
            } else {
                while let Some(job) = self.schedule.start(clock::since_boot()) {
                    self.start(&job);
                }
            }
            if orphans::inherits() {
                orphans::reap();
            }
            self.look_for_stalled();
            self.tell_status();
            self.ping();
            if let Ok(event) = self.calls.receiver.recv_timeout(self.pause()) {
                self.take(event);
            }
        }
    }

    /// For how long nothing is to be done, unless something comes.
    fn pause(&self) -> Duration {
        let now = clock::since_boot();
        let next = if self.cancel.requested() { None } else { self.schedule.next(now) };
        let run = next.map_or(LOOK, |next| next.saturating_sub(now));
        let ping = self.service.watchdog().map_or(LOOK, |limit| limit / 4);
        run.min(ping).min(LOOK)
    }

    fn say_stopping(&mut self) {
        if !std::mem::replace(&mut self.stopping, true) {
            log::info!("told to stop");
            self.service.stopping();
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            // The next turn sees that.
            Event::Asked(Asked::Stop) => {}
            Event::Asked(Asked::RunNow) => {
                log::info!("told to run all jobs now");
                self.schedule.ask_for_all();
            }
            Event::Asked(Asked::Reload) if self.reloading == Reloading::No => self.begin_reload(),
            Event::Asked(Asked::Reload) => self.reloading = Reloading::Again,
            Event::Ended { job, turn, code } => self.ended(&job, turn, code),
            Event::Reloaded(reloaded) => self.reloaded(*reloaded),
        }
    }

    fn start(&mut self, job: &str) {
        let Some(post) = self.posts.iter_mut().find(|post| post.label == job) else { return };
        let Some(mut turn) = post.turn.take() else { return };
        post.still = Stillness::from(clock::since_boot(), post.pulse.load(Ordering::Relaxed));
        let (shell, pulse, sender) =
            (Arc::clone(&self.shell), Arc::clone(&post.pulse), self.calls.sender.clone());
        let (name, settings) = (job.to_owned(), turn.settings.clone());
        let started = thread::Builder::new().name(vitals::LEADER.to_owned()).spawn(move || {
            let job = name;
            let code = shell.take(&mut turn, &pulse);
            // What is there when the daemon starts is accepted; what comes later is not.
            turn.accept_root = false;
            allocator::give_all_back();
            // Nobody listens any more when the daemon has ended.
            let _ = sender.send(Event::Ended { job, turn, code });
        });
        if let Err(error) = started {
            // The lock went with the thread that could not be; the next run takes it anew.
            let error = Error::Threads(error.to_string());
            self.warn(&format!("{job}: {error}"));
            self.ended(job, Box::new(Turn::fresh(settings)), error.exit_code());
        }
    }

    fn ended(&mut self, job: &str, turn: Box<Turn>, code: ExitCode) {
        self.schedule.ended(&job.to_owned(), clock::since_boot(), chance());
        if let Some(post) = self.posts.iter_mut().find(|post| post.label == job) {
            post.last = Some(code);
            let mut turn = turn;
            if let Some(settings) = post.settings.take() {
                turn.settings = settings;
            }
            post.turn = Some(turn);
        }
        // With it goes its lock.
        self.posts.retain(|post| !post.dismissed || post.turn.is_none());
    }

    fn begin_reload(&mut self) {
        self.service.reloading();
        self.reloading = Reloading::Yes;
        let (given, place, sender) = (self.given.clone(), self.place.clone(), self.calls.sender.clone());
        let started = thread::Builder::new().name("reload".to_owned()).spawn(move || {
            let _ = sender.send(Event::Reloaded(Box::new(reload(given, place))));
        });
        if let Err(error) = started {
            self.reloading = Reloading::No;
            self.refuse(&Error::Threads(error.to_string()));
        }
    }

    fn reloaded(&mut self, reloaded: Reloaded) {
        let Reloaded { request, place, log_trouble } = reloaded;
        self.place = place;
        if let Some(error) = log_trouble {
            self.warn(&format!("the log is not opened anew: {error}"));
        }
        match request {
            Ok(request) => self.adopt(&request),
            Err(error) => self.refuse(&error),
        }
        self.service.ready();
        if std::mem::replace(&mut self.reloading, Reloading::No) == Reloading::Again {
            self.begin_reload();
        }
    }

    fn refuse(&mut self, error: &Error) {
        self.warn(&format!("the new configuration is not used, the old one stays in force: {error}"));
        self.refused = Some(error.to_string());
    }

    /// Goes by another config from here on. Runs that go on end under the old one.
    fn adopt(&mut self, request: &Request) {
        self.refused = None;
        after::check(&request.jobs, |warning| self.warn(warning));
        self.shell = Arc::new(request.shell(&self.cancel, true));
        self.set_priority(request);
        for post in &mut self.posts {
            post.dismissed = true;
        }
        for settings in &request.jobs {
            let label = settings.label();
            match self.posts.iter_mut().find(|post| post.label == label) {
                Some(post) => {
                    post.dismissed = false;
                    match &mut post.turn {
                        Some(turn) => turn.settings = settings.clone(),
                        None => post.settings = Some(settings.clone()),
                    }
                }
                None => self.posts.push(Post::with(Turn::fresh(settings.clone()))),
            }
        }
        self.posts.retain(|post| !post.dismissed || post.turn.is_none());
        self.schedule.set(timings(request), request.daemon.max_parallel_jobs, clock::since_boot());
        log::info!("the configuration was read again: {}", self.labels());
    }

    fn set_priority(&self, request: &Request) {
        for refused in priority::apply(&request.daemon, &self.inherited) {
            self.warn(&refused);
        }
    }

    fn labels(&self) -> String {
        let labels: Vec<&str> =
            self.posts.iter().filter(|post| !post.dismissed).map(|post| post.label.as_str()).collect();
        labels.join(", ")
    }

    fn warn(&self, message: &str) {
        sync::warn(&self.shell.options, message);
    }

    /// Says to the service manager that all is well, where it is: each time after a quarter to a half of
    /// the time after which it would end this process.
    fn ping(&mut self) {
        let Some(limit) = self.service.watchdog() else { return };
        let now = clock::since_boot();
        if now.saturating_sub(self.pinged) < limit / 4 {
            return;
        }
        let beats = self.posts.iter().map(|post| post.pulse.load(Ordering::Relaxed)).sum();
        if self.vitals.alive(now, self.schedule.running(), beats, vitals::threads) {
            self.service.ping();
            self.pinged = now;
        }
    }

    fn tell_status(&mut self) {
        let text = posts::status(
            &self.posts,
            self.schedule.upcoming(),
            self.cancel.requested(),
            self.refused.as_deref(),
        );
        self.service.status(&text);
    }

    /// Has others not wait for runs of which nothing is heard.
    fn look_for_stalled(&mut self) {
        let now = clock::since_boot();
        let mut news = Vec::new();
        for post in self.posts.iter_mut().filter(|post| post.turn.is_none()) {
            if let Some(stalled) = post.still.look(now, post.pulse.load(Ordering::Relaxed)) {
                self.schedule.set_stalled(&post.label, stalled);
                news.push((post.label.clone(), stalled));
            }
        }
        for (job, stalled) in news {
            if stalled {
                self.warn(&format!(
                    "{job}: nothing has been heard of its run for ten minutes (does a file system not answer?); other jobs do \
                     not wait for it any more"
                ));
            } else {
                log::info!("{job}: its run goes on");
            }
        }
    }
}

/// Where in its jitter a run begins.
fn chance() -> u32 {
    let mut bytes = [0; 4];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(4) => u32::from_ne_bytes(bytes),
        // Without chance, the middle.
        _ => u32::MAX / 2,
    }
}
