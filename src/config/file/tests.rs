//! The config file as text: what is taken, and how what is wrong is said.

use super::*;

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_key() {
    let error = ConfigFile::parse("max_workers = 2\nintervall = \"5s\"\n").unwrap_err();
    assert_eq!(error, "line 2: unknown key `intervall`; did you mean `interval`?");
    let error = ConfigFile::parse("[log]\nfile = \"x\"\n[[job]]\nsorce = \"a\"\n").unwrap_err();
    assert_eq!(error, "line 4: unknown key `sorce`; did you mean `source`?");
}

#[test]
fn values_of_the_wrong_type_name_their_line() {
    for text in ["\ninterval = true", "\nmax_workers = \"two\"", "\nmax_delete = \"lots\"", "\n= 3"] {
        let error = ConfigFile::parse(text).unwrap_err();
        assert!(error.starts_with("line 2: "), "{error}");
    }
}

#[test]
fn crlf_and_a_byte_order_mark_are_fine() {
    let config = ConfigFile::parse("\u{feff}interval = \"5m\"\r\n[log]\r\nkeep = 3\r\n").unwrap();
    assert_eq!(config.interval, Some(Duration::from_secs(300)));
    assert_eq!(config.log.keep, Some(3));
}
