//! The daemon's jobs as it keeps them between runs, and what it says of them.

use super::roster::Member;
use super::shell::Turn;
use super::vitals::Stillness;
use crate::clock;
use crate::config::settings::Settings;
use crate::error::ExitCode;
use crate::model::Timestamp;
use crate::schedule::Moment;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// A job as the daemon has it.
pub struct Post {
    /// What it is called.
    pub label: String,
    /// What its next run takes; `None` while it runs.
    pub turn: Option<Box<Turn>>,
    /// Settings that the next run is to have, where they changed while it ran.
    pub settings: Option<Settings>,
    /// It is not to be run any more.
    pub dismissed: bool,
    /// What its last run ended with.
    pub last: Option<ExitCode>,
    /// Counts on as long as its run tells of anything.
    pub pulse: Arc<AtomicU64>,
    /// For how long it has not.
    pub still: Stillness,
}

impl Post {
    /// A job that was there when the daemon started.
    pub fn of(member: Member) -> Self {
        // That a root is away or a lock is not to be had is found out by its first run, which may be later.
        Self::with(Turn { away: None, ..Turn::of(member) })
    }

    /// Any other job.
    pub fn with(turn: Turn) -> Self {
        Self {
            label: turn.settings.label(),
            turn: Some(Box::new(turn)),
            settings: None,
            dismissed: false,
            last: None,
            pulse: Arc::default(),
            still: Stillness::from(Duration::ZERO, 0),
        }
    }
}

/// What the daemon does now, in one line.
pub fn status(
    posts: &[Post],
    upcoming: Option<(&String, Moment)>,
    stopping: bool,
    refused: Option<&str>,
) -> String {
    let running: Vec<&str> =
        posts.iter().filter(|post| post.turn.is_none()).map(|post| post.label.as_str()).collect();
    let mut parts = Vec::new();
    if stopping {
        parts.push("stopping".to_owned());
    }
    if !running.is_empty() {
        parts.push(format!("running {}", running.join(", ")));
    } else if let Some((job, due)) = upcoming {
        let ahead = due.saturating_sub(clock::since_boot());
        let now = clock::now();
        // To the nearest second, or it would be another one at each look.
        let ahead = ahead + Duration::from_nanos(now.nanos.into()) + Duration::from_millis(500);
        let seconds = now.seconds.saturating_add_unsigned(ahead.as_secs());
        parts.push(format!("next is {job} at {}", clock::time_of_day(Timestamp::new(seconds, 0))));
    }
    for post in posts.iter().filter(|post| !post.dismissed) {
        if let Some(code) = post.last.filter(|&code| code != ExitCode::Ok) {
            parts.push(format!("{} ended with {}", post.label, code.number()));
        }
    }
    if let Some(why) = refused {
        parts.push(format!("the new configuration is not used: {why}"));
    }
    parts.join("; ")
}
