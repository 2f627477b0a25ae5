//! What is wrong with the text of a config file, in words for whoever wrote it.

/// toml's own message with the line in front and, for an unknown key, the nearest known one.
pub(super) fn explain(error: &toml::de::Error, text: &str) -> String {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text[..at].matches('\n').count() + 1;
    let message = error.message();
    let mut quoted = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field")
        && let Some(key) = quoted.next()
    {
        let known: Vec<&str> = quoted.collect();
        let distance = |name: &&&str| strsim::damerau_levenshtein(key, name);
        return match known.iter().min_by_key(distance) {
            Some(near) => format!("line {line}: unknown key `{key}`; did you mean `{near}`?"),
            None => format!("line {line}: unknown key `{key}`"),
        };
    }
    let key = text.lines().nth(line - 1).and_then(|text| text.split_once('=')).map(|(key, _)| key.trim());
    let plain = in_plain_words(message);
    let is_type = plain != message;
    match key.filter(|key| is_type && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')) {
        Some(key) => format!("line {line}: {key}: {plain}"),
        None => format!("line {line}: {plain}"),
    }
}

/// A message about a type, in words that need no knowledge of the program's own types.
fn in_plain_words(message: &str) -> String {
    if message == "invalid type: map, expected a sequence" {
        return "this table is a list of tables: write [[job]] with two brackets on each side".to_owned();
    }
    let words = [
        ("expected a sequence", "expected a list like [\"...\"]"),
        ("expected u64", "expected a whole number from 0 up, without quotes"),
        ("expected u32", "expected a whole number from 0 up, without quotes"),
        ("expected i32", "expected a whole number, without quotes"),
        ("expected a boolean", "expected true or false, without quotes"),
    ];
    let ending = words.iter().find_map(|(theirs, ours)| Some((message.strip_suffix(theirs)?, ours)));
    ending.map_or_else(|| message.to_owned(), |(before, ours)| format!("{before}{ours}"))
}

#[cfg(test)]
mod tests {
    use crate::config::file::ConfigFile;

    #[test]
    fn messages_about_types_name_the_key_and_no_type_of_the_program() {
        for (text, expected) in [
            (
                "max_workers = \"4\"",
                "line 1: max_workers: invalid type: string \"4\", expected a whole number from 0 up",
            ),
            ("max_workers = -1", "line 1: max_workers: "),
            (
                "exclude = \"*.tmp\"",
                "line 1: exclude: invalid type: string \"*.tmp\", expected a list like [\"...\"]",
            ),
            ("[job]\nname = \"a\"", "line 1: this table is a list of tables: write [[job]]"),
            (
                "ignore_ctime = \"yes\"",
                "line 1: ignore_ctime: invalid type: string \"yes\", expected true or false",
            ),
            ("\n[trash]\nkeep = \"30\"", "line 3: `30` has no unit; write \"30d\""),
            ("[trash]\nkeep = 30", "line 2: `30` has no unit; write \"30d\""),
            ("verify = 5", "line 1: `5` has no unit; write \"5%\""),
            ("hook_timeout = \"10\"", "line 1: `10` has no unit"),
            ("jitter = 30", "line 1: `30` has no unit"),
            ("max_size = 100", "line 1: `100` has no unit; write \"100GiB\""),
            ("bandwidth_limit = \"10\"", "line 1: `10` has no unit"),
            ("[log]\nmax_size = 10", "line 2: `10` has no unit"),
        ] {
            let error = ConfigFile::parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
            assert!(!error.contains("u64"), "{error}");
        }
        ConfigFile::parse(
            "interval = 60\nhashing_file_chunk_size = 4096\njitter = 0\nmin_size = 0\nverify = 0",
        )
        .unwrap();
        ConfigFile::parse("interval = \"1h30m\"\nhook_timeout = \"5 minutes\"\n[trash]\nkeep = 0").unwrap();
    }
}
