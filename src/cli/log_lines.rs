//! Lines of the log as they are written, and telling them from those of other programs.

use crate::clock;
use crate::config::file::LogFormat;
use crate::model::escape::tamed;
use log::Record;
use log4rs::encode::{Encode, Write};
use serde_json::{Map, Value, json};

/// Records of this target hold one or more lines that are events already: in the JSON format each
/// is a JSON object, to which time and level are added. One record is one write.
pub const EVENTS: &str = "twinfold::events";

/// Our own encoder: names are escaped before they come here, so a line break separates events.
#[derive(Debug)]
pub(super) struct Lines {
    /// How they are written.
    pub format: LogFormat,
}

impl Encode for Lines {
    fn encode(&self, out: &mut dyn Write, record: &Record<'_>) -> anyhow::Result<()> {
        let time = clock::now();
        let message = record.args().to_string();
        let text = match self.format {
            LogFormat::Text => text_lines(&clock::readable_millis(time), record, &message),
            LogFormat::Json => json_lines(&clock::rfc3339(time), record, &message),
        };
        Ok(out.write_all(text.as_bytes())?)
    }
}

/// The levels as they stand in a line of text.
const LEVELS: [(log::Level, &str); 5] = [
    (log::Level::Error, " ERROR "),
    (log::Level::Warn, " WARN  "),
    (log::Level::Info, " INFO  "),
    (log::Level::Debug, " DEBUG "),
    (log::Level::Trace, " TRACE "),
];

fn text_lines(time: &str, record: &Record<'_>, message: &str) -> String {
    let mut text = String::with_capacity(message.len() + 64);
    let events = record.target() == EVENTS;
    for line in message.split(|c| events && c == '\n') {
        text.push_str(time);
        text.push_str(
            LEVELS.iter().find(|(level, _)| *level == record.level()).map_or(" ", |(_, word)| word),
        );
        text.push_str(&tamed(line));
        text.push('\n');
    }
    text
}

fn json_lines(time: &str, record: &Record<'_>, message: &str) -> String {
    let mut text = String::with_capacity(message.len() + 64);
    let level = record.level().as_str().to_lowercase();
    for line in message.split('\n') {
        let fields = (record.target() == EVENTS).then(|| serde_json::from_str(line).ok()).flatten();
        // What is of no job in particular has the fields that every event has, too.
        let plain = || {
            let fields = [
                ("event", json!("message")),
                ("job", json!(null)),
                ("run", json!(null)),
                ("message", json!(line)),
            ];
            fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
        };
        let mut object: Map<String, Value> = fields.unwrap_or_else(plain);
        object.insert("time".to_owned(), json!(time));
        object.insert("level".to_owned(), json!(level));
        text.push_str(&Value::Object(object).to_string());
        text.push('\n');
    }
    text
}

/// The bytes of a file that [`is_ours`] has to see: more than the longest line of an event, which has two paths.
pub(super) const BEGINNING: u64 = 64 << 10;

/// Returns true if a file that begins like this can be a log of twinfold, in either format. An empty one can.
///
/// One of the first two lines has to be one that we write: a full disk or a power cut may have left the first one torn, and
/// zeros before it.
pub(super) fn is_ours(beginning: &[u8]) -> bool {
    let zeros = beginning.iter().take_while(|&&byte| byte == 0).count();
    let rest = &beginning[zeros..];
    if rest.is_empty() {
        return true;
    }
    let whole: Vec<&[u8]> = rest.split_inclusive(|&byte| byte == b'\n').take(2).collect();
    if whole.iter().any(|line| line.ends_with(b"\n") && is_line(line)) {
        return true;
    }
    matches!(whole[..], [line] if !line.ends_with(b"\n") && is_torn_line(line))
}

fn is_line(line: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(line) else { return false };
    if text.starts_with('{') {
        let is_text = |object: &Value, name| object.get(name).is_some_and(Value::is_string);
        let parsed: Option<Value> = serde_json::from_str(text).ok();
        return parsed
            .is_some_and(|object| ["event", "level", "time"].iter().all(|name| is_text(&object, name)));
    }
    LEVELS.iter().any(|(_, word)| text.find(word).is_some_and(|at| is_time(&text.as_bytes()[..at])))
}

/// What a time looks like at the beginning of a line; 0 stands for any digit, + for a sign.
const TIME: &[u8] = b"0000-00-00T00:00:00.000+00:00";

fn is_time(text: &[u8]) -> bool {
    text.len() == TIME.len() && begins_like_time(text)
}

fn begins_like_time(text: &[u8]) -> bool {
    text.iter().zip(TIME).all(|(found, expected)| match expected {
        b'0' => found.is_ascii_digit(),
        b'+' => b"+-".contains(found),
        _ => found == expected,
    })
}

/// The first and only line, of which the end is missing.
fn is_torn_line(line: &[u8]) -> bool {
    /// A year and the dash after it: less shows nothing.
    const LEAST: usize = 5;
    let is_part = || (line.len() as u64) < BEGINNING && serde_json::from_slice::<Value>(line).is_err();
    line.len() >= LEAST && (begins_like_time(line) || (line.starts_with(b"{\"") && is_part()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_we_write_are_known_again_and_no_others() {
        let record = |target: &'static str| {
            Record::builder().level(log::Level::Warn).target(target).args(format_args!("x")).build()
        };
        let text = text_lines(&clock::readable_millis(clock::now()), &record("a"), "told");
        let json = json_lines(
            &clock::rfc3339(clock::now()),
            &record(EVENTS),
            "{\"event\":\"summary\",\"job\":null}",
        );
        let plain = json_lines(&clock::rfc3339(clock::now()), &record("a"), "told");
        for line in [&text, &json, &plain] {
            assert!(is_ours(line.as_bytes()), "{line}");
            assert!(is_ours(format!("torn{line}{line}").as_bytes()), "{line}");
            assert!(is_ours(&[&[0; 512], line.as_bytes()].concat()), "{line}");
            assert!(!is_ours(format!("a note\nanother\n{line}").as_bytes()), "{line}");
        }
        for torn in [&text[..5], &text[..20], "{\"event\":\"oper"] {
            assert!(is_ours(torn.as_bytes()), "{torn}");
        }
        assert!(is_ours(b"") && is_ours(&[0; 100]));
        for other in [
            "precious notes\n",
            "2026-12-01 is a date\n",
            "2026\n",
            "[[job]]\n",
            "root:x:0:0:root:/root:/bin/bash\n",
            "2026-12-01T02:13:37.000+00:00 a message without a level\n",
            "Dec  1 02:13:37 host app[1]: INFO  message\n",
            "{\"event\": 1}\n",
            "{}\n",
            "{\"a\":1}",
            "\u{0}x",
        ] {
            assert!(!is_ours(other.as_bytes()), "{other}");
        }
        assert!(!is_ours(b"\xff\xfe"));
    }
}
