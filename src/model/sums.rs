//! A list as md5sum writes it: what files of a tree should hold, from elsewhere.

use super::{Digest, EntryPath};
use std::collections::HashMap;

/// Digests by path.
pub type Sums = HashMap<EntryPath, Digest>;

/// Reads lines as `md5sum` writes them: a digest in hexadecimal, a blank, a blank or `*`, and a name, which is escaped
/// where the line begins with a backslash. Names may begin with `./`.
///
/// # Errors
/// The number of the first line that is none of these, counted from 1.
pub fn parse_sums(text: &[u8]) -> Result<Sums, usize> {
    let mut sums = Sums::new();
    for (number, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let (path, digest) = parse_line(line).ok_or(number + 1)?;
        sums.insert(path, digest);
    }
    Ok(sums)
}

fn parse_line(line: &[u8]) -> Option<(EntryPath, Digest)> {
    const HEX: usize = 32;
    let (escaped, line) = line.strip_prefix(b"\\").map_or((false, line), |rest| (true, rest));
    let (hex, rest) = line.split_at_checked(HEX)?;
    let mut digest = [0; 16];
    for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    let name = rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *"))?;
    let name = if escaped { unescape(name)? } else { name.to_vec() };
    let mut name = &name[..];
    while let Some(rest) = name.strip_prefix(b"./") {
        name = rest;
    }
    let sane = !name.is_empty() && !name.contains(&0);
    let parts = || name.split(|&byte| byte == b'/');
    (sane && parts().all(|part| !matches!(part, b"" | b"." | b"..")))
        .then(|| (EntryPath::from_bytes(name.to_vec()), Digest(digest)))
}

fn unescape(name: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(name.len());
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'\\' => b'\\',
                b'n' => b'\n',
                b'r' => b'\r',
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_md5sum_are_read_and_others_named() {
        let hex = "ab".repeat(16);
        let text = format!("{hex}  a/b c\n{hex} *bin\n\n{hex}  ./-\n\\{hex}  new\\nline\\\\\r\n");
        let sums = parse_sums(text.as_bytes()).unwrap();
        let mut names: Vec<String> =
            sums.keys().map(|path| format!("{:?}", path.as_bytes().escape_ascii().to_string())).collect();
        names.sort();
        assert_eq!(names, ["\"-\"", "\"a/b c\"", "\"bin\"", "\"new\\\\nline\\\\\\\\\""]);
        assert!(sums.values().all(|digest| *digest == Digest([0xab; 16])));
        for wrong in [
            "x".to_owned(),
            hex.clone(),
            format!("{hex}  "),
            format!("{hex}  /etc/passwd"),
            format!("{hex}  a/../b"),
            format!("{}  a", "zz".repeat(16)),
            format!("\\{hex}  a\\x"),
        ] {
            let text = format!("{hex}  a\n{wrong}\n");
            assert_eq!(parse_sums(text.as_bytes()), Err(2), "{wrong}");
        }
    }
}
