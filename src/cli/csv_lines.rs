//! Entries as comma-separated values (RFC 4180), raw bytes and all.

use crate::clock;
use crate::model::Record;

/// The line of names.
pub const HEAD: &str = "path,kind,size,mode,mtime,md5,hashed,unverified";

/// One entry. A path is as it is, in quotes where it needs them; a spreadsheet sees its bytes.
pub fn line(record: &Record) -> Vec<u8> {
    let source = &record.source;
    let hashed = record.hashed.filter(|_| !record.is_unverified());
    let mut line = quoted(record.path.as_bytes());
    let rest = format!(
        ",{},{},{:04o},{},{},{},{}",
        source.kind.name(),
        source.size,
        source.mode,
        clock::rfc3339_nanos(source.mtime),
        record.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        hashed.map(clock::rfc3339).unwrap_or_default(),
        record.is_unverified(),
    );
    line.extend_from_slice(rest.as_bytes());
    line
}

fn quoted(text: &[u8]) -> Vec<u8> {
    if !text.iter().any(|byte| b",\"\r\n".contains(byte)) {
        return text.to_vec();
    }
    let mut quoted = vec![b'"'];
    for &byte in text {
        if byte == b'"' {
            quoted.push(b'"');
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_them_is_put_in_quotes() {
        for (text, line) in [("a b", "a b"), ("a,b", "\"a,b\""), ("a\"b", "\"a\"\"b\""), ("a\nb", "\"a\nb\"")]
        {
            assert_eq!(quoted(text.as_bytes()), line.as_bytes());
        }
        assert_eq!(quoted(b"\xff"), b"\xff");
    }
}
